"""Preparing in shards by kfp's own runner, on this machine: the loop and the merge."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

_PROGRAM = """
import sys
from kfp import dsl, local
from components.resolve import resolve
from pipelines.preparing import in_one_piece, in_shards
from pipelines.training import task_maker

task = task_maker(None)

@dsl.pipeline(name="sharded")
def sharded(recipe: str, overrides: dict, shards: int):
    run = task(resolve(recipe=recipe, overrides=overrides, pipeline_run=""), "Resolve", cached=False).outputs["run"]
    in_shards(task, run, shards)
    in_one_piece(task, run)

local.init(local.SubprocessRunner(use_venv=False), pipeline_root=sys.argv[2], enable_caching=False)
sharded(recipe="smoke", overrides={"data.generate.languages": "[en]", "data.workers": "1"}, shards=int(sys.argv[1]))
"""


@pytest.mark.slow
def test_three_shards_and_one_piece_are_the_same(tmp_path: Path) -> None:
    own = {"JOBTUNER_HOME": str(tmp_path / "home"), "MLFLOW_TRACKING_URI": f"sqlite:///{tmp_path}/mlflow.db"}
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM, "3", str(tmp_path / "kfp")],
        env={**os.environ, **own, "PATH": path}, capture_output=True, text=True, check=False, timeout=400,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    cleaned = [json.loads(path.read_text(encoding="utf-8")) for path in tmp_path.glob("kfp/**/cleaned/contract.json")]
    assert sorted(contract["shard"] for contract in cleaned) == [0, 1, 2]
    (merged,) = tmp_path.glob("kfp/**/merge-shards/prepare")
    (whole,) = (path for path in tmp_path.glob("kfp/**/prepare/prepare") if path != merged)
    for name in ("train.jsonl", "validation.jsonl", "test.jsonl", "rejected.jsonl", "card.md"):
        assert (merged / name).read_bytes() == (whole / name).read_bytes(), name
