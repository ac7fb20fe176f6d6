"""Where in a text to look: patterns for personal data are run near what gives it away, not over every word."""

import re
from collections.abc import Iterable, Iterator
from functools import lru_cache

from jobtuner.visible import rare_characters

__all__ = ["Places", "around", "one_of", "places_of", "shape"]

Places = Iterator[tuple[int, int]]
"""Start and end (exclusive) of each place, ascending and without overlap."""

_BEFORE, _BEHIND = 2, 5  # " (at) name": characters beside a trigger among which one space may stand
_SPACE = re.compile(r"[ \n]")


def one_of(words: str) -> str:
    """A pattern for one of the words, taken literally."""
    return "(?:" + "|".join(re.escape(word) for word in words.split()) + ")"


_SHAPE = bytes(
    ord("0") if chr(code).isdigit() else ord("a") if chr(code).isalpha() else ord(" ") for code in range(128)
).ljust(256)
_DIGIT = re.compile(r"\d")


@lru_cache(maxsize=2)
def shape(text: str) -> bytes:
    """One byte a character: "0" for a digit of any script, "a" for an ASCII letter, a space for all else.

    A pattern of bytes that begins with "0" finds digits in it at a fraction of the price of `\\d` in the text.
    """
    if not text.isascii() and any(map(str.isdecimal, rare_characters(text))):
        text = _DIGIT.sub("0", text)
    return text.encode("ascii", "replace").translate(_SHAPE)


def places_of(piece: str, text: str) -> Iterator[int]:
    """Where a text holds a piece; for a rare one cheaper than a pattern."""
    place = text.find(piece)
    while place >= 0:
        yield place
        place = text.find(piece, place + 1)


def around(text: str, triggers: Iterable[int]) -> Places:
    """Ranges that hold the words around each trigger, from space to space.

    What a pattern finds in a range is what it finds in the whole text, if it has no space in it but right beside the
    trigger. Every character is looked at once, whatever the text.

    Args:
        text: the text.
        triggers: ascending places that every match holds one of.
    """
    start = end = 0
    for trigger in triggers:
        if trigger + _BEHIND <= end:
            continue
        before = max(0, trigger - _BEFORE)
        space = max(text.rfind(" ", end, before), text.rfind("\n", end, before))
        if space >= 0:
            if start < end:
                yield start, end
            start = space + 1
        found = _SPACE.search(text, trigger + _BEHIND)
        end = found.start() if found else len(text)
    if start < end:
        yield start, end
