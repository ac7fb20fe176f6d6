import gzip
import json
import tracemalloc
from collections.abc import Collection
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyarrow import parquet

from jobtuner import row_files
from jobtuner.errors import DataError
from jobtuner.row_files import Budget, Row, form_of, raw_rows

ROWS = [{"text": "Tømrer søges", "code": "7115"}, {"text": 'Zeile\nzwei, "Zitat"', "code": "2512"}]
JSONL = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in ROWS)
CONTENT = {
    ".jsonl": JSONL,
    ".json": json.dumps(ROWS, ensure_ascii=False, indent=1),
    ".csv": 'text,code\nTømrer søges,7115\n"Zeile\nzwei, ""Zitat""",2512\n',
    ".tsv": 'text\tcode\nTømrer søges\t7115\n"Zeile\nzwei, ""Zitat"""\t2512\n',
}


def everything(names: Collection[str]) -> None:
    return None


def rows(path: Path, limit: int | None = None) -> list[Row | str]:
    return list(raw_rows(path, everything, Budget(limit)))


def packed(path: Path, data: bytes) -> Path:
    if path.suffix == ".zst":
        with pa.CompressedOutputStream(str(path), "zstd") as stream:
            stream.write(data)
    else:
        path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


@pytest.mark.parametrize("packing", ["", ".gz", ".zst"])
@pytest.mark.parametrize("form", [*CONTENT, ".parquet"])
def test_every_form_in_every_packing_gives_the_same_rows(tmp_path: Path, form: str, packing: str) -> None:
    if form == ".parquet":
        parquet.write_table(pa.Table.from_pylist(ROWS), tmp_path / "plain.parquet")
        data = (tmp_path / "plain.parquet").read_bytes()
    else:
        data = CONTENT[form].encode()
    path = packed(tmp_path / f"a{form}{packing}", data)
    assert form_of(path) == form
    assert rows(path) == ROWS


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (JSONL, ROWS),  # objects one after another
        ('{"a": 1}{"a":2}\n\n {"a"\n: 3}', [{"a": 1}, {"a": 2}, {"a": 3}]),
        ('\ufeff [ {"a": [1, {"b": "]"}]} , {} ] ', [{"a": [1, {"b": "]"}]}, {}]),
        ("[]", []),
        ("  \n", []),
        (
            "[1, null, [2]]",
            [f"value {n} is a JSON {k}, not an object" for n, k in ((1, "int"), (2, "NoneType"), (3, "list"))],
        ),
        ("12", ["value 1 is a JSON int, not an object"]),
    ],
)
def test_json_lists_and_objects(
    tmp_path: Path, content: str, expected: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.json"
    path.write_text(content, encoding="utf-8")
    assert rows(path) == expected
    for size in (1, 3, 7):  # wherever a block ends
        monkeypatch.setattr(row_files, "_BLOCK", size)
        assert rows(path) == expected


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('[{"a": 1}', "is not JSON from '' on"),
        ('[{"a": 1}, {"a": ', "is not JSON from '{\"a\": ' on"),
        ('[{"a": 1}, nonsense, {"a": 2}]', "is not JSON from 'nonsense"),
        ('[{"a": 1}] {"a": 2}', "something follows the list's end"),
        ('{"a": 1} x', "is not JSON from 'x' on"),
        ("[" * 100_000, "is not JSON"),
    ],
)
def test_broken_json_names_the_place(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "a.json").write_text(content, encoding="utf-8")
    with pytest.raises(DataError, match=message):
        rows(tmp_path / "a.json")


@pytest.mark.parametrize("packing", [".gz", ".zst"])
def test_cut_and_damaged_archives_are_named(tmp_path: Path, packing: str) -> None:
    data = packed(tmp_path / f"a.jsonl{packing}", (JSONL * 2000).encode()).read_bytes()
    for name, content in (
        ("cut", data[: len(data) // 2]),
        ("junk", b"x" + data),
        ("flip", data[:99] + b"\0\0\0" + data[102:]),
    ):
        (tmp_path / f"{name}.jsonl{packing}").write_bytes(content)
        with pytest.raises(DataError, match=rf"{name}\.jsonl{packing} (is no complete|cannot be read)"):
            rows(tmp_path / f"{name}.jsonl{packing}")
    (tmp_path / f"cut.parquet{packing}").write_bytes(data[: len(data) // 2])
    with pytest.raises(DataError, match="is no complete packed file"):
        rows(tmp_path / f"cut.parquet{packing}")


@pytest.mark.parametrize("packing", ["", ".gz", ".zst"])
def test_input_larger_than_allowed_is_refused(tmp_path: Path, packing: str) -> None:
    path = packed(tmp_path / f"a.jsonl{packing}", JSONL.encode() * 1000)
    with pytest.raises(DataError, match=r"more than 50,000 bytes once unpacked \(data\.max_bytes\)"):
        rows(path, 50_000)
    budget = Budget(3 * len(JSONL.encode()) * 1000 // 2)
    assert len(list(raw_rows(path, everything, budget))) == 2000
    with pytest.raises(DataError, match="once unpacked"):  # the second file of one input
        list(raw_rows(path, everything, budget))


@pytest.mark.parametrize("name", ["a.jsonl.gz", "a.csv.zst", "a.parquet.gz"])
def test_zip_bombs_are_refused_by_their_ratio(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(row_files, "_BOMB_BYTES", 1_000_000)
    path = packed(tmp_path / name, b"text\n" + b"\n" * 4_000_000)
    with pytest.raises(DataError, match="looks like a zip bomb"):
        rows(path)


def test_parquet_that_unfolds_too_far_is_refused_before_it_is_read(tmp_path: Path) -> None:
    table = pa.table({"text": ["x" * 10_000] * 1000})
    parquet.write_table(table, tmp_path / "a.parquet", compression="zstd", use_dictionary=False)
    assert (tmp_path / "a.parquet").stat().st_size < 10_000
    with pytest.raises(DataError, match="more than 1,000,000 bytes"):
        rows(tmp_path / "a.parquet", 1_000_000)


def test_line_without_end_is_refused_before_it_fills_the_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(row_files, "LONGEST_ROW", 2_000_000)
    path = packed(tmp_path / "a.jsonl.gz", b'{"text": "' + b"a" * 40_000_000)
    tracemalloc.start()
    with pytest.raises(DataError, match=r"line before byte .* is longer than 2,000,000 bytes"):
        rows(path)
    assert tracemalloc.get_traced_memory()[1] < 20_000_000
    tracemalloc.stop()


@pytest.mark.parametrize("form", [".jsonl", ".json", ".csv"])
def test_memory_does_not_grow_with_the_file(tmp_path: Path, form: str) -> None:
    row = {"text": "a" * 1000, "code": "1"}
    count = 12_000  # 12 MB
    with (tmp_path / f"a{form}").open("w", encoding="utf-8") as stream:
        if form == ".csv":
            stream.write("text,code\n" + f"{row['text']},1\n" * count)
        elif form == ".json":
            stream.write("[" + ",\n".join([json.dumps(row)] * count) + "]")
        else:
            stream.write((json.dumps(row) + "\n") * count)
    tracemalloc.start()
    assert sum(1 for _ in raw_rows(tmp_path / f"a{form}", everything, Budget())) == count
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8_000_000  # blocks of 1 MiB, as bytes and as text


def test_parquet_value_that_python_cannot_hold_costs_its_row_alone(tmp_path: Path) -> None:
    texts = pa.array([b"fine", b"\xff\xfe", b"too"], pa.binary()).view(pa.string())
    parquet.write_table(pa.table({"text": texts}), tmp_path / "a.parquet")
    first, second, third = rows(tmp_path / "a.parquet")
    assert (first, third) == ({"text": "fine"}, {"text": "too"})
    assert isinstance(second, str)
    assert second.startswith("a value cannot be read (")


def test_the_place_of_a_foreign_byte_is_right_beyond_the_first_block(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(row_files, "_BLOCK", 5)
    (tmp_path / "a.csv").write_bytes("text\næøå\næøå\n".encode() + b"caf\xe9\n")
    with pytest.raises(DataError, match=r"byte 0xe9 at offset 22 \(line 4\)"):
        rows(tmp_path / "a.csv")
    (tmp_path / "b.csv").write_bytes("text\næ".encode()[:-1])
    with pytest.raises(DataError, match="ends within a character"):
        rows(tmp_path / "b.csv")
