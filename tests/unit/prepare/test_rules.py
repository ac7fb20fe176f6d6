import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from jobtuner.config import Columns, Config, DataConfig, LeakageConfig, RuleConfig, SplitConfig
from jobtuner.contracts import PreparedData
from jobtuner.errors import DataError
from jobtuner.prepare.stage import run
from jobtuner.records import read_jsonl
from tests.unit.prepare.test_stage import rows_for

COLUMNS = Columns(id="key", employer="employer", title="title", date="date", translation_of="original")


def prepare(folder: Path, rows: list[dict[str, Any]], **sections: Any) -> PreparedData:
    empty = dict.fromkeys(("employer", "title", "date", "original"))
    named = [{**empty, "key": f"k{place}", **row} for place, row in enumerate(rows)]
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in named), encoding="utf-8")
    data = DataConfig(input=str(folder / "rows.jsonl"), columns=COLUMNS, **sections.pop("data", {}))
    (folder / "out").mkdir(exist_ok=True)
    return run(Config(name="test", data=data, **sections), {}, folder / "out")


def reasons(data: PreparedData) -> dict[str, str]:
    return {row["id"]: row["reason"] for row in read_jsonl(data.folder / "rejected.jsonl")}


def sides(data: PreparedData) -> dict[str, tuple[str, str]]:
    """Id to split and cluster."""
    names = ("train", "validation", "test")
    return {row["id"]: (name, row["cluster"]) for name in names for row in read_jsonl(data.folder / f"{name}.jsonl")}


def test_rows_that_break_a_rule_are_rejected_under_its_name(tmp_path: Path) -> None:
    rows = rows_for(["2512", "5120"], 12)
    for place, row in enumerate(rows):
        row["employer"] = f"firm {place}"
    rows[0]["text"] = "cook"
    rows[1]["employer"] = None
    rows[2]["employer"] = "Firm 2"
    rows[3]["language"] = "xx"
    rows[4]["text"] = "x" * 900
    rules = [
        RuleConfig(name="long enough", column="text", min_length=8, max_length=800),
        RuleConfig(name="has employer", column="employer", not_null=True),
        RuleConfig(name="small letters", column="employer", pattern="^[a-z0-9 ]+$"),
        RuleConfig(name="our languages", column="language", allowed=["en", "de"]),
    ]
    data = prepare(tmp_path, rows, data={"rules": rules})
    assert reasons(data) == {
        "k0": "rule 'long enough': text holds 'cook' of 4 characters",
        "k1": "rule 'has employer': employer holds nothing",
        "k2": "rule 'small letters': employer holds 'Firm 2' of 6 characters",
        "k3": "rule 'our languages': language holds 'xx' of 2 characters",
        "k4": f"rule 'long enough': text holds '{'x' * 60}' of 900 characters",
    }
    kinds = {row["kind"] for row in read_jsonl(data.folder / "rejected.jsonl")}
    assert "rule: has employer" in kinds
    assert "| rule: long enough | 2 |" in (data.folder / "card.md").read_text(encoding="utf-8")


def test_only_the_first_row_with_a_value_stays(tmp_path: Path) -> None:
    rows = rows_for(["2512", "5120"], 12)
    rows[5]["title"] = rows[9]["title"] = "the one"
    data = prepare(tmp_path, rows, data={"rules": [RuleConfig(name="one a title", column="title", unique=True)]})
    assert reasons(data) == {"k9": "rule 'one a title': title is that of k5"}


@pytest.mark.parametrize("wrong", [{}, {"pattern": "("}, {"min_length": 0}, {"not_null": False}])
def test_a_rule_must_check_something(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        RuleConfig(name="r", column="text", **wrong)


def test_missing_labels_fail_below_the_wanted_coverage(tmp_path: Path) -> None:
    rows = rows_for(["2512", "5120"], 12)
    with pytest.raises(DataError, match=r"Training holds 2 of the taxonomy's 48 labels, 4\.2%; at least 10\.0%"):
        prepare(tmp_path, rows, data={"min_label_coverage": 0.1})
    prepare(tmp_path, rows, data={"min_label_coverage": 0.04})


def test_leakage_fails_the_stage(tmp_path: Path) -> None:
    from jobtuner.config import DeduplicateConfig

    rows = rows_for(["2512", "5120"], 12)
    strict = SplitConfig(leakage=LeakageConfig(similarity=0.2, max_share=0.0))
    with pytest.raises(DataError, match=r"test rows have a training row of similarity 0\.2 or more"):
        prepare(tmp_path, rows, split=strict, deduplicate=DeduplicateConfig(threshold=1.0))


LONG = "we look for a colleague who bakes bread and rolls at night and serves guests in the morning in"


def test_reposts_of_an_employer_are_one_cluster(tmp_path: Path) -> None:
    rows = rows_for(["2512", "5120"], 12)
    other = LONG.replace("guests in the morning", "customers")
    for employer, text in (("Acme", LONG), ("ACME", other), ("Brot", LONG + " Leeds"), ("Acme", "x y z " * 20)):
        rows.append({"text": text, "label": "5120", "language": "en", "employer": employer, "title": "Baker"})
    found = sides(prepare(tmp_path, rows))
    assert found["k24"][1] == found["k25"][1]  # similar enough for a re-post, not for a near-duplicate
    assert found["k27"][1] != found["k24"][1]
    for row in rows[24:]:
        row["title"] = None
    found = sides(prepare(tmp_path, rows))
    assert found["k24"][1] != found["k25"][1]


def test_translations_are_one_cluster(tmp_path: Path) -> None:
    rows = rows_for(["2512", "5120"], 12)
    rows += [{"text": "Koch in Aarhus ganz neu", "label": "5120", "language": "de", "original": "k3"}]
    rows += [{"text": "kok i Aarhus helt nyt her", "label": "5120", "language": "da", "original": "k24"}]
    rows += [{"text": rows[4]["text"].upper(), "label": "2512", "language": "en", "key": "k90"}]  # a duplicate of k4
    rows += [{"text": "desarrollador nuevo en la ciudad", "label": "2512", "language": "es", "original": "k90"}]
    rows += [{"text": "one of a lost pair, the first", "label": "2512", "language": "en", "original": "lost"}]
    rows += [{"text": "zwei eines verlorenen Paares", "label": "2512", "language": "de", "original": "lost"}]
    found = sides(prepare(tmp_path, rows))
    clusters = {name: cluster for name, (_, cluster) in found.items()}
    assert clusters["k3"] == clusters["k24"] == clusters["k25"]
    assert clusters["k4"] == clusters["k27"]
    assert clusters["k28"] == clusters["k29"]
    assert len(set(clusters.values())) == 24 + 1


def test_split_by_employer_keeps_employers_on_one_side(tmp_path: Path) -> None:
    rows = rows_for(["2512", "5120"], 12)
    for place, row in enumerate(rows):
        row["employer"] = f"firm {place % 8}"
    found = sides(prepare(tmp_path, rows, split=SplitConfig(by="employer")))
    for firm in range(8):
        assert len({found[f"k{place}"] for place in range(24) if place % 8 == firm}) == 1
    assert len(set(sides(prepare(tmp_path, rows)).values())) > 8


def test_split_by_date_tests_on_the_latest(tmp_path: Path) -> None:
    rows = rows_for(["2512", "5120"], 12)
    for place, row in enumerate(rows):
        row["date"] = f"2026-01-{place % 12 + 1:02d}"
    by_date = SplitConfig(by="date", test=0.2, validation=0.2)
    found = sides(prepare(tmp_path, rows, split=by_date))
    days = {name: {int(key[1:]) % 12 for key, (side, _) in found.items() if side == name} for name in ("train", "test")}
    assert max(days["train"]) < min(days["test"])
    rows[3]["date"] = None
    with pytest.raises(DataError, match=r"1 of 24 usable rows have no date, e\.g\. k3"):
        prepare(tmp_path, rows, split=by_date)
    rows[3]["date"] = "31.12.2026"
    data = prepare(tmp_path, rows, split=by_date)
    assert reasons(data) == {"k3": "no date: '31.12.2026' in column 'date' is not as 2026-01-31"}
