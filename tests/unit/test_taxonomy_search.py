import pytest

from jobtuner.taxonomy import Occupation, Taxonomy
from jobtuner.taxonomy_search import find_codes

TAXONOMY = Taxonomy(
    [
        Occupation("1", {"en": "Software developer", "de": "Softwareentwickler"}),
        Occupation("2", {"en": "Web developer"}, "", {"en": ["Front-end developer"]}),
        Occupation("3", {"en": "Developer"}),
        Occupation("4", {"en": "Nurse"}),
    ]
)


@pytest.mark.parametrize(
    ("text", "codes"),
    [
        ("developer", ["3"]),
        ("SOFTWAREENTWICKLER", ["1"]),
        ("front end", ["2"]),
        ("devel", ["3", "2", "1"]),
        ("nurze", ["4"]),
        ("zzz", []),
        ("  ", []),
    ],
)
def test_texts_find_codes(text: str, codes: list[str]) -> None:
    assert find_codes(TAXONOMY, text, 10) == codes


def test_no_more_than_asked_for() -> None:
    assert find_codes(TAXONOMY, "devel", 2) == ["3", "2"]
