import re
from collections import Counter
from dataclasses import replace
from pathlib import Path

from jobtuner.prepare.card import render_card, write_card
from jobtuner.prepare.card_charts import CHARTS
from jobtuner.prepare.card_facts import CardFacts, Cleaning, Cluster, Pair, SplitFacts
from jobtuner.prepare.leakage import Leakage, Neighbour
from jobtuner.prepare.sources import Rejected
from jobtuner.prepare.tokens import TokenLengths
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


NEAREST = Leakage([Neighbour(0, 1, 0.85), Neighbour(2, 3, 0.45)], test_rows=9)


def facts(rejected: list[Rejected], splits: dict[str, list[Example]] = SPLITS) -> CardFacts:
    rows = [example for examples in splits.values() for example in examples]
    sizes = Counter(example.cluster for example in rows)
    text_of = {example.cluster: example.text for example in reversed(rows)}
    return CardFacts(
        source="generated",
        counts=COUNTS,
        splits={
            name: SplitFacts(
                Counter(row.language for row in examples),
                Counter(row.label for row in examples),
                sorted(len(row.text) for row in examples),
            )
            for name, examples in splits.items()
        },
        rejected=Counter(row.kind for row in rejected),
        first_rejected={row.kind: row for row in reversed(rejected)},
        cleaning=Cleaning(
            masked=Counter(EMAIL=4, URL=1),
            rows_masked=3,
            html=2,
            cut=1,
            padded_labels=5,
            orders=6,
            repaired=7,
            lines=8,
            told=9,
            foreign=11,
        ),
        taxonomy=TAXONOMY,
        cluster_sizes=Counter(sizes.values()),
        largest=[Cluster(name, size, text_of[name]) for name, size in sizes.items() if size > 1],
        near_duplicates=0.85,
        leakage=NEAREST,
        nearest=[Pair(0.85, "e: <w>|", "a: x")],
    )


def card(rejected: list[Rejected], splits: dict[str, list[Example]] = SPLITS) -> list[str]:
    return render_card(facts(rejected, splits)).splitlines()


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
        "| passages left out that spoke to the machine | 6 |",
        "| rows whose characters were repaired | 7 |",
        "| rows that lost repeated lines or boilerplate | 8 |",
        "| rows whose language was told from the text | 9 |",
        "| training rows that got a foreign sentence (data.hostile) | 11 |",
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
    lines = lines[lines.index("## Labels") : lines.index("## Lengths in characters")]
    labels = [line for line in lines if line.startswith(("| 0", "| 1", "| 2"))]
    assert len(labels) == 20
    assert labels[0].startswith("| 00 |")


def test_nearest_training_rows() -> None:
    lines = card([])
    assert "For 2 of 9 test rows, the similarity of the nearest training row." in lines
    assert "| 0.9 or more | 0.0% |" in lines
    assert "| 0.8 or more | 50.0% |" in lines
    assert "| 0.3 or more | 100.0% |" in lines
    assert "| 0.85 | e: &lt;w&gt;\\| | a: x |" in lines


def test_the_page_is_whole_and_harmless(tmp_path: Path) -> None:
    evil = Rejected("r9", "no label", "<script>alert(1)</script>")
    tokens = TokenLengths("standin", 12, {"train": [3, 5, 9], "validation": [4], "test": [13]})
    told = replace(facts([evil]), tokens=tokens)
    write_card(told, tmp_path)
    page = (tmp_path / "card.html").read_text(encoding="utf-8")
    assert "<script" not in page
    assert "&lt;script&gt;alert(1)" in page
    assert page.count("data:image/png;base64,") == len(CHARTS)
    assert not re.findall(r"(?:src|href)=\"(?!data:)", page)
    for name in CHARTS:
        assert (tmp_path / name).read_bytes().startswith(b"\x89PNG")
    assert (tmp_path / "card.md").read_text(encoding="utf-8") == render_card(told)
    lines = render_card(told).splitlines()
    assert "| train | 3 | 5 | 5 | 9 | 3 | 0 |" in lines
    assert "| test | 13 | 13 | 13 | 13 | 1 | 1 |" in lines


def test_tokens_that_could_not_be_counted_are_told() -> None:
    told = replace(facts([]), tokens=TokenLengths("Qwen/x", 12, {}, missing="The tokenizer cannot be loaded."))
    assert "Not counted: The tokenizer cannot be loaded." in render_card(told).splitlines()
