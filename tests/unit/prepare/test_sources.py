import gzip
import json
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyarrow import parquet

from jobtuner.config import Columns
from jobtuner.errors import DataError
from jobtuner.prepare.sources import Rejected, read_rows, source_files
from jobtuner.records import JobAd

PLAIN = Columns()
NO_LANGUAGE = Columns(language=None)


def write(path: Path, content: str | bytes) -> Path:
    data = content.encode() if isinstance(content, str) else content
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


def lines(*rows: Any) -> str:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def one(path: Path, columns: Columns = NO_LANGUAGE) -> JobAd | Rejected:
    (row,) = read_rows(path, columns)
    return row


def rejected(path: Path, columns: Columns = NO_LANGUAGE) -> Rejected:
    row = one(path, columns)
    assert isinstance(row, Rejected), row
    return row


ROWS = [
    {"text": "Tømrer søges", "label": "7115", "language": "da"},
    {"text": 'Zeilen\numbruch, "Zitat"', "label": "2512", "language": "de"},
]
CSV = 'text,label,language\nTømrer søges,7115,da\n"Zeilen\numbruch, ""Zitat""",2512,de\n'
EXPECTED = [("Tømrer søges", "7115", "da"), ('Zeilen\numbruch, "Zitat"', "2512", "de")]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.jsonl", lines(*ROWS)),
        ("a.jsonl.gz", lines(*ROWS)),
        ("a.JSONL", lines(*ROWS).replace("\n", "\r\n")),
        ("a.csv", CSV),
        ("a.csv.gz", CSV),
        ("a.csv", b"\xef\xbb\xbf" + CSV.encode()),
        ("a.csv", 'text;label;language\nTømrer søges;7115;da\n"Zeilen\numbruch, ""Zitat""";2512;de\n'),
    ],
)
def test_text_forms_give_the_same_ads(tmp_path: Path, name: str, content: str | bytes) -> None:
    ads = list(read_rows(write(tmp_path / name, content), PLAIN))
    assert [(ad.text, ad.label, ad.language) for ad in ads] == EXPECTED
    assert [ad.id for ad in ads] == [f"{name}:1", f"{name}:2"]


def test_parquet_gives_the_same_ads_and_reads_only_the_columns_named(tmp_path: Path) -> None:
    table = pa.table({**{key: [row[key] for row in ROWS] for key in ROWS[0]}, "other": [[1], [2]]})
    parquet.write_table(table, tmp_path / "a.parquet")
    ads = list(read_rows(tmp_path / "a.parquet", PLAIN))
    assert [(ad.text, ad.label, ad.language) for ad in ads] == EXPECTED


def test_folder_is_read_in_the_order_of_names(tmp_path: Path) -> None:
    (tmp_path / "part").mkdir()
    write(tmp_path / "b.csv", "text,label\nzwei,2\n")
    write(tmp_path / "part" / "c.jsonl", lines({"text": "drei", "label": "3"}))
    write(tmp_path / "a.jsonl.gz", lines({"text": "eins", "label": "1"}))
    write(tmp_path / "_SUCCESS", "")
    write(tmp_path / ".hidden", "x")
    ads = list(read_rows(tmp_path, NO_LANGUAGE))
    assert [(ad.id, ad.label) for ad in ads] == [("a.jsonl.gz:1", "1"), ("b.csv:1", "2"), ("part/c.jsonl:1", "3")]


def test_columns_are_mapped(tmp_path: Path) -> None:
    row = {"id": 7, "job": "Koch", "isco": "5120", "lang": "de-AT", "employer": "Gasthof"}
    columns = Columns(text="job", label="isco", language="lang", id="id", group="employer")
    assert one(write(tmp_path / "a.jsonl", lines(row)), columns) == JobAd("7", "Koch", "5120", "de", "Gasthof")


@pytest.mark.parametrize("language", ["", None])
def test_empty_language_counts_as_undetermined(tmp_path: Path, language: str | None) -> None:
    path = write(tmp_path / "a.jsonl", lines({"text": "Koch", "label": "5120", "language": language}))
    row = one(path, PLAIN)
    assert row.language == "und"
    assert isinstance(row, JobAd)


def test_numbers_are_labels_only_where_nothing_is_lost(tmp_path: Path) -> None:
    table = pa.table({"text": ["a"] * 3, "label": pa.array([2512, 110, None], pa.int32())})
    parquet.write_table(table, tmp_path / "int.parquet")
    first, second, third = read_rows(tmp_path / "int.parquet", NO_LANGUAGE)
    assert (first.label, second.label) == ("2512", "110")
    assert isinstance(third, Rejected)
    assert third.kind == "no label"
    table = pa.table({"text": ["a"] * 3, "label": [110.0, 2512.4, float("nan")]})
    parquet.write_table(table, tmp_path / "float.parquet")
    kinds = [
        (row.kind, row.reason)
        for row in read_rows(tmp_path / "float.parquet", NO_LANGUAGE)
        if isinstance(row, Rejected)
    ]
    assert kinds[0] == (
        "label is a decimal number",
        "label is a decimal number 110.0: zeros are lost in it; store codes as text",
    )
    assert [kind for kind, _ in kinds] == ["label is a decimal number"] * 2 + ["no label"]


@pytest.mark.parametrize(
    ("row", "kind"),
    [
        ({"text": "a", "label": None}, "no label"),
        ({"text": "a", "label": "  "}, "no label"),
        ({"text": "a"}, "no label"),
        ({"text": "a", "label": True}, "label is not text"),
        ({"text": "a", "label": []}, "label is not text"),
        ({"text": "a", "label": ["2512", ["2513"]]}, "label is not text"),
        ({"text": "a", "label": ["2512", None]}, "no label"),
        ({"text": "a", "label": -5}, "label is not text"),
        ({"text": None, "label": "1"}, "no text"),
        ({"text": 12, "label": "1"}, "text is not a string"),
        ({"text": {"de": "a"}, "label": "1"}, "text is not a string"),
    ],
)
def test_unusable_rows_are_rejected_with_their_reason(tmp_path: Path, row: dict[str, Any], kind: str) -> None:
    good = {"text": "Koch", "label": "5120"}
    first, second = read_rows(write(tmp_path / "a.jsonl", lines(good, row)), NO_LANGUAGE)
    assert isinstance(first, JobAd)
    assert isinstance(second, Rejected)
    assert second.kind == kind
    assert second.reason.startswith(kind)
    assert second.id == "a.jsonl:2"
    json.dumps(second.to_row())


def test_unusual_parquet_types_are_rejected_not_guessed(tmp_path: Path) -> None:
    table = pa.table({"text": ["a", "b"], "label": [Decimal("2512"), Decimal("1")]})
    parquet.write_table(table, tmp_path / "a.parquet")
    assert {row.kind for row in read_rows(tmp_path / "a.parquet", NO_LANGUAGE) if isinstance(row, Rejected)} == {
        "label is not text"
    }
    parquet.write_table(pa.table({"text": [date(2024, 1, 2)], "label": ["1"]}), tmp_path / "b.parquet")
    assert rejected(tmp_path / "b.parquet").reason == "text is not a string: date 2024-01-02"


def test_language_that_is_no_code_is_rejected(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", lines({"text": "a", "label": "1", "language": "English"}))
    assert rejected(path, PLAIN).reason == "unknown language 'English': ISO 639-1 codes such as en are accepted"


def test_row_without_the_id_column_is_rejected(tmp_path: Path) -> None:
    rows = [{"text": "a", "label": "1", "key": "x"}, {"text": "b", "label": "1", "key": None}]
    _, second = read_rows(write(tmp_path / "a.jsonl", lines(*rows)), Columns(language=None, id="key"))
    assert isinstance(second, Rejected)
    assert (second.kind, second.id) == ("no id", "a.jsonl:2")


def test_broken_json_lines_do_not_stop_the_reading(tmp_path: Path) -> None:
    content = lines({"text": "a", "label": "1"}) + '{"text": "b", \n\n[1]\n' + lines({"text": "c", "label": "1"})
    rows = list(read_rows(write(tmp_path / "a.jsonl", content), NO_LANGUAGE))
    assert [type(row) for row in rows] == [JobAd, Rejected, Rejected, JobAd]
    broken = [row for row in rows if isinstance(row, Rejected)]
    assert broken[0].reason.startswith("broken row: line 2 is not JSON")
    assert broken[1].reason == "broken row: line 4 is a JSON list, not an object"


def test_csv_rows_of_another_width_are_rejected(tmp_path: Path) -> None:
    content = "text,label\nfine,1\none, two, three,1\nshort\n\nlast,2\n"
    rows = list(read_rows(write(tmp_path / "a.csv", content), NO_LANGUAGE))
    reasons = [row.reason for row in rows if isinstance(row, Rejected)]
    assert reasons == [
        "broken row: line 3 has 4 fields, the header 2 (',' separates them)",
        "broken row: line 4 has 1 fields, the header 2 (',' separates them)",
    ]
    assert [row.text for row in rows if isinstance(row, JobAd)] == ["fine", "last"]


def test_csv_quote_in_the_middle_is_rejected_and_an_open_one_is_fatal(tmp_path: Path) -> None:
    rows = list(read_rows(write(tmp_path / "a.csv", 'text,label\n"a"b,1\nc,2\n'), NO_LANGUAGE))
    assert [type(row) for row in rows] == [Rejected, JobAd]
    with pytest.raises(DataError, match=r"b\.csv: a quote opens in line 3 and is never closed"):
        list(read_rows(write(tmp_path / "b.csv", 'text,label\na,1\n"b,2\nc,3\n'), NO_LANGUAGE))


def test_long_csv_field_is_read(tmp_path: Path) -> None:
    assert len(one(write(tmp_path / "a.csv", f"text,label\n{'x' * 200_000},1\n")).text) == 200_000


def test_lone_surrogates_become_writable(tmp_path: Path) -> None:
    row = one(write(tmp_path / "a.jsonl", '{"text": "a\\ud83d b", "label": "1"}\n'))
    assert row.text == "a\ufffd b"


@pytest.mark.parametrize(
    ("name", "content", "columns", "message"),
    [
        ("a.jsonl", "", NO_LANGUAGE, r"a\.jsonl is empty"),
        ("a.jsonl", "\n \n", NO_LANGUAGE, r"a\.jsonl is empty"),
        ("a.csv", "", NO_LANGUAGE, r"a\.csv is empty"),
        ("a.csv", "text,label\n", NO_LANGUAGE, r"a\.csv is empty"),
        ("a.jsonl.gz", "", NO_LANGUAGE, r"a\.jsonl\.gz is empty"),
        ("a.xlsx", "x", NO_LANGUAGE, r"a\.xlsx ends with none of \.jsonl, .*\.parquet, each .*\.zst\. Convert"),
        ("a.json", "[]", NO_LANGUAGE, r"a\.json is empty"),
        (
            "a.csv",
            "title,label\nx,1\n",
            NO_LANGUAGE,
            r"a\.csv has no column 'text' \(data\.columns\.text\)\. Its columns are label, title\. Set data\.columns",
        ),
        ("a.jsonl", lines({"text": "x", "code": "1"}), NO_LANGUAGE, r"no column 'label' .*Its columns are code, text"),
        (
            "a.jsonl",
            lines({"text": "x", "label": "1"}),
            PLAIN,
            r"no column 'language' .*Set data\.columns\.language to one of them, or to null",
        ),
        ("a.csv", "text,label,text\na,1,b\n", NO_LANGUAGE, r"more than one column text"),
        ("a.csv", b"text,label\nok,1\ncaf\xe9,2\n", NO_LANGUAGE, r"byte 0xe9 at offset 19 \(line 3\).*iconv -f cp1252"),
        ("a.csv.gz", b"text,label\nok,1\ncaf\xe9,2\n", NO_LANGUAGE, r"byte 0xe9 at offset 19 \(line 3\)"),
        ("a.jsonl", lines({"text": "x", "label": "1"}).encode("utf-16"), NO_LANGUAGE, r"offset 0 .*iconv -f UTF-16"),
        ("a.parquet", b"no parquet", NO_LANGUAGE, r"a\.parquet is no readable Parquet file"),
    ],
)
def test_unusable_files_are_named(
    tmp_path: Path, name: str, content: str | bytes, columns: Columns, message: str
) -> None:
    with pytest.raises(DataError, match=message):
        list(read_rows(write(tmp_path / name, content), columns))


def test_not_utf8_far_into_a_file_is_located(tmp_path: Path) -> None:
    head = lines(*({"text": f"row {number}", "label": "1"} for number in range(20_000))).encode()
    with pytest.raises(DataError, match=rf"at offset {len(head)} \(line 20001\)"):
        list(read_rows(write(tmp_path / "a.jsonl", head + b"\xff\n"), NO_LANGUAGE))


def test_cut_gzip_is_named(tmp_path: Path) -> None:
    whole = gzip.compress(lines(*({"text": f"row {number}", "label": "1"} for number in range(5000))).encode())
    (tmp_path / "a.jsonl.gz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match=r"a\.jsonl\.gz is no complete gzip file"):
        list(read_rows(tmp_path / "a.jsonl.gz", NO_LANGUAGE))
    (tmp_path / "b.jsonl.gz").write_bytes(b"plain")
    with pytest.raises(DataError, match=r"b\.jsonl\.gz is no complete gzip file"):
        list(read_rows(tmp_path / "b.jsonl.gz", NO_LANGUAGE))


def test_parquet_problems_are_named(tmp_path: Path) -> None:
    parquet.write_table(pa.table({"title": ["x"], "code": ["1"]}), tmp_path / "a.parquet")
    with pytest.raises(DataError, match=r"no column 'text' .*Its columns are code, title"):
        list(read_rows(tmp_path / "a.parquet", NO_LANGUAGE))
    parquet.write_table(pa.table({"text": ["x"], "code": ["1"]}), tmp_path / "b.parquet")
    with pytest.raises(DataError, match=r"no column 'label' .*Its columns are code, text"):
        list(read_rows(tmp_path / "b.parquet", NO_LANGUAGE))
    parquet.write_table(
        pa.table({"text": pa.array([], pa.string()), "label": pa.array([], pa.string())}), tmp_path / "c.parquet"
    )
    with pytest.raises(DataError, match=r"c\.parquet is empty"):
        list(read_rows(tmp_path / "c.parquet", NO_LANGUAGE))


def test_missing_input_and_bad_folders_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"nowhere\.csv does not exist"):
        source_files(tmp_path / "nowhere.csv")
    with pytest.raises(DataError, match="holds no data files"):
        source_files(tmp_path)
    write(tmp_path / "a.csv", "text,label\na,1\n")
    write(tmp_path / "notes.docx", "x")
    with pytest.raises(DataError, match=r"holds notes\.docx; data files end with"):
        source_files(tmp_path)


def test_links_that_leave_the_folder_are_refused(tmp_path: Path) -> None:
    outside = write(tmp_path / "secret.jsonl", lines({"text": "a", "label": "1"}))
    folder = tmp_path / "ads"
    (folder / "part").mkdir(parents=True)
    write(folder / "part" / "a.jsonl", lines({"text": "a", "label": "1"}))
    (folder / "b.jsonl").symlink_to("part/a.jsonl")
    assert len(list(read_rows(folder, NO_LANGUAGE))) == 2
    (folder / "c.jsonl").symlink_to(outside)
    with pytest.raises(DataError, match=r"c\.jsonl is a link to .*secret\.jsonl, outside the folder"):
        list(read_rows(folder, NO_LANGUAGE))


def test_the_limit_counts_over_all_files(tmp_path: Path) -> None:
    for name in ("a.jsonl", "b.jsonl.gz"):
        write(tmp_path / name, lines({"text": "a" * 80, "label": "1"}))
    assert len(list(read_rows(tmp_path, NO_LANGUAGE, max_bytes=300))) == 2
    with pytest.raises(DataError, match=r"b\.jsonl\.gz: the input holds more than 150 bytes"):
        list(read_rows(tmp_path, NO_LANGUAGE, max_bytes=150))
