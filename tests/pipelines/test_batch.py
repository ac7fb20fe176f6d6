"""The batch pipeline by kfp's local runner: split, `jobtuner batch` against a running gateway for each shard, join."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.unit.serve.test_server import running

_PROGRAM = """
import sys
from kfp import local
from pipelines.batch import build_batch

root, source, endpoint, target = sys.argv[1:]
local.init(local.SubprocessRunner(use_venv=False), pipeline_root=root, enable_caching=False)
build_batch(None)(source=source, endpoint=endpoint, target=target, shards=3, options=["--top-k", "2"])
"""


@pytest.mark.slow
def test_every_ad_is_answered_once_and_in_order(tmp_path: Path) -> None:
    source, target = tmp_path / "ads.jsonl", tmp_path / "target"
    texts = [f"{'nurse' if number % 2 else 'cook'} wanted, number {number}" for number in range(20)]
    source.write_text("".join(json.dumps({"text": text}) + "\n" for text in [*texts, ""]), encoding="utf-8")
    with running(tmp_path) as (_, url):
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        done = subprocess.run(
            [sys.executable, "-c", _PROGRAM, str(tmp_path / "kfp"), str(source), url, str(target)],
            env={**os.environ, "PATH": path}, capture_output=True, text=True, check=False, timeout=300,
        )  # fmt: skip
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    rows = [json.loads(line) for line in (target / "answers.jsonl").read_text(encoding="utf-8").splitlines()]
    assert len(rows) == 20
    assert all(row["code"] for row in rows)
    (rejected,) = (target / "answers.jsonl.rejected.jsonl").read_text(encoding="utf-8").splitlines()
    assert json.loads(rejected)
