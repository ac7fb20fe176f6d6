"""How sure a measured number is: bootstrap intervals, and paired tests of two classifiers on the same rows.

A bootstrap sample is told as a count for each row, how often it was drawn. A metric is a function of such counts, so
whatever is computed from the same samples (two models, their difference, many slices) is paired, and macro-F1 over
hundreds of classes costs three `bincount`s a block of samples.
"""

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from jobtuner.errors import DataError

__all__ = [
    "LEVEL",
    "SAMPLES",
    "Counts",
    "Interval",
    "McNemar",
    "Metric",
    "accuracy",
    "bootstrap",
    "macro_f1",
    "mcnemar",
    "mean",
    "paired_bootstrap",
    "ratio",
    "weighted_f1",
]

SAMPLES = 1000
"""Bootstrap samples: the ends of a 95 % interval then vary by some 2 % of its width from seed to seed."""

LEVEL = 0.95
"""Share of repeated experiments in which an interval is meant to hold the true value."""

_CHUNK = 2_000_000  # counts held at once: 16 MB

Counts = NDArray[np.float64]
"""How often each row was drawn in each sample, shape [samples, rows]; all ones: the rows as they are."""

Metric = Callable[[Counts], NDArray[np.float64]]
"""From counts to one value a sample, shape [samples]; NaN where a sample drew none of the rows that count."""


@dataclass(frozen=True, slots=True)
class Interval:
    """A value measured on all rows, and the interval around it."""

    estimate: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class McNemar:
    """Rows on which exactly one of two classifiers is right, and the probability of so uneven a division by chance."""

    ours_only: int
    theirs_only: int
    p_value: float
    """Two-sided, exact binomial at every size (McNemar 1947 with the conditional test); 1 where they never differ."""


def ratio(above: ArrayLike, below: ArrayLike) -> Metric:
    """The sum of one value a row over the sum of another; both of shape [rows]."""
    columns = np.stack([np.asarray(above, dtype=np.float64), np.asarray(below, dtype=np.float64)], axis=1)

    def metric(counts: Counts) -> NDArray[np.float64]:
        total = counts @ columns
        result: NDArray[np.float64] = np.full(len(total), np.nan)
        np.divide(total[:, 0], total[:, 1], out=result, where=total[:, 1] > 0)
        return result

    return metric


def mean(values: ArrayLike, rows: ArrayLike | None = None) -> Metric:
    """The mean of a value a row, shape [rows]; over the rows chosen by the mask `rows` where one is given."""
    numbers = np.asarray(values, dtype=np.float64)
    chosen = np.ones(len(numbers)) if rows is None else np.asarray(rows, dtype=np.float64)
    return ratio(numbers * chosen, chosen)


def accuracy(gold: Sequence[str], predicted: Sequence[str]) -> Metric:
    """Share of rows whose answer is the right one."""
    return mean(np.array(gold, dtype=str) == np.array(predicted, dtype=str))


def macro_f1(gold: Sequence[str], predicted: Sequence[str]) -> Metric:
    """F1 averaged over the classes that occur in a sample's `gold`, so that two models are averaged alike."""
    scores_of = _f1_by_class(gold, predicted)

    def metric(counts: Counts) -> NDArray[np.float64]:
        scores, truths = scores_of(counts)
        average: NDArray[np.float64] = scores.sum(axis=1) / (truths > 0).sum(axis=1)
        return average

    return metric


def weighted_f1(gold: Sequence[str], predicted: Sequence[str]) -> Metric:
    """F1 averaged over the classes, each with the weight of its rows."""
    scores_of = _f1_by_class(gold, predicted)

    def metric(counts: Counts) -> NDArray[np.float64]:
        scores, truths = scores_of(counts)
        average: NDArray[np.float64] = (scores * truths).sum(axis=1) / truths.sum(axis=1)
        return average

    return metric


def bootstrap(
    metrics: Mapping[str, Metric],
    rows: int,
    *,
    seed: int,
    samples: int = SAMPLES,
    groups: Sequence[Hashable] | None = None,
    level: float = LEVEL,
) -> dict[str, Interval]:
    """Percentile intervals (Efron 1979) of metrics, all from the same samples, centred on the estimates.

    An interval tells what other rows of the same number would give. Macro-F1 with few rows a class is lower than it
    would be with many; that is no noise, and no interval shows it.

    Args:
        metrics: name to metric; a difference of two metrics is a metric, and its interval a paired one.
        rows: how many rows the metrics count.
        seed: of the samples; equal seed, rows and groups give equal samples.
        samples: how many are drawn.
        groups: the group of each row; rows of a group hang together (near-duplicates, ads of one employer) and are
            drawn together, or the intervals would be too narrow. None: every row stands alone.
        level: share of the samples' values inside an interval.

    Raises:
        DataError: no rows, or `groups` is not one a row.
    """
    if rows < 1 or (groups is not None and len(groups) != rows):
        told = "no groups" if groups is None else f"{len(groups)} groups"
        raise DataError(f"A bootstrap got {rows} rows and {told}; at least one row is needed, and a group for each.")
    place = np.arange(rows) if groups is None else _numbered(groups)
    size = int(place.max()) + 1
    generator = np.random.default_rng(seed)
    drawn: dict[str, list[NDArray[np.float64]]] = {name: [] for name in metrics}
    block = max(1, min(samples, _CHUNK // rows))
    for start in range(0, samples, block):
        count = min(block, samples - start)
        chosen = generator.integers(0, size, size=(count, size)) + np.arange(count)[:, None] * size
        times = np.bincount(chosen.ravel(), minlength=count * size).reshape(count, size)
        counts = (times if groups is None else times[:, place]).astype(np.float64)
        for name, metric in metrics.items():
            drawn[name].append(metric(counts))
    whole = np.ones((1, rows))
    return {name: _interval(metric(whole), np.concatenate(drawn[name]), level) for name, metric in metrics.items()}


def paired_bootstrap(
    gold: Sequence[str],
    ours: Sequence[str],
    theirs: Sequence[str],
    metric: Literal["macro_f1", "accuracy"] = "macro_f1",
    *,
    seed: int = 0,
    samples: int = SAMPLES,
    groups: Sequence[Hashable] | None = None,
    level: float = LEVEL,
) -> Interval:
    """How much better `ours` is than `theirs` on the same rows; an interval that holds 0 shows no sure difference.

    Raises:
        DataError: the lengths differ, or there are no rows.
    """
    _check_lengths(gold, ours, theirs)
    make = {"macro_f1": macro_f1, "accuracy": accuracy}[metric]
    mine, reference = make(gold, ours), make(gold, theirs)
    gain: dict[str, Metric] = {"gain": lambda counts: mine(counts) - reference(counts)}
    return bootstrap(gain, len(gold), seed=seed, samples=samples, groups=groups, level=level)["gain"]


def mcnemar(gold: Sequence[str], ours: Sequence[str], theirs: Sequence[str]) -> McNemar:
    """Whether one of two classifiers is right more often than the other on the same rows.

    Of the rows on which exactly one is right, each would be right on half if they were equally good. The test takes
    the rows as independent; where near-duplicates are many, trust the paired bootstrap with groups instead.

    Raises:
        DataError: the lengths differ, or there are no rows.
    """
    from scipy.stats import binomtest

    _check_lengths(gold, ours, theirs)
    truth = np.array(gold, dtype=str)
    mine, reference = (truth == np.array(side, dtype=str) for side in (ours, theirs))
    ours_only, theirs_only = int((mine & ~reference).sum()), int((reference & ~mine).sum())
    differing = ours_only + theirs_only
    p_value = float(binomtest(ours_only, differing, 0.5).pvalue) if differing else 1.0
    return McNemar(ours_only, theirs_only, p_value)


def _check_lengths(gold: Sequence[str], ours: Sequence[str], theirs: Sequence[str]) -> None:
    if not gold or len(ours) != len(gold) or len(theirs) != len(gold):
        raise DataError(
            f"A paired comparison got {len(gold)} right codes and {len(ours)} and {len(theirs)} answers; the same "
            "number of each, and at least one, is needed."
        )


def _f1_by_class(
    gold: Sequence[str], predicted: Sequence[str]
) -> Callable[[Counts], tuple[NDArray[np.float64], NDArray[np.float64]]]:
    """F1 and rows of each class of `gold`, both of shape [samples, classes]; 0 where a sample lacks the class."""
    column = {label: index for index, label in enumerate(dict.fromkeys(gold))}
    width = len(column) + 1  # one more for answers that are right nowhere
    truth = np.array([column[label] for label in gold], dtype=np.intp)
    guess = np.array([column.get(label, width - 1) for label in predicted], dtype=np.intp)
    right = truth == guess

    def scores(counts: Counts) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        truths, guesses = _sum_by(counts, truth, width), _sum_by(counts, guess, width)
        hits = _sum_by(counts[:, right], truth[right], width)
        found: NDArray[np.float64] = np.zeros(hits.shape)
        np.divide(2.0 * hits, truths + guesses, out=found, where=truths > 0)
        return found, truths

    return scores


def _numbered(groups: Sequence[Hashable]) -> NDArray[np.intp]:
    number = {group: index for index, group in enumerate(dict.fromkeys(groups))}
    return np.array([number[group] for group in groups], dtype=np.intp)


def _sum_by(counts: Counts, place: NDArray[np.intp], width: int) -> NDArray[np.float64]:
    """Counts [samples, rows] added up by the rows' places, shape [samples, width]."""
    cells = place[None, :] + np.arange(len(counts))[:, None] * width
    total = np.bincount(cells.ravel(), counts.ravel(), len(counts) * width)
    return total.astype(np.float64, copy=False).reshape(len(counts), width)


def _interval(estimate: NDArray[np.float64], values: NDArray[np.float64], level: float) -> Interval:
    """Quantiles of the samples, moved so that their mean lies on the estimate, within what any sample showed.

    F1 over many small classes is lower in resampled rows than in the rows themselves: unmoved, the interval around
    macro-F1 lies too low by as much. NaN samples are left out; they drew none of the rows that the metric counts.
    """
    value, known = float(estimate[0]), values[~np.isnan(values)]
    ends = np.quantile(known, [(1.0 - level) / 2.0, (1.0 + level) / 2.0]) + (value - known.mean())
    low, high = ends.clip(min(known.min(), value), max(known.max(), value))
    return Interval(value, float(low), float(high))
