"""Metrics of the tasks that answer in text, with bootstrap intervals over near-duplicate clusters.

task           headline        what it is
skills         span_f1         F1 of exact places, all ads together
cover_letter   sound_rouge_l   ROUGE-L against the reference; 0 for an invention or a wrong language
instruct       rouge_l         ROUGE-L against the right answer
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from jobtuner.errors import DataError
from jobtuner.records import ChatAnswer
from jobtuner.statistics import Counts, Interval, McNemar, Metric, bootstrap, mcnemar, mean, ratio

__all__ = ["HEADLINES", "measure_chats", "pair_chats"]

HEADLINES = {"skills": "span_f1", "cover_letter": "sound_rouge_l", "instruct": "rouge_l"}
"""Task to the metric that the gate judges; larger is better in all."""

_MEANS = {
    "cover_letter": ("rouge_1", "rouge_l", "sound_rouge_l", "grounded", "language", "words"),
    "instruct": ("rouge_1", "rouge_l", "words"),
    "skills": (),
}


def measure_chats(task: str, answers: Sequence[ChatAnswer], seed: int) -> dict[str, Any]:
    """The metrics of one model: n, each metric with `<name>_interval`, `headline`, and per_language with n, the
    headline metric and its interval.

    Raises:
        DataError: no answers.
    """
    if not answers:
        raise DataError("There are no answers to measure.")
    metrics, clusters = _metrics(task, answers), [row.cluster for row in answers]
    found = bootstrap(metrics, len(answers), seed=seed, groups=clusters)
    headline = HEADLINES[task]
    document: dict[str, Any] = {"n": len(answers), "headline": headline}
    for name, interval in found.items():
        document |= {name: interval.estimate, f"{name}_interval": [interval.low, interval.high]}
    document["per_language"] = {}
    for language in sorted({row.language for row in answers}):
        own = [row for row in answers if row.language == language]
        told = bootstrap(
            {headline: _metrics(task, own)[headline]}, len(own), seed=seed, groups=[row.cluster for row in own]
        )[headline]
        document["per_language"][language] = {
            "n": len(own),
            headline: told.estimate,
            f"{headline}_interval": [told.low, told.high],
        }
    return document


def pair_chats(
    task: str, ours: Sequence[ChatAnswer], theirs: Sequence[ChatAnswer], seed: int
) -> tuple[Interval, McNemar]:
    """Gain of `ours` over `theirs` in the task's headline metric, and McNemar's test on wholly right answers.

    Raises:
        DataError: the two do not answer the same examples in the same order, or none.
    """
    if [row.id for row in ours] != [row.id for row in theirs] or not ours:
        raise DataError("A paired comparison needs answers of both models to the same examples, in the same order.")
    headline = HEADLINES[task]
    mine, reference = _metrics(task, ours)[headline], _metrics(task, theirs)[headline]

    def gain(counts: Counts) -> Any:
        return mine(counts) - reference(counts)

    clusters = [row.cluster for row in ours]
    found = bootstrap({"gain": gain}, len(ours), seed=seed, groups=clusters)["gain"]
    right = [[str(row.scores["exact"] > 0) for row in side] for side in (ours, theirs)]
    return found, mcnemar([str(True)] * len(ours), *right)


def _metrics(task: str, answers: Sequence[ChatAnswer]) -> dict[str, Metric]:
    def column(name: str) -> Any:
        return np.array([row.scores[name] for row in answers])

    metrics: dict[str, Metric] = {name: mean(column(name)) for name in _MEANS[task]}
    if task == "skills":
        metrics |= _skill_metrics(column)
        if all("links_found" in row.scores for row in answers):
            links = (column(f"links_{name}") for name in ("right", "found", "wanted"))
            metrics["linked_f1"] = _linked_f1(*links)
        if all("links_given" in row.scores for row in answers):  # gold links: those that the taxonomy does not hold
            metrics["links_unknown"] = ratio(column("links_unknown"), column("links_given"))
    if task == "cover_letter":
        metrics["supported_claims"] = ratio(column("supported"), column("claims"))
        for kind in ("employers", "degrees", "skills", "numbers"):
            metrics[f"letters_with_invented_{kind}"] = mean(column(f"invented_{kind}") > 0)
    metrics["exact_match"] = mean(column("exact"))
    if all("loss" in row.scores for row in answers):
        metrics["loss"] = ratio(column("loss"), column("tokens"))
    empty = np.ones((1, len(answers)))
    return {name: metric for name, metric in metrics.items() if np.isfinite(metric(empty)).all()}


def _skill_metrics(column: Any) -> dict[str, Metric]:
    found, wanted = column("found"), column("wanted")
    touched = column("found_touching") + column("wanted_touched")
    return {
        "span_f1": _f1(2 * column("right"), found + wanted),
        "span_precision": ratio(column("right"), found),
        "span_recall": ratio(column("right"), wanted),
        "partial_f1": _f1(touched, found + wanted),
        "set_f1": _f1(2 * column("names_right"), column("names_found") + column("names_wanted")),
        "quoted_from_ad": ratio(column("quoted_true"), column("quoted")),
    }


def _linked_f1(right: Any, found: Any, wanted: Any) -> Metric:
    return _f1(2 * right, found + wanted)


def _f1(shared: Any, both: Any) -> Metric:
    """F1 of counts a row; 1 where nothing was wanted and nothing found."""
    plain = ratio(shared, both)

    def metric(counts: Counts) -> Any:
        return np.nan_to_num(plain(counts), nan=1.0)

    return metric
