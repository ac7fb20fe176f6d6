"""The built-in generator: short job ads in five languages, from templates and per-occupation phrases.

The phrases live in `templates/occupations/<code>.json`, everything around them in `templates/ads.json`. An ad depends
on the seed, its language, its unit group and its number alone: asking for more ads keeps the earlier ones.
"""

import html
import json
import random
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from html.entities import codepoint2name
from importlib import resources
from typing import Any

from jobtuner.config import GenerateConfig
from jobtuner.records import JobAd

__all__ = ["generate_ads", "generated_count"]

_BORROWED = 0.2  # share of ads in which one phrase comes from a neighbouring unit: real ads overlap too
_BULLETS = ("- ", "• ", "* ", "– ")
_EMOJI = ("🚀", "⭐", "✅", "📣", "💼", "👉", "🔥", "🙌")
_FACTS = {
    "company": "companies",
    "city": "cities",
    "contact": "contacts",
    "salary": "salaries",
    "boilerplate": "boilerplate",
}
_TITLE_SUFFIX = re.compile(r"\s*(\([^)]*\)|[HFM]/[HFM])\s*$")


@dataclass(frozen=True)
class _Unit:
    """The phrases of one unit group in one language."""

    code: str
    titles: Sequence[str]
    tasks: Sequence[str]
    skills: Sequence[str]
    workplaces: Sequence[str]

    def names_itself(self, phrase: str) -> bool:
        """Whether the phrase holds one of the unit's job titles (its core, without "(m/w/d)" and the like)."""
        folded = phrase.casefold()
        return any(_TITLE_SUFFIX.sub("", title).casefold() in folded for title in self.titles)

    def without_titles(self) -> "_Unit":
        """The same unit with only those phrases that do not give the job title away."""
        kept = [[item for item in items if not self.names_itself(item)] for items in self._phrases()]
        return _Unit(self.code, self.titles, *kept)

    def _phrases(self) -> tuple[Sequence[str], Sequence[str], Sequence[str]]:
        return self.tasks, self.skills, self.workplaces


@cache
def _frames() -> dict[str, dict[str, Any]]:
    text = (resources.files("jobtuner.prepare") / "templates" / "ads.json").read_text(encoding="utf-8")
    frames: dict[str, dict[str, Any]] = json.loads(text)
    return frames


@cache
def _units(language: str) -> dict[str, _Unit]:
    folder = resources.files("jobtuner.prepare") / "templates" / "occupations"
    units = {}
    for entry in sorted(folder.iterdir(), key=lambda item: item.name):
        if entry.name.endswith(".json"):
            row = json.loads(entry.read_text(encoding="utf-8"))
            parts = (row[key][language] for key in ("job_titles", "tasks", "skills", "workplaces"))
            units[row["code"]] = _Unit(row["code"], *parts)
    return units


def generated_count(config: GenerateConfig) -> int:
    """Number of ads that `generate_ads` yields."""
    return config.ads_per_unit * sum(len(_units(language)) for language in config.languages)


def generate_ads(config: GenerateConfig, seed: int) -> Iterator[JobAd]:
    """Yield `ads_per_unit` ads for each unit group and language, the same for the same seed.

    The order is by number, then unit, then language, so that any first part of it is balanced.
    """
    for number in range(config.ads_per_unit):
        for code in _units("en"):
            for language in config.languages:
                generator = random.Random(f"{seed}/{language}/{code}/{number}")  # noqa: S311  # no secret is made of it
                text = _write_ad(_units(language)[code], language, config, generator)
                yield JobAd(id=f"{language}-{code}-{number:04d}", text=text, label=code, language=language)


def _write_ad(unit: _Unit, language: str, config: GenerateConfig, generator: random.Random) -> str:
    frames = _frames()[language]
    untitled = generator.random() < config.untitled
    title = generator.choice(unit.titles)
    neighbour = _neighbour(unit, language, generator)
    if untitled:
        source = unit.without_titles()
        intros = [intro for intro in frames["intros"] if "{title}" not in intro]
        headings = frames["open_headings"]
    else:
        source, intros, headings = unit, frames["intros"], frames["headings"]
    tasks = generator.sample(source.tasks, min(generator.choice((2, 2, 3, 3, 4)), len(source.tasks)))
    skills = generator.sample(source.skills, min(generator.choice((1, 2, 2, 3, 4)), len(source.skills)))
    if neighbour and generator.random() < _BORROWED:
        _borrow(tasks, skills, neighbour, unit if untitled else None, generator)
    layout = generator.choice(frames["layouts"])
    slots = _facts(frames, source, generator) | _lists(frames, tasks, skills, generator.choice(_BULLETS))
    slots["title"] = title
    slots["heading"] = generator.choice(_fitting(headings, layout)).format_map(slots)
    noise = _pick_noise(config.noise, generator)
    if noise == "shout":
        slots["heading"] = slots["heading"].upper()
    elif noise == "emoji":
        first, second = generator.sample(_EMOJI, 2)
        slots["heading"] = f"{first} {slots['heading']} {second}"
    slots["intro"] = generator.choice(intros).format_map(slots)
    text = _tidy(layout.format_map(slots))
    if noise == "typos":
        return _with_typos(text, generator)
    return _as_html(text, generator) if noise == "html" else text


def _fitting(headings: Sequence[str], layout: str) -> list[str]:
    """The headings that do not repeat what the layout's first line names itself."""
    first_line = layout.partition("\n")[0]
    taken = [slot for slot in ("{city}", "{company}") if slot in first_line]
    return [heading for heading in headings if not any(slot in heading for slot in taken)]


def _pick_noise(share: float, generator: random.Random) -> str | None:
    return generator.choice(("typos", "html", "shout", "emoji")) if generator.random() < share else None


def _neighbour(unit: _Unit, language: str, generator: random.Random) -> _Unit | None:
    """A unit of the same sub-major group (the first two digits of an ISCO-08 code)."""
    near = [other for code, other in _units(language).items() if code[:2] == unit.code[:2] and code != unit.code]
    return generator.choice(near) if near else None


def _borrow(
    tasks: list[str], skills: list[str], neighbour: _Unit, hidden: _Unit | None, generator: random.Random
) -> None:
    """Replace one task or skill by a neighbour's; one of the unit's own tasks always stays."""
    own, other = generator.choice(((tasks, neighbour.tasks), (skills, neighbour.skills)))
    phrases = [item for item in other if item not in own and not (hidden and hidden.names_itself(item))]
    if phrases:
        own[generator.randrange(len(own))] = generator.choice(phrases)


def _facts(frames: Mapping[str, Any], unit: _Unit, generator: random.Random) -> dict[str, str]:
    slots: dict[str, str] = {slot: generator.choice(frames[key]) for slot, key in _FACTS.items()}
    first, second = generator.sample(frames["benefits"], 2)
    workplace = generator.choice(unit.workplaces)
    return slots | {"benefit": first, "benefits": _join([first, second], frames["and"]), "workplace": workplace}


def _lists(frames: Mapping[str, Any], tasks: Sequence[str], skills: Sequence[str], bullet: str) -> dict[str, str]:
    word = frames["and"]
    return {
        "tasks": _join(tasks, word),
        "tasks_semi": frames["semicolon"].join(tasks),
        "tasks_list": "\n".join(bullet + _capital(item) for item in tasks),
        "skills": _join(skills, word),
        "skills_list": "\n".join(bullet + _capital(item) for item in skills),
    }


def _join(items: Sequence[str], word: str) -> str:
    """Join with commas and a final "and"; Spanish "y" turns into "e" before the sound i."""
    if len(items) == 1:
        return items[0]
    if word == "y" and re.match(r"(?i)h?[ií](?!e)", items[-1]):
        word = "e"
    return f"{', '.join(items[:-1])} {word} {items[-1]}"


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _tidy(text: str) -> str:
    """Capital letters at the start of lines and sentences, and no doubled full stop."""
    text = re.sub(r"\.\.(?!\.)", ".", text)
    return re.sub(r"(?m)(^|[.?!] )(\w)", lambda match: match[1] + match[2].upper(), text)


def _with_typos(text: str, generator: random.Random) -> str:
    """One to four words with two neighbouring letters swapped or one letter dropped."""
    words = [match for match in re.finditer(r"\S+", text) if len(match[0]) >= 5 and match[0].isalpha()]
    chosen = generator.sample(words, min(generator.randint(1, 4), len(words)))
    for match in sorted(chosen, key=lambda item: item.start(), reverse=True):
        word, place = match[0], generator.randrange(1, len(match[0]) - 1)
        if generator.random() < 0.5:
            word = word[:place] + word[place + 1] + word[place] + word[place + 2 :]
        else:
            word = word[:place] + word[place + 1 :]
        text = text[: match.start()] + word + text[match.end() :]
    return text


def _as_html(text: str, generator: random.Random) -> str:
    """The ad as a web page would hold it: tags and character references."""
    escaped = html.escape(text, quote=False)
    if generator.random() < 0.5:
        escaped = "".join(f"&{codepoint2name[ord(char)]};" if ord(char) in _NAMED else char for char in escaped)
    heading, *lines = escaped.split("\n")
    body = []
    for line in lines:
        item = next((line.removeprefix(bullet) for bullet in _BULLETS if line.startswith(bullet)), None)
        if item is not None:
            body.append(f"<li>{item}</li>")
        elif line:
            body.append(f"<p>{line}</p>" if generator.random() < 0.7 else f"{line}<br/>")
    return f"<h2>{heading}</h2>\n" + "\n".join(body)


_NAMED = frozenset(code for code in codepoint2name if code > 127)
