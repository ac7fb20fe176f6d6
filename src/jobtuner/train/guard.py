"""Signals while a model is trained: a step is finished, not cut."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from jobtuner.progress import notice

__all__ = ["StopRequest", "stop_requests"]


class StopRequest:
    """Whether training shall stop, and which signal said so.

    Args:
        shared: several processes train together, and stop only on what they have agreed on.
    """

    def __init__(self, shared: bool = False) -> None:
        self.signum: int | None = None
        """The signal that came to this process."""
        self._shared, self._agreed = shared, 0

    @property
    def agreed(self) -> int:
        """The signal on which training stops, in all its processes at the same step; 0: it goes on."""
        return self._agreed if self._shared else self.signum or 0

    def agree(self, signum: int) -> None:
        """All processes have heard that this signal came to one of them; 0: to none."""
        self._agreed = self._agreed or signum

    @property
    def name(self) -> str:
        """Name of the signal, "" where none came."""
        found = self.agreed or self.signum
        return signal.Signals(found).name if found else ""

    def __bool__(self) -> bool:
        return self.signum is not None


@contextmanager
def stop_requests(shared: bool = False) -> Iterator[StopRequest]:
    """Turn SIGTERM and SIGINT into a request that the training loop sees after the batch at hand.

    Args:
        shared: several processes train together.

    Further signals change nothing: `jobtuner run` and a terminal may both send one, and the checkpoint that is being
    written must not be cut. SIGKILL ends the process at any time, at the cost of the steps since the last checkpoint.
    """
    request = StopRequest(shared)

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
