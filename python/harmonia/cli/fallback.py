"""A group of commands of which one needs no name: `harmonia petition TEXT` is `harmonia petition make TEXT`."""

from typing import Any

import click


class FallbackGroup(click.Group):
    """``fallback`` is what runs where the first word names no command."""

    def __init__(self, *args: Any, fallback: str, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._fallback = fallback

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        helps = set(ctx.help_option_names)
        if args and args[0] not in helps and args[0] not in self.commands:
            args = [self._fallback, *args]
        return super().parse_args(ctx, args)
