"""Which skills does an ad ask for? The answer is a JSON list of phrases, quoted from the ad."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from jobtuner.records import Message
from jobtuner.tasks.text import defused

__all__ = ["SkillSpan", "SkillsTask", "occurrences", "quoted"]

_MOST = 64  # skills an answer; a model that repeats itself is cut off there
_STRING = re.compile(r'"(?:[^"\\]|\\.)*"')


@dataclass(frozen=True, slots=True)
class SkillSpan:
    """A skill as it stands in the ad: `ad[start:end] == text`."""

    text: str
    start: int
    """Characters of the ad before it."""
    end: int


class SkillsTask:
    """Ad in any language → skills, verbatim."""

    name = "skills"

    def messages(self, text: str) -> list[Message]:
        """The chat that asks for the skills of one ad."""
        return [
            {
                "role": "system",
                "content": "List the skills in the job ad. Answer with a JSON list of strings, each quoted from the ad "
                "word for word, in the ad's order.",
            },
            {"role": "user", "content": defused(text)},
        ]

    def prompt(self, text: str, facts: Mapping[str, Any]) -> list[Message]:  # noqa: ARG002  # an ad has no facts
        """As `messages`: nothing beside the ad is asked about."""
        return self.messages(text)

    def answer(self, skills: Sequence[str]) -> str:
        """The assistant's right answer: each skill once, in the given order."""
        return json.dumps(list(dict.fromkeys(skills)), ensure_ascii=False)

    def parse(self, answer: str, text: str) -> tuple[SkillSpan, ...]:
        """The skills of an answer that really occur in the ad, each once, in the ad's order.

        Upper and lower case and the white space between words may differ; part of a word is no occurrence. An answer
        that breaks off keeps what it had; what is no list gives no skills, never an error.
        """
        found: dict[tuple[int, int], SkillSpan] = {}
        taken: set[str] = set()
        for skill in quoted(answer):
            key = " ".join(skill.casefold().split())
            if key in taken:
                continue
            taken.add(key)
            free = [span for span in occurrences(skill, text) if not _overlaps(span, found)]
            anywhere = free or list(occurrences(skill, text))
            if anywhere:
                found.setdefault((anywhere[0].start, anywhere[0].end), anywhere[0])
        return tuple(found[place] for place in sorted(found))

    def response_schema(self) -> dict[str, Any]:
        """JSON schema of an answer, for servers with structured outputs."""
        return {"type": "array", "items": {"type": "string"}, "maxItems": _MOST}


def quoted(answer: str) -> list[str]:
    """The strings of the JSON list in an answer; of a broken list those that are whole."""
    start = answer.find("[")
    if start < 0:
        return []
    try:
        value, _ = json.JSONDecoder().raw_decode(answer, start)
    except (ValueError, RecursionError):
        value = list(_whole_strings(answer[start:]))
    return [item for item in value if isinstance(item, str)][:_MOST] if isinstance(value, list) else []


def _whole_strings(text: str) -> Iterator[str]:
    for match in _STRING.finditer(text):
        try:
            yield json.loads(match[0])
        except ValueError:  # an escape that JSON does not know
            continue


def occurrences(skill: str, text: str) -> Iterator[SkillSpan]:
    """Every place of a text where the words of a skill stand in a row, whatever their case; none inside a word."""
    words = skill.split()
    if not words or len(skill) > len(text):
        return
    before = r"(?<!\w)" if words[0][0].isalnum() else ""
    after = r"(?!\w)" if words[-1][-1].isalnum() else ""
    pattern = before + r"\s+".join(re.escape(word) for word in words) + after
    for match in re.finditer(pattern, text, re.IGNORECASE):
        yield SkillSpan(match[0], match.start(), match.end())


def _overlaps(span: SkillSpan, found: Mapping[tuple[int, int], SkillSpan]) -> bool:
    return any(start < span.end and span.start < end for start, end in found)
