"""What a schedule starts, for pipelines: stages whose result decides what comes next."""

import json
from pathlib import Path

from jobtuner.contracts import MonitorReport
from jobtuner.errors import ContractError
from jobtuner.stages import run_stage

__all__ = ["look"]


def look(run: Path | str, out: Path | str, answer: Path | str) -> bool:
    """Run the monitor stage and write whether a training is to be started, as JSON, to a file of its own.

    A pipeline branches on it: on a bool, never on text that came from an ad.

    Args:
        run: folder that `jobtuner.run.resolve` made.
        out: folder for the report.
        answer: gets `true` or `false`; its folder is made.
    """
    report = run_stage("monitor", run, {}, out)
    if not isinstance(report, MonitorReport):
        raise ContractError(f"The monitor stage returned a {type(report).__name__}; a MonitorReport is needed.")
    Path(answer).parent.mkdir(parents=True, exist_ok=True)
    Path(answer).write_text(json.dumps(report.retrain), encoding="utf-8")
    return report.retrain
