import json
from importlib import resources
from typing import Any

import pytest

from jobtuner.letters import VARIANTS, known_language, write_letter
from jobtuner.tasks import Applicant, CoverLetterTask
from jobtuner.tasks.cover_letter import LANGUAGES

PHRASES = json.loads((resources.files("jobtuner.letters") / "phrases.json").read_text(encoding="utf-8"))
FULL = Applicant(
    "Eva Holm", "Nurse", "Nordlys", ("triage", "care"), ("I like nights",), ("5 years as nurse at Byens Hospital",)
)


def test_every_language_has_every_sentence_in_every_wording() -> None:
    assert set(PHRASES) == set(LANGUAGES)
    for language, phrases in PHRASES.items():
        assert set(phrases) == set(PHRASES["en"]), language
        assert all(len(item) == len(set(item)) == VARIANTS for key, item in phrases.items() if key != "and"), language


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("applicant", [FULL, Applicant("Eva Holm"), Applicant("Eva Holm", role="Nurse")])
def test_no_wording_says_more_than_the_facts(language: str, applicant: Applicant) -> None:
    letters = {write_letter(applicant, language, variant) for variant in range(VARIANTS**6)}
    for letter in letters:
        assert CoverLetterTask().grounding(letter, "", applicant).grounded, letter
        assert "{" not in letter and letter.endswith("\nEva Holm")
        assert all(fact in letter for fact in applicant.statements() if fact)
    assert len(letters) >= VARIANTS**3


def test_facts_with_braces_are_text() -> None:
    assert "{role}" in write_letter(Applicant("A", role="{role}"), "en")


@pytest.mark.parametrize(("asked", "written"), [("de", "de"), ("und", "en"), ("fi", "en")])
def test_other_languages_are_written_in_english(asked: str, written: Any) -> None:
    assert known_language(asked) == written
    assert write_letter(FULL, asked) == write_letter(FULL, written)
