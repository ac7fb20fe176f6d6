"""How right the answers were, once people have said what is right: corrections join the log by id, days later.

Only corrections of answers that were picked blindly say how good the model is. Those of the review queue are of the
least certain answers, so they are left out here, and serve as training rows alone.
"""

import csv
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jobtuner.errors import DataError
from jobtuner.prediction_log.reader import iter_window
from jobtuner.review import UNSURE
from jobtuner.statistics import Counts, Interval, Metric, accuracy, bootstrap, macro_f1, mean

__all__ = ["Correction", "Judged", "Quality", "Slice", "judge", "measure", "read_corrections"]

_BINS = 10
_FEWEST = 20  # corrected answers of a slice that is told apart


@dataclass(frozen=True)
class Correction:
    """What a person says is the right code."""

    id: str
    """The answer's: the client's id of the ad, or request and place as in "5f0c/0"."""
    label: str
    chosen: str = ""
    """How the answer came to be looked at: `UNSURE`, or anything else for a blind choice."""


@dataclass(frozen=True)
class Judged:
    """An answer and its correction."""

    time: datetime
    language: str
    predicted: str
    probability: float
    label: str


@dataclass(frozen=True)
class Slice:
    """Corrected answers of one kind."""

    name: str
    rows: int
    accuracy: Interval


@dataclass(frozen=True)
class Quality:
    """Quality of the answers that were corrected."""

    rows: int
    """Answers picked blindly; all numbers are of them."""
    unsure: int
    """Corrections of unsure answers."""
    unmatched: int
    """Corrections whose answer is not in the stretch of the log."""
    accuracy: Interval | None
    macro_f1: Interval | None
    calibration_error: Interval | None
    """Expected calibration error over ten bins of equal width."""
    languages: list[Slice]
    weeks: list[Slice]
    """Named after their first day."""

    def to_json(self) -> dict[str, Any]:
        """JSON values."""
        return asdict(self)


def read_corrections(path: Path) -> list[Correction]:
    """Corrections of a JSONL or CSV file with the columns id, label and, where there is one, chosen.

    The last one of an id counts. Rows without label are answers that nobody has looked at yet.

    Raises:
        DataError: the file cannot be read, or lacks a column.
    """
    found: dict[str, Correction] = {}
    for number, row in enumerate(_rows(path), start=1):
        if "id" not in row or "label" not in row:
            raise DataError(f"{path}, row {number}: has {', '.join(map(str, row))}; id and label are needed.")
        if row["label"]:
            found[str(row["id"])] = Correction(str(row["id"]), str(row["label"]).strip(), str(row.get("chosen") or ""))
    return list(found.values())


def _rows(path: Path) -> Iterator[Mapping[str, Any]]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            if path.suffix.lower() == ".csv":
                yield from csv.DictReader(stream)
                return
            for line in filter(str.strip, stream):
                row = json.loads(line)
                if not isinstance(row, dict):
                    raise DataError(f"{path}: a line holds a {type(row).__name__}; objects with id and label belong.")
                yield row
    except (OSError, ValueError, csv.Error) as error:
        raise DataError(f"The corrections {path} cannot be read ({error}); JSONL and CSV are accepted.") from error


def judge(
    location: str, since: datetime, until: datetime, corrections: Sequence[Correction]
) -> tuple[list[Judged], int, int]:
    """Join corrections with the answers of a stretch of the log.

    Returns:
        The answers picked blindly, in order of time; the number of corrections of unsure answers; and the number of
        corrections without an answer there.
    """
    right = {item.id: item for item in corrections}
    matched: dict[str, Judged] = {}
    columns = ["id", "language", "label", "probability"]
    for table in iter_window(location, since, until, columns):
        for row in table.to_pylist():
            if row["id"] in right:  # the last answer of an id counts
                label = right[row["id"]].label
                matched[row["id"]] = Judged(row["time"], row["language"], row["label"], row["probability"], label)
    unsure = sum(right[name].chosen == UNSURE for name in matched)
    blind = [item for name, item in matched.items() if right[name].chosen != UNSURE]
    return sorted(blind, key=lambda item: item.time), unsure, len(right) - len(matched)


def measure(rows: Sequence[Judged], unsure: int = 0, unmatched: int = 0, seed: int = 0) -> Quality:
    """Accuracy, macro-F1 and calibration with 95 % intervals; accuracy by language and by week."""
    if not rows:
        return Quality(0, unsure, unmatched, None, None, None, [], [])
    gold, predicted = [row.label for row in rows], [row.predicted for row in rows]
    right = np.array(gold, dtype=str) == np.array(predicted, dtype=str)
    metrics = {
        "accuracy": accuracy(gold, predicted),
        "macro_f1": macro_f1(gold, predicted),
        "calibration_error": _calibration_error(np.array([row.probability for row in rows]), right),
    }
    kinds = {"language": [row.language for row in rows], "week": [_week(row.time) for row in rows]}
    slices = {(kind, name): np.array(of) == name for kind, of in kinds.items() for name in sorted(set(of))}
    slices = {key: mask for key, mask in slices.items() if mask.sum() >= _FEWEST}
    sliced = {f"{kind}/{name}": mean(right, mask) for (kind, name), mask in slices.items()}
    found = bootstrap(metrics | sliced, len(rows), seed=seed)
    told = {
        kind: [
            Slice(name, int(mask.sum()), found[f"{kind}/{name}"])
            for (of_kind, name), mask in slices.items()
            if of_kind == kind
        ]
        for kind in kinds
    }
    return Quality(
        rows=len(rows),
        unsure=unsure,
        unmatched=unmatched,
        accuracy=found["accuracy"],
        macro_f1=found["macro_f1"],
        calibration_error=found["calibration_error"],
        languages=told["language"],
        weeks=told["week"],
    )


def _week(time: datetime) -> str:
    return (time - timedelta(days=time.weekday())).date().isoformat()


def _calibration_error(probability: NDArray[np.float64], right: NDArray[np.bool_]) -> Metric:
    """Mean distance of confidence and accuracy over bins of equal width, weighted by their rows."""
    place = np.minimum((probability * _BINS).astype(int), _BINS - 1)
    surplus = np.zeros((len(right), _BINS))
    surplus[np.arange(len(right)), place] = probability - right

    def metric(counts: Counts) -> NDArray[np.float64]:
        error: NDArray[np.float64] = np.abs(counts @ surplus).sum(axis=1) / counts.sum(axis=1)
        return error

    return metric
