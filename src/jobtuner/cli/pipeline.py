"""`jobtuner run`, `compile` and `submit`: the whole pipeline here, as a file, or on a cluster."""

import importlib
import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from jobtuner.cli.options import (
    AcceleratorOption,
    AccountOption,
    EndpointOption,
    ExperimentOption,
    GpusOption,
    NamespaceOption,
    PoolsOption,
    RecipeOption,
    SetOption,
    ShardsOption,
    SpotOption,
    WhichOption,
    cluster_nodes,
    parse_overrides,
)
from jobtuner.errors import ConfigError

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
    which: WhichOption = "training",
    kind: Annotated[
        str,
        typer.Option("--format", help="pipeline: for KFP's API; manifest: Pipeline and PipelineVersion for kubectl."),
    ] = "pipeline",
    namespace: Annotated[str | None, typer.Option(help="With --format manifest: the objects' namespace.")] = None,
    gpus: GpusOption = 0,
    accelerator: AcceleratorOption = None,
    spot: SpotOption = False,
    pools: PoolsOption = True,
) -> None:
    """Write a pipeline as YAML for `kfp run create -f`, or for `kubectl apply`. JOBTUNER_IMAGE names another image."""
    if kind not in {"pipeline", "manifest"}:
        raise ConfigError(f"--format is '{kind}'; accepted are pipeline and manifest.")
    if namespace is not None and kind != "manifest":
        raise ConfigError("--namespace would have no effect without --format manifest.")
    nodes = cluster_nodes(gpus, accelerator, spot, pools)
    path = importlib.import_module("pipelines.compile").compile_pipeline(output, nodes, which, kind, namespace)
    typer.echo(path)


def _submit(
    *,
    recipe: Annotated[
        str | None, typer.Option("--recipe", "-r", help="Name of a built-in recipe.", show_default="smoke")
    ] = None,
    settings: SetOption = None,
    params: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="YAML with `recipe` and `overrides` (dotted key to value); --set adds to it."
        ),
    ] = None,
    watch: Annotated[bool, typer.Option("--watch", help="Stay, and tell how the run goes.")] = False,
    endpoint: EndpointOption = None,
    namespace: NamespaceOption = None,
    experiment: ExperimentOption = None,
    run_name: Annotated[str | None, typer.Option(help="Name of the run.", show_default="the recipe's")] = None,
    service_account: AccountOption = "jobtuner-pipeline",
    shards: ShardsOption = 1,
    gpus: GpusOption = 0,
    accelerator: AcceleratorOption = None,
    spot: SpotOption = False,
    pools: PoolsOption = True,
) -> None:
    """Start a run on a Kubeflow cluster and print the link to it. A token comes from KF_PIPELINES_TOKEN."""
    named, overrides = _of_file(params) if params is not None else (None, {})
    if recipe is not None and named is not None:
        raise ConfigError(f"--recipe {recipe} and {params} both name a recipe. Leave one out.")
    module = importlib.import_module("pipelines.submit")
    link = module.submit(
        recipe or named or "smoke",
        overrides | parse_overrides(settings),
        endpoint=endpoint,
        namespace=namespace,
        experiment=experiment,
        run_name=run_name,
        shards=shards,
        nodes=cluster_nodes(gpus, accelerator, spot, pools),
        service_account=service_account or None,
    )
    typer.echo(link)
    if watch:
        module.watch_run(link, typer.echo, endpoint=endpoint, namespace=namespace)


def _of_file(path: Path) -> tuple[str | None, dict[str, str]]:
    """Recipe and overrides of a parameter file."""
    import yaml

    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"--params {path} cannot be read: {error}.") from error
    if not isinstance(data, dict) or set(data) - {"recipe", "overrides"}:
        found = sorted(map(str, data)) if isinstance(data, dict) else type(data).__name__
        raise ConfigError(f"--params {path} holds {found}; accepted are the keys recipe and overrides.")
    overrides = data.get("overrides") or {}
    if not isinstance(overrides, dict):
        raise ConfigError(f"--params {path}: overrides is a {type(overrides).__name__}; a mapping is needed.")
    return data.get("recipe"), {str(key): json.dumps(value) for key, value in overrides.items()}
