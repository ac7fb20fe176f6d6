"""Personal data is found in any format, and numbers that are none survive."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.personal_data import measure, ours
from benchmarks.personal_data_gold import gold_ads
from jobtuner import personal_data, phone_numbers, street_addresses
from jobtuner.personal_data import KINDS, find_personal_data, mask_personal_data
from jobtuner.places import shape
from jobtuner.street_addresses import find_addresses

PERSONAL = [
    ("Write to jobs@example.com.", "Write to [EMAIL]."),
    ("anna.maria+hr@mail.example.co.uk!", "[EMAIL]!"),
    ("see https://www.example.com/jobs?id=12&x=y.", "see [URL]."),
    ("(www.example.org/a_b)", "([URL])"),
    ("Call us on 020 7946 0018.", "Call us on [PHONE]."),
    ("+44 113 496 0561", "[PHONE]"),
    ("+45 12 34 56 62, gerne", "[PHONE], gerne"),
    ("Ring på 12 34 50 18.", "Ring på [PHONE]."),
    ("kontakt: 12 34 50 18", "kontakt: [PHONE]"),
    ("Appelez le 01 99 00 12 18.", "Appelez le [PHONE]."),
    ("01.99.00.12.18", "[PHONE]"),
    ("Llámanos al 900 000 018.", "Llámanos al [PHONE]."),
    ("955 000 347 o 600 12 39 87", "[PHONE] o [PHONE]"),
    ("Telefon (030) 23125-018", "Telefon [PHONE]"),
    ("Tel.: 030/23125018", "Tel.: [PHONE]"),
    ("0049 30 23125 462", "[PHONE]"),
    ("(555) 123-4567", "[PHONE]"),
    ("phone 4960245", "phone [PHONE]"),
    ("Tel. 0171 1234567 25 000 € im Jahr", "Tel. [PHONE] 25 000 € im Jahr"),
    ("Mobil 0171/1234567 (8-16 Uhr)", "Mobil [PHONE] (8-16 Uhr)"),
    ("Llame al (11) 2345-6789", "Llame al [PHONE]"),
    ("jobs (at) example.com", "[EMAIL]"),
    ("jobs[at]example.com", "[EMAIL]"),
    ("jürgen.o'neil@münchen.example", "[EMAIL]"),
    ("linkedin.com/in/anna-berg und github.com/annaberg", "[URL] und [URL]"),
    ("firma.example.de/karriere", "[URL]"),
    ("Folge @nord_jobs!", "Folge [HANDLE]!"),
    ("Join us via Telegram @Northwind", "Join us via Telegram [HANDLE]"),
    ("IBAN gb82west12345698765432", "IBAN [IBAN]"),
    ("Hauptstraße 12, 10115 Berlin. Wir", "[ADDRESS]. Wir"),
    ("C/ Alcalá, 5", "[ADDRESS]"),
    ("23 bis, avenue Victor Hugo jobs@example.com", "[ADDRESS] [EMAIL]"),
]
KEPT = [
    "£24,500-27,000 a year",
    "18.500-21.000 € brutos al año",
    "24 000 à 27 500 € brut",
    "28.500-31.000 kr. om måneden",
    "Ring til os. Løn 28.500-31.000 kr.",
    "EUR 45000-50000",
    "2.450 € brutto, 13,5 Gehälter",
    "1 200 000 000 DKK i omsætning",
    "01 200 300 400 €",
    "from 01.09.2024 to 31.12.2024",
    "call before 31.12.2024",
    "01/09/24 - 31/12/24",
    "2024-05-31",
    "ISCO 2512, ESCO 2512.4.1",
    "kl. 08.00-16.00",
    "telephone hours 08.00-17.30",
    "the years 2019-2023, founded 1998",
    "Ref. 0123456789",
    "Kennziffer 2024 0815 4711",
    "1000000",
    "1.2.3.4.5",
    "25 days, 40 hours, 4 x 10 hours",
    "ASP.NET/C#, asp.net/mvc, Node.js/React",
    "meet @ noon",
    "40239 Düsseldorf",
    "USt-IdNr. DE123456789, HRB 123456",
    "BE 0409.572.099",
    "SIRET 123 456 789 00012",
    "ISO 9001:2015, Java 17.0.2",
    "Straße und Platz, 12 Plätze",
    "2 rue du jour",
    "Spring 2025, answering 911 calls, Answering 911 calls",
    "Ausbildungsplatz 2025, Ausbildungsplatz 3, Hauptstraße 2025",
    "Service manager @Berlin, @Work",
    "I don't move 1000000 boxes",
    "5 years on the road, 3 way calls",
]


@pytest.mark.parametrize(("text", "masked"), PERSONAL)
def test_personal_data_is_masked(text: str, masked: str) -> None:
    found, counts = mask_personal_data(text)
    assert found == masked
    assert sum(counts.values()) == masked.count("[")


@pytest.mark.parametrize("text", KEPT)
def test_salaries_dates_and_codes_survive(text: str) -> None:
    assert mask_personal_data(text) == (text, {})


def test_the_figures_hold_on_the_gold_set() -> None:
    score, _ = measure(list(gold_ads(900, seed=11)), ours)
    for kind in KINDS:
        assert score.gold[kind] > 50, kind
        assert score.recall(kind) >= 0.99, (kind, score.missed[:5])
        assert score.precision(kind) >= 0.98, (kind, score.wrong[:5])


def test_quick_looks_hide_nothing_from_the_patterns() -> None:
    for ad in gold_ads(900, seed=5):
        for text in (ad.text, ad.text.replace(" ", "/", 3) + ad.text[:80], ad.text.upper(), ad.text.replace(" ", "\n")):
            for find, pattern in (
                (personal_data._emails, personal_data._EMAIL),
                (personal_data._urls, personal_data._URL),
                (find_addresses, street_addresses._ADDRESS),
            ):
                assert list(find(text)) == [match.span() for match in pattern.finditer(text)]
            assert not personal_data._IBAN.search(text) or personal_data._COUNTRY_AND_CHECK in shape(text)
            for match in phone_numbers._PHONE_CANDIDATE.finditer(text):
                assert phone_numbers._SEVEN_DIGITS.search(shape(text), match.start(), match.end())


@settings(deadline=None)
@given(
    st.lists(st.sampled_from([*"@a /\n", "www.", "wWW.", "ab.de", "(at)", "{AT]", "(b)", " @ ", "x" * 40]), max_size=12)
)
def test_quick_looks_hide_nothing_in_odd_places(pieces: list[str]) -> None:
    text = "".join(pieces)
    assert list(personal_data._emails(text)) == [match.span() for match in personal_data._EMAIL.finditer(text)]
    assert list(personal_data._urls(text)) == [match.span() for match in personal_data._URL.finditer(text)]


@given(st.text(st.sampled_from("09aZ é’٣७\ud800\n"), max_size=20))
def test_a_shape_shows_digits_and_letters_in_their_places(text: str) -> None:
    assert [byte == ord("0") for byte in shape(text)] == [char.isdecimal() for char in text]
    assert [byte == ord("a") for byte in shape(text)] == [char.isascii() and char.isalpha() for char in text]


def test_places_are_exact_ordered_and_apart() -> None:
    text = "Anna, jobs@example.com, 020 7946 0018, DE89 3704 0044 0532 0130 00; 12 High Street, London SW1A 1AA"
    found = [(span.kind, text[span.start : span.end]) for span in find_personal_data(text)]
    assert found == [
        ("EMAIL", "jobs@example.com"),
        ("PHONE", "020 7946 0018"),
        ("IBAN", "DE89 3704 0044 0532 0130 00"),
        ("ADDRESS", "12 High Street, London SW1A 1AA"),
    ]


def test_a_wrong_check_digit_is_no_iban() -> None:
    assert [span.kind for span in find_personal_data("DE88 3704 0044 0532 0130 00")] != ["IBAN"]


def test_personal_data_is_counted_by_kind() -> None:
    _, counts = mask_personal_data("a@example.com b@example.com www.example.com +44 113 496 0561")
    assert counts == {"EMAIL": 2, "URL": 1, "PHONE": 1}


@settings(deadline=None)
@given(st.lists(st.sampled_from([text for text, _ in PERSONAL] + KEPT), max_size=6))
def test_masked_text_holds_nothing_more_to_mask(parts: list[str]) -> None:
    masked, _ = mask_personal_data(" | ".join(parts))
    assert mask_personal_data(masked) == (masked, {})
