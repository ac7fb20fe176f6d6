"""The gateway in front of a model server: same answers, and a server that misbehaves harms nobody."""

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from starlette.testclient import TestClient
from transformers import AutoModelForCausalLM

from jobtuner.completions import KEY_VARIABLE
from jobtuner.errors import DeployError, ModelError
from jobtuner.models import load_tokenizer
from jobtuner.scoring import load_exported
from jobtuner.serve.assembly import Offer, build
from jobtuner.serve.backend import Endpoint, connect
from jobtuner.taxonomy import Taxonomy
from tests.conftest import ADS, Standin
from tests.unit.labels.openai_server import OpenAIServer
from tests.unit.serve import exports
from tests.unit.serve.conftest import wait_until


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory, standin: Standin, taxonomy: Taxonomy) -> Path:
    """The stand-in as the export stage would leave it."""
    folder = tmp_path_factory.mktemp("exported") / "model"
    shutil.copytree(standin.folder, folder)
    return exports.complete(folder, taxonomy)


@pytest.fixture
def server(exported: Path) -> OpenAIServer:
    model: Any = AutoModelForCausalLM.from_pretrained(str(exported)).eval()
    return OpenAIServer(model, load_tokenizer(str(exported)))


@pytest.fixture
def url(server: OpenAIServer) -> Iterator[str]:
    with server.running() as url:
        yield url


def fast(url: str, **changes: Any) -> Endpoint:
    return replace(Endpoint(url, concurrency=4, timeout=5.0, attempts=1), **changes)


def test_a_served_model_answers_as_the_same_model_here(exported: Path, url: str) -> None:
    here, there = load_exported(exported), connect(fast(url), exported)
    np.testing.assert_allclose(there.log_probabilities(ADS), here.log_probabilities(ADS), atol=1e-4)
    for name in ("labels", "model_version", "fingerprint", "abstain_below"):
        assert getattr(there, name) == getattr(here, name)
    with TestClient(build(Offer(exported, fast(url)))) as client:
        wait_until(lambda: client.get("/ready").status_code == 200)
        results = client.post("/v1/occupations", json={"ads": [{"text": text} for text in ADS]}).json()
    assert results["model_version"] == "nurses/1"
    expected = here.log_probabilities(ADS)
    assert [item["code"] for item in results["results"]] == [here.labels[row.argmax()] for row in expected]
    assert [item["probability"] for item in results["results"]] == pytest.approx(np.exp(expected.max(1)), abs=1e-3)
    assert all(item["abstain"] and item["answered_by"] == "model" for item in results["results"])


def test_other_weights_under_the_same_name_are_refused(exported: Path, server: OpenAIServer, url: str) -> None:
    import torch

    with torch.no_grad():
        for parameter in server.model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.3)
    with pytest.raises(ModelError, match=r"'occ' at http.* is not the model in .* differ by 0\.\d\d"):
        connect(fast(url), exported)


def test_the_name_the_reference_and_the_servers_understanding_are_checked(
    exported: Path, server: OpenAIServer, url: str, tmp_path: Path
) -> None:
    with pytest.raises(DeployError, match="serves no model 'other'"):
        connect(fast(url, served_model="other"), exported)
    server.knows_token_ids = False
    with pytest.raises(DeployError, match="logprob_token_ids"):
        connect(fast(url), exported)
    server.knows_token_ids = True
    without = shutil.copytree(exported, tmp_path / "model")
    (without / "known_answers.json").unlink()
    with pytest.raises(ModelError, match="exported by an earlier version"):
        connect(fast(url), without)
    with pytest.raises(DeployError, match="1 attempts"):
        connect(fast("http://127.0.0.1:9"), exported)


def test_a_key_goes_to_the_server_and_nowhere_else(
    exported: Path, server: OpenAIServer, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.key = "sesame"
    with pytest.raises(DeployError, match=KEY_VARIABLE):
        connect(fast(url), exported)
    monkeypatch.setenv(KEY_VARIABLE, "sesame")
    with TestClient(build(Offer(exported, fast(url)))) as client:
        assert client.post("/v1/occupations", json={"ads": [{"text": "nurse"}]}).status_code == 200


def test_ready_follows_the_server(exported: Path, server: OpenAIServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jobtuner.serve.assembly._REMOTE_PROBE", 0.05)
    with server.running() as url, TestClient(build(Offer(exported, fast(url)))) as client:
        wait_until(lambda: client.get("/ready").status_code == 200)
        server.failures = [(500, {})] * 10_000
        wait_until(lambda: client.get("/ready").status_code == 503)
        response = client.post("/v1/occupations", json={"ads": [{"text": "nurse"}]})
        assert (response.status_code, response.json()["error"]["type"]) == (503, "upstream")
        server.failures = []
        wait_until(lambda: client.get("/ready").status_code == 200)


def test_a_busy_server_is_asked_again(exported: Path, server: OpenAIServer, url: str) -> None:
    model = connect(fast(url, attempts=2), exported)
    server.failures = [(503, {"Retry-After": "0"})]
    assert model.log_probabilities(["nurse"]).shape == (1, 5)


def test_a_server_that_takes_too_long_is_given_up(exported: Path, server: OpenAIServer, url: str) -> None:
    with TestClient(build(Offer(exported, fast(url, timeout=0.5)))) as client:
        server.delay = 1.0
        response = client.post("/v1/occupations", json={"ads": [{"text": "nurse"}]})
        assert (response.status_code, response.json()["error"]["type"]) == (503, "upstream")
        server.delay = 0.0


def test_no_more_than_the_allowed_number_is_asked_at_once(exported: Path, server: OpenAIServer, url: str) -> None:
    with TestClient(build(Offer(exported, fast(url)))) as client:
        server.delay, server.most_at_once = 0.02, 0
        assert client.post("/v1/occupations", json={"ads": [{"text": text} for text in ADS * 4]}).status_code == 200
    assert 2 <= server.most_at_once <= 4
