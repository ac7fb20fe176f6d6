from typing import Any

import pytest

from jobtuner.chat_metrics import HEADLINES, measure_chats, pair_chats
from jobtuner.chat_scores import score_answers
from jobtuner.errors import DataError
from jobtuner.records import ChatAnswer, ChatExample
from jobtuner.skill_links import SkillConcept, SkillLinker
from jobtuner.tasks import SkillsTask

AD = "Python, SQL and project management. More SQL."
SPANS = [[0, 6], [8, 11], [16, 34], [41, 44]]


def _skills(*answers: str, spans: list[list[int]] = SPANS) -> list[ChatAnswer]:
    rows = [ChatExample(f"r{number}", AD, {"spans": spans}, "", "en", f"c{number}") for number in range(len(answers))]
    return score_answers("skills", rows, answers)


def _metrics(*answers: str, **settings: Any) -> dict[str, Any]:
    return measure_chats("skills", _skills(*answers, **settings), 1)


def test_the_right_answer_is_wholly_right_though_it_names_a_skill_once() -> None:
    found = _metrics(SkillsTask().answer([AD[a:b] for a, b in SPANS]))
    assert all(found[name] == 1.0 for name in ("span_f1", "partial_f1", "set_f1", "quoted_from_ad", "exact_match"))


def test_spans_are_counted_by_place_and_names_by_name() -> None:
    found = _metrics('["Python", "sql", "management", "Excel"]')
    assert found["span_precision"] == pytest.approx(3 / 4)  # Python, both SQL; "management" is half of a skill
    assert found["span_recall"] == pytest.approx(3 / 4)
    assert found["partial_f1"] == 1.0
    assert found["set_f1"] == pytest.approx(2 * 2 / (4 + 3))
    assert found["quoted_from_ad"] == pytest.approx(3 / 4)


@pytest.mark.parametrize(("answer", "spans", "f1"), [("[]", SPANS, 0.0), ("junk", [], 1.0), ('["SQL"]', [], 0.0)])
def test_nothing_wanted_and_nothing_found_is_right(answer: str, spans: list[list[int]], f1: float) -> None:
    found = _metrics(answer, spans=spans)
    assert found["span_f1"] == f1 == found["per_language"]["en"]["span_f1"]


def test_places_add_up_over_ads() -> None:
    found = _metrics('["Python"]', '["Python", "SQL", "project management"]')
    assert found["span_f1"] == pytest.approx(2 * 5 / (5 + 8))
    low, high = found["span_f1_interval"]
    assert low <= found["span_f1"] <= high


APPLICANT = {"name": "Eva Holm", "skills": ["triage"], "language": "en"}
LETTER = "Dear team, I would like to apply for the post and I am looking forward to your answer. Eva Holm"


def _letter(answer: str, **facts: Any) -> dict[str, float]:
    row = ChatExample("r", "Nurse wanted.", {"applicant": {**APPLICANT, **facts}}, LETTER, "en", "c")
    return score_answers("cover_letter", [row], [answer])[0].scores


def test_a_letter_is_worth_its_rouge_unless_it_invents_or_speaks_another_language() -> None:
    assert _letter(LETTER)["sound_rouge_l"] == 1.0
    invented = _letter(LETTER + " I worked at Rigshospitalet and hold a PhD.")
    assert (invented["invented_employers"], invented["invented_degrees"], invented["grounded"]) == (1.0, 1.0, 0.0)
    assert invented["rouge_l"] > 0.7 and invented["sound_rouge_l"] == 0.0
    assert _letter(LETTER, language="de")["language"] == 0.0
    assert _letter(LETTER, language="fi")["language"] == 1.0  # no rule knows Finnish: nothing is held against it
    empty = _letter("")
    assert empty["sound_rouge_l"] == empty["grounded"] == empty["language"] == 0.0


def test_rouge_counts_words_of_every_alphabet() -> None:
    row = ChatExample("r", "q", {}, "Grüße, wählen Sie", "de", "c")
    right, half = (
        score_answers("instruct", [row], [answer])[0].scores for answer in ("grüße wählen sie", "Grüße Sie wählen")
    )
    assert (right["rouge_l"], right["exact"]) == (1.0, 0.0)
    assert half["rouge_1"] == 1.0 > half["rouge_l"] == pytest.approx(2 / 3)


def test_a_pair_is_compared_on_the_same_draws() -> None:
    good, bad = _skills(*['["Python", "SQL"]'] * 30), _skills(*['["Python"]'] * 30)
    gain, test = pair_chats("skills", good, bad, 1)
    assert gain.low == gain.estimate == gain.high > 0.2  # every row gains alike: no draw changes that
    assert test.p_value == 1.0  # none is wholly right
    with pytest.raises(DataError, match="the same examples"):
        pair_chats("skills", good, bad[::-1], 1)


def test_every_task_has_a_headline_that_is_measured() -> None:
    for task, headline in HEADLINES.items():
        facts = {"spans": [], "applicant": APPLICANT}
        rows = score_answers(task, [ChatExample("r", "ad", facts, "a", "en", "c")], ["a"])
        found = measure_chats(task, rows, 1)
        assert found["headline"] == headline and headline in found
    with pytest.raises(DataError, match="no answers"):
        measure_chats("skills", [], 1)


def test_linked_skills_are_compared_by_concept() -> None:
    concepts = [SkillConcept("u1", "Python (computer programming)"), SkillConcept("u2", "SQL", ("structured query",))]
    linker = SkillLinker([*concepts, SkillConcept("u3", "manage projects", ("project management",))])
    row = ChatExample("r", AD, {"spans": SPANS}, "", "en", "c")
    answers = ['["Python", "structured query", "Excel", "cooking"]', "[]"]
    scored = [score_answers("skills", [row], [answer], linker)[0] for answer in answers]
    counts = [tuple(item.scores[f"links_{name}"] for name in ("found", "wanted", "right")) for item in scored]
    assert counts == [(2.0, 3.0, 2.0), (0.0, 3.0, 0.0)]  # cooking and Excel have no concept, and cost nothing
    assert measure_chats("skills", scored[:1], 1)["linked_f1"] == pytest.approx(4 / 5)
    assert "linked_f1" not in _metrics("[]")
