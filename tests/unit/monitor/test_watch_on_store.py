"""The watch as a cluster has it: gateway and monitoring pipeline share nothing but a bucket."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from minio import Minio
from moto.server import ThreadedMotoServer
from prometheus_client import CollectorRegistry, generate_latest

from jobtuner.drift_reference.files import FOLDER
from jobtuner.prediction_log.writer import LogSettings
from jobtuner.serve.observers import Answered
from jobtuner.serve.recorder import LogChoice, open_recorder
from jobtuner.serve.schemas import OccupationResult
from jobtuner.storage import names, upload
from tests.unit.monitor.test_stage import DANISH, answers, look, reference  # noqa: F401  # a fixture
from tests.unit.serve.conftest import wait_until

_LOG, _MODEL = "s3://jobtuner-answers/log", "s3://jobtuner-models/gateway/current"


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    moto = ThreadedMotoServer("127.0.0.1", port=0)
    moto.start()
    host, port = moto.get_host_and_port()
    for name, value in (
        ("MINIO_ENDPOINT", f"http://{host}:{port}"), ("AWS_ACCESS_KEY_ID", "key"), ("AWS_SECRET_ACCESS_KEY", "secret"),
    ):  # fmt: skip
        monkeypatch.setenv(name, value)
    client = Minio(f"{host}:{port}", access_key="key", secret_key="secret", secure=False, region="us-east-1")
    for bucket in ("jobtuner-answers", "jobtuner-models"):
        client.make_bucket(bucket)
    yield
    moto.stop()


@pytest.mark.slow
def test_what_the_gateway_answers_comes_back_as_its_metrics(
    tmp_path: Path,
    store: None,
    reference: Path,  # noqa: F811
) -> None:
    for path in reference.iterdir():
        upload(path, f"{_MODEL}/{FOLDER}/{path.name}")
    choice = LogChoice(_LOG, LogSettings(spool=tmp_path / "spool", spool_seconds=0.01, keep_days=None))
    gateway = open_recorder(choice, tmp_path)
    for row in answers(200, 5, DANISH):
        result = OccupationResult(
            id=row.ad_id, code=row.label, title="", probability=row.probability, answered_by="model", abstain=False,
            top=[],
        )  # fmt: skip
        seconds = row.time.timestamp()
        gateway.observe(Answered(row.request_id, row.text, row.language, result, row.model_version, seconds))
    gateway.close()
    assert [name for name in names(_LOG) if name.endswith(".parquet")]
    assert not list((tmp_path / "spool").iterdir())

    state = "s3://jobtuner-answers/watch/state.json"
    made = look(tmp_path, f"{_MODEL}/{FOLDER}", _LOG, state=state)
    assert made.drifted and made.rows == 200
    assert "state.json" in names("s3://jobtuner-answers/watch")

    again = open_recorder(choice, tmp_path)
    registry = CollectorRegistry()
    registry.register(again)
    wait_until(lambda: b"jobtuner_drift 1.0" in generate_latest(registry))
    again.close()
    assert b"jobtuner_monitor_window_answers 200.0" in generate_latest(registry)
