"""The monitor stage: one look at a served model. A schedule starts it; a pipeline reads `retrain` from its contract."""

import hashlib
import json
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from jobtuner import storage
from jobtuner.config import Config, MonitorConfig
from jobtuner.contracts import MonitorReport
from jobtuner.drift_reference.files import Reference
from jobtuner.errors import ConfigError, ContractError
from jobtuner.monitor.decision import Decision, Evidence, decide
from jobtuner.monitor.drift import Drift, compare
from jobtuner.monitor.metrics import exposition
from jobtuner.monitor.quality import Quality, judge, measure, read_corrections
from jobtuner.monitor.report import write_report
from jobtuner.monitor.state import load_memory, save_memory
from jobtuner.monitor.window import Window, read
from jobtuner.prediction_log.store import FINDINGS, LogStore

__all__ = ["run"]


def run(config: Config, inputs: Mapping[str, Path], out_dir: Path) -> MonitorReport:
    """Compare the log's last days with the model's reference, measure quality, and decide on a training.

    Args:
        config: its section `monitor` says where log, reference, corrections and state lie.
        inputs: none; everything comes from the places that the config names.
        out_dir: gets the files of `MonitorReport`.

    Raises:
        ConfigError: no log or no reference is named, or `until` is no time with zone.
        ContractError: what is named is no reference or no state.
        DataError: a damaged part of the log, or corrections without id and label.
        StorageError: a place cannot be read or written.
    """
    if inputs:
        raise ContractError(f"The monitor got the inputs {sorted(inputs)}; it reads the places of its config alone.")
    settings = config.monitor
    log, place = _named(settings, "log"), _named(settings, "reference")
    until = _until(settings)
    with tempfile.TemporaryDirectory(prefix="jobtuner-monitor-") as cache:
        reference = Reference.load(storage.fetch(place, Path(cache)))
        quality = _quality(settings, log, until, Path(cache), config.seed)
    since = until - timedelta(days=settings.window_days)
    window = read(log, since, until, reference.about.get("model_version"), config.seed)
    drift = compare(reference, window.sample, config.seed)
    decision = decide(_evidence(reference, drift, quality, until), load_memory(settings.state), settings.retrain)
    _write(reference, window, drift, quality, decision, out_dir)
    LogStore(log).put((out_dir / "metrics.prom").read_bytes(), FINDINGS)
    save_memory(settings.state, decision.memory)
    return _contract(window, drift, quality, decision, out_dir).save()


def _named(settings: MonitorConfig, name: str) -> str:
    location: str | None = getattr(settings, name)
    if location is None:
        raise ConfigError(f"monitor.{name} is not set: name the place, e.g. --set monitor.{name}=s3://bucket/{name}.")
    return location


def _until(settings: MonitorConfig) -> datetime:
    if settings.until is None:
        return datetime.now(UTC)
    with suppress(ValueError):
        until = datetime.fromisoformat(settings.until)
        if until.tzinfo is not None:
            return until.astimezone(UTC)
    raise ConfigError(
        f"monitor.until is '{settings.until}'; a time with zone is needed, such as 2026-11-20T00:00:00+00:00."
    )


def _quality(settings: MonitorConfig, log: str, until: datetime, cache: Path, seed: int) -> Quality:
    if settings.corrections is None:
        return measure([])
    corrections = read_corrections(storage.fetch(settings.corrections, cache))
    rows, unsure, unmatched = judge(log, until - timedelta(days=settings.quality_days), until, corrections)
    return measure(rows, unsure, unmatched, seed)


def _evidence(reference: Reference, drift: Drift, quality: Quality, until: datetime) -> Evidence:
    made = _made(reference)
    known = quality.accuracy
    return Evidence(
        day=until.date(),
        drifted=drift.drifted,
        drifted_tests=drift.drifted_tests,
        labelled=quality.rows,
        accuracy=None if known is None else (known.low, known.high),
        reference_accuracy=reference.about.get("accuracy"),
        model_made=None if made is None else made.date(),
    )


def _made(reference: Reference) -> datetime | None:
    created = reference.about.get("created")
    return None if created is None else datetime.fromisoformat(created)


def _write(
    reference: Reference, window: Window, drift: Drift, quality: Quality, decision: Decision, out_dir: Path
) -> None:
    document = {
        "since": window.since.isoformat(),
        "until": window.until.isoformat(),
        "reference": reference.about,
        "versions": window.versions,
        "abstained": window.abstained,
        "per_day": window.per_day,
        "drift": drift.to_json(),
        "quality": quality.to_json(),
    }
    _write_json(out_dir / "report.json", document)
    _write_json(
        out_dir / "decision.json",
        {
            "action": decision.action,
            "retrain": decision.retrain,
            "reasons": decision.reasons,
            "memory": decision.memory.to_json(),
        },
    )
    write_report(reference, window, drift, quality, decision, out_dir)
    known = reference.about.get("accuracy")
    metrics = exposition(drift, quality, decision, datetime.now(UTC), _made(reference), known)
    (out_dir / "metrics.prom").write_bytes(metrics)


def _write_json(path: Path, document: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(document, ensure_ascii=False, indent=1, allow_nan=False) + "\n", encoding="utf-8")


def _contract(window: Window, drift: Drift, quality: Quality, decision: Decision, out_dir: Path) -> MonitorReport:
    digest = hashlib.sha256()
    for name in ("report.json", "decision.json"):
        digest.update(name.encode() + b"\0" + (out_dir / name).read_bytes())
    return MonitorReport(
        folder=out_dir,
        fingerprint=digest.hexdigest(),
        since=window.since.isoformat(),
        until=window.until.isoformat(),
        rows=window.rows,
        drifted=drift.drifted,
        drifted_tests=drift.drifted_tests,
        accuracy=None if quality.accuracy is None else quality.accuracy.estimate,
        action=decision.action,
        retrain=decision.retrain,
        reasons=decision.reasons,
    )
