"""Ads to try, one a language: our own wording."""

import json
from dataclasses import dataclass
from importlib import resources

__all__ = ["NAMES", "Example", "examples", "name"]

NAMES = {
    "bg": "Български",
    "cs": "Čeština",
    "da": "Dansk",
    "de": "Deutsch",
    "el": "Ελληνικά",
    "en": "English",
    "es": "Español",
    "et": "Eesti",
    "fi": "Suomi",
    "fr": "Français",
    "ga": "Gaeilge",
    "hr": "Hrvatski",
    "hu": "Magyar",
    "is": "Íslenska",
    "it": "Italiano",
    "lt": "Lietuvių",
    "lv": "Latviešu",
    "mt": "Malti",
    "nl": "Nederlands",
    "no": "Norsk",
    "pl": "Polski",
    "pt": "Português",
    "ro": "Română",
    "sk": "Slovenčina",
    "sl": "Slovenščina",
    "sv": "Svenska",
    "uk": "Українська",
}
"""ISO 639-1 code to the language's own name: those that ESCO's titles come in."""


@dataclass(frozen=True)
class Example:
    """An ad to try."""

    language: str
    """ISO 639-1."""
    text: str


def examples() -> list[Example]:
    """The ads, in five languages."""
    text = (resources.files("jobtuner.serve.page") / "examples.json").read_text(encoding="utf-8")
    return [Example(row["language"], row["text"]) for row in json.loads(text)]


def name(language: str) -> str:
    """A language's own name, or its code."""
    return NAMES.get(language, language)
