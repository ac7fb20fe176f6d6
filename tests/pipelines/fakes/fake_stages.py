"""What the fast stages do.

JOBTUNER_FAKE="<stage>:<behaviour>": `data-error` raises on purpose, `bug` raises what nobody foresaw, `die` ends the
process without a word, `hang` starts a grandchild in a session of its own and sleeps.
"""

import hashlib
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from jobtuner.config import Config
from jobtuner.contracts import (
    BaselineModel,
    Contract,
    Deployment,
    EvalReport,
    ExportedModel,
    ModelVersion,
    MonitorReport,
    PreparedData,
    TrainedModel,
)
from jobtuner.errors import DataError
from jobtuner.progress import track

__all__ = ["CONTRACTS", "run"]


def run(stage: str, config: Config, inputs: Mapping[str, Path], out_dir: Path) -> Contract:
    name, _, behaviour = os.environ.get("JOBTUNER_FAKE", "").partition(":")
    if name == stage:
        _misbehave(behaviour, out_dir)
    with track(f"Faking {stage}", total=3, unit="steps") as bar:
        for step in range(3):
            bar.advance(loss=1.0 / (step + 1))
    (out_dir / "inputs.txt").write_text("\n".join(f"{key} {path}" for key, path in sorted(inputs.items())))
    fingerprint = hashlib.sha256(f"{stage} {config.seed}".encode()).hexdigest()
    return CONTRACTS[stage](folder=out_dir, fingerprint=fingerprint).save()


def _misbehave(behaviour: str, out_dir: Path) -> None:
    (out_dir / "half.bin").write_bytes(b"unfinished")
    if behaviour == "data-error":
        raise DataError("The column 'text' is missing. The file has ['a', 'b']. Give --text-column.")
    if behaviour == "bug":
        raise ZeroDivisionError("nobody thought of this")
    if behaviour == "die":
        os._exit(9)
    subprocess.Popen([sys.executable, "-c", "import time; time.sleep(300)"], start_new_session=True)
    Path(os.environ["JOBTUNER_FAKE_READY"]).touch()
    time.sleep(300)


def _metrics(accuracy: float) -> dict[str, Any]:
    """The metrics that are shown at the end of a run, under the names of `evaluate.metrics`."""
    scores = {"n": 20, "accuracy": accuracy, "macro_f1": accuracy - 0.01}
    more = {"top_k": 5, "top_k_accuracy": accuracy + 0.05, "ece": 0.1 - accuracy / 10}
    return {**scores, **more, "per_language": {language: {**scores, "n": 10} for language in ("de", "en")}}


CONTRACTS: dict[str, Callable[..., Contract]] = {
    "prepare": lambda **common: PreparedData(
        **common, task="occupation", source="generated", languages=["de", "en"], labels=["2221", "2512"],
        taxonomy_version="t", counts={"read": 3, "train": 1, "validation": 1, "test": 1},
    ),
    "baseline": lambda **common: BaselineModel(
        **common, data_fingerprint="d", labels=["2221", "2512"], validation_accuracy=0.7, train_seconds=0.1
    ),
    "train": lambda **common: TrainedModel(
        **common, base="base", base_is_standin=True, data_fingerprint="d", prompt_hash="p", labels=["2221", "2512"],
        settings={}, metrics={},
    ),
    "evaluate": lambda **common: EvalReport(
        **common, data_fingerprint="d", model_fingerprint="m", examples=20, model=_metrics(0.8), baseline=_metrics(0.7),
        gain={key: {"estimate": 0.1, "low": -0.012, "high": 0.2} for key in ("macro_f1", "accuracy")},
        mcnemar_p=0.0213, temperature=1.0,
    ),
    "register": lambda **common: ModelVersion(
        **common, name="jobtuner-occupation", version="3", aliases=["champion"], promoted=True,
        reasons=["macro-F1 0.790 exceeds the baseline's 0.690."], model_fingerprint="m", tracking_uri="memory://",
    ),
    "export": lambda **common: ExportedModel(**common, model_fingerprint="m", labels=["2221", "2512"], parity={}),
    "monitor": lambda **common: MonitorReport(
        **common, since="s", until="u", rows=20, drifted=True, drifted_tests=[], accuracy=None, action="retrain",
        retrain=os.environ.get("JOBTUNER_FAKE_RETRAIN") == "1", reasons=[],
    ),
    "deploy": lambda **common: Deployment(
        **common, target="local", url="http://127.0.0.1:1", model_version="jobtuner-occupation/3", checks=[]
    ),
}  # fmt: skip
