"""Files through an endpoint: order, rejects, resuming after a kill, formats; and the same inside the gateway."""

import csv
import gzip
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from starlette.testclient import TestClient
from typer.testing import CliRunner

from jobtuner.cli import app as cli
from jobtuner.completions import RefusedError
from jobtuner.errors import ConfigError, DataError, DeployError
from jobtuner.serve.batch import BatchJob, Summary, run_batch
from jobtuner.serve.batch_files import Columns, Row
from jobtuner.serve.gateway import create_app
from tests.unit.serve.conftest import wait_until
from tests.unit.serve.fakes import KeywordClassifier
from tests.unit.serve.test_gateway import error_of
from tests.unit.serve.test_server import running

ROOT = Path(__file__).parents[3]


def answer(row: Row) -> dict[str, Any]:
    best = {"code": "2221", "title": row.text.upper(), "probability": 0.5}
    return {**best, "answered_by": "baseline", "abstain": row.number % 2 == 0, "orders": 0, "top": [best], "model": "m"}


class Asking:
    """Answers; keeps what it was asked; refuses and fails where a text says so."""

    def __init__(self) -> None:
        self.requests: list[list[str]] = []
        self.now = self.most = 0
        self._lock = threading.Lock()

    def __call__(self, rows: Sequence[Row]) -> list[dict[str, Any]]:
        with self._lock:
            self.requests.append([row.text for row in rows])
            self.now += 1
            self.most = max(self.most, self.now)
        try:
            time.sleep(0.002)
            if any("down" in row.text for row in rows):
                raise DeployError("it is down")
            if any("refuse" in row.text for row in rows):
                raise RefusedError("holds a wrong word")
            return [answer(row) for row in rows]
        finally:
            with self._lock:
                self.now -= 1


def write(path: Path, texts: Sequence[object]) -> Path:
    path.write_text("".join(json.dumps({"text": text, "key": f"k{n}"}) + "\n" for n, text in enumerate(texts)), "utf-8")
    return path


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def job(source: Path, **more: Any) -> BatchJob:
    settings: dict[str, Any] = {"columns": Columns(id="key"), "part_rows": 10, "ads_per_request": 4, "concurrency": 3}
    return BatchJob(source, source.with_name("out.jsonl"), **{**settings, **more})


def test_every_row_is_answered_in_order_or_rejected_with_a_reason(tmp_path: Path) -> None:
    texts: list[object] = [f"ad {number}" for number in range(57)]
    texts[3], texts[20], texts[21], texts[40] = "", "please refuse", 5, "x" * 20_001
    asking = Asking()
    done = job(write(tmp_path / "in.jsonl", texts))
    summary = run_batch(done, asking)
    rows, rejects = lines(done.target), lines(done.rejects)
    assert [row["row"] for row in rows] == [n for n in range(57) if n not in {3, 20, 21, 40}]
    assert [row["id"] for row in rows] == [f"k{row['row']}" for row in rows]
    assert all(row["title"] == f"AD {row['row']}" for row in rows)
    assert [(row["row"], row["reason"].split(";")[0]) for row in rejects] == [
        (3, "the text is empty"),
        (20, "holds a wrong word"),
        (21, "no text in the column 'text'"),
        (40, "the text has 20001 characters"),
    ]
    assert (summary.rows, summary.answered, summary.rejected, summary.by_baseline) == (57, 53, 4, 53)
    assert summary.abstained == sum(row["abstain"] for row in rows)
    assert asking.most <= 3
    assert not done.parts.exists()


def test_what_is_finished_is_not_asked_again(tmp_path: Path) -> None:
    source = write(tmp_path / "in.jsonl", [f"ad {number}" for number in range(25)] + ["down"] + ["ad"] * 4)
    with pytest.raises(DeployError):
        run_batch(job(source), Asking())
    assert sorted(path.name for path in job(source).parts.glob("tally-*")) == ["tally-000000.json", "tally-000001.json"]
    stamp = source.stat()
    write(source, [f"ad {number}" for number in range(25)] + ["fine"] + ["ad"] * 4)
    os.utime(source, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))  # the same file, for whom it may concern
    asking = Asking()
    summary = run_batch(job(source), asking)
    assert (summary.rows, summary.reused) == (30, 20)
    assert sum(map(len, asking.requests)) == 10
    assert [row["row"] for row in lines(job(source).target)] == list(range(30))


def test_another_input_or_model_is_not_mixed_in(tmp_path: Path) -> None:
    source = write(tmp_path / "in.jsonl", ["ad"] * 12 + ["down"])
    with pytest.raises(DeployError):
        run_batch(job(source), Asking())
    with pytest.raises(ConfigError, match="unfinished run with another label"):
        run_batch(job(source, label="model 2"), Asking())
    write(source, ["other"] * 5)
    with pytest.raises(ConfigError, match="another changed, size"):
        run_batch(job(source), Asking())
    assert run_batch(job(source, restart=True), Asking()).rows == 5


def test_memory_is_bounded_by_two_parts(tmp_path: Path) -> None:
    gate, asked = threading.Event(), Asking()

    def slow(rows: Sequence[Row]) -> list[dict[str, Any]]:
        found = asked(rows)
        assert gate.wait(20)
        return found

    source = write(tmp_path / "in.jsonl", [f"ad {number}" for number in range(100)])
    working = threading.Thread(target=run_batch, args=(job(source, concurrency=64), slow))
    working.start()
    time.sleep(0.3)
    assert sum(map(len, asked.requests)) <= 20
    gate.set()
    working.join(20)
    assert len(lines(job(source).target)) == 100


@pytest.mark.parametrize("ending", ["jsonl", "jsonl.gz", "csv", "csv.gz", "parquet"])
def test_all_formats_in_and_out(tmp_path: Path, ending: str) -> None:
    rows = [{"text": "=Nurse, 'x'\nnight", "key": "=1+1", "lang": "de"}, {"text": "Köchin", "key": "b", "lang": "xyz"}]
    source, target = tmp_path / f"in.{ending}", tmp_path / f"out.{ending}"
    opened = gzip.open if ending.endswith("gz") else open
    if "jsonl" in ending:
        with opened(source, "wt", encoding="utf-8") as stream:
            stream.write("\n".join(map(json.dumps, rows)) + "\n\nnot json\n[1]\n")
    elif "csv" in ending:
        with opened(source, "wt", encoding="utf-8", newline="") as stream:
            writer = csv.DictWriter(stream, ["key", "text", "lang"])
            writer.writeheader()
            writer.writerows(rows)
    else:
        pq.write_table(pa.Table.from_pylist(rows), source)
    columns, seen = Columns("text", "key", "lang"), list[Row]()

    def ask(asked: Sequence[Row]) -> list[dict[str, Any]]:
        seen.extend(asked)
        return [answer(row) for row in asked]

    summary = run_batch(BatchJob(source, target, columns=columns), ask)
    assert (summary.answered, summary.rejected) == (2, 2 if "jsonl" in ending else 0)
    assert [(row.id, row.language) for row in seen] == [("=1+1", "de"), ("b", None)]
    if "csv" in ending:
        with opened(target, "rt", encoding="utf-8", newline="") as stream:
            found = list(csv.DictReader(stream))
        assert found[0]["id"] == "'=1+1"  # no formula for a spreadsheet
        assert json.loads(found[1]["top"])[0]["title"] == "KÖCHIN"
    elif ending == "parquet":
        assert pq.read_table(target).to_pylist()[1]["top"][0]["title"] == "KÖCHIN"
    else:
        with opened(target, "rt", encoding="utf-8") as stream:
            assert [json.loads(line)["id"] for line in stream] == ["=1+1", "b"]


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("in.txt", b"x", "another ending"),
        ("in.parquet", b"PAR1 garbage", "no readable Parquet"),
        ("in.csv", b"a,b\n1,2\n", "no column 'text'"),
        ("in.jsonl.gz", b"\x1f\x8b\x08\x00garbage", "cannot be read"),
        ("gone.csv", None, "There is no file"),
    ],
)
def test_what_cannot_be_read_is_named(tmp_path: Path, name: str, content: bytes | None, said: str) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises((ConfigError, DataError), match=said):
        run_batch(BatchJob(tmp_path / name, tmp_path / "out.jsonl"), Asking())


def test_the_cost_is_that_of_this_run() -> None:
    summary = Summary(3000, 2900, 100, 0, 0, reused=1000, seconds=7200.0)
    assert summary.cost_per_thousand(3.0) == pytest.approx(3.0)  # two hours for 2,000 ads
    with pytest.raises(DataError, match="finished before"):
        Summary(10, 10, 0, 0, 0, reused=10, seconds=1.0).cost_per_thousand(3.0)


COMMAND = [sys.executable, "-m", "jobtuner.cli", "batch"]


@pytest.mark.slow
def test_a_killed_command_goes_on_and_loses_nothing(tmp_path: Path) -> None:
    """kill -9 in the middle, twice; the third run's output is that of a run that nobody disturbed."""
    with running(tmp_path) as (_, url):
        source, target = tmp_path / "in.jsonl", tmp_path / "out.parquet"
        write(source, [f"nurse {n}" if n % 3 else "" for n in range(30_000)])
        options = ["--endpoint", url, "--concurrency", "2", "--ads-per-request", "64", "--id-column", "key"]
        command = [*COMMAND, str(source), str(target), *options]
        environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
        parts = tmp_path / "out.parquet.parts"
        before = 0
        for _ in range(2):
            with subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL) as process:
                while process.poll() is None and len(list(parts.glob("tally-*"))) <= before:
                    time.sleep(0.01)
                process.send_signal(signal.SIGKILL)
            assert process.returncode == -signal.SIGKILL
            before = len(list(parts.glob("tally-*")))
        assert 0 < before < 15
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == 0, done.stderr
    assert f"20000 of 30000 ads answered ({before * 2000} by an earlier run), 10000 rejected" in done.stdout
    table = pq.read_table(target)
    assert table["row"].to_pylist() == [n for n in range(30_000) if n % 3]
    assert set(table["code"].to_pylist()) == {"2221"}
    assert len(lines(tmp_path / "out.parquet.rejected.jsonl")) == 10_000


def test_the_command_honours_keys_prices_and_refusals(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runner, keys = CliRunner(), tmp_path / "keys.json"
    key = runner.invoke(cli, ["keys", "add", "batch", "--file", str(keys), "--per-minute", "6000"]).output.split()[0]
    source = write(tmp_path / "in.jsonl", ["nurse", "\u200b", "\0", "cook"])
    command = ["batch", str(source), str(tmp_path / "out.csv"), "--key-env", "MY_KEY", "--price-per-hour", "3.6"]
    with running(tmp_path, "--keys", str(keys)) as (_, url):
        refused = runner.invoke(cli, [*command, "--endpoint", url])
        assert refused.exit_code == DeployError.exit_code and "MY_KEY" in refused.output
        monkeypatch.setenv("MY_KEY", key)
        done = runner.invoke(cli, [*command, "--endpoint", url])
        assert done.exit_code == 0, done.output
        assert "of 4 ads answered" in done.output and "1,000 ads cost" in done.output
        wrong = runner.invoke(cli, [*command, "--endpoint", url, "--task", "letters"])
        assert wrong.exit_code == ConfigError.exit_code
    (reject,) = [row for row in lines(tmp_path / "out.csv.rejected.jsonl") if row["row"] == 2]
    assert reject["reason"] == "body.ads.0.text: holds no readable character"


# --- inside the gateway


@pytest.fixture
def client(classifier: KeywordClassifier, tmp_path: Path) -> Iterator[TestClient]:
    with TestClient(create_app(classifier, batches=tmp_path / "batches")) as client:
        wait_until(lambda: client.get("/ready").status_code == 200)
        yield client


def submit(client: TestClient, *texts: str) -> str:
    response = client.post("/v1/batches", json={"ads": [{"text": text, "id": text[:5]} for text in texts]})
    assert response.status_code == 202, response.text
    return str(response.json()["id"])


def status(client: TestClient, name: str) -> str:
    return str(client.get(f"/v1/batches/{name}").json()["status"])


def test_a_batch_is_taken_worked_on_and_given(client: TestClient, tmp_path: Path) -> None:
    name = submit(client, *["nurse", "cook", "driver"] * 200)
    wait_until(lambda: status(client, name) == "done")
    response = client.get(f"/v1/batches/{name}/result")
    assert response.headers["content-type"].startswith("application/x-ndjson")
    rows = [json.loads(line) for line in response.text.splitlines()]
    assert [row["code"] for row in rows] == ["2221", "5120", "8332"] * 200
    assert rows[0]["id"] == "nurse"
    state = client.get(f"/v1/batches/{name}").json()
    assert (state["answered"], state["rejected"], state["ads"]) == (600, 0, 600)
    assert [item["id"] for item in client.get("/v1/batches").json()["data"]] == [name]
    assert not list((tmp_path / "batches").rglob("input.jsonl"))  # the ads are gone
    assert client.delete(f"/v1/batches/{name}").status_code == 200
    error_of(client.get(f"/v1/batches/{name}"), 404, "not_found")


def test_a_restart_goes_on(classifier: KeywordClassifier, tmp_path: Path) -> None:
    folder = tmp_path / "batches"
    with TestClient(create_app(classifier, batches=folder)) as client:
        wait_until(lambda: client.get("/ready").status_code == 200)
        classifier.closed.clear()
        name = submit(client, *["nurse"] * 50)
        wait_until(lambda: status(client, name) == "running")
        error_of(client.get(f"/v1/batches/{name}/result"), 409, "not_finished")
        threading.Timer(0.2, classifier.closed.set).start()
    with TestClient(create_app(KeywordClassifier(), batches=folder)) as client:
        wait_until(lambda: status(client, name) == "done")
        assert len(client.get(f"/v1/batches/{name}/result").text.splitlines()) == 50


def test_the_number_of_waiting_batches_is_bounded(client: TestClient, classifier: KeywordClassifier) -> None:
    classifier.closed.clear()
    names = [submit(client, "nurse") for _ in range(16)]
    response = client.post("/v1/batches", json={"ads": [{"text": "nurse"}]})
    error_of(response, 429, "overloaded")
    assert response.headers["retry-after"] == "60"
    classifier.closed.set()
    wait_until(lambda: all(status(client, name) == "done" for name in names))


@pytest.mark.parametrize("name", ["nobody", "..", "%2e%2e", "a" * 300, "%00", "x/y"])
def test_a_name_that_is_none_is_404(client: TestClient, name: str) -> None:
    assert client.get(f"/v1/batches/{name}").status_code == 404
    assert client.get(f"/v1/batches/{name}/result").status_code == 404
    assert client.delete(f"/v1/batches/{name}").status_code in {404, 405}


def test_a_model_that_fails_fails_the_batch_alone(client: TestClient) -> None:
    name = submit(client, "EXPLODE")
    wait_until(lambda: status(client, name) == "failed")
    other = submit(client, "nurse")
    wait_until(lambda: status(client, other) == "done")
