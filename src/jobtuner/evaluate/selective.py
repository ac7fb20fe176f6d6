"""Answering only what is sure: one model that leaves ads to a person, or the baseline that leaves them to the model.

Both are the same question: which answers to keep, by their probability. The threshold is chosen on validation examples;
what it then does is measured on the test examples.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jobtuner.router import Point, choose_threshold, curve, point_at
from jobtuner.statistics import Interval, bootstrap, mean

__all__ = ["Answers", "Selection", "abstention", "cascade"]

_POINTS = 100  # of a curve that is stored: one a percent of the ads


@dataclass(frozen=True)
class Answers:
    """One model's answers to some examples."""

    confidence: NDArray[np.float64]
    """Calibrated probability of each answer, in [0, 1], shape [n]."""
    right: NDArray[np.bool_]
    """Whether each answer is right, shape [n]."""


@dataclass(frozen=True)
class Selection:
    """Answers kept above a threshold, on the test examples."""

    target: float
    """What the threshold was chosen for on validation: the precision of the kept answers (abstention, and cascade with
    a target), or the accuracy of the second model alone (cascade)."""
    point: Point
    """The chosen threshold: coverage is the share of the ads that are kept, precision the share of right ones among
    them, accuracy the share of all ads that end up right."""
    precision: Interval | None
    """Of the kept answers; None where nothing is kept, as where no threshold reached the target."""
    accuracy: Interval
    gain: Interval
    """Accuracy minus that of the second model alone, paired."""
    curve: list[Point]
    """From nothing kept to everything kept, about one point a percent of the ads."""

    def to_json(self) -> dict[str, Any]:
        """JSON values."""
        return asdict(self)


def abstention(
    validation: Answers, test: Answers, target_precision: float, *, seed: int, clusters: Sequence[str]
) -> Selection:
    """One model that keeps its sure answers; the others are nobody's, and count as not right.

    Args:
        validation: answers to examples that the model and its temperature were not fitted to.
        test: answers to the test examples.
        target_precision: share of the kept answers that should be right; the threshold is the lowest at which the
            one-sided 95 % Wilson bound on validation reaches it.
        seed: of the bootstrap.
        clusters: near-duplicate cluster of each test example.
    """
    nobody = [np.zeros(len(side.right), dtype=bool) for side in (validation, test)]
    choice = choose_threshold(validation.confidence, validation.right, nobody[0], target_precision=target_precision)
    return _selection(target_precision, choice.point.threshold, test, nobody[1], seed, clusters)


def cascade(
    validation: tuple[Answers, Answers],
    test: tuple[Answers, Answers],
    *,
    seed: int,
    clusters: Sequence[str],
    target_precision: float | None = None,
) -> Selection:
    """The first model keeps its sure answers, the second answers the rest.

    The threshold saves the most calls of the second model at which the first one's answers hold the target on
    validation (`choose_threshold`); without a target, at which the cascade was no less accurate there than the second
    model alone.

    Args:
        validation: answers of the first and of the second model to the same examples.
        test: the same for the test examples.
        seed: of the bootstrap.
        clusters: near-duplicate cluster of each test example.
        target_precision: share of the first model's answers that should be right; None: no target.
    """
    first, second = validation
    if target_precision is not None:
        held = choose_threshold(first.confidence, first.right, second.right, target_precision=target_precision)
        return _selection(target_precision, held.point.threshold, test[0], test[1].right, seed, clusters)
    alone = float(second.right.mean())
    choice = choose_threshold(first.confidence, first.right, second.right, target_accuracy=alone, z=0.0)
    return _selection(alone, choice.point.threshold, test[0], test[1].right, seed, clusters)


def _selection(
    target: float, threshold: float, test: Answers, rest: NDArray[np.bool_], seed: int, clusters: Sequence[str]
) -> Selection:
    points = curve(test.confidence, test.right, rest)
    kept = test.confidence >= threshold
    right = np.where(kept, test.right, rest)
    measures = {"accuracy": mean(right), "gain": mean(right.astype(np.float64) - rest)}
    if kept.any():
        measures["precision"] = mean(test.right, kept)
    found = bootstrap(measures, len(kept), seed=seed, groups=clusters)
    return Selection(
        target=target,
        point=point_at(points, threshold),
        precision=found.get("precision"),
        accuracy=found["accuracy"],
        gain=found["gain"],
        curve=_thinned(points),
    )


def _thinned(points: Sequence[Point]) -> list[Point]:
    """About `_POINTS` of the points, evenly spread by coverage; the first and the last always."""
    coverage = np.array([point.coverage for point in points])
    chosen = np.unique(np.searchsorted(coverage, np.linspace(0.0, 1.0, _POINTS + 1)).clip(max=len(points) - 1))
    return [points[index] for index in chosen]
