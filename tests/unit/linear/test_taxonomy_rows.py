"""A taxonomy's titles as training rows, and how they are joined with labelled rows."""

import pytest

from jobtuner.errors import DataError
from jobtuner.linear.rows import collect
from jobtuner.linear.taxonomy_rows import TitleRow, taxonomy_rows
from jobtuner.taxonomy import Occupation, Taxonomy

ESCO = Taxonomy(
    [
        Occupation("2", {"en": "Professionals"}),
        Occupation("2221", {"en": "Nurses", "da": "Sygeplejersker"}),
        Occupation("2221.1", {"en": "nurse"}, "", {"en": ["ward nurse", "staff nurse"]}),
        Occupation("2221.1.4", {"en": "night nurse"}),
        Occupation("2512.4", {"en": "developer"}),
    ]
)


def test_titles_go_to_the_nearest_label_above_them() -> None:
    rows = taxonomy_rows([ESCO], {"2221", "2221.1", "2512"})
    assert {(row.text, row.label) for row in rows} == {
        ("Nurses", "2221"),
        ("Sygeplejersker", "2221"),
        ("nurse", "2221.1"),
        ("ward nurse", "2221.1"),
        ("staff nurse", "2221.1"),
        ("night nurse", "2221.1"),
        ("developer", "2512"),
    }
    assert rows == sorted(rows) and rows == taxonomy_rows([ESCO, ESCO], ["2512", "2221.1", "2221"])


def test_labels_share_equal_texts_and_titles_follow() -> None:
    titles = [TitleRow("cook", "1", "en"), TitleRow("kok", "1", "da"), TitleRow("x", "9", "en")]
    rows = collect(["A b", "a  B", "c"], ["1", {"1", "2"}, "2"], ["en", "en", "und"], titles, 100)
    assert rows.texts == ["a b", "c", "cook", "kok"] and rows.labels == ["1", "2"]
    assert rows.targets.toarray().tolist() == [[0.75, 0.25], [0, 1], [1, 0], [1, 0]]
    assert (rows.labelled, rows.near, rows.far) == (2, 1, 1)
    assert rows.weights(0.5).tolist() == [1.0, 1.0, 0.5, 0.5]


def test_too_many_titles_are_thinned_and_those_of_the_rows_languages_have_most_places() -> None:
    titles = [TitleRow(f"{language}{k}", "1", language) for language in ("da", "en") for k in range(100)]
    rows = collect(["a", "b"], ["1", "2"], ["en-GB", "und"], titles, 40)
    assert (rows.near, rows.far) == (30, 10)
    assert all(text.startswith("en") for text in rows.texts[2:32])
    unknown = collect(["a", "b"], ["1", "2"], None, titles, 1000)
    assert (unknown.near, unknown.far) == (200, 0)


def test_a_row_without_a_label_is_refused() -> None:
    with pytest.raises(DataError, match="Row 1 "):
        collect(["a"], [()], None, [], 0)
