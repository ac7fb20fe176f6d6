"""What evaluation finds out about one model, and about model and baseline side by side."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jobtuner.evaluate.calibration import (
    Bin,
    apply_temperature,
    expected_calibration_error,
    fit_temperature,
    reliability,
)
from jobtuner.evaluate.metrics import difference, occupation_metrics, ranks
from jobtuner.evaluate.predict import Predictor
from jobtuner.progress import track
from jobtuner.records import Example, Prediction
from jobtuner.taxonomy import Taxonomy

__all__ = ["Comparison", "Evaluated", "compare", "evaluate_as_it_is", "evaluate_predictor"]


@dataclass(frozen=True)
class Evaluated:
    """One model on the test examples."""

    name: str
    """How the report calls it: "model" or "baseline"."""
    temperature: float
    """Fitted on validation examples; metrics and predictions are those after it was applied."""
    ece_uncalibrated: float
    """Expected calibration error on the test examples before the temperature was applied."""
    metrics: dict[str, Any]
    """As `metrics.occupation_metrics` returns them."""
    bins: list[Bin]
    predictions: list[Prediction]
    """One a test example, in their order."""


@dataclass(frozen=True)
class Comparison:
    """Model and baseline on the same examples."""

    examples: list[Example]
    model: Evaluated
    baseline: Evaluated
    difference: dict[str, float | list[float]]
    """Model minus baseline, as `metrics.difference` returns it."""
    taxonomy: Taxonomy
    base: str
    """Hub id or path of the model's base."""
    base_is_standin: bool


def evaluate_predictor(
    name: str,
    predictor: Predictor,
    validation: Sequence[Example],
    test: Sequence[Example],
    *,
    batch_size: int,
    top_k: int,
    seed: int,
) -> Evaluated:
    """Score the examples, fit the temperature on validation, measure on test.

    Args:
        name: "model" or "baseline".
        predictor: gives every label a log-probability.
        validation: examples for the temperature alone.
        test: examples for everything that is reported.
        batch_size: texts a call of the predictor.
        top_k: codes kept in each prediction; also the k of top-k accuracy.
        seed: of the bootstrap.
    """
    raw = _scores(name, predictor, [*validation, *test], batch_size)
    temperature = fit_temperature(raw[: len(validation)], _gold_index(predictor.labels, validation))
    scores = apply_temperature(raw[len(validation) :], temperature)
    gold, languages = [row.label for row in test], [row.language for row in test]
    gold_index = _gold_index(predictor.labels, test)
    return Evaluated(
        name=name,
        temperature=temperature,
        ece_uncalibrated=expected_calibration_error(_bins(raw[len(validation) :], gold_index)),
        metrics=occupation_metrics(scores, predictor.labels, gold, languages, top_k, seed=seed),
        bins=_bins(scores, gold_index),
        predictions=_predictions(scores, predictor.labels, test, gold_index, top_k),
    )


def evaluate_as_it_is(
    name: str, predictor: Predictor, rows: Sequence[Example], *, batch_size: int, top_k: int, seed: int
) -> Evaluated:
    """Score the examples and measure, with the probabilities as the predictor gives them.

    Args:
        name: what the progress bar calls the predictor.
        predictor: gives every label a log-probability.
        rows: at least one.
        batch_size: texts a call of the predictor.
        top_k: codes kept in each prediction; also the k of top-k accuracy.
        seed: of the bootstrap.
    """
    scores = _scores(name, predictor, rows, batch_size)
    gold, languages = [row.label for row in rows], [row.language for row in rows]
    gold_index = _gold_index(predictor.labels, rows)
    bins = _bins(scores, gold_index)
    return Evaluated(
        name=name,
        temperature=1.0,
        ece_uncalibrated=expected_calibration_error(bins),
        metrics=occupation_metrics(scores, predictor.labels, gold, languages, top_k, seed=seed),
        bins=bins,
        predictions=_predictions(scores, predictor.labels, rows, gold_index, top_k),
    )


def compare(
    examples: list[Example],
    model: Evaluated,
    baseline: Evaluated,
    taxonomy: Taxonomy,
    *,
    base: str,
    base_is_standin: bool,
    seed: int,
) -> Comparison:
    """Put two evaluations of the same examples side by side."""
    gold = [row.label for row in examples]
    ours, theirs = ([item.predicted for item in side.predictions] for side in (model, baseline))
    gain = difference(gold, ours, theirs, seed)
    return Comparison(examples, model, baseline, gain, taxonomy, base, base_is_standin)


def _scores(name: str, predictor: Predictor, rows: Sequence[Example], batch_size: int) -> NDArray[np.float32]:
    scores = np.empty((len(rows), len(predictor.labels)), dtype=np.float32)
    with track(f"Scoring with the {name}", total=len(rows), unit="ads") as bar:
        for start in range(0, len(rows), batch_size):
            texts = [row.text for row in rows[start : start + batch_size]]
            scores[start : start + len(texts)] = predictor.log_probabilities(texts)
            bar.advance(len(texts))
    return scores


def _gold_index(labels: Sequence[str], rows: Sequence[Example]) -> NDArray[np.intp]:
    column = {label: index for index, label in enumerate(labels)}
    return np.array([column.get(row.label, -1) for row in rows], dtype=np.intp)


def _bins(scores: NDArray[np.float32], gold_index: NDArray[np.intp]) -> list[Bin]:
    return reliability(np.exp(scores.max(axis=1).astype(np.float64)), scores.argmax(axis=1) == gold_index)


def _predictions(
    scores: NDArray[np.float32],
    labels: Sequence[str],
    rows: Sequence[Example],
    gold_index: NDArray[np.intp],
    top_k: int,
) -> list[Prediction]:
    order = np.argsort(-scores, axis=1, kind="stable")[:, :top_k]  # stable: ties in the order of the columns
    place = ranks(scores, gold_index)
    found = []
    for number, row in enumerate(rows):
        top = [(labels[column], round(float(np.exp(scores[number, column])), 6)) for column in order[number]]
        found.append(
            Prediction(
                id=row.id,
                label=row.label,
                language=row.language,
                predicted=top[0][0],
                probability=top[0][1],
                top=top,
                rank=int(place[number]),
            )
        )
    return found
