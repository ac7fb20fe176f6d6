"""What evaluation finds out about one model, and about model and baseline side by side."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from jobtuner.evaluate.calibration import (
    Bin,
    expected_calibration_error,
    fit_temperatures,
    reliability,
)
from jobtuner.evaluate.conformal import PredictionSets, calibrated_sets
from jobtuner.evaluate.metrics import Truth, occupation_metrics, ranks
from jobtuner.evaluate.predict import Predictor
from jobtuner.evaluate.selective import Answers, Selection, abstention, cascade
from jobtuner.probabilities import Temperatures, apply_temperature
from jobtuner.progress import track
from jobtuner.records import Example, Prediction
from jobtuner.router import Prices
from jobtuner.statistics import Interval, McNemar, mcnemar, paired_bootstrap
from jobtuner.taxonomy import Taxonomy

__all__ = ["Comparison", "Evaluated", "Measured", "Settings", "compare", "evaluate_predictor", "measure_as_it_is"]

_GAINS: tuple[Literal["macro_f1"], Literal["accuracy"]] = ("macro_f1", "accuracy")


@dataclass(frozen=True)
class Settings:
    """How to evaluate."""

    batch_size: int
    """Texts a call of the predictor."""
    top_k: int
    """Codes kept in each prediction; also the k of top-k accuracy."""
    target_precision: float
    """Share of the kept answers that should be right where a model abstains."""
    seed: int
    """Of bootstrap and prediction sets."""
    language_rows: int = 100
    """Validation examples that a language needs for a temperature of its own."""
    prices: Prices | None = None
    """Of one answer of each model."""


@dataclass(frozen=True)
class Measured:
    """One model's answers to some examples, and their metrics."""

    name: str
    """How report and progress call it: "model" or "baseline"."""
    metrics: dict[str, Any]
    """As `metrics.occupation_metrics` returns them."""
    bins: list[Bin]
    predictions: list[Prediction]
    """One an example, in their order."""
    answers: Answers


@dataclass(frozen=True)
class Evaluated(Measured):
    """One model on the test examples, after its temperatures were applied."""

    temperatures: Temperatures
    """Fitted on half of the validation examples."""
    ece_uncalibrated: float
    """Expected calibration error on the test examples before a temperature was applied."""
    ece_pooled: float
    """The same after the pooled temperature was applied to all of them."""
    held: Answers
    """Answers to the other half of validation, on which thresholds are chosen."""
    abstention: Selection
    sets: list[PredictionSets]


@dataclass(frozen=True)
class Comparison:
    """Model and baseline on the same examples."""

    examples: list[Example]
    model: Evaluated
    baseline: Evaluated
    gain: dict[str, Interval]
    """Model minus baseline: macro_f1 and accuracy, with paired intervals."""
    mcnemar: McNemar
    prices: Prices | None
    """Of one answer each; None: none are known."""
    cascade: Selection
    """The baseline keeps its sure answers, the model answers the rest: coverage is the share of model calls saved."""
    cascade_precise: Selection
    """The same with the baseline's answers at the target precision, whatever that saves."""
    taxonomy: Taxonomy
    base: str
    """Hub id or path of the model's base."""
    base_is_standin: bool


def evaluate_predictor(
    name: str,
    predictor: Predictor,
    validation: Sequence[Example],
    test: Sequence[Example],
    training_rows: Mapping[str, int],
    settings: Settings,
) -> Evaluated:
    """Score the examples, fit the temperatures and choose thresholds on validation, measure on test.

    Args:
        name: "model" or "baseline".
        predictor: gives every label a log-probability.
        validation: examples for temperatures and thresholds alone, a half for each.
        test: examples for everything that is reported.
        training_rows: code to the number of its training rows.
        settings: how to evaluate.
    """
    fitted, held = _halves(validation)
    raw = _scores(name, predictor, [*fitted, *held, *test], settings.batch_size)
    temperatures = fit_temperatures(
        raw[: len(fitted)],
        _truth(fitted).columns(predictor.labels, raw[: len(fitted)]),
        [row.language for row in fitted],
        settings.language_rows,
    )
    own = temperatures.of([row.language for row in (*held, *test)])
    scores = apply_temperature(raw[len(fitted) :], own)
    held_scores, test_scores = scores[: len(held)], scores[len(held) :]
    truth = _truth(test)
    held_gold, test_gold = (
        _truth(held).columns(predictor.labels, held_scores),
        truth.columns(predictor.labels, test_scores),
    )
    held_answers, answers = _answers(held_scores, held_gold), _answers(test_scores, test_gold)
    clusters, seed = [row.cluster for row in test], settings.seed
    uncalibrated = raw[-len(test) :]
    return Evaluated(
        name=name,
        temperatures=temperatures,
        ece_uncalibrated=expected_calibration_error(_bins(_answers(uncalibrated, test_gold))),
        ece_pooled=expected_calibration_error(
            _bins(_answers(apply_temperature(uncalibrated, temperatures.pooled), test_gold))
        ),
        metrics=occupation_metrics(
            test_scores,
            predictor.labels,
            truth,
            settings.top_k,
            seed=seed,
            clusters=clusters,
            training_rows=training_rows,
        ),
        bins=_bins(answers),
        predictions=_predictions(test_scores, predictor.labels, test, test_gold, settings.top_k),
        held=held_answers,
        answers=answers,
        abstention=abstention(held_answers, answers, settings.target_precision, seed=seed, clusters=clusters),
        sets=calibrated_sets(held_scores, held_gold, test_scores, test_gold, seed),
    )


def measure_as_it_is(
    name: str,
    predictor: Predictor,
    rows: Sequence[Example],
    *,
    batch_size: int,
    top_k: int,
    seed: int,
    temperatures: Temperatures,
    languages: Sequence[str],
) -> Measured:
    """Score the examples and measure, with the temperatures that the predictor was given before.

    Args:
        name: what the progress bar calls the predictor.
        predictor: gives every label a log-probability.
        rows: at least one.
        batch_size: texts a call of the predictor.
        top_k: codes kept in each prediction; also the k of top-k accuracy.
        seed: of the bootstrap.
        temperatures: the predictor's; its answers have the pooled one.
        languages: of each row's text, for a temperature of its own; the slices take the row's.
    """
    scores = temperatures.corrected_scores(_scores(name, predictor, rows, batch_size), languages)
    truth = _truth(rows)
    gold_index = truth.columns(predictor.labels, scores)
    answers = _answers(scores, gold_index)
    return Measured(
        name=name,
        metrics=occupation_metrics(scores, predictor.labels, truth, top_k, seed=seed),
        bins=_bins(answers),
        predictions=_predictions(scores, predictor.labels, rows, gold_index, top_k),
        answers=answers,
    )


def compare(
    examples: list[Example],
    model: Evaluated,
    baseline: Evaluated,
    taxonomy: Taxonomy,
    settings: Settings,
    *,
    base: str,
    base_is_standin: bool,
) -> Comparison:
    """Put two evaluations of the same examples side by side."""
    gold, clusters = [row.label for row in examples], [row.cluster for row in examples]
    ours, theirs = ([item.counted for item in side.predictions] for side in (model, baseline))
    gain: dict[str, Interval] = {
        metric: paired_bootstrap(gold, ours, theirs, metric, seed=settings.seed, groups=clusters) for metric in _GAINS
    }
    held, tested = (baseline.held, model.held), (baseline.answers, model.answers)
    return Comparison(
        examples=examples,
        model=model,
        baseline=baseline,
        gain=gain,
        mcnemar=mcnemar(gold, ours, theirs),
        prices=settings.prices,
        cascade=cascade(held, tested, seed=settings.seed, clusters=clusters),
        cascade_precise=cascade(
            held, tested, seed=settings.seed, clusters=clusters, target_precision=settings.target_precision
        ),
        taxonomy=taxonomy,
        base=base,
        base_is_standin=base_is_standin,
    )


def _halves(rows: Sequence[Example]) -> tuple[list[Example], list[Example]]:
    """Two halves by the hash of the id, whatever the order; a single row is both."""
    ordered = sorted(rows, key=lambda row: hashlib.sha256(row.id.encode()).digest())
    middle = (len(ordered) + 1) // 2
    return ordered[:middle], ordered[middle:] or ordered


def _answers(scores: NDArray[np.float32], gold_index: NDArray[np.intp]) -> Answers:
    confidence = np.exp(scores.max(axis=1).astype(np.float64)).clip(max=1.0)  # float32 rounds to a little more than 1
    return Answers(confidence, scores.argmax(axis=1) == gold_index)


def _scores(name: str, predictor: Predictor, rows: Sequence[Example], batch_size: int) -> NDArray[np.float32]:
    scores = np.empty((len(rows), len(predictor.labels)), dtype=np.float32)
    with track(f"Scoring with the {name}", total=len(rows), unit="ads") as bar:
        for start in range(0, len(rows), batch_size):
            texts = [row.text for row in rows[start : start + batch_size]]
            scores[start : start + len(texts)] = predictor.log_probabilities(texts)
            bar.advance(len(texts))
    return scores


def _truth(rows: Sequence[Example]) -> Truth:
    return Truth(
        [row.label for row in rows],
        [row.language for row in rows],
        [row.accepted for row in rows],
        [row.source for row in rows],
    )


def _bins(answers: Answers) -> list[Bin]:
    return reliability(answers.confidence, answers.right)


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
                accepted=row.accepted,
            )
        )
    return found
