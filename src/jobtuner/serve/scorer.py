"""Scoring beside the event loop: a few workers, a short queue, and a check of every number."""

import asyncio
import logging
import math
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from jobtuner.errors import ModelError
from jobtuner.serve.backend import Classifier

__all__ = ["BusyError", "Scorer"]

_PROBE = "Registered nurse, night shift, city hospital"
_TOLERANCE = 1e-3  # of a row's sum: float32 over 3,000 labels is exact to some 1e-5
_LOG = logging.getLogger("jobtuner.serve")


class BusyError(Exception):
    """All workers are at work and the queue is full."""

    def __init__(self, retry_after: int) -> None:
        super().__init__(f"busy, retry after {retry_after} s")
        self.retry_after = retry_after
        """Whole seconds after which a place is likely."""


class Scorer:
    """Runs a classifier in worker threads.

    Args:
        classifier: the model.
        workers: requests scored at once; 1 suits torch, which spreads one request over all cores.
        queue: requests that may wait for a worker.
    """

    def __init__(self, classifier: Classifier, workers: int, queue: int) -> None:
        self._classifier = classifier
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="scoring")
        self._places = threading.Semaphore(workers + queue)
        self._last_seconds = 0.0
        self._probe: asyncio.Task[None] | None = None
        self.answering = False
        """Whether the last probe was answered."""

    async def score(self, texts: Sequence[str]) -> NDArray[np.float64]:
        """Probabilities of the labels, shape [n, L].

        Raises:
            BusyError: no place in the queue.
            ModelError: the model answered with something else than n finite distributions.
        """
        if not self._places.acquire(blocking=False):
            raise BusyError(max(1, math.ceil(self._last_seconds)))
        work = self._pool.submit(self._probabilities, texts)
        # By the work and not by the request: a cancelled request's thread goes on, and keeps its place until it ends.
        work.add_done_callback(lambda _: self._places.release())
        return await asyncio.wrap_future(work)

    def close(self) -> None:
        """Drop what waits, and let the threads end."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _probabilities(self, texts: Sequence[str]) -> NDArray[np.float64]:
        started = time.monotonic()
        scores = np.asarray(self._classifier.log_probabilities(texts), dtype=np.float64)
        self._last_seconds = time.monotonic() - started
        expected = (len(texts), len(self._classifier.labels))
        if scores.shape != expected:
            raise ModelError(f"The model answered with scores of the shape {scores.shape}; {expected} is right.")
        with np.errstate(over="ignore"):
            probabilities = np.exp(scores)
        # The sum is finite only if every term is, since none is negative.
        if not bool(np.all(np.abs(probabilities.sum(axis=1) - 1.0) <= _TOLERANCE)):
            raise ModelError("The model answered with numbers that are no probability distribution.")
        return np.minimum(probabilities, 1.0)

    def probe(self) -> None:
        """Ask the model one fixed question in the background, unless that is under way; sets `answering`."""
        if self._probe is None or self._probe.done():
            self._probe = asyncio.create_task(self._ask())

    async def _ask(self) -> None:
        try:
            await self.score([_PROBE])
        except BusyError:
            return  # at work: the last finding stands
        except Exception as error:  # noqa: BLE001  # whatever a model raises, it did not answer
            self.answering = False
            _LOG.error("probe failed", extra={"fields": {"error": type(error).__name__}})
        else:
            self.answering = True
