"""The generator: short job ads from templates and per-occupation phrases (`phrases`), built in for five languages.

An ad depends on the seed, its language, its occupation and its number alone: more ads keep the earlier ones.
"""

import html
import random
import re
from collections.abc import Iterator, Mapping, Sequence
from html.entities import codepoint2name
from typing import Any

from jobtuner.config import GenerateConfig
from jobtuner.prepare.phrases import Phrases, Unit, load_phrases
from jobtuner.records import JobAd

__all__ = ["generate_ad", "generate_ads", "generated_count"]

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


def generated_count(config: GenerateConfig) -> int:
    """Number of ads that `generate_ads` yields.

    Raises:
        DataError: the templates cannot be used, or have no phrases in one of the languages.
    """
    phrases = load_phrases(config.templates)
    phrases.check(config.languages)
    return config.ads_per_unit * sum(len(phrases.units[language]) for language in config.languages)


def generate_ads(config: GenerateConfig, seed: int) -> Iterator[JobAd]:
    """Yield `ads_per_unit` ads for each occupation and language, the same for the same seed.

    The order is by number, then occupation, then language, so that any first part of it is balanced.

    Raises:
        DataError: see `generated_count`.
    """
    phrases = load_phrases(config.templates)
    phrases.check(config.languages)
    for number in range(config.ads_per_unit):
        for code in phrases.taxonomy.occupations:
            for language in config.languages:
                if code in phrases.units[language]:
                    yield generate_ad(config, seed, code, language, number)


def generate_ad(config: GenerateConfig, seed: int | str, code: str, language: str, number: int) -> JobAd:
    """One ad: it depends on nothing but these arguments."""
    phrases = load_phrases(config.templates)
    generator = random.Random(f"{seed}/{language}/{code}/{number}")  # noqa: S311  # no secret is made of it
    text = _write_ad(phrases, code, language, config, generator)
    return JobAd(id=f"{language}-{code}-{number:04d}", text=text, label=code, language=language)


def _write_ad(phrases: Phrases, code: str, language: str, config: GenerateConfig, generator: random.Random) -> str:
    unit, frames = phrases.units[language][code], phrases.frames[language]
    untitled = generator.random() < config.untitled
    title = generator.choice(unit.titles)
    neighbour = _neighbour(unit, phrases.units[language], generator)
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
    return [heading for heading in headings if not any(slot in heading for slot in taken)] or list(headings)


def _pick_noise(share: float, generator: random.Random) -> str | None:
    return generator.choice(("typos", "html", "shout", "emoji")) if generator.random() < share else None


def _neighbour(unit: Unit, units: Mapping[str, Unit], generator: random.Random) -> Unit | None:
    """A unit of the same sub-major group (the first two digits of an ISCO-08 code)."""
    near = [other for code, other in units.items() if code[:2] == unit.code[:2] and code != unit.code]
    return generator.choice(near) if near else None


def _borrow(
    tasks: list[str], skills: list[str], neighbour: Unit, hidden: Unit | None, generator: random.Random
) -> None:
    """Replace one task or skill by a neighbour's; one of the unit's own tasks always stays."""
    own, other = generator.choice(((tasks, neighbour.tasks), (skills, neighbour.skills)))
    phrases = [item for item in other if item not in own and not (hidden and hidden.names_itself(item))]
    if phrases:
        own[generator.randrange(len(own))] = generator.choice(phrases)


def _facts(frames: Mapping[str, Any], unit: Unit, generator: random.Random) -> dict[str, str]:
    slots: dict[str, str] = {slot: generator.choice(frames[key]) for slot, key in _FACTS.items()}
    first, second = generator.sample(frames["benefits"], 2)
    workplace = generator.choice(unit.workplaces) if unit.workplaces else slots["company"]
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
