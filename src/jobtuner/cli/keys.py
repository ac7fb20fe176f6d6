"""`jobtuner keys`: who may ask the endpoint."""

from pathlib import Path
from typing import Annotated

import typer

from jobtuner.serve.keys import PER_MINUTE, add_key, read_keys, remove_key

__all__ = ["add_to"]

_FileOption = Annotated[Path, typer.Option("--file", envvar="JOBTUNER_KEYS", help="File of the keys' hashes.")]
_DEFAULT = Path("keys.json")


def add_to(app: typer.Typer) -> None:
    """Register the commands."""
    group = typer.Typer(no_args_is_help=True, help="API keys of the endpoint: add, list, remove.")
    group.command("add")(_add)
    group.command("list")(_list)
    group.command("remove")(_remove)
    app.add_typer(group, name="keys")


def _add(
    name: Annotated[str, typer.Argument(help="Whom the key is for; the log shows it.")],
    file: _FileOption = _DEFAULT,
    per_minute: Annotated[float, typer.Option(help="Requests a minute.")] = PER_MINUTE,
) -> None:
    """Make a key and show it, this once; the file gets its hash."""
    secret = add_key(file, name, per_minute)
    typer.echo(secret)
    typer.echo(f"{file} has its hash. The key is shown this once. Next: jobtuner serve --keys {file}", err=True)


def _list(file: _FileOption = _DEFAULT) -> None:
    """Show names and limits."""
    for key in read_keys(file):
        typer.echo(f"{key.name}  {key.per_minute:g} requests a minute")


def _remove(
    name: Annotated[str, typer.Argument(help="Whose key shall stop working.")], file: _FileOption = _DEFAULT
) -> None:
    """Take a key out; a running endpoint refuses it within seconds."""
    remove_key(file, name)
    typer.echo(f"{file} has no key of {name} any more.")
