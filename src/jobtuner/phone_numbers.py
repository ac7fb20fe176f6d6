"""Phone numbers of many countries in text: told from salaries, dates, hours and reference numbers."""

import re
from functools import cached_property

from jobtuner.places import Places, one_of, shape

__all__ = ["find_phones"]

# Between two digits: nothing, one mark with or without spaces, or an area code's parentheses.
_GAP = r"(?:[ \u00a0]?[/–-][ \u00a0]?|[. \u00a0]|[ \u00a0-]?\((?=\d{1,4}\))|\)[ \u00a0/-]{0,3})?"
_PHONE_CANDIDATE = re.compile(
    rf"(?<![\w.,:€£$-])(?<!\d/)(?:\(?\+ ?|\()?\d(?:{_GAP}\d){{6,21}}"
    r"(?:[ -]?(?:ext|extn|x|durchwahl|poste|int)\.? ?\d{1,5})?(?![\w€£$]|[.,:/]\d)",
    re.IGNORECASE,
)
_SEVEN_DIGITS = re.compile(rb"0(?:[^0]{0,4}0){6}")  # of `shape`; every candidate holds it: a gap has four characters
_PREFIX = 3  # characters of "(+ "
_FEWEST_DIGITS, _MOST_DIGITS = 7, 15  # E.164 allows 15; fewer than 7 are local numbers that no ad gives
_LOOK_BACK = 40  # characters before a candidate that may say what it is
_SPACE = re.compile(r"[ \u00a0]")
_VAT_PREFIX = re.compile(
    r"\b" + one_of("AT BE CY CZ DE DK EE EL ES FI FR GB HR HU IE IT LT LU LV MT NL PL PT RO SE SI SK") + r"[ \u00a0]?$"
)
_PHONE_WORD = re.compile(
    r"(?i)(?<![\[\w'’])(?:ll[aá]m\w*|t[eé]l[eé]phon\w*|appel\w*|contact\w*|anruf\w*|chiam\w*|"
    + one_of(
        "phone tel telefon telefonisch telephone mobil mobile mob call calling ring fax whatsapp sms t m telefono "
        "teléfono tfno tlf movil móvil tél portable joignable contattare rufen fon handy text cell cellulare "
        "numero"
    )
    + r")\b\.?[^\d\n.!?;\[]{0,24}$"
)
_NUMBER_WORD = re.compile(
    r"(?i)\b(?:p\. ?iva|"
    + one_of(
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


def find_phones(text: str) -> Places:
    """The places of phone numbers."""
    place = 0
    while near := _SEVEN_DIGITS.search(shape(text), place):
        match = _PHONE_CANDIDATE.search(text, max(place, near.start() - _PREFIX))
        if match is None:
            return
        place = match.end()
        before = _Before(text[max(0, match.start() - _LOOK_BACK) : match.start()])
        if _VAT_PREFIX.search(before.text):
            continue
        # A candidate may have swallowed the number behind it ("0171 123456 25 000 €"): then its beginning is tried.
        ends = [match.end(), *(match.start() + space.start() for space in reversed(list(_SPACE.finditer(match[0]))))]
        for end in ends:
            if _is_phone(text[match.start() : end], before, text[end : end + 12]):
                yield match.start(), end
                break


class _Before:
    """What the words before a run of digits say about it; looked at only where somebody asks."""

    def __init__(self, text: str) -> None:
        self.text = text

    @cached_property
    def money(self) -> bool:
        return bool(_MONEY_BEFORE.search(self.text))

    @cached_property
    def phone(self) -> bool:
        return bool(_PHONE_WORD.search(self.text))

    @cached_property
    def number(self) -> bool:
        return bool(_NUMBER_WORD.search(self.text))


def _is_phone(candidate: str, before: _Before, after: str) -> bool:
    """Whether a run of digits is a phone number.

    It is with an international prefix, a leading zero and at least nine digits, a word such as "phone" before it, or a
    national grouping; salaries, dates, hours and codes are not.
    """
    digits = sum(char.isdigit() for char in candidate)
    if not _FEWEST_DIGITS <= digits <= _MOST_DIGITS or _DATES_OR_HOURS.fullmatch(candidate):
        return False
    if before.money or _MONEY_AFTER.match(after):
        return False
    start = candidate.lstrip("(")
    if start.startswith("+") or before.phone:
        return True
    if before.number:
        return False
    return (start.startswith("0") and digits >= 9) or bool(_PHONE_SHAPE.fullmatch(candidate))
