"""The report of a task that answers in text: what a reader needs to judge the model."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jobtuner.chat_metrics import HEADLINES
from jobtuner.evaluate.cells import interval, percent, points, span
from jobtuner.evaluate.report import STANDIN_NOTE, render
from jobtuner.evaluate.tables import Table
from jobtuner.records import ChatAnswer, ChatExample
from jobtuner.statistics import Interval, McNemar

__all__ = ["ChatComparison", "write_chat_report"]

_SHOWN = 12  # examples at the end, the worst first
_MAX_TEXT = 400  # characters of a text or an answer
_PLAIN = {"loss", "words"}
"""Metrics that are no shares."""
_NAMES = {
    "span_f1": "F1 of skills at their exact places",
    "span_precision": "precision of these places",
    "span_recall": "recall of these places",
    "partial_f1": "F1 where any overlap counts",
    "set_f1": "F1 of the different skills of an ad",
    "linked_f1": "F1 of the concepts that skills are linked to",
    "links_unknown": "gold concepts that the skills taxonomy lacks",
    "quoted_from_ad": "quoted phrases that stand in the ad",
    "sound_rouge_l": "ROUGE-L, 0 for an invention or a wrong language",
    "rouge_1": "ROUGE-1",
    "rouge_l": "ROUGE-L",
    "grounded": "letters without any unsupported claim",
    "supported_claims": "claims that ad or facts support",
    "letters_with_invented_employers": "letters with an invented employer",
    "letters_with_invented_degrees": "letters with an invented degree",
    "letters_with_invented_skills": "letters with an invented skill",
    "letters_with_invented_numbers": "letters with an invented number",
    "language": "letters in the wanted language",
    "words": "words an answer",
    "exact_match": "answers that are wholly right",
    "loss": "loss on the right answer (nats a token)",
}
_NOTES = {
    "skills": "An answer quotes phrases; every place of a quoted phrase counts as found.",
    "cover_letter": "Claims are found by rules for employers, degrees, skills and numbers in five languages: 0 "
    "inventions means that no rule found one. Where the references are template letters, the baseline writes in their "
    "very style.",
    "instruct": "ROUGE counts shared words, case folded; it does not know what is true.",
}


@dataclass(frozen=True)
class ChatComparison:
    """Model and baseline on the same test examples."""

    task: str
    examples: Sequence[ChatExample]
    ours: Sequence[ChatAnswer]
    theirs: Sequence[ChatAnswer]
    model: Mapping[str, Any]
    """As `chat_metrics.measure_chats` returns it."""
    baseline: Mapping[str, Any]
    gain: Interval
    test: McNemar
    base: str


def write_chat_report(result: ChatComparison, folder: Path, *, standin: bool) -> None:
    """Write report.html and report.md into the folder."""
    facts = {
        "base": result.base,
        "cards": list(_cards(result)),
        "charts": {},
        "examples": len(result.examples),
        "note": STANDIN_NOTE if standin else "",
        "tables": [_metrics(result), _languages(result), _worst(result)],
        "verdict": _verdict(result),
    }
    render(facts, folder)


def _verdict(result: ChatComparison) -> str:
    gain, name = result.gain, _NAMES[HEADLINES[result.task]]
    told = f"{points(gain.estimate)} points of {name} ({interval(gain)})"
    counts = (
        f"On {result.test.ours_only} examples only the model is wholly right, on {result.test.theirs_only} only the "
        f"baseline (McNemar's exact test: p = {result.test.p_value:.2g})."
    )
    if gain.low > 0:
        return f"The model is better than the baseline: {told}. {counts}"
    if gain.high < 0:
        return f"The model is worse than the baseline: {told}. {counts}"
    return f"These examples show no sure difference between model and baseline: {told}. {counts}"


def _cards(result: ChatComparison) -> Iterator[tuple[str, str, str]]:
    headline = HEADLINES[result.task]
    for name, side in (("model", result.model), ("baseline", result.baseline)):
        ends = span(side[f"{headline}_interval"])
        yield f"{headline}, {name}", f"{percent(side[headline])} %", f"95 % interval {ends}"
    yield "difference", f"{points(result.gain.estimate)} points", interval(result.gain)
    yield "test examples", f"{len(result.examples):,}", f"{len(result.model['per_language'])} languages"


def _metrics(result: ChatComparison) -> Table:
    rows = []
    for name, title in _NAMES.items():
        if name in result.model or name in result.baseline:
            rows.append([title, *(_cell(side, name) for side in (result.model, result.baseline))])
    return Table("Model and baseline", _NOTES[result.task], ["% where nothing else is said", "model", "baseline"], rows)


def _cell(side: Mapping[str, Any], name: str) -> str:
    if name not in side:
        return ""
    low, high = side[f"{name}_interval"]
    if name in _PLAIN:
        return f"{side[name]:.2f} ({low:.2f} to {high:.2f})"
    return f"{percent(side[name])} ({span((low, high))})"


def _languages(result: ChatComparison) -> Table:
    headline = HEADLINES[result.task]
    theirs = result.baseline["per_language"]
    rows = [
        [language, str(ours["n"]), _cell(ours, headline), _cell(theirs[language], headline)]
        for language, ours in result.model["per_language"].items()
    ]
    note = f"{_NAMES[headline]} (%), with 95 % intervals of a bootstrap over near-duplicate clusters."
    return Table("Per language", note, ["language", "examples", "model", "baseline"], rows)


def _worst(result: ChatComparison) -> Table:
    ranked = sorted(
        zip(result.examples, result.ours, result.theirs, strict=True), key=lambda item: (_worth(item[1]), item[0].id)
    )
    rows = [
        [row.language, *(_short(text) for text in (row.text, row.answer, ours.answer, theirs.answer))]
        for row, ours, theirs in ranked[:_SHOWN]
    ]
    columns = ["language", "text", "right answer", "model", "baseline"]
    return Table("The model's worst answers", "The lowest scores first.", columns, rows, frozenset(range(5)))


def _worth(answer: ChatAnswer) -> float:
    scores = answer.scores
    if "rouge_l" in scores:
        return scores["rouge_l"]
    both = scores["found"] + scores["wanted"]
    return 2 * scores["right"] / both if both else 1.0


def _short(text: str) -> str:
    plain = " ".join(text.split())
    return plain if len(plain) <= _MAX_TEXT else plain[:_MAX_TEXT] + " …"
