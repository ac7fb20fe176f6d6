"""Ad and applicant facts → a cover letter in the ad's language that says nothing else than these."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Self

from jobtuner.errors import DataError
from jobtuner.records import Message
from jobtuner.tasks.grounding import Grounding, ground

__all__ = ["LANGUAGES", "Applicant", "CoverLetterTask", "instruction"]

LANGUAGES = {"da": "Danish", "de": "German", "en": "English", "es": "Spanish", "fr": "French"}
"""Languages that a letter may be asked for by name; others are asked for as "the ad's language"."""

_LONGEST, _MOST = 300, 20  # characters of a fact, and facts of a kind: a letter has room for no more


@dataclass(frozen=True, slots=True)
class Applicant:
    """What a letter may say about the person who applies."""

    name: str
    role: str = ""
    """The job applied for, as the ad calls it; empty: the letter takes it from the ad."""
    company: str = ""
    """The employer written to."""
    skills: tuple[str, ...] = ()
    reasons: tuple[str, ...] = ()
    """Why this job, in the applicant's words."""
    experience: tuple[str, ...] = ()
    """Earlier posts and degrees, in the applicant's words."""
    language: str = ""
    """ISO 639-1 code of the letter; empty: the ad's own language."""

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Read facts from JSON values: texts, and lists of texts.

        Raises:
            DataError: no name, an unknown key, a value of another type, or one that is too long; names the first.
        """
        kinds = {item.name: item.type for item in fields(cls)}
        unknown = sorted(set(data) - set(kinds))
        if unknown:
            raise DataError(f"The applicant has no fact '{unknown[0]}'; accepted are {', '.join(kinds)}.")
        values: dict[str, Any] = {key: _fact(key, value, kinds[key] is not str) for key, value in data.items()}
        if not values.get("name"):
            raise DataError("The applicant has no name; a letter must be signed.")
        return cls(**values)

    def to_json(self) -> dict[str, Any]:
        """The facts that there are, as JSON values."""
        return {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(self).items() if value}

    def statements(self) -> list[str]:
        """Every fact as text."""
        return [self.name, self.role, self.company, *self.skills, *self.reasons, *self.experience]


def _fact(key: str, value: Any, many: bool) -> str | tuple[str, ...]:
    texts = value if many and isinstance(value, list | tuple) else [value]
    for text in texts:
        if not isinstance(text, str):
            wanted = "a list of texts" if many else "a text"
            raise DataError(f"The applicant's '{key}' holds a {type(text).__name__}; {wanted} is needed.")
        if len(text) > _LONGEST:
            raise DataError(f"The applicant's '{key}' has {len(text)} characters; up to {_LONGEST} are accepted.")
    if len(texts) > _MOST:
        raise DataError(f"The applicant's '{key}' has {len(texts)} entries; up to {_MOST} are accepted.")
    stripped = tuple(text.strip() for text in texts if text.strip())
    return stripped if many else "".join(stripped)


class CoverLetterTask:
    """Ad and facts → letter."""

    name = "cover_letter"

    def messages(self, ad_text: str, applicant: Applicant, system: str | None = None) -> list[Message]:
        """The chat that asks for a letter.

        Ad and facts are values of one JSON object in which "<" is written as an escape: no text of theirs can end the
        turn, or pass for an instruction outside of it.

        Args:
            ad_text: the ad.
            applicant: the facts.
            system: another instruction in place of the task's own.
        """
        data = {"applicant": applicant.to_json(), "ad": ad_text}
        written = json.dumps(data, ensure_ascii=False).replace("<", "\\u003c")
        return [
            {"role": "system", "content": instruction(applicant.language) if system is None else system},
            {"role": "user", "content": written},
        ]

    def prompt(self, text: str, facts: Mapping[str, Any]) -> list[Message]:
        """The chat about an ad and `facts["applicant"]`."""
        return self.messages(text, Applicant.from_json(facts["applicant"]))

    def answer(self, letter: str) -> str:
        """The assistant's right answer."""
        return letter.strip()

    def parse(self, answer: str) -> str:
        """The letter in an answer, without the code fence that some models put around it."""
        text = answer.strip()
        if text.startswith("```"):
            text = text.partition("\n")[2].removesuffix("```")
        return text.strip()

    def grounding(self, letter: str, ad_text: str, applicant: Applicant, language: str | None = None) -> Grounding:
        """Trace each claim of a letter to the ad or the facts.

        Args:
            letter: what was written.
            ad_text: the ad.
            applicant: the facts.
            language: ISO 639-1 code of the letter, which narrows the words that are looked for; None: all of them.
        """
        return ground(letter, ad_text, applicant.statements(), language)


def instruction(language: str) -> str:
    """The task's own system message, for a letter in a language (ISO 639-1; any other text: the ad's)."""
    named = LANGUAGES.get(language, "the ad's language")
    return (
        f"Write a short cover letter in {named} for the applicant and the job ad in the JSON. State only what the "
        "applicant's facts and the ad say: no other employer, degree, skill or number."
    )
