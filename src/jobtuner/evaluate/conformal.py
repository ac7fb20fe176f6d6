"""Prediction sets that hold the right code with a promised probability (split conformal prediction).

On examples that the model was not fitted to, each right code gets a score of how badly it was foreseen; a set for a new
ad holds every code that scores no worse than a quantile of those. With n calibration examples and exchangeable ads the
right code is in the set with a probability of at least 1 - α, and at most 1 - α + 1 / (n + 1) where no two scores are
equal (Vovk et al. 2005; Angelopoulos and Bates 2021, arXiv 2107.07511, sections 1 and 3.2).
"""

import math
from dataclasses import dataclass
from functools import cache
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

__all__ = ["METHODS", "PROMISES", "Method", "PredictionSets", "calibrated_sets"]

Method = Literal["LAC", "APS"]
METHODS: tuple[Method, ...] = get_args(Method)
"""LAC: every code with a probability above a threshold, the smallest sets on average (Sadinle et al. 2019). APS: the
likeliest codes up to a total probability, sets that grow where the model is unsure (Romano et al. 2020)."""

PROMISES = (0.8, 0.9, 0.95)
"""Probabilities with which a set is promised to hold the right code."""

_Scores = NDArray[np.float64]
_SPREAD = (0.005, 0.995)  # measured coverage leaves this range by chance once in a hundred evaluations


@dataclass(frozen=True)
class PredictionSets:
    """What sets of one method did on the test examples."""

    method: Method
    promised: float
    threshold: float | None
    """Largest score of a code in a set; None where the calibration examples are too few to leave out any code."""
    coverage: float
    """Share of the test examples whose set holds the right code."""
    expected_low: float
    """Coverage by chance alone, given both numbers of examples: 99 % of it lies between this and `expected_high`."""
    expected_high: float
    mean_size: float
    """Codes in a set, on average."""
    single: float
    """Share of sets with exactly one code."""


def calibrated_sets(
    held: NDArray[np.float32],
    held_gold: NDArray[np.intp],
    test: NDArray[np.float32],
    test_gold: NDArray[np.intp],
    seed: int,
) -> list[PredictionSets]:
    """Every method at every promise.

    Args:
        held: calibrated log-probabilities of the calibration examples, shape [n, L].
        held_gold: column of their right codes, shape [n]; -1 where there is none: such a code is in no set.
        test: the same of the test examples, shape [m, L].
        test_gold: as above, shape [m].
        seed: of the random numbers by which APS breaks its steps.
    """
    found = []
    for method in METHODS:
        generator = np.random.default_rng(seed)
        scores = _scores(held, method, generator)
        own = np.where(held_gold >= 0, scores[np.arange(len(held)), held_gold], np.inf)
        new = _scores(test, method, generator)
        for promised in PROMISES:
            place = _place(len(own), promised)
            threshold = float(np.sort(own)[place - 1]) if place <= len(own) else math.inf
            low, high = _expected(len(own), len(test), place)
            found.append(_measured(method, promised, threshold, new <= threshold, test_gold, low, high))
    return found


def _scores(log_probabilities: NDArray[np.float32], method: Method, generator: np.random.Generator) -> _Scores:
    """How badly each code was foreseen, in [0, 1], shape [n, L]."""
    probabilities = np.exp(log_probabilities.astype(np.float64))
    if method == "LAC":
        return 1.0 - probabilities
    order = np.argsort(-probabilities, axis=1, kind="stable")
    ordered = np.take_along_axis(probabilities, order, axis=1)
    share = generator.random((len(probabilities), 1))  # of the code's own probability: makes the promise exact
    found = np.empty_like(probabilities)
    np.put_along_axis(found, order, np.cumsum(ordered, axis=1) - (1.0 - share) * ordered, axis=1)
    return found


def _place(count: int, promised: float) -> int:
    """Which of the sorted scores is the threshold, 1 = smallest: ⌈(n + 1)(1 - α)⌉."""
    return math.ceil((count + 1) * promised - 1e-9)  # 0.9 · 10 is 9, whatever the binary fractions say


@cache  # the methods share it, and SciPy takes milliseconds
def _expected(calibration: int, test: int, place: int) -> tuple[float, float]:
    """Coverage is Beta-binomial: Angelopoulos and Bates 2021, section 3.2 and appendix C."""
    from scipy.stats import betabinom

    if place > calibration:
        return 1.0, 1.0
    low, high = betabinom.ppf(_SPREAD, test, place, calibration + 1 - place) / test
    return float(low), float(high)


def _measured(
    method: Method,
    promised: float,
    threshold: float,
    sets: NDArray[np.bool_],
    gold: NDArray[np.intp],
    low: float,
    high: float,
) -> PredictionSets:
    sizes = sets.sum(axis=1)
    return PredictionSets(
        method=method,
        promised=promised,
        threshold=threshold if math.isfinite(threshold) else None,
        coverage=float((sets[np.arange(len(gold)), gold] & (gold >= 0)).mean()),
        expected_low=low,
        expected_high=high,
        mean_size=float(sizes.mean()),
        single=float((sizes == 1).mean()),
    )
