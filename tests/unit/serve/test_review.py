"""The review queue over HTTP and on the page: read by whoever has a key, where the endpoint was told to show it."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from jobtuner.errors import ConfigError
from jobtuner.prediction_log.store import LogStore
from jobtuner.prediction_log.writer import LogSettings, PredictionLog
from jobtuner.review import import_corrections, table_of
from jobtuner.serve.assembly import Offer, build
from jobtuner.serve.gateway import create_app
from jobtuner.serve.keys import KeyRing, add_key
from jobtuner.serve.page.review_tab import shown
from tests.unit.prediction_log.samples import answer
from tests.unit.serve import fakes
from tests.unit.serve.fakes import TAXONOMY, KeywordClassifier


def log_in(folder: Path, *, texts: bool = True) -> str:
    now, top = datetime.now(UTC), [("5120", 0.4), ("2221", 0.3), ("9999", 0.1)]
    writer = PredictionLog(str(folder), LogSettings(keep_text=texts))
    writer.offer(
        [answer(n, text=f"Cook {n}", label="5120", probability=0.1 + n / 100, top=top, time=now) for n in range(30)]
    )
    assert writer.close()
    return str(folder)


@contextmanager
def client(location: str | None, **more: Any) -> Iterator[TestClient]:
    with TestClient(create_app(KeywordClassifier(), review=location, **more)) as client:
        yield client


def test_the_least_certain_come_first_with_titles(tmp_path: Path) -> None:
    with client(log_in(tmp_path / "log")) as asked:
        found = asked.get("/v1/review?days=1&unsure=3&blind=2").json()["rows"]
        assert asked.get("/v1/review?days=99").status_code == 422
        assert "/v1/review" in asked.get("/openapi.json").json()["paths"]
    assert [row["chosen"] for row in found] == ["unsure"] * 3 + ["random"] * 2
    assert [row["probability"] for row in found[:3]] == sorted(row["probability"] for row in found[:3])
    assert found[0]["top"][0] == {"code": "5120", "title": "Cooks", "probability": pytest.approx(0.4)}
    assert found[0]["top"][2]["title"] == "9999"  # a code of another version's taxonomy
    assert found[0]["text"].startswith("Cook")


def test_it_is_closed_unless_it_was_asked_for_and_needs_a_key(tmp_path: Path) -> None:
    location, keys = log_in(tmp_path / "log"), tmp_path / "keys.json"
    secret = add_key(keys, "staff")
    with client(None) as asked:
        assert asked.get("/v1/review").status_code == 404
    with client(location, keys=KeyRing(keys)) as asked:
        assert asked.get("/v1/review").status_code == 401
        assert asked.get("/v1/review", headers={"Authorization": f"Bearer {secret}"}).status_code == 200
    with pytest.raises(ConfigError, match="give --prediction-log"):
        build(Offer(fakes.model_folder(tmp_path), review=True), load=fakes.load)


def test_an_empty_or_damaged_log_is_told(tmp_path: Path) -> None:
    with client(str(tmp_path / "nothing")) as asked:
        assert asked.get("/v1/review").json() == {"rows": []}
    location = log_in(tmp_path / "log")
    (part,) = LogStore(location).parts()
    (Path(location) / part).write_bytes(b"no parquet")
    with client(location) as asked:
        answered = asked.get("/v1/review")
        assert (answered.status_code, answered.headers["retry-after"]) == (503, "30")


def test_what_was_corrected_on_the_page_is_imported(tmp_path: Path) -> None:
    with client(log_in(tmp_path / "log")) as asked:
        rows = asked.get("/v1/review?unsure=3&blind=0").json()["rows"]
    labels = {rows[0]["id"]: "2221", rows[2]["id"]: "5120"}
    table, output = tmp_path / "review.csv", tmp_path / "corrections.jsonl"
    table.write_text(table_of(rows, labels), encoding="utf-8-sig", newline="")
    found = import_corrections(table, output, TAXONOMY)
    assert (found.added, found.with_text, found.empty) == (2, 2, 1)
    assert "1 of 3, among the least certain" in shown(rows, {}, 0)
    assert "2 of 3 have a right code" in shown(rows, labels, 3)
    assert "no logged answers" in shown([], {}, 0)
    hidden = {**rows[0], "text": None}
    assert "keeps no texts" in shown([hidden], {}, 0)
    assert "&lt;b&gt;" in shown([{**rows[0], "text": "<b>Cook"}], {}, 0)
