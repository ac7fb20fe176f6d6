"""Generated ads for `benchmarks/prepare_scale.py`: many, each with words of its own, and a known share of near-copies.

The generator that comes with JobTuner writes from a few hundred phrases; at a million rows its ads would be copies of
each other. Here the words of an ad are drawn from a vocabulary of made-up words, one per language, with the frequencies
of real text (Zipf), around some real phrases, personal data and HTML.
"""

import json
import random
from collections.abc import Iterator
from itertools import accumulate
from pathlib import Path
from typing import Any

from jobtuner.taxonomy import builtin_taxonomy

__all__ = ["NEAR_COPIES", "generate", "write"]

NEAR_COPIES = 0.15
"""Share of ads that are an earlier ad with one to three words changed: a similarity above 0.9."""

_EXACT = 0.03  # share of ads that are an earlier ad once more
_HTML = 0.2  # share of ads that come as a web page
_WORDS = 20_000  # of each language
_RECENT = 5_000  # earlier ads of which copies are made
_SYLLABLES = {
    "en": ("ing", "er", "ment", "work", "st", "al", "tion", "re", "con", "ly", "man", "dev", "op", "sup", "port"),
    "de": ("ung", "keit", "ver", "be", "schaft", "ein", "ge", "auf", "lich", "er", "bei", "ür", "äng", "trag", "stell"),
    "fr": ("ment", "eur", "tion", "é", "pro", "ai", "con", "ance", "ère", "ou", "tra", "vail", "ien", "dé", "que"),
    "es": ("ción", "ar", "dor", "es", "miento", "em", "pre", "sa", "ñía", "tra", "ba", "jo", "ción", "per", "lo"),
    "da": ("ning", "hed", "ar", "bej", "de", "ste", "for", "sk", "æn", "ør", "lig", "med", "op", "gave", "er"),
}
_CONTACTS = (
    "Apply to jobs{n}@firm-{n}.example or call +45 {a} {a} {a} {a}.",
    "Bewerbung an personal{n}@haus.example, Tel. 030 {b}{a}.",
    "Mehr unter https://www.firm{n}.example/jobs/{n}, Hauptstraße {a}, 10115 Berlin.",
    "Salary {a}.000 EUR, start 01.{m:02d}.2026, reference {n}.",
    "No agencies please. We look forward to your application.",
)


def _vocabulary(language: str, generator: random.Random) -> list[str]:
    parts = _SYLLABLES[language]
    return ["".join(generator.choices(parts, k=generator.randint(1, 4))) for _ in range(_WORDS)]


def generate(count: int, seed: int = 17, characters: int = 1000) -> Iterator[dict[str, Any]]:
    """Yield rows with id, text, label and language; texts of about `characters` characters."""
    generator = random.Random(seed)
    words = {language: _vocabulary(language, generator) for language in _SYLLABLES}
    weights = list(accumulate(1 / (rank + 10) for rank in range(_WORDS)))
    labels = builtin_taxonomy().labels
    recent: list[dict[str, Any]] = []
    for number in range(count):
        drawn = generator.random()
        if recent and drawn < _EXACT + NEAR_COPIES:
            row = dict(generator.choice(recent))
            if drawn >= _EXACT:
                row["text"] = _changed(row["text"], words[row["language"]], generator)
        else:
            row = _new(words, weights, labels, characters, generator)
            if len(recent) < _RECENT:
                recent.append(row)
            else:
                recent[generator.randrange(_RECENT)] = row
        yield {**row, "id": f"ad-{number}"}


def _new(
    words: dict[str, list[str]], weights: list[float], labels: list[str], characters: int, generator: random.Random
) -> dict[str, Any]:
    language = generator.choice(tuple(words))
    chosen = generator.choices(
        words[language], cum_weights=weights, k=int(characters / 9 * generator.uniform(0.6, 1.4))
    )
    numbers = {"n": generator.randrange(100_000), "a": generator.randint(11, 89), "b": generator.randint(1000, 9999)}
    contact = generator.choice(_CONTACTS).format(**numbers, m=generator.randint(1, 12))
    lines = [" ".join(chosen[start : start + 12]).capitalize() + "." for start in range(0, len(chosen), 12)]
    text = "\n".join([*lines, contact])
    if generator.random() < _HTML:
        text = "<p>" + text.replace("\n", "</p>\n<p>").replace(" und ", " &amp; ") + "</p>"
    return {"text": text, "label": generator.choice(labels), "language": language}


def _changed(text: str, words: list[str], generator: random.Random) -> str:
    parts = text.split(" ")
    for _ in range(generator.randint(1, 3)):
        parts[generator.randrange(len(parts))] = generator.choice(words)
    return " ".join(parts)


def write(path: Path, count: int, seed: int = 17) -> None:
    """Write `count` rows as JSONL."""
    with path.open("w", encoding="utf-8") as stream:
        for row in generate(count, seed):
            stream.write(json.dumps(row, ensure_ascii=False) + "\n")
