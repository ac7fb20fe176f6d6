"""`jobtuner models`, `rollback` and `compare`: what is registered, and how two of them differ."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from jobtuner.register.registry import RegisteredModel, Registry

__all__ = ["add_to"]


def add_to(app: typer.Typer) -> None:
    """Register the commands."""
    app.command("models")(_models)
    app.command("rollback")(_rollback)
    app.command("compare")(_compare)


def _registry() -> "Registry":
    from jobtuner.register.registry import open_registry
    from jobtuner.run import local_tracking_uri

    return open_registry(local_tracking_uri(), "jobtuner")


def _models(
    name: Annotated[str | None, typer.Argument(help="Name of a registered model.", show_default="all")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a version.")] = False,
) -> None:
    """List the registered models and their versions."""
    from jobtuner.errors import ConfigError

    registry = _registry()
    names = registry.names()
    if name is not None and name not in names:
        raise ConfigError(f"There is no model {name}. Registered models: {', '.join(names) or 'none'}.")
    rows = [(owner, item) for owner in (names if name is None else [name]) for item in registry.versions(owner)]
    if as_json:
        for owner, item in rows:
            typer.echo(json.dumps({"name": owner, **vars(item)}, ensure_ascii=False, default=dict))
    elif rows:
        _show(rows)
    else:
        typer.echo("No model is registered yet: `jobtuner run` registers one.")


def _show(rows: "list[tuple[str, RegisteredModel]]") -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=None)
    for title in ("model", "version", "aliases", "accuracy", "macro-F1", "data", "history"):
        table.add_column(title, overflow="fold")
    for name, item in rows:
        scores = [item.metrics.get(key) for key in ("accuracy", "macro_f1")]
        shown = ["-" if score is None else f"{score:.3f}" for score in scores]
        data = item.data_fingerprint[:12] or "-"
        table.add_row(escape(name), item.version, ", ".join(item.aliases), *shown, data, escape(_history(item)))
    Console().print(table)


def _history(item: "RegisteredModel") -> str:
    from jobtuner.register.registry import REPLACES, RESTORED, TAKEN_BACK

    told = {REPLACES: "replaced version {}", TAKEN_BACK: "taken back {}", RESTORED: "champion {}"}
    return "; ".join(text.format(item.marks[key].rstrip(".")) for key, text in told.items() if item.marks.get(key))


def _rollback(
    name: Annotated[
        str | None, typer.Argument(help="Name of the registered model.", show_default="the recipes' default")
    ] = None,
    to: Annotated[
        str | None,
        typer.Option("--to", metavar="VERSION", help="Version that becomes champion.", show_default="the one before"),
    ] = None,
) -> None:
    """Make the champion of before champion again. A second call changes nothing."""
    from jobtuner.config import RegisterConfig
    from jobtuner.register.promotion import roll_back

    done = roll_back(_registry(), name or RegisterConfig().model_name, to)
    typer.echo(done.sentence)
    if done.before is not None:
        typer.echo(f"Undo: jobtuner rollback {done.name} --to {done.before}")


def _compare(
    first: Annotated[str, typer.Argument(metavar="A", help="A run's folder or name, or NAME/VERSION, NAME@ALIAS.")],
    second: Annotated[str, typer.Argument(metavar="B", help="The same; it is judged against A.")],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="FILE", help="Picture to write (PNG).")] = Path(
        "comparison.png"
    ),
) -> None:
    """Put two runs or versions side by side: settings, metrics with intervals, paired test, picture."""
    from rich.console import Console

    from jobtuner.register.compare import compare, find_side
    from jobtuner.register.compare_view import draw, show

    registry = _registry()
    found = compare(find_side(first, registry), find_side(second, registry))
    show(Console(), found)
    draw(found, output)
    typer.echo(f"Picture: {output}")
