"""Signals while a model is trained: a step is finished, not cut."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from jobtuner.progress import notice

__all__ = ["StopRequest", "stop_requests"]


class StopRequest:
    """Whether training shall stop, and which signal said so."""

    def __init__(self) -> None:
        self.signum: int | None = None

    @property
    def name(self) -> str:
        """Name of the signal, "" where none came."""
        return signal.Signals(self.signum).name if self.signum else ""

    def __bool__(self) -> bool:
        return self.signum is not None


@contextmanager
def stop_requests() -> Iterator[StopRequest]:
    """Turn SIGTERM and SIGINT into a request that the training loop sees after the batch at hand.

    Further signals change nothing: `jobtuner run` and a terminal may both send one, and the checkpoint that is being
    written must not be cut. SIGKILL ends the process at any time, at the cost of the steps since the last checkpoint.
    """
    request = StopRequest()

    def ask(signum: int, _frame: FrameType | None) -> None:
        if not request:
            request.signum = signum
            notice(f"{request.name} came: saving a checkpoint, then stopping.")

    if threading.current_thread() is not threading.main_thread():  # Python lets no other thread set handlers
        yield request
        return
    previous = {number: signal.signal(number, ask) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield request
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
