"""What one answer in text is worth: numbers that metrics add up.

Skills are compared by their places in the ad. An answer quotes phrases, so every occurrence of a quoted phrase counts
as found, and every annotated place as wanted.
"""

import re
from collections import Counter
from collections.abc import Callable, Sequence
from functools import cache, partial
from typing import TYPE_CHECKING

from jobtuner.display import guess_language
from jobtuner.records import UNKNOWN_LANGUAGE, ChatAnswer, ChatExample
from jobtuner.skill_links import SkillLinker
from jobtuner.tasks import Applicant, CoverLetterTask, InstructTask, SkillsTask
from jobtuner.tasks.cover_letter import LANGUAGES
from jobtuner.tasks.skills import occurrences, quoted

if TYPE_CHECKING:
    from rouge_score.rouge_scorer import RougeScorer

__all__ = ["score_answers"]

_Span = tuple[int, int]


def score_answers(
    task: str, examples: Sequence[ChatExample], answers: Sequence[str], linker: SkillLinker | None = None
) -> list[ChatAnswer]:
    """Score one answer an example, in their order.

    Args:
        task: name of a task that answers in text.
        examples: with their right answers.
        answers: what a model wrote.
        linker: with the task skills, answered skills are linked by it, and the concepts compared with those that the
            example's facts name ("links"); where they name none, with those of the right skills, linked by it too.
    """
    scorers: dict[str, Callable[[ChatExample, str], dict[str, float]]] = {
        "skills": partial(_skills, linker=linker),
        "cover_letter": _letter,
        "instruct": _instruct,
    }
    score = scorers[task]
    return [
        ChatAnswer(row.id, row.language, row.cluster, answer, score(row, answer))
        for row, answer in zip(examples, answers, strict=True)
    ]


def _skills(row: ChatExample, answer: str, linker: SkillLinker | None) -> dict[str, float]:
    """Counts of places and of different skills: found, wanted, both; for partial matches any overlap counts."""
    gold = {(int(a), int(b)) for a, b in row.facts["spans"]}
    skills = quoted(answer)
    found = _places([span.text for span in SkillsTask().parse(answer, row.text)], row.text)
    wanted_names = {_folded(row.text[a:b]) for a, b in gold}
    found_names = {_folded(skill) for skill in skills}
    return {
        "found": float(len(found)),
        "wanted": float(len(gold)),
        "right": float(len(found & gold)),
        "found_touching": float(sum(_touches(place, gold) for place in found)),
        "wanted_touched": float(sum(_touches(place, found) for place in gold)),
        "names_found": float(len(found_names)),
        "names_wanted": float(len(wanted_names)),
        "names_right": float(len(found_names & wanted_names)),
        "quoted": float(len(skills)),
        "quoted_true": float(sum(any(occurrences(skill, row.text)) for skill in skills)),
        "exact": float(found == gold),
        **({} if linker is None else _linked(row.facts.get("links"), wanted_names, found_names, linker)),
    }


def _linked(gold: Sequence[str] | None, wanted: set[str], found: set[str], linker: SkillLinker) -> dict[str, float]:
    """Counts of the concepts that the phrases are linked to; a phrase without a link counts for nothing.

    Args:
        gold: the right concepts, by id or name; None: those that the linker finds for the right phrases.
        wanted: the right phrases.
        found: the answered ones.
        linker: finds concepts.
    """
    answered = {link.id for link in linker.link(sorted(found)) if link}
    known = [linker.concept(given) for given in gold or ()]
    right = {link.id for link in linker.link(sorted(wanted)) if link} if gold is None else {*known} - {None}
    told = {} if gold is None else {"links_given": float(len(known)), "links_unknown": float(known.count(None))}
    return {
        **told,
        "links_found": float(len(answered)),
        "links_wanted": float(len(right)),
        "links_right": float(len(answered & right)),
    }


def _places(skills: Sequence[str], text: str) -> set[_Span]:
    """Every place of every skill; one inside another is left out, as annotations have it."""
    everywhere = {(span.start, span.end) for skill in skills for span in occurrences(skill, text)}
    return {
        place
        for place in everywhere
        if not any(other != place and other[0] <= place[0] and place[1] <= other[1] for other in everywhere)
    }


def _touches(place: _Span, others: set[_Span]) -> bool:
    return any(place[0] < end and start < place[1] for start, end in others)


def _folded(text: str) -> str:
    return " ".join(text.casefold().split())


def _letter(row: ChatExample, answer: str) -> dict[str, float]:
    task, applicant = CoverLetterTask(), Applicant.from_json(row.facts["applicant"])
    letter = task.parse(answer)
    wanted = applicant.language or row.language
    found = task.grounding(letter, row.text, applicant, wanted if wanted in LANGUAGES else None)
    invented = {kind: float(found.invented(kind)) for kind in ("employer", "degree", "skill", "number")}
    speaks = wanted == UNKNOWN_LANGUAGE or wanted not in LANGUAGES or guess_language(letter) == wanted
    rouge = _rouge(row.answer, letter)
    sound = bool(letter) and speaks and not any(invented.values())
    return {
        "claims": float(len(found.claims)),
        "supported": float(sum(claim.supported for claim in found.claims)),
        **{f"invented_{kind}s": count for kind, count in invented.items()},
        "grounded": float(bool(letter) and found.grounded),
        "language": float(bool(letter) and speaks),
        "words": float(len(letter.split())),
        "reference_words": float(len(row.answer.split())),
        **rouge,
        "sound_rouge_l": rouge["rouge_l"] if sound else 0.0,
        "exact": float(letter == row.answer),
    }


def _instruct(row: ChatExample, answer: str) -> dict[str, float]:
    text = InstructTask().parse(answer)
    exact = float(_folded(text) == _folded(row.answer))
    return {**_rouge(row.answer, text), "words": float(len(text.split())), "exact": exact}


class _Words:
    """ROUGE's own tokenizer drops every letter beyond a to z."""

    def tokenize(self, text: str) -> list[str]:
        return re.findall(r"\w+", text.casefold())


@cache
def _scorer() -> "RougeScorer":
    from rouge_score.rouge_scorer import RougeScorer

    return RougeScorer(["rouge1", "rougeL"], tokenizer=_Words())


def _rouge(reference: str, text: str) -> dict[str, float]:
    """F-measures of single words and of the longest common subsequence (Lin 2004)."""
    if Counter(reference.split()) == Counter() or not text:
        return {"rouge_1": 0.0, "rouge_l": 0.0}
    found = _scorer().score(reference, text)
    return {"rouge_1": float(found["rouge1"].fmeasure), "rouge_l": float(found["rougeL"].fmeasure)}
