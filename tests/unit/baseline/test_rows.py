"""Rows of any file: every accepted form of a label, and messages for the rest."""

import gzip
import json
from pathlib import Path

import pyarrow
import pytest
from pyarrow import parquet

from jobtuner.baseline.rows import Columns, LabelledRow, merge_equal, read_labelled
from jobtuner.errors import DataError

ROWS: list[dict[str, object]] = [
    {"text": "Nurse ", "label": "2221", "language": "en"},
    {"text": "Cook", "label": ["5120", "3434"]},
    {"text": "Clerk", "label": '["4110", 4120]'},
    {"text": "Guard", "label": "5414|5411"},
    {"text": "Driver", "label": 8322},
    {"text": "Nobody", "label": None},
    {"label": "1111"},
]
LABELS = [{"2221"}, {"5120", "3434"}, {"4110", "4120"}, {"5414", "5411"}, {"8322"}, set(), {"1111"}]


def jsonl(path: Path, rows: list[dict[str, object]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def test_reads_every_form_of_a_label(tmp_path: Path) -> None:
    rows = read_labelled(jsonl(tmp_path / "a.jsonl", ROWS), Columns(language="language"))
    assert [set(row.labels) for row in rows] == LABELS
    assert [row.text for row in rows] == ["Nurse", "Cook", "Clerk", "Guard", "Driver", "Nobody", ""]
    assert [row.number for row in rows] == list(range(1, 8))
    assert rows[0].language == "en" and rows[1].language == "und"


def test_all_forms_of_a_file_give_the_same_rows(tmp_path: Path) -> None:
    flat: list[dict[str, object]] = [{"text": f"Köchin, {k}", "label": f"51{k}0|5120"} for k in range(3)]
    expected = read_labelled(jsonl(tmp_path / "a.jsonl", flat), Columns())
    packed = tmp_path / "b.jsonl.gz"
    packed.write_bytes(gzip.compress((tmp_path / "a.jsonl").read_bytes()))
    table = tmp_path / "c.csv"
    lines = "".join(f'"{row["text"]}",{row["label"]}\n' for row in flat)
    table.write_text("\ufefftext,label\n" + lines, encoding="utf-8")  # a byte order mark, as spreadsheets write it
    columns = tmp_path / "d.parquet"
    parquet.write_table(pyarrow.Table.from_pylist(flat), columns)
    for path in (packed, table, columns):
        assert read_labelled(path, Columns()) == expected


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.txt", b"x", "no known form"),
        ("a.jsonl", b"", "has no rows"),
        ("a.jsonl", b'{"text": "a", "label": "1"}\n{oops\n', "line 2: not JSON"),
        ("a.jsonl", b"[1]\n", "a list where a JSON object"),
        ("a.jsonl", b'{"title": "a", "label": "1"}\n', r"no column text\. Its columns are label, title.*--text-column"),
        ("a.jsonl", b'{"text": 3, "label": "1"}\n', "row 1: 'text' holds a int"),
        ("a.jsonl", b'{"text": "a", "label": 1.5}\n', "the float 1.5.*numbers lose their zeros"),
        ("a.jsonl", b'{"text": "a", "label": "[1"}\n', "no JSON list"),
        ("a.jsonl", b'{"text": "\xff", "label": "1"}\n', "cannot be read"),
        ("a.csv", b"text,label\na,1,2\n", "line 2: another number of fields"),
        ("a.csv", b"text,label\na\n", "line 2: another number of fields"),
        ("a.jsonl.gz", b"x", "cannot be read"),
        ("a.parquet", b"x", "no readable Parquet"),
    ],
)
def test_names_what_is_wrong(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=message):
        read_labelled(tmp_path / name, Columns())


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"gone\.csv cannot be read"):
        read_labelled(tmp_path / "gone.csv", Columns())


def test_equal_texts_of_a_language_become_one_row() -> None:
    rows = [
        LabelledRow(1, "Head  Cook", frozenset({"1"}), "en"),
        LabelledRow(2, "head cook", frozenset({"2"}), "en"),
        LabelledRow(3, "head cook", frozenset({"3"}), "de"),
    ]
    assert merge_equal(rows) == [
        LabelledRow(1, "Head  Cook", frozenset({"1", "2"}), "en"),
        LabelledRow(3, "head cook", frozenset({"3"}), "de"),
    ]
