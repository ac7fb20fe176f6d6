"""However the rows are divided - into parts, shards, processes, runs - the result is the same, byte for byte."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from jobtuner.config import Columns, Config, DataConfig, RuleConfig
from jobtuner.contracts import PreparedData
from jobtuner.errors import ContractError, DataError
from jobtuner.prepare import publish, workshop
from jobtuner.prepare.card_charts import draw_charts
from jobtuner.prepare.card_facts import ChartFacts
from jobtuner.prepare.parts import PART_PATTERN, PartRow, numbered, write_part
from jobtuner.prepare.stage import read_source, run, run_merge, run_shard
from jobtuner.prepare.synthesize import generate_ads
from jobtuner.taxonomy import builtin_taxonomy

FILES = ("train.jsonl", "validation.jsonl", "test.jsonl", "rejected.jsonl", "duplicates.jsonl", "card.md", "card.html")


@pytest.fixture(autouse=True)
def _home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JOBTUNER_CACHE", str(tmp_path / "cache"))


def write_rows(path: Path, count: int = 400) -> Path:
    """Generated ads with every kind of trouble: copies, conflicts, unknown and rare labels, ids given twice."""
    generator = random.Random(4)
    ads = list(generate_ads(DataConfig().generate, seed=2))[:count]
    rows = [{"key": ad.id, "text": ad.text, "label": ad.label, "language": ad.language} for ad in ads]
    for place in range(0, count, 20):
        row = dict(rows[place])
        row["key"] = f"copy-{place}"
        if place % 3 == 1:
            row["label"] = generator.choice(["9999", "nobody", "2512"])
        rows.append(row)
    rows += [{**rows[place], "key": rows[place + 1]["key"]} for place in range(5, 60, 9)]
    rows += [{"key": f"bad-{n}", "text": "x" * n, "label": f"99{n}", "language": "en"} for n in range(40)]
    generator.shuffle(rows)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def settings(source: Path, part_rows: int = 10_000, workers: int = 1) -> Config:
    rule = RuleConfig(name="one of each", column="text", unique=True)
    data = DataConfig(input=str(source), columns=Columns(id="key"), part_rows=part_rows, workers=workers, rules=[rule])
    return Config(name="test", data=data)


def content(folder: Path) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in FILES}


def in_one_go(config: Config, folder: Path) -> PreparedData:
    folder.mkdir()
    return run(config, {}, folder)


def test_shards_and_parts_change_nothing(tmp_path: Path) -> None:
    source = write_rows(tmp_path / "rows.jsonl")
    whole = in_one_go(settings(source), tmp_path / "whole")
    expected = content(whole.folder)
    assert whole.counts["rejected"] > 40
    assert whole.counts["duplicates"] == 0  # the rule is asked first
    parted = in_one_go(settings(source, part_rows=150), tmp_path / "parted")
    assert content(parted.folder) == expected
    for shards in (1, 2, 5):
        folders = [tmp_path / f"{shard}-of-{shards}" for shard in range(shards)]
        for shard, folder in enumerate(folders):
            run_shard(settings(source, part_rows=300), shard, shards, folder)
        out = tmp_path / f"merged-{shards}"
        out.mkdir()
        merged = run_merge(settings(source), folders[::-1], out)
        assert content(out) == expected
        assert merged.fingerprint == whole.fingerprint
        assert merged.counts == whole.counts


def test_parts_are_removed_at_the_end(tmp_path: Path) -> None:
    in_one_go(settings(write_rows(tmp_path / "rows.jsonl", 120), part_rows=60), tmp_path / "out")
    assert [path.suffix for path in (tmp_path / "cache" / "parts").iterdir()] == [".lock"]


def test_two_runs_at_once_do_not_take_each_others_parts_away(tmp_path: Path) -> None:
    source = write_rows(tmp_path / "rows.jsonl", 60)
    config, taxonomy = settings(source, part_rows=40), builtin_taxonomy()

    def rows() -> Iterator[PartRow]:
        return numbered(read_source(config, tmp_path))

    with workshop.cleaned(rows(), config, taxonomy, None) as first:
        with workshop.cleaned(rows(), config, taxonomy, None) as second:
            assert [table.num_rows for table in first] == [table.num_rows for table in second]
        left = parts_in(tmp_path)
    assert len(left) == len(first)
    assert parts_in(tmp_path) == set()


def test_few_rows_make_no_files_and_no_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workshop, "ProcessPoolExecutor", None)
    in_one_go(settings(write_rows(tmp_path / "rows.jsonl", 120)), tmp_path / "out")
    assert not (tmp_path / "cache").exists()


def test_shards_must_be_complete_and_alike(tmp_path: Path) -> None:
    source = write_rows(tmp_path / "rows.jsonl", 120)
    folders = [tmp_path / "0", tmp_path / "1"]
    for shard, folder in enumerate(folders):
        run_shard(settings(source), shard, 2, folder)
    out = tmp_path / "out"
    with pytest.raises(ContractError, match=r"shards 0 to 1 are needed, each once; given are 0 of 2\."):
        run_merge(settings(source), folders[:1], out)
    with pytest.raises(ContractError, match="given are 0 of 2, 0 of 2"):
        run_merge(settings(source), [folders[0], folders[0]], out)
    with pytest.raises(ContractError, match="given are none"):
        run_merge(settings(source), [], out)
    other = settings(source).model_copy(update={"seed": 5})
    with pytest.raises(ContractError, match="other settings"):
        run_merge(other, folders, out)
    (folders[1] / "contract.json").unlink()
    with pytest.raises(ContractError, match="no finished PreparedShard"):
        run_merge(settings(source), folders, out)
    with pytest.raises(DataError, match="no shard 2 of 2; the first is 0, the last 1"):
        run_shard(settings(source), 2, 2, out)


def test_a_damaged_part_is_refused(tmp_path: Path) -> None:
    source = write_rows(tmp_path / "rows.jsonl", 120)
    run_shard(settings(source), 0, 1, tmp_path / "0")
    (file,) = (tmp_path / "0").glob(f"*/{PART_PATTERN}")
    file.write_bytes(file.read_bytes()[:200])
    with pytest.raises(ContractError, match="no readable part"):
        run_merge(settings(source), [tmp_path / "0"], tmp_path / "out")


@pytest.mark.slow
def test_processes_change_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = write_rows(tmp_path / "rows.jsonl")
    whole = in_one_go(settings(source), tmp_path / "whole")
    monkeypatch.setattr(publish, "_MANY", 1)
    monkeypatch.setattr(publish, "draw_charts", _draw)
    parted = in_one_go(settings(source, part_rows=150, workers=2), tmp_path / "parted")
    assert content(parted.folder) == content(whole.folder)  # card.html holds the pictures
    assert int((parted.folder / "drawn by").read_text()) != os.getpid()


def _draw(facts: ChartFacts, folder: Path) -> list[str]:
    (folder / "drawn by").write_text(str(os.getpid()))
    return draw_charts(facts, folder)


_SCRIPT = """
from pathlib import Path
from jobtuner.config import Config
from jobtuner.prepare.stage import run
if __name__ == "__main__":
    run(Config.load(Path({config!r})), {{}}, Path({out!r}))
"""


@pytest.mark.slow
def test_a_killed_run_goes_on_where_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = write_rows(tmp_path / "rows.jsonl", 2000)
    expected = content(in_one_go(settings(source), tmp_path / "whole").folder)
    settings(source, part_rows=50, workers=2).save(tmp_path / "config.json")
    script = tmp_path / "script.py"
    script.write_text(_SCRIPT.format(config=str(tmp_path / "config.json"), out=str(tmp_path / "out")), encoding="utf-8")
    (tmp_path / "out").mkdir()
    child = subprocess.Popen([sys.executable, script])
    deadline = time.monotonic() + 120
    while len(parts_in(tmp_path)) < 5 and time.monotonic() < deadline:
        time.sleep(0.01)
    os.kill(child.pid, signal.SIGKILL)  # the parent alone: its workers must notice
    child.wait()
    time.sleep(1)
    before = parts_in(tmp_path)
    assert 5 <= len(before) < 40
    time.sleep(1)
    assert parts_in(tmp_path) == before  # nobody works on
    written = set()

    def noted(table: Any, path: Path) -> None:
        written.add(path)
        write_part(table, path)

    monkeypatch.setattr(workshop, "write_part", noted)
    out = in_one_go(settings(source, part_rows=50), tmp_path / "again").folder
    assert content(out) == expected
    assert written
    assert not written & before


def parts_in(folder: Path) -> set[Path]:
    return set((folder / "cache" / "parts").glob(f"*/{PART_PATTERN}"))
