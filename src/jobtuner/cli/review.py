"""`jobtuner review`: the answers that people should look at, out as a table and in as training rows."""

from pathlib import Path
from typing import Annotated

import typer

from jobtuner.cli.log import LocationArgument

__all__ = ["add_to"]


def add_to(app: typer.Typer) -> None:
    """Register the commands."""
    group = typer.Typer(no_args_is_help=True, help="Answers for people to look at: export a table, import corrections.")
    group.command("export")(_export)
    group.command("import")(_import)
    app.add_typer(group, name="review")


def _export(
    location: LocationArgument,
    output: Annotated[Path, typer.Option("--output", "-o", help="CSV file.")],
    days: Annotated[float, typer.Option(min=0.01, help="Days back from now.")] = 7.0,
    unsure: Annotated[int, typer.Option(min=0, help="Answers of the lowest probability.")] = 80,
    random: Annotated[int, typer.Option(min=0, help="Answers picked blindly: accuracy is measured on them.")] = 20,
    seed: Annotated[int, typer.Option(help="Of the blind choice.")] = 0,
) -> None:
    """Write the least certain answers, and some picked blindly, as a table to be filled in."""
    from datetime import UTC, datetime, timedelta

    from jobtuner.review import export_queue

    until = datetime.now(UTC)
    count = export_queue(location, until - timedelta(days=days), until, output, unsure=unsure, random=random, seed=seed)
    typer.echo(f"{count} answers in {output}. Fill in the column label, then: jobtuner review import {output} -o …")


def _import(
    table: Annotated[Path, typer.Argument(metavar="CSV", help="The table, its column label filled in.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="JSONL of corrections; new ones are added.")],
    taxonomy: Annotated[
        Path | None, typer.Option("--taxonomy", help="Codes that are accepted.", show_default="any code")
    ] = None,
) -> None:
    """Take corrections in: for `jobtuner monitor --corrections`, and where texts are logged as training rows."""
    from jobtuner.review import import_corrections
    from jobtuner.taxonomy import load_taxonomy

    known = None if taxonomy is None else load_taxonomy(taxonomy)
    found = import_corrections(table, output, known)
    typer.echo(
        f"{found.added} corrections added to {output} ({found.with_text} with their text, {found.known} were there "
        f"before); {found.empty} rows without a label"
    )
