"""Metrics of a classifier from its score matrix: pure functions, no files.

A right code that the model has no column for counts as wrong everywhere; no row is ever dropped.

Where a row has several right codes, an answer that is any of them is right, and counts as the row's first code in F1
and in the hierarchy, so that the classes are the same for every model. Rank, log loss and Brier score take the right
code that the model itself finds likeliest.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jobtuner.errors import DataError, ModelError
from jobtuner.evaluate.calibration import calibration_error
from jobtuner.evaluate.slices import KINDS, Slice, find_slices, overlap
from jobtuner.statistics import Counts, Interval, Metric, bootstrap, macro_f1, mean, ratio, weighted_f1

__all__ = ["Truth", "occupation_metrics", "ranks"]

_LOG_FLOOR = float(np.log(1e-15))  # as in scikit-learn's log_loss for float64 before 1.3: a zero stays finite

_WHOLE = frozenset({"per_language", "per_source"})
"""Slices of whole rows, whatever their codes: F1 and calibration have a meaning there."""


@dataclass(frozen=True)
class Truth:
    """What is known of n rows, by place."""

    gold: Sequence[str]
    """The right code, or the first of several; some may not be among a model's labels."""
    languages: Sequence[str]
    accepted: Sequence[Collection[str]] = ()
    """Further right codes of each row; empty: none has any."""
    sources: Sequence[str] = ()
    """Where each row came from; empty, or all the same: no slices by source."""

    def right(self, row: int) -> frozenset[str]:
        """All right codes of a row."""
        return frozenset([self.gold[row], *(self.accepted[row] if self.accepted else ())])

    def columns(self, labels: Sequence[str], scores: NDArray[np.float32]) -> NDArray[np.intp]:
        """Column of each row's right code, of several the one with the highest score; -1 where there is none."""
        column = {label: index for index, label in enumerate(labels)}
        found = np.array([column.get(code, -1) for code in self.gold], dtype=np.intp)
        for row in self.several():
            known = sorted(column[code] for code in self.right(row) if code in column)
            found[row] = max(known, key=lambda place, own=scores[row]: own[place], default=-1)  # type: ignore[misc]
        return found

    def several(self) -> list[int]:
        """The rows with more than one right code."""
        return [row for row, others in enumerate(self.accepted) if others]


def occupation_metrics(
    log_probabilities: NDArray[np.float32],
    labels: Sequence[str],
    truth: Truth,
    top_k: int,
    *,
    seed: int = 0,
    clusters: Sequence[str] | None = None,
    training_rows: Mapping[str, int] | None = None,
) -> dict[str, Any]:
    """Every number of the report for one model.

    Args:
        log_probabilities: shape [n, L]; the exponentials of a row sum to 1.
        labels: the L codes, in the order of the columns.
        truth: right codes, languages and sources of the n rows.
        top_k: a row counts as right in `top_k_accuracy` when the right code is among so many likeliest ones.
        seed: of the bootstrap.
        clusters: the near-duplicate cluster of each row; a cluster is resampled whole. None: every row alone.
        training_rows: code to the number of its training rows; None: no bands of frequency.

    Returns:
        n; top_k; accuracy, macro_f1, weighted_f1, top_k_accuracy, mrr (mean reciprocal rank), hierarchical_f1,
        hierarchical_precision, hierarchical_recall, ece (all in [0, 1]); log_loss (nats, each row at most 34.5); brier
        in [0, 2]; each with a 95 % interval [low, high] under the same name and `_interval`;
        per_language {language: {n, accuracy, accuracy_interval, macro_f1, macro_f1_interval, ece, ece_interval}};
        per_level {level: {n, accuracy, accuracy_interval}};
        per_frequency {head, body, tail: {n, codes, accuracy, accuracy_interval, macro_f1}}, bands with rows only;
        per_source {source: as per_language}, where there is more than one;
        per_label {code: {n, f1}}.
        Where rows have several right codes: several_n, codes_n (right codes of all rows), and with intervals set_f1
        (as many answers as a row has right codes: precision, recall and F1 are one number, the R-precision of
        information retrieval, over all rows' codes together) and recall_at_k (share of the right codes among the
        `top_k`, likewise).
        F1 is averaged over the codes that occur in `gold`, so that two models on the same rows are averaged alike.

    Raises:
        DataError: no rows, or the lengths do not fit each other.
        ModelError: a score is not a number.
    """
    gold = truth.gold
    _check(log_probabilities, labels, truth)
    gold_index = truth.columns(labels, log_probabilities)
    best = log_probabilities.argmax(axis=1)
    right = best == gold_index
    predicted = [code if hit else labels[place] for code, hit, place in zip(gold, right, best, strict=True)]
    rank, paths = ranks(log_probabilities, gold_index), overlap(gold, predicted)
    confidence = np.exp(log_probabilities.max(axis=1).astype(np.float64))
    slices = find_slices(gold, truth.languages, right, paths, training_rows or {}, truth.sources)
    measures = {
        "accuracy": mean(right),
        "macro_f1": macro_f1(gold, predicted),
        "weighted_f1": weighted_f1(gold, predicted),
        "top_k_accuracy": mean(rank <= top_k),
        "mrr": mean(np.where(gold_index >= 0, 1.0 / rank, 0.0)),
        "hierarchical_f1": ratio(2.0 * paths.shared, paths.right + paths.answered),
        "hierarchical_precision": ratio(paths.shared, paths.answered),
        "hierarchical_recall": ratio(paths.shared, paths.right),
        "log_loss": mean(_log_losses(log_probabilities, gold_index)),
        "ece": calibration_error(confidence, right),
        "brier": mean(_brier_scores(log_probabilities, gold_index)),
        **_of_several(log_probabilities, labels, truth, rank, top_k),
    }
    every = measures | _of_slices(slices, gold, predicted, confidence)
    found = bootstrap(every, len(gold), seed=seed, groups=clusters)
    result: dict[str, Any] = {"n": len(gold), "top_k": top_k}
    if several := truth.several():
        result |= {"several_n": len(several), "codes_n": sum(len(truth.right(row)) for row in range(len(gold)))}
    for name in measures:
        result |= _told(name, found[name])
    return {**result, **_sliced(slices, found, gold, predicted)}


def _of_slices(
    slices: Sequence[Slice], gold: Sequence[str], predicted: Sequence[str], confidence: NDArray[np.float64]
) -> dict[str, Metric]:
    """ "kind/name/metric" to the metric over the rows of each slice."""
    truth, answers, metrics = np.array(gold, dtype=str), np.array(predicted, dtype=str), dict[str, Metric]()
    for part in slices:
        rows, key = part.rows, f"{part.kind}/{part.name}"
        metrics[f"{key}/accuracy"] = mean(part.right, rows)
        if part.kind in _WHOLE:
            metrics[f"{key}/macro_f1"] = _over(rows, macro_f1(truth[rows].tolist(), answers[rows].tolist()))
            metrics[f"{key}/ece"] = _over(rows, calibration_error(confidence[rows], part.right[rows]))
    return metrics


def _over(rows: NDArray[np.bool_], metric: Metric) -> Metric:
    """A metric of some rows as one of all; NaN for samples that drew none of them."""

    def over(counts: Counts) -> NDArray[np.float64]:
        mine = counts[:, rows]
        drawn = mine.any(axis=1)
        values = np.full(len(counts), np.nan)
        values[drawn] = metric(mine[drawn])
        return values

    return over


def _sliced(
    slices: Sequence[Slice], found: Mapping[str, Interval], gold: Sequence[str], predicted: Sequence[str]
) -> dict[str, dict[str, Any]]:
    truth, per_label = np.array(gold, dtype=str), _per_label(gold, predicted)
    kinds: dict[str, dict[str, Any]] = {kind: {} for kind in KINDS}
    for part in slices:
        rows = part.rows
        values: dict[str, Any] = {"n": int(rows.sum())}
        for name in ("accuracy", "macro_f1", "ece") if part.kind in _WHOLE else ("accuracy",):
            values |= _told(name, found[f"{part.kind}/{part.name}/{name}"])
        if part.kind == "per_frequency":  # of all rows: false answers from other bands count against a code
            codes = np.unique(truth[rows]).tolist()
            values |= {"codes": len(codes), "macro_f1": float(np.mean([per_label[code]["f1"] for code in codes]))}
        kinds[part.kind][part.name] = values
    return {**kinds, "per_label": per_label}


def ranks(log_probabilities: NDArray[np.float32], gold_index: NDArray[np.intp]) -> NDArray[np.intp]:
    """Place of the right code among all labels, shape [n], 1 = best; L + 1 where it has no column (index -1).

    Equal scores rank in the order of the columns, as `argmax` takes them.
    """
    rows = np.arange(len(gold_index))
    own = log_probabilities[rows, gold_index][:, None]
    before = np.arange(log_probabilities.shape[1])[None, :] < gold_index[:, None]
    ahead = (log_probabilities > own) | ((log_probabilities == own) & before)
    place: NDArray[np.intp] = np.where(gold_index >= 0, 1 + ahead.sum(axis=1), log_probabilities.shape[1] + 1)
    return place


def _of_several(
    scores: NDArray[np.float32], labels: Sequence[str], truth: Truth, rank: NDArray[np.intp], top_k: int
) -> dict[str, Metric]:
    """The metrics of sets of right codes, where any row has several."""
    several = truth.several()
    if not several:
        return {}
    wanted, found, within = np.ones(len(rank)), (rank == 1).astype(np.float64), (rank <= top_k).astype(np.float64)
    for row in several:
        right = truth.right(row)
        order = [labels[place] for place in np.argsort(-scores[row], kind="stable")[: max(len(right), top_k)]]
        wanted[row], found[row] = len(right), len(right & set(order[: len(right)]))
        within[row] = len(right & set(order[:top_k]))
    return {"set_f1": ratio(found, wanted), "recall_at_k": ratio(within, wanted)}


def _check(scores: NDArray[np.float32], labels: Sequence[str], truth: Truth) -> None:
    gold, languages = truth.gold, truth.languages
    if not gold:
        raise DataError("There are no examples to evaluate: the test split is empty. Run prepare with more data.")
    if scores.shape != (len(gold), len(labels)) or len(languages) != len(gold):
        raise DataError(
            f"The scores have the shape {scores.shape}; {len(gold)} right codes, {len(languages)} languages and "
            f"{len(labels)} labels need ({len(gold)}, {len(labels)})."
        )
    broken = np.isnan(scores).any(axis=1)
    if broken.any():
        raise ModelError(
            f"The model gave NaN for {int(broken.sum())} of {len(gold)} examples. Its training has diverged: "
            "lower training.learning_rate and train again."
        )


def _told(name: str, found: Interval) -> dict[str, float | list[float]]:
    return {name: found.estimate, f"{name}_interval": [found.low, found.high]}


def _log_losses(scores: NDArray[np.float32], gold_index: NDArray[np.intp]) -> NDArray[np.float64]:
    own = np.where(gold_index >= 0, scores[np.arange(len(scores)), gold_index].astype(np.float64), -np.inf)
    return np.asarray(-np.maximum(own, _LOG_FLOOR))


def _brier_scores(scores: NDArray[np.float32], gold_index: NDArray[np.intp]) -> NDArray[np.float64]:
    """Squared distance of each row's probabilities from the one-hot truth, summed over the labels (Brier 1950)."""
    probabilities = np.exp(scores.astype(np.float64))
    own = np.where(gold_index >= 0, probabilities[np.arange(len(scores)), gold_index], 0.0)
    return np.asarray(np.square(probabilities).sum(axis=1) - 2.0 * own + 1.0)  # (p - 1)² = p² - 2p + 1


def _per_label(gold: Sequence[str], predicted: Sequence[str]) -> dict[str, dict[str, float]]:
    from sklearn.metrics import precision_recall_fscore_support

    codes = sorted(set(gold))
    _, _, scores, counts = precision_recall_fscore_support(gold, predicted, labels=codes, zero_division=0.0)
    return {
        code: {"n": int(count), "f1": float(score)} for code, count, score in zip(codes, counts, scores, strict=True)
    }
