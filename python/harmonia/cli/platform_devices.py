"""`harmonia platform devices`: the names that `harmonia join --device` takes."""

import click

from harmonia import _core, errors
from harmonia.cli.common import echo_json, json_option


@click.command()
@json_option
def devices(as_json: bool) -> None:
    """List the sound devices that play."""
    try:
        found = _core.sound_devices()
    except _core.IoError as error:
        raise errors.NotFound(str(error)) from None
    if as_json:
        echo_json([{"name": name, "description": description} for name, description in found])
        return
    width = max((len(name) for name, _ in found), default=0)
    for name, description in found:
        click.echo(f"{name:<{width}}  {description}".rstrip())
