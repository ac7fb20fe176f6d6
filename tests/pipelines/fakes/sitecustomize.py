"""Fast stages and a tracker in a file, for child processes with this folder on PYTHONPATH and JOBTUNER_FAKE_RUNS set.

The stages write real contracts; JOBTUNER_FAKE="<stage>:<behaviour>" makes one of them misbehave (see fake_stages.py).
"""

import importlib.util
import os
import sys
import types
from collections.abc import Callable
from typing import Any

if importlib.util.find_spec("jobtuner") is not None and os.environ.get("JOBTUNER_FAKE_RUNS"):

    def _run(stage: str) -> Callable[[Any, Any, Any], Any]:
        def run(config: Any, inputs: Any, out_dir: Any) -> Any:
            import fake_stages  # type: ignore[import-not-found]  # nothing heavy at the start of a child

            return fake_stages.run(stage, config, inputs, out_dir)

        return run

    def _store(_uri: str) -> Any:
        import fake_tracker  # type: ignore[import-not-found]

        return fake_tracker.FileRunStore(os.environ["JOBTUNER_FAKE_RUNS"])

    for _stage in ("prepare", "baseline", "train", "evaluate", "register", "export", "deploy", "monitor"):
        _module = types.ModuleType(f"jobtuner.{_stage}.stage")
        _module.run = _run(_stage)  # type: ignore[attr-defined]
        sys.modules[_module.__name__] = _module
    _tracking = types.ModuleType("jobtuner.tracking_mlflow")
    _tracking.MlflowRunStore = _store  # type: ignore[attr-defined]
    sys.modules[_tracking.__name__] = _tracking
