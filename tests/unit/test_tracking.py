"""The tracker says the same of a run in memory and in MLflow, and MLflow stands many processes at once."""

import math
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from jobtuner.config import load_config
from jobtuner.contracts import Contract
from jobtuner.errors import ContractError, TrackingError
from jobtuner.provenance import provenance
from jobtuner.records import write_jsonl
from jobtuner.run import Run, resolve
from jobtuner.tracking import MemoryRun, MemoryRunStore, RunStore, Tracker, connect, current_run_id
from jobtuner.tracking_entries import Entry, Measurement, recipe_parameters, without_credentials
from jobtuner.tracking_live import LiveCurves, child_environment, live_curves
from jobtuner.tracking_mlflow import MlflowRunStore, client
from tests.unit import contract_samples as samples
from tests.unit.mlflow_template import fresh_tracker

CONFIG = load_config("smoke", {"seed": "17", "training.learning_rate": "0.0003", "data.input": "null"})


@dataclass
class Service:
    """A tracker, and a way to read back what it recorded, in the form of the memory twin."""

    uri: str
    tracker: Tracker
    read: Callable[[str], MemoryRun]
    children: Callable[[str], list[str]]

    def open_run(self) -> Run:
        return Run(CONFIG, self.uri, self.tracker.open_run(CONFIG))

    def only_child(self, run: Run) -> MemoryRun:
        (child,) = self.children(run.parent_id)
        return self.read(child)


def _memory_service(uri: str) -> Service:
    tracker = connect(uri)
    store = tracker.store
    assert isinstance(store, MemoryRunStore)
    return Service(
        uri,
        tracker,
        lambda key: store.runs[key],
        lambda key: [item for item, run in store.runs.items() if run.parent == key],
    )


def _mlflow_service(uri: str) -> Service:
    mlflow = client(uri)

    def files(key: str, folder: str | None = None) -> dict[str, bytes]:
        root = Path(mlflow.get_run(key).info.artifact_uri)
        return {item.path: (root / item.path).read_bytes() for item in mlflow.list_artifacts(key, folder)}

    def read(key: str) -> MemoryRun:
        run = mlflow.get_run(key)
        tags = {name: value for name, value in run.data.tags.items() if not name.startswith("mlflow.")}
        history = {name: mlflow.get_metric_history(key, name) for name in run.data.metrics}
        return MemoryRun(
            experiment=mlflow.get_experiment(run.info.experiment_id).name,
            name=run.info.run_name,
            parent=run.data.tags.get("mlflow.parentRunId"),
            tags=tags,
            status=run.info.status,
            params=run.data.params,
            metrics={name: [(item.step, item.value) for item in items] for name, items in history.items()},
            files=files(key),
        )

    def children(key: str) -> list[str]:
        experiment = mlflow.get_run(key).info.experiment_id
        return [run.info.run_id for run in mlflow.search_runs([experiment], f"tags.mlflow.parentRunId = '{key}'")]

    return Service(uri, connect(uri), read, children)


@pytest.fixture(params=["memory", "mlflow"])
def service(request: pytest.FixtureRequest, tmp_path: Path) -> Service:
    if request.param == "memory":
        return _memory_service(f"memory://{tmp_path}")
    return _mlflow_service(fresh_tracker(tmp_path))


@pytest.fixture(autouse=True)
def _no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [*os.environ]:
        if name.startswith(("KFP_", "MLFLOW_")) or name == "JOBTUNER_STAGE_RUN_ID":
            monkeypatch.delenv(name)


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


def test_the_machine_is_recorded_while_a_model_is_trained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL", "0.1")
    service = _mlflow_service(fresh_tracker(tmp_path))
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
    service = _mlflow_service(fresh_tracker(tmp_path))
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


def test_a_stage_is_a_nested_run_with_its_sections_and_its_data(service: Service, tmp_path: Path) -> None:
    run = service.open_run()
    inputs = {"prepare": samples.prepared(tmp_path / "prepare").folder}
    result = samples.baseline(tmp_path / "baseline")
    with service.tracker.stage("baseline", run, inputs, ("seed", "baseline")) as record:
        inside = current_run_id()
        record(result, True)
    stage = service.only_child(run)
    assert service.children(run.parent_id) == [inside]
    assert current_run_id() is None
    assert (stage.name, stage.parent, stage.experiment, stage.status) == (
        "baseline",
        run.parent_id,
        "jobtuner",
        "FINISHED",
    )
    assert stage.params == recipe_parameters(CONFIG, "seed", "baseline")
    assert stage.params["seed"] == "17"
    assert "training.epochs" not in stage.params
    assert stage.tags["reused"] == "true"
    assert stage.tags["fingerprint"] == result.fingerprint
    assert stage.metrics == {"validation_accuracy": [(0, 0.75)], "train_seconds": [(0, 1.5)]}


@pytest.mark.parametrize(
    ("stage", "context"), [("train", "training"), ("evaluate", "evaluation"), ("export", "evaluation")]
)
def test_the_data_set_is_recorded_with_its_digest(tmp_path: Path, stage: str, context: str) -> None:
    uri = fresh_tracker(tmp_path)
    data = samples.prepared(tmp_path / "prepare", fingerprint="0123456789abcdef" * 4)
    tracker = connect(uri)
    run = Run(CONFIG, uri, tracker.open_run(CONFIG))
    with tracker.stage(stage, run, {"prepare": data.folder}):
        run_id = current_run_id()
    assert run_id is not None
    read_back = client(uri).get_run(run_id).inputs
    assert read_back is not None
    (used,) = read_back.dataset_inputs
    assert used.dataset.digest == "0123456789abcdef"
    assert {tag.key: tag.value for tag in used.tags} == {"mlflow.data.context": context}


Expected = tuple[Callable[[Path], Contract], dict[str, float], set[str], dict[str, str]]
RESULTS: list[Expected] = [
    (
        samples.prepared,
        {"rows/train": 60, "rows/rejected": 5, "languages": 2, "labels": 2},
        {"card.md"},
        {},
    ),
    (samples.baseline, {"validation_accuracy": 0.75, "train_seconds": 1.5}, set(), {}),
    (
        samples.trained,
        {"train_loss": 0.5, "tokens_per_second": 1000.0},
        {"adapter_config.json", "history.jsonl"},
        {},
    ),
    (
        samples.report,
        {
            "examples": 80,
            "temperature": 1.25,
            "gain/macro_f1/low": 0.02,
            "mcnemar_p": 0.01,
            "model/accuracy": 0.9,
            "model/macro_f1": 0.8,
            "model/per_language/da/accuracy": 0.85,
            "baseline/per_language/en/n": 50,
            "baseline/accuracy": 0.8,
        },
        {"report.md", "report.html", "metrics.json", "calibration.json", "confusion.png", "languages.png"},
        {},
    ),
    (
        samples.version,
        {"promoted": 0.0, "gate/accuracy in da/challenger": 0.8},
        {"decision.json", "model_card.md"},
        {
            "model.name": "jobtuner-occupation",
            "model.version": "3",
            "model.aliases": "challenger",
            "gate.failed": "accuracy in da",
        },
    ),
    (samples.exported, {"parity/label_agreement": 0.99, "parity/max_abs_difference": 0.01}, {"parity.json"}, {}),
    (
        samples.deployment,
        {"checks/asked": 2, "checks/valid": 1},
        {"smoke_test.json"},
        {"endpoint.target": "local", "endpoint.url": "http://127.0.0.1:9"},
    ),
]


@pytest.mark.parametrize("expected", RESULTS, ids=[row[0].__name__ for row in RESULTS])
def test_each_result_is_recorded(service: Service, tmp_path: Path, expected: Expected) -> None:
    make, metrics, files, tags = expected
    run = service.open_run()
    with service.tracker.stage("any", run, {}, ("seed",)) as record:
        record(make(tmp_path / "result"), False)
    stage = service.only_child(run)
    assert {name: stage.metrics[name] for name in metrics} == {name: [(0, value)] for name, value in metrics.items()}
    assert set(stage.files) == files
    assert all(stage.files[name] == next((tmp_path / "result").rglob(name)).read_bytes() for name in files)
    assert tags.items() <= stage.tags.items()
    assert stage.tags["reused"] == "false"
    assert not [name for name in stage.metrics if "per_label" in name]


def test_the_loss_is_recorded_step_by_step(service: Service, tmp_path: Path) -> None:
    run = service.open_run()
    with service.tracker.stage("train", run, {}, ("training",)) as record:
        record(samples.trained(tmp_path / "train"), False)
    stage = service.only_child(run)
    assert stage.metrics["training/loss"] == [(1, 2.0), (2, 1.0), (4, 0.5)]
    assert stage.metrics["training/learning_rate"] == [(1, 1e-4), (2, 1e-4), (4, 1e-4)]
    assert "training/note" not in stage.metrics
    assert stage.params["built.lora.r"] == "16"


def test_the_parent_gets_the_headline_so_that_runs_can_be_compared(service: Service, tmp_path: Path) -> None:
    run = service.open_run()
    with service.tracker.stage("evaluate", run, {}, ("seed",)) as record:
        record(samples.report(tmp_path / "report"), False)
    assert service.read(run.parent_id).metrics == {
        "model/accuracy": [(0, 0.9)],
        "model/macro_f1": [(0, 0.8)],
        "baseline/accuracy": [(0, 0.8)],
        "baseline/macro_f1": [(0, 0.7)],
    }


def test_metrics_that_are_no_numbers_and_odd_names_are_stood(service: Service, tmp_path: Path) -> None:
    run = service.open_run()
    odd = {"accuracy": math.nan, "per_language": {"zh·Hans": {"accuracy": 0.5}}}
    with service.tracker.stage("evaluate", run, {}, ("seed",)) as record:
        record(samples.report(tmp_path / "report", model=odd), False)
    stage = service.only_child(run)
    assert math.isnan(stage.metrics["model/accuracy"][0][1])
    assert stage.metrics["model/per_language/zh_Hans/accuracy"] == [(0, 0.5)]


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (ContractError("half-written"), "FAILED"),
        (MemoryError(), "FAILED"),
        (KeyboardInterrupt(), "KILLED"),
        (SystemExit(3), "KILLED"),
    ],
    ids=["own error", "other error", "interrupted", "exited"],
)
def test_a_stage_that_ends_badly_is_recorded_so(service: Service, error: BaseException, status: str) -> None:
    run = service.open_run()
    with pytest.raises(type(error)), service.tracker.stage("train", run, {}, ("seed",)):
        raise error
    assert service.only_child(run).status == status
    assert current_run_id() is None


def test_a_tracker_that_fails_as_well_does_not_hide_what_went_wrong() -> None:
    class Dying(MemoryRunStore):
        def close(self, run_id: str, status: str) -> None:
            raise TrackingError("gone")

    tracker = Tracker(Dying())
    run = Run(CONFIG, "memory://dying", tracker.open_run(CONFIG))
    with pytest.raises(ContractError, match="half-written"), tracker.stage("train", run, {}, ("seed",)):
        raise ContractError("half-written")
    with pytest.raises(TrackingError, match="gone"), tracker.stage("train", run, {}, ("seed",)):
        pass


def test_input_that_is_no_prepared_data_fails_the_stage(service: Service, tmp_path: Path) -> None:
    run = service.open_run()
    inputs = {"prepare": samples.baseline(tmp_path / "baseline").folder}
    with pytest.raises(ContractError, match="BaselineModel"), service.tracker.stage("train", run, inputs):
        pytest.fail("the block must not run")
    assert service.only_child(run).status == "FAILED"


def test_a_run_that_was_opened_for_the_stage_is_used(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    run = service.open_run()
    monkeypatch.setenv("JOBTUNER_STAGE_RUN_ID", service.tracker.open_run(CONFIG))
    with service.tracker.stage("train", run, {}, ("seed",)):
        assert current_run_id() == os.environ["JOBTUNER_STAGE_RUN_ID"]
    assert service.children(run.parent_id) == []
    assert service.read(os.environ["JOBTUNER_STAGE_RUN_ID"]).status == "FINISHED"


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


def test_unknown_contracts_are_refused(tmp_path: Path) -> None:
    class Strange(Contract):
        pass

    service = _memory_service(f"memory://{tmp_path}")
    run = service.open_run()
    strange: Any = Strange(folder=tmp_path, fingerprint="0")
    with pytest.raises(TypeError, match="Strange"), service.tracker.stage("any", run, {}, ("seed",)) as record:
        record(strange, False)
