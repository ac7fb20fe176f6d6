import hashlib
import json
from collections.abc import Mapping
from functools import partial
from pathlib import Path

import pytest

from jobtuner.config import Config
from jobtuner.contracts import Deployment, ExportedModel, ModelVersion, PreparedData
from jobtuner.deploy import stage
from jobtuner.deploy.local import LocalEndpoint
from jobtuner.errors import ContractError, DeployError
from jobtuner.records import Example, write_jsonl
from tests.unit.serve import fakes

CONFIG = Config.model_validate({"name": "test", "deploy": {"start_seconds": 30.0}})
EXAMPLES = [
    Example("b2", "software developer", "2512", "en", "c1"),
    Example("b1", "nurse", "2221", "en", "c2"),
    Example("b3", "Koch", "5120", "de", "c3"),
]


@pytest.fixture
def inputs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Mapping[str, Path]:
    """Folders of the stages before, with a model that the keyword server can serve."""
    folders = {name: tmp_path / name for name in ("prepare", "register", "export", "out")}
    for folder in folders.values():
        folder.mkdir()
    write_jsonl(folders["prepare"] / "test.jsonl", EXAMPLES)
    fakes.TAXONOMY.save(folders["prepare"] / "taxonomy.json")
    PreparedData(
        folder=folders["prepare"],
        fingerprint="p",
        task="occupation",
        source="test",
        languages=["de", "en"],
        labels=fakes.TAXONOMY.labels,
        taxonomy_version=fakes.TAXONOMY.version,
        counts={},
    ).save()
    register(folders["register"], "m")
    fakes.model_folder(folders["export"] / "model")
    ExportedModel(
        folder=folders["export"], fingerprint="e", model_fingerprint="m", labels=fakes.TAXONOMY.labels, parity={}
    ).save()
    monkeypatch.setattr(stage, "LocalEndpoint", partial(LocalEndpoint, command=fakes.COMMAND))
    return folders


def register(folder: Path, model: str) -> None:
    ModelVersion(
        folder=folder,
        fingerprint="r",
        name="jobtuner-occupation",
        version="3",
        aliases=[],
        promoted=True,
        reasons=[],
        model_fingerprint=model,
        tracking_uri="sqlite:///x",
    ).save()


def test_the_first_example_of_every_language_is_asked(inputs: Mapping[str, Path]) -> None:
    made = stage.run(CONFIG, inputs, inputs["out"])
    assert made == Deployment.load(inputs["out"])
    assert (made.target, made.model_version) == ("local", "jobtuner-occupation/3")
    assert [(check["language"], check["expected"], check["answered"]) for check in made.checks] == [
        ("de", "5120", "5120"),
        ("en", "2221", "2221"),
    ]
    proof = (inputs["out"] / "smoke_test.json").read_bytes()
    assert json.loads(proof)["checks"] == made.checks
    # Of the proof alone: the URL's port is another every time.
    assert made.url.encode() not in proof
    assert made.fingerprint == hashlib.sha256(proof).hexdigest()
    assert (inputs["out"] / "server.log").stat().st_size > 0


def test_another_model_than_the_registered_one_is_refused(inputs: Mapping[str, Path]) -> None:
    register(inputs["register"], "another")
    with pytest.raises(ContractError, match="jobtuner-occupation/3 has the fingerprint another"):
        stage.run(CONFIG, inputs, inputs["out"])


def test_a_model_that_cannot_be_served_leaves_no_contract(inputs: Mapping[str, Path]) -> None:
    fakes.model_folder(inputs["export"] / "model", load="fails")
    with pytest.raises(DeployError, match="The taxonomy of the model is 1111"):
        stage.run(CONFIG, inputs, inputs["out"])
    assert sorted(path.name for path in inputs["out"].iterdir()) == ["server.log"]


def test_an_empty_test_split_is_refused(inputs: Mapping[str, Path]) -> None:
    write_jsonl(inputs["prepare"] / "test.jsonl", [])
    with pytest.raises(ContractError, match="holds no example"):
        stage.run(CONFIG, inputs, inputs["out"])
