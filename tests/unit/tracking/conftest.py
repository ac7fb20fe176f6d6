"""Each test of a `service` runs twice: in memory, and in MLflow."""

import os
from pathlib import Path

import pytest

from tests.unit.mlflow_template import fresh_tracker
from tests.unit.tracking.services import Service, memory_service, mlflow_service


@pytest.fixture(params=["memory", "mlflow"])
def service(request: pytest.FixtureRequest, tmp_path: Path) -> Service:
    if request.param == "memory":
        return memory_service(f"memory://{tmp_path}")
    return mlflow_service(fresh_tracker(tmp_path))


@pytest.fixture(autouse=True)
def _no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [*os.environ]:
        if name.startswith(("KFP_", "MLFLOW_")) or name == "JOBTUNER_STAGE_RUN_ID":
            monkeypatch.delenv(name)
