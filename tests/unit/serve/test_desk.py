"""Who answers, what is flagged, who is told: the cascade and the observers, over HTTP."""

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from starlette.testclient import TestClient

from jobtuner.cascade import CascadeSettings
from jobtuner.config import BaselineConfig
from jobtuner.errors import ConfigError, DeployError, ModelError
from jobtuner.linear.classifier import BaselineClassifier
from jobtuner.probabilities import Temperatures
from jobtuner.router import Point
from jobtuner.serve.assembly import CascadeChoice, load_cascade
from jobtuner.serve.desk import Cascade
from jobtuner.serve.gateway import create_app
from jobtuner.serve.observers import Answered
from jobtuner.taxonomy import Occupation, Taxonomy
from tests.unit.serve.conftest import wait_until
from tests.unit.serve.fakes import KeywordClassifier
from tests.unit.serve.test_metrics import samples


class Titles:
    """A baseline that is sure of two titles and knows two codes."""

    def __init__(self) -> None:
        self.labels = ["2221", "5120"]

    def log_probabilities(self, texts: Sequence[str]) -> NDArray[np.float32]:
        sure = {"nurse": (0.95, 0.05), "cook": (0.1, 0.9)}
        return np.log(np.array([sure.get(text, (0.5, 0.5)) for text in texts], dtype=np.float32))


class Listener:
    """Keeps what it is told; waits while the gate is shut; fails where it is told to."""

    def __init__(self) -> None:
        self.told: list[Answered] = []
        self.gate = threading.Event()
        self.gate.set()
        self.closed = self.fails = False

    def observe(self, answered: Answered) -> None:
        assert self.gate.wait(20)
        if self.fails:
            raise ValueError(answered.text)
        self.told.append(answered)

    def close(self) -> None:
        self.closed = True


@contextmanager
def served(classifier: KeywordClassifier, **parts: Any) -> Iterator[TestClient]:
    with TestClient(create_app(classifier, **parts)) as client:
        wait_until(lambda: client.get("/ready").status_code == 200)
        classifier.seen.clear()
        yield client


def ask(client: TestClient, *texts: str) -> Any:
    response = client.post("/v1/occupations", json={"ads": [{"text": text} for text in texts], "top_k": 2})
    assert response.status_code == 200, response.text
    return response.json()["results"]


def test_the_baseline_answers_where_it_is_sure_and_the_model_the_rest(classifier: KeywordClassifier) -> None:
    baseline = Titles()
    with served(classifier, cascade=Cascade(baseline, 0.85)) as client:
        results = ask(client, "truck driver", "nurse", "kitchen", "cook")
        found = samples(client)
    assert [result["answered_by"] for result in results] == ["model", "baseline", "model", "baseline"]
    assert [result["code"] for result in results] == ["8332", "2221", "5120", "5120"]
    assert results[1]["top"][0]["probability"] == pytest.approx(0.95)
    assert [entry["code"] for entry in results[3]["top"]] == ["5120", "2221"]
    assert classifier.seen == ["truck driver", "kitchen"]
    assert found["jobtuner_answers_total", (("by", "baseline"),)] == 2
    assert found["jobtuner_answers_total", (("by", "model"),)] == 2
    assert found["jobtuner_labels_total", (("code", "5120"),)] == 2


def test_an_ad_of_a_known_language_has_the_temperature_of_its_language(classifier: KeywordClassifier) -> None:
    classifier.temperatures = Temperatures(1.0, {"de": 0.5})
    cascade = Cascade(Titles(), 0.92, Temperatures(1.0, {"de": 2.0, "fr": 0.5}))
    ads = [{"text": "cook", "language": "fr"}, {"text": "nurse", "language": "de"}, {"text": "nurse hospital"}]
    ads.append({"text": "nurse hospital", "language": "de"})
    with served(classifier, cascade=cascade) as client:
        results = client.post("/v1/occupations", json={"ads": ads}).json()["results"]
    assert [result["answered_by"] for result in results] == ["baseline", "model", "model", "model"]
    assert results[0]["probability"] == pytest.approx(0.9**2 / (0.9**2 + 0.1**2))  # T = 1/2 squares
    plain, german = results[2]["probability"], results[3]["probability"]
    assert german > plain


def test_a_model_that_is_down_does_not_stop_the_baseline(classifier: KeywordClassifier) -> None:
    with served(classifier, cascade=Cascade(Titles(), 0.9)) as client:
        classifier.broken = True
        assert ask(client, "nurse")[0]["code"] == "2221"
        assert client.post("/v1/occupations", json={"ads": [{"text": "driver"}]}).status_code == 500


def test_unsure_answers_are_flagged_and_counted(classifier: KeywordClassifier) -> None:
    classifier.abstain_below = 0.6
    with served(classifier) as client:
        results = ask(client, "nurse hospital", "nothing of note")
        assert samples(client)["jobtuner_abstentions_total", ()] == 1
    assert [result["abstain"] for result in results] == [False, True]


def test_observers_see_every_answer_outside_the_request(classifier: KeywordClassifier) -> None:
    listener = Listener()
    listener.gate.clear()
    with served(classifier, observers=[listener]) as client:
        body = {"ads": [{"text": "nurse", "language": "da", "id": "a"}, {"text": "cook"}]}
        response = client.post("/v1/occupations", json=body, headers={"X-Request-Id": "r-1"})
        assert response.status_code == 200
        assert listener.told == []  # it is not waited for
        listener.gate.set()
        wait_until(lambda: len(listener.told) == 2)
    assert listener.closed
    first, second = listener.told
    assert (first.request_id, first.text, first.language, first.result.code) == ("r-1", "nurse", "da", "2221")
    assert (second.language, second.result.code, second.model_version) == (None, "5120", "keywords/1")
    assert abs(first.time - time.time()) < 60


def test_what_waits_at_the_stop_is_still_told(classifier: KeywordClassifier) -> None:
    listener = Listener()
    listener.gate.clear()
    with served(classifier, observers=[listener]) as client:
        ask(client, *["nurse"] * 64)
        threading.Timer(0.3, listener.gate.set).start()
    assert len(listener.told) == 64
    assert listener.closed


def test_a_failing_observer_harms_nobody(classifier: KeywordClassifier, caplog: pytest.LogCaptureFixture) -> None:
    bad, good = Listener(), Listener()
    bad.fails = True
    with served(classifier, observers=[bad, good]) as client:
        ask(client, "nurse Geheimwort")
        wait_until(lambda: len(good.told) == 1)
        assert samples(client)["jobtuner_unobserved_total", (("reason", "failed"),)] == 1
    assert "Geheimwort" not in caplog.text


def test_an_upstream_that_is_down_is_a_503(classifier: KeywordClassifier, caplog: pytest.LogCaptureFixture) -> None:
    with served(classifier) as client:

        def refuse(texts: Sequence[str]) -> NDArray[np.float32]:
            raise DeployError(f"http://model/v1/completions answered HTTP 500: {texts}")

        classifier.log_probabilities = refuse  # type: ignore[method-assign]
        response = client.post("/v1/occupations", json={"ads": [{"text": "nurse Geheimwort"}]})
        wait_until(lambda: client.get("/ready").status_code == 503)
    assert (response.status_code, response.headers["retry-after"]) == (503, "2")
    assert response.json()["error"]["type"] == "upstream"
    (record,) = [record for record in caplog.records if record.getMessage() == "upstream failed"]
    assert record.__dict__["fields"]["cause"] == "http://model/v1/completions answered HTTP 500"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder with a real baseline beside the (absent) weights."""
    folder = tmp_path_factory.mktemp("model")
    (folder / "baseline").mkdir()
    texts = ["nurse hospital", "nurse night", "cook kitchen", "cook hotel"] * 3
    BaselineClassifier(BaselineConfig()).fit(texts, ["2221", "2221", "5120", "5120"] * 3).save(folder / "baseline")
    points = [Point(2.0, 0.0, None, 0.8), Point(0.9, 0.5, 1.0, 0.9), Point(0.0, 1.0, 0.8, 0.8)]
    CascadeSettings(0.5, 0.8, 400, points).save(folder / "baseline")
    return folder


def test_the_cascade_lies_beside_the_weights(model: Path, classifier: KeywordClassifier) -> None:
    raw = BaselineClassifier.load(model / "baseline").log_probabilities(["nurse hospital"])
    cascade = load_cascade(CascadeChoice(), model, classifier)
    assert cascade.threshold == 0.8
    calibrated = cascade.baseline.log_probabilities(["nurse hospital"])
    assert float(calibrated.max()) > float(raw.max())  # a temperature below 1 sharpens
    assert load_cascade(CascadeChoice(precision=0.95), model, classifier).threshold == 0.9
    other = load_cascade(CascadeChoice(model / "baseline", threshold=0.7), model, classifier)
    assert (other.threshold, float(other.baseline.log_probabilities(["nurse hospital"]).max())) == (
        0.7,
        float(raw.max()),
    )


def test_what_is_no_cascade_is_refused(model: Path, classifier: KeywordClassifier, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="exclude each other"):
        load_cascade(CascadeChoice(precision=0.9, threshold=0.5), model, classifier)
    with pytest.raises(ModelError, match=r"cascade\.json"):
        load_cascade(CascadeChoice(), tmp_path, classifier)
    classifier.taxonomy = Taxonomy([Occupation("2221", {"en": "Nurses"}), Occupation("9111", {"en": "Cleaners"})])
    with pytest.raises(ModelError, match="taxonomy lacks: "):
        load_cascade(CascadeChoice(), model, classifier)
