"""The whole pipeline as `make run` runs it, on few ads and a tiny stand-in: every seam, with the real libraries."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from jobtuner.contracts import (
    BaselineModel,
    Deployment,
    EvalReport,
    ExportedModel,
    ModelVersion,
    PreparedData,
    TrainedModel,
)
from jobtuner.records import read_jsonl
from jobtuner.taxonomy import Taxonomy

_BIN = Path(sys.executable).parent
_SMALL = {
    "data.generate.ads_per_unit": 4,
    "data.generate.languages": ["en", "de"],
    "baseline.max_features": 5000,
    "model.standin.vocab_size": 800,
    "model.standin.hidden_size": 48,
    "model.standin.intermediate_size": 96,
    "model.standin.layers": 1,
    "model.standin.pretrain_tokens": 80_000,
    "prompt.max_ad_tokens": 48,
    "training.max_steps": 6,
    "evaluate.max_examples": 24,
    "export.parity_examples": 8,
    # A model that has hardly learnt gives nearly equal probabilities, and rounding to bfloat16 decides between them.
    "export.dtype": "float32",
    "export.min_label_agreement": 0.5,
}
_PICKLES = {".bin", ".ckpt", ".joblib", ".npz", ".pickle", ".pkl", ".pt", ".pth"}


def _jobtuner(place: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("JOBTUNER_", "MLFLOW_"))}
    command = [str(_BIN / "jobtuner"), *arguments]
    return subprocess.run(command, cwd=place, env=environment, capture_output=True, text=True, timeout=900, check=False)


def _run(place: Path) -> str:
    settings = [part for key, value in _SMALL.items() for part in ("--set", f"{key}={json.dumps(value)}")]
    done = _jobtuner(place, "run", *settings)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("make_run")
    output = _run(folder)
    for text in ("language", "jobtuner-occupation version 1", "report.html", "jobtuner predict", "mlflow ui"):
        assert text in output
    return folder


@pytest.fixture(scope="module")
def latest(place: Path) -> Path:
    return place / "outputs" / "latest"


def test_each_contract_belongs_to_the_one_before(latest: Path) -> None:
    data = PreparedData.load(latest / "prepare")
    cheap, model = BaselineModel.load(latest / "baseline"), TrainedModel.load(latest / "train")
    report, version = EvalReport.load(latest / "evaluate"), ModelVersion.load(latest / "register")
    exported, endpoint = ExportedModel.load(latest / "export"), Deployment.load(latest / "deploy")
    assert cheap.data_fingerprint == model.data_fingerprint == report.data_fingerprint == data.fingerprint
    assert report.model_fingerprint == version.model_fingerprint == exported.model_fingerprint == model.fingerprint
    assert endpoint.model_version == f"{version.name}/{version.version}"
    assert set(data.languages) == {check["language"] for check in endpoint.checks}
    assert all(check["valid"] for check in endpoint.checks)


def test_model_and_baseline_answered_the_same_ads(latest: Path) -> None:
    report = EvalReport.load(latest / "evaluate")
    ours = [row["id"] for row in read_jsonl(latest / "evaluate" / "predictions.jsonl")]
    theirs = [row["id"] for row in read_jsonl(latest / "evaluate" / "baseline_predictions.jsonl")]
    assert ours == theirs and len(ours) == report.examples == 24
    tested = {row["id"] for row in read_jsonl(latest / "prepare" / "test.jsonl")}
    assert set(ours) <= tested


def test_no_ad_is_in_two_splits(latest: Path) -> None:
    clusters = [
        {row["cluster"] for row in read_jsonl(latest / "prepare" / f"{split}.jsonl")}
        for split in ("train", "validation", "test")
    ]
    assert sum(map(len, clusters)) == len(set.union(*clusters))


def test_the_adapter_is_quantised_training_and_safetensors(latest: Path) -> None:
    assert (latest / "train" / "adapter" / "adapter_model.safetensors").is_file()
    written = [
        path for stage in ("baseline", "train", "evaluate", "export") for path in (latest / stage).resolve().rglob("*")
    ]
    assert [path for path in written if path.suffix in _PICKLES] == []


def test_the_exported_model_predicts_codes_of_the_taxonomy(place: Path, latest: Path) -> None:
    done = _jobtuner(place, "predict", "Night nurse for our ward", "Schweißer gesucht", "--json", "--top", "3")
    assert done.returncode == 0, done.stderr
    answers: list[dict[str, Any]] = [json.loads(line) for line in done.stdout.splitlines()]
    taxonomy = Taxonomy.load(latest / "prepare" / "taxonomy.json")
    assert [len(answer["top"]) for answer in answers] == [3, 3]
    for answer in answers:
        assert all(item["code"] in taxonomy for item in answer["top"])
        assert 0.0 < sum(item["probability"] for item in answer["top"]) <= 1.0 + 1e-6


def test_the_run_is_tracked(place: Path, latest: Path) -> None:
    from jobtuner.tracking_mlflow import client

    parent_id = json.loads((latest / "run" / "run.json").read_text())["parent_id"]
    tracker = client(f"sqlite:///{place / 'outputs' / 'mlflow.db'}")
    parent = tracker.get_run(parent_id)
    assert parent.info.status == "FINISHED"
    nested = tracker.search_runs([parent.info.experiment_id], f"tags.`mlflow.parentRunId` = '{parent_id}'")
    assert sorted(run.info.run_name for run in nested) == [
        *("baseline", "deploy", "evaluate", "export", "prepare", "register", "train"),
    ]
    assert {run.info.status for run in nested} == {"FINISHED"}


def test_the_same_run_again_reuses_its_stages_and_makes_no_second_version(place: Path, latest: Path) -> None:
    first = latest.readlink()
    output = _run(place)
    assert latest.readlink() != first
    reused = {line.split()[1] for line in output.splitlines() if line.startswith("✓") and "reused" in line}
    assert reused == {"prepare", "baseline", "train", "evaluate", "export"}
    assert ModelVersion.load(latest / "register").version == "1"
