"""The cascade: the cheap baseline answers where it is sure enough, the language model answers the rest.

Pure decisions on numbers. The threshold is chosen on validation examples, where both models' answers are known; what
it then saves and costs is read off the curve of another split.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from jobtuner.errors import DataError

__all__ = [
    "BASELINE_ONLY",
    "MODEL_ONLY",
    "Choice",
    "Point",
    "Prices",
    "choose_threshold",
    "cost_per_thousand",
    "curve",
    "point_at",
    "price_per_call",
    "route",
    "wilson_low",
]

BASELINE_ONLY = 0.0
"""Threshold that every confidence reaches."""
MODEL_ONLY = 2.0
"""Threshold that no confidence reaches, not even 1; a plain number, so that it can be stored as JSON."""

_ONE_SIDED_95 = 1.645  # quantile of the normal distribution


@dataclass(frozen=True)
class Point:
    """What the cascade does at one threshold, measured on some examples."""

    threshold: float
    coverage: float
    """Share of the examples that the baseline answers: the share of model calls saved, in [0, 1]."""
    precision: float | None
    """Share of the baseline's answers that are right; None where it answers nothing."""
    accuracy: float
    """Share of right answers of the whole."""


@dataclass(frozen=True)
class Choice:
    """A threshold, and what it did on the examples that it was chosen on."""

    point: Point
    held: bool
    """False where no threshold reaches the target: then the point is the most accurate one."""


@dataclass(frozen=True)
class Prices:
    """What a call of each model costs, in one currency."""

    baseline_call: float
    model_call: float


def route(confidence: float, threshold: float) -> Literal["baseline", "model"]:
    """Who answers: the baseline where its confidence reaches the threshold. A confidence of NaN goes to the model."""
    return "baseline" if confidence >= threshold else "model"


def curve(
    confidence: Sequence[float] | NDArray[np.floating],
    baseline_right: Sequence[bool] | NDArray[np.bool_],
    model_right: Sequence[bool] | NDArray[np.bool_],
) -> list[Point]:
    """One point a distinct confidence, from the model alone (`MODEL_ONLY`) to the baseline alone (`BASELINE_ONLY`).

    Examples of equal confidence go the same way, so they enter together.

    Args:
        confidence: calibrated probability of the baseline's answer, in [0, 1], shape [n].
        baseline_right: whether the baseline's answer is right, shape [n].
        model_right: whether the language model's answer is right, shape [n].

    Raises:
        DataError: no examples, unequal lengths, or a confidence that is no probability.
    """
    sure, cheap, dear = _checked(confidence, baseline_right, model_right)
    order = np.argsort(-sure, kind="stable")
    sure, cheap, dear = sure[order], cheap[order], dear[order]
    total = len(sure)
    hits = np.concatenate([[0], np.cumsum(cheap)])
    missed = int(dear.sum()) - np.concatenate([[0], np.cumsum(dear)])
    ends = [0, *(int(end) + 1 for end in np.flatnonzero(np.diff(sure))), total]
    points = []
    for end in ends:
        threshold = MODEL_ONLY if end == 0 else BASELINE_ONLY if end == total else float(sure[end - 1])
        precision = None if end == 0 else float(hits[end] / end)
        points.append(Point(threshold, end / total, precision, float((hits[end] + missed[end]) / total)))
    return points


def point_at(points: Sequence[Point], threshold: float) -> Point:
    """What the cascade does at any threshold: the last of the curve's points that it lets in, under its own name.

    Args:
        points: as `curve` returns them.
        threshold: any number.
    """
    reached = [point for point in points if point.threshold >= threshold]
    last = reached[-1] if reached else points[0]
    return Point(threshold, last.coverage, last.precision, last.accuracy)


def choose_threshold(
    confidence: Sequence[float] | NDArray[np.floating],
    baseline_right: Sequence[bool] | NDArray[np.bool_],
    model_right: Sequence[bool] | NDArray[np.bool_],
    *,
    target_precision: float | None = None,
    target_accuracy: float | None = None,
    z: float = _ONE_SIDED_95,
) -> Choice:
    """The threshold that saves the most model calls and holds the target.

    The target is held where the lower end of the share's Wilson interval reaches it: a share that was measured on few
    examples, and picked for being high, is lower on the next ones.

    Args:
        confidence: as for `curve`.
        baseline_right: as for `curve`.
        model_right: as for `curve`.
        target_precision: share of the baseline's answers that must be right, in [0, 1]. Where it cannot be had the
            model answers everything.
        target_accuracy: share of all answers that must be right, in [0, 1].
        z: how sure to be, in standard deviations of the normal distribution; 1.645 is one-sided 95 %, 0 takes the
            measured share as it is.

    Raises:
        DataError: as `curve`; or not exactly one target, or one outside [0, 1].
    """
    targets = [target for target in (target_precision, target_accuracy) if target is not None]
    if len(targets) != 1 or not 0.0 <= targets[0] <= 1.0 or not z >= 0.0:
        raise DataError(
            f"target_precision is {target_precision}, target_accuracy {target_accuracy}, z {z}. Give one of the two "
            "targets, in [0, 1], and z of at least 0."
        )
    points = curve(confidence, baseline_right, model_right)
    total = len(confidence)

    def holds(point: Point) -> bool:
        if target_precision is None:
            return wilson_low(point.accuracy, total, z) >= targets[0]
        return point.precision is None or wilson_low(point.precision, point.coverage * total, z) >= targets[0]

    held = [point for point in points if holds(point)]
    if held:
        return Choice(held[-1], True)
    return Choice(max(reversed(points), key=lambda point: point.accuracy), False)


def wilson_low(share: float, count: float, z: float = _ONE_SIDED_95) -> float:
    """Lower end of the Wilson score interval of a share of `count` examples (Wilson 1927)."""
    if count <= 0.0:
        return 0.0
    if z == 0.0:
        return share
    square = z * z / count
    middle = share + square / 2.0
    spread = z * math.sqrt(share * (1.0 - share) / count + square / (4.0 * count))
    return max(0.0, (middle - spread) / (1.0 + square))


def price_per_call(hour: float, ads_per_second: float) -> float:
    """Price of one ad on a machine that is paid by the hour and kept busy.

    Args:
        hour: price of one hour of the machine.
        ads_per_second: measured throughput.

    Raises:
        DataError: a negative price, or a throughput that is not above 0.
    """
    if not (hour >= 0.0 and ads_per_second > 0.0):
        raise DataError(
            f"An hour costs {hour} and {ads_per_second} ads a second are answered; a price of at least 0 and a "
            "throughput above 0 are needed."
        )
    return hour / (ads_per_second * 3600.0)


def cost_per_thousand(point: Point, prices: Prices) -> float:
    """Price of 1,000 ads: the baseline reads each of them (none where the model answers alone), the model the rest."""
    asked_first = 0.0 if point.threshold >= MODEL_ONLY else 1.0
    return 1000.0 * (asked_first * prices.baseline_call + (1.0 - point.coverage) * prices.model_call)


def _checked(
    confidence: Sequence[float] | NDArray[np.floating],
    baseline_right: Sequence[bool] | NDArray[np.bool_],
    model_right: Sequence[bool] | NDArray[np.bool_],
) -> tuple[NDArray[np.float64], NDArray[np.bool_], NDArray[np.bool_]]:
    sure = np.asarray(confidence, dtype=np.float64)
    cheap, dear = np.asarray(baseline_right, dtype=bool), np.asarray(model_right, dtype=bool)
    if not len(sure) or not len(sure) == len(cheap) == len(dear):
        raise DataError(
            f"{len(sure)} confidences, {len(cheap)} answers of the baseline and {len(dear)} of the model; the same "
            "number of each is needed, one at least."
        )
    wrong = np.flatnonzero(~((sure >= 0.0) & (sure <= 1.0)))
    if len(wrong):
        raise DataError(f"Confidence number {wrong[0]} is {sure[wrong[0]]}; probabilities in [0, 1] are needed.")
    return sure, cheap, dear
