"""`jobtuner boilerplate`: find the lines that recur across ads, to be dropped by a recipe."""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from jobtuner.cli.options import RecipeOption, SetOption, parse_overrides
from jobtuner.errors import ConfigError

__all__ = ["add_to"]

_SHOWN = 20


def add_to(app: typer.Typer) -> None:
    """Register the command."""
    app.command("boilerplate")(_boilerplate)


def _boilerplate(
    source: Annotated[str, typer.Argument(metavar="PATH|URI", help="Ads, as for data.input.")],
    least: Annotated[int, typer.Option("--ads", min=2, help="A line in so many ads or more is boilerplate.")] = 50,
    text_column: Annotated[str, typer.Option(help="Column of the ad's text.")] = "text",
    label_column: Annotated[str, typer.Option(help="Column of the label; rows without one are left out.")] = "label",
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Write --recipe with the lines as a recipe of your own (.yaml)."),
    ] = None,
    recipe: RecipeOption = "smoke",
    settings: SetOption = None,
) -> None:
    """List lines that stand in many ads (notices, slogans). Read them before you let a recipe drop them."""
    import tempfile

    import yaml

    from jobtuner.config import Columns, load_config
    from jobtuner.prepare.boilerplate import find_boilerplate
    from jobtuner.prepare.sources import Rejected, read_location

    if output is not None and output.suffix not in {".yaml", ".yml"}:
        raise ConfigError(f"--output {output}: a recipe's name ends with .yaml.")
    config = load_config(recipe, parse_overrides(settings))
    columns = Columns(text=text_column, label=label_column, language=None)
    with tempfile.TemporaryDirectory() as downloads:

        def texts() -> Iterator[str]:
            rows = read_location(source, columns, Path(downloads), config.data.max_bytes)
            return (row.text for row in rows if not isinstance(row, Rejected))

        found = find_boilerplate(texts, least)
    for line, count in found[: None if output is None else _SHOWN]:
        typer.echo(f"{count:>8,}  {line}")
    typer.echo(f"{len(found):,} lines stand in {least:,} ads or more.", err=True)
    if output is not None:
        data = config.model_dump(mode="json", by_alias=True)
        data["name"] = output.stem
        data["clean"]["boilerplate"] = [line for line, _ in found]
        output.write_text(yaml.safe_dump(data, sort_keys=False, allow_unicode=True), encoding="utf-8")
        typer.echo(
            f"Next: read clean.boilerplate in {output}, then jobtuner run --recipe {output} --input {source}", err=True
        )
