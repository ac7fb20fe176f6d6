"""How far a window is from the rest: one number a test, for many divisions of the same rows at once.

Every number is divided by √(1/a + 1/b), a and b being the rows of the two sides: under no drift its distribution then
hardly depends on how many rows there are. The statistics are the usual ones; they are computed here for a thousand
divisions in one go, which is what makes a calibration by resampling cheap. The tests compare them with SciPy's.
"""

from collections.abc import Container
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from jobtuner.drift_reference.sample import Sample
from jobtuner.taxonomy import ancestors

__all__ = ["TESTS", "Distances", "Measure", "Pool", "cells_of", "group_of", "kernel_width"]

TESTS = {
    "length": "characters of the ads (Kolmogorov-Smirnov)",
    "unknown_words": "share of words that training never saw (Kolmogorov-Smirnov)",
    "languages": "mix of languages (Jensen-Shannon)",
    "wording": "sketches of the texts (maximum mean discrepancy)",
    "labels": "mix of answered occupations (Jensen-Shannon)",
    "confidence": "probability of the answers (Kolmogorov-Smirnov)",
    "abstention": "share of answers below the abstention threshold",
}
"""Name to what is compared."""

Distances = dict[str, NDArray[np.float64]]
"""Test to one number a division, shape [divisions]; NaN where a side is too small to be compared."""

_CELLS = 64  # groups of labels: more would leave less than 8 of 500 ads a group
_BLOCK = 100  # divisions computed at once
_OTHER = "other"


@dataclass(frozen=True)
class Measure:
    """What a reference fixes once, so that every window is measured alike."""

    kernel_width: float
    """Squared distance at which the wording kernel has fallen to 1/e."""
    cells: tuple[str, ...]
    """Groups of labels that are counted; all others are one more."""
    abstain_below: float
    """Probability below which an answer counts as abstained."""
    smallest: int = 30
    """Rows that each side needs: below, statistics of distributions say nothing."""


def cells_of(labels: NDArray[np.str_]) -> tuple[str, ...]:
    """The groups in which labels are counted: the finest level of their hierarchy with at most 64 groups, else the
    63 most frequent groups of the top level."""
    distinct = np.unique(labels)
    depth = max((len(ancestors(label)) for label in distinct), default=1)
    for level in range(depth, 0, -1):
        groups = {_group(label, level) for label in distinct}
        if len(groups) <= _CELLS:
            return tuple(sorted(groups))
    names, counts = np.unique([_group(label, 1) for label in labels], return_counts=True)
    return tuple(sorted(names[np.argsort(-counts, kind="stable")[: _CELLS - 1]]))


def group_of(label: str, cells: Container[str]) -> str:
    """The finest of the groups that a label belongs to, or "other"."""
    return next((group for group in reversed(ancestors(label)) if group in cells), _OTHER)


def _group(label: str, level: int) -> str:
    path = ancestors(label)
    return path[min(level, len(path)) - 1]


def kernel_width(sketches: NDArray[np.float32], seed: int = 0) -> float:
    """Median squared distance between two sketches (Gretton et al. 2012, section 8); 1 where all are equal."""
    generator = np.random.default_rng(seed)
    left, right = generator.integers(0, len(sketches), (2, 5000))
    squared = ((sketches[left] - sketches[right]) ** 2).sum(axis=1)
    return float(np.median(squared[left != right])) or 1.0 if (left != right).any() else 1.0


class Pool:
    """Rows that are divided into a window and the rest, in many ways.

    Args:
        rows: all of them.
        measure: of the reference.
    """

    def __init__(self, rows: Sample, measure: Measure) -> None:
        self._measure, self._size = measure, len(rows)
        self._numbers = {
            "length": rows.characters,
            "unknown_words": rows.unknown_words,
            "confidence": rows.probability,
        }
        self._numbers = {name: values for name, values in self._numbers.items() if not np.isnan(values).any()}
        known = set(measure.cells)
        groups = np.array([group_of(label, known) for label in rows.label], dtype=str)
        self._groups = {"languages": _one_hot(rows.language), "labels": _one_hot(groups)}
        self._unsure = (rows.probability < measure.abstain_below).astype(np.float64)
        self._kernel = _kernel(rows.sketch, measure.kernel_width)

    def distances(self, windows: NDArray[np.bool_]) -> Distances:
        """Each division's distances.

        Args:
            windows: which rows are the window, shape [divisions, rows].
        """
        blocks = [self._block(windows[start : start + _BLOCK]) for start in range(0, len(windows), _BLOCK)]
        return {name: np.concatenate([block[name] for block in blocks]) for name in blocks[0]}

    def _block(self, windows: NDArray[np.bool_]) -> Distances:
        inside = windows.sum(axis=1)
        outside = self._size - inside
        usable = (inside >= self._measure.smallest) & (outside >= self._measure.smallest)
        inside, outside = np.maximum(inside, 1), np.maximum(outside, 1)
        signed = windows / inside[:, None] - ~windows / outside[:, None]
        found = {name: _kolmogorov_smirnov(signed, values) for name, values in self._numbers.items()}
        found |= {name: _jensen_shannon(windows, hot, inside, outside) for name, hot in self._groups.items()}
        found["wording"] = self._discrepancy(signed)
        found["abstention"] = np.abs(signed @ self._unsure)
        scale = np.sqrt(1.0 / inside + 1.0 / outside)
        return {name: np.where(usable, values / scale, np.nan) for name, values in found.items()}

    def _discrepancy(self, signed: NDArray[np.float64]) -> NDArray[np.float64]:
        """Maximum mean discrepancy with a Gaussian kernel, the biased estimate (Gretton et al. 2012, equation 5)."""
        light = signed.astype(np.float32)
        squared: NDArray[np.float64] = ((light @ self._kernel) * light).sum(axis=1, dtype=np.float64)
        return np.sqrt(np.maximum(squared, 0.0))


def _kernel(sketches: NDArray[np.float32], width: float) -> NDArray[np.float32]:
    from sklearn.metrics.pairwise import rbf_kernel

    kernel: NDArray[np.float32] = rbf_kernel(sketches, gamma=1.0 / width).astype(np.float32)
    return kernel


def _one_hot(names: NDArray[np.str_]) -> NDArray[np.float64]:
    """Shape [rows, different names]."""
    distinct, place = np.unique(names, return_inverse=True)
    hot = np.zeros((len(names), len(distinct)))
    hot[np.arange(len(names)), place] = 1.0
    return hot


def _kolmogorov_smirnov(signed: NDArray[np.float64], values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Largest distance of the two sides' distribution functions, shape [divisions]."""
    order = np.argsort(values, kind="stable")
    last_of_equals = np.append(np.diff(values[order]) > 0, True)
    difference = np.cumsum(signed[:, order], axis=1)[:, last_of_equals]
    largest: NDArray[np.float64] = np.abs(difference).max(axis=1)
    return largest


def _jensen_shannon(
    windows: NDArray[np.bool_], hot: NDArray[np.float64], inside: NDArray[np.intp], outside: NDArray[np.intp]
) -> NDArray[np.float64]:
    """Jensen-Shannon distance (the square root of the divergence in bits) of the two sides' shares, in [0, 1]."""
    from scipy.spatial.distance import jensenshannon

    counts = windows @ hot
    rest = hot.sum(axis=0) - counts
    with np.errstate(invalid="ignore"):  # a side without rows: it is too small, and its number is not used
        distance = jensenshannon(counts / inside[:, None], rest / outside[:, None], base=2.0, axis=1)
    return np.nan_to_num(np.asarray(distance, dtype=np.float64))  # rounding may take a root of -1e-17
