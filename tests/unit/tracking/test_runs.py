"""The parent run: opened here, by Kubeflow, or by its plugin, and what it says; the same in memory and in MLflow."""

from pathlib import Path

import pytest

from jobtuner.errors import TrackingError
from jobtuner.provenance import provenance
from jobtuner.run import resolve
from jobtuner.tracking import RunStore, current_run_id
from jobtuner.tracking_entries import Entry, Measurement, recipe_parameters
from tests.unit.tracking.services import CONFIG, Service


def test_the_parent_run_holds_the_recipe_and_says_that_it_is_local(service: Service) -> None:
    run_id = service.tracker.open_run(CONFIG)
    service.tracker.close_run(run_id, "FINISHED")
    run = service.read(run_id)
    assert (run.experiment, run.name, run.status, run.parent) == ("jobtuner", "smoke", "FINISHED", None)
    assert run.params == recipe_parameters(CONFIG)
    assert (run.params["training.learning_rate"], run.params["data.input"]) == ("0.0003", "null")
    assert run.tags["recipe"] == "smoke"
    assert run.tags["data.source"] == "generated"
    assert run.tags["kfp.pipeline_run_id"] == "local"
    assert "kfp.pipeline_id" not in run.tags


def test_a_pipeline_run_is_tagged_as_kfp_tags_it(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KFP_RUN_ID", "r1")
    monkeypatch.setenv("KFP_RUN_URL", "https://kfp.example.com/#/runs/details/r1")
    monkeypatch.setenv("KFP_PIPELINE_ID", "p1")
    monkeypatch.setenv("KFP_PIPELINE_VERSION_ID", "v1")
    tags = service.read(service.tracker.open_run(CONFIG)).tags
    assert {key: value for key, value in tags.items() if key.startswith("kfp.")} == {
        "kfp.pipeline_run_id": "r1",
        "kfp.pipeline_run_url": "https://kfp.example.com/#/runs/details/r1",
        "kfp.pipeline_id": "p1",
        "kfp.pipeline_version_id": "v1",
    }


def test_a_pipeline_run_is_found_by_kubeflows_id_and_ended_once(service: Service) -> None:
    mine, other = (service.tracker.open_run(CONFIG, pipeline_run=number) for number in ("kfp-1", "kfp-2"))
    child = service.tracker.store.open_nested(mine, "train", {})
    assert service.tracker.finish_pipeline("no such experiment", "kfp-1", "FAILED") == []
    assert service.tracker.finish_pipeline("jobtuner", "kfp-1", "FAILED", "a pod was evicted") == [mine]
    assert service.tracker.finish_pipeline("jobtuner", "kfp-1", "FINISHED") == []
    assert [service.read(key).status for key in (mine, child, other)] == ["FAILED", "KILLED", "RUNNING"]
    assert service.read(mine).tags["kfp.pipeline_run_id"] == "kfp-1"
    assert service.read(mine).tags["pipeline.error"] == "a pod was evicted"


def test_what_kfps_plugin_opened_is_used(service: Service, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """It opens a run for the pipeline, below it one for each task, and hands each task its own."""
    pipeline = service.tracker.store.open("jobtuner", "from KFP", {})
    first, second = (service.tracker.store.open_nested(pipeline, name, {}) for name in ("resolve", "train"))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", service.uri)
    monkeypatch.setenv("MLFLOW_EXPERIMENT_ID", "1")
    monkeypatch.setenv("MLFLOW_RUN_ID", first)
    run = resolve("smoke", {}, tmp_path / "run")
    assert run.parent_id == pipeline
    assert service.read(pipeline).params["training.learning_rate"] == "0.0015"
    assert service.read(pipeline).tags["recipe"] == "smoke"
    monkeypatch.setenv("MLFLOW_RUN_ID", second)
    with service.tracker.stage("train", run, {}, ("seed",)):
        assert current_run_id() == second
    assert service.read(second).params == {"seed": "17"}
    assert sorted(service.children(pipeline)) == sorted([first, second])


def test_a_run_that_is_not_nested_stays_the_parent(service: Service) -> None:
    run_id = service.tracker.store.open("jobtuner", "opened by hand", {})
    assert service.tracker.adopt_run(run_id, CONFIG) == run_id
    assert service.read(run_id).params == {}


def test_code_and_image_are_tags_of_the_run_and_of_each_stage(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JOBTUNER_GIT_COMMIT", "abc123")
    monkeypatch.setenv("JOBTUNER_IMAGE", "registry.example.com/jobtuner@sha256:00")
    run = service.open_run()
    with service.tracker.stage("baseline", run, {}, ("seed",)):
        pass
    for each in (service.read(run.parent_id), service.only_child(run)):
        assert each.tags["image"] == "registry.example.com/jobtuner@sha256:00"
    assert provenance()["mlflow.source.git.commit"] == "abc123"
    monkeypatch.setenv("JOBTUNER_GIT_COMMIT", "unknown")
    assert provenance().get("mlflow.source.git.commit") != "unknown"
    monkeypatch.delenv("JOBTUNER_GIT_COMMIT")
    assert set(provenance()) <= {"mlflow.source.git.commit", "git.changed", "image"}


def test_what_mlflow_refuses_the_twin_refuses_too(service: Service) -> None:
    store: RunStore = service.tracker.store
    with pytest.raises(TrackingError):
        store.open_nested("0" * 32, "train", {})
    with pytest.raises(TrackingError):
        store.log("0" * 32, Entry(metrics=[Measurement("loss", 1.0)]))
    with pytest.raises(TrackingError):
        store.close("0" * 32, "FINISHED")
    run_id = service.tracker.open_run(CONFIG)
    store.log(run_id, Entry(params={"seed": "17"}))
    with pytest.raises(TrackingError):
        store.log(run_id, Entry(params={"seed": "18"}))
