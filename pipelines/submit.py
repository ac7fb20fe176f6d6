"""A run of the training pipeline on a Kubeflow cluster."""

import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from jobtuner.config import Config, load_config, recipe_names
from jobtuner.errors import ConfigError, DeployError
from pipelines.compile import compile_pipeline
from pipelines.connection import connection, quiet
from pipelines.resources import CPU_NODES, Nodes

__all__ = ["SERVICE_ACCOUNT", "checked_recipe", "submit", "watch_run"]

SERVICE_ACCOUNT = "jobtuner-pipeline"
"""The tasks' own: manifests/ give it its rights in the cluster, Terraform those in the cloud."""
_POLL = 15.0  # seconds between two looks at a run that takes hours
_ENDED = {"SUCCEEDED", "SKIPPED", "FAILED", "CANCELED"}


def submit(
    recipe: str,
    overrides: Mapping[str, str],
    *,
    endpoint: str | None = None,
    namespace: str | None = None,
    experiment: str | None = None,
    run_name: str | None = None,
    shards: int = 1,
    nodes: Nodes = CPU_NODES,
    service_account: str | None = SERVICE_ACCOUNT,
) -> str:
    """Compile the pipeline, start a run of it and return the link to it.

    Args:
        recipe: name of a built-in recipe (a file of this machine does not exist on the cluster).
        overrides: dotted key to value as YAML text.
        endpoint: URL of the Kubeflow Pipelines API; None: KF_PIPELINES_ENDPOINT. A token comes from KF_PIPELINES_TOKEN.
        namespace: the user's namespace where the installation has several users.
        experiment: None: the recipe's `register.experiment`.
        run_name: None: the recipe's name.
        shards: into how many the rows are cut to be cleaned beside each other.
        nodes: where the tasks run.
        service_account: whose rights the tasks have; None: what the installation gives to runs that name none.

    Raises:
        ConfigError: wrong recipe, override or endpoint; nothing has been sent.
        DeployError: the API is not reachable or refused the run.
    """
    config = checked_recipe(recipe, overrides)
    with connection(endpoint, namespace) as (client, host), tempfile.TemporaryDirectory() as folder:
        package = compile_pipeline(Path(folder) / "training.yaml", nodes)
        with quiet():
            made = client.create_run_from_pipeline_package(
                namespace=namespace,
                pipeline_file=str(package),
                arguments={"recipe": recipe, "overrides": dict(overrides), "shards": shards},
                experiment_name=config.register_.experiment if experiment is None else experiment,
                run_name=config.name if run_name is None else run_name,
                service_account=service_account,
            )
    return f"{host}/#/runs/details/{made.run_id}"


def checked_recipe(recipe: str, overrides: Mapping[str, str]) -> Config:
    """The config that a cluster will make of a recipe.

    Raises:
        ConfigError: the recipe or an override is wrong, or the recipe is a file of this machine.
    """
    if recipe not in recipe_names() and Path(recipe).exists():
        raise ConfigError(
            f"{recipe} is a file on this machine, which the cluster cannot read. Name a built-in recipe "
            f"({', '.join(recipe_names())}) and give what differs with --set."
        )
    return load_config(recipe, overrides)


def watch_run(
    link: str,
    tell: Callable[[str], None],
    *,
    endpoint: str | None = None,
    namespace: str | None = None,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Tell every change of a run's state until it has ended.

    Args:
        link: as `submit` returned it.
        tell: gets one line a change.
        endpoint: as for `submit`.
        namespace: as for `submit`.
        sleep: waits between two looks; tests give one that does not.

    Raises:
        DeployError: the run failed or was cancelled, or the API is not reachable.
    """
    started, last = time.monotonic(), ""
    with connection(endpoint, namespace) as (client, _):
        while True:
            found = client.get_run(link.rpartition("/")[2])
            state = str(found.state or "PENDING")
            if state != last:
                tell(f"{state}, after {(time.monotonic() - started) / 60:.0f} min")
                last = state
            if state in _ENDED:
                break
            sleep(_POLL)
    if state in {"FAILED", "CANCELED"}:
        message = getattr(found.error, "message", None) or "its tasks' logs say why"
        raise DeployError(f"The run ended as {state}: {message}. {link}")
