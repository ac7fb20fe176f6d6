from collections import Counter

from jobtuner.prepare.card import Cleaning, render_card
from jobtuner.prepare.sources import Rejected
from jobtuner.records import Example
from jobtuner.taxonomy import Occupation, Taxonomy

TAXONOMY = Taxonomy([Occupation("1", {"en": "Managers | chiefs"}), Occupation("2"), Occupation("3")])
SPLITS = {
    "train": [
        Example("a", "x" * 10, "1", "en", "same"),
        Example("b", "x" * 20, "1", "de", "same"),
        Example("c", "y" * 30, "2", "de", "other"),
    ],
    "validation": [Example("d", "z" * 5, "2", "de", "v")],
    "test": [Example("e", "w" * 7, "1", "en", "t")],
}
COUNTS = {"read": 9, "rejected": 3, "duplicates": 1, "train": 3, "validation": 1, "test": 1}
REJECTED = [
    Rejected("r1", "no label", "no label"),
    Rejected("r2", "unknown label", "label '99' is not in the taxonomy"),
    Rejected("r3", "unknown label", "label '98' is not in the taxonomy"),
]


def card(rejected: list[Rejected], splits: dict[str, list[Example]] = SPLITS) -> list[str]:
    cleaning = Cleaning(masked=Counter(EMAIL=4, URL=1), rows_masked=3, html=2, cut=1, padded_labels=5)
    return render_card(
        source="generated", counts=COUNTS, splits=splits, rejected=rejected, cleaning=cleaning, taxonomy=TAXONOMY
    ).splitlines()


def test_rows_add_up_in_the_first_table() -> None:
    lines = card(REJECTED)
    for line in ("| read | 9 |", "| = rejected | 3 |", "| + duplicates | 1 |", "| + train | 3 |", "| + test | 1 |"):
        assert line in lines


def test_languages_labels_and_lengths_by_split() -> None:
    lines = card(REJECTED)
    assert "| de | 2 | 1 | 0 |" in lines
    assert "| en | 1 | 0 | 1 |" in lines
    assert "| 1 Managers \\| chiefs | 2 | 0 | 1 |" in lines
    assert "2 labels occur, 1 labels of the taxonomy do not." in lines
    assert "| train | 10 | 20 | 20 | 30 |" in lines


def test_rejects_by_reason_with_the_first_row() -> None:
    lines = card(REJECTED)
    first = lines.index("| unknown label | 2 | r2: label '99' is not in the taxonomy |")
    assert lines[first + 1] == "| no label | 1 | r1: no label |"
    assert "None." in card([])


def test_personal_data_and_cleaning_are_counted() -> None:
    lines = card(REJECTED)
    for line in (
        "| rows with personal data | 3 |",
        "| places replaced by [EMAIL] | 4 |",
        "| places replaced by [PHONE] | 0 |",
        "| rows with HTML | 2 |",
        "| rows cut to the longest length | 1 |",
        "| labels that got leading zeros back | 5 |",
    ):
        assert line in lines


def test_largest_clusters_are_shown() -> None:
    lines = card(REJECTED)
    assert "4 clusters; 1 of them hold more than one row, 2 rows together. The largest:" in lines
    assert "| same | 2 | xxxxxxxxxx |" in lines
    alone = {name: [Example(item.id, item.text, "1", "en", item.id) for item in rows] for name, rows in SPLITS.items()}
    assert "5 clusters; 0 of them hold more than one row, 0 rows together." in card([], alone)


def test_long_label_lists_show_both_ends() -> None:
    many = [Example(f"{n}-{k}", "text", f"{n:02d}", "en", f"{n}-{k}") for n in range(30) for k in range(30 - n)]
    lines = card([], {**SPLITS, "train": many})
    labels = [line for line in lines if line.startswith(("| 0", "| 1", "| 2"))]
    assert len(labels) == 20
    assert labels[0].startswith("| 00 |")
