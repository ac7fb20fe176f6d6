"""The search by kfp's local runner: real trials on the tiny stand-in, compared, tracked."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from jobtuner.config import load_config
from jobtuner.records import read_jsonl
from jobtuner.tracking_mlflow import client
from tests.unit.train.test_tune import STANDIN

_ROOT = Path(__file__).parents[2]
_SCRIPT = """
import json, os, sys
from kfp import local
from jobtuner.config import load_config
from jobtuner.tracking import connect
from pipelines.tuning import build_tuning
overrides = json.loads(sys.argv[2])
parent = connect(os.environ["MLFLOW_TRACKING_URI"]).open_run(load_config("smoke", overrides))
os.environ["MLFLOW_RUN_ID"] = parent
local.init(local.SubprocessRunner(use_venv=False), pipeline_root=sys.argv[1], raise_on_error=True, enable_caching=False)
space = "training.learning_rate: {low: 1.0e-5, high: 1.0e-2, log: true}\\ntraining.batch_size: [4, 8]\\n"
build_tuning(None)(space=space, recipe="smoke", overrides=overrides, trials=2, metric="loss")
print("parent", parent)
"""


@pytest.mark.slow
def test_it_ends_with_the_best_recipe(tmp_path: Path) -> None:
    own = {name: value for name, value in os.environ.items() if not name.startswith(("JOBTUNER_", "MLFLOW_"))}
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    environment = {
        **own,
        "PYTHONPATH": os.pathsep.join([str(_ROOT / "src"), str(_ROOT)]),
        "JOBTUNER_HOME": str(tmp_path / "home"),
        "JOBTUNER_CACHE": str(tmp_path / "cache"),
        "MLFLOW_TRACKING_URI": uri,
    }
    small = {**STANDIN, "data.generate.ads_per_unit": "1", "training.max_steps": "8"}
    overrides = ", ".join(f'"{key}": "{value}"' for key, value in small.items())
    done = subprocess.run(
        [sys.executable, "-c", _SCRIPT, str(tmp_path / "kfp"), f"{{{overrides}}}"],
        cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=500, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    (path,) = (tmp_path / "kfp").rglob("best.yaml")
    ranked = list(read_jsonl(path.with_name("trials.jsonl")))
    assert len(ranked) == 2
    assert ranked[0]["value"] <= ranked[1]["value"]
    best = load_config(str(path))
    assert best.training.learning_rate == float(ranked[0]["settings"]["training.learning_rate"])
    parent = done.stdout.rpartition("parent ")[2].strip()
    run = client(uri).get_run(parent)
    assert run.data.metrics["best_validation_loss"] == pytest.approx(ranked[0]["value"])
    found = client(uri).search_runs([run.info.experiment_id], f"tags.`mlflow.parentRunId` = '{parent}'")
    assert {each.info.run_name for each in found} == {"prepare", "trial-0", "trial-1"}
