"""Stopping a run's processes, wherever they hang in the tree and whatever they ignore."""

import contextlib
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from pipelines import processes
from pipelines.processes import Stopped, stop_processes, stopping_on_signals

_REAL_STEPS = processes._STEPS
_SLEEP = "import time; time.sleep(300)"
_STUBBORN = f"import signal; [signal.signal(n, signal.SIG_IGN) for n in (signal.SIGINT, signal.SIGTERM)]; {_SLEEP}"
_TIDY = """
import pathlib, sys, time
pathlib.Path(sys.argv[1]).touch()
try:
    time.sleep(300)
finally:
    pathlib.Path(sys.argv[2]).touch()
"""


@pytest.fixture
def mark() -> tuple[str, str]:
    return "JOBTUNER_TEST_MARK", uuid.uuid4().hex


@pytest.fixture(autouse=True)
def short_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "_STEPS", ((signal.SIGINT, 1.0), (signal.SIGTERM, 0.5), (signal.SIGKILL, 5.0)))
    monkeypatch.setattr(processes, "_OWN_TIME", 0.1)


def _orphan(environment: dict[str, str]) -> psutil.Process:
    """Start a process whose parent ends at once."""
    start = (
        "import subprocess, sys; print(subprocess.Popen([sys.executable, '-c', sys.argv[1]], stdout=-3, stderr=-3).pid)"
    )
    command = [sys.executable, "-c", start, _SLEEP]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=True)
    return psutil.Process(int(done.stdout))


@pytest.fixture
def outsider() -> Iterator[psutil.Process]:
    """A process of the same user that is no part of the run."""
    process = _orphan(dict(os.environ))
    yield process
    process.kill()


def _ended(process: psutil.Process) -> bool:
    """Gone, or a zombie that nobody has reaped yet."""
    return not process.is_running() or bool(process.status() == psutil.STATUS_ZOMBIE)


def _wait_for(path: Path) -> None:
    deadline = time.monotonic() + 60
    while not path.exists():
        assert time.monotonic() < deadline, f"{path} did not appear"
        time.sleep(0.02)


def test_children_and_grandchildren_end() -> None:
    nested = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {_STUBBORN!r}])"
    child = subprocess.Popen([sys.executable, "-c", nested])
    process = psutil.Process(child.pid)
    deadline = time.monotonic() + 60
    while not process.children():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    (grandchild,) = process.children()
    time.sleep(0.3)  # until it ignores the signals
    stop_processes(("JOBTUNER_TEST_MARK", "nobody has it"))
    child.wait(5)
    assert _ended(grandchild)


def test_orphans_with_the_mark_end_and_others_stay(mark: tuple[str, str], outsider: psutil.Process) -> None:
    orphan = _orphan({**os.environ, mark[0]: mark[1]})
    try:
        assert orphan.ppid() != os.getpid()
        stop_processes(mark)
        assert _ended(orphan)
        assert outsider.is_running()
    finally:
        with contextlib.suppress(psutil.NoSuchProcess):
            orphan.kill()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_lets_children_tidy_up_and_sets_the_exit_code(
    number: signal.Signals, mark: tuple[str, str], tmp_path: Path
) -> None:
    ready, tidy = tmp_path / "ready", tmp_path / "tidy"
    before = signal.getsignal(number)
    with pytest.raises(Stopped) as stopped, stopping_on_signals(mark):
        child = subprocess.Popen([sys.executable, "-c", _TIDY, str(ready), str(tidy)])
        _wait_for(ready)
        os.kill(os.getpid(), number)
        time.sleep(60)  # the signal ends this
    assert stopped.value.code == 128 + number
    child.wait(5)
    assert tidy.exists()
    assert signal.getsignal(number) is before


def test_the_last_step_cannot_be_ignored() -> None:
    assert [number for number, _ in _REAL_STEPS] == [signal.SIGINT, signal.SIGTERM, signal.SIGKILL]
    assert dict(_REAL_STEPS)[signal.SIGTERM] == 20.0  # the time to write a checkpoint


def test_stopped_is_no_exception() -> None:
    assert not issubclass(Stopped, Exception)
