"""`harmonia platform`: this machine as a bedside device: what it plays on, whether it does, how loud it is."""

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
