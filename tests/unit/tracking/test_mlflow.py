"""MLflow as a SQLite file: many processes at once, kills, and errors that name the place."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from jobtuner.errors import TrackingError
from jobtuner.tracking import connect
from jobtuner.tracking_entries import without_credentials
from jobtuner.tracking_mlflow import MlflowRunStore, client
from tests.unit.mlflow_template import fresh_tracker
from tests.unit.tracking.services import CONFIG


def test_files_of_a_sqlite_tracker_lie_beside_it(tmp_path: Path) -> None:
    uri = fresh_tracker(tmp_path)
    run_id = connect(uri).open_run(CONFIG)
    assert client(uri).get_run(run_id).info.artifact_uri == str(tmp_path / "mlartifacts" / run_id / "artifacts")


@pytest.mark.parametrize(
    ("uri", "clean"),
    [
        ("http://anna:geheim@mlflow.example.com:5000/x", "http://mlflow.example.com:5000/x"),
        ("https://token@mlflow.example.com", "https://mlflow.example.com"),
        ("postgresql://u:p%40ss@db/mlflow", "postgresql://db/mlflow"),
        ("sqlite:////tmp/a@b/mlflow.db", "sqlite:////tmp/a@b/mlflow.db"),
        ("ads@home.csv", "ads@home.csv"),
        ("s3://bucket/ads.csv", "s3://bucket/ads.csv"),
    ],
)
def test_credentials_are_left_out(uri: str, clean: str) -> None:
    assert without_credentials(uri) == clean


def test_a_server_that_does_not_answer_is_named_without_its_password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.raises(TrackingError) as caught:
        connect("http://anna:geheim@127.0.0.1:1").open_run(CONFIG)  # nothing listens on port 1
    assert "http://127.0.0.1:1 failed" in str(caught.value)
    assert "MLFLOW_TRACKING_USERNAME" in str(caught.value)
    assert "geheim" not in str(caught.value)


@pytest.mark.parametrize("uri", ["sqlite://", "sqlite:///:memory:"])
def test_a_database_without_a_file_is_refused(uri: str) -> None:
    with pytest.raises(TrackingError, match="names no file"):
        connect(uri)


def test_a_database_that_cannot_be_made_is_a_tracking_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way", encoding="utf-8")
    with pytest.raises(TrackingError, match="cannot be made"):
        connect(f"sqlite:///{tmp_path}/file/mlflow.db")


def test_a_file_that_is_no_database_is_a_tracking_error(tmp_path: Path) -> None:
    (tmp_path / "mlflow.db").write_text("no database at all, but text " * 100, encoding="utf-8")
    with pytest.raises(TrackingError, match="not a database"):
        MlflowRunStore(f"sqlite:///{tmp_path / 'mlflow.db'}").open("x", "y", {})


EIGHT = """
import os, sys, traceback
import mlflow.store.tracking.sqlalchemy_store  # once: each process would need seconds for it
from jobtuner.config import load_config
from jobtuner.run import Run
from jobtuner.tracking import connect

def one_run():
    tracker, config = connect(sys.argv[1]), load_config("smoke")
    run = Run(config, sys.argv[1], tracker.open_run(config))
    with tracker.stage("prepare", run, {}, ("seed",)):
        pass
    tracker.close_run(run.parent_id, "FINISHED")

children = []
for _ in range(8):
    child = os.fork()
    if child == 0:
        try:
            one_run()
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    children.append(child)
sys.exit(sum(os.waitpid(child, 0)[1] != 0 for child in children))
"""


def test_eight_processes_at_once_on_a_fresh_database_are_all_recorded_in_silence(tmp_path: Path) -> None:
    # Stock MLFlow loses three of four here: each process migrates the empty file.
    uri = f"sqlite:///{tmp_path / 'new' / 'mlflow.db'}"
    quiet = {**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true"}
    done = subprocess.run([sys.executable, "-c", EIGHT, uri], capture_output=True, text=True, check=False, env=quiet)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    experiment = client(uri).get_experiment_by_name("jobtuner")
    assert experiment is not None
    runs = client(uri).search_runs([experiment.experiment_id])
    assert [run.info.status for run in runs] == ["FINISHED"] * 16
    assert sum("mlflow.parentRunId" in run.data.tags for run in runs) == 8


def test_a_database_half_built_by_a_killed_process_is_not_used(tmp_path: Path) -> None:
    (tmp_path / ".mlflow.db.building").write_bytes(b"half a schema")
    (tmp_path / ".mlflow.db.building-journal").write_bytes(b"half a journal")
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    assert connect(uri).open_run(CONFIG)
    assert not list(tmp_path.glob(".mlflow.db.building*"))


def test_importing_the_tracker_does_not_import_mlflow() -> None:
    code = "import sys, jobtuner.tracking, jobtuner.stages; sys.exit('mlflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
