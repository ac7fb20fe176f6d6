from pathlib import Path

import pytest

from jobtuner.errors import DataError, ModelError
from jobtuner.records import ChatExample
from jobtuner.rivals import fit_rival, load_rival
from jobtuner.rivals.tagger import SkillTagger

SKILLS = ["wound care", "night shifts", "payroll accounting", "Excel"]
TEXTS = [
    f"{start} {skill} {end}" for skill in SKILLS for start in ("We ask for", "You bring") for end in ("here.", "!")
]


def _spans(text: str) -> list[tuple[int, int]]:
    return [(text.index(skill), text.index(skill) + len(skill)) for skill in SKILLS if skill in text]


@pytest.fixture(scope="module")
def tagger() -> SkillTagger:
    return SkillTagger.fit(TEXTS, [_spans(text) for text in TEXTS], epochs=20)


def test_the_tagger_finds_what_it_learnt_and_whole_phrases_in_new_text(tagger: SkillTagger) -> None:
    assert [tagger.spans(text) for text in TEXTS] == [_spans(text) for text in TEXTS]
    text = "Today we ask for payroll accounting ."
    assert [text[a:b] for a, b in tagger.spans(text)] == ["payroll accounting"]
    assert tagger.spans("") == [] == tagger.spans("   ")


def test_a_stored_tagger_answers_as_before(tagger: SkillTagger, tmp_path: Path) -> None:
    tagger.save(tmp_path)
    assert [SkillTagger.load(tmp_path).spans(text) for text in TEXTS] == [tagger.spans(text) for text in TEXTS]
    assert (tmp_path / "weights.safetensors").stat().st_size < 200_000


def test_no_run_of_words_starts_inside_a_skill(tagger: SkillTagger) -> None:
    """I never follows O: the words of a tag sequence are whole skills."""
    assert all(a < b for text in TEXTS for a, b in tagger.spans(text[::-1]))
    assert tagger._best(tagger._bias[None, :] + [[0.0, -50.0, 50.0]]) != [2]  # type: ignore[arg-type]


def test_texts_without_skills_teach_nothing() -> None:
    with pytest.raises(DataError, match="nothing to learn"):
        SkillTagger.fit(["a b c"], [[]])


def test_a_folder_without_a_tagger_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="holds no skill tagger"):
        SkillTagger.load(tmp_path)


def _example(task: str, number: int) -> ChatExample:
    text = TEXTS[number]
    facts = {"spans": [list(span) for span in _spans(text)]} if task == "skills" else {}
    if task == "cover_letter":
        facts = {"applicant": {"name": f"A{number}", "skills": [SKILLS[0]], "language": "de"}}  # type: ignore[dict-item]
    return ChatExample(f"r{number}", text, facts, f"answer {number}", "en", f"c{number}")


@pytest.mark.parametrize("task", ["skills", "cover_letter", "instruct"])
def test_each_task_has_a_rival_that_survives_its_folder(task: str, tmp_path: Path) -> None:
    rows = [_example(task, number) for number in range(len(TEXTS))]
    rival = fit_rival(task, rows)
    rival.save(tmp_path)
    answers = rival.answers(rows[:5])
    assert load_rival(task, tmp_path).answers(rows[:5]) == answers
    if task == "instruct":
        assert answers == [row.answer for row in rows[:5]]
    if task == "cover_letter":
        assert all("A1" in answer and "Sehr geehrte" in answer for answer in answers[1:2])
    other = "instruct" if task == "skills" else "skills"
    with pytest.raises(ModelError, match="holds the baseline"):
        load_rival(other, tmp_path)
