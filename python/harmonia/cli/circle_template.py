"""`harmonia circle template`, and `circle create --template`: settings of circles under a name.

A template is a small TOML file whose keys are the options of `circle create`; whatever is also said on the command line
counts instead. Three come with the program, a host's own lie in the data folder and go before them.
"""

import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from harmonia import errors
from harmonia.cli.common import DATA_DEFAULT, data_option, echo_json, json_option

KEYS = {
    **{name: name for name in ("title", "capacity", "minutes", "wake", "zone", "mode", "strength", "lag")},
    "score": "score_file",
    "gather": "gather_s",
    "gather-at": "gather_at",
    "lights-out": "lights_out",
    "every": "rule",
    "from": "first",
}
"""What a template may say, and the parameter of `circle create` that it is."""
_BUILT_IN = Path(__file__).with_name("templates")
_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,63}")


class Templated(click.Command):
    """A command whose defaults a template may give."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        given, _, _ = self.make_parser(ctx).parse_args(list(args))
        if given.get("template"):
            data = next(param for param in self.params if param.name == "data_dir")
            folder = given.get("data_dir") or data.resolve_envvar_value(ctx) or DATA_DEFAULT
            ctx.default_map = read(find(Path(folder), given["template"]), self, ctx)
        return super().parse_args(ctx, args)


def find(data_dir: Path, name: str) -> Path:
    """The file of a template. Raises NotFound."""
    known = every(data_dir)
    if name not in known:
        raise errors.NotFound(f"no template {name[:64]!r}; there are {', '.join(known)}")
    return known[name]


def every(data_dir: Path) -> dict[str, Path]:
    """All templates by name; a host's own go before those that come with the program."""
    folders = (_BUILT_IN, data_dir / "templates")
    found = {path.stem: path for folder in folders for path in folder.glob("*.toml")}
    return {name: found[name] for name in sorted(found)}


def read(path: Path, create: click.Command, ctx: click.Context) -> dict[str, Any]:
    """What a template says, by parameter of ``create``. Raises BadInput: FILE:LINE: reason; NotFound."""
    try:
        text = path.read_text("utf-8")
        content = tomllib.loads(text)
    except FileNotFoundError:
        raise errors.NotFound(f"{path}: no such file") from None
    except OSError as error:
        raise errors.StorageError(f"{path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise errors.BadInput(f"{path}: not UTF-8 text; save the file as UTF-8") from None
    except tomllib.TOMLDecodeError as error:
        line = re.search(r"line (\d+)", str(error))
        raise errors.BadInput(f"{path}:{line[1] if line else 1}: {error}") from None
    params = {param.name: param for param in create.params}
    said = {}
    for key, value in content.items():
        where = f"{path}:{_line_of(key, text)}"
        if key not in KEYS:
            raise errors.BadInput(f"{where}: {key!r} is nothing that a template can say; choose of {', '.join(KEYS)}")
        if not isinstance(value, (str, int, float)) or isinstance(value, bool):
            raise errors.BadInput(f"{where}: {key} must be a text or a number")
        # A score lies beside its template, as music lies beside a score.
        meant = path.parent / str(value) if key == "score" else value
        try:
            said[KEYS[key]] = params[KEYS[key]].type_cast_value(ctx, meant)
        except click.BadParameter as error:
            raise errors.BadInput(f"{where}: {key}: {error.message}") from None
    return said


def _line_of(key: str, text: str) -> int:
    pattern = re.compile(rf"\s*[\"']?{re.escape(key)}[\"']?\s*[=.\]]|\s*\[+\s*{re.escape(key)}\b")
    return next((number for number, line in enumerate(text.splitlines(), 1) if pattern.match(line)), 1)


def group(create: click.Command) -> click.Group:
    """The commands; ``create`` is what templates are for."""

    @click.group()
    def template() -> None:
        """Settings of circles under a name, for `circle create --template NAME`."""

    @template.command()
    @data_option
    @json_option
    def ls(data_dir: Path, as_json: bool) -> None:
        """List every template."""
        known = every(data_dir)
        if as_json:
            echo_json([{"name": name, "file": str(path)} for name, path in known.items()])
        else:
            click.echo("\n".join(f"{name:<20} {path}" for name, path in known.items()))

    @template.command()
    @data_option
    @click.argument("name")
    @json_option
    @click.pass_context
    def show(ctx: click.Context, data_dir: Path, name: str, as_json: bool) -> None:
        """Show what a template says."""
        path = find(data_dir, name)
        said = _plain(read(path, create, ctx))
        if as_json:
            echo_json(said)
        else:
            click.echo(path.read_text("utf-8"), nl=False)

    @template.command()
    @data_option
    @click.argument("name")
    @click.argument("file", type=click.Path(path_type=Path))
    @click.pass_context
    def save(ctx: click.Context, data_dir: Path, name: str, file: Path) -> None:
        """Keep FILE, a TOML file whose keys are options of `circle create`, as the template NAME."""
        if not _NAME.fullmatch(name):
            raise errors.BadInput(f"a template's name has small letters, digits and hyphens, not {name[:64]!r}")
        said = read(file, create, ctx)
        text = file.read_text("utf-8")
        if "score_file" in said:  # it lies beside FILE, and the template will not
            line = f"score = '{said['score_file'].resolve()}'"
            text = re.sub(r"(?m)^\s*score\s*=.*$", lambda _: line, text, count=1)
        folder = data_dir / "templates"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            (folder / f"{name}.toml").write_text(text, "utf-8")
        except OSError as error:
            raise errors.StorageError(f"cannot write {folder}: {error.strerror}") from None
        click.echo(f"kept as {folder / f'{name}.toml'}")

    @template.command()
    @data_option
    @click.argument("name")
    def rm(data_dir: Path, name: str) -> None:
        """Remove a template of your own."""
        path = find(data_dir, name)
        if path.parent == _BUILT_IN:
            raise errors.BadInput(f"{name} comes with the program and stays; save one of your own under its name")
        path.unlink()
        click.echo(f"removed {path}")

    return template


def _plain(said: Mapping[str, Any]) -> dict[str, Any]:
    words = {param: key for key, param in KEYS.items()}
    return {words[param]: str(value) if isinstance(value, Path) else value for param, value in said.items()}
