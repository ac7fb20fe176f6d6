"""Personal data in job ads: e-mail addresses, phone numbers, IBANs, URLs, handles and street addresses.

Pure functions on text. They know neither language nor country, so that an ad is cleaned in serving exactly as it was in
training. `benchmarks/personal_data.py` measures recall and precision.
"""

import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from stdnum import iban as iban_standard

from jobtuner.phone_numbers import find_phones
from jobtuner.places import Places, around, one_of, places_of, shape
from jobtuner.street_addresses import find_addresses

__all__ = ["KINDS", "Span", "find_personal_data", "mask_personal_data"]

KINDS = ("EMAIL", "URL", "HANDLE", "IBAN", "PHONE", "ADDRESS")
"""What is looked for; each is replaced by its name in brackets, such as [EMAIL]."""


@dataclass(frozen=True, slots=True)
class Span:
    """Characters `start` to `end` (exclusive) of a text hold personal data of the kind."""

    start: int
    end: int
    kind: str


def mask_personal_data(text: str) -> tuple[str, dict[str, int]]:
    """Replace personal data by typed tokens; return the text and the number of replacements by kind.

    A text that was masked once comes back unchanged.
    """
    spans = find_personal_data(text)
    pieces, end = [], 0
    for span in spans:
        pieces += [text[end : span.start], f"[{span.kind}]"]
        end = span.end
    return "".join([*pieces, text[end:]]), dict(Counter(span.kind for span in spans))


def find_personal_data(text: str) -> list[Span]:
    """The places of personal data, in order and without overlap; the kinds are looked for in the order of `KINDS`."""
    found: list[Span] = []
    for kind in KINDS:
        spans = [Span(start, end, kind) for start, end in _FINDERS[kind](text)]
        if spans:
            text = _taken(text, spans)
            found += spans
    return sorted(found, key=lambda span: span.start)


def _taken(text: str, spans: Sequence[Span]) -> str:
    """The text with the spans blotted out, so that the next kinds do not see them; all places stay what they are."""
    pieces, end = [], 0
    for span in spans:
        pieces += [text[end : span.start], _BLOT * (span.end - span.start)]
        end = span.end
    return "".join([*pieces, text[end:]])


_BLOT = "\ue000"  # of the private use area: neither letter, digit nor space


# E-mail ---------------------------------------------------------------------------------------------------------------

_DOMAIN = r"(?:[^\W_](?:[\w-]*[^\W_])?\.)+[^\W\d_]{2,}"
_EMAIL = re.compile(
    rf"(?<![\w.+'’-])[\w.+'’-]*[\w+-](?:@|\ @\ (?={_DOMAIN})|\ ?[(\[{{](?:at|@)[)\]}}]\ ?){_DOMAIN}", re.IGNORECASE
)


_BRACKETED = re.compile(r"[(\[{]at[)\]}]", re.IGNORECASE | re.ASCII)


def _emails(text: str) -> Places:
    for start, end in around(text, _at_signs(text)):
        for match in _EMAIL.finditer(text, start, end):
            yield match.span()


def _at_signs(text: str) -> list[int]:
    """Where "@", "(at)" and the like stand."""
    found = list(places_of("@", text))
    for bracket in "([{":
        found += [place for place in places_of(bracket, text) if _BRACKETED.match(text, place)]
    return sorted(found)


# URLs and handles -----------------------------------------------------------------------------------------------------

_URL_END = r"[^\s<>\"'”»)\]]*[^\s<>\"'”».,;:!?)\]]"
# Networks whose addresses name a person or a firm; others need a scheme, "www." or a path to be told from "ASP.NET".
_NETWORKS = r"(?:[\w-]{1,40}\.)?" + one_of(
    "linkedin.com lnkd.in xing.com github.com gitlab.com facebook.com fb.com instagram.com twitter.com x.com "
    "tiktok.com youtube.com youtu.be t.me wa.me telegram.me pinterest.com threads.net bsky.app viadeo.com "
    "infojobs.net indeed.com stepstone.de"
)
# A domain without either is one if its ending is a usual one and a path follows: "Node.js/React" is none.
_ENDING = (
    "(?-i:"
    + one_of(
        "com org net eu io info biz jobs careers de at ch fr be lu es cat it uk ie dk se no fi is nl pl pt cz sk "
        "hu ro bg gr hr si ee lv lt us ca mx br ar cl au nz in"
    )
    + ")"
)
_URL = re.compile(
    rf"(?<![\w@.-])(?:(?:https?|ftp)://{_URL_END}|www\.{_URL_END}|{_NETWORKS}/{_URL_END}"
    rf"|(?!asp\.net)(?:[^\W_](?:[\w-]*[^\W_])?\.)+{_ENDING}/[\w?#]{_URL_END})",
    re.IGNORECASE,
)
_HANDLE = re.compile(r"(?<![\w@./+-])@(?=\w*[^\W\d])\w(?:[\w.]{1,28}\w)")


_DOMAIN_END = re.compile(r"\.[a-z]{2,7}$")


_TWO = frozenset({"ww", "wW", "Ww", "WW"})


def _urls(text: str) -> Places:
    for start, end in around(text, _slashes_and_www(text)):
        if _may_hold_url(text[start:end]):
            for match in _URL.finditer(text, start, end):
                yield match.span()


def _slashes_and_www(text: str) -> list[int]:
    """Where "/" stands, and "www." in any case begins."""
    found = list(places_of("/", text))
    for end in ("w.", "W."):
        found += [place - 2 for place in places_of(end, text) if text[max(0, place - 2) : place] in _TWO]
    return sorted(found)


def _may_hold_url(words: str) -> bool:
    """Whether there is a scheme, "www." or a slash behind a domain: much cheaper than the search itself."""
    folded = words.lower()
    if "www." in folded:
        return True
    return any(head.endswith(":") or _DOMAIN_END.search(head[-8:]) for head in folded.split("/")[:-1])


def _handles(text: str) -> Places:
    """Names behind an "@"; a plain capitalised word ("Manager @Berlin") is one only behind a network's name."""
    if "@" in text:
        for match in _HANDLE.finditer(text):
            before = text[max(0, match.start() - 30) : match.start()]
            if not _PLACE_OR_FIRM.fullmatch(match[0]) or _NETWORK_WORD.search(before):
                yield match.span()


_PLACE_OR_FIRM = re.compile(r"@[A-ZÀ-ÖØ-Þ][^\W\d_A-Z]+")
_NETWORK_WORD = re.compile(
    r"(?i)\b(?:instagram|insta|twitter|telegram|tiktok|threads|whatsapp|skype|snapchat|x)\b[^\n.;]*$"
)

# IBAN -----------------------------------------------------------------------------------------------------------------

_IBAN = re.compile(r"(?<![^\W_])[A-Za-z]{2}\d{2}(?:[ \u00a0-]?[A-Za-z0-9]){11,30}")
_IBAN_SHORTEST = 15  # Norway
_COUNTRY_AND_CHECK = b"aa00"  # how an IBAN begins, in `shape`


def _ibans(text: str) -> Places:
    """Runs with a country's length and valid check digits; the longest beginning of a run that has both counts."""
    if _COUNTRY_AND_CHECK not in shape(text):
        return
    for match in _IBAN.finditer(text):
        for end in range(match.end(), match.start() + _IBAN_SHORTEST - 1, -1):
            if not text[end : end + 1].isalnum() and iban_standard.is_valid(
                text[match.start() : end], check_country=False
            ):
                yield match.start(), end
                break


_FINDERS: dict[str, Callable[[str], Places]] = {
    "EMAIL": _emails,
    "URL": _urls,
    "HANDLE": _handles,
    "IBAN": _ibans,
    "PHONE": find_phones,
    "ADDRESS": find_addresses,
}
