"""`jobtuner evaluate --on FILE`: measure an exported model, or what a server answers, on labelled rows of your own."""

from collections.abc import Callable, Iterable, Mapping
from inspect import Parameter, Signature, signature
from pathlib import Path
from typing import Annotated, Any

import typer

from jobtuner.cli.options import latest
from jobtuner.cli.rows_labels import evaluate_label_rows
from jobtuner.errors import ConfigError

__all__ = ["with_rows"]

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
            evaluate_label_rows(out=out, **{**given, "model": folder})
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


def _model_folder(model: Path | None) -> Path:
    return latest("export", "model") if model is None else model


def _check_out(out: Path) -> None:
    """Only an empty folder, or one with a former result of this command, is written into."""
    if out.exists() and not out.is_dir():
        raise ConfigError(f"--out {out} is a file. Give a folder.")
    if out.is_dir() and any(out.iterdir()) and not (out / "rejected.jsonl").is_file():
        raise ConfigError(f"--out {out} holds other files. Give a new or an empty folder.")


def _refuse(given: Iterable[str], where: str) -> None:
    if names := [f"--{name.replace('_', '-')}" for name in given]:
        raise ConfigError(f"{', '.join(names)} would have no effect {where}.")
