"""Where each claim of a cover letter comes from: the ad, the applicant's facts, or nowhere.

Claims are found by rule, in five languages: names after "at", "bei", "chez", "hos" or with a legal form, words for
degrees, phrases after "experience in" and the like, technical names, numbers and years. A rule sees what is said in its
words and nothing else: a count of 0 says that no rule found an invention, not that there is none.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

__all__ = ["Claim", "Grounding", "Kind", "Source", "ground"]

Kind = Literal["employer", "degree", "skill", "number"]
Source = Literal["applicant", "ad", ""]

_CAPITAL = r"(?:[A-ZÀ-ÖØ-ÞŒ](?:[\w’'&-]|\.(?=[a-z0-9])|(?<=(?<!\w)[A-Z])\.(?=[A-Z]))*|[0-9]+[A-Z]\w*)"
"""A full stop belongs to it inside of "S.A." and "Booking.com", and not before the next sentence."""
_GAP = r"[^\S\n]+"  # a name ends with its line
_TITLE = rf"(?:(?:St|Ste|Sta|Dr|Mt|Skt)\.{_GAP})?"
_NAME = rf"{_TITLE}{_CAPITAL}(?:{_GAP}(?:(?:&|of|de|du|des|der|den|la|le|og|und|y|et){_GAP})?{_TITLE}{_CAPITAL})*"
_LEGAL = r"(?:GmbH|AG|KG|SE|Ltd\.?|Limited|Inc\.?|LLC|PLC|plc|Corp\.?|A/S|ApS|S\.A\.|SARL|SAS|S\.L\.)(?!\w)"
_GREETING = r"(?:Dear|Hello|To|Liebes?|An|Guten|Tag|Chère|Cher|À|Estimad[oa]s?|Hola|A|Kære|Hej|Til)"

_AT = {
    "en": r"(?:work(?:ed|ing)?|employed|job|position|role|post|years?|months?|experience|employer)\s+"
    r"(?:\w+\s+){0,4}?(?:at|for|with)|joined|left",
    "de": r"bei(?:\s+(?:der|dem|den))?|beim",
    "fr": r"chez",
    "es": r"(?:trabajé|trabajado|trabajo|años|experiencia|puesto)\s+(?:\w+\s+){0,4}?en|empresa",
    "da": r"hos",
}
_DEGREES = {
    "en": r"bachelor(?:'s|’s)?|master(?:'s|’s)?|ph\.?\s?d\.?|doctorate|mba|b\.?sc\.?|m\.?sc\.?|diploma|degree",
    "de": r"bachelor|master|diplom(?!a)|promotion|doktor\w*|magister|staatsexamen|meisterbrief",
    "fr": r"licence|master|doctorat|bts|dut|diplôme|baccalauréat|cap",
    "es": r"licenciatura|grado|máster|doctorado|diplomatura|bachillerato|título",
    "da": r"bachelorgrad|bachelor|kandidatgrad|kandidat(?:uddannelse)?|ph\.?d\.?|diplom(?:uddannelse)?|svendebrev",
}
_SKILL_IN = {
    "en": r"(?:experienced?|skilled|proficient|trained|expertise|fluent|certified|knowledge|command|skills)\s+"
    r"(?:with|in|of|on)|good at|able to|know how to|i can",
    "de": r"(?:erfahrungen?|kenntnisse|fachkenntnisse|kenntnissen)\s+(?:mit|in|im)|versiert in|sicher in|geübt in",
    "fr": r"(?:expérience|compétences?|connaissances?)\s+(?:en|de|des|du|avec)|formée? à|je maîtrise|capable de",
    "es": r"(?:experiencia|conocimientos?|formación)\s+(?:con|de|en)|domino|capaz de",
    "da": r"(?:erfaring|erfaringer|kendskab|kompetencer)\s+(?:med|i|inden for|til)|øvet i|dygtig til|jeg kan",
}
_PHRASE_END = re.compile(r"[.;:!?\n]|,|\s(?:and|und|et|y|e|og|or|oder|ou|o|eller|as well as|sowie)\s")
_TECHNICAL = re.compile(
    r"(?<![\w.])(?:[A-Z][A-Z0-9]+(?:[/.+-][A-Z0-9]+)*|[A-Za-z]+(?:\+\+|#)|[A-Z][a-z]+[A-Z]\w*)(?!\w)"
)
_NUMBER = re.compile(r"(?<![\w.,])\d+(?:[.,]\d+)*(?!\w)")
_YEARS = r"years?|jahren?|ans|años|år"
_NUMERALS = {
    "1": "einem ein",
    "2": "two zwei deux dos to",
    "3": "three drei trois tres tre",
    "4": "four vier quatre cuatro fire",
    "5": "five fünf cinq cinco fem",
    "6": "six sechs seis seks",
    "7": "seven sieben sept siete syv",
    "8": "eight acht huit ocho otte",
    "9": "nine neun neuf nueve ni",
    "10": "ten zehn dix diez ti",
}
_VALUES = {word: digit for digit, words in _NUMERALS.items() for word in words.split()}
_SPELT = re.compile(rf"(?<!\w)({'|'.join(sorted(_VALUES))})\s+(?:{_YEARS})(?!\w)", re.IGNORECASE)
_LITTLE = frozenset(
    (  # noqa: SIM905  # as a list of quoted words it would fill the page
        "the a an of in with for and to my your their our on at as is are have other new many several good great "
        "work working use using der die das den dem des ein eine einen einem einer und mit für im zu von meine ihre "
        "le la les l de du des un une et en à avec mes vos el los las una y con mis sus i og med til af et mine jeres"
    ).split()
)
"""Words that say nothing of a skill."""


@dataclass(frozen=True, slots=True)
class Claim:
    """Something that a letter says: `letter[start:end] == text`."""

    kind: Kind
    text: str
    start: int
    """Characters of the letter before it."""
    end: int
    source: Source
    """Where it is said too; empty: nowhere."""

    @property
    def supported(self) -> bool:
        """Whether the ad or the facts say it."""
        return bool(self.source)


@dataclass(frozen=True)
class Grounding:
    """The claims of a letter, in its order."""

    claims: tuple[Claim, ...]

    def invented(self, kind: Kind) -> int:
        """Claims of a kind that neither the ad nor the facts support."""
        return sum(claim.kind == kind and not claim.supported for claim in self.claims)

    @property
    def grounded(self) -> bool:
        """No claim is invented."""
        return all(claim.supported for claim in self.claims)

    @property
    def rate(self) -> float:
        """Share of the claims that are supported; 1 where nothing is claimed."""
        return sum(claim.supported for claim in self.claims) / len(self.claims) if self.claims else 1.0


def ground(letter: str, ad_text: str, facts: Sequence[str], language: str | None = None) -> Grounding:
    """Find the claims of a letter and look each up in the facts, then in the ad.

    Args:
        letter: what was written.
        ad_text: the ad.
        facts: what the applicant says, one text a fact.
        language: ISO 639-1 code of the letter; None, or one that has no rules: the rules of all five.
    """
    found: dict[tuple[int, int], Claim] = {}
    for kind, start, end in _claims(letter, language):
        if not _inside(start, end, found):
            text = letter[start:end]
            found[start, end] = Claim(kind, text, start, end, _source(kind, text, facts, ad_text))
    return Grounding(tuple(found[place] for place in sorted(found)))


def _source(kind: Kind, claim: str, facts: Sequence[str], ad_text: str) -> Source:
    if _says(kind, claim, "\n".join(facts)):
        return "applicant"
    return "ad" if _says(kind, claim, ad_text) else ""


def _inside(start: int, end: int, found: dict[tuple[int, int], Claim]) -> bool:
    return any(start < other_end and other_start < end for other_start, other_end in found)


def _claims(letter: str, language: str | None) -> Iterator[tuple[Kind, int, int]]:
    """Kind and place of each claim; where two overlap, the first one counts."""
    yield from (("number", *match.span()) for match in _NUMBER.finditer(letter))
    yield from (("number", *match.span(1)) for match in _SPELT.finditer(letter))
    for match in re.finditer(rf"(?:{_GREETING}\s+)*({_NAME}{_GAP}{_LEGAL})", letter):
        yield "employer", *match.span(1)
    for match in _by_language(_AT, language, rf"\s+({_NAME})", letter):
        yield "employer", match.start(1), match.start(1) + len(match[1].rstrip(".,"))
    for match in _by_language(_DEGREES, language, "", letter):
        yield "degree", match.start(), match.start() + len(match[0].rstrip("."))
    for match in _by_language(_SKILL_IN, language, r"\s+(?=(.+))", letter):
        ending = _PHRASE_END.search(letter, match.end())
        yield "skill", match.end(), ending.start() if ending else len(letter)
    yield from (("skill", *match.span()) for match in _TECHNICAL.finditer(letter))


def _by_language(words: dict[str, str], language: str | None, tail: str, letter: str) -> Iterator[re.Match[str]]:
    for key in [language] if language in words else list(words):
        yield from re.finditer(rf"(?<!\w)(?i:{words[str(key)]})(?!\w){tail}", letter)


def _says(kind: Kind, claim: str, body: str) -> bool:
    if kind == "number":
        return _number(claim) in _numbers(body)
    if kind == "skill":
        said = _content(body)
        return all(any(_same_stem(word, other) for other in said) for word in _content(claim))
    pattern = r"(?<!\w)" + r"\s+".join(re.escape(word.rstrip(".")) for word in claim.split()) + r"(?!\w)"
    return re.search(pattern, body, re.IGNORECASE) is not None


def _numbers(text: str) -> set[str]:
    return {_number(item) for item in [*_NUMBER.findall(text), *_SPELT.findall(text)]}


def _number(text: str) -> str:
    """One form for "five", "5" and for thousands written as 5.000, 5,000 or 5000."""
    return _VALUES.get(text.casefold(), re.sub(r"[.,](?=\d{3}(?!\d))", "", text))


def _content(text: str) -> set[str]:
    words = re.findall(r"[^\W_][\w+#]*", text.casefold())
    return {word for word in words if word not in _LITTLE}


def _same_stem(word: str, other: str) -> bool:
    """Equal, or equal but for an ending: "planning" and "plan", "Wunden" and "Wunde"."""
    shorter, longer = sorted((word, other), key=len)
    shared = max(4, len(longer) - 4)
    return word == other or (len(shorter) >= shared and shorter[:shared] == longer[:shared])
