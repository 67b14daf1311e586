"""`harmonia ledger`: the tamper-evident record of consents and circles' rules."""

import click

from harmonia.cli.lazy import LazyGroup

_COMMANDS = {
    "key": "ledger_own",
    "ls": "ledger_own",
    "prove": "ledger_own",
    "verify": "ledger_verify",
    "publish": "ledger_publish",
    "cosign": "ledger_publish",
    "audit": "ledger_audit",
}


@click.group(cls=LazyGroup, modules=_COMMANDS)
def ledger() -> None:
    """Prove, verify, publish and audit what people and circles decided."""
