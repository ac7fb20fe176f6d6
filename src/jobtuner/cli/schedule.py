"""`jobtuner schedule`: recurring runs of a pipeline on a Kubeflow cluster."""

import importlib
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from jobtuner.cli.options import (
    AcceleratorOption,
    AccountOption,
    EndpointOption,
    ExperimentOption,
    GpusOption,
    NamespaceOption,
    PoolsOption,
    SetOption,
    ShardsOption,
    SpotOption,
    cluster_nodes,
    parse_overrides,
)

__all__ = ["add_to"]

_NameArgument = Annotated[str, typer.Argument(help="Name of the schedule.")]


class _AddByDefault(TyperGroup):
    """`jobtuner schedule RECIPE --cron …` adds."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        named = not args or args[0] in self.commands or args[0] == "--help"
        return super().parse_args(ctx, args if named else ["add", *args])


def add_to(app: typer.Typer) -> None:
    """Register the commands."""
    text = "Run a pipeline by the clock on a Kubeflow cluster: `jobtuner schedule RECIPE --cron '0 3 * * 1'`."
    group = typer.Typer(cls=_AddByDefault, help=text, no_args_is_help=True)
    group.command("add", help="Add or replace a schedule. The word `add` may be left out.")(_add)
    group.command("list", help="List the schedules.")(_list)
    for verb, told in (("pause", "Paused"), ("resume", "Resumed"), ("delete", "Deleted")):
        group.command(verb, help=f"{verb.capitalize()} a schedule.")(_changing(verb, told))
    app.add_typer(group, name="schedule")


def _add(
    *,
    recipe: Annotated[str, typer.Argument(help="Name of a built-in recipe.")],
    cron: Annotated[str, typer.Option(help="minute hour day month weekday, UTC; or six fields with seconds first.")],
    monitoring: Annotated[
        bool,
        typer.Option("--monitoring", help="The watch, which trains where it is due, and not a training each time."),
    ] = False,
    name: Annotated[str | None, typer.Option(help="Its name.", show_default="pipeline and recipe")] = None,
    settings: SetOption = None,
    endpoint: EndpointOption = None,
    namespace: NamespaceOption = None,
    experiment: ExperimentOption = None,
    service_account: AccountOption = "jobtuner-pipeline",
    shards: ShardsOption = 1,
    gpus: GpusOption = 0,
    accelerator: AcceleratorOption = None,
    spot: SpotOption = False,
    pools: PoolsOption = True,
) -> None:
    made = importlib.import_module("pipelines.schedule").add(
        recipe,
        parse_overrides(settings),
        cron,
        which="monitoring" if monitoring else "training",
        name=name,
        endpoint=endpoint,
        namespace=namespace,
        experiment=experiment,
        shards=shards,
        nodes=cluster_nodes(gpus, accelerator, spot, pools),
        service_account=service_account or None,
    )
    typer.echo(f"{made.name}: {made.cron} (UTC)")


def _list(endpoint: EndpointOption = None, namespace: NamespaceOption = None) -> None:
    found = importlib.import_module("pipelines.schedule").listed(endpoint, namespace)
    for item in found:
        typer.echo("\t".join((item.name, item.cron, "on" if item.enabled else "paused", item.recipe or "-")))
    if not found:
        typer.echo("No schedule yet: jobtuner schedule RECIPE --cron '0 3 * * 1'")


def _changing(verb: str, told: str) -> Any:
    def command(name: _NameArgument, endpoint: EndpointOption = None, namespace: NamespaceOption = None) -> None:
        count = importlib.import_module("pipelines.schedule").change(name, verb, endpoint, namespace)
        typer.echo(f"{told}: {name}" + (f" ({count})" if count > 1 else ""))

    return command
