"""Months of ads played in minutes: what a model that is left alone loses, and what the watch makes of it.

Pure of the world: the ads and the way to fit a model come from outside. Two models answer the same ads. One is fitted
once; the other is fitted anew, corrections added, whenever the watch decides so. Rows, tests and decisions are those
of production.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from jobtuner.config import RetrainConfig
from jobtuner.drift_reference.files import Reference, make_reference
from jobtuner.drift_reference.sample import Sample
from jobtuner.monitor.decision import Decision, Evidence, Memory, decide
from jobtuner.monitor.drift import Drift, compare
from jobtuner.monitor.quality import Judged, Quality, measure
from jobtuner.prediction_log.rows import Answer, to_table
from jobtuner.prediction_log.sketch import Vocabulary
from jobtuner.records import JobAd
from jobtuner.statistics import Interval

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["RULES", "Fit", "Model", "Month", "Week", "draw", "play"]

RULES = RetrainConfig(cool_down_days=14, min_labelled=60)
"""Weeks are looked at; two drifted ones, or a certain loss of accuracy, start a training."""

_ABSTAIN_BELOW = 0.5
_BLIND = 0.2  # share of a week's answers that recruiters correct or confirm, picked blindly
_UNSURE = 0.25  # the same, of the least certain ones: the review queue
_BLUE, _ORANGE, _GREY = "#0072B2", "#E69F00", "#666666"
_START = datetime(2026, 1, 5, tzinfo=UTC)  # a Monday


class Model(Protocol):
    """A fitted classifier."""

    @property
    def labels(self) -> list[str]:
        """Codes in the order of the score columns."""

    def log_probabilities(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Shape [len(texts), len(labels)]."""


Fit = Callable[[Sequence[JobAd]], Model]


@dataclass(frozen=True)
class Month:
    """A stretch of time with its ads."""

    name: str
    """What changes in it."""
    weeks: Sequence[Sequence[JobAd]]


@dataclass(frozen=True)
class Week:
    """What one week brought."""

    month: str
    day: str
    left_alone: Interval
    """Accuracy of the model that was fitted once."""
    watched: Interval
    """Accuracy of the other one, on the same ads."""
    drifted_tests: list[str]
    decision: Decision
    trained_on: int
    """Rows of the training that the week ended with; 0: there was none."""


@dataclass
class _Served:
    """A model at work: what it was fitted on, its reference, its words."""

    model: Model
    reference: Reference
    words: Vocabulary


def play(training: Sequence[JobAd], months: Sequence[Month], fit: Fit, tell: Callable[[Week], None]) -> list[Week]:
    """Serve the months' ads with both models; returns every week.

    Args:
        training: ads before the first month; a third of them, unseen by the models, makes their reference.
        months: the ads to answer.
        fit: makes a model of ads.
        tell: called after every week.
    """
    alone = _serve(list(training), fit)
    watched, memory, known, weeks = alone, Memory(), list(training), list[Week]()
    for month in months:
        for ads in month.weeks:
            day = _START + timedelta(weeks=len(weeks) + 1)
            first, _ = _answer(alone, ads)
            judged, sample = _answer(watched, ads)
            blind = np.random.default_rng(len(weeks)).random(len(ads)) < _BLIND
            drift, quality = compare(watched.reference, sample), measure(_some(judged, blind))
            decision = decide(_evidence(watched, drift, quality, day), memory, RULES)
            memory = decision.memory
            reviewed = blind | (sample.probability <= np.quantile(sample.probability, _UNSURE))
            known += [ad for ad, chosen in zip(ads, reviewed, strict=True) if chosen]
            if decision.retrain:
                watched = _serve(known, fit)
            trained_on = len(known) if decision.retrain else 0
            left, kept = (measure(rows).accuracy for rows in (first, judged))
            if left is None or kept is None:
                continue
            week = Week(month.name, f"{day:%Y-%m-%d}", left, kept, drift.drifted_tests, decision, trained_on)
            weeks.append(week)
            tell(week)
    return weeks


def _serve(ads: Sequence[JobAd], fit: Fit) -> _Served:
    """Two thirds are fitted on; the reference is of the rest, drawn from the newest ads as from the oldest."""
    held = [ad for place, ad in enumerate(ads) if place % 3 == 0]
    fitted = [ad for place, ad in enumerate(ads) if place % 3]
    model, words = fit(fitted), Vocabulary.of(ad.text for ad in fitted)
    table = to_table(_answers(model, held), words, keep_text=False)
    right = np.array([ad.label for ad in held]) == np.array(table["label"].to_pylist())
    about = {"accuracy": float(right.mean()), "source": "the demo"}
    return _Served(model, make_reference(table, words, about, abstain_below=_ABSTAIN_BELOW), words)


def _answers(model: Model, ads: Sequence[JobAd]) -> list[Answer]:
    scores = model.log_probabilities([ad.text for ad in ads])
    best = scores.argmax(axis=1)
    found = []
    for ad, column, row in zip(ads, best, scores, strict=True):
        label, probability = model.labels[column], float(np.exp(row[column]))
        top, unsure = [(label, probability)], probability < _ABSTAIN_BELOW
        fields = (ad.text, ad.language, label, probability, top, "demo", "model", unsure, _START)
        found.append(Answer("demo", 0, ad.id, *fields))
    return found


def _answer(served: _Served, ads: Sequence[JobAd]) -> tuple[list[Judged], Sample]:
    answers = _answers(served.model, ads)
    judged = [
        Judged(answer.time, ad.language, answer.label, answer.probability, ad.label or "")
        for ad, answer in zip(ads, answers, strict=True)
    ]
    return judged, Sample.of(to_table(answers, served.words, keep_text=False))


def _some(rows: Sequence[Judged], chosen: NDArray[np.bool_]) -> list[Judged]:
    return [row for row, kept in zip(rows, chosen, strict=True) if kept]


def _evidence(served: _Served, drift: Drift, quality: Quality, day: datetime) -> Evidence:
    known = quality.accuracy
    return Evidence(
        day=day.date(),
        drifted=drift.drifted,
        drifted_tests=drift.drifted_tests[:3],
        labelled=quality.rows,
        accuracy=None if known is None else (known.low, known.high),
        reference_accuracy=served.reference.about["accuracy"],
        model_made=None,
    )


def draw(weeks: Sequence[Week], path: Path) -> None:
    """Accuracy of both models week by week, and when a training was started, as a PNG."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10.0, 5.2), layout="constrained")
    axes = figure.subplots()
    place = np.arange(len(weeks))
    lines = (("watched", "watched and trained anew", _BLUE, "o"), ("left_alone", "left alone", _ORANGE, "s"))
    for name, label, color, marker in lines:
        found: list[Interval] = [getattr(week, name) for week in weeks]
        axes.fill_between(
            place, [100 * item.low for item in found], [100 * item.high for item in found], color=color, alpha=0.2, lw=0
        )
        axes.plot(place, [100 * item.estimate for item in found], color=color, marker=marker, label=label)
    _mark(axes, weeks)
    step = max(1, len(weeks) // 12)
    axes.set_xticks(place[::step], [weeks[index].day[5:] for index in place[::step]])
    axes.set(
        xlabel="week that ends on", ylabel="right answers (%)", title="Six months of changing ads", ylim=(None, 102)
    )
    axes.grid(alpha=0.3)
    figure.legend(loc="outside lower center", ncols=3, frameon=False)
    figure.savefig(path, dpi=130, metadata={"Software": None})


def _mark(axes: "Axes", weeks: Sequence[Week]) -> None:
    """Trainings as lines, and months by name."""
    for index, week in enumerate(weeks):
        if week.trained_on:
            axes.axvline(index + 0.5, color=_BLUE, linestyle="--", linewidth=1.2)
        if index == 0 or week.month != weeks[index - 1].month:
            axes.axvline(index - 0.5, color=_GREY, linewidth=0.6)
            axes.annotate(
                week.month,
                (index - 0.4, 0.02),
                xycoords=("data", "axes fraction"),
                fontsize=8,
                color=_GREY,
                rotation=90,
                va="bottom",
            )
    trained = [index for index, week in enumerate(weeks) if week.trained_on]
    if trained:
        axes.plot([], [], color=_BLUE, linestyle="--", label="a training")
