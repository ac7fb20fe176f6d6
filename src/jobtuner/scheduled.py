"""What a schedule starts, for pipelines: stages whose result decides what comes next."""

from pathlib import Path

from jobtuner.contracts import MonitorReport
from jobtuner.errors import ContractError
from jobtuner.stages import run_stage

__all__ = ["look"]


def look(run: Path | str, out: Path | str) -> bool:
    """Run the monitor stage; return whether a training is to be started.

    A pipeline branches on it: on a bool, never on text that came from an ad.

    Args:
        run: folder that `jobtuner.run.resolve` made.
        out: folder for the report.
    """
    report = run_stage("monitor", run, {}, out)
    if not isinstance(report, MonitorReport):
        raise ContractError(f"The monitor stage returned a {type(report).__name__}; a MonitorReport is needed.")
    return report.retrain
