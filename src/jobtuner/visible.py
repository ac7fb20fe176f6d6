"""What a person would not see in a text, or not read: taken out before a model reads it.

Nothing is decoded: a blob of base64 is no part of a job ad, whatever it says.
"""

import re
from functools import lru_cache

__all__ = ["drop_invisible", "drop_unreadable", "rare_characters"]

_INVISIBLE = dict.fromkeys(
    (
        *(0x00AD, 0x034F, 0x061C, 0x115F, 0x1160, 0x17B4, 0x17B5, 0x180E),  # soft hyphen, joiners, fillers
        *(0x200B, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2060, 0x2070)),  # zero width, direction
        *(0x3164, 0xFEFF, 0xFFA0, *range(0xFE00, 0xFE10)),  # Hangul fillers, byte order mark, variants
        *range(0xE0000, 0xE0080),  # tags: an invisible copy of ASCII
        *range(0xE0100, 0xE01F0),  # more variants
    )
)
_FULL_WIDTH = {code: code - 0xFEE0 for code in range(0xFF01, 0xFF5F)}
_TABLE = {**_INVISIBLE, **_FULL_WIDTH}
_SHAPED = "\u0600-\u10ff\u1700-\u1cff\u2190-\u2bff\ufe0f\U0001f000-\U0001faff"
"""Scripts and emoji in which a zero-width joiner changes what is seen."""
_RUN = re.compile(r"(?:\w[\u200c\u200d]){4,}")
"""No script joins letter after letter by hand."""
_JOINER = re.compile(rf"(?<![{_SHAPED}])[\u200c\u200d]+|[\u200c\u200d]+(?![{_SHAPED}])")
_OVERRIDE = re.compile("\u202e([^\u202c\u202e\n]*)\u202c?")


_PLAIN_BYTES = bytes([10, *range(32, 127)])


@lru_cache(maxsize=2)  # each step of cleaning asks, and most of them change nothing
def rare_characters(text: str) -> str:
    """The characters of a text that are neither printable ASCII nor a line feed; at a tenth of a pattern's price."""
    return text.encode("utf-8", "surrogatepass").translate(None, _PLAIN_BYTES).decode("utf-8", "surrogatepass")


def drop_invisible(text: str) -> str:
    """The text as it is seen: no invisible character, full-width letters as plain ones, reversed text turned round.

    A right-to-left override shows "8331" where "1338" is written; what is shown is kept.
    """
    if text.isascii():
        return text
    if "\u202e" in text:
        text = _OVERRIDE.sub(lambda found: found[1][::-1], text)
    if "\u200c" in text or "\u200d" in text:
        text = _JOINER.sub("", _RUN.sub(lambda found: re.sub("[\u200c\u200d]", "", found[0]), text))
    return text if _TABLE.keys().isdisjoint(map(ord, rare_characters(text))) else text.translate(_TABLE)


_BLOB = 32  # characters from which a word may be one
_TOKEN = re.compile(rf"[A-Za-z0-9+/_-]{{{_BLOB},}}={{0,2}}")
_TOKEN_BYTES = bytes(ord("x") if re.fullmatch(rb"[A-Za-z0-9+/_-]", bytes([code])) else ord(" ") for code in range(256))
_LONG = b"x" * _BLOB
_FEWEST = 6  # escapes that are a blob
_ESCAPES = re.compile(r"(?:%[0-9A-Fa-f]{2}){8,}|(?:\\u[0-9A-Fa-f]{4}|\\x[0-9A-Fa-f]{2}){6,}")
_HEX = re.compile(r"[0-9A-Fa-f]{32,}")
_CHANGE = re.compile(r"[a-z](?=[A-Z0-9+])|[A-Z](?=[0-9+])|[0-9](?=[A-Za-z+])|[a-z0-9](?=[A-Z])")
_MIXED = 0.25
"""Changes of the kind of character, a character: random base64 has 0.5, camel case 0.1, a path with words less."""
_CODE_FENCE = re.compile(r"(?:```|~~~)\w*")
_SCRIPT_LINK = re.compile(r"\[[^\]\n]*\]\(\s*(?:javascript|data):[^)\n]*\)*")


def drop_unreadable(text: str) -> str:
    """The text without blobs (base64, hex, escapes), code fences and links that hold a script; URLs stay."""
    if "`" in text or "~" in text:
        text = _CODE_FENCE.sub("", text)
    if "](" in text:
        text = _SCRIPT_LINK.sub("", text)
    if text.count("%") >= _FEWEST or text.count("\\") >= _FEWEST:
        text = _ESCAPES.sub("\n", text)
    kinds = text.encode("ascii", "replace").translate(_TOKEN_BYTES)
    return _TOKEN.sub(_without_blob, text) if _LONG in kinds else text


def _without_blob(found: re.Match[str]) -> str:
    token, before = found[0], found.string[max(0, found.start() - 200) : found.start()].split()
    glued = bool(before) and not found.string[found.start() - 1].isspace()
    in_url = glued and ("://" in before[-1] or "@" in before[-1])
    if in_url or not (_HEX.fullmatch(token) or _is_mixed(token)):
        return token
    return "\n"  # whatever led to it ends here


def _is_mixed(token: str) -> bool:
    return len(_CHANGE.findall(token)) >= _MIXED * len(token)
