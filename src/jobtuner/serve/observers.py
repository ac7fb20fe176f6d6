"""Who listens to the answers: a prediction log, say. All answers pass here, outside the request that they belong to."""

import logging
import queue
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from jobtuner.serve.metrics import Metrics
from jobtuner.serve.schemas import OccupationResult

__all__ = ["Answered", "Audience", "Observer"]

_WAITING = 10_000
"""Answers that may wait for the observers. At 20,000 characters of 1 to 4 bytes the worst case is 800 MB; ads as they
are (some 2 KB) take 20 MB."""
_CLOSE_SECONDS = 5.0
_LOG = logging.getLogger("jobtuner.serve")


@dataclass(frozen=True)
class Answered:
    """One ad and its answer."""

    request_id: str
    text: str
    """The ad as it was scored."""
    language: str | None
    """As the client named it."""
    result: OccupationResult
    model_version: str
    time: float = field(default_factory=time.time)
    """Unix time."""


class Observer(Protocol):
    """Sees every answer, in a thread of its own kind: it may write files, and may not keep up."""

    def observe(self, answered: Answered) -> None:
        """Take in one answer."""

    def close(self) -> None:
        """Write what is left; nothing comes after this."""


class Audience:
    """A bounded queue and one thread: a slow observer costs answers that it does not see, never a request its time.

    Args:
        observers: who sees the answers, in this order.
        metrics: counts what was dropped or failed.
    """

    def __init__(self, observers: Sequence[Observer], metrics: Metrics) -> None:
        self._observers, self._metrics = list(observers), metrics
        self._queue: queue.Queue[Answered | None] = queue.Queue(_WAITING)
        self._thread = threading.Thread(target=self._work, name="observers", daemon=True)
        if self._observers:
            self._thread.start()

    def tell(self, answered: Answered) -> None:
        """Hand on one answer; returns at once."""
        if not self._observers:
            return
        try:
            self._queue.put_nowait(answered)
        except queue.Full:
            self._metrics.unobserved("queue full")

    def close(self) -> None:
        """Let the observers see what waits, and close them; 5 s at most."""
        if self._thread.is_alive():
            self._queue.put(None)
            self._thread.join(_CLOSE_SECONDS)

    def _work(self) -> None:
        while (answered := self._queue.get()) is not None:
            for observer in self._observers:
                self._guard(observer, answered)
        for observer in self._observers:
            self._guard(observer, None)

    def _guard(self, observer: Observer, answered: Answered | None) -> None:
        try:
            if answered is None:
                observer.close()
            else:
                observer.observe(answered)
        except Exception as error:  # noqa: BLE001  # an observer's fault is not the endpoint's
            self._metrics.unobserved("failed")
            _LOG.error("observer failed", extra={"fields": {"error": type(error).__name__}})
