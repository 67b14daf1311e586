"""docs/cli.md lists what there is, and nothing else."""

from pathlib import Path

import click

from harmonia import errors
from harmonia.cli.main import cli

DOCS = (Path(__file__).resolve().parents[2] / "docs" / "cli.md").read_text()


def commands(group: click.Group, before: str = "") -> dict[str, click.Command]:
    found: dict[str, click.Command] = {}
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        if isinstance(command, click.Group):
            found |= commands(command, f"{before}{name} ")
        else:
            found[before + name] = command
    return found


def test_every_command_is_listed() -> None:
    for name in commands(cli):
        assert f"`{name}" in DOCS or f"harmonia {name}" in DOCS, name


def test_every_option_is_listed() -> None:
    for name, command in commands(cli).items():
        for option in command.params:
            if isinstance(option, click.Option) and not option.hidden:
                assert any(form in DOCS for form in option.opts), f"{name} {option.opts}"


def test_every_exit_code_is_listed() -> None:
    codes = {
        kind.exit_code
        for kind in vars(errors).values()
        if isinstance(kind, type) and issubclass(kind, errors.HarmoniaError)
    }
    for code in codes | {0, 130}:
        assert f"| {code} |" in DOCS


def test_the_sdks_page_names_what_there_is() -> None:
    from harmonia import client

    page = (Path(__file__).resolve().parents[2] / "docs" / "sdk.md").read_text()
    for name in ("set_offset", "set_voice", "set_levels", "grant", "opt_out", "leave", "ended", "play_unheard"):
        assert hasattr(client.Sleeper, name)
        assert name in page
