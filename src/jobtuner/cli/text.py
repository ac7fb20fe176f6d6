"""`jobtuner skills`, `letter` and `chat`: an exported model that answers in text."""

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from jobtuner.cli.options import ModelOption, latest
from jobtuner.errors import DataError, ModelError

if TYPE_CHECKING:
    from jobtuner.generation import LocalWriter

__all__ = ["add_to"]

_Json = Annotated[bool, typer.Option("--json", help="One JSON object an answer.")]
_Temperature = Annotated[float, typer.Option(min=0.0, max=2.0, help="0: the likeliest word each time.")]


def add_to(app: typer.Typer) -> None:
    """Register the commands."""
    app.command("skills")(_skills)
    app.command("letter")(_letter)
    app.command("chat")(_chat)


def _skills(
    texts: Annotated[list[str], typer.Argument(metavar="AD...", help="Job ads, each in quotes.")],
    model: ModelOption = None,
    as_json: _Json = False,
) -> None:
    """Quote the skills that job ads ask for, with their places."""
    from jobtuner.tasks import SkillsTask

    _check_texts(texts)
    writer = _writer("skills", model)
    task = SkillsTask()
    for text, answer in zip(texts, writer.answers([writer.prompts.chat(text) for text in texts]), strict=True):
        spans = task.parse(answer, text)
        if as_json:
            rows = [{"text": span.text, "start": span.start, "end": span.end} for span in spans]
            typer.echo(json.dumps({"text": text, "skills": rows}, ensure_ascii=False))
        else:
            typer.echo("\n".join(f"{span.start}-{span.end}\t{span.text}" for span in spans) or "(none)")


def _letter(
    *,
    ad: Annotated[str, typer.Argument(metavar="AD", help="The job ad, in quotes; '-' reads it from standard input.")],
    name: Annotated[str, typer.Option(help="Who applies.")],
    role: Annotated[str, typer.Option(help="The job applied for.", show_default="the ad's")] = "",
    company: Annotated[str, typer.Option(help="The employer written to.")] = "",
    skill: Annotated[list[str] | None, typer.Option(help="A skill of the applicant; may be repeated.")] = None,
    reason: Annotated[list[str] | None, typer.Option(help="Why this job; may be repeated.")] = None,
    experience: Annotated[list[str] | None, typer.Option(help="Earlier post or degree; may be repeated.")] = None,
    language: Annotated[str, typer.Option(help="Of the letter, e.g. de.", show_default="the ad's, by a guess")] = "",
    temperature: _Temperature = 0.0,
    model: ModelOption = None,
    as_json: _Json = False,
) -> None:
    """Draft a cover letter from an ad and the applicant's facts, and name every claim that neither supports."""
    from jobtuner.display import guess_language
    from jobtuner.generation import Sampling
    from jobtuner.tasks import Applicant, CoverLetterTask

    text = sys.stdin.read() if ad == "-" else ad
    _check_texts([text])
    facts: dict[str, Any] = {"name": name, "role": role, "company": company, "language": language}
    facts |= {"skills": skill or [], "reasons": reason or [], "experience": experience or []}
    applicant = Applicant.from_json({**facts, "language": language or guess_language(text)})
    writer, task = _writer("cover_letter", model), CoverLetterTask()
    chat = writer.prompts.chat(text, {"applicant": applicant.to_json()})
    letter = task.parse(writer.answers([chat], Sampling(temperature))[0])
    claims = task.grounding(letter, text, applicant, applicant.language).claims
    if as_json:
        told = [{"kind": item.kind, "text": item.text, "start": item.start, "source": item.source} for item in claims]
        typer.echo(json.dumps({"letter": letter, "claims": told}, ensure_ascii=False))
        return
    typer.echo(letter)
    for item in claims:
        if not item.supported:
            typer.echo(f"Not in ad or facts ({item.kind}): {item.text}", err=True)


def _chat(
    text: Annotated[str, typer.Argument(metavar="INSTRUCTION", help="In quotes.")],
    temperature: _Temperature = 0.0,
    model: ModelOption = None,
) -> None:
    """Answer one instruction, as the words come."""
    from jobtuner.generation import Sampling

    _check_texts([text])
    writer = _writer("instruct", model)
    for piece in writer.stream(writer.prompts.chat(text), Sampling(temperature)):
        typer.echo(piece, nl=False)
    typer.echo()


def _check_texts(texts: list[str]) -> None:
    if not all(text.strip() for text in texts):
        raise DataError("A text is empty; put it in quotes: jobtuner skills 'Night nurse: triage, wound care'.")


def _writer(task: str, model: Path | None) -> "LocalWriter":
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")  # a small model is read in no time
    from jobtuner.generation import load_exported_writer

    folder = latest("export", "model") if model is None else model
    writer = load_exported_writer(folder)
    if writer.settings.task != task:
        raise ModelError(
            f"The model in {folder} was trained for the task {writer.settings.task}; {task} is needed here. Name "
            "another one with --model."
        )
    return writer
