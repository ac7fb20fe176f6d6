"""A cover letter from facts alone, by template, in five languages. What no fact says, no letter says."""

import json
from collections.abc import Sequence
from functools import cache
from importlib import resources
from typing import Any

from jobtuner.tasks.cover_letter import LANGUAGES, Applicant

__all__ = ["VARIANTS", "known_language", "write_letter"]

VARIANTS = 3
"""Wordings of each sentence; a test counts them in every language."""


def known_language(language: str) -> str:
    """The language itself where there are templates for it, else English."""
    return language if language in LANGUAGES else "en"


def write_letter(applicant: Applicant, language: str, variant: int = 0) -> str:
    """The letter; the same for the same arguments.

    Args:
        applicant: the facts; sentences about facts that are missing are left out.
        language: ISO 639-1 code; English where there are no templates for it.
        variant: which of the wordings is taken: its digits in base `VARIANTS` choose those of the sentences in turn.
    """
    phrases = _phrases()[known_language(language)]
    word = phrases["and"]
    facts = {
        "name": applicant.name,
        "role": applicant.role,
        "company": applicant.company,
        "skills": _join(applicant.skills, word),
        "experience": _join(applicant.experience, word),
        "reasons": _join(applicant.reasons, word),
    }

    def say(key: str) -> str:
        nonlocal variant
        variant, place = divmod(variant, VARIANTS)
        return str(phrases[key][place]).format_map(facts)

    lines = [say("greeting_to" if applicant.company else "greeting"), ""]
    opening = ("opening_role_company" if applicant.company else "opening_role") if applicant.role else "opening"
    body = [say(opening)]
    body += [say(key) for key in ("experience", "skills", "reasons") if facts[key]]
    return "\n".join([*lines, " ".join(body), "", say("closing"), applicant.name])


def _join(items: Sequence[str], word: str) -> str:
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} {word} {items[-1]}" if items else ""


@cache
def _phrases() -> dict[str, dict[str, Any]]:
    text = (resources.files("jobtuner.letters") / "phrases.json").read_text(encoding="utf-8")
    phrases: dict[str, dict[str, Any]] = json.loads(text)
    return phrases
