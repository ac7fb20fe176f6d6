"""`jobtuner baseline fit` and `jobtuner baseline predict`: the cheap classifier on any file, without a pipeline."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from jobtuner.cli.options import SetOption, parse_overrides
from jobtuner.errors import ConfigError

__all__ = ["baseline_group"]

_STAGE = "stage"

_TextColumn = Annotated[str, typer.Option("--text-column", help="Column or JSON key of the text.")]
_Output = Annotated[Path | None, typer.Option("--output", "-o", help="File for the answers.", show_default="printed")]


class _StageByDefault(TyperGroup):
    """`jobtuner baseline --out …` is the pipeline's stage, as with every other stage."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        named = bool(args) and (args[0] in self.commands or args[0] == "--help")
        return super().parse_args(ctx, args if named else [_STAGE, *args])


def baseline_group(stage: Any, help_text: str) -> typer.Typer:
    """The group `baseline`: the stage's own command under the name "stage", which may be left out, fit and predict."""
    group = typer.Typer(cls=_StageByDefault, help=f"{help_text} Or fit and ask it alone: fit, predict.")
    group.command(_STAGE, help=f"{help_text} The word `stage` may be left out.")(stage)
    group.command("fit")(_fit)
    group.command("predict")(_predict)
    return group


def _fit(
    rows: Annotated[Path, typer.Argument(metavar="ROWS", help="JSONL, CSV or Parquet; all its rows are trained on.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for the model.")],
    taxonomy: Annotated[
        list[Path] | None,
        typer.Option("--taxonomy", help="Codes and titles to learn from, too (JSONL, CSV). May be repeated."),
    ] = None,
    text_column: _TextColumn = "text",
    label_column: Annotated[
        str, typer.Option(help="Column of the code; several as a JSON list, or with | between them.")
    ] = "label",
    language_column: Annotated[
        str | None, typer.Option(help="Column of the language: its taxonomy titles come first.")
    ] = None,
    taxonomy_code_column: Annotated[str, typer.Option(help="Column of the code in --taxonomy.")] = "code",
    taxonomy_title_column: Annotated[str, typer.Option(help="Column of a plain title in --taxonomy.")] = "title",
    test: Annotated[Path | None, typer.Option(help="File of the same columns to measure accuracy on.")] = None,
    recipe: Annotated[str, typer.Option("--recipe", "-r", help="Recipe whose section baseline counts.")] = "smoke",
    settings: SetOption = None,
) -> None:
    """Fit the cheap classifier on all rows of a file; the settings are those of the section baseline."""
    overrides = parse_overrides(settings)
    foreign = sorted(key for key in overrides if key != "seed" and not key.startswith("baseline."))
    if foreign:
        raise ConfigError(
            f"--set {', '.join(foreign)} has no effect here: baseline.<setting> and seed are accepted, e.g. "
            "--set baseline.weights=int8."
        )
    from jobtuner.baseline.files import fit_file
    from jobtuner.baseline.rows import Columns
    from jobtuner.config import load_config
    from jobtuner.taxonomy import load_taxonomy

    config = load_config(recipe, overrides)
    taxonomies = [
        load_taxonomy(path, code_column=taxonomy_code_column, title_column=taxonomy_title_column)
        for path in taxonomy or ()
    ]
    columns = Columns(text_column, label_column, language_column)
    report = fit_file(rows, columns, taxonomies, config.baseline, config.seed, output, test)
    typer.echo(
        f"{report.rows:,} rows ({report.skipped:,} without text or label left out), {report.labels:,} labels, "
        f"{report.titles:,} taxonomy titles; fitted in {report.seconds:.1f} s: {output}"
    )
    if report.test is not None:
        typer.echo(
            f"accuracy {report.test.accuracy:.4f} on {report.test.texts:,} texts of {test} (row by row "
            f"{report.test.row_accuracy:.4f}; {report.test.unknown:,} texts have only codes that training lacks; "
            f"{report.test.skipped:,} rows without text or label left out)"
        )


def _predict(
    model: Annotated[Path, typer.Argument(metavar="DIR", help="Folder that `fit`, or the stage baseline, wrote.")],
    rows: Annotated[Path, typer.Argument(metavar="FILE", help="JSONL, CSV or Parquet.")],
    text_column: _TextColumn = "text",
    top: Annotated[int, typer.Option(min=1, help="Codes a row.")] = 5,
    output: _Output = None,
) -> None:
    """Answer every row of a file: one JSON object a line with its number, text and likeliest codes."""
    from jobtuner.baseline.files import predict_file

    lines = (json.dumps(answer, ensure_ascii=False) for answer in predict_file(model, rows, text_column, top))
    if output is None:
        for line in lines:
            typer.echo(line)
        return
    text = "".join(f"{line}\n" for line in lines)  # whole or not at all
    output.write_text(text, encoding="utf-8")
