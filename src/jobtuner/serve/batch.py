"""Millions of ads by way of an endpoint: in order, a part at a time, taken up again where it was cut off.

    IN → parts of 2,000 rows → requests of 16 ads, 8 at once → OUT.parts/part-000000.jsonl … → OUT, OUT.rejected.jsonl

A part is written to a temporary file, synced and renamed: after a kill it is there as a whole or not at all. No more
than two parts are in memory, however slow the endpoint is.
"""

import json
import os
import shutil
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from jobtuner.completions import RefusedError
from jobtuner.errors import ConfigError, DataError
from jobtuner.progress import Bar, track
from jobtuner.serve.batch_files import Columns, Row, Task, count_rows, file_kind, read_rows, write_answers

__all__ = ["Ask", "BatchJob", "Summary", "run_batch"]

Ask = Callable[[Sequence[Row]], list[dict[str, Any]]]
"""Answers to some ads, one each, in their order; raises `RefusedError` where the ads are at fault."""

_MAX_CHARS = 20_000
_JOB_FILE = "job.json"
_TALLY = ("answered", "rejected", "by_baseline", "abstained")


@dataclass(frozen=True)
class BatchJob:
    """What is to be done."""

    source: Path
    target: Path
    task: Task = "occupations"
    columns: Columns = field(default_factory=Columns)
    part_rows: int = 2_000
    ads_per_request: int = 16
    concurrency: int = 8
    """Requests under way at once."""
    label: str = ""
    """What must be the same when the job is taken up again, beside input and task: the model's name, say."""
    progress: bool = True
    """Draw a bar, or write a line every ten seconds."""
    restart: bool = False
    """Forget what an unfinished run has left."""

    @property
    def parts(self) -> Path:
        """Folder of the finished parts."""
        return self.target.with_name(f"{self.target.name}.parts")

    @property
    def rejects(self) -> Path:
        """File of the rows that have no answer."""
        return self.target.with_name(f"{self.target.name}.rejected.jsonl")


@dataclass(frozen=True)
class Summary:
    """What was done."""

    rows: int
    """answered + rejected."""
    answered: int
    rejected: int
    by_baseline: int
    """Ads that cost no call of the model."""
    abstained: int
    """Answers that a person should look at."""
    reused: int
    """Rows that an earlier run had finished."""
    seconds: float
    """Of this run."""

    def cost_per_thousand(self, price_per_hour: float) -> float:
        """Price of 1,000 ads on a machine that is paid by the hour, at this run's rate.

        Raises:
            DataError: this run did nothing.
        """
        done = self.rows - self.reused
        if done < 1:
            raise DataError("Every row was finished before: this run's rate says nothing about the cost.")
        return price_per_hour * self.seconds / 3600.0 / done * 1000.0


class _NoBar:
    def advance(self, amount: float = 1, **values: float | str) -> None:
        pass


def run_batch(job: BatchJob, ask: Ask) -> Summary:
    """Do what is left of the job, then put the parts together.

    Raises:
        ConfigError: a name has another ending, or an unfinished run was of another input or model.
        DataError: the input cannot be read.
        DeployError: the endpoint does not answer; what is finished stays for the next run.
    """
    file_kind(job.target)
    if not job.source.is_file():
        raise DataError(f"There is no file {job.source}.")
    total = count_rows(job.source)
    _open_parts(job)
    started, tallies = time.monotonic(), dict[int, dict[str, int]]()
    finished = _finished(job)
    reused = sum(tally["answered"] + tally["rejected"] for tally in finished.values())
    pool = ThreadPoolExecutor(job.concurrency, thread_name_prefix="batch")
    try:
        with track("Asking", total=total, unit="ads", start=reused) if job.progress else nullcontext(_NoBar()) as bar:
            for number, tally in _work(job, ask, pool, frozenset(finished), bar):
                tallies[number] = tally
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
    return _complete(job, {**finished, **tallies}, reused, time.monotonic() - started)


def _open_parts(job: BatchJob) -> None:
    """Make the folder of parts, or see that the one there is of this job."""
    stat = job.source.stat()
    mine = {
        "source": str(job.source.resolve()),
        "size": stat.st_size,
        "changed": stat.st_mtime_ns,
        "task": job.task,
        "columns": asdict(job.columns),
        "part_rows": job.part_rows,
        "label": job.label,
    }
    if job.restart:
        shutil.rmtree(job.parts, ignore_errors=True)
    job.parts.mkdir(parents=True, exist_ok=True)
    try:
        theirs = json.loads((job.parts / _JOB_FILE).read_text(encoding="utf-8"))
    except FileNotFoundError:
        _write(job.parts / _JOB_FILE, json.dumps(mine, ensure_ascii=False))
        return
    except ValueError as error:
        raise ConfigError(f"{job.parts / _JOB_FILE} is broken. --restart begins anew.") from error
    if theirs != mine:
        other = ", ".join(sorted(key for key in mine if theirs.get(key) != mine[key]))
        raise ConfigError(
            f"{job.parts} is an unfinished run with another {other}. Finish that one, give another output, or begin "
            "anew with --restart."
        )


def _finished(job: BatchJob) -> dict[int, dict[str, int]]:
    """Tallies of the parts that are there."""
    return {
        int(path.stem.split("-")[1]): json.loads(path.read_text(encoding="utf-8"))
        for path in sorted(job.parts.glob("tally-*.json"))
    }


def _work(
    job: BatchJob, ask: Ask, pool: ThreadPoolExecutor, finished: frozenset[int], bar: Bar
) -> Iterator[tuple[int, dict[str, int]]]:
    """Ask about the parts that are not finished, two at a time, and give each one's tally when it is on disk."""
    under_way: deque[tuple[int, list[Row], list[Future[list[dict[str, Any]]]]]] = deque()
    rows = read_rows(job.source, job.columns)
    number = 0
    while part := list(islice(rows, job.part_rows)):
        if number not in finished:
            usable = [row for row in map(_judged, part) if not row.reason]
            requests = [usable[at : at + job.ads_per_request] for at in range(0, len(usable), job.ads_per_request)]
            futures = [pool.submit(_ask, ask, request, bar) for request in requests]
            under_way.append((number, [row for row in map(_judged, part) if row.reason], futures))
        while len(under_way) > 1:
            yield _close(job, bar, *under_way.popleft())
        number += 1
    while under_way:
        yield _close(job, bar, *under_way.popleft())


def _judged(row: Row) -> Row:
    """The row, with a reason where no endpoint would take it."""
    if row.reason:
        return row
    if not row.text.strip():
        return Row(row.number, row.id, reason="the text is empty")
    if len(row.text) > _MAX_CHARS:
        return Row(row.number, row.id, reason=f"the text has {len(row.text)} characters; {_MAX_CHARS} are accepted")
    return row


def _ask(ask: Ask, rows: Sequence[Row], bar: Bar) -> list[dict[str, Any]]:
    """Answers to the rows; where they are refused together each by itself, so that one costs only itself."""
    try:
        answers = ask(rows)
    except RefusedError as error:
        if len(rows) > 1:
            return [answer for row in rows for answer in _ask(ask, [row], bar)]
        answers = [{"reason": str(error)}]
    bar.advance(len(rows))
    return [{"row": row.number, "id": row.id, **answer} for row, answer in zip(rows, answers, strict=True)]


def _close(
    job: BatchJob, bar: Bar, number: int, rejected: list[Row], futures: list[Future[list[dict[str, Any]]]]
) -> tuple[int, dict[str, int]]:
    """Wait for a part's answers and write it: answers, rejects, and last the tally that says it is finished."""
    found = [answer for future in futures for answer in future.result()]
    bar.advance(len(rejected))
    refused: list[dict[str, Any]] = [{"row": row.number, "id": row.id, "reason": row.reason} for row in rejected]
    answers = [answer for answer in found if "reason" not in answer]
    refused = sorted([*refused, *(answer for answer in found if "reason" in answer)], key=lambda item: item["row"])
    tally = {
        "answered": len(answers),
        "rejected": len(refused),
        "by_baseline": sum(answer.get("answered_by") == "baseline" for answer in answers),
        "abstained": sum(bool(answer.get("abstain")) for answer in answers),
    }
    for name, lines in (("part", answers), ("rejected", refused)):
        _write(
            job.parts / f"{name}-{number:06}.jsonl", "".join(json.dumps(x, ensure_ascii=False) + "\n" for x in lines)
        )
    _write(job.parts / f"tally-{number:06}.json", json.dumps(tally))
    return number, tally


def _write(path: Path, text: str) -> None:
    """Write as a whole or not at all."""
    temporary = path.with_suffix(".tmp")
    with temporary.open("w", encoding="utf-8") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())
    temporary.replace(path)


def _complete(job: BatchJob, tallies: dict[int, dict[str, int]], reused: int, seconds: float) -> Summary:
    write_answers(job.target, _lines(job, "part"), job.task)
    write_answers(job.rejects, _lines(job, "rejected"), job.task)
    total = {key: sum(tally[key] for tally in tallies.values()) for key in _TALLY}
    summary = Summary(total["answered"] + total["rejected"], **total, reused=reused, seconds=round(seconds, 3))
    shutil.rmtree(job.parts)
    return summary


def _lines(job: BatchJob, name: str) -> Iterator[dict[str, Any]]:
    for path in sorted(job.parts.glob(f"{name}-*.jsonl")):
        with path.open(encoding="utf-8") as stream:
            yield from map(json.loads, stream)
