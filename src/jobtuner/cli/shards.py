"""`jobtuner prepare-shard` and `prepare-merge`: the stage prepare, divided over machines.

Both take the folder of one run (`jobtuner prepare` and `jobtuner run` make one), so that they have the same config.
"""

from pathlib import Path
from typing import Annotated

import typer

from jobtuner.cli.options import SetOption, latest
from jobtuner.cli.stage import check_out, run_folder

__all__ = ["add_to"]

_Run = Annotated[
    Path | None, typer.Option("--run", help="Folder of a run (config.json, run.json).", show_default="the latest run's")
]
_Recipe = Annotated[str | None, typer.Option("--recipe", "-r", help="Start a new run of this recipe instead.")]


def _prepare_shard(
    shard: Annotated[int, typer.Option(min=0, help="Which shard: 0 to N - 1.")],
    shards: Annotated[int, typer.Option(min=1, help="Number of shards, N.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the shard; finished parts in it are kept.")],
    run: _Run = None,
    recipe: _Recipe = None,
    settings: SetOption = None,
) -> None:
    """Clean one of N shards of the rows, as one of N machines does it."""
    with run_folder(run, recipe, settings) as folder:
        from jobtuner.stages import clean_shard

        contract = clean_shard(folder, shard, shards, out)
    typer.echo(f"{type(contract).__name__} in {out}")


def _prepare_merge(
    shards: Annotated[list[Path], typer.Argument(help="The shards' folders, in any order.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the result; a former result in it is replaced.")],
    run: _Run = None,
) -> None:
    """Make prepared data of all shards: the same, byte for byte, as `jobtuner prepare`."""
    check_out(out, {f"shard {folder}": folder for folder in shards})
    from jobtuner.stages import merge_shards

    contract = merge_shards(run if run is not None else latest("run"), shards, out)
    typer.echo(f"{type(contract).__name__} in {out}")


def add_to(app: typer.Typer) -> None:
    """Register both commands."""
    app.command("prepare-shard", rich_help_panel="One stage")(_prepare_shard)
    app.command("prepare-merge", rich_help_panel="One stage")(_prepare_merge)
