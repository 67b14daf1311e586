"""The command `harmonia`: finds the subcommand, and turns every failure into one line and an exit code.

Subcommands are imported when they are called: fifty sleepers that start at once on a small machine should not each load
a plotting library.
"""

import os
import sys
import tempfile
import traceback
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import NoReturn

import click

from harmonia import _core, errors
from harmonia.cli.lazy import LazyGroup

_COMMANDS = {
    "night": "night",
    "serve": "serve",
    "circle": "circle",
    "invite": "circle",
    "join": "join",
    "record": "join",
    "optout": "consent",
    "grant": "consent",
    "consent": "consent",
    "me": "me_group",
    "advance": "advance",
    "offers": "offers",
    "accept": "offers",
    "decline": "offers",
    "offer": "offers",
    "offset": "consent",
    "wake": "waking",
    "schedule-offset": "waking",
    "rhythm": "weaving",
    "coupling": "weaving",
    "platform": "platform_group",
    "apart": "apart",
    "help": "help",
    "petition": "petition",
    "dialogue": "dialogue",
    "steward": "steward",
    "status": "status",
    "tracking": "tracking",
    "sources": "sources",
    "waitsync": "waitsync",
    "clock": "clock_group",
    "score": "score",
    "stem": "stem",
    "ntp": "ntp",
    "bench": "bench",
    "phase": "phase_group",
    "mix": "mix_group",
    "ledger": "ledger_group",
    "forget": "forget",
}
"""Each command's module in this package; the function has the command's name."""

INTERRUPTED = 130


def _print_version(ctx: click.Context, _: click.Parameter, wanted: bool) -> None:
    if wanted and not ctx.resilient_parsing:
        click.echo(f"harmonia {_core.__version__}")
        ctx.exit()


@click.group(
    cls=LazyGroup, modules=_COMMANDS, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100}
)
@click.option(
    "--version", is_flag=True, expose_value=False, is_eager=True, callback=_print_version, help="Print the version."
)
def cli() -> None:
    """Shared nights, phase-locked to one rhythm, which anybody may leave at any instant.

    Start with `harmonia night`: a whole night on this machine in a minute and a half. By hand: `harmonia serve`, then
    `harmonia circle create --score FILE` and `harmonia join CIRCLE` in other terminals.

    Exit codes: 0 done, 1 a fault of ours, 2 bad input, 3 not found, 4 not permitted (token missing, used or expired),
    5 no answer, 6 storage, 7 address taken, 9 not synchronised in time, 130 interrupted.
    """


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Runs the command line and exits. Nothing but one line of error ever reaches the person."""
    code = 0
    try:
        result = cli.main(args=arguments, prog_name="harmonia", standalone_mode=False)
        code = result if isinstance(result, int) else 0
        sys.stdout.flush()
    except BaseException as error:  # noqa: BLE001 (a traceback must not reach anybody)
        code = _report(error)
    if code:
        # Nothing is left to be said; a closed pipe must not add a message of its own at exit.
        _drop_stdout()
    sys.exit(code)


def _report(error: BaseException) -> int:
    """Says what went wrong in one line on stderr; returns the exit code."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    match error:
        case click.exceptions.Exit():
            return error.exit_code
        case KeyboardInterrupt() | click.Abort():
            return INTERRUPTED
        case BrokenPipeError():
            return 0
        case SystemExit():
            return error.code if isinstance(error.code, int) else 1
        case click.UsageError():
            command = error.ctx.command_path if error.ctx else "harmonia"
            return _say(f"{error.format_message()} See `{command} --help`.", errors.BadInput.exit_code)
        case click.ClickException():
            return _say(error.format_message(), errors.BadInput.exit_code)
        case errors.HarmoniaError():
            return _say(str(error), error.exit_code)
        case _:
            kind = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
            return _say(f"this is a fault of ours ({kind}); details are in {_log(error)}", 1)


def _say(message: str, code: int) -> int:
    line = " ".join(message.split())
    with suppress(OSError):
        print(f"error: {line}", file=sys.stderr, flush=True)
    return code


def _log(error: BaseException) -> str:
    """Appends the traceback to a file of this user's; returns its name."""
    path = Path(tempfile.gettempdir()) / f"harmonia-error-{os.getuid()}.log"
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW, 0o600)
        with os.fdopen(descriptor, "a") as file:
            file.write(f"{datetime.now(UTC).isoformat()} {' '.join(sys.argv[1:2])}\n")
            file.write("".join(traceback.format_exception(error)) + "\n")
    except OSError as refused:
        return f"no file ({path}: {refused.strerror})"
    return str(path)


def _drop_stdout() -> None:
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
