"""`jobtuner evaluate --on FILE` for the tasks that answer in text: an exported model, or any server, on rows of one's
own."""

import tempfile
from collections.abc import Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from jobtuner.errors import ConfigError, DataError

if TYPE_CHECKING:
    from jobtuner.config import Config
    from jobtuner.generation import Chat, Writer
    from jobtuner.records import ChatAnswer, ChatExample

__all__ = ["evaluate_chat_rows", "settings_of"]

_SECTIONS = ("data.columns.", "chat.", "clean.", "seed=")
_TOGETHER = 32  # rows between two steps of the progress bar


def settings_of(task: str, settings: Sequence[str], columns: Mapping[str, str | None]) -> "Config":
    """The settings of an evaluation: defaults, columns from options of their own, and `--set`.

    Raises:
        ConfigError: a setting is wrong, or nothing here reads it.
    """
    from jobtuner.cli.options import parse_overrides
    from jobtuner.config import load_config

    unread = [setting for setting in settings if not setting.startswith(_SECTIONS)]
    if unread:
        names = ", ".join(name.rstrip("=") for name in _SECTIONS)
        raise ConfigError(f"--set {unread[0]} would have no effect with --on FILE; accepted are {names}.")
    named = {"task": task, **{f"data.columns.{name}": column for name, column in columns.items()}}
    return load_config("smoke", parse_overrides(settings, named))


def evaluate_chat_rows(
    config: "Config",
    *,
    on: Path,
    out: Path,
    endpoint: str | None = None,
    model: Path | None = None,
    served_model: str | None = None,
    max_rows: int | None = None,
    concurrency: int = 8,
    timeout: float = 120.0,
) -> None:
    """Evaluate on rows with right answers; write metrics.json, predictions.jsonl and rejected.jsonl.

    Args:
        config: of `settings_of`.
        on: the rows.
        out: gets the results.
        endpoint: a server that answers; None: the exported model does.
        model: the exported model; with an endpoint it tells how texts are cleaned, cut and answered, and may be None.
        served_model: the server's name for the model.
        max_rows: use the first ones alone.
        concurrency: chats that the server is asked at once.
        timeout: seconds a request may take.

    Raises:
        ConfigError: the URL is none, or there is neither model nor URL.
        DataError: the rows cannot be read, or none of them is usable.
        DeployError: the server cannot be used.
        ModelError: the model cannot be used.
    """
    from jobtuner.completions import CompletionsClient
    from jobtuner.generation import load_chat_prompts, load_exported_writer
    from jobtuner.served_writer import ServedWriter
    from jobtuner.tasks import get_chat_task

    if endpoint is None:
        if model is None:
            raise ConfigError("Neither an exported model nor a server is given: add --model FOLDER or --endpoint URL.")
        writer = load_exported_writer(model, config.chat.batch_size)
        examples, rejected = _examples(_cleaned_as(config, writer.settings.clean), on, out, max_rows)
        chats = [writer.prompts.of_example(row) for row in examples]
        _measure(config, writer, examples, chats, rejected, out)
        return
    prompts = None if model is None else load_chat_prompts(model)
    cleaned = config if prompts is None else _cleaned_as(config, prompts.settings.clean)
    longest = config.chat.max_answer_tokens if prompts is None else prompts.settings.max_answer_tokens
    examples, rejected = _examples(cleaned, on, out, max_rows)
    task = get_chat_task(config.task)
    chats = [task.prompt(row.text, row.facts) if prompts is None else prompts.of_example(row) for row in examples]
    with CompletionsClient(endpoint, timeout=timeout, connections=concurrency) as client:
        served = ServedWriter(client, client.model(served_model), longest, concurrency)
        _measure(config, served, examples, chats, rejected, out)


def _cleaned_as(config: "Config", clean: Mapping[str, Any]) -> "Config":
    """The settings with the cleaning that a model was trained with."""
    from jobtuner.config import CleanConfig

    return config.model_copy(update={"clean": CleanConfig.model_validate(clean)})


def _examples(config: "Config", on: Path, out: Path, max_rows: int | None) -> "tuple[list[ChatExample], int]":
    """The usable rows, and how many are not; those are written with their reasons."""
    from jobtuner.prepare.chat_rows import read_chat_rows
    from jobtuner.prepare.chat_stage import chat_examples
    from jobtuner.records import write_jsonl

    with tempfile.TemporaryDirectory() as downloads:
        rows = read_chat_rows(str(on), Path(downloads), config)
        examples, rejected = chat_examples(islice(rows, max_rows), config)
    out.mkdir(parents=True, exist_ok=True)
    write_jsonl(out / "rejected.jsonl", (row.to_row() for row in rejected))
    if not examples:
        reasons = ", ".join(sorted({row.kind for row in rejected}))
        raise DataError(f"None of the {len(rejected)} rows of {on} is usable ({reasons}): see {out}/rejected.jsonl.")
    return examples, len(rejected)


def _measure(
    config: "Config",
    writer: "Writer",
    examples: "Sequence[ChatExample]",
    chats: "Sequence[Chat]",
    rejected: int,
    out: Path,
) -> None:
    import json

    from jobtuner.chat_metrics import measure_chats
    from jobtuner.records import write_jsonl

    answers = _answered(config, writer, examples, chats)
    metrics = measure_chats(config.task, answers, config.seed)
    write_jsonl(out / "predictions.jsonl", answers)
    text = json.dumps(metrics, ensure_ascii=False, indent=1, allow_nan=False)
    (out / "metrics.json").write_text(text + "\n", encoding="utf-8")
    _print(metrics, rejected, out)


def _answered(
    config: "Config", writer: "Writer", examples: "Sequence[ChatExample]", chats: "Sequence[Chat]"
) -> "list[ChatAnswer]":
    """The answers with their scores; of a model on this machine with the loss on the right answers, too."""
    from dataclasses import replace

    from jobtuner.chat_scores import score_answers
    from jobtuner.generation import LocalWriter, Sampling
    from jobtuner.progress import track
    from jobtuner.skill_links import SkillLinker, load_skills

    skills = config.chat.skills_taxonomy
    linker = None if skills is None else SkillLinker(load_skills(Path(skills)))
    sampling = Sampling(config.chat.temperature, config.seed)
    found: list[ChatAnswer] = []
    with track("Answers of the model", total=len(examples), unit="examples") as bar:
        for start in range(0, len(examples), _TOGETHER):
            rows, part = examples[start : start + _TOGETHER], chats[start : start + _TOGETHER]
            scored = score_answers(config.task, rows, writer.answers(part, sampling), linker)
            if isinstance(writer, LocalWriter):
                measured = [item.log_probabilities for item in writer.measure(part, [row.answer for row in rows])]
                scored = [
                    replace(row, scores={**row.scores, "loss": -sum(steps), "tokens": float(len(steps))})
                    for row, steps in zip(scored, measured, strict=True)
                ]
            found += scored
            bar.advance(len(rows))
    return found


def _print(metrics: Mapping[str, Any], rejected: int, out: Path) -> None:
    typer.echo(f"{metrics['n']} rows evaluated, {rejected} rejected")
    for key in [name for name in metrics if f"{name}_interval" in metrics]:
        low, high = metrics[f"{key}_interval"]
        typer.echo(f"  {key:<30}{metrics[key]:.4f}  [{low:.4f}, {high:.4f}]")
    headline, languages = metrics["headline"], metrics["per_language"]
    for name, row in languages.items() if len(languages) > 1 else ():
        typer.echo(f"  {name:<30}{row[headline]:.4f} {headline} of {row['n']}")
    typer.echo(f"metrics.json, predictions.jsonl and rejected.jsonl in {out}")
