"""What is recorded of a run: recipe values as parameters, and each contract's measurements and files."""

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import singledispatch
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

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
from jobtuner.records import read_jsonl

__all__ = [
    "DataUse",
    "Entry",
    "Measurement",
    "flatten",
    "headline",
    "recipe_parameters",
    "result_entry",
    "step_measurements",
    "without_credentials",
]

_PER_LABEL = {"per_label", "per_class", "confusion"}
"""Groups of metrics that are left to the report: hundreds of classes would drown the runs' table."""


_TAG_CHARS = 5000  # 8000 is the most that MLflow 3 keeps of a tag, 5000 that of older versions


@dataclass(frozen=True)
class Measurement:
    """One value of a metric."""

    name: str
    value: float
    step: int = 0
    """Optimizer step, or 0 for what is measured once."""


@dataclass(frozen=True)
class DataUse:
    """A data set that a run reads."""

    data: PreparedData
    context: str
    """"preparation", "training" or "evaluation"."""


@dataclass(frozen=True)
class Entry:
    """What is added to a run in one go."""

    params: Mapping[str, str] = field(default_factory=dict)
    metrics: Sequence[Measurement] = ()
    tags: Mapping[str, str] = field(default_factory=dict)
    files: Sequence[Path] = ()
    data: DataUse | None = None


def without_credentials(uri: str) -> str:
    """The URI without user name and password, fit for messages and for files."""
    parts = urlsplit(uri)
    if not parts.scheme or "@" not in parts.netloc:
        return uri
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()


def flatten(values: Mapping[str, Any], prefix: str = "", separator: str = ".") -> Iterator[tuple[str, Any]]:
    """Yield the leaves of nested mappings with their joined keys; lists are leaves."""
    for key, value in values.items():
        name = f"{prefix}{separator}{key}" if prefix else str(key)
        if isinstance(value, Mapping):
            yield from flatten(value, name, separator)
        else:
            yield name, value


def recipe_parameters(config: Config, *sections: str) -> dict[str, str]:
    """The named sections of a recipe (all when none is named) as dotted keys and JSON values (text stays as it is)."""
    data = config.model_dump(mode="json", by_alias=True)
    chosen = {name: data[name] for name in sections} if sections else data
    return {key: value if isinstance(value, str) else json.dumps(value) for key, value in flatten(chosen)}


def _measurements(values: Mapping[str, Any], prefix: str = "") -> list[Measurement]:
    """Every number in nested mappings, under names that MLflow accepts."""
    kept = {key: value for key, value in values.items() if key not in _PER_LABEL}
    found = []
    for name, value in flatten(kept, prefix, "/"):
        if isinstance(value, int | float) and not isinstance(value, bool):
            found.append(Measurement(re.sub(r"[^A-Za-z0-9_\-./: ]", "_", name), float(value)))
    return found


def headline(report: EvalReport) -> list[Measurement]:
    """The metrics over all languages of model and baseline, by which runs are compared."""
    found = []
    for name, metrics in (("model", report.model), ("baseline", report.baseline)):
        overall = {key: value for key, value in metrics.items() if not isinstance(value, Mapping)}
        found += _measurements(overall, name)
    return found


def result_entry(contract: Contract, reused: bool) -> Entry:
    """What is recorded of a stage's result.

    Args:
        contract: of one of the kinds in `jobtuner.contracts`.
        reused: the result came from the cache.
    """
    entry = _entry(contract)
    tags = {"reused": "true" if reused else "false", "fingerprint": contract.fingerprint, **entry.tags}
    return Entry(entry.params, entry.metrics, tags, [path for path in entry.files if path.is_file()], entry.data)


@singledispatch
def _entry(contract: Contract) -> Entry:
    raise TypeError(f"Nothing is known of recording a {type(contract).__name__}.")


@_entry.register
def _(contract: PreparedData) -> Entry:
    sizes = {"languages": len(contract.languages), "labels": len(contract.labels), "rows": contract.counts}
    files = [contract.folder / name for name in ("card.md", "card.html")]
    return Entry(metrics=_measurements(sizes), files=files, data=DataUse(contract, "preparation"))


@_entry.register
def _(contract: BaselineModel) -> Entry:
    return Entry(
        metrics=[
            Measurement("validation_accuracy", contract.validation_accuracy),
            Measurement("train_seconds", contract.train_seconds),
        ]
    )


@_entry.register
def _(contract: TrainedModel) -> Entry:
    built = {f"built.{key}": json.dumps(value) for key, value in flatten(contract.settings)}
    history = contract.folder / "history.jsonl"
    return Entry(
        params={"base": contract.base, **built},
        metrics=[*_measurements(contract.metrics), *(_series(history) if history.is_file() else ())],
        files=[contract.folder / "adapter" / "adapter_config.json", history, contract.folder / "curves.png"],
    )


def _series(history: Path) -> Iterator[Measurement]:
    for row in read_jsonl(history):
        yield from step_measurements(row)


def step_measurements(row: Mapping[str, Any]) -> list[Measurement]:
    """An entry of a training's history: training/loss and the like, at the entry's step."""
    step = row.get("step")
    if not isinstance(step, int | float) or not math.isfinite(step):
        return []
    rest = {key: value for key, value in row.items() if key != "step"}
    return [Measurement(item.name, item.value, int(step)) for item in _measurements(rest, "training")]


@_entry.register
def _(contract: EvalReport) -> Entry:
    overall = {"examples": contract.examples, "temperature": contract.temperature, "mcnemar_p": contract.mcnemar_p}
    metrics = [*_measurements(overall), *_measurements(contract.gain, "gain"), *_measurements(contract.model, "model")]
    metrics += _measurements(contract.baseline, "baseline")
    names = ("report.html", "report.md", "metrics.json", "calibration.json")
    files = [*(contract.folder / name for name in names), *sorted(contract.folder.glob("*.png"))]
    return Entry(metrics=metrics, files=files)


@_entry.register
def _(contract: ModelVersion) -> Entry:
    path = contract.folder / "decision.json"
    comparisons = json.loads(path.read_text(encoding="utf-8"))["comparisons"] if path.is_file() else []
    failed = ", ".join(item["name"] for item in comparisons if not item["passed"])
    return Entry(
        metrics=[
            Measurement("promoted", float(contract.promoted)),
            *_measurements({item["name"]: item for item in comparisons}, "gate"),
        ],
        tags={
            "model.name": contract.name,
            "model.version": contract.version,
            "model.aliases": ",".join(contract.aliases),
            "gate.failed": failed[:_TAG_CHARS],
        },
        files=[contract.folder / "decision.json", contract.folder / "model_card.md"],
    )


@_entry.register
def _(contract: ExportedModel) -> Entry:
    return Entry(metrics=_measurements(contract.parity, "parity"), files=[contract.folder / "parity.json"])


@_entry.register
def _(contract: Deployment) -> Entry:
    valid = sum(1 for check in contract.checks if check.get("valid"))
    return Entry(
        metrics=_measurements({"asked": len(contract.checks), "valid": valid}, "checks"),
        tags={"endpoint.target": contract.target, "endpoint.url": contract.url},
        files=[contract.folder / "smoke_test.json"],
    )


@_entry.register
def _(contract: MonitorReport) -> Entry:
    measured = {"rows": contract.rows, "drifted_tests": len(contract.drifted_tests), "accuracy": contract.accuracy}
    return Entry(
        metrics=_measurements({**measured, "retrain": float(contract.retrain)}, "monitor"),
        tags={"monitor.action": contract.action, "monitor.drifted": ", ".join(contract.drifted_tests)[:_TAG_CHARS]},
        files=[contract.folder / name for name in ("report.html", "report.json", "decision.json")],
    )
