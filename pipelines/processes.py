"""Ctrl-C and SIGTERM: stop every process of a local run, wherever it hangs in the process tree."""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

import psutil

__all__ = ["Stopped", "stop_processes", "stopping_on_signals"]

_STEPS = ((signal.SIGINT, 2.0), (signal.SIGTERM, 20.0), (signal.SIGKILL, 5.0))
"""What is sent, and the seconds given to obey. SIGINT first: a stage then removes its unfinished files and closes its
tracked run; SIGTERM ends a Python process on the spot. A training that is saving its checkpoint heeds the first and
ignores the second: the 20 s are for it, and nobody else needs them."""
_OWN_TIME = 1.0
"""Seconds: after Ctrl-C the terminal has already sent SIGINT to the children, and a second one would disturb them."""


class Stopped(SystemExit):
    """A signal stopped the run: carries the exit code that shells expect; nothing on the way takes it for a failure."""

    def __init__(self, signum: int) -> None:
        super().__init__(128 + signum)


@contextmanager
def stopping_on_signals(mark: tuple[str, str]) -> Iterator[None]:
    """On SIGINT or SIGTERM stop the run's processes, then raise `Stopped` in the main thread.

    Args:
        mark: an environment variable and its value that only the processes of this run have.
    """

    def stop(signum: int, _frame: FrameType | None) -> None:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)  # the rest takes seconds and must not be cut short
        stop_processes(mark, obeying=signum == signal.SIGINT)
        raise Stopped(signum)

    if threading.current_thread() is not threading.main_thread():  # Python lets no other thread set handlers
        yield
        return
    previous = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def stop_processes(mark: tuple[str, str], obeying: bool = False) -> None:
    """Stop all children of this process, and all processes with the mark in their environment.

    The mark finds those whose parent has died. `obeying`: they may have been told already; give them a moment first.
    """
    if obeying:
        psutil.wait_procs(_find(mark), timeout=_OWN_TIME)
    for number, seconds in _STEPS:
        found = _find(mark)
        for process in found:
            try:
                process.send_signal(number)
            except psutil.NoSuchProcess:  # it ended by itself meanwhile
                continue
        psutil.wait_procs(found, timeout=seconds)


def _find(mark: tuple[str, str]) -> list[psutil.Process]:
    name, value = mark
    found = {child.pid: child for child in psutil.Process().children(recursive=True)}
    for process in psutil.process_iter():
        try:
            if process.environ().get(name) == value:
                found[process.pid] = process
        except psutil.Error:  # another user's process, or one that has just ended
            continue
    found.pop(os.getpid(), None)
    return [process for process in found.values() if _alive(process)]


def _alive(process: psutil.Process) -> bool:
    try:
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False
