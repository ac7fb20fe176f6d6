import csv
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from jobtuner.errors import TaxonomyError
from jobtuner.taxonomy import Occupation, Taxonomy
from jobtuner.taxonomy_migrate import (
    Move,
    migrate_rows,
    plan_moves,
    read_choices,
    read_crosswalk,
    write_plan,
)

OLD = Taxonomy(
    [
        Occupation("10", {"en": "Nurses"}),
        Occupation("11", {"en": "Ward nurses", "de": "Stationspfleger"}),
        Occupation("20", {"en": "Typists"}),
        Occupation("30", {"en": "Cooks"}),
        Occupation("40", {"en": "=Clerks"}),
        Occupation("50", {"en": "Drivers"}),
    ]
)
NEW = Taxonomy(
    [
        Occupation("100", {"en": "Nurses"}),
        Occupation("30", {"de": "Köche", "en": "COOKS"}),
        Occupation("401", {"en": "Office clerks"}),
        Occupation("402", {"en": "Bank clerks"}),
        Occupation("50", {"en": "Pilots"}),
    ]
)
CROSSWALK = {"10": ["100"], "11": ["100"], "40": ["401", "402"]}


def kinds(moves: list[Move]) -> dict[str, tuple[str, tuple[str, ...]]]:
    return {move.code: (move.kind, move.targets) for move in moves}


def test_one_successor_moves_and_all_else_is_for_a_person() -> None:
    assert kinds(plan_moves(OLD, NEW, CROSSWALK)) == {
        "10": ("mapped", ("100",)),
        "11": ("mapped", ("100",)),
        "20": ("gone", ()),
        "30": ("kept", ("30",)),
        "40": ("review", ("401", "402")),
        "50": ("review", ("50",)),  # the same code under another title
    }


def test_a_review_filled_in_settles_the_rest(tmp_path: Path) -> None:
    write_plan(tmp_path, plan_moves(OLD, NEW, CROSSWALK), OLD, NEW)
    with (tmp_path / "review.csv").open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [(row["old"], row["new"]) for row in rows] == [("40", "401"), ("40", "402"), ("50", "50")]
    assert rows[0]["old_title"] == "'=Clerks"  # no formula in a spreadsheet
    rows[1]["choose"] = "x"
    with (tmp_path / "done.csv").open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    choices = read_choices(tmp_path / "done.csv")
    assert choices == {"40": "402"}
    assert kinds(plan_moves(OLD, NEW, CROSSWALK, choices))["40"] == ("chosen", ("402",))


def test_rows_get_their_new_codes_or_wait_with_the_candidates(tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = [
        {"id": 1, "text": "a", "label": "10"},
        {"id": 2, "text": "b", "label": "stationspfleger"},
        {"id": 3, "text": "c", "label": "40"},
        {"id": 4, "text": "d", "label": "20"},
        {"id": 5, "text": "e", "label": "99"},
        {"id": 6, "text": "f"},
    ]
    (tmp_path / "in.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows) + "no json\n", encoding="utf-8")
    counts = migrate_rows(tmp_path / "in.jsonl", "label", plan_moves(OLD, NEW, CROSSWALK), OLD, tmp_path / "out")
    assert counts == {"mapped": 2, "review": 1, "gone": 1, "unknown": 3}
    done = [json.loads(line) for line in (tmp_path / "out" / "rows.jsonl").read_text("utf-8").splitlines()]
    assert done == [rows[0] | {"label": "100"}, rows[1] | {"label": "100"}]
    waiting = [
        json.loads(line) for line in (tmp_path / "out" / "rows_for_review.jsonl").read_text("utf-8").splitlines()
    ]
    assert waiting[0] == rows[2] | {"migration": "review", "candidates": ["401", "402"]}
    assert Counter(row["migration"] for row in waiting) == {"review": 1, "gone": 1, "unknown": 3}
    assert len(done) + len(waiting) == 7


def test_crosswalks_are_read_and_mistakes_named(tmp_path: Path) -> None:
    (tmp_path / "walk.csv").write_text("from,to\n10,100\n40,401\n40,402\n40,401\n20,\n", encoding="utf-8")
    assert read_crosswalk(tmp_path / "walk.csv", "from", "to") == {"10": ["100"], "40": ["401", "402"]}
    with pytest.raises(TaxonomyError, match=r"row 1 has no old or no new; it has from, to\. Name the columns"):
        read_crosswalk(tmp_path / "walk.csv", "old", "new")
    (tmp_path / "none.csv").write_text("old,new\n,\n", encoding="utf-8")
    with pytest.raises(TaxonomyError, match="says of no code"):
        read_crosswalk(tmp_path / "none.csv", "old", "new")
    with pytest.raises(TaxonomyError, match=r"1 codes .* are no labels of the new taxonomy, e\.g\. 999"):
        plan_moves(OLD, NEW, {"10": ["999"]})
    (tmp_path / "review.csv").write_text("old,old_title,new,new_title,choose\n1,,2,,x\n1,,3,,x\n", encoding="utf-8")
    with pytest.raises(TaxonomyError, match="1 has two marks, 2 and 3"):
        read_choices(tmp_path / "review.csv")
    with pytest.raises(TaxonomyError, match=r"is no review\.csv"):
        read_choices(tmp_path / "walk.csv")
