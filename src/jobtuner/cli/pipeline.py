"""`jobtuner run`, `compile` and `submit`: the whole pipeline here, as a file, or on a cluster."""

import importlib
import sys
from pathlib import Path
from typing import Annotated

import typer

from jobtuner.cli.options import (
    AcceleratorOption,
    GpusOption,
    PoolsOption,
    RecipeOption,
    SetOption,
    SpotOption,
    parse_overrides,
)

__all__ = ["add_to"]


def add_to(app: typer.Typer) -> None:
    """Register the commands."""
    app.command("run")(_run)
    app.command("compile")(_compile)
    app.command("submit")(_submit)


def _run(
    *,
    recipe: RecipeOption = "smoke",
    data: Annotated[
        str | None, typer.Option("--input", "-i", metavar="PATH|URI", help="Your ads; left out: generated ones.")
    ] = None,
    taxonomy: Annotated[
        str | None, typer.Option(metavar="PATH", help="Your codes (JSONL or CSV); left out: a sample of ISCO-08.")
    ] = None,
    text_column: Annotated[str | None, typer.Option(help="Column of the ad's text.", show_default="text")] = None,
    label_column: Annotated[str | None, typer.Option(help="Column of the code.", show_default="label")] = None,
    language_column: Annotated[
        str | None, typer.Option(help="Column of the language.", show_default="language")
    ] = None,
    settings: SetOption = None,
) -> None:
    """Run the whole pipeline on this machine."""
    from rich.console import Console

    from jobtuner.display import show_summary

    named = {
        "data.input": data,
        "taxonomy.path": taxonomy,
        "data.columns.text": text_column,
        "data.columns.label": label_column,
        "data.columns.language": language_column,
    }
    overrides = parse_overrides(settings, named)
    console = Console(file=sys.stdout)  # a stream of its own: sys.stdout goes to the log while kfp runs
    summary = importlib.import_module("pipelines.local").run_local(recipe, overrides, console)
    show_summary(console, summary)


def _compile(
    output: Annotated[Path, typer.Option("--output", "-o", help="File to write.")] = Path("training.yaml"),
    gpus: GpusOption = 0,
    accelerator: AcceleratorOption = None,
    spot: SpotOption = False,
    pools: PoolsOption = True,
) -> None:
    """Write the pipeline as YAML for `kfp run create -f`. JOBTUNER_IMAGE names another image."""
    nodes = importlib.import_module("pipelines.resources").Nodes(gpus, accelerator, spot, pools)
    path = importlib.import_module("pipelines.compile").compile_pipeline(output, nodes)
    typer.echo(path)


def _submit(
    *,
    recipe: RecipeOption = "smoke",
    settings: SetOption = None,
    endpoint: Annotated[
        str | None, typer.Option(metavar="URL", help="Kubeflow Pipelines API.", show_default="KF_PIPELINES_ENDPOINT")
    ] = None,
    namespace: Annotated[
        str | None, typer.Option(help="Your namespace, where the installation has several users.")
    ] = None,
    experiment: Annotated[str | None, typer.Option(help="Experiment.", show_default="the recipe's")] = None,
    run_name: Annotated[str | None, typer.Option(help="Name of the run.", show_default="the recipe's")] = None,
    service_account: Annotated[
        str | None, typer.Option(help="Whose rights the tasks have; '' gives them the installation's own.")
    ] = "jobtuner-pipeline",
    gpus: GpusOption = 0,
    accelerator: AcceleratorOption = None,
    spot: SpotOption = False,
    pools: PoolsOption = True,
) -> None:
    """Start a run on a Kubeflow cluster and print the link to it. A token comes from KF_PIPELINES_TOKEN."""
    submit = importlib.import_module("pipelines.submit").submit
    link = submit(
        recipe,
        parse_overrides(settings),
        endpoint=endpoint,
        namespace=namespace,
        experiment=experiment,
        run_name=run_name,
        nodes=importlib.import_module("pipelines.resources").Nodes(gpus, accelerator, spot, pools),
        service_account=service_account or None,
    )
    typer.echo(link)
