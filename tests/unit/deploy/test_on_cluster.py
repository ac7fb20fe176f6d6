"""The deploy stage with target kserve: real object store client, Kubernetes client, model, over real HTTP."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import yaml
from minio import Minio
from moto.server import ThreadedMotoServer
from transformers import AutoModelForCausalLM

from jobtuner.config import CleanConfig, Config
from jobtuner.contracts import PARITY_FILE, Deployment, ExportedModel, ModelVersion
from jobtuner.deploy.bundle import Prompt, fetch_bundle, find_bundle, upload_bundle
from jobtuner.deploy.stage import run
from jobtuner.errors import ContractError, DeployError
from jobtuner.known_answers import write_known_answers
from jobtuner.models import load_tokenizer
from jobtuner.records import write_jsonl
from jobtuner.scoring import TAXONOMY_FILE, InferenceSettings, load_exported
from jobtuner.serve.backend import Endpoint, connect
from jobtuner.storage import names, upload
from jobtuner.tasks import get_task, prompt_hash
from jobtuner.taxonomy import Taxonomy
from tests.conftest import ADS, Standin
from tests.unit.deploy.fake_cluster import FakeCluster
from tests.unit.labels.openai_server import OpenAIServer

_MODELS = "s3://jobtuner-models/models"
_LOCATION = f"{_MODELS}/{'m' * 16}-{'e' * 16}"


@pytest.fixture(scope="module")
def store() -> Iterator[str]:
    moto = ThreadedMotoServer("127.0.0.1", port=0)
    moto.start()
    host, port = moto.get_host_and_port()
    yield f"{host}:{port}"
    moto.stop()


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory, standin: Standin, taxonomy: Taxonomy) -> ExportedModel:
    """The stand-in as the export stage leaves it."""
    folder = tmp_path_factory.mktemp("export")
    model: Any = AutoModelForCausalLM.from_pretrained(str(standin.folder))
    tokenizer = load_tokenizer(str(standin.folder))
    model.save_pretrained(folder / "model")
    tokenizer.save_pretrained(folder / "model")
    taxonomy.save(folder / "model" / TAXONOMY_FILE)
    InferenceSettings(
        task="occupation", labels=taxonomy.labels, prompt_hash=prompt_hash(get_task("occupation"), tokenizer),
        max_ad_tokens=64, taxonomy_version=taxonomy.version, data_fingerprint="d", model_fingerprint="m",
        quantization={}, clean=CleanConfig().model_dump(mode="json"),
    ).save(folder / "model")  # fmt: skip
    (folder / "adapter").mkdir()
    (folder / "adapter" / "adapter_config.json").write_text("{}", encoding="utf-8")
    scorer = load_exported(folder / "model")
    write_known_answers(scorer, folder / "model")
    answers = [scorer.labels[column] for column in scorer.log_probabilities(ADS).argmax(axis=1)]
    rows = [Prompt(str(number), ad, "en", "2221", answers[number]) for number, ad in enumerate(ADS)]
    write_jsonl(folder / PARITY_FILE, map(asdict, rows))
    return ExportedModel(
        folder=folder, fingerprint="e" * 64, model_fingerprint="m" * 64, labels=taxonomy.labels, parity={}
    ).save()


@pytest.fixture
def bucket(store: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name, value in (
        ("MINIO_ENDPOINT", f"http://{store}"), ("AWS_ACCESS_KEY_ID", "key"), ("AWS_SECRET_ACCESS_KEY", "secret"),
    ):  # fmt: skip
        monkeypatch.setenv(name, value)
    client = Minio(store, access_key="key", secret_key="secret", secure=False, region="us-east-1")
    client.make_bucket("jobtuner-models")
    yield
    for item in client.list_objects("jobtuner-models", recursive=True):
        client.remove_object("jobtuner-models", item.object_name)
    client.remove_bucket("jobtuner-models")


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeCluster]:
    with FakeCluster().running() as running:
        path = tmp_path / "kubeconfig"
        path.write_text(yaml.safe_dump(running.kubeconfig()), encoding="utf-8")
        monkeypatch.setattr("kubernetes.config.KUBE_CONFIG_DEFAULT_LOCATION", str(path))
        monkeypatch.setattr("kubernetes.config.kube_config.KUBE_CONFIG_DEFAULT_LOCATION", str(path))
        yield running


class _Routed(OpenAIServer):
    """Paths begin with the service's name, as host names would."""

    def _decide(self, handler: Any, body: Any, failure: Any) -> tuple[int, dict[str, str], bytes]:
        handler.path = handler.path.removeprefix("/jobtuner-llm-canary").removeprefix("/jobtuner-llm")
        return super()._decide(handler, body, failure)


@pytest.fixture
def server(standin: Standin, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[OpenAIServer, str]]:
    monkeypatch.setenv("JOBTUNER_ENDPOINT_KEY", "vllm-key")
    model = AutoModelForCausalLM.from_pretrained(str(standin.folder)).eval()
    made = _Routed(model, load_tokenizer(str(standin.folder)), served=["occupation"], key="vllm-key")
    with made.running() as url:
        yield made, url


def _inputs(tmp_path: Path, exported: ExportedModel, promoted: bool = True) -> Mapping[str, Path]:
    folder = tmp_path / "register"
    folder.mkdir(exist_ok=True)
    ModelVersion(
        folder=folder, fingerprint="r", name="jobtuner-occupation", version="3", aliases=[], promoted=promoted,
        reasons=[], model_fingerprint=exported.model_fingerprint, tracking_uri="sqlite:///x",
    ).save()  # fmt: skip
    return {"prepare": tmp_path, "register": folder, "export": exported.folder}


@pytest.fixture
def config(server: tuple[OpenAIServer, str]) -> Config:
    kserve = {"ready_seconds": 5.0, "poll_seconds": 0.01, "gateway": None, "url": f"{server[1]}/{{name}}"}
    return Config.model_validate({"name": "test", "deploy": {"target": "kserve", "kserve": kserve}})


def test_a_promoted_model_is_uploaded_deployed_and_asked(
    tmp_path: Path,
    bucket: None,
    fake: FakeCluster,
    exported: ExportedModel,
    config: Config,
    server: tuple[OpenAIServer, str],
) -> None:
    (out := tmp_path / "out").mkdir()
    made = run(config, _inputs(tmp_path, exported), out)
    assert made == Deployment.load(out)
    assert (made.target, made.model_version, made.url) == (
        "kserve",
        "jobtuner-occupation/3",
        f"{server[1]}/jobtuner-llm",
    )
    assert [check["answered"] for check in made.checks] == [check["expected"] for check in made.checks]
    assert len(made.checks) == len(ADS) and all(check["valid"] for check in made.checks)
    proof = json.loads((out / "smoke_test.json").read_text(encoding="utf-8"))
    assert proof["location"] == _LOCATION
    service = fake.objects["InferenceService", "jobtuner-llm"]
    assert service["spec"]["predictor"]["model"]["storageUri"] == f"{_LOCATION}/model"
    uploaded = names(_LOCATION)
    assert {"contract.json", "parity.jsonl", "model/model.safetensors", "adapter/adapter_config.json"} <= set(uploaded)
    again = run(config, _inputs(tmp_path, exported), out)
    assert again == made


def test_a_server_with_other_weights_is_found_out(
    tmp_path: Path,
    bucket: None,
    fake: FakeCluster,
    exported: ExportedModel,
    config: Config,
    server: tuple[OpenAIServer, str],
) -> None:
    head = server[0].model.lm_head.weight
    head.data = -head.data
    (out := tmp_path / "out").mkdir()
    with pytest.raises(DeployError, match=r"was removed; there was no model.*as the exported model does"):
        run(config, _inputs(tmp_path, exported), out)
    assert ("InferenceService", "jobtuner-llm") not in fake.objects
    assert list(out.iterdir()) == []


def test_a_server_that_asks_for_no_key_is_refused(
    tmp_path: Path,
    bucket: None,
    fake: FakeCluster,
    exported: ExportedModel,
    config: Config,
    server: tuple[OpenAIServer, str],
) -> None:
    server[0].key = None
    (out := tmp_path / "out").mkdir()
    with pytest.raises(DeployError, match="answers without a key"):
        run(config, _inputs(tmp_path, exported), out)


def test_a_model_that_was_not_promoted_is_uploaded_alone(
    tmp_path: Path, bucket: None, exported: ExportedModel, config: Config
) -> None:
    (out := tmp_path / "out").mkdir()
    made = run(config, _inputs(tmp_path, exported, promoted=False), out)
    assert (made.target, made.url, made.checks) == ("none", "", [])
    assert "contract.json" in names(_LOCATION)


def test_an_upload_is_complete_when_the_contract_is_there(
    tmp_path: Path, bucket: None, exported: ExportedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent, lives = list[str](), [3]

    def mortal(path: Path, location: str) -> None:
        if len(sent) == lives[0]:
            raise KeyboardInterrupt
        sent.append(location)
        upload(path, location)

    monkeypatch.setattr("jobtuner.deploy.bundle.upload", mortal)
    with pytest.raises(KeyboardInterrupt):
        upload_bundle(exported, _MODELS)
    assert find_bundle(exported.model_fingerprint, _MODELS) is None
    with pytest.raises(ContractError, match="no complete export"):
        fetch_bundle(_LOCATION, tmp_path / "half")
    sent.clear()
    lives[0] = 1000
    upload_bundle(exported, _MODELS)
    assert sent[-1] == f"{_LOCATION}/contract.json"
    upload_bundle(exported, _MODELS)
    assert len(sent) == len(names(_LOCATION))  # the second time nothing was sent
    assert find_bundle(exported.model_fingerprint, _MODELS) == _LOCATION
    assert find_bundle("m" * 15 + "x", _MODELS) is None
    other = f"{_MODELS}/{'m' * 16}-{'f' * 16}"
    upload(exported.folder / "contract.json", f"{other}/contract.json")
    assert find_bundle(exported.model_fingerprint, _MODELS, serving=other) == other
    with pytest.raises(DeployError, match=f"2 exports.*{_LOCATION}, {other}.*Remove all but"):
        find_bundle(exported.model_fingerprint, _MODELS, serving="s3://elsewhere")
    assert find_bundle("", _MODELS) is None


def test_what_is_fetched_can_be_asked_with_and_has_no_weights(
    tmp_path: Path, bucket: None, exported: ExportedModel
) -> None:
    upload_bundle(exported, _MODELS)
    found = fetch_bundle(_LOCATION, tmp_path / "here")
    assert found.exported == exported
    assert found.prompts()[0].text == ADS[0]
    assert not list(found.folder.rglob("*.safetensors"))
    assert InferenceSettings.load(found.folder).labels == exported.labels


def test_an_export_without_prompts_asks_for_a_new_one(tmp_path: Path, exported: ExportedModel) -> None:
    from jobtuner.deploy.bundle import Bundle

    bare = ExportedModel(folder=tmp_path, fingerprint="e", model_fingerprint="m", labels=[], parity={})
    with pytest.raises(ContractError, match="Run the export stage again"):
        Bundle(_LOCATION, bare).prompts()


def test_a_gateway_needs_no_weights_of_the_export(
    tmp_path: Path, bucket: None, exported: ExportedModel, server: tuple[OpenAIServer, str], taxonomy: Taxonomy
) -> None:
    """What the pods of manifests/features/pipeline-deploy have: the export's small files, and a server."""
    fetched = fetch_bundle(upload_bundle(exported, _MODELS).location, tmp_path / "bundle")
    assert not list(fetched.folder.glob("*.safetensors"))
    asked = connect(Endpoint(f"{server[1]}/jobtuner-llm", "occupation"), fetched.folder)
    here = load_exported(exported.folder / "model")
    there, own = asked.log_probabilities(ADS[:2]), here.log_probabilities(ADS[:2])
    assert asked.labels == taxonomy.labels
    assert (there.argmax(axis=1) == own.argmax(axis=1)).all()
