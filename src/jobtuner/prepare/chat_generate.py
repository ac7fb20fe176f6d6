"""Generated examples of the tasks that answer in text: made of generated ads and of what stands in them.

The generator's phrases are known, so the skills of an ad are the phrases of its occupation and of that one's neighbours
that occur in it, whatever typos the generator put into them.
"""

import json
import random
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from importlib import resources
from typing import Any

from jobtuner.clean import clean_text
from jobtuner.config import Config
from jobtuner.letters import VARIANTS, write_letter
from jobtuner.prepare.chat_rows import ChatRow, Span, outermost
from jobtuner.prepare.synthesize import generate_ads
from jobtuner.records import JobAd
from jobtuner.tasks import Applicant

__all__ = ["generate_chats", "skills_in"]

_SENTENCES = 6  # of a letter; VARIANTS to the power of it are its wordings
_LONGEST_TYPO = 1  # letters by which a word with a typo may be shorter
_WORD = re.compile(r"[\w'’#+-]+")


def generate_chats(config: Config) -> Iterator[ChatRow]:
    """Yield one example an ad of the generator (`data.generate`), the same for the same seed."""
    makers = {"skills": _skills, "cover_letter": _letter, "instruct": _instruct}
    for ad in generate_ads(config.data.generate, config.seed):
        text = clean_text(ad.text, config.clean).text
        generator = random.Random(f"{config.seed}/{config.task}/{ad.id}")  # noqa: S311  # examples, no secrets
        yield makers[config.task](ad, text, generator)


def skills_in(text: str, code: str, language: str) -> list[Span]:
    """Where the skills of a generated ad stand; a word may miss a letter, or have two of them swapped."""
    words = [(match[0].casefold(), match.span()) for match in _WORD.finditer(text)]
    phrases = _phrases(code[:2], language)
    found: set[Span] = set()
    for at, (first, (start, _)) in enumerate(words):
        for wanted in phrases.get(first[0], ()):
            there = words[at : at + len(wanted)]
            if len(there) == len(wanted) and all(_same_word(a, b) for a, (b, _) in zip(wanted, there, strict=True)):
                found.add((start, there[-1][1][1]))
    return outermost(found)


@cache
def _phrases(group: str, language: str) -> dict[str, list[tuple[str, ...]]]:
    """The words of every skill of a sub-major group's units, by first letter: a typo never changes that."""
    phrases: dict[str, list[tuple[str, ...]]] = {}
    near = [unit for code, unit in _units().items() if code.startswith(group)]
    for phrase in sorted({skill.casefold() for unit in near for skill in unit["skills"][language]}):
        phrases.setdefault(phrase[0], []).append(tuple(_WORD.findall(phrase)))
    return phrases


def _same_word(wanted: str, found: str) -> bool:
    """Equal, or as the generator's typos make it: a letter less, or two neighbouring ones swapped."""
    if wanted == found:
        return True
    if len(wanted) < 5 or not 0 <= len(wanted) - len(found) <= _LONGEST_TYPO:
        return False
    same = next((place for place, (a, b) in enumerate(zip(wanted, found, strict=False)) if a != b), len(found))
    if len(wanted) > len(found):
        return wanted[same + 1 :] == found[same:]
    swapped = wanted[:same] + wanted[same + 1 : same + 2] + wanted[same : same + 1] + wanted[same + 2 :]
    return swapped == found


def _skills(ad: JobAd, text: str, _: random.Random) -> ChatRow:
    spans = tuple(skills_in(text, ad.label or "", ad.language))
    return ChatRow(ad.id, text, {}, skills=tuple(text[a:b] for a, b in spans), spans=spans, language=ad.language)


def _letter(ad: JobAd, text: str, generator: random.Random) -> ChatRow:
    applicant = _applicant(ad, text, generator)
    letter = write_letter(applicant, ad.language, generator.randrange(VARIANTS**_SENTENCES))
    return ChatRow(ad.id, text, {"applicant": applicant.to_json()}, letter, language=ad.language)


def _applicant(ad: JobAd, text: str, generator: random.Random) -> Applicant:
    """Facts that fit the ad: some of its skills, one that it does not ask for, and a past."""
    language = ad.language
    unit, life = _units()[ad.label or ""], _lives()[language]
    asked = [text[a:b] for a, b in skills_in(text, ad.label or "", language)]
    skills = [*generator.sample(asked, min(2, len(asked))), generator.choice(unit["skills"][language])]
    years, employer = generator.randint(2, 19), generator.choice(life["employers"])
    title = _plain(generator.choice(unit["job_titles"][language]))
    past = [generator.choice(life["experience"]).format(years=years, title=title, employer=employer)]
    if generator.random() < 0.3:
        past.append(generator.choice(life["degrees"]))
    return Applicant(
        name=f"{generator.choice(life['first_names'])} {generator.choice(life['last_names'])}",
        role=_named(text, unit["job_titles"][language]) or title,
        company=_named(text, _frames()[language]["companies"]),
        skills=tuple(dict.fromkeys(skill.casefold() if skill.isupper() else skill for skill in skills)),
        reasons=tuple(generator.sample(life["reasons"], generator.randint(0, 1))),
        experience=tuple(past),
        language=language,
    )


def _instruct(ad: JobAd, text: str, generator: random.Random) -> ChatRow:
    """A question about the ad whose answer is known."""
    language = ad.language
    asks = _lives()[language]["questions"]
    skills = [text[a:b] for a, b in skills_in(text, ad.label or "", language)]
    answers = {
        "skills": "\n".join(f"- {skill}" for skill in dict.fromkeys(skills)),
        "company": _named(text, _frames()[language]["companies"]),
        "city": _named(text, _frames()[language]["cities"]),
        "title": _named(text, [_plain(title) for title in _units()[ad.label or ""]["job_titles"][language]]),
        "language": asks["language"][1],
    }
    kind = generator.choice([name for name, answer in answers.items() if answer])
    return ChatRow(ad.id, f"{asks[kind][0]}\n\n{text}", {}, answers[kind], language=language)


def _named(text: str, names: Sequence[str]) -> str:
    """The first of the names that stands in the text; empty: none."""
    return next((name for name in sorted(names, key=lambda name: (-len(name), name)) if name in text), "")


def _plain(title: str) -> str:
    return re.sub(r"\s*(\([^)]*\)|[HFM]/[HFM])", "", title).strip()


@cache
def _units() -> dict[str, Mapping[str, Any]]:
    folder = resources.files("jobtuner.prepare") / "templates" / "occupations"
    rows = (json.loads(entry.read_text(encoding="utf-8")) for entry in folder.iterdir() if entry.name.endswith(".json"))
    return {row["code"]: row for row in sorted(rows, key=lambda row: str(row["code"]))}


@cache
def _frames() -> dict[str, dict[str, Any]]:
    return _templates("ads.json")


@cache
def _lives() -> dict[str, dict[str, Any]]:
    return _templates("applicants.json")


def _templates(name: str) -> dict[str, dict[str, Any]]:
    text = (resources.files("jobtuner.prepare") / "templates" / name).read_text(encoding="utf-8")
    templates: dict[str, dict[str, Any]] = json.loads(text)
    return templates
