"""What is sent while a model is trained: curves, and the machine."""

import time
from pathlib import Path

import pytest

from jobtuner.errors import TrackingError
from jobtuner.records import write_jsonl
from jobtuner.tracking import MemoryRunStore, Tracker, current_run_id
from jobtuner.tracking_entries import Entry
from jobtuner.tracking_live import LiveCurves, child_environment, live_curves
from tests.unit import contract_samples as samples
from tests.unit.mlflow_template import fresh_tracker
from tests.unit.tracking.services import Service, mlflow_service


def test_the_machine_is_recorded_while_a_model_is_trained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL", "0.1")
    service = mlflow_service(fresh_tracker(tmp_path))
    run = service.open_run()
    with service.tracker.stage("train", run, {}, ("seed",)):
        time.sleep(0.5)
    assert "system/cpu_utilization_percentage" in service.only_child(run).metrics
    monkeypatch.setenv("MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING", "false")
    silent = service.open_run()
    with service.tracker.stage("train", silent, {}, ("seed",)):
        time.sleep(0.3)
    assert not service.only_child(silent).metrics


def test_curves_are_sent_while_a_model_is_trained_and_once_alone(
    service: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two of three entries are sent; the end of the stage brings the third, and what is no curve."""
    run = service.open_run()
    result = samples.trained(tmp_path / "train")
    history = [{"step": step, "loss": 1.0 / step, "learning_rate": 1e-3} for step in (10, 20, 30)]
    write_jsonl(result.folder / "history.jsonl", history)
    with service.tracker.stage("train", run, {}, ("seed",)) as record:
        live, run_id = live_curves(), current_run_id()
        assert live is not None
        assert run_id is not None
        live.add(history[0])
        assert not service.tracker.store.steps(run_id, "training/loss")  # too early: others may come
        monkeypatch.setattr("jobtuner.tracking_live._INTERVAL", 0.0)
        live.add(history[1])
        assert service.tracker.store.steps(run_id, "training/loss") == {10, 20}
        record(result, False)
    found = service.only_child(run).metrics
    assert found["training/loss"] == [(10, 0.1), (20, 0.05), (30, 1 / 30)]
    assert found["training/learning_rate"] == [(10, 1e-3), (20, 1e-3), (30, 1e-3)]
    assert {name for name, values in found.items() if values[0][0] == 0} == set(result.metrics)


def test_a_process_of_the_training_sends_to_the_stages_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    service = mlflow_service(fresh_tracker(tmp_path))
    run = service.open_run()
    with service.tracker.stage("train", run, {}, ("seed",)):
        handed = child_environment()
    assert live_curves() is None
    assert child_environment() == {}
    for name, value in handed.items():
        monkeypatch.setenv(name, value)
    live = live_curves()
    assert live is not None
    live.add({"step": 4, "validation_loss": 0.5})
    live.send()
    assert service.only_child(run).metrics["training/validation_loss"] == [(4, 0.5)]


def test_a_tracker_that_is_gone_ends_no_training(capsys: pytest.CaptureFixture[str]) -> None:
    class Gone(MemoryRunStore):
        asked = 0

        def log(self, run_id: str, entry: Entry) -> None:
            self.asked += 1
            raise TrackingError("the server is away")

    store = Gone()
    live = LiveCurves(Tracker(store), "run")
    for step in (1, 2):
        live.add({"step": step, "loss": 1.0})
        live.send()
    assert store.asked == 1
    assert "at the end of the training, not while it runs: the server is away" in capsys.readouterr().err
