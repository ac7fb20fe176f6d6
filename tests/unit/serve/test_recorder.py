"""What is answered is logged: over HTTP, and in a real process that is told to stop in the middle of its work."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest

from jobtuner.drift_reference.files import FOLDER, VOCABULARY_FILE
from jobtuner.prediction_log.reader import read_window
from jobtuner.prediction_log.sketch import Vocabulary
from jobtuner.prediction_log.store import FINDINGS, LogStore
from jobtuner.prediction_log.writer import LogSettings, PredictionLog
from jobtuner.serve.recorder import LogChoice, Recorder, open_recorder
from tests.unit.serve.conftest import wait_until
from tests.unit.serve.fakes import ROOT, KeywordClassifier, model_folder
from tests.unit.serve.test_desk import served

DAY = timedelta(days=1)


def logged(location: Path) -> list[dict[str, object]]:
    now = datetime.now(UTC)
    rows: list[dict[str, object]] = read_window(str(location), now - DAY, now + DAY).to_pylist()
    return rows


def test_every_answer_is_logged_with_its_place(tmp_path: Path) -> None:
    (tmp_path / "model" / FOLDER).mkdir(parents=True)
    Vocabulary.of(["nurse"]).save(tmp_path / "model" / FOLDER / VOCABULARY_FILE)
    choice = LogChoice(str(tmp_path / "log"), LogSettings(spool_seconds=0.01))
    recorder = open_recorder(choice, tmp_path / "model")
    ads = [{"text": "nurse wanted", "id": "mine", "language": "en"}, {"text": "zzz qqq"}]
    with served(KeywordClassifier(), observers=[recorder]) as client:
        answers = [client.post("/v1/occupations", json={"ads": ads}) for _ in range(2)]
    requests = [answer.headers["x-request-id"] for answer in answers]
    found = logged(tmp_path / "log")
    assert [row["id"] for row in found] == ["mine", f"{requests[0]}/1", "mine", f"{requests[1]}/1"]
    result = answers[0].json()["results"][0]
    assert (found[0]["label"], found[0]["language"], found[0]["answered_by"]) == (result["code"], "en", "model")
    assert found[0]["probability"] == pytest.approx(result["probability"])
    assert found[0]["unknown_words"] == 0.5  # "wanted"
    assert found[0]["abstained"] is result["abstain"]
    assert found[0]["text"] is None


def test_the_metrics_show_the_log_and_what_the_watch_found(tmp_path: Path) -> None:
    location = str(tmp_path)
    LogStore(location).put(b"# TYPE jobtuner_drift gauge\njobtuner_drift 1.0\n", FINDINGS)
    recorder = Recorder(PredictionLog(location, LogSettings(spool_seconds=0.01, flush_seconds=0.01)), location, 0.05)
    with served(KeywordClassifier(), observers=[recorder]) as client:
        assert client.post("/v1/occupations", json={"ads": [{"text": "nurse"}]}).status_code == 200
        wait_until(lambda: 'jobtuner_logged_total{outcome="published"} 1.0' in client.get("/metrics").text)
        text = client.get("/metrics").text
        assert 'jobtuner_logged_total{outcome="dropped"} 0.0' in text
        assert "jobtuner_log_failures_total 0.0" in text
        assert "jobtuner_drift 1.0" in text
        LogStore(location).put(b"# TYPE jobtuner_drift gauge\njobtuner_drift 0.0\n", FINDINGS)
        wait_until(lambda: "jobtuner_drift 0.0" in client.get("/metrics").text)


_PROCESS = """
import sys
from pathlib import Path
from jobtuner.prediction_log.writer import LogSettings
from jobtuner.serve.assembly import Offer
from jobtuner.serve.recorder import LogChoice
from jobtuner.serve.server import serve
from tests.unit.serve.fakes import KeywordClassifier
folder = Path(sys.argv[1])
offer = Offer(folder / "model", log=LogChoice(str(folder / "log"), LogSettings()))
serve(offer, "127.0.0.1", 0, ready_file=folder / "ready.json", load=lambda _: KeywordClassifier())
"""


@contextmanager
def process(folder: Path) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    ready = folder / "ready.json"
    environment = {**os.environ, "PYTHONPATH": f"{ROOT / 'src'}:{ROOT}"}
    with subprocess.Popen([sys.executable, "-c", _PROCESS, str(folder)], env=environment) as child:
        try:
            wait_until(lambda: ready.exists() or child.poll() is not None, 60)
            yield child, str(httpx.Response(200, content=ready.read_bytes()).json()["url"])
        finally:
            child.kill()


def test_a_stop_under_load_loses_no_answer(tmp_path: Path) -> None:
    model_folder(tmp_path)
    answered: list[list[str]] = [[] for _ in range(4)]
    enough = threading.Event()

    def ask(place: int, url: str) -> None:
        with httpx.Client(base_url=url, timeout=10) as client:
            for number in range(100_000):
                name = f"{place}-{number}"
                body = {"ads": [{"text": "nurse", "id": f"{name}-{ad}"} for ad in range(3)]}
                try:
                    if client.post("/v1/occupations", json=body).status_code != 200:
                        continue
                except httpx.TransportError:
                    return  # the door is closed
                answered[place] += [ad["id"] for ad in body["ads"]]
                if len(answered[place]) > 60:
                    enough.set()

    with process(tmp_path) as (child, url):
        asking = [threading.Thread(target=ask, args=(place, url)) for place in range(4)]
        for thread in asking:
            thread.start()
        assert enough.wait(30)
        child.send_signal(signal.SIGTERM)
        assert child.wait(30) == 0
        for thread in asking:
            thread.join(20)
    told = {name for names in answered for name in names}
    assert len(told) > 60
    assert told - {str(row["id"]) for row in logged(tmp_path / "log")} == set()
