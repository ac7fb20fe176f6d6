from pathlib import Path

import pytest

from jobtuner.errors import ContractError
from jobtuner.records import Example, JobAd, Prediction, harmless_cell, read_jsonl, write_jsonl


@pytest.mark.parametrize("name", ["rows.jsonl", "rows.jsonl.gz"])
def test_records_come_back_as_they_were(tmp_path: Path, name: str) -> None:
    rows = [JobAd("1", "Koch\n„gesucht“ ", "5120", "de", None), JobAd("2", "x", None)]
    assert write_jsonl(tmp_path / name, rows) == 2
    assert [JobAd.from_json(row) for row in read_jsonl(tmp_path / name)] == rows


def test_unknown_fields_are_refused() -> None:
    with pytest.raises(ContractError, match="titel"):
        Example.from_json({"id": "1", "titel": "x"})


def test_a_cut_file_names_its_line(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text('{"id": "1"}\n{"id": "2"')
    with pytest.raises(ContractError, match="line 2"):
        list(read_jsonl(path))
    path.write_text("3\n")
    with pytest.raises(ContractError, match="a int where"):
        list(read_jsonl(path))


def test_a_prediction_survives_json(tmp_path: Path) -> None:
    row = Prediction("1", "5120", "de", "5131", 0.5, [("5131", 0.5), ("5120", 0.25)], 2)
    write_jsonl(tmp_path / "p.jsonl", [row])
    [back] = [Prediction.from_json(item) for item in read_jsonl(tmp_path / "p.jsonl")]
    assert [tuple(item) for item in back.top] == row.top


@pytest.mark.parametrize("formula", ["=1+1", "+1", "-2+3", "@SUM(A1)", "\t=1", "\r=1", "  =1", "\u00a0=1"])
def test_a_formula_becomes_text_in_a_cell(formula: str) -> None:
    assert harmless_cell(formula) == f"'{formula}"


@pytest.mark.parametrize("value", ["nurse", "", "a=b", "'=1", 3, -3.5, None, True])
def test_other_cells_stay(value: object) -> None:
    assert harmless_cell(value) is value
