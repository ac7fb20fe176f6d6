"""What generated ads are made of: frames around the facts (layouts, headings, companies …) and phrases of occupations.

The built-in ones lie in `templates/`: ads.json, and a file an occupation. A file of one's own holds both:

    {"frames": {"sv": {…keys of ads.json…}},
     "occupations": [{"code": "2221", "title": {"sv": "Sjuksköterskor"}, "job_titles": {"sv": […]},
                      "tasks": {"sv": […]}, "skills": {"sv": […]}, "workplaces": {"sv": […]}}]}

Where it has no frames for a language, the built-in ones serve.
"""

import json
import re
import string
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

from jobtuner.errors import DataError
from jobtuner.taxonomy import Occupation, Taxonomy

__all__ = ["Phrases", "Unit", "load_phrases"]

_LISTS = (
    "layouts", "headings", "open_headings", "intros", "benefits", "companies", "cities", "contacts", "salaries",
    "boilerplate",
)  # fmt: skip
_WORDS = ("and", "semicolon")
_OF_UNITS = ("job_titles", "tasks", "skills", "workplaces")
_SLOTS = frozenset(
    {
        "heading",
        "title",
        "intro",
        "company",
        "city",
        "contact",
        "salary",
        "boilerplate",
        "benefit",
        "benefits",
        "workplace",
    }
    | {"tasks", "tasks_semi", "tasks_list", "skills", "skills_list"}
)
_TITLE_SUFFIX = re.compile(r"\s*(\([^)]*\)|[HFM]/[HFM])\s*$")


@dataclass(frozen=True)
class Unit:
    """The phrases of one occupation in one language."""

    code: str
    titles: Sequence[str]
    tasks: Sequence[str]
    skills: Sequence[str]
    workplaces: Sequence[str]

    def names_itself(self, phrase: str) -> bool:
        """Whether the phrase holds one of the unit's job titles (its core, without "(m/w/d)" and the like)."""
        folded = phrase.casefold()
        return any(_TITLE_SUFFIX.sub("", title).casefold() in folded for title in self.titles)

    def without_titles(self) -> "Unit":
        """The same unit with only those phrases that do not give the job title away."""
        kept = [[item for item in items if not self.names_itself(item)] or items for items in self._phrases()]
        return Unit(self.code, self.titles, *kept)

    def _phrases(self) -> tuple[Sequence[str], Sequence[str], Sequence[str]]:
        return self.tasks, self.skills, self.workplaces


@dataclass(frozen=True)
class Phrases:
    """Frames by language, units by language and code, and the taxonomy of the occupations."""

    frames: Mapping[str, Mapping[str, Any]]
    units: Mapping[str, Mapping[str, Unit]]
    taxonomy: Taxonomy

    def check(self, languages: Sequence[str]) -> None:
        """Make sure that there are phrases in these languages.

        Raises:
            DataError: there are none in one of them; names those that there are.
        """
        missing = [language for language in languages if language not in self.units or language not in self.frames]
        if missing:
            raise DataError(
                f"There are no templates in {', '.join(missing)}; there are in {', '.join(sorted(self.units))}. Give a "
                "file of templates (data.generate.templates), or translate: jobtuner synthesize --translate-to."
            )


@cache
def load_phrases(path: str | None = None) -> Phrases:
    """The built-in phrases, or those of a file.

    Raises:
        DataError: the file cannot be read, lacks a part, or uses a slot that is not known; lists every mistake at once.
    """
    folder = resources.files("jobtuner.prepare") / "templates"
    frames: dict[str, Any] = json.loads((folder / "ads.json").read_text(encoding="utf-8"))
    if path is None:
        entries = sorted((folder / "occupations").iterdir(), key=lambda item: item.name)
        rows = [json.loads(entry.read_text(encoding="utf-8")) for entry in entries if entry.name.endswith(".json")]
        return _phrases(frames, rows)
    try:
        data = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"The templates {path} cannot be read: {error}.") from error
    if not isinstance(data, dict) or not isinstance(data.get("occupations"), list):
        raise DataError(
            f"The templates {path} have no list 'occupations'; a JSON object with it, and 'frames', is needed."
        )
    own = data.get("frames") or {}
    mistakes = [*_frame_mistakes(own), *_unit_mistakes(data["occupations"])]
    if mistakes:
        raise DataError(
            f"The templates {path} have {len(mistakes)} mistakes:\n" + "\n".join(f"  {m}" for m in mistakes)
        )
    return _phrases(frames | own, data["occupations"])


def _phrases(frames: Mapping[str, Mapping[str, Any]], rows: Sequence[Mapping[str, Any]]) -> Phrases:
    units: dict[str, dict[str, Unit]] = {}
    for row in rows:
        for language in row["job_titles"]:
            parts = (row[key][language] for key in _OF_UNITS)
            units.setdefault(language, {})[row["code"]] = Unit(row["code"], *parts)
    taxonomy = Taxonomy([Occupation(code=row["code"], titles=row["title"]) for row in rows])
    return Phrases(frames, units, taxonomy)


def _frame_mistakes(frames: object) -> list[str]:
    if not isinstance(frames, dict):
        return ["frames: an object of languages is needed"]
    mistakes = []
    for language, frame in frames.items():
        if not isinstance(frame, dict):
            mistakes.append(f"frames.{language}: an object is needed")
            continue
        mistakes += [
            f"frames.{language}.{key}: a word is needed" for key in _WORDS if not isinstance(frame.get(key), str)
        ]
        for key in _LISTS:
            texts: Any = frame.get(key)
            least = 2 if key == "benefits" else 1  # a layout may name two
            if not _is_texts(texts, least):
                mistakes.append(f"frames.{language}.{key}: a list of at least {least} texts is needed")
                continue
            for text in texts if key in {"layouts", "headings", "open_headings", "intros"} else ():
                mistakes += [f"frames.{language}.{key}: {wrong} in {text!r}" for wrong in _wrong_slots(text)]
        if _is_texts(frame.get("intros"), 1) and all("{title}" in intro for intro in frame["intros"]):
            mistakes.append(
                f"frames.{language}.intros: at least one without {{title}} is needed, for ads that don't say it"
            )
    return mistakes


def _wrong_slots(text: str) -> list[str]:
    try:
        slots = {name for _, name, _, _ in string.Formatter().parse(text) if name is not None}
    except ValueError as error:
        return [f"{error}"]
    return [f"the slot {{{slot}}} is not known" for slot in sorted(slots - _SLOTS)]


def _unit_mistakes(rows: Sequence[Any]) -> list[str]:
    mistakes = []
    for number, row in enumerate(rows, start=1):
        if not isinstance(row, dict) or not isinstance(row.get("code"), str) or not isinstance(row.get("title"), dict):
            mistakes.append(f"occupation {number}: 'code' (text) and 'title' (language → text) are needed")
            continue
        parts: dict[str, Any] = {key: row.get(key) for key in _OF_UNITS}
        if not all(isinstance(part, dict) for part in parts.values()) or not parts["job_titles"]:
            mistakes.append(
                f"occupation {row['code']}: {', '.join(_OF_UNITS)} must be objects: language → list of texts"
            )
            continue
        mistakes += [
            f"occupation {row['code']}: {key}.{language} must be a list of texts"
            for language in parts["job_titles"]
            for key, part in parts.items()
            if not _is_texts(part.get(language), 1)
        ]
    if len(rows) < 2:
        mistakes.append("occupations: at least two are needed")
    return mistakes


def _is_texts(value: object, least: int) -> bool:
    return isinstance(value, list) and len(value) >= least and all(isinstance(item, str) and item for item in value)
