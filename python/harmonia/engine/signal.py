"""Telling others that something changed, without telling what: they look for themselves, so nothing can pile up."""

from collections.abc import Callable


class Signal:
    """Callbacks, called in the engine's thread. They must return at once and never raise."""

    def __init__(self) -> None:
        self._callbacks: dict[object, Callable[[], None]] = {}

    def subscribe(self, callback: Callable[[], None]) -> Callable[[], None]:
        """Calls ``callback`` after every change; returns what ends that."""
        key = object()
        self._callbacks[key] = callback
        return lambda: (self._callbacks.pop(key, None), None)[1]

    def send(self) -> None:
        for callback in list(self._callbacks.values()):
            callback()
