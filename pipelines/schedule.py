"""Recurring runs on a Kubeflow cluster: training or the watch, by cron."""

import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jobtuner.errors import ConfigError
from pipelines.compile import compile_pipeline
from pipelines.connection import connection, quiet
from pipelines.resources import CPU_NODES, Nodes
from pipelines.submit import SERVICE_ACCOUNT, checked_recipe

__all__ = ["Schedule", "add", "change", "listed"]

_PAGE = 100


@dataclass(frozen=True)
class Schedule:
    """A recurring run."""

    name: str
    id: str
    cron: str
    enabled: bool
    recipe: str
    """Empty where it was not made by this project."""


def add(
    recipe: str,
    overrides: Mapping[str, str],
    cron: str,
    *,
    which: str = "training",
    name: str | None = None,
    endpoint: str | None = None,
    namespace: str | None = None,
    experiment: str | None = None,
    shards: int = 1,
    nodes: Nodes = CPU_NODES,
    service_account: str | None = SERVICE_ACCOUNT,
) -> Schedule:
    """Run a pipeline by the clock (UTC); a schedule of the same name is replaced, so that again changes nothing.

    Missed times are not made up for, and a run that is due waits until the one before has ended.

    Args:
        recipe: name of a built-in recipe.
        overrides: dotted key to value as YAML text.
        cron: minute hour day month weekday, or Kubeflow's six fields with seconds first.
        which: key of `compile.PIPELINES`.
        name: None: the pipeline's and the recipe's.
        endpoint: as for `submit.submit`; so namespace, shards, nodes and service_account.
        experiment: None: the recipe's `register.experiment`.

    Raises:
        ConfigError: wrong recipe, override, cron or endpoint; nothing has been sent.
        DeployError: the API is not reachable or refused the schedule.
    """
    config, clock = checked_recipe(recipe, overrides), _six_fields(cron)
    title = name or f"{which} {config.name}"
    with connection(endpoint, namespace) as (client, _), tempfile.TemporaryDirectory() as folder:
        package = compile_pipeline(Path(folder) / "pipeline.yaml", nodes, which)
        before = [item for item in _all(client, namespace) if item.display_name == title]
        with quiet():
            place = client.create_experiment(experiment or config.register_.experiment, namespace=namespace)
            made = client.create_recurring_run(
                experiment_id=place.experiment_id,
                job_name=title,
                cron_expression=clock,
                max_concurrency=1,
                no_catchup=True,
                params={"recipe": recipe, "overrides": dict(overrides), "shards": shards},
                pipeline_package_path=str(package),
                service_account=service_account,
            )
        for old in before:  # after the new one is there: a kill in between leaves two, and the next call one
            client.delete_recurring_run(old.recurring_run_id)
    return _schedule(made)


def listed(endpoint: str | None = None, namespace: str | None = None) -> list[Schedule]:
    """All recurring runs, by name.

    Raises:
        DeployError: the API is not reachable or refused.
    """
    with connection(endpoint, namespace) as (client, _):
        return sorted((_schedule(item) for item in _all(client, namespace)), key=lambda item: (item.name, item.id))


def change(name: str, what: str, endpoint: str | None = None, namespace: str | None = None) -> int:
    """Pause, resume or delete the schedules of a name; return how many there were.

    Args:
        name: the schedule's name.
        what: "pause", "resume" or "delete".
        endpoint: as for `submit.submit`; so namespace.

    Raises:
        ConfigError: there is none of this name.
        DeployError: the API is not reachable or refused.
    """
    with connection(endpoint, namespace) as (client, _):
        calls = {
            "pause": client.disable_recurring_run,
            "resume": client.enable_recurring_run,
            "delete": client.delete_recurring_run,
        }
        known = list(_all(client, namespace))
        found = [item for item in known if item.display_name == name]
        if not found:
            names = ", ".join(sorted({str(item.display_name) for item in known})) or "none"
            raise ConfigError(f"There is no schedule '{name}'. There are: {names}.")
        for item in found:
            calls[what](item.recurring_run_id)
    return len(found)


def _all(client: Any, namespace: str | None) -> Iterator[Any]:
    token = ""
    while True:
        page = client.list_recurring_runs(page_token=token, page_size=_PAGE, namespace=namespace)
        yield from page.recurring_runs or []
        token = page.next_page_token or ""
        if not token:
            return


def _schedule(item: Any) -> Schedule:
    clock = getattr(getattr(item.trigger, "cron_schedule", None), "cron", None) or "-"
    parameters = getattr(item.runtime_config, "parameters", None) or {}
    return Schedule(
        name=str(item.display_name),
        id=str(item.recurring_run_id),
        cron=str(clock),
        enabled=str(item.status or item.mode or "").upper().startswith("ENABLE"),
        recipe=str(parameters.get("recipe", "")),
    )


def _six_fields(cron: str) -> str:
    """Kubeflow's cron has seconds first; the usual five fields get second 0."""
    fields = cron.split()
    if len(fields) not in {5, 6}:
        raise ConfigError(
            f"--cron '{cron}' has {len(fields)} fields; five (minute hour day month weekday, e.g. '0 3 * * 1') or "
            "Kubeflow's six with seconds first are accepted."
        )
    return " ".join(fields if len(fields) == 6 else ["0", *fields])
