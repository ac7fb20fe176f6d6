"""Text cleaning: encoding repair, HTML to text, white space, personal data, length. Pure functions, no state."""

import re
import unicodedata
from collections.abc import Collection
from dataclasses import dataclass, field
from functools import lru_cache

import ftfy

from jobtuner.config import CleanConfig
from jobtuner.job_parts import job_parts
from jobtuner.markup import html_to_text
from jobtuner.names import mask_names
from jobtuner.orders import without_orders
from jobtuner.personal_data import mask_personal_data
from jobtuner.visible import drop_invisible, drop_unreadable, rare_characters

__all__ = [
    "Cleaned",
    "clean_text",
    "cut_at_word",
    "drop_lines",
    "legible",
    "line_key",
    "normalise_space",
    "repair_encoding",
]

_FTFY = ftfy.TextFixerConfig(
    unescape_html=False,  # `html_to_text` does it, and only for references that end with a semicolon
    uncurl_quotes=False,
    fix_latin_ligatures=False,
    fix_character_width=False,
    normalization="NFC",
    explain=False,
)


@dataclass(frozen=True, slots=True)
class Cleaned:
    """A cleaned text and what cleaning did to it."""

    text: str
    masked: dict[str, int] = field(default_factory=dict)
    """Kind of personal data (`personal_data.KINDS`, and NAME) to the number of places that were replaced."""
    was_html: bool = False
    was_cut: bool = False
    was_repaired: bool = False
    """Broken encoding, characters that were not composed, or invisible ones."""
    lost_lines: bool = False
    """Lines that repeat an earlier one, or boilerplate."""
    orders: int = 0
    """Passages that spoke to the machine, and were left out."""


def clean_text(text: str, config: CleanConfig, codes: Collection[str] = ()) -> Cleaned:
    """Apply every cleaning step in order.

    Args:
        text: an ad.
        config: which steps.
        codes: what a model will be allowed to answer: sentences that name one of them are orders (`jobtuner.orders`).
    """
    repaired = repair_encoding(text)
    whole, was_html, orders = _legible(repaired, config.orders, codes)
    plain = drop_lines(whole, config.repeated_lines, _boilerplate(tuple(config.boilerplate)))
    lost_lines = plain != whole
    masked: dict[str, int] = {}
    if config.personal_data:
        plain, masked = mask_personal_data(plain)
    if config.names is not None:
        plain, count = mask_names(plain, config.names)
        masked = masked | ({"NAME": count} if count else {})
    if config.job_parts is not None:
        plain = job_parts(plain, config.job_parts)
    short = cut_at_word(plain, config.max_chars)
    return Cleaned(short, masked, was_html, short != plain, repaired != text, lost_lines, orders)


def legible(text: str, codes: Collection[str] = ()) -> tuple[str, int]:
    """What a person reads of a text: no markup, nothing hidden, no orders to a machine; and how many of these went."""
    plain, _, orders = _legible(repair_encoding(text), orders=True, codes=codes)
    return plain, orders


def _legible(text: str, orders: bool, codes: Collection[str]) -> tuple[str, bool, int]:
    """The text with normal white space; whether it was HTML; and the number of orders that went."""
    plain = _without_markup(text)
    was_html = plain != text
    if not orders:
        return normalise_space(plain), was_html, 0
    whole = normalise_space(drop_unreadable(plain))
    kept, count = without_orders(whole, codes)
    return whole if kept is whole else normalise_space(kept), was_html, count


def _without_markup(text: str) -> str:
    """Plain text. Twice: some boards escape what was escaped. References may stand for invisible characters."""
    plain = html_to_text(text)
    return text if plain == text else drop_invisible(html_to_text(plain))


def repair_encoding(text: str) -> str:
    """Undo mojibake ("cafÃ©"), compose characters (NFC), drop control and invisible ones; quotes stay as they are."""
    if _is_usual(text):
        return text
    # ftfy works line by line and takes 40 µs a line: those that it cannot change are kept from it.
    lines = (line if _is_usual(line) else ftfy.fix_text(line, _FTFY) for line in _LINE.findall(text))
    return unicodedata.normalize("NFC", drop_invisible("".join(lines)))


_USUAL = frozenset(chr(code) for code in (9, *range(0xDF, 0x180)) if code == 9 or chr(code).islower()) - {"œ"}
_LINE = re.compile(r"[^\n]*\n|[^\n]+")
_LONE = frozenset(chr(code) for code in (*range(0xA0, 0x180), *range(0x2010, 0x2028), *range(0x2030, 0x205F), 0x20AC))
_LONE -= frozenset("\u00adÂÃŒœ")


def _is_usual(text: str) -> bool:
    """Whether `repair_encoding` has nothing to do, told at a fraction of its price.

    Every pattern of ftfy's `badness` needs two characters beyond ASCII side by side of which one is no small letter,
    or one of ÂÃŒœ, or a control character. All characters that pass here are composed and visible.
    """
    odd = set(rare_characters(text)) - _USUAL
    return odd <= _LONE and all(_stands_alone(char, text) for char in odd)


def _stands_alone(char: str, text: str) -> bool:
    """Whether the neighbours of a character are plain, wherever it stands."""
    place = text.find(char)
    while place >= 0:
        if not (text[max(0, place - 1) : place] + text[place + 1 : place + 2]).isascii():
            return False
        place = text.find(char, place + 1)
    return True


def normalise_space(text: str) -> str:
    """One space between words, no space at the ends of lines, at most one empty line in a row."""
    if _has_normal_space(text):
        return text.strip()
    lines = [" ".join(line.split()) for line in text.splitlines()]
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip()


def _has_normal_space(text: str) -> bool:
    """Whether `normalise_space` has nothing to do but at the ends: no space beside another or a line's end, or rare."""
    if "  " in text or " \n" in text or "\n " in text or "\n\n\n" in text:
        return False
    rare = rare_characters(text)
    return not rare or rare.split() == [rare]


def line_key(line: str) -> str:
    """The form in which lines are compared: case folded, numbers as 0, one space for what is no letter or digit."""
    return " ".join(_NO_WORD.sub(" ", _NUMBER.sub("0", line.casefold())).split())


_NUMBER = re.compile(r"\d+")
_NO_WORD = re.compile(r"[^\w]|_")
_SHORTEST_REPEAT = 20
"""Characters of a line from which its repetition is a mistake; below, it may be a list that says "yes" twice."""


def drop_lines(text: str, repeated: bool, boilerplate: frozenset[str] = frozenset()) -> str:
    """The text without lines that say what an earlier one says, and without boilerplate.

    Args:
        text: with normalised white space.
        repeated: drop a line of at least `_SHORTEST_REPEAT` characters that occurred before, letter by letter.
        boilerplate: `line_key` of lines to drop, wherever they stand.
    """
    if "\n" not in text and not boilerplate:
        return text
    lines = text.split("\n")
    if not boilerplate and len(set(lines)) == len(lines):
        return text
    seen: set[str] = set()
    kept = []
    for line in lines:
        if boilerplate and line and line_key(line) in boilerplate:
            continue
        if repeated and len(line) >= _SHORTEST_REPEAT:
            if line in seen:
                continue
            seen.add(line)
        kept.append(line)
    return normalise_space("\n".join(kept)) if len(kept) <= text.count("\n") else text


@lru_cache(maxsize=4)
def _boilerplate(lines: tuple[str, ...]) -> frozenset[str]:
    return frozenset(filter(None, map(line_key, lines)))


def cut_at_word(text: str, limit: int) -> str:
    """The text, or its first words that fit into `limit` characters (a single longer word is cut inside)."""
    if len(text) <= limit:
        return text
    head = text[: limit + 1]
    place = max((index for index, char in enumerate(head) if char.isspace()), default=0)
    return head[:place].rstrip() if place else text[:limit]
