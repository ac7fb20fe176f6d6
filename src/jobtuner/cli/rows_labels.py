"""`jobtuner evaluate --on FILE` for occupations: an exported model, or any server, on labelled rows of one's own."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from jobtuner.errors import ConfigError, DataError

if TYPE_CHECKING:
    from jobtuner.evaluate.predict import Predictor
    from jobtuner.evaluate.results import Measured
    from jobtuner.prepare.sources import Rejected
    from jobtuner.probabilities import Temperatures
    from jobtuner.records import Example
    from jobtuner.taxonomy import Taxonomy

__all__ = ["evaluate_label_rows"]

_TOGETHER = 64  # rows between two steps of the progress bar
_NOBODY = (
    "Neither an exported model nor a server with a taxonomy is given: add --model FOLDER, or both --endpoint URL and "
    "--taxonomy FILE."
)


def evaluate_label_rows(
    *,
    out: Path,
    on: Path,
    endpoint: str | None = None,
    model: Path | None = None,
    taxonomy: Path | None = None,
    level: int | None = None,
    served_model: str | None = None,
    search: str = "exact",
    top_k: int = 5,
    max_rows: int | None = None,
    concurrency: int = 8,
    timeout: float = 120.0,
    text_column: str = "text",
    label_column: str = "label",
    language_column: str | None = None,
    source_column: str | None = None,
) -> None:
    """Evaluate on labelled rows; write metrics.json, predictions.jsonl and rejected.jsonl, print the headline.

    Raises:
        ConfigError: the URL is none, or there is neither model nor URL and taxonomy.
        DataError: the rows cannot be read, or none of them is usable.
        DeployError: the server cannot be used.
        ModelError: the model cannot be used.
    """
    from jobtuner.completions import CompletionsClient
    from jobtuner.config import Columns

    columns = Columns(text=text_column, label=label_column, language=language_column, source=source_column)
    settings: dict[str, Any] = {"search": search, "k": top_k}
    if endpoint is None:
        if model is None:
            raise ConfigError(_NOBODY)
        predictor, codes = _local(model, settings)
        _measure(predictor, codes, on, columns, max_rows, top_k, out)
        return
    with CompletionsClient(endpoint, timeout=timeout, connections=concurrency) as client:
        settings.update(concurrency=concurrency)
        if model is not None:
            predictor, codes = _like_model(client, served_model, model, settings)
        elif taxonomy is not None:
            predictor, codes = _for_taxonomy(client, served_model, taxonomy, level, settings)
        else:
            raise ConfigError(_NOBODY)
        _measure(predictor, codes, on, columns, max_rows, top_k, out)


def _local(folder: Path, settings: Mapping[str, Any]) -> "tuple[Predictor, Taxonomy]":
    from jobtuner.scoring import load_exported

    scorer = load_exported(folder, **settings)
    return scorer, scorer.taxonomy


def _like_model(
    client: Any, served: str | None, folder: Path, settings: Mapping[str, Any]
) -> "tuple[Predictor, Taxonomy]":
    from jobtuner.served import ServedModel

    predictor = ServedModel(client, client.model(served), folder, **settings)
    return predictor, predictor.taxonomy


def _for_taxonomy(
    client: Any, served: str | None, path: Path, level: int | None, settings: Mapping[str, Any]
) -> "tuple[Predictor, Taxonomy]":
    from jobtuner.evaluate.predict import ask_for_taxonomy
    from jobtuner.taxonomy import load_taxonomy

    codes = load_taxonomy(path, level)
    return ask_for_taxonomy(client, client.model(served), codes, **settings), codes


def _measure(
    predictor: "Predictor", codes: "Taxonomy", on: Path, columns: Any, max_rows: int | None, top_k: int, out: Path
) -> None:
    from jobtuner.evaluate.results import measure_as_it_is
    from jobtuner.records import write_jsonl

    rows, rejected = _rows(on, columns, codes, max_rows)
    out.mkdir(parents=True, exist_ok=True)
    write_jsonl(out / "rejected.jsonl", (row.to_row() for row in rejected))
    if not rows:
        reasons = ", ".join(sorted({row.kind for row in rejected}))
        raise DataError(f"None of the {len(rejected)} rows of {on} is usable ({reasons}): see {out}/rejected.jsonl.")
    temperatures, languages = _temperatures(predictor, codes, rows)
    found = measure_as_it_is(
        "model",
        predictor,
        rows,
        batch_size=_TOGETHER,
        top_k=top_k,
        seed=0,
        temperatures=temperatures,
        languages=languages,
    )
    _write(found, out)
    _print(found, len(rejected), out)


def _temperatures(predictor: "Predictor", codes: "Taxonomy", rows: "list[Example]") -> "tuple[Temperatures, list[str]]":
    """The predictor's temperatures, and the language of each row: what its column says, else what lingua finds."""
    from jobtuner.languages import languages_of
    from jobtuner.probabilities import Temperatures

    temperatures: Temperatures = getattr(predictor, "temperatures", Temperatures())  # a server's chat has none
    said = [row.language for row in rows]
    if not temperatures.languages:
        return temperatures, said
    among = {*temperatures.languages, *codes.languages}
    return temperatures, languages_of([row.text for row in rows], said, among)


def _rows(on: Path, columns: Any, codes: "Taxonomy", max_rows: int | None) -> "tuple[list[Example], list[Rejected]]":
    """The usable rows as examples, each a cluster of its own, and the others with their reasons."""
    from itertools import islice

    from jobtuner.prepare.labels import LabelResolver
    from jobtuner.prepare.sources import Rejected, read_rows
    from jobtuner.records import Example

    resolver, usable, rejected = LabelResolver(codes), list[Example](), list[Rejected]()
    for row in islice(read_rows(on, columns), max_rows):
        if isinstance(row, Rejected):
            rejected.append(row)
            continue
        right, kind, reason = resolver.resolve_all(row.label or "", row.language)
        if not right:
            rejected.append(Rejected(row.id, kind, reason, row.text, row.label or "", row.language))
        else:
            usable.append(Example(row.id, row.text, right[0], row.language, row.id, right[1:], row.source or ""))
    return usable, rejected


def _write(found: "Measured", out: Path) -> None:
    import json

    from jobtuner.records import write_jsonl

    write_jsonl(out / "predictions.jsonl", found.predictions)
    text = json.dumps(found.metrics, ensure_ascii=False, indent=1, allow_nan=False)
    (out / "metrics.json").write_text(text + "\n", encoding="utf-8")


def _print(found: "Measured", rejected: int, out: Path) -> None:
    metrics = found.metrics
    typer.echo(f"{metrics['n']} rows evaluated, {rejected} rejected")
    names = {
        "accuracy": "accuracy",
        "top_k_accuracy": f"top {metrics['top_k']}",
        "macro_f1": "macro-F1",
        "log_loss": "log loss",
        "ece": "ECE",
        "set_f1": "set F1",
        "recall_at_k": f"recall {metrics['top_k']}",
    }
    for key, name in ((key, name) for key, name in names.items() if key in metrics):
        low, high = metrics.get(f"{key}_interval", (None, None))
        interval = "" if low is None else f"  [{low:.4f}, {high:.4f}]"
        typer.echo(f"  {name:<10}{metrics[key]:.4f}{interval}")
    for slices in (metrics["per_language"], metrics["per_source"]):
        for name, row in slices.items() if len(slices) > 1 else ():
            typer.echo(f"  {name:<10}{row['accuracy']:.4f} accuracy of {row['n']}")
    typer.echo(f"metrics.json, predictions.jsonl and rejected.jsonl in {out}")
