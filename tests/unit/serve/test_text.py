import time
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobtuner.serve.text import tidy


@pytest.mark.parametrize(
    ("raw", "clean"),
    [
        ("Cook", "Cook"),
        ("  Cook \t wanted ", "Cook wanted"),
        ("Cook\0wanted", "Cook wanted"),
        ("Cook\r\nwanted\r\n\r\n\r\n\r\nBerlin", "Cook\nwanted\n\nBerlin"),
        ("Ko\u0308che", "Köche"),
        ("\0\0", ""),
        ("a\u00a0b\u2003c", "a b c"),
    ],
)
def test_tidy(raw: str, clean: str) -> None:
    assert tidy(raw) == clean


@given(st.text())
def test_tidy_is_nfc_and_stable(text: str) -> None:
    once = tidy(text)
    assert "\0" not in once
    assert unicodedata.is_normalized("NFC", once)
    assert tidy(once) == once


def test_a_run_of_marks_costs_little() -> None:
    started = time.perf_counter()
    text = tidy("a" + "\u0301" * 10_000 + "\u0316" * 9_999 + " cook")
    # Sorting them all takes 0.6 s here; cut to 30 it is some 5 ms.
    assert time.perf_counter() - started < 0.2
    assert text.endswith(" cook")
    assert len(text) < 40
