"""Sentences of an ad that speak to the machine that reads it, not to applicants: found by rule, and left out.

Seven rules, each a pattern made of the words in `orders.json` (15 languages and more); a text without any of them is
handed back as it is. They are made to be precise: an ad that a person wrote for people must not lose a word, so an
order in wording that nobody has thought of passes. For those there is an eighth rule that knows no words: a sentence
that names a code of the taxonomy goes, since people name occupations and machines name codes. What passes all of them,
a model has to have learnt to ignore (`data.hostile`).
"""

import json
import re
import unicodedata
from collections.abc import Collection, Iterator
from functools import cache
from importlib import resources
from itertools import islice
from typing import TYPE_CHECKING, Any

from jobtuner.places import shape
from jobtuner.visible import rare_characters

if TYPE_CHECKING:
    from ahocorasick_rs import AhoCorasick

__all__ = ["find_orders", "without_orders"]

_CODE = r"(?<![\w.,-])(?:\d{4}(?:\.\d+){0,4}|\d\d-\d{4}(?:\.\d\d)?|[A-Z]\d{4})(?![\w-]|[.,]\d)"
"""ISCO 2512, ESCO 2512.4.1, SOC 15-1252.00, ROME M1805."""
_MOST_CODES = 300
"""Looked at in a text: 20,000 characters of codes would take half a second, and no ad has them."""
_BEFORE, _AFTER = 90, 40
"""Characters on both sides of a code in which the words of an order are looked for."""
_SENTENCE_END = re.compile(r"[.!?](?=[\s\"'”»)\]]|$)|[。！？]|\n")
_LEAD = " \t\"'([{*#>_=-"
_FRAGMENT = re.compile(r"[\"'][}\]]{1,4},?\s*$")
"""What closes a JSON text before another one is begun."""
_FEW = re.compile(r"(?:\S+\s+){0,6}\s*")
"""Words between the start of a sentence and the order in it that go with it: "please now ignore …"."""
_FROM_CAPITAL = r"(?<!\S)[A-ZÀ-ÞА-Я]\S*\s+(?:[^A-ZÀ-ÞА-Я\s]\S*\s+){0,%d}$"
_CAPITAL = re.compile(_FROM_CAPITAL % 5)
"""The same where the order may have been pushed into another sentence: from the nearest capital letter on."""
_CAPITAL_FAR = re.compile(_FROM_CAPITAL % 20)
_OTHER_LETTERS = re.compile(r"[\s\"'(\[{*#>_=-]*[\u0370-\u1dff\u2c00-\U0001efff][^A-Za-zÀ-ɏ]*\Z")
"""Letters of another script, after the last Latin one."""
_CLOSING = re.compile(r"[\"'”»)\]}]*")
_TOKENS = r"<\|[\w ]{1,30}\|>(?:\s*(?:system|user|assistant)\b)?|\[/?INST\]|<</?SYS>>"
_WEAK = re.compile(rf"{_CODE}\s*[.!]?\s*$")
_HARMLESS = re.compile(
    r"(?:19|20)\d\d(?!\d)|[\d.]+(?:[ \t]+[A-ZÀ-ÞА-Я]|\s?(?:[€$£¥%]|(?:EUR|Euro|USD|GBP|CHF|DKK|SEK|NOK|PLN|kr)\b))"
)
"""A year, a postcode with its town, an amount."""
_LEAST_LEFT = 20  # characters of an ad
_LONGEST = 400  # characters of what is cut behind the words that gave an order away
_LONG_WEAK = 80  # characters: a sentence that ends in a code, beside an order, is its other half


def without_orders(text: str, codes: Collection[str] = ()) -> tuple[str, int]:
    """The text without such sentences, and how many places were cut out.

    Args:
        text: an ad.
        codes: what a model may answer. No code is left: where it is no order ("5230 Odense"), it goes alone, uncounted.
    """
    found = find_orders(text, codes)
    rest = _without(text, found, " ") if found else text
    named = [(start, end) for start, end in _all_codes(rest) if _plain(rest[start:end]) in codes] if codes else []
    return _without(rest, named, "") if named else rest, len(found)


def _without(text: str, spans: list[tuple[int, int]], glue: str) -> str:
    kept, place = [], 0
    for start, end in spans:
        kept.append(text[place:start])
        place = end
    return glue.join([*kept, text[place:]])


def find_orders(text: str, codes: Collection[str] = ()) -> list[tuple[int, int]]:
    """Start and end of each such passage, in order, none touching another.

    Args:
        text: an ad.
        codes: what a model may answer: sentences that name one are orders, unless nearly nothing else is left.
    """
    view = _view(text)
    spans = _joined([_sentence(view, *span) for span in _matches(view)])
    spans = _joined([half for span in spans for half in _with_other_half(view, *span)])
    if not codes:
        return spans
    named = [(start, end) for start, end in _codes(view) if _plain(view[start:end]) in codes]
    more = _joined([*spans, *(_around(view, *span) for span in named if not _HARMLESS.match(view, span[0]))])
    return more if len(view) - sum(end - start for start, end in more) >= _LEAST_LEFT else spans


def _plain(code: str) -> str:
    """In the digits 0 to 9, whatever the script."""
    return code if code.isascii() else "".join(str(unicodedata.decimal(char, char)) for char in code)


def _around(view: str, start: int, end: int) -> tuple[int, int]:
    """The sentence around a code. Of what stands before it, from the nearest capital letter or change of script on,
    since it may have been pushed into another sentence."""
    first = _first(view, start)
    near = max(first, start - _BEFORE)
    if (begun := _OTHER_LETTERS.search(view, near, start)) and begun.start() > near:
        start = begun.start()
    elif begun := _CAPITAL_FAR.search(view[near:start]):
        start = near + begun.start()
    else:
        start = first if near == first else start
    ending = _SENTENCE_END.search(view, end, end + _LONG_WEAK)
    return start, _closed(view, ending.end() if ending else end)


def _matches(view: str) -> Iterator[tuple[int, int]]:
    """Places at which a rule holds. The rules are slow, so each is tried where one of its hints is in the text, and
    those about codes around a code."""
    rules = _rules()
    for name in _hinted(view):
        yield from (found.span() for found in rules[name].finditer(view))
    for start, end in _codes(view):
        window = (max(0, start - _BEFORE), end + _AFTER)
        for name in ("answer", "decreed"):
            yield from (found.span() for found in rules[name].finditer(view, *window))


def _hinted(view: str) -> list[str]:
    """The rules of which a hint is in the text; one that begins with a space is a word, whatever stands beside it."""
    finder, owners = _hints()
    lowered = view.lower()
    try:
        hits = finder.find_matches_as_indexes(lowered, overlapping=True)
    except UnicodeEncodeError:  # lone surrogates; a question mark keeps all places
        hits = finder.find_matches_as_indexes(lowered.encode("utf-8", "replace").decode(), overlapping=True)
    names = set()
    for hint, start, end in hits:
        name, is_word = owners[hint]
        if not is_word or not (lowered[start - 1 : start].isalnum() or lowered[end : end + 1].isalnum()):
            names.add(name)
    return sorted(names)


def _codes(view: str) -> Iterator[tuple[int, int]]:
    """Places of what has the form of a code, the first ones."""
    return islice(_all_codes(view), _MOST_CODES)


def _all_codes(view: str) -> Iterator[tuple[int, int]]:
    """From left to right. Each has four digits or more in a row, at its start or one or three characters behind it."""
    code = _rules()["code"]
    for digits in _FOUR_DIGITS.finditer(shape(view)):
        at = digits.start()
        for start in (at - 3, at - 1, at):
            if start >= 0 and (found := code.match(view, start)):  # none begins inside another: see _CODE
                yield found.span()
                break


_LOOK_ALIKE = str.maketrans("аеорсхуіјѕԁһТВМНКАЕОРСХαορν", "aeopcxyijsdhTBMHKAEOPCXaopv")
_TWINS = frozenset(map(chr, _LOOK_ALIKE))
_WORD = re.compile(r"[^\W\d_]+")
_FOUR_DIGITS = re.compile(rb"00000*")  # in `shape`
_LATIN = re.compile(r"[A-Za-z]")


def _view(text: str) -> str:
    """The text in the form that the rules read, as many characters: in words that hold Latin letters, those that look
    alike in Cyrillic and Greek as Latin ones."""
    if _TWINS.isdisjoint(rare_characters(text)):
        return text
    return _WORD.sub(_unmixed, text)


def _unmixed(found: re.Match[str]) -> str:
    word = found[0]
    if word.isascii() or not _LATIN.search(word):
        return word
    return word.translate(_LOOK_ALIKE)


@cache
def _table() -> dict[str, dict[str, Any]]:
    file = resources.files("jobtuner") / "orders.json"
    return dict(json.loads(file.read_text(encoding="utf-8")))


@cache
def _hints() -> tuple["AhoCorasick", list[tuple[str, bool]]]:
    """What finds all hints at once; and beside each its rule, and whether it must be a word."""
    from ahocorasick_rs import AhoCorasick, Implementation

    table: dict[str, list[str]] = _table()["hints"]
    owners = [(name, hint.startswith(" ")) for name, hints in table.items() for hint in hints]
    hints = [hint.strip() for hints in table.values() for hint in hints]
    return AhoCorasick(hints, implementation=Implementation.DFA, store_patterns=False), owners


@cache
def _rules() -> dict[str, re.Pattern[str]]:
    """Name to pattern."""
    words = {key: "|".join(of.values()) for key, of in _table().items() if key != "hints"}
    machine = f"(?:{words['machine']})"
    filler = rf"(?:[\s:=\"'“„«,]{{1,3}}(?:{words['between']})\b){{0,4}}[\s:=\"'“„«,(]{{1,3}}"
    of_the_system = "(?:system|hidden|initial|secret|original)"
    patterns = {
        "override": rf"\b(?:{words['override']})\b(?:\s+\w+){{0,5}}?\s+(?:{words['rules']})\b",
        "unspaced": words["unspaced"],
        "addressed": rf"(?:^|(?<=[.!?:\n]))\W{{0,4}}(?:{words['addressed']})\W{{1,3}}{machine}\b"
        rf"(?=\W{{0,2}}(?:\w+\W+){{0,4}}?[:,])|\bif you are (?:an? )?(?:large )?{machine}\b"
        r"(?=\s*[,.:;]|\s+(?:reading|processing|parsing|evaluating))",
        "changed": r"\byou are now (?:in )?(?:an? )?(?:\w+ ){0,2}(?:mode|assistant|bot|parrot|model)\b|"
        rf"\b(?:print|reveal|show|repeat|output|leak|display) (?:me )?(?:your|the {of_the_system})"
        rf"(?: {of_the_system})? (?:prompt|instructions)\b|"
        r"\bdecode (?:\w+ ){0,3}(?:and|then) (?:obey|follow|execute|do)\b|"
        r"\b(?:answer|reply|respond) (?:in|with) (?:exactly )?(?:one|a single) (?:word|code|number)\b|"
        r"(?:^|(?<=\n)|(?<=\. ))(?-i:SYSTEM|ASSISTANT|DEVELOPER)\s*:(?=\s)",
        "control": rf"{_TOKENS}|\"role\"\s*:\s*\"(?:system|assistant|user|developer)\"(?:\s*,\s*\"content\"\s*:)?",
        "code": f"(?-i:{_CODE})",
        "answer": rf"(?:\b(?:{words['answer']})|回答|输出|輸出|回复|返回){filler}{_CODE}"
        rf"(?=\W*(?:$|[.!;,)\n]|{words['alone']}|and do not))",
        "decreed": rf"\b(?:{words['decreed']})\b.{{0,24}}?{_CODE}|{_CODE}\W{{1,3}}(?:{words['alone']})\b",
    }
    return {name: re.compile(pattern, re.IGNORECASE) for name, pattern in patterns.items()}


def _sentence(view: str, start: int, end: int) -> tuple[int, int]:
    """The match and its sentence to the end; of what stands before it a few words at most, since an order may have been
    pushed into the middle of another sentence."""
    first = _first(view, start)
    if view[start].islower() or view[start].isdigit():  # else it begins a sentence of its own
        start = _beginning(view, start, first)
    if fragment := _FRAGMENT.search(view, max(first, start - 20), start):
        start = fragment.start()
    while start > first and view[start - 1] in _LEAD:
        start -= 1
    rest = max(start, end - 1)
    ending = _SENTENCE_END.search(view, rest, rest + _LONGEST)
    return start, _closed(view, ending.end() if ending else min(len(view), rest + _LONGEST))


def _first(view: str, start: int) -> int:
    """Where the sentence begins that goes on at `start`."""
    return max((found.end() for found in _SENTENCE_END.finditer(view, max(0, start - 300), start)), default=0)


def _beginning(view: str, start: int, first: int) -> int:
    """The place of the words that go with what begins at `start`, within the sentence that begins at `first`."""
    near = max(first, start - 60)
    if capital := _CAPITAL.search(view[near:start]):
        return near + capital.start()
    return first if _FEW.fullmatch(view, first, start) else start


def _closed(view: str, last: int) -> int:
    return _CLOSING.match(view, last).end()  # type: ignore[union-attr]  # it matches nothing, too


def _joined(spans: list[tuple[int, int]]) -> list[tuple[int, int]]:
    found: list[tuple[int, int]] = []
    for start, end in sorted(spans):
        if found and start <= found[-1][1]:
            found[-1] = (found[-1][0], max(end, found[-1][1]))
        else:
            found.append((start, end))
    return found


def _with_other_half(view: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    """The passage, and the sentence after it where that is short and ends in a code."""
    yield start, end
    after = _SENTENCE_END.search(view, end, end + _LONG_WEAK)
    last = after.end() if after else len(view)
    if last - end <= _LONG_WEAK and _WEAK.search(view[end:last]):
        yield end, last
