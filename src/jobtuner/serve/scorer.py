"""Scoring beside the event loop: requests that come together are scored together; a short queue; checked numbers.

Batches are not waited for where there is little to do: a request that finds a free worker goes at once, unless the
batch before held several requests. Then the next ones are a few milliseconds away, and worth waiting for.
"""

import asyncio
import logging
import math
import time
from collections import deque
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from jobtuner.errors import ModelError
from jobtuner.serve.backend import PROBE, Predictor

__all__ = ["Batching", "BusyError", "Scorer"]

_TOLERANCE = 1e-3  # of a row's sum: float32 over 3,000 labels is exact to some 1e-5
_LOG = logging.getLogger("jobtuner.serve")


class BusyError(Exception):
    """All workers are at work and the queue is full."""

    def __init__(self, retry_after: int) -> None:
        super().__init__(f"busy, retry after {retry_after} s")
        self.retry_after = retry_after
        """Whole seconds after which a place is likely."""


@dataclass(frozen=True)
class Batching:
    """What is scored in one call of the predictor. A single request is never split, nor refused for its size."""

    ads: int = 32
    """Ads of several requests together; 1: every request by itself."""
    size: int = 64 * 1024
    """UTF-8 bytes of several requests together. A byte-level tokenizer gives a text no more tokens than bytes."""
    wait: float = 0.003
    """Seconds that the first of several requests waits for the others."""


@dataclass(eq=False)
class _Job:
    """One request's texts, and where its rows go."""

    texts: Sequence[str]
    rows: "asyncio.Future[NDArray[np.float64]]"

    def answer(self, rows: NDArray[np.float64] | Exception) -> None:
        if self.rows.done():
            return  # its request was cancelled
        if isinstance(rows, Exception):
            self.rows.set_exception(rows)
        else:
            self.rows.set_result(rows)


class Scorer:
    """Runs a predictor in worker threads; for one event loop.

    Args:
        predictor: the model.
        workers: batches scored at once; 1 suits torch, which spreads one batch over all cores.
        queue: requests that may wait for a worker.
        batching: what is scored together.
    """

    def __init__(self, predictor: Predictor, workers: int, queue: int, batching: Batching | None = None) -> None:
        self._predictor, self._workers, self._queue = predictor, workers, queue
        self._batching = batching if batching is not None else Batching()
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="scoring")
        self._waiting: deque[_Job] = deque()
        self._tasks: set[asyncio.Task[None]] = set()  # the event loop itself keeps no hold of a task
        self._busy = 0
        self._timer: asyncio.TimerHandle | None = None
        self._last_seconds, self._last_jobs = 0.0, 0
        self._probe: asyncio.Task[None] | None = None
        self._probed = -math.inf
        self.answering = False
        """Whether the last probe was answered."""

    async def score(self, texts: Sequence[str]) -> NDArray[np.float64]:
        """Probabilities of the labels, shape [n, L].

        Raises:
            BusyError: no place in the queue.
            ModelError: the model answered with something else than n finite distributions.
        """
        if seconds := self.full():
            raise BusyError(seconds)
        job = _Job(texts, asyncio.get_running_loop().create_future())
        self._waiting.append(job)
        self._wake()
        try:
            return await job.rows
        finally:
            if job in self._waiting:  # cancelled: its place is free again
                self._waiting.remove(job)

    def full(self) -> int:
        """0 where there is a place in the queue, else the seconds after which one is likely."""
        if len(self._waiting) < self._queue + self._workers - self._busy:
            return 0
        return max(1, math.ceil(self._last_seconds))

    def close(self) -> None:
        """Drop what waits, and let the threads end."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _wake(self) -> None:
        """Give waiting requests to a free worker: now, or after a moment where more are likely to come."""
        if not self._waiting or self._timer is not None or self._busy >= self._workers:
            return
        if self._last_jobs > 1 and self._batching.wait > 0.0 and not self._full():
            self._timer = asyncio.get_running_loop().call_later(self._batching.wait, self._start)
        else:
            self._start()

    def _full(self) -> bool:
        return sum(len(job.texts) for job in self._waiting) >= self._batching.ads

    def _start(self) -> None:
        self._timer = None
        if jobs := self._next_batch():
            self._busy += 1
            self._last_jobs = len(jobs)
            task = asyncio.create_task(self._work(jobs))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    def _next_batch(self) -> list[_Job]:
        jobs: list[_Job] = []
        ads = size = 0
        while self._waiting:
            job = self._waiting[0]
            ads += len(job.texts)
            size += sum(len(text.encode()) for text in job.texts)
            if jobs and (ads > self._batching.ads or size > self._batching.size):
                break
            jobs.append(self._waiting.popleft())
        return jobs

    async def _work(self, jobs: list[_Job]) -> None:
        found = await self._together(jobs)
        self._busy -= 1  # before the answers: who gets one may ask again at once
        for job, rows in zip(jobs, found, strict=True):
            job.answer(rows)
        self._wake()

    async def _together(self, jobs: list[_Job]) -> "Sequence[NDArray[np.float64] | Exception]":
        """The rows of each job; where they cannot be had together, each by itself: one's fault is not the others'."""
        texts = [text for job in jobs for text in job.texts]
        try:
            rows = await asyncio.get_running_loop().run_in_executor(self._pool, self._probabilities, texts)
        except Exception as error:  # noqa: BLE001  # handed to the request that it belongs to
            return [error] if len(jobs) == 1 else [(await self._together([job]))[0] for job in jobs]
        ends = np.cumsum([len(job.texts) for job in jobs])
        return np.split(rows, ends[:-1])

    def _probabilities(self, texts: list[str]) -> NDArray[np.float64]:
        started = time.monotonic()
        scores = np.asarray(self._predictor.log_probabilities(texts), dtype=np.float64)
        self._last_seconds = time.monotonic() - started
        expected = (len(texts), len(self._predictor.labels))
        if scores.shape != expected:
            raise ModelError(f"The model answered with scores of the shape {scores.shape}; {expected} is right.")
        with np.errstate(over="ignore"):
            probabilities = np.exp(scores)
        # The sum is finite only if every term is, since none is negative.
        if not bool(np.all(np.abs(probabilities.sum(axis=1) - 1.0) <= _TOLERANCE)):
            raise ModelError("The model answered with numbers that are no probability distribution.")
        return np.minimum(probabilities, 1.0)

    def probe(self, older_than: float = 0.0) -> None:
        """Ask the model one fixed question in the background; sets `answering`.

        Args:
            older_than: seconds; not where the last finding is younger, nor where a probe is under way.
        """
        if time.monotonic() - self._probed < older_than or (self._probe is not None and not self._probe.done()):
            return
        self._probe = asyncio.create_task(self._ask())

    async def _ask(self) -> None:
        self._probed = time.monotonic()
        try:
            await self.score([PROBE])
        except BusyError:
            return  # at work: the last finding stands
        except Exception as error:  # noqa: BLE001  # whatever a model raises, it did not answer
            self.answering = False
            _LOG.error("probe failed", extra={"fields": {"error": type(error).__name__}})
        else:
            self.answering = True
