import json
from pathlib import Path

import pytest

from jobtuner.progress import EVENTS_VARIABLE, emit, notice, track


def test_events_go_to_the_file_that_a_parent_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "events.jsonl"
    monkeypatch.setenv(EVENTS_VARIABLE, str(path))
    emit("stage", stage="train", state="started")
    with track("Reading", total=3, unit="rows") as bar:
        for _ in range(3):
            bar.advance(loss=1.5)
    events = [json.loads(line) for line in path.read_text().splitlines()]
    assert events[0]["stage"] == "train"
    assert (events[-1]["done"], events[-1]["total"], events[-1]["finished"]) == (3, 3, True)
    assert events[-1]["values"] == {"loss": 1.5}


def test_a_bar_that_goes_on_starts_where_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv(EVENTS_VARIABLE, raising=False)
    clock = iter([100.0, 100.0, 102.0, 102.0])
    monkeypatch.setattr("time.monotonic", lambda: next(clock))
    with track("Training", total=10, unit="steps", start=6) as bar:
        bar.advance(2)
    assert capsys.readouterr().err == "Training: 8/10 steps, 1.0 steps/s\n"  # two steps in two seconds
    monkeypatch.undo()
    monkeypatch.setenv(EVENTS_VARIABLE, str(tmp_path / "events.jsonl"))
    with track("Training", total=10, unit="steps", start=6) as bar:
        bar.advance(1)
    done = [json.loads(line)["done"] for line in (tmp_path / "events.jsonl").read_text().splitlines()]
    assert (done[0], done[-1]) == (6, 7)


def test_a_notice_goes_to_the_parent_and_to_the_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(EVENTS_VARIABLE, str(tmp_path / "events.jsonl"))
    notice("Resumed from step 4.")
    assert json.loads((tmp_path / "events.jsonl").read_text())["text"] == "Resumed from step 4."
    assert capsys.readouterr().err == "Resumed from step 4.\n"


def test_without_a_terminal_a_plain_line_tells_the_rate(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv(EVENTS_VARIABLE, raising=False)
    with track("Reading", total=2, unit="rows") as bar:
        bar.advance(2)
    assert capsys.readouterr().err.startswith("Reading: 2/2 rows, ")


def test_the_bar_is_closed_when_the_step_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "events.jsonl"
    monkeypatch.setenv(EVENTS_VARIABLE, str(path))
    with pytest.raises(ValueError, match="boom"), track("Reading"):
        raise ValueError("boom")
    assert json.loads(path.read_text().splitlines()[-1])["finished"]
