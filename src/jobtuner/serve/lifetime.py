"""A process that ends with the one that started it, even if that one was killed."""

import os
import signal
import threading
import time

__all__ = ["end_with_parent"]

_INTERVAL = 0.5  # seconds between two looks
_GRACE = 3.0  # seconds from SIGTERM to the hard end; with the interval it stays under 5 s


def end_with_parent(parent: int) -> None:
    """Watch the parent process from a thread; when it is gone, send SIGTERM to this process, then end it for good.

    An orphan gets another parent, so the parent's id tells. Linux's PR_SET_PDEATHSIG is no substitute: it fires when
    the *thread* ends that started the process, and it is not to be had elsewhere.

    Args:
        parent: process id of the parent.
    """
    threading.Thread(target=_watch, args=(parent,), name="parent-watch", daemon=True).start()


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(_INTERVAL)
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(_GRACE)
    os._exit(1)
