"""Shards are the file: every row once, in order, whatever the number; and what cannot be cut is said."""

import csv
import gzip
import io
import json
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jobtuner.errors import ConfigError, DataError, DeployError
from jobtuner.shards import ask_shard, join, split

_ROWS = [{"text": f"ad {number},\nwith lines", "lang": "en"} for number in range(7)]


def _write(path: Path) -> Path:
    name = path.name
    if name.endswith(".parquet"):
        pq.write_table(pa.Table.from_pylist(_ROWS), path)
        return path
    stream = io.StringIO(newline="")
    if ".csv" in name.lower():
        writer = csv.DictWriter(stream, ["text", "lang"])
        writer.writeheader()
        writer.writerows(_ROWS)
    else:
        stream.writelines(json.dumps(row) + "\n" for row in _ROWS)
    data = stream.getvalue().encode()
    path.write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    return path


def _cut(source: Path, shards: int, folder: Path) -> list[list[dict[str, object]]]:
    numbers = split(str(source), shards, folder / "parts")
    assert sorted(path.name for path in (folder / "parts").iterdir()) == sorted(f"{n}.jsonl" for n in numbers)
    files = [folder / "parts" / f"{n}.jsonl" for n in numbers]
    return [[json.loads(line) for line in file.read_text().splitlines()] for file in files]


@pytest.mark.parametrize("name", ["a.jsonl", "a.jsonl.gz", "a.csv", "a.CSV.gz", "a.parquet"])
def test_every_format_is_cut_in_order(name: str, tmp_path: Path) -> None:
    parts = _cut(_write(tmp_path / name), 3, tmp_path)
    assert [row for part in parts for row in part] == [{**row, "_row": n} for n, row in enumerate(_ROWS)]
    assert [len(part) for part in parts] == [3, 2, 2]


@settings(max_examples=40, deadline=None)
@given(rows=st.integers(1, 40), shards=st.integers(1, 50))
def test_shards_are_as_equal_as_can_be(rows: int, shards: int, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("cut")
    (folder / "a.jsonl").write_text("".join(json.dumps({"text": str(n)}) + "\n" for n in range(rows)))
    sizes = [len(part) for part in _cut(folder / "a.jsonl", shards, folder)]
    assert (len(sizes), sum(sizes)) == (min(rows, shards), rows)
    assert max(sizes) - min(sizes) <= 1


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("a.jsonl", "", "no rows"),
        ("a.jsonl", '{"text": 1}\n[1]\n', "line 2: a list"),
        ("a.jsonl", "{", "line 1: not JSON"),
        ("a.txt", "x", "accepted are"),
    ],
)
def test_what_cannot_be_cut_is_said(name: str, text: str, told: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(DataError, match=told):
        split(str(tmp_path / name), 2, tmp_path / "parts")
    with pytest.raises(ConfigError, match="at least 1"):
        split(str(tmp_path / name), 0, tmp_path / "parts")


def test_options_keys_and_failures_reach_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    show = [sys.executable, "-c", "import sys; print(*sys.argv[3:])"]
    ask_shard(tmp_path, 1.0, "http://g", ["--top-k", "3"], tmp_path / "out", show)
    assert capfd.readouterr().out == "--endpoint http://g --top-k 3 --id-column _row\n"
    monkeypatch.setenv("JOBTUNER_GATEWAY_KEY", "s3cret")
    ask_shard(tmp_path, 1, "http://g", ["--id-column", "id"], tmp_path / "out", show)
    assert capfd.readouterr().out == "--endpoint http://g --id-column id --key-env JOBTUNER_GATEWAY_KEY\n"
    with pytest.raises(DeployError, match="shard 1 ended with 8"):
        ask_shard(tmp_path, 1, "http://g", [], tmp_path / "out", [sys.executable, "-c", "raise SystemExit(8)"])


def test_a_missing_shard_is_no_short_result(tmp_path: Path) -> None:
    for number in (0, 1):
        (tmp_path / str(number)).mkdir()
    (tmp_path / "0" / "answers.jsonl").write_text("{}\n{}")  # the last line without its end
    (tmp_path / "0" / "answers.jsonl.rejected.jsonl").write_text("{}\n")
    with pytest.raises(DataError, match=r"1 holds no answers.jsonl"):
        join([tmp_path / "0", tmp_path / "1"], "", tmp_path / "out")
    (tmp_path / "1" / "answers.jsonl").write_text("{}\n")
    counts = join([tmp_path / "0", tmp_path / "1"], "", tmp_path / "out")
    assert counts == {"answers.jsonl": 3, "answers.jsonl.rejected.jsonl": 1}
