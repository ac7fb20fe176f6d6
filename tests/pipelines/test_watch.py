"""Events in, lines or bars out."""

import io
import json
import time
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from jobtuner.progress import EVENTS_VARIABLE, emit, track
from pipelines import watch as module
from pipelines.watch import Events, watch


@pytest.fixture
def events_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "events.jsonl"
    path.touch()
    monkeypatch.setenv(EVENTS_VARIABLE, str(path))
    return path


def _console(terminal: bool) -> tuple[Console, io.StringIO]:
    stream = io.StringIO()
    return Console(file=stream, force_terminal=terminal, width=100), stream


def _finish(stage: str, seconds: float = 1.25, reused: bool = False) -> None:
    emit("stage", stage=stage, state="finished", seconds=seconds, reused=reused, out=f"/out/{stage}")


@pytest.mark.parametrize("terminal", [False, True])
def test_a_line_for_each_finished_stage(events_file: Path, terminal: bool) -> None:
    console, stream = _console(terminal)
    with watch(events_file, console) as events:
        emit("stage", stage="prepare", state="started")
        _finish("prepare", reused=True)
        emit("stage", stage="train", state="started")
        _finish("train", seconds=83.0)
    lines = stream.getvalue()
    assert "prepare" in lines and "1.2 s" in lines and "reused" in lines
    assert "1 min 23 s" in lines
    assert [(item.stage, item.reused, item.out) for item in events.stages] == [
        ("prepare", True, Path("/out/prepare")),
        ("train", False, Path("/out/train")),
    ]
    assert events.running is None and events.failure is None


def test_bars_show_amounts_and_values(events_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    console, stream = _console(terminal=True)
    with watch(events_file, console):
        emit("stage", stage="train", state="started")
        with track("Fine-tuning [lora]", total=900, unit="steps") as bar:
            time.sleep(0.3)
            bar.advance(450, loss=1.23456)
            time.sleep(0.4)
    assert "Fine-tuning [lora]" in stream.getvalue()
    assert "450/900 steps" in stream.getvalue()
    assert "loss 1.235" in stream.getvalue()


def test_plain_progress_is_rare(events_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    console, stream = _console(terminal=False)
    monkeypatch.setattr(module, "_LINE_INTERVAL", 0.0)
    with watch(events_file, console):
        emit("progress", label="Scoring", done=3, total=None, unit="ads", values={}, finished=False)
    assert stream.getvalue() == "  Scoring: 3 ads\n"
    monkeypatch.setattr(module, "_LINE_INTERVAL", 60.0)
    console, stream = _console(terminal=False)
    with watch(events_file, console):
        emit("progress", label="Scoring", done=3, total=None, unit="ads", values={}, finished=False)
    assert stream.getvalue() == ""


@pytest.mark.parametrize("terminal", [False, True])
def test_notices_are_shown_as_they_come(events_file: Path, terminal: bool) -> None:
    console, stream = _console(terminal)
    with watch(events_file, console):
        emit("notice", text="Training is resumed from step 40 of [60].")
    assert "Training is resumed from step 40 of [60]." in stream.getvalue()


def test_a_failure_is_kept_and_not_drawn(events_file: Path) -> None:
    console, stream = _console(terminal=False)
    with watch(events_file, console) as events:
        emit("stage", stage="train", state="started")
        emit("stage", stage="train", state="failed", message="No [MASK] here.", exit_code=5, trace="")
    assert stream.getvalue() == ""
    assert events.failure is not None
    assert (events.failure.stage, events.failure.message, events.failure.exit_code) == ("train", "No [MASK] here.", 5)


def test_half_a_line_waits_for_its_rest(events_file: Path) -> None:
    line = json.dumps({"event": "stage", "stage": "prepare", "state": "started"}) + "\n"
    with watch(events_file, _console(terminal=False)[0]) as events:
        for part in (line[:20], line[20:]):
            with events_file.open("a") as stream:
                stream.write(part)
            time.sleep(0.25)
        assert events.running == "prepare"


def test_standard_output_is_left_alone(events_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import sys

    before: Any = sys.stdout
    with watch(events_file, _console(terminal=True)[0]) as events:
        assert sys.stdout is before
        assert isinstance(events, Events)
