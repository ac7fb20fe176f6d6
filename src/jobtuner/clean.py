"""Text cleaning: encoding repair, HTML to text, white space, personal data, length. Pure functions, no state."""

import html
import re
import unicodedata
from dataclasses import dataclass, field
from functools import lru_cache
from html.parser import HTMLParser

import ftfy

from jobtuner.config import CleanConfig
from jobtuner.job_parts import job_parts
from jobtuner.names import mask_names
from jobtuner.personal_data import mask_personal_data

__all__ = [
    "Cleaned",
    "clean_text",
    "cut_at_word",
    "drop_lines",
    "html_to_text",
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
_INVISIBLE = dict.fromkeys((0x00AD, 0x200B, 0x2060, 0xFEFF))  # soft hyphen, zero-width space, word joiner, BOM

_BLOCK = (
    "address article aside blockquote body br center dd div dl dt fieldset figure footer form h1 h2 h3 h4 h5 h6 head "
    "header hr html li main nav ol p pre section table tbody tfoot thead title tr ul"
)
_INLINE = (
    "a abbr b big button caption cite code del em font i img input ins label link mark meta o:p option q s script "
    "select small span strike strong style sub sup td th time tt u var"
)
_BLOCK_TAGS, _INLINE_TAGS = frozenset(_BLOCK.split()), frozenset(_INLINE.split())
_HIDDEN_TAGS = frozenset({"script", "style"})
_LOOKS_LIKE_HTML = re.compile(r"</?[a-zA-Z][^<>]*>|<!--|&(?:[a-zA-Z][a-zA-Z0-9]*|#[0-9]+|#[xX][0-9a-fA-F]+);")
_BARE_AMPERSAND = re.compile(r"&(?!(?:[a-zA-Z][a-zA-Z0-9]*|#[0-9]+|#[xX][0-9a-fA-F]+);)")


@dataclass(frozen=True, slots=True)
class Cleaned:
    """A cleaned text and what cleaning did to it."""

    text: str
    masked: dict[str, int] = field(default_factory=dict)
    """Kind of personal data (`personal_data.KINDS`, and NAME) to the number of places that were replaced."""
    was_html: bool = False
    was_cut: bool = False


def clean_text(text: str, config: CleanConfig) -> Cleaned:
    """Apply every cleaning step in order."""
    repaired = repair_encoding(text)
    plain = html_to_text(repaired)
    was_html = plain != repaired
    plain = drop_lines(normalise_space(plain), config.repeated_lines, _boilerplate(tuple(config.boilerplate)))
    masked: dict[str, int] = {}
    if config.personal_data:
        plain, masked = mask_personal_data(plain)
    if config.names is not None:
        plain, count = mask_names(plain, config.names)
        masked = masked | ({"NAME": count} if count else {})
    if config.job_parts is not None:
        plain = job_parts(plain, config.job_parts)
    short = cut_at_word(plain, config.max_chars)
    return Cleaned(short, masked, was_html, was_cut=short != plain)


def repair_encoding(text: str) -> str:
    """Undo mojibake ("cafÃ©"), compose characters (NFC), drop control and invisible ones; quotes stay as they are."""
    if _is_usual(text):
        return text
    # ftfy works line by line and takes 40 µs a line: those that it cannot change are kept from it.
    lines = (line if _is_usual(line) else ftfy.fix_text(line, _FTFY) for line in _LINE.findall(text))
    return unicodedata.normalize("NFC", "".join(lines).translate(_INVISIBLE))


_USUAL = frozenset(chr(code) for code in (9, *range(0xDF, 0x180)) if code == 9 or chr(code).islower()) - {"œ"}
_LINE = re.compile(r"[^\n]*\n|[^\n]+")
_LONE = frozenset(chr(code) for code in (*range(0xA0, 0x180), *range(0x2010, 0x2028), *range(0x2030, 0x205F), 0x20AC))
_LONE -= frozenset("\u00adÂÃŒœ")


def _is_usual(text: str) -> bool:
    """Whether `repair_encoding` has nothing to do, told at a fraction of its price.

    Every pattern of ftfy's `badness` needs two characters beyond ASCII side by side of which one is no small letter,
    or one of ÂÃŒœ, or a control character. All characters that pass here are composed and visible.
    """
    odd = set(_rare(text)) - _USUAL
    return odd <= _LONE and all(_stands_alone(char, text) for char in odd)


def _stands_alone(char: str, text: str) -> bool:
    """Whether the neighbours of a character are plain, wherever it stands."""
    place = text.find(char)
    while place >= 0:
        if not (text[max(0, place - 1) : place] + text[place + 1 : place + 2]).isascii():
            return False
        place = text.find(char, place + 1)
    return True


_PLAIN_BYTES = bytes([10, *range(32, 127)])


def _rare(text: str) -> str:
    """The characters of a text that are neither printable ASCII nor a line feed; at a tenth of a pattern's price."""
    return text.encode("utf-8", "surrogatepass").translate(None, _PLAIN_BYTES).decode("utf-8", "surrogatepass")


class _TextCollector(HTMLParser):
    """Keeps the text of a page: block tags become line breaks, unknown "tags" such as <Company> stay as text."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.parts: list[str] = []
        self._hidden = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:  # noqa: ARG002  # the base class names it
        if tag in _HIDDEN_TAGS:
            self._hidden += 1
        elif tag in _BLOCK_TAGS:
            self._break_line()
            if tag == "li":
                self.parts.append("- ")
        elif tag in {"td", "th"}:
            self.parts.append(" ")
        elif tag not in _INLINE_TAGS:
            self.parts.append(self.get_starttag_text() or "")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)

    def handle_endtag(self, tag: str) -> None:
        if tag in _HIDDEN_TAGS:
            self._hidden = max(0, self._hidden - 1)
        elif tag in _BLOCK_TAGS:
            self._break_line()
        elif tag not in _INLINE_TAGS:
            self.parts.append(f"</{tag}>")

    def handle_data(self, data: str) -> None:
        if not self._hidden and not (data.isspace() and self._at_line_start()):
            self.parts.append(data)

    def _at_line_start(self) -> bool:
        return not self.parts or self.parts[-1].endswith("\n")

    def _break_line(self) -> None:
        if not self._at_line_start():
            self.parts.append("\n")


def html_to_text(text: str) -> str:
    """Drop tags, scripts and comments, resolve character references; text without any of them comes back unchanged."""
    if not ("<" in text or "&" in text) or not _LOOKS_LIKE_HTML.search(text):
        return text
    collector = _TextCollector()
    # "&region" without a semicolon is no reference in an ad, though HTML5 would read "&reg" into it.
    text = _BARE_AMPERSAND.sub("&amp;", text) if "&" in text else text
    if not _feed_plain(collector, text):
        collector.feed(text)
        collector.close()
    return "".join(collector.parts)


def _feed_plain(collector: _TextCollector, text: str) -> bool:
    """What `feed` and `close` do, at a fifth of their price, where every "<" begins a known tag of the simplest form.

    Returns:
        False, and nothing was fed, where there is anything else: comments, scripts, attributes without quotes, "a < b".
    """
    tags = list(_PLAIN_TAG.finditer(text))
    if len(tags) != text.count("<") or not all(tag[2].lower() in _PLAIN_TAGS for tag in tags):
        return False
    place = 0
    for tag in tags:
        if place < tag.start():
            collector.handle_data(html.unescape(text[place : tag.start()]))
        place = tag.end()
        if tag[1]:
            collector.handle_endtag(tag[2].lower())
        else:
            collector.handle_starttag(tag[2].lower(), [])
    if place < len(text):
        collector.handle_data(html.unescape(text[place:]))
    return True


_PLAIN_TAG = re.compile(r"""<(?:(/)(?=[a-zA-Z0-9]+>))?([a-zA-Z][a-zA-Z0-9]*)(?: [a-zA-Z][a-zA-Z-]*="[^"<>&]*")* ?/?>""")
_PLAIN_TAGS = (_BLOCK_TAGS | _INLINE_TAGS) - _HIDDEN_TAGS


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
    rare = _rare(text)
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
