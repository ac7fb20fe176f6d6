"""`jobtuner batch IN OUT --endpoint URL`: a file of ads by way of a gateway."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from jobtuner.errors import ConfigError

if TYPE_CHECKING:
    from jobtuner.serve.batch import BatchJob, Summary
    from jobtuner.serve.batch_files import Task

__all__ = ["add_to"]

_KEY_VARIABLE = "JOBTUNER_ENDPOINT_KEY"
_MOST: "dict[Task, int]" = {"occupations": 64, "skills": 16, "cover-letters": 1}
"""Task to the ads a request may hold."""
_PATIENCE = 12  # attempts a request: 0.5, 1, 2 … 30 s, some four minutes for a gateway that restarts


def add_to(app: typer.Typer) -> None:
    """Register the command."""
    app.command("batch")(_batch)


def _batch(
    source: Annotated[Path, typer.Argument(metavar="IN", help="Ads: .jsonl, .csv (both also .gz) or .parquet.")],
    target: Annotated[Path, typer.Argument(metavar="OUT", help="Answers, in the ads' order; the same endings.")],
    endpoint: Annotated[str, typer.Option(metavar="URL", help="The gateway (jobtuner serve).")],
    key_env: Annotated[str, typer.Option(metavar="NAME", help="Environment variable with its key.")] = _KEY_VARIABLE,
    task: Annotated[str, typer.Option(help="occupations, skills or cover-letters.")] = "occupations",
    text_column: Annotated[str, typer.Option(help="Column of the ad's text.")] = "text",
    id_column: Annotated[str | None, typer.Option(help="Column of its id.", show_default="the row's number")] = None,
    language_column: Annotated[str | None, typer.Option(help="Column of its language.", show_default="none")] = None,
    applicant_column: Annotated[
        str | None, typer.Option(help="For letters: column with who applies, a JSON object.", show_default="none")
    ] = None,
    applicant: Annotated[
        Path | None, typer.Option(help="For letters: JSON file with who applies, for all rows.", metavar="FILE")
    ] = None,
    top_k: Annotated[int, typer.Option(min=1, max=20, help="Codes an ad.")] = 5,
    title_language: Annotated[str | None, typer.Option(help="Of the titles.", show_default="each ad's")] = None,
    concurrency: Annotated[int, typer.Option(min=1, max=256, help="Requests under way at once.")] = 8,
    ads_per_request: Annotated[
        int, typer.Option(min=1, max=64, help="Ads a request; at most 16 for skills, 1 for letters.")
    ] = 16,
    timeout: Annotated[float, typer.Option(min=0.1, help="Seconds a request may take.")] = 120.0,
    price_per_hour: Annotated[
        float | None, typer.Option(min=0.0, help="Of the machines behind the endpoint: prints the cost of 1,000 ads.")
    ] = None,
    restart: Annotated[bool, typer.Option("--restart", help="Forget what an unfinished run has left.")] = False,
) -> None:
    """Ask about every ad of a file. Killed or cut off, the same command goes on where it was."""
    from jobtuner.completions import CompletionsClient
    from jobtuner.serve.batch import BatchJob, run_batch
    from jobtuner.serve.batch_client import endpoint_ask, endpoint_model
    from jobtuner.serve.batch_files import Columns

    known = _task(task)
    columns = Columns(text_column, id_column, language_column, applicant_column)
    facts = _facts(known, applicant, applicant_column)
    with CompletionsClient(
        endpoint, timeout=timeout, connections=concurrency, attempts=_PATIENCE, key_variable=key_env
    ) as client:
        job = BatchJob(
            *(source, target, known, columns),
            ads_per_request=min(ads_per_request, _MOST[known]),
            concurrency=concurrency,
            label=f"{endpoint_model(client)} {top_k} {title_language} {json.dumps(facts, sort_keys=True)}",
            restart=restart,
        )
        summary = run_batch(
            job, endpoint_ask(client, known, top_k=top_k, title_language=title_language, applicant=facts)
        )
    _tell(summary, job, price_per_hour)


def _task(name: str) -> "Task":
    for task in _MOST:
        if name == task:
            return task
    raise ConfigError(f"--task is {name}; {', '.join(_MOST)} are accepted.")


def _facts(task: "Task", applicant: Path | None, column: str | None) -> dict[str, Any] | None:
    """Who writes the letters, where one person writes them all."""
    if task != "cover-letters":
        if applicant is not None or column is not None:
            raise ConfigError("--applicant and --applicant-column would have no effect without --task cover-letters.")
        return None
    if (applicant is None) == (column is None):
        raise ConfigError("Letters need to know who applies: give --applicant FILE, or --applicant-column NAME.")
    if applicant is None:
        return None
    try:
        facts = json.loads(applicant.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"--applicant {applicant} cannot be read ({error}); a JSON object is needed.") from error
    if not isinstance(facts, dict):
        raise ConfigError(f'--applicant {applicant} holds no JSON object such as {{"name": "Ada"}}.')
    return facts


def _tell(summary: "Summary", job: "BatchJob", price_per_hour: float | None) -> None:
    done = summary.rows - summary.reused
    rate = f", {done / summary.seconds:,.1f} ads/s" if summary.seconds > 0.0 and done else ""
    reused = f" ({summary.reused} by an earlier run)" if summary.reused else ""
    typer.echo(f"{summary.answered} of {summary.rows} ads answered{reused}, {summary.rejected} rejected{rate}")
    if job.task == "occupations":
        typer.echo(f"  {summary.by_baseline} by the baseline, {summary.abstained} for a person to look at")
    if price_per_hour is not None and done:
        typer.echo(f"  1,000 ads cost {summary.cost_per_thousand(price_per_hour):.4f} at {price_per_hour:g} an hour")
    typer.echo(f"  {job.target}; rejects with their reasons: {job.rejects}")
