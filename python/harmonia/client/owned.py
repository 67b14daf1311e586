"""A setting that its owner changes here first and the sanctuary records after.

The platform obeys its person at once; the sanctuary hears of it later and reports every change to everybody, this
platform included. A report may have been under way when the person changed their mind, and must not undo it; yet a
change that the same person made elsewhere (a second terminal) must get through. Both hold if a report is ignored
exactly while it repeats something that the person has already replaced.
"""

from typing import Generic, TypeVar

T = TypeVar("T")


class Owned(Generic[T]):
    """One such setting. ``value`` is what is in force here."""

    def __init__(self, value: T) -> None:
        self.value = value
        self._replaced: set[T] = set()
        self._untold = False
        self._all_told_when_asked = False

    def change(self, value: T) -> None:
        """The person chose ``value`` here."""
        self._replaced.add(self.value)
        self._replaced.discard(value)
        self.value = value
        self._untold = True
        self._all_told_when_asked = False

    def told(self, value: T) -> None:
        """The sanctuary has recorded ``value``."""
        if value == self.value:
            self._untold = False

    def hear(self, reported: T) -> bool:
        """Takes what the sanctuary reports; True if that is news and now in force."""
        if reported == self.value:
            if not self._untold:
                self._replaced.clear()
            return False
        if self._untold:
            self._replaced.add(reported)
            return False
        if reported in self._replaced:
            return False
        self._replaced.clear()
        self.value = reported
        return True

    def ask(self) -> None:
        """A new stream of reports is about to be asked for."""
        self._all_told_when_asked = not self._untold

    def renew(self) -> None:
        """That stream begins: what it says is newer than all that was told before it was asked for."""
        if self._all_told_when_asked:
            self._replaced.clear()
