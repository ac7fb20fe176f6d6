"""Metrics of a classifier from its score matrix: pure functions, no files.

A right code that the model has no column for counts as wrong everywhere; no row is ever dropped.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jobtuner.errors import DataError, ModelError
from jobtuner.evaluate.calibration import expected_calibration_error, reliability
from jobtuner.taxonomy import ancestors

__all__ = ["bootstrap", "difference", "occupation_metrics", "ranks"]

_RESAMPLES = 500
_INTERVAL = (0.025, 0.975)  # a 95 % interval
_LOG_FLOOR = float(np.log(1e-15))  # as in scikit-learn's log_loss for float64 before 1.3: a zero stays finite
_CHUNK = 2_000_000  # drawn rows held at once: 16 MB of indices


def occupation_metrics(
    log_probabilities: NDArray[np.float32],
    labels: Sequence[str],
    gold: Sequence[str],
    languages: Sequence[str],
    top_k: int,
    *,
    seed: int = 0,
) -> dict[str, Any]:
    """Every number of the report for one model.

    Args:
        log_probabilities: shape [n, L]; the exponentials of a row sum to 1.
        labels: the L codes, in the order of the columns.
        gold: the n right codes; some may not be among `labels`.
        languages: the language of each row.
        top_k: a row counts as right in `top_k_accuracy` when the right code is among so many likeliest ones.
        seed: of the bootstrap.

    Returns:
        n; top_k; accuracy, macro_f1, weighted_f1, top_k_accuracy, mrr (mean reciprocal rank), ece, all in [0, 1];
        log_loss (nats, each row at most 34.5); brier in [0, 2]; accuracy_interval and macro_f1_interval ([low, high],
        95 %); per_language {language: {n, accuracy, macro_f1}}; per_level {level: {n, accuracy}};
        per_label {code: {n, f1}}.
        F1 is averaged over the codes that occur in `gold`, so that two models on the same rows are averaged alike.

    Raises:
        DataError: no rows, or the lengths do not fit each other.
        ModelError: a score is not a number.
    """
    from sklearn.metrics import accuracy_score, f1_score

    _check(log_probabilities, labels, gold, languages)
    gold_index = _columns(labels, gold)
    best = log_probabilities.argmax(axis=1)
    codes, right = np.array(gold, dtype=str), best == gold_index
    predicted = np.array(labels, dtype=str)[best]
    rank = ranks(log_probabilities, gold_index)
    present = np.unique(codes)
    scores = f1_score(codes, predicted, labels=present, average=None, zero_division=0.0)
    counts = [int((codes == code).sum()) for code in present]
    confidence = np.exp(log_probabilities.max(axis=1).astype(np.float64))
    resampled = bootstrap(gold, predicted.tolist(), seed)
    return {
        "n": len(gold),
        "top_k": top_k,
        "accuracy": float(accuracy_score(codes, predicted)),
        "accuracy_interval": _interval(resampled["accuracy"]),
        "macro_f1": float(scores.mean()),
        "macro_f1_interval": _interval(resampled["macro_f1"]),
        "weighted_f1": float(np.average(scores, weights=counts)),
        "top_k_accuracy": float((rank <= top_k).mean()),
        "mrr": float(np.where(gold_index >= 0, 1.0 / rank, 0.0).mean()),
        "log_loss": _log_loss(log_probabilities, gold_index),
        "ece": expected_calibration_error(reliability(confidence, right)),
        "brier": _brier(log_probabilities, gold_index),
        "per_language": _per_language(codes, predicted, np.array(languages, dtype=str)),
        "per_level": _per_level(gold, predicted.tolist()),
        "per_label": {
            str(code): {"n": count, "f1": float(score)}
            for code, count, score in zip(present, counts, scores, strict=True)
        },
    }


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


def bootstrap(gold: Sequence[str], predicted: Sequence[str], seed: int) -> dict[str, NDArray[np.float64]]:
    """Accuracy and macro-F1 of 500 samples of the rows drawn with replacement (percentile bootstrap, Efron 1979).

    Equal length and seed draw equal rows, so the results of two models can be subtracted sample by sample.

    Returns:
        {"accuracy", "macro_f1"}, each of shape [500].
    """
    codes, truth = np.unique(np.array(gold, dtype=str), return_inverse=True)
    guess = _columns(codes.tolist(), predicted)
    guess[guess < 0] = len(codes)  # one more column for answers that are right nowhere
    width, count = len(codes) + 1, len(truth)
    generator = np.random.default_rng(seed)
    accuracies, averages = [], []
    size = max(1, min(_RESAMPLES, _CHUNK // count))
    for start in range(0, _RESAMPLES, size):
        drawn = generator.integers(0, count, size=(min(size, _RESAMPLES - start), count))
        offset = np.arange(len(drawn))[:, None] * width
        right = (truth == guess)[drawn]
        hits = _count((truth[drawn] + offset)[right], len(drawn), width)
        truths = _count(truth[drawn] + offset, len(drawn), width)
        guesses = _count(guess[drawn] + offset, len(drawn), width)
        present = truths > 0
        scores = np.divide(2.0 * hits, truths + guesses, out=np.zeros(hits.shape), where=present)
        accuracies.append(right.mean(axis=1))
        averages.append(scores.sum(axis=1) / present.sum(axis=1))
    return {"accuracy": np.concatenate(accuracies), "macro_f1": np.concatenate(averages)}


def difference(
    gold: Sequence[str], predicted: Sequence[str], reference: Sequence[str], seed: int
) -> dict[str, float | list[float]]:
    """How much better `predicted` is than `reference` on the same rows, with 95 % intervals (paired bootstrap).

    Returns:
        accuracy, accuracy_interval, macro_f1, macro_f1_interval; an interval that holds 0 shows no difference.
    """
    from sklearn.metrics import accuracy_score

    ours, theirs = bootstrap(gold, predicted, seed), bootstrap(gold, reference, seed)
    truth = np.array(gold, dtype=str)
    return {
        "accuracy": float(accuracy_score(gold, predicted) - accuracy_score(gold, reference)),
        "accuracy_interval": _interval(ours["accuracy"] - theirs["accuracy"]),
        "macro_f1": _macro_f1(truth, np.array(predicted, dtype=str)) - _macro_f1(truth, np.array(reference, dtype=str)),
        "macro_f1_interval": _interval(ours["macro_f1"] - theirs["macro_f1"]),
    }


def _check(scores: NDArray[np.float32], labels: Sequence[str], gold: Sequence[str], languages: Sequence[str]) -> None:
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


def _columns(labels: Sequence[str], codes: Sequence[str]) -> NDArray[np.intp]:
    """Column of each code; -1 where there is none."""
    column = {label: index for index, label in enumerate(labels)}
    return np.array([column.get(code, -1) for code in codes], dtype=np.intp)


def _count(places: NDArray[np.intp], rows: int, width: int) -> NDArray[np.intp]:
    return np.bincount(places.ravel(), minlength=rows * width).reshape(rows, width)


def _interval(values: NDArray[np.float64]) -> list[float]:
    return [float(value) for value in np.quantile(values, _INTERVAL)]


def _log_loss(scores: NDArray[np.float32], gold_index: NDArray[np.intp]) -> float:
    own = np.where(gold_index >= 0, scores[np.arange(len(scores)), gold_index].astype(np.float64), -np.inf)
    return float(-np.maximum(own, _LOG_FLOOR).mean())


def _brier(scores: NDArray[np.float32], gold_index: NDArray[np.intp]) -> float:
    """Mean squared distance between probabilities and the one-hot truth, summed over the labels (Brier 1950)."""
    probabilities = np.exp(scores.astype(np.float64))
    own = np.where(gold_index >= 0, probabilities[np.arange(len(scores)), gold_index], 0.0)
    return float((np.square(probabilities).sum(axis=1) - 2.0 * own + 1.0).mean())  # (p - 1)² = p² - 2p + 1


def _macro_f1(gold: NDArray[np.str_], predicted: NDArray[np.str_]) -> float:
    from sklearn.metrics import f1_score

    return float(f1_score(gold, predicted, labels=np.unique(gold), average="macro", zero_division=0.0))


def _per_language(
    gold: NDArray[np.str_], predicted: NDArray[np.str_], languages: NDArray[np.str_]
) -> dict[str, dict[str, float]]:
    found = {}
    for language in np.unique(languages):
        mine = languages == language
        accuracy = float((gold[mine] == predicted[mine]).mean())
        macro_f1 = _macro_f1(gold[mine], predicted[mine])
        found[str(language)] = {"n": int(mine.sum()), "accuracy": accuracy, "macro_f1": macro_f1}
    return found


def _per_level(gold: Sequence[str], predicted: Sequence[str]) -> dict[str, dict[str, float]]:
    """Share of rows whose group at each level is right; a row counts at the levels that its right code has."""
    path = {code: ancestors(code) for code in {*gold, *predicted}}
    found = {}
    for level in range(max(len(path[code]) for code in gold)):
        pairs = ((path[code], path[guess]) for code, guess in zip(gold, predicted, strict=True))
        deep = [(truth, guess) for truth, guess in pairs if len(truth) > level]
        right = sum(truth[level] == guess[level] for truth, guess in deep if len(guess) > level)
        found[str(level + 1)] = {"n": len(deep), "accuracy": right / len(deep)}
    return found
