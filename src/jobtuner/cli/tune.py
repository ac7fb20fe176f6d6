"""`jobtuner tune`: search for better settings of a recipe."""

import os
from pathlib import Path
from typing import Annotated, Literal

import typer

from jobtuner.cli.options import RecipeArgument, SetOption, parse_overrides
from jobtuner.errors import ConfigError

__all__ = ["add_to"]


def add_to(app: typer.Typer) -> None:
    """Register the command."""
    app.command("tune")(_tune)


def _tune(
    *,
    recipe: RecipeArgument,
    space: Annotated[Path, typer.Option(metavar="FILE", help="YAML: setting → list of values, or {low, high, log}.")],
    trials: Annotated[int, typer.Option(min=1, help="Trials that are to be through, pruned ones included.")] = 20,
    out: Annotated[
        Path | None, typer.Option(help="Folder of the search; the same one again goes on.", show_default="tune/RECIPE")
    ] = None,
    prepare: Annotated[
        Path | None, typer.Option(help="Output folder of prepare.", show_default="prepared here, from the recipe")
    ] = None,
    metric: Annotated[
        Literal["loss", "accuracy", "label_accuracy", "macro_f1"], typer.Option(help="On the validation split.")
    ] = "macro_f1",
    workers: Annotated[int, typer.Option(min=1, help="Processes that make trials, each on a GPU of its own.")] = 1,
    prune: Annotated[bool, typer.Option(help="Give a trial up that is behind the others half-way.")] = True,
    settings: SetOption = None,
) -> None:
    """Search for better settings: each trial fine-tunes with other ones. Killed or stopped, type it again to go on."""
    from jobtuner.config import load_config
    from jobtuner.contracts import CONTRACT_FILE
    from jobtuner.run import home, resolve
    from jobtuner.stages import run_stage
    from jobtuner.train.search import search
    from jobtuner.train.space import load_space
    from jobtuner.train.tune import TuningPlan

    overrides = parse_overrides(settings)
    load_space(space, recipe, overrides)  # a mistake shows before anything is prepared
    if load_config(recipe, overrides).hardware.sharding != "none":
        raise ConfigError("A trial trains in one process: give --set hardware.sharding=none, or a smaller base.")
    folder = (out or home() / "tune" / Path(recipe).stem).resolve()
    plan = TuningPlan(
        recipe=str(Path(recipe).resolve()) if Path(recipe).is_file() else recipe,
        overrides=overrides,
        space=str(space.resolve()),
        space_text=space.read_text(encoding="utf-8"),
        metric=metric,
        trials=trials,
        prune=prune,
        prepare=str((prepare or folder / "prepare").resolve()),
    )
    if not (folder / "run" / "run.json").exists():
        resolve(plan.recipe, overrides, folder / "run")
    if prepare is None and not (folder / "prepare" / CONTRACT_FILE).exists():
        run_stage("prepare", folder / "run", {}, folder / "prepare")
    best = search(folder, plan, workers)
    typer.echo(f"Best recipe: {os.path.relpath(best)}\n  jobtuner run --recipe {os.path.relpath(best)}")
