"""Preparing in shards by kfp's own runner, on this machine: the whole graph with its condition, loop and merge."""

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
from pipelines.preparing import preparing
from pipelines.training import task_maker

task = task_maker(None)
prepare = preparing(task)

@dsl.pipeline(name="sharded")
def sharded(recipe: str, overrides: dict, shards: int):
    run = task(resolve(recipe=recipe, overrides=overrides, pipeline_run=""), "Resolve", cached=False).outputs["run"]
    prepare(run=run, shards=shards)

local.init(local.SubprocessRunner(use_venv=False), pipeline_root=sys.argv[2], enable_caching=False)
sharded(recipe="smoke", overrides={"data.generate.languages": "[en]", "data.workers": "1"}, shards=int(sys.argv[1]))
"""


@pytest.mark.slow
def test_three_shards_and_one_piece_are_the_same(tmp_path: Path) -> None:
    made = {}
    for shards in (1, 3):
        root = tmp_path / str(shards)
        own = {"JOBTUNER_HOME": str(root / "home"), "MLFLOW_TRACKING_URI": f"sqlite:///{tmp_path}/mlflow.db"}
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        done = subprocess.run(
            [sys.executable, "-c", _PROGRAM, str(shards), str(root / "kfp")],
            env={**os.environ, **own, "PATH": path}, capture_output=True, text=True, check=False, timeout=400,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
        (contract,) = [found for found in root.glob("kfp/**/contract.json") if (found.parent / "train.jsonl").is_file()]
        assert len(list(root.glob("kfp/**/cleaned"))) == (0 if shards == 1 else shards)
        made[shards] = contract.parent
        assert json.loads(contract.read_text(encoding="utf-8"))["fingerprint"]
    for name in ("train.jsonl", "validation.jsonl", "test.jsonl", "rejected.jsonl"):
        assert (made[1] / name).read_bytes() == (made[3] / name).read_bytes(), name
