"""Options that several commands share, and what they mean."""

import importlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from jobtuner.errors import ConfigError

__all__ = [
    "AcceleratorOption",
    "AccountOption",
    "EndpointOption",
    "ExperimentOption",
    "GpusOption",
    "ModelOption",
    "NamespaceOption",
    "PoolsOption",
    "RecipeArgument",
    "RecipeOption",
    "SetOption",
    "ShardsOption",
    "SpotOption",
    "WhichOption",
    "cluster_nodes",
    "latest",
    "parse_overrides",
]

_RECIPE = "Name of a built-in recipe, or path of a YAML file."
RecipeArgument = Annotated[str, typer.Argument(help=_RECIPE)]
RecipeOption = Annotated[str, typer.Option("--recipe", "-r", help=_RECIPE)]
SetOption = Annotated[
    list[str] | None,
    typer.Option(
        "--set", "-s", metavar="KEY=VALUE", help="Change one setting, e.g. training.epochs=2. May be repeated."
    ),
]
ModelOption = Annotated[
    Path | None, typer.Option("--model", help="Folder of an exported model.", show_default="the latest run's")
]
GpusOption = Annotated[int, typer.Option("--gpus", min=0, help="GPUs of each task that runs the language model.")]
AcceleratorOption = Annotated[
    str | None, typer.Option("--accelerator", help="Kind of GPU: l4, a100, h100.", show_default="any")
]
SpotOption = Annotated[bool, typer.Option("--spot/--no-spot", help="May tasks run on nodes that can vanish?")]
PoolsOption = Annotated[
    bool, typer.Option("--pools/--no-pools", help="Choose nodes by jobtuner.dev/pool; --no-pools where none has it.")
]
ShardsOption = Annotated[
    int, typer.Option("--shards", min=1, max=64, help="Tasks that clean the rows, each its share; one merges them.")
]
EndpointOption = Annotated[
    str | None, typer.Option(metavar="URL", help="Kubeflow Pipelines API.", show_default="KF_PIPELINES_ENDPOINT")
]
NamespaceOption = Annotated[str | None, typer.Option(help="Your namespace, where the installation has several users.")]
ExperimentOption = Annotated[str | None, typer.Option(help="Experiment.", show_default="the recipe's")]
AccountOption = Annotated[
    str | None,
    typer.Option("--service-account", help="Whose rights the tasks have; '' gives them the installation's own."),
]
WhichOption = Annotated[str, typer.Option("--pipeline", help="Which pipeline: training, monitoring, batch, tuning.")]


def parse_overrides(settings: Sequence[str] | None, named: Mapping[str, str | None] | None = None) -> dict[str, str]:
    """Join `--set` options and options of their own, such as `--input`, to one mapping of dotted key to YAML text.

    Args:
        settings: "key=value", the value as YAML text.
        named: dotted key to text that is taken as it is; None where the option was not given.

    Raises:
        ConfigError: a setting without "=", or a key given twice; lists every mistake at once.
    """
    overrides = {key: json.dumps(value) for key, value in (named or {}).items() if value is not None}
    mistakes = []
    for setting in settings or ():
        key, equals, value = setting.partition("=")
        if not equals or not key:
            mistakes.append(f"  --set {setting}: KEY=VALUE is needed, e.g. --set training.epochs=2.")
        elif key in overrides:
            mistakes.append(f"  --set {setting}: {key} is given twice.")
        else:
            overrides[key] = value
    if mistakes:
        raise ConfigError("The command line cannot be used:\n" + "\n".join(mistakes))
    return overrides


def cluster_nodes(gpus: int, accelerator: str | None, spot: bool, pools: bool) -> Any:
    """What --gpus, --accelerator, --spot and --pools ask for, as `pipelines.resources.Nodes`.

    Raises:
        ConfigError: they do not go together.
    """
    return importlib.import_module("pipelines.resources").Nodes(gpus, accelerator, spot, pools)


def latest(*names: str) -> Path:
    """Path below the latest local run's folder."""
    from jobtuner.run import home

    return home().joinpath("latest", *names)
