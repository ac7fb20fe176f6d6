"""Personal data in job ads: e-mail addresses, phone numbers, IBANs, URLs, handles and street addresses.

Pure functions on text. They know neither language nor country, so that an ad is cleaned in serving exactly as it was in
training. `benchmarks/personal_data.py` measures recall and precision.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from stdnum import iban as iban_standard

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


def _any(words: str) -> str:
    """A pattern for one of the words, taken literally."""
    return "(?:" + "|".join(re.escape(word) for word in words.split()) + ")"


_Places = Iterator[tuple[int, int]]

# E-mail ---------------------------------------------------------------------------------------------------------------

_DOMAIN = r"(?:[^\W_](?:[\w-]*[^\W_])?\.)+[^\W\d_]{2,}"
_EMAIL = re.compile(
    rf"(?<![\w.+'’-])[\w.+'’-]*[\w+-](?:@|\ @\ (?={_DOMAIN})|\ ?[(\[{{](?:at|@)[)\]}}]\ ?){_DOMAIN}", re.IGNORECASE
)


def _emails(text: str) -> _Places:
    if "@" in text or _WRITTEN_AT.search(text):
        for match in _EMAIL.finditer(text):
            yield match.span()


_WRITTEN_AT = re.compile(r"[(\[{]at[)\]}]", re.IGNORECASE)

# URLs and handles -----------------------------------------------------------------------------------------------------

_URL_END = r"[^\s<>\"'”»)\]]*[^\s<>\"'”».,;:!?)\]]"
# Networks whose addresses name a person or a firm; others need a scheme, "www." or a path to be told from "ASP.NET".
_NETWORKS = r"(?:[\w-]{1,40}\.)?" + _any(
    "linkedin.com lnkd.in xing.com github.com gitlab.com facebook.com fb.com instagram.com twitter.com x.com "
    "tiktok.com youtube.com youtu.be t.me wa.me telegram.me pinterest.com threads.net bsky.app viadeo.com "
    "infojobs.net indeed.com stepstone.de"
)
# A domain without either is one if its ending is a usual one and a path follows: "Node.js/React" is none.
_ENDING = (
    "(?-i:"
    + _any(
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


def _urls(text: str) -> _Places:
    if _may_hold_url(text):
        for match in _URL.finditer(text):
            yield match.span()


def _may_hold_url(text: str) -> bool:
    """Whether there is a scheme, "www." or a slash behind a domain: much cheaper than the search itself."""
    folded = text.lower()
    if "www." in folded:
        return True
    return any(head.endswith(":") or _DOMAIN_END.search(head[-8:]) for head in folded.split("/")[:-1])


def _handles(text: str) -> _Places:
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
_COUNTRY_AND_CHECK = re.compile(r"\d(?<=[A-Za-z]{2}\d)\d")  # how an IBAN begins, searched from its rarer part


def _ibans(text: str) -> _Places:
    """Runs with a country's length and valid check digits; the longest beginning of a run that has both counts."""
    if not _COUNTRY_AND_CHECK.search(text):
        return
    for match in _IBAN.finditer(text):
        for end in range(match.end(), match.start() + _IBAN_SHORTEST - 1, -1):
            if not text[end : end + 1].isalnum() and iban_standard.is_valid(
                text[match.start() : end], check_country=False
            ):
                yield match.start(), end
                break


# Phone numbers --------------------------------------------------------------------------------------------------------

# Between two digits: nothing, one mark with or without spaces, or an area code's parentheses.
_GAP = r"(?:[ \u00a0]?[/–-][ \u00a0]?|[. \u00a0]|[ \u00a0-]?\((?=\d{1,4}\))|\)[ \u00a0/-]{0,3})?"
_PHONE_CANDIDATE = re.compile(
    rf"(?<![\w.,:€£$-])(?<!\d/)(?:\(?\+ ?|\()?\d(?:{_GAP}\d){{6,21}}"
    r"(?:[ -]?(?:ext|extn|x|durchwahl|poste|int)\.? ?\d{1,5})?(?![\w€£$]|[.,:/]\d)",
    re.IGNORECASE,
)
_FEWEST_DIGITS, _MOST_DIGITS = 7, 15  # E.164 allows 15; fewer than 7 are local numbers that no ad gives
_SPACE = re.compile(r"[ \u00a0]")
_VAT_PREFIX = re.compile(
    r"\b" + _any("AT BE CY CZ DE DK EE EL ES FI FR GB HR HU IE IT LT LU LV MT NL PL PT RO SE SI SK") + r"[ \u00a0]?$"
)
_PHONE_WORD = re.compile(
    r"(?i)(?<![\[\w'’])(?:ll[aá]m\w*|t[eé]l[eé]phon\w*|appel\w*|contact\w*|anruf\w*|chiam\w*|"
    + _any(
        "phone tel telefon telefonisch telephone mobil mobile mob call calling ring fax whatsapp sms t m telefono "
        "teléfono tfno tlf movil móvil tél portable joignable contattare rufen fon handy text cell cellulare "
        "numero"
    )
    + r")\b\.?[^\d\n.!?;\[]{0,24}$"
)
_NUMBER_WORD = re.compile(
    r"(?i)\b(?:p\. ?iva|"
    + _any(
        "ref reference référence referencia referenznr rif riferimento réf id nr no n° code código codice "
        "kennziffer chiffre num número núm nummer sagsnr jobnummer stillingsnr p-nummer number siren siret tva "
        "vat uid cvr cvr-nr cif nif hrb hra rea utr ean order offre oferta annuncio expediente steuernummer "
        "stellen-id job-id isbn doi version"
    )
    + r")\b[\W_]{0,3}(?:n|no|nr)?[\W_]{0,2}(?:[A-Z]{2,3} ?)?$"
)
_MONEY_BEFORE = re.compile(r"(?i)(?:[€£$]|\b(?:eur|euro|gbp|usd|dkk|chf|kr)\.?)\s*$")
_MONEY_AFTER = re.compile(
    r"(?i)^(?:[ .\u00a0]\d{3})*[ \u00a0]?(?:[€£$%]|(?:eur|euros?|de euros|gbp|usd|dkk|chf|kr|brut\w*|lordi)\b)"
)
_DATE = r"(?:[0-3]?\d[./-] ?[01]?\d[./-] ?(?:\d{4}|\d{2})|\d{4}[./-][01]\d[./-][0-3]\d)"
_HOUR = r"(?:[01]?\d|2[0-4])\.[0-5]\d"
_YEAR = r"(?:19|20)\d\d"
_DATES_OR_HOURS = re.compile(rf"{_DATE}(?: ?[-–/ ] ?{_DATE})*|{_HOUR} ?[-–] ?{_HOUR}|{_YEAR} ?[-–/] ?{_YEAR}")
_PHONE_SHAPE = re.compile(
    r"[6-9]\d{2}[ .-]\d{3}[ .-]\d{3}"  # Spain
    r"|[6-9]\d{2}(?:[ .-]\d{2}){3}"  # Spain, the other way to group
    r"|[89]\d[ .-]\d{3}[ .-]\d{2}[ .-]\d{2}"  # Spain, provinces with two digits
    r"|\d{2}(?: \d{2}){3}"  # Denmark
    r"|3\d{2}[ ./-]\d{3} ?\d{2} ?\d{2}"  # Italy, mobile
    r"|(?:1[ .-])?\(?\d{3}\)?[ .-]\d{3}[.-]\d{4}"  # North America
    r"|\(\d{2,4}\) ?\d{3,4}[ -]?\d{3,5}"  # an area code in parentheses, as in Latin America
)


def _phones(text: str) -> _Places:
    for match in _PHONE_CANDIDATE.finditer(text):
        before = text[max(0, match.start() - 40) : match.start()]
        if _VAT_PREFIX.search(before):
            continue
        # A candidate may have swallowed the number behind it ("0171 123456 25 000 €"): then its beginning is tried.
        ends = [match.end(), *(match.start() + space.start() for space in reversed(list(_SPACE.finditer(match[0]))))]
        for end in ends:
            if _is_phone(text[match.start() : end], before, text[end : end + 12]):
                yield match.start(), end
                break


def _is_phone(candidate: str, before: str, after: str) -> bool:
    """Whether a run of digits is a phone number.

    It is with an international prefix, a leading zero and at least nine digits, a word such as "phone" before it, or a
    national grouping; salaries, dates, hours and codes are not.
    """
    digits = sum(char.isdigit() for char in candidate)
    if not _FEWEST_DIGITS <= digits <= _MOST_DIGITS or _DATES_OR_HOURS.fullmatch(candidate):
        return False
    if _MONEY_BEFORE.search(before) or _MONEY_AFTER.match(after):
        return False
    start = candidate.lstrip("(")
    if start.startswith("+") or _PHONE_WORD.search(before):
        return True
    if _NUMBER_WORD.search(before):
        return False
    return (start.startswith("0") and digits >= 9) or bool(_PHONE_SHAPE.fullmatch(candidate))


# Street addresses -----------------------------------------------------------------------------------------------------

# Names are at most 40 characters long: without a limit, a run of letters costs the square of its length.
_HOUSE = r"\d{1,4} ?(?:[a-zA-Z]\b|bis\b|ter\b)?(?:/[A-Z0-9]{1,3})?"
_NAME = r"\b[A-ZÀ-ÖØ-Þ](?:[\w'’-]|\.(?=\w)){0,40}"
_POSTCODE = r"[A-Z]{1,2}\d[\dA-Z]? ?\d[A-Z]{2}\b"  # United Kingdom; elsewhere four or five digits before the town
_TOWN = rf"(?:, (?:\d{{4,5}} )?{_NAME}(?: (?!{_POSTCODE}){_NAME}){{0,2}}(?: {_POSTCODE})?)"

_GERMANIC_ENDINGS = _any(
    "straße strasse str. weg platz allee gasse damm ufer markt gade gaden vej vejen stræde torv plads allé"
)
_GERMANIC = _any("Straße Str. Weg Platz Allee Gasse Ring Damm Ufer Markt Allé Plads Torv")
_NO_STREET = r"\w*(?:[Aa]rbeits|[Aa]usbildungs|[Ss]tudien|[Pp]raktikums|[Ss]tell|[Pp]ark)platz|\w*[Ss]upermarkt"
_ROMANCE = _any(
    "Calle C/ Avda. Avenida Av. Paseo Plaza Pza. Ronda Camino Carrer Via Viale Corso Piazza Largo Vicolo Strada"
)
_FRENCH = _any("rue avenue av. boulevard bd place quai chemin impasse allée route cours")
_ENGLISH = _any("Street St. St Road Rd. Rd Lane Avenue Ave. Ave Drive Square Way Close Court Terrace")
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


_DIGIT = re.compile(r"\d")
_ADDRESS_SPAN = 400  # characters; more than an address holds before its house number: the parts are bounded above


def _addresses(text: str) -> _Places:
    """Every address has a house number: text far from any digit is not searched, nor text behind the last address."""
    place = 0
    while digit := _DIGIT.search(text, place):
        match = _ADDRESS.search(text, max(place, digit.start() - _ADDRESS_SPAN))
        if match is None:
            return
        yield match.span()
        place = match.end()


_FINDERS: dict[str, Callable[[str], _Places]] = {
    "EMAIL": _emails,
    "URL": _urls,
    "HANDLE": _handles,
    "IBAN": _ibans,
    "PHONE": _phones,
    "ADDRESS": _addresses,
}
