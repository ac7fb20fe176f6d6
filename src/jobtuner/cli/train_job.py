"""`jobtuner train-job`: the manifest of a fine-tuning on several machines."""

from pathlib import Path
from typing import Annotated

import typer

from jobtuner.cli.options import AcceleratorOption, RecipeOption, SetOption, parse_overrides
from jobtuner.errors import ConfigError

__all__ = ["add_to"]


def add_to(app: typer.Typer) -> None:
    """Register the command."""
    app.command("train-job")(_train_job)


def _train_job(
    *,
    recipe: RecipeOption,
    image: Annotated[str, typer.Option(envvar="JOBTUNER_IMAGE", help="With a tag or a digest; CUDA's torch in it.")],
    name: Annotated[str | None, typer.Option(help="Of the job.", show_default="the recipe's")] = None,
    machines: Annotated[int, typer.Option(min=1, help="Machines that train together.")] = 2,
    gpus: Annotated[int, typer.Option(min=1, help="GPUs of each machine.")] = 8,
    claim: Annotated[str, typer.Option(help="Claim (ReadWriteMany) with NAME/prepare in it.")] = "jobtuner-work",
    namespace: Annotated[str, typer.Option(help="Namespace of the job.")] = "jobtuner-pipelines",
    accelerator: AcceleratorOption = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="File.", show_default="standard output")] = None,
    settings: SetOption = None,
) -> None:
    """Write a TrainJob (Kubeflow Trainer v2) for `kubectl apply -f`: one recipe, several machines, all their GPUs."""
    import yaml

    from jobtuner.config import load_config, recipe_names
    from jobtuner.train.train_job import TrainJobSpec, train_job

    config = load_config(recipe, parse_overrides(settings))
    if recipe not in recipe_names():
        raise ConfigError(f"{recipe} is a file of this machine, which the cluster cannot read: name a built-in recipe.")
    if config.hardware.processes not in {None, gpus}:
        raise ConfigError(
            f"hardware.processes is {config.hardware.processes} and --gpus {gpus}: each GPU gets a process. Give "
            f"--set hardware.processes={gpus}, or other --gpus."
        )
    spec = TrainJobSpec(
        name or config.name.replace("_", "-"), image, recipe, settings or (), machines, gpus, claim, namespace,
        accelerator,
    )  # fmt: skip
    text = yaml.safe_dump_all(train_job(spec), sort_keys=False)
    if output is None:
        typer.echo(text, nl=False)
    else:
        output.write_text(text, encoding="utf-8")
        typer.echo(output)
