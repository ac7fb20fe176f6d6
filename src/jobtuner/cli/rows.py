"""`jobtuner evaluate --on FILE`: measure an exported model, or what a server answers, on labelled rows of your own."""

from collections.abc import Callable, Iterable, Mapping
from inspect import Parameter, Signature, signature
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from jobtuner.cli.options import latest
from jobtuner.errors import ConfigError, DataError

if TYPE_CHECKING:
    from jobtuner.evaluate.predict import Predictor
    from jobtuner.evaluate.results import Measured
    from jobtuner.prepare.sources import Rejected
    from jobtuner.probabilities import Temperatures
    from jobtuner.records import Example
    from jobtuner.taxonomy import Taxonomy

__all__ = ["evaluate_rows", "with_rows"]

_PANEL = "Your own rows"


def _option(help_text: str, *names: str, **more: Any) -> Any:
    return typer.Option(*names, help=help_text, rich_help_panel=_PANEL, **more)


_OPTIONS: dict[str, Any] = {
    "on": Annotated[
        Path | None, _option("Labelled rows to evaluate on instead of a run's test split.", metavar="FILE")
    ],
    "endpoint": Annotated[
        str | None,
        _option("OpenAI-compatible server, e.g. vLLM; its key comes from JOBTUNER_ENDPOINT_KEY.", metavar="URL"),
    ],
    "task": Annotated[
        str | None,
        _option("occupation, skills, cover_letter or instruct.", show_default="the exported model's, else occupation"),
    ],
    "model": Annotated[Path | None, _option("Exported model: prompts, labels, and without --endpoint the weights.")],
    "taxonomy": Annotated[
        Path | None, _option("Codes (JSONL or CSV) that the server may answer; asks by chat, needs no --model.")
    ],
    "level": Annotated[int | None, _option("Hierarchy level of the taxonomy's codes.", show_default="the deepest")],
    "served_model": Annotated[str | None, _option("The server's name for the model.", show_default="the only one")],
    "search": Annotated[
        str | None,
        _option("exact: every code's probability; top: the best codes, proven; greedy.", show_default="exact"),
    ],
    "top_k": Annotated[int | None, _option("Codes kept a row.", show_default="5", min=2)],
    "max_rows": Annotated[int | None, _option("Use the first rows alone.", min=1)],
    "concurrency": Annotated[int | None, _option("Ads the server is asked about at once.", show_default="8", min=1)],
    "timeout": Annotated[float | None, _option("Seconds a request may take.", show_default="120", min=0.1)],
    "text_column": Annotated[str | None, _option("Column of the ad's text.", show_default="text")],
    "label_column": Annotated[
        str | None, _option("Column of the code; of several (a list, or | between) any is right.", show_default="label")
    ],
    "language_column": Annotated[str | None, _option("Column of the language.", show_default="none")],
    "source_column": Annotated[
        str | None, _option("Column that says where a row came from: each source is told apart.", show_default="none")
    ],
}
_OF_LABELS = ("taxonomy", "level", "search", "top_k", "label_column", "source_column")
_OF_SERVERS = ("taxonomy", "level", "served_model", "concurrency", "timeout")


def with_rows(command: Callable[..., None]) -> Callable[..., None]:
    """The command of the stage evaluate, which with `--on` evaluates on a file instead."""

    def either(**options: Any) -> None:
        mine = {name: options.pop(name) for name in _OPTIONS}
        given = {name: value for name, value in mine.items() if value is not None}
        if "on" not in given:
            _refuse(given, "without --on FILE")
            command(**options)
            return
        out, settings = options.pop("out"), options.pop("settings")
        _refuse([name for name, value in options.items() if value], "with --on FILE, which needs no run")
        _check_options(given)
        _check_out(out)
        task, folder = _task(given.pop("task", None), given)
        if task == "occupation":
            _refuse(["set"] if settings else [], "with --on FILE and the task occupation")
            evaluate_rows(out=out, **given)
        else:
            _refuse([name for name in _OF_LABELS if name in given], f"with the task {task}, which answers in text")
            _in_text(task, settings or [], out, {**given, "model": folder})

    theirs = list(signature(command).parameters.values())
    added = [Parameter(name, Parameter.KEYWORD_ONLY, annotation=kind, default=None) for name, kind in _OPTIONS.items()]
    either.__annotations__ = {item.name: item.annotation for item in [*theirs, *added]}
    either.__signature__ = Signature([*theirs, *added])  # type: ignore[attr-defined]  # inspect reads it
    return either


def _check_options(given: Mapping[str, Any]) -> None:
    from jobtuner.labels.walk import check_search

    check_search(given.get("search", "exact"), given.get("top_k", 1))
    if "endpoint" not in given:
        _refuse([name for name in _OF_SERVERS if name in given], "without --endpoint URL")
    if "taxonomy" not in given:
        _refuse([name for name in ("level",) if name in given], "without --taxonomy FILE")
    elif "model" in given:
        raise ConfigError("--model and --taxonomy exclude each other: an exported model has its taxonomy with it.")


def _task(task: str | None, given: Mapping[str, Any]) -> tuple[str, Path | None]:
    """The task, and the exported model that tells how it is asked; None: a server alone, asked by the options.

    Raises:
        ConfigError: it is none, or not the exported model's.
        ModelError: the exported model cannot be read.
    """
    from jobtuner.scoring import InferenceSettings
    from jobtuner.tasks import CHAT_TASKS

    accepted = ["occupation", *sorted(CHAT_TASKS)]
    if task is not None and task not in accepted:
        raise ConfigError(f"There is no task '{task}'; {', '.join(accepted)} are accepted.")
    alone = "endpoint" in given and "model" not in given  # a server and no folder: nothing says more than the options
    if "taxonomy" in given or (alone and task in CHAT_TASKS):
        return task or "occupation", None
    folder = _model_folder(given.get("model"))
    trained = InferenceSettings.load(folder).task
    if task not in {None, trained}:
        raise ConfigError(
            f"The model in {folder} was trained for the task {trained}, not {task}. Name another with --model, or "
            "leave out --task."
        )
    return trained, folder


def _in_text(task: str, settings: list[str], out: Path, given: Mapping[str, Any]) -> None:
    from jobtuner.cli.rows_chat import evaluate_chat_rows, settings_of

    rest = dict(given)
    columns = {name: rest.pop(f"{name}_column", None) for name in ("text", "language")}
    evaluate_chat_rows(settings_of(task, settings, columns), out=out, **rest)


def evaluate_rows(
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
        ConfigError: the URL is none.
        DataError: the rows cannot be read, or none of them is usable.
        DeployError: the server cannot be used.
        ModelError: the model cannot be used.
    """
    from jobtuner.completions import CompletionsClient
    from jobtuner.config import Columns

    columns = Columns(text=text_column, label=label_column, language=language_column, source=source_column)
    settings: dict[str, Any] = {"search": search, "k": top_k}
    if endpoint is None:
        predictor, codes = _local(_model_folder(model), settings)
        _measure(predictor, codes, on, columns, max_rows, top_k, out)
        return
    with CompletionsClient(endpoint, timeout=timeout, connections=concurrency) as client:
        settings.update(concurrency=concurrency)
        if taxonomy is None:
            predictor, codes = _like_model(client, served_model, _model_folder(model), settings)
        else:
            predictor, codes = _for_taxonomy(client, served_model, taxonomy, level, settings)
        _measure(predictor, codes, on, columns, max_rows, top_k, out)


def _model_folder(model: Path | None) -> Path:
    return latest("export", "model") if model is None else model


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


_TOGETHER = 64  # rows between two steps of the progress bar


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


def _check_out(out: Path) -> None:
    """Only an empty folder, or one with a former result of this command, is written into."""
    if out.exists() and not out.is_dir():
        raise ConfigError(f"--out {out} is a file. Give a folder.")
    if out.is_dir() and any(out.iterdir()) and not (out / "rejected.jsonl").is_file():
        raise ConfigError(f"--out {out} holds other files. Give a new or an empty folder.")


def _refuse(given: Iterable[str], where: str) -> None:
    if names := [f"--{name.replace('_', '-')}" for name in given]:
        raise ConfigError(f"{', '.join(names)} would have no effect {where}.")
