"""The watch by kfp's local runner, with fast stages: it trains where a training is due, and else not."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from jobtuner.stages import STAGES

_FAKES, _ROOT = Path(__file__).parent / "fakes", Path(__file__).parents[2]
_SCRIPT = """
import os, sys
from kfp import local
from jobtuner.config import load_config
from jobtuner.tracking import connect
from pipelines.monitoring import build_monitoring
os.environ["MLFLOW_RUN_ID"] = connect("sqlite:///x").open_run(load_config("smoke"))
local.init(local.SubprocessRunner(use_venv=False), pipeline_root=sys.argv[1], raise_on_error=True, enable_caching=False)
build_monitoring(None)(recipe="smoke", overrides={})
"""


@pytest.mark.slow
@pytest.mark.parametrize("retrain", [True, False])
def test_it_trains_where_it_is_due(retrain: bool, tmp_path: Path) -> None:
    own = {name: value for name, value in os.environ.items() if not name.startswith(("JOBTUNER_", "MLFLOW_"))}
    paths = [str(_FAKES), str(_ROOT / "src"), str(_ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {
        **own,
        "PYTHONPATH": os.pathsep.join(paths),
        "JOBTUNER_FAKE_RUNS": str(tmp_path / "tracked"),
        "JOBTUNER_FAKE_RETRAIN": str(int(retrain)),
        "JOBTUNER_HOME": str(tmp_path / "home"),
        "MLFLOW_TRACKING_URI": "sqlite:///x",
    }
    done = subprocess.run(
        [sys.executable, "-c", _SCRIPT, str(tmp_path / "kfp")],
        cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=500, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    ran = {path.parent.name for path in (tmp_path / "kfp").rglob("contract.json")}
    assert ran == {"monitor", *(STAGES if retrain else ())}
