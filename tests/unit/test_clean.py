import unicodedata

import ftfy
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jobtuner import clean
from jobtuner.clean import (
    clean_text,
    cut_at_word,
    drop_lines,
    normalise_space,
    repair_encoding,
)
from jobtuner.config import CleanConfig
from jobtuner.markup import html_to_text
from jobtuner.visible import drop_invisible

CONFIG = CleanConfig()


@pytest.mark.parametrize(
    ("raw", "repaired"),
    [
        ("cafÃ©-gÃ©rant", "café-gérant"),
        ("TÃ¸mrer sÃ¸ges", "Tømrer søges"),
        ("Ko\u0308chin", "Köchin"),
        ("soft\u00adware, zero\u200bwidth, \ufeffmark", "software, zerowidth, mark"),
        ("bell\x07 and escape\x1b[31m", "bell and escape"),
        ("lone \ud83d surrogate", "lone \ufffd surrogate"),
        ("“curly” ‘quotes’ – and … dots", "“curly” ‘quotes’ – and … dots"),
        ("Ｆull width ﬁ", "Full width ﬁ"),
        ("AT&amp;T", "AT&amp;T"),
    ],
)
def test_encoding_is_repaired_and_quotes_stay(raw: str, repaired: str) -> None:
    assert repair_encoding(raw) == repaired


_RISKY = [
    chr(code) for code in (*range(0x7F, 0x180), *range(0x2010, 0x2040), 0x20AC, 0x2122, 0x402, 0x413, 0x3B2, 0x391)
]


@settings(max_examples=1500, deadline=None)
@given(st.text(st.sampled_from([*_RISKY, *"aaaaaaZZZ....\n\n\r??11      "]), max_size=12))
def test_the_quick_way_round_ftfy_changes_nothing(text: str) -> None:
    whole = drop_invisible(ftfy.fix_text(text, clean._FTFY))
    assert repair_encoding(text) == unicodedata.normalize("NFC", whole)


@pytest.mark.parametrize(
    ("raw", "plain"),
    [
        ("<h2>Koch</h2>\n<p>R&amp;D &uuml;ber&#252;b&#xFC;</p>", "Koch\nR&D überübü"),
        ("Tasks:<ul><li>cook<li>clean</ul>", "Tasks:\n- cook\n- clean"),
        ("one<br/>two<BR>three", "one\ntwo\nthree"),
        ("<td>a</td><td>b</td>", "a b"),
        ("<b>bo</b>ld", "bold"),
        ("<style>p {color: red}</style><script>alert('x')</script>text", "text"),
        ("<!-- hidden -->shown", "shown"),
        ("salary < 30 and > 20 &amp; more", "salary < 30 and > 20 & more"),
        ("Join <Company> now", "Join <Company> now"),
    ],
)
def test_html_becomes_text(raw: str, plain: str) -> None:
    assert normalise_space(html_to_text(raw)) == plain


@pytest.mark.parametrize("text", ["R&D, AT&T", "sales&region and a&copy b", "5 < 6", "a > b", "C++ & C#", "x <3"])
def test_text_that_is_no_html_comes_back_unchanged(text: str) -> None:
    assert html_to_text(text) == text


def test_bare_ampersand_beside_html_is_no_reference() -> None:
    assert html_to_text("<b>sales&region</b>") == "sales&region"


def test_white_space_is_normalised() -> None:
    assert normalise_space("  a\t b\u00a0c \r\n\n\n\n d\u2028e  ") == "a b c\n\nd\ne"


def test_masking_can_be_turned_off() -> None:
    text = "mail jobs@example.com or 020 7946 0018"
    assert clean_text(text, CleanConfig(personal_data=False)).text == text
    assert clean_text(text, CONFIG).text == "mail [EMAIL] or [PHONE]"


@pytest.mark.parametrize(
    ("text", "limit", "cut"),
    [
        ("one two three", 13, "one two three"),
        ("one two three", 12, "one two"),
        ("one two three", 7, "one two"),
        ("one two three", 8, "one two"),
        ("unbreakable", 4, "unbr"),
        ("line\nbreak", 6, "line"),
    ],
)
def test_cut_at_word(text: str, limit: int, cut: str) -> None:
    assert cut_at_word(text, limit) == cut


def test_cleaning_reports_what_it_did() -> None:
    result = clean_text("<p>Mail a@example.com " + "word " * 600 + "</p>", CleanConfig(max_chars=100))
    assert result.masked == {"EMAIL": 1}
    assert result.was_html
    assert result.was_cut
    assert 90 < len(result.text) <= 100
    assert result.text.endswith("word")
    plain = clean_text("Mail  us", CONFIG)
    assert (plain.text, plain.masked, plain.was_html, plain.was_cut) == ("Mail us", {}, False, False)


@settings(deadline=None)
@given(st.text(alphabet=st.characters(codec="utf-8"), max_size=200))
def test_cleaning_never_fails_and_settles(text: str) -> None:
    config = CleanConfig(max_chars=50)
    result = clean_text(text, config).text
    assert len(result) <= 50
    assert result == normalise_space(result)
    result.encode()


NOTICE = "We are an equal opportunity employer and welcome everyone."


@pytest.mark.parametrize(
    ("text", "left"),
    [
        (
            "Cook\nWe prepare meals every day.\nYes\nYes\nWe prepare meals every day.",
            "Cook\nWe prepare meals every day.\nYes\nYes",
        ),
        (
            "one line that stands alone, one line that stands alone",
            "one line that stands alone, one line that stands alone",
        ),
        (
            "Cook\n\nWe prepare meals every day.\n\nWe prepare meals every day.\n\nApply",
            "Cook\n\nWe prepare meals every day.\n\nApply",
        ),
    ],
)
def test_repeated_lines_are_dropped(text: str, left: str) -> None:
    assert drop_lines(text, repeated=True) == left
    assert drop_lines(text, repeated=False) == text


def test_boilerplate_lines_are_dropped_whatever_their_case_numbers_and_signs() -> None:
    config = CleanConfig(boilerplate=(NOTICE, "Posted on 2024-01-31 by JobSite"))
    text = f"Cook wanted\n{NOTICE.upper()}!\nposted on 2026-12-01 by jobsite.\nPosted on Mondays"
    assert clean_text(text, config).text == "Cook wanted\nPosted on Mondays"
    assert clean_text(f"<p>Cook</p><p>{NOTICE}</p>", config).text == "Cook"
    assert clean_text(NOTICE, config).text == ""
    assert clean_text(NOTICE, CleanConfig()).text == NOTICE


@given(st.text(max_size=300))
@settings(max_examples=200, deadline=None)
def test_dropping_lines_twice_changes_nothing_more(text: str) -> None:
    once = drop_lines(normalise_space(text), repeated=True)
    assert drop_lines(once, repeated=True) == once
