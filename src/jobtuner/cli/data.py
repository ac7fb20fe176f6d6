"""`jobtuner data …`: the stage prepare step by step, as `dvc.yaml` runs it."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from jobtuner.cli.options import RecipeOption, SetOption, parse_overrides
from jobtuner.errors import ConfigError

__all__ = ["add_to"]

_STEPS = {
    "convert": (None, "Read or generate rows into parts."),
    "preprocess": ("convert", "Clean texts, mask personal data, resolve labels."),
    "validate": ("preprocess", "Check the recipe's rules."),
    "deduplicate": ("validate", "Drop exact duplicates, cluster near-duplicates, re-posts and translations."),
    "split": ("deduplicate", "Split whole clusters; write train, validation, test and the data card."),
    "tokenize": ("split", "Write the splits as tokens, by the tokenizer of model.base, and their lengths."),
}
"""Step to the one before it and its help text; a test keeps them equal to those of `prepare.by_steps`."""

_Source = Annotated[Path, typer.Option("--from", help="Result of the step before.")]
_Out = Annotated[Path, typer.Option("--out", "-o", help="Folder for the result; a former result in it is replaced.")]


def add_to(app: typer.Typer) -> None:
    """Register one command a step."""
    group = typer.Typer(no_args_is_help=True, help="The stage prepare, one step at a time.")
    for name, (before, text) in _STEPS.items():
        group.command(name, help=text)(_first(name) if before is None else _later(name))
    app.add_typer(group, name="data", rich_help_panel="One stage")


def _first(name: str) -> Callable[..., None]:
    def command(out: _Out, recipe: RecipeOption = "params.yaml", settings: SetOption = None) -> None:
        _run(name, recipe, settings, None, out)

    return command


def _later(name: str) -> Callable[..., None]:
    def command(source: _Source, out: _Out, recipe: RecipeOption = "params.yaml", settings: SetOption = None) -> None:
        _run(name, recipe, settings, source, out)

    return command


def _run(name: str, recipe: str, settings: list[str] | None, source: Path | None, out: Path) -> None:
    from jobtuner.config import load_config
    from jobtuner.prepare.by_steps import run_step

    if out.is_dir() and any(out.iterdir()) and not (out / "taxonomy.json").is_file():
        raise ConfigError(f"--out {out} holds other files, which would be lost. Give a new or an empty folder.")
    if source is not None and source.resolve() == out.resolve():
        raise ConfigError(f"--from and --out are both {out}. Give the result a folder of its own.")
    run_step(name, load_config(recipe, parse_overrides(settings)), source, out)
    typer.echo(f"{name}: {out}")
