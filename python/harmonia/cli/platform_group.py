"""`harmonia platform`: this machine as a bedside device: what it can play on, whether it does so, what it sounds like."""

import click

from harmonia.cli.lazy import LazyGroup

_COMMANDS = {
    "devices": "platform_devices",
    "soak": "platform_soak",
    "calibrate": "platform_calibrate",
}


@click.group(cls=LazyGroup, modules=_COMMANDS)
def platform() -> None:
    """Sound devices, calibration, and a test for a whole night."""
