"""Each stage is a nested run with its result; the same in memory and in MLflow."""

import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from jobtuner.contracts import Contract
from jobtuner.errors import ContractError, TrackingError
from jobtuner.run import Run
from jobtuner.tracking import MemoryRunStore, Tracker, connect, current_run_id
from jobtuner.tracking_entries import recipe_parameters
from jobtuner.tracking_mlflow import client
from tests.unit import contract_samples as samples
from tests.unit.mlflow_template import fresh_tracker
from tests.unit.tracking.services import CONFIG, Service, memory_service


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


def test_unknown_contracts_are_refused(tmp_path: Path) -> None:
    class Strange(Contract):
        pass

    service = memory_service(f"memory://{tmp_path}")
    run = service.open_run()
    strange: Any = Strange(folder=tmp_path, fingerprint="0")
    with pytest.raises(TypeError, match="Strange"), service.tracker.stage("any", run, {}, ("seed",)) as record:
        record(strange, False)
