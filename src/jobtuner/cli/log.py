"""`jobtuner log`: the record of what the endpoint answered."""

from pathlib import Path
from typing import Annotated

import typer

from jobtuner.errors import DataError

__all__ = ["LocationArgument", "add_to"]

LocationArgument = Annotated[
    str, typer.Argument(metavar="LOG", envvar="JOBTUNER_PREDICTION_LOG", help="Folder or s3:// location of the log.")
]


def add_to(app: typer.Typer) -> None:
    """Register the commands."""
    group = typer.Typer(no_args_is_help=True, help="The prediction log: show, delete, expire.")
    group.command("show")(_show)
    group.command("delete")(_delete)
    group.command("expire")(_expire)
    app.add_typer(group, name="log")


def _show(location: LocationArgument) -> None:
    """Count the answers of each day."""
    from jobtuner.prediction_log.store import LogStore, day_of

    store, days = LogStore(location), dict[str, int]()
    for name in store.parts():
        day = str(day_of(name))
        days[day] = days.get(day, 0) + len(store.read(name, ["id"]))
    for day, count in days.items():
        typer.echo(f"{day}  {count:,} answers")
    typer.echo(f"{sum(days.values()):,} answers on {len(days)} days in {location}")


def _delete(
    location: LocationArgument,
    ids: Annotated[
        list[str] | None, typer.Option("--id", help="Id of an ad, or of a request. May be repeated.")
    ] = None,
    file: Annotated[Path | None, typer.Option("--file", help="File with one id a line.")] = None,
) -> None:
    """Delete what was logged of these ads or requests: somebody asks for it, and the law is with them."""
    from jobtuner.prediction_log.reader import delete_answers

    wanted = {*(ids or ()), *(file.read_text(encoding="utf-8").split("\n") if file else ())} - {""}
    if not wanted:
        raise DataError("No id was given. Give --id ID, or --file with one id a line.")
    typer.echo(f"{delete_answers(location, wanted)} answers deleted.")
    typer.echo("A running gateway may hold answers of the last minute: then run this again after a minute.", err=True)


def _expire(
    location: LocationArgument,
    days: Annotated[int, typer.Option("--keep-days", min=1, help="Days that stay, today among them.")],
) -> None:
    """Delete the days before the last ones."""
    from datetime import UTC, datetime

    from jobtuner.prediction_log.reader import expire

    gone = expire(location, days, datetime.now(UTC).date())
    typer.echo(f"{len(gone)} parts deleted: {gone[0]} to {gone[-1]}" if gone else "Nothing is older.")
