"""`jobtuner run` whose training is killed, then stopped, then left alone: it ends as one training."""

import json
import re
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from jobtuner.contracts import CONTRACT_FILE, TrainedModel
from tests.e2e.test_make_run import _BIN, _SMALL

_STEPS = 300
_SETTINGS = {**_SMALL, "training.max_steps": _STEPS, "training.epochs": 100.0, "checkpoint.every_steps": 5}


def _start(place: Path) -> subprocess.Popen[str]:
    settings = [part for key, value in _SETTINGS.items() for part in ("--set", f"{key}={json.dumps(value)}")]
    command = [str(_BIN / "jobtuner"), "run", *settings]
    environment = {
        name: value
        for name, value in psutil.Process().environ().items()
        if not name.startswith(("JOBTUNER_", "MLFLOW_"))
    }
    return subprocess.Popen(
        command, cwd=place, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def _newest(place: Path) -> int:
    found = place.glob("outputs/cache/checkpoints/*/checkpoint-*")
    return max((int(path.name.removeprefix("checkpoint-")) for path in found), default=0)


def _wait(process: subprocess.Popen[str], reached: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 600
    while not reached():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.02)


def _resumed_from(output: str) -> int:
    match = re.search(rf"Training is resumed from step (\d+) of {_STEPS}\.", output)
    assert match, output
    return int(match[1])


@pytest.mark.slow
def test_killed_and_stopped_it_goes_on(tmp_path: Path) -> None:
    process = _start(tmp_path)
    _wait(process, lambda: _newest(tmp_path) >= 20)
    for child in psutil.Process(process.pid).children(recursive=True):
        child.send_signal(signal.SIGKILL)
    output, errors = process.communicate(timeout=300)
    assert process.returncode == 1
    assert "Stage train ended without a word" in errors

    killed_at = _newest(tmp_path)
    process = _start(tmp_path)
    _wait(process, lambda: _newest(tmp_path) >= killed_at + 20)
    process.send_signal(signal.SIGTERM)
    output, errors = process.communicate(timeout=300)
    assert process.returncode == 143, output + errors
    assert _resumed_from(output) == killed_at
    assert "saving a checkpoint, then stopping" in output
    assert "Stopped." in output and "Traceback" not in errors
    assert not list(tmp_path.glob(f"outputs/cache/train/*/{CONTRACT_FILE}"))

    stopped_at = _newest(tmp_path)
    process = _start(tmp_path)
    output, errors = process.communicate(timeout=900)
    assert process.returncode == 0, output + errors
    assert _resumed_from(output) == stopped_at >= killed_at + 20
    metrics = TrainedModel.load(tmp_path / "outputs" / "latest" / "train").metrics
    assert (metrics["steps"], metrics["resumes"]) == (_STEPS, 2)
    assert not list(tmp_path.glob("outputs/cache/checkpoints/*/*"))
