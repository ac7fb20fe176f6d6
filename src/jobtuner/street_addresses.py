"""Street addresses with a house number, as six languages write them."""

import re

from jobtuner.places import Places, one_of, shape

__all__ = ["find_addresses"]

# Names are at most 40 characters long: without a limit, a run of letters costs the square of its length.
_HOUSE = r"\d{1,4} ?(?:[a-zA-Z]\b|bis\b|ter\b)?(?:/[A-Z0-9]{1,3})?"
_NAME = r"\b[A-ZÀ-ÖØ-Þ](?:[\w'’-]|\.(?=\w)){0,40}"
_POSTCODE = r"[A-Z]{1,2}\d[\dA-Z]? ?\d[A-Z]{2}\b"  # United Kingdom; elsewhere four or five digits before the town
_TOWN = rf"(?:, (?:\d{{4,5}} )?{_NAME}(?: (?!{_POSTCODE}){_NAME}){{0,2}}(?: {_POSTCODE})?)"

_ENDINGS = "straße strasse str. weg platz allee gasse damm ufer markt gade gaden vej vejen stræde torv plads allé"
_WORDS = "Straße Str. Weg Platz Allee Gasse Ring Damm Ufer Markt Allé Plads Torv"
_STREET_ENDS = (*_ENDINGS.split(), *_WORDS.split())
_GERMANIC_ENDINGS, _GERMANIC = one_of(_ENDINGS), one_of(_WORDS)
_YEAR = r"(?:19|20)\d\d"
_NO_STREET = r"\w*(?:[Aa]rbeits|[Aa]usbildungs|[Ss]tudien|[Pp]raktikums|[Ss]tell|[Pp]ark)platz|\w*[Ss]upermarkt"
_ROMANCE = one_of(
    "Calle C/ Avda. Avenida Av. Paseo Plaza Pza. Ronda Camino Carrer Via Viale Corso Piazza Largo Vicolo Strada"
)
_FRENCH = one_of("rue avenue av. boulevard bd place quai chemin impasse allée route cours")
_ENGLISH = one_of("Street St. St Road Rd. Rd Lane Avenue Ave. Ave Drive Square Way Close Court Terrace")
_ADDRESS = re.compile(
    "(?:"
    # "Hauptstraße 12", "Am Alten Markt 3a", "Vesterbrogade 12, 2. tv."
    rf"\b(?!{_NO_STREET})(?:[A-ZÄÖÜÆØÅ][\w-]{{0,40}}?{_GERMANIC_ENDINGS}"
    rf"|(?:[A-ZÄÖÜÆØÅ][\w-]{{0,40}} ){{1,2}}{_GERMANIC}) (?!{_YEAR}\b){_HOUSE}"
    r"(?:, \d\. ?(?:tv|th|mf|sal)\.?)?"
    # "Calle Mayor 12", "Via Roma 3", "C/ Alcalá, 5"
    rf"|\b{_ROMANCE}(?: (?:de|del|della|dei|la|las|los|el|le)\b){{0,2}}(?: {_NAME}){{1,3}},? {_HOUSE}"
    # "12 rue de la Paix", "12 bis, avenue Victor Hugo"
    rf"|\b{_HOUSE},? {_FRENCH}(?: (?:de|du|des|la|le|les|l['’])\b){{0,2}}(?: {_NAME}){{1,3}}"
    # "12 High Street", "Unit 4, Mill Lane"
    rf"|\b(?:(?:Unit|Flat|Suite) \d{{1,4}}[a-z]?|{_HOUSE}),?(?: {_NAME}){{1,3}} {_ENGLISH}(?!\w)"
    rf"){_TOWN}?"
)

_DIGITS = re.compile(rb"00*")  # of `shape`; a first byte that is said is found faster than one of "0+"
_BEFORE = 160  # characters; an address has up to 7 + 2 × 6 + 3 × 42 + 2 = 147 before its house number
_BEHIND = 400  # and up to 15 + 3 × 42 + 20 + 150 = 311 from there on, the town included
_ROMANCE_WORD = re.compile(_ROMANCE)
_HOUSE_FIRST = re.compile(rf"{_HOUSE},?(?: {_FRENCH}|(?: {_NAME}){{1,3}} {_ENGLISH})")


def find_addresses(text: str) -> Places:
    """The places of street addresses; each has a house number, and only numbers that may be one are looked around."""
    place = 0
    for number in _DIGITS.finditer(shape(text)):
        at = number.start()
        if at >= place and _may_be_house(text, at):
            match = _ADDRESS.search(text, max(place, at - _BEFORE), at + _BEHIND)
            if match and match.start() <= at:
                yield match.span()
                place = match.end()


def _may_be_house(text: str, at: int) -> bool:
    """Whether a street's name may end before a number, or begin behind it."""
    if text[max(0, at - 1) : at] == " ":
        if text.endswith(_STREET_ENDS, 0, at - 1):
            return True
        word = text.rfind(" ", max(0, at - _BEFORE), at - 1) + 1
        if "A" <= text[word] <= "Þ" and _ROMANCE_WORD.search(text, max(0, at - _BEFORE), at):
            return True
    return bool(_HOUSE_FIRST.match(text, at))
