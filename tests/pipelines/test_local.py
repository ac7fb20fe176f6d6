"""`jobtuner run` from outside, with fast stages: what is printed, linked, recorded, stopped and left behind."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import pytest

_FAKES = Path(__file__).parent / "fakes"
_JOBTUNER = Path(sys.executable).parent / "jobtuner"


@dataclass
class Place:
    """A folder to run in."""

    folder: Path
    settings: dict[str, str] = field(default_factory=dict)

    @property
    def home(self) -> Path:
        return self.folder / "outputs"

    @property
    def ready(self) -> Path:
        return self.folder / "ready"

    def environment(self, misbehaviour: str) -> dict[str, str]:
        fakes = {
            "PYTHONPATH": os.pathsep.join([str(_FAKES), *filter(None, [os.environ.get("PYTHONPATH")])]),
            "JOBTUNER_FAKE_RUNS": str(self.folder / "tracked"),
            "JOBTUNER_FAKE": misbehaviour,
            "JOBTUNER_FAKE_READY": str(self.ready),
        }
        own = {name: value for name, value in os.environ.items() if not name.startswith(("JOBTUNER_", "MLFLOW_"))}
        return {**own, **fakes, "TMPDIR": str(self.scratch), "COLUMNS": "100"}

    @property
    def scratch(self) -> Path:
        path = self.folder / "tmp"
        path.mkdir(parents=True, exist_ok=True)
        return path

    def start(self, *arguments: str, misbehaviour: str = "") -> subprocess.Popen[str]:
        return subprocess.Popen(
            [_JOBTUNER, "run", *arguments],
            cwd=self.folder,
            env=self.environment(misbehaviour),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def run(self, *arguments: str, misbehaviour: str = "") -> tuple[int, str, str]:
        process = self.start(*arguments, misbehaviour=misbehaviour)
        output, errors = process.communicate(timeout=300)
        return process.returncode, output, errors

    def tracked(self) -> list[dict[str, Any]]:
        return [json.loads(path.read_text()) for path in (self.folder / "tracked").glob("*.json")]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Place, str]:
    """A whole run, in a folder whose name kfp.local would mangle and a shell would split."""
    place = Place(tmp_path_factory.mktemp("local") / "my python3 course")
    place.folder.mkdir()
    code, output, errors = place.run("--input", "ads for python3.csv", "--set", "training.epochs=2")
    assert code == 0, output + errors
    return place, output


def test_outputs_have_plain_names(finished: tuple[Place, str]) -> None:
    latest = finished[0].home / "latest"
    assert latest.is_symlink()
    for stage in ("prepare", "baseline", "train", "evaluate", "register", "export", "deploy"):
        assert (latest / stage / "contract.json").is_file(), stage
    config = json.loads((latest / "run" / "config.json").read_text())
    assert config["training"]["epochs"] == 2
    assert config["data"]["input"] == "ads for python3.csv"


def test_output_tells_scores_decision_places_and_next_steps(finished: tuple[Place, str]) -> None:
    place, output = finished
    stages = [line.split()[1] for line in output.splitlines() if line.startswith("✓")]
    assert sorted(stages) == sorted(("prepare", "baseline", "train", "evaluate", "register", "export", "deploy"))
    assert "0.700 → 0.800" in output
    assert "promoted to champion" in output
    assert "macro-F1 0.790 exceeds the baseline's 0.690." in output
    assert "jobtuner serve\n" in output
    assert f"mlflow ui --backend-store-uri 'sqlite:///{place.home / 'mlflow.db'}'" in output


def test_kfp_output_goes_to_the_log(finished: tuple[Place, str]) -> None:
    place, output = finished
    log = (place.home / "latest" / "pipeline.log").read_text()
    assert "KFP Executor" in log
    assert "KFP" not in output
    assert "Warning" not in output


def test_runs_are_recorded_and_closed(finished: tuple[Place, str]) -> None:
    runs = finished[0].tracked()
    assert sorted(run["name"] for run in runs if "parent" not in run) == ["smoke"]
    assert len(runs) == 8
    assert {run["status"] for run in runs} == {"FINISHED"}


def test_nothing_is_left_in_the_temporary_folder(finished: tuple[Place, str]) -> None:
    assert list(finished[0].scratch.iterdir()) == []


def test_finished_stages_are_reused_and_a_failed_run_changes_no_link(finished: tuple[Place, str]) -> None:
    place, _ = finished
    before = (place.home / "latest").readlink()
    code, output, errors = place.run(
        "--input", "ads for python3.csv", "--set", "training.epochs=2", misbehaviour="register:data-error"
    )
    assert code == 3  # the stage's own
    reused = [line.split()[1] for line in output.splitlines() if "reused" in line]
    # The input file does not exist, and what is not there is never taken as unchanged: prepare ran again.
    assert "baseline" in reused and "train" in reused and "prepare" not in reused
    assert "Stage register failed. The column 'text' is missing." in errors
    assert "pipeline.log" in errors
    assert "Traceback" not in errors
    assert (place.home / "latest").readlink() == before
    unfinished = sorted((run["name"], run["status"]) for run in place.tracked() if run["status"] != "FINISHED")
    assert unfinished == [("register", "FAILED"), ("smoke", "FAILED")], "retries are for a cluster"


def test_an_unforeseen_error_shows_the_end_of_its_trace(tmp_path: Path) -> None:
    code, _, errors = Place(tmp_path).run(misbehaviour="prepare:bug")
    assert code == 1
    assert "Stage prepare failed unexpectedly. ZeroDivisionError: nobody thought of this" in errors
    assert "fake_stages.py" in errors


def test_a_stage_that_is_killed_is_named(tmp_path: Path) -> None:
    code, _, errors = Place(tmp_path).run(misbehaviour="prepare:die")
    assert code == 1
    assert "Stage prepare ended without a word" in errors


def test_a_wrong_recipe_starts_nothing(tmp_path: Path) -> None:
    place = Place(tmp_path)
    code, _, errors = place.run("--set", "training.epochs=-1", "--set", "lora.rank=8")
    assert code == 2
    assert "2 mistakes" in errors
    assert not place.home.exists()


@pytest.mark.parametrize(
    ("number", "to_the_group", "code"),
    [(signal.SIGTERM, False, 143), (signal.SIGINT, True, 130)],
    ids=["kill", "Ctrl-C"],
)
def test_a_signal_leaves_nothing_running_and_nothing_half_done(
    tmp_path: Path, number: signal.Signals, to_the_group: bool, code: int
) -> None:
    place = Place(tmp_path)
    process = place.start(misbehaviour="prepare:hang")
    deadline = time.monotonic() + 120
    while not place.ready.exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    children = psutil.Process(process.pid).children(recursive=True)
    assert len(children) >= 3  # the shell, the stage, and what the stage started in a session of its own
    if to_the_group:
        os.killpg(process.pid, number)
    else:
        process.send_signal(number)
    output, errors = process.communicate(timeout=120)
    assert process.returncode == code
    assert "Stopped." in output and "Traceback" not in errors
    assert not [child for child in children if child.is_running() and child.status() != psutil.STATUS_ZOMBIE]
    assert {run["name"]: run["status"] for run in place.tracked()} == {"smoke": "KILLED", "prepare": "KILLED"}
    assert not list((place.home / "cache").rglob("*unfinished*"))
    assert not (place.home / "latest").exists()
    assert list(place.scratch.iterdir()) == []
