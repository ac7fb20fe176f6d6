"""How far a window may be from the reference by chance alone: found by dividing the reference itself.

The reference is divided into a window and the rest a thousand times, at random. Each test's distance is standardised by
its mean and deviation over those divisions, and a window drifts where the largest standardised distance exceeds what
all but a share `alpha` of the divisions stay below (Westfall and Young 1993, max-T): the false-alarm rate holds for all
tests and languages together, however they hang together, and whatever the distributions look like.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jobtuner.drift_reference.distances import Measure, Pool
from jobtuner.drift_reference.sample import Sample
from jobtuner.errors import DataError

__all__ = ["ALL", "SIZES", "Calibration", "Spread", "calibrate", "fitting"]

ALL = "all"
"""Scope of the tests over all languages; the others are named after their language."""

SIZES = (100, 250, 500, 1000)
"""Rows a window is cut down to. A window is never larger than the last: with a million rows every trifle would be sure,
and small ones need thresholds of their own."""

_DIVISIONS = 1000  # the 97.5 % quantile then varies by some 0.5 points
_FEWEST = 100  # divisions in which a language must be large enough to be judged at all
_LANGUAGE_TESTS = ("length", "unknown_words", "wording", "labels", "confidence", "abstention")
# The least mean and deviation that are believed: those of a test on 3 groups, or on numbers without ties. A reference
# in one language, or without abstention, varies in nothing: a single other row would be infinitely far from it.
_FLOORS = {"languages": (0.6, 0.3), "labels": (0.6, 0.3), "wording": (0.5, 0.02), "abstention": (0.1, 0.1)}
_FLOOR = (0.6, 0.2)


@dataclass(frozen=True)
class Spread:
    """One test's distances under no drift."""

    mean: float
    deviation: float

    def score(self, distance: float) -> float:
        """Deviations above the mean."""
        return (distance - self.mean) / self.deviation


@dataclass(frozen=True)
class Calibration:
    """Thresholds for windows of one size."""

    rows: int
    critical: float
    """Standardised distance that drift exceeds."""
    spreads: dict[str, dict[str, Spread]]
    """Scope ("all" or a language) to test to spread."""

    def to_json(self) -> dict[str, Any]:
        """JSON values."""
        return asdict(self)

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> "Calibration":
        """What `to_json` gave."""
        spreads = {
            scope: {test: Spread(**spread) for test, spread in tests.items()}
            for scope, tests in document["spreads"].items()
        }
        return cls(document["rows"], document["critical"], spreads)


def calibrate(rows: Sample, measure: Measure, alpha: float, seed: int, most: int = _DIVISIONS) -> list[Calibration]:
    """Thresholds for each of `SIZES` that is at most half of the reference.

    Args:
        rows: of the reference, without repeats.
        measure: how windows are measured.
        alpha: share of windows without drift that may be called drifted, over all tests together.
        seed: of the divisions.
        most: divisions.

    Raises:
        DataError: the reference has fewer than 200 rows.
    """
    sizes = [size for size in SIZES if 2 * size <= len(rows)]
    if not sizes:
        raise DataError(
            f"The reference has {len(rows)} different ads; {2 * SIZES[0]} are needed to know what varies by chance. "
            "Give a larger test split, or a longer stretch of the log."
        )
    pools = {ALL: (np.ones(len(rows), dtype=np.bool_), Pool(rows, measure))}
    for language in np.unique(rows.language):
        mine = rows.language == language
        if 2 * measure.smallest <= mine.sum() < len(rows):
            pools[str(language)] = (mine, Pool(rows.take(mine), measure))
    generator = np.random.default_rng(seed)
    return [_calibration(pools, size, alpha, _divisions(len(rows), size, most, generator)) for size in sizes]


def _divisions(rows: int, window: int, count: int, generator: np.random.Generator) -> NDArray[np.bool_]:
    """Windows drawn without replacement, shape [count, rows]."""
    first = np.zeros((count, rows), dtype=np.bool_)
    first[:, :window] = True
    return generator.permuted(first, axis=1)


def _calibration(
    pools: dict[str, tuple[NDArray[np.bool_], Pool]], size: int, alpha: float, windows: NDArray[np.bool_]
) -> Calibration:
    spreads: dict[str, dict[str, Spread]] = {}
    largest = np.full(len(windows), -np.inf)
    for scope, (mine, pool) in pools.items():
        for test, values in pool.distances(windows[:, mine]).items():
            if (scope != ALL and test not in _LANGUAGE_TESTS) or np.isfinite(values).sum() < _FEWEST:
                continue
            spread = _spread(test, values)
            spreads.setdefault(scope, {})[test] = spread
            scores = (values - spread.mean) / spread.deviation
            largest = np.fmax(largest, scores)  # NaN: too few rows of the language
    return Calibration(size, float(np.quantile(largest, 1.0 - alpha)), spreads)


def _spread(test: str, values: NDArray[np.float64]) -> Spread:
    mean, deviation = _FLOORS.get(test, _FLOOR)
    return Spread(max(float(np.nanmean(values)), mean), max(float(np.nanstd(values)), deviation))


def fitting(calibrations: Sequence[Calibration], rows: int) -> Calibration | None:
    """The largest calibrated size that a window of so many rows fills, or None."""
    return max((item for item in calibrations if item.rows <= rows), key=lambda item: item.rows, default=None)
