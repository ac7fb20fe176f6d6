"""Are the probabilities what they say? Temperature scaling and reliability (Guo et al. 2017, arXiv 1706.04599)."""

from collections.abc import Sequence
from typing import TypedDict

import numpy as np
from numpy.typing import NDArray

from jobtuner.errors import DataError
from jobtuner.probabilities import Temperatures, log_normalise
from jobtuner.records import UNKNOWN_LANGUAGE
from jobtuner.statistics import Counts, Metric

__all__ = [
    "BINS",
    "Bin",
    "calibration_error",
    "expected_calibration_error",
    "fit_temperature",
    "fit_temperatures",
    "reliability",
]

BINS = 15
"""Bins of equal width, as in Guo et al. 2017, section 2."""

_BOUNDS = (0.05, 20.0)
_LOG_FLOOR = -100.0  # a probability of 0 must not make the whole loss infinite


class Bin(TypedDict):
    """The examples whose confidence lies in (low, high]."""

    low: float
    high: float
    n: int
    confidence: float
    """Mean probability of the answers."""
    accuracy: float
    """Share of right answers."""


def fit_temperature(log_probabilities: NDArray[np.float32], gold_index: NDArray[np.intp]) -> float:
    """The temperature in [0.05, 20] that gives the right codes the highest likelihood.

    Args:
        log_probabilities: shape [n, L].
        gold_index: column of the right code, shape [n]; rows with -1 (no column) are left out, since no temperature
            changes that they are wrong.

    Raises:
        DataError: no row has its right code among the labels.
    """
    from scipy.optimize import minimize_scalar

    known = gold_index >= 0
    if not known.any():
        raise DataError(
            f"None of the {len(gold_index)} validation examples has a code that the model can answer. "
            "Train and evaluate on the same prepared data."
        )
    scores = np.maximum(log_probabilities[known].astype(np.float64), _LOG_FLOOR)
    rows, columns = np.arange(len(scores)), gold_index[known]

    def loss(log_temperature: float) -> float:
        return float(-log_normalise(scores / np.exp(log_temperature))[rows, columns].mean())

    low, high = np.log(_BOUNDS)  # the logarithm: halving and doubling are steps of one size
    found = minimize_scalar(loss, bounds=(low, high), method="bounded", options={"xatol": 1e-4})
    return float(np.exp(found.x))


def fit_temperatures(
    log_probabilities: NDArray[np.float32], gold_index: NDArray[np.intp], languages: Sequence[str], least: int
) -> Temperatures:
    """One temperature for all rows, and one for each language with at least `least` rows that have a known right code.

    A language with fewer keeps the pooled one: its own would be mostly chance.

    Args:
        log_probabilities: shape [n, L].
        gold_index: column of the right code, shape [n]; -1 where it has none.
        languages: of the rows; UNKNOWN_LANGUAGE is none.
        least: rows.

    Raises:
        DataError: no row has its right code among the labels.
    """
    pooled = fit_temperature(log_probabilities, gold_index)
    names, known = np.array(languages, dtype=str), gold_index >= 0
    own = {
        str(name): fit_temperature(log_probabilities[names == name], gold_index[names == name])
        for name in np.unique(names)
        if name != UNKNOWN_LANGUAGE and int((known & (names == name)).sum()) >= least
    }
    return Temperatures(pooled, own)


def reliability(confidence: NDArray[np.float64], right: NDArray[np.bool_]) -> list[Bin]:
    """The bins that hold examples, from low to high confidence.

    Args:
        confidence: probability of each answer, in [0, 1], shape [n].
        right: whether the answer is right, shape [n].
    """
    edges = np.linspace(0.0, 1.0, BINS + 1)
    place = np.digitize(confidence, edges[1:-1], right=True)
    found = []
    for number in range(BINS):
        mine = place == number
        if mine.any():
            found.append(
                Bin(
                    low=float(edges[number]),
                    high=float(edges[number + 1]),
                    n=int(mine.sum()),
                    confidence=float(confidence[mine].mean()),
                    accuracy=float(right[mine].mean()),
                )
            )
    return found


def calibration_error(confidence: NDArray[np.float64], right: NDArray[np.bool_]) -> Metric:
    """`expected_calibration_error` of the rows' `reliability`, as a metric of bootstrap samples."""
    place = np.digitize(confidence, np.linspace(0.0, 1.0, BINS + 1)[1:-1], right=True)
    distance = np.zeros((len(confidence), BINS))
    distance[np.arange(len(confidence)), place] = right - confidence  # its sum: n x (accuracy - confidence) of a bin

    def metric(counts: Counts) -> NDArray[np.float64]:
        error: NDArray[np.float64] = np.abs(counts @ distance).sum(axis=1) / counts.sum(axis=1)
        return error

    return metric


def expected_calibration_error(bins: list[Bin]) -> float:
    """Mean distance between confidence and accuracy over the bins, weighted by their examples; in [0, 1]."""
    total = sum(item["n"] for item in bins)
    return sum(item["n"] * abs(item["accuracy"] - item["confidence"]) for item in bins) / total
