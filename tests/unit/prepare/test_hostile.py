"""Hostile input: whatever the bytes, every row is accounted for, and nothing but a `DataError` is raised.

The inputs are made by a seeded generator: valid files, pieces that parsers trip over, and random damage to both.
"""

import csv
import gzip
import io
import json
import random
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyarrow import parquet

from jobtuner.clean import clean_text
from jobtuner.config import CleanConfig, Columns, Config, DataConfig
from jobtuner.errors import DataError
from jobtuner.prepare.parts import numbered, part_rows, to_table
from jobtuner.prepare.sources import Rejected, read_rows
from jobtuner.prepare.stage import run
from jobtuner.prepare.steps import work
from jobtuner.records import JobAd
from jobtuner.taxonomy import builtin_taxonomy

FEW, MANY = 120, 10_000
COLUMNS = Columns(language="language", id=None)
PIECES = [
    *(
        '{"text": ',
        '"label": ',
        '"',
        "\\",
        "\\ud800",
        "\\u0000",
        "{",
        "}",
        "[",
        "]",
        "null",
        "NaN",
        "1e999",
        "-0",
        ",",
        ":",
    ),
    *(";", "\t", "\n", "\r\n", "\r", "'", '""', "\x00", "\ufeff", "\u2028", "text", "label", "language", "2512", "en"),
    *(
        "<p>",
        "</p>",
        "<",
        ">",
        "&",
        "&#xD800;",
        "&#99999999999;",
        "&amp",
        "<!--",
        "-->",
        "<![CDATA[",
        "<script>",
        "<a b='",
    ),
    *(
        "=HYPERLINK(1)",
        "9" * 60,
        "9" * 5000,
        "[" * 300,
        "é",
        "🚀",
        "\u202e",
        "\u0301" * 9,
        "a" * 3000,
        "@",
        "http://",
        "+49 ",
    ),
]
CELLS: list[Any] = [
    *(
        "night nurse",
        "",
        " ",
        "<p>cook</p>",
        "2512",
        "5120",
        "=1+1",
        "x" * 500,
        "\ud800",
        "a\x00b",
        "é" * 40,
        "+49 30 123456",
    ),
    *(None, 0, 2512, -3, 2.5, float("nan"), 10**30, True, [], ["2512"], {}, {"a": {"b": [1]}}, [[[[[[1]]]]]]),
]


def damaged(data: bytes, generator: random.Random) -> bytes:
    """The bytes with some of them changed, cut out, doubled or added."""
    found = bytearray(data)
    for _ in range(generator.choice((0, 1, 1, 2, 5))):
        place = generator.randrange(len(found) + 1)
        kind = generator.randrange(5)
        if kind == 0 and found:
            found[min(place, len(found) - 1)] ^= 1 << generator.randrange(8)
        elif kind == 1:
            del found[place : place + generator.randrange(1, 20)]
        elif kind == 2:
            found[place:place] = generator.randbytes(generator.randrange(1, 8))
        elif kind == 3:
            found[place:place] = generator.choice(PIECES).encode("utf-8", "surrogatepass")
        else:
            found[place:place] = found[place : place + generator.randrange(1, 60)]
    return bytes(found)


def pieces(generator: random.Random, count: int = 30) -> str:
    return "".join(generator.choices(PIECES, k=generator.randrange(count)))


def rows_of(generator: random.Random) -> list[dict[str, Any]]:
    names = ("text", "label", "language")
    return [
        {name: generator.choice(CELLS) for name in names if generator.random() < 0.95}
        for _ in range(generator.randrange(1, 6))
    ]


def jsonl(generator: random.Random) -> bytes:
    if generator.random() < 0.3:
        return damaged(pieces(generator).encode("utf-8", "surrogatepass"), generator)
    lines = "".join(json.dumps(row) + "\n" for row in rows_of(generator))
    return damaged(lines.encode(), generator)


def table(generator: random.Random, delimiter: str) -> bytes:
    if generator.random() < 0.3:
        return damaged(("text,label,language\n" + pieces(generator)).encode("utf-8", "surrogatepass"), generator)
    stream = io.StringIO(newline="")
    writer = csv.writer(stream, delimiter=delimiter)
    writer.writerow(("text", "label", "language"))
    for row in rows_of(generator):
        writer.writerow([str(row.get(name, "")).replace("\ud800", "") for name in ("text", "label", "language")])
    return damaged(stream.getvalue().encode(), generator)


def columnar(generator: random.Random) -> bytes:
    size = generator.randrange(1, 40)
    texts = [generator.choice(("nurse", "", None, "x" * 300)) for _ in range(size)]
    labels: list[Any] = [generator.choice((2512, None)) for _ in range(size)]
    if generator.random() < 0.5:
        labels = [None if label is None else str(label) for label in labels]
    frame = pa.table({"text": texts, "label": labels, "language": ["en"] * size})
    stream = io.BytesIO()
    parquet.write_table(frame, stream, compression=generator.choice(("snappy", "none", "gzip", "zstd")))
    return damaged(stream.getvalue(), generator)


def packed(generator: random.Random) -> bytes:
    return damaged(gzip.compress(jsonl(generator), compresslevel=1), generator)


FORMS: dict[str, Callable[[random.Random], bytes]] = {
    "bytes.jsonl": lambda generator: generator.randbytes(generator.randrange(300)),
    "rows.jsonl": jsonl,
    "rows.jsonl.gz": packed,
    "rows.csv": lambda generator: table(generator, ","),
    "rows.tsv": lambda generator: table(generator, "\t"),
    "rows.json": lambda generator: damaged(json.dumps(rows_of(generator)).encode(), generator),
    "rows.parquet": columnar,
}


def read_hostile(name: str, seeds: range, folder: Path) -> int:
    """Read one hostile file a seed; return how many were refused as a whole."""
    refused = 0
    path = folder / name
    for seed in seeds:
        path.write_bytes(FORMS[name](random.Random(f"{name}/{seed}")))
        found: list[JobAd | Rejected] = []
        try:
            found.extend(read_rows(path, COLUMNS))
        except DataError:
            refused += 1
            continue
        except BaseException as error:
            raise AssertionError(f"{name}, seed {seed}: {path.read_bytes()[:300]!r}") from error
        assert len({row.id for row in found}) == len(found), seed  # each row once, under its own place
        for row in found:
            row.text.encode()  # no lone surrogates: everything can be written
            assert row.label is not None or isinstance(row, Rejected)
        if name == "rows.jsonl":
            text = path.read_bytes().decode("utf-8-sig")
            assert len(found) == sum(bool(line.strip()) for line in io.StringIO(text, newline=None)), seed
    return refused


@pytest.mark.parametrize("name", FORMS)
def test_hostile_files(name: str, tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error", ResourceWarning)
        assert read_hostile(name, range(FEW), tmp_path) < FEW or name == "bytes.jsonl"


def test_a_packed_file_with_two_faults_is_refused(tmp_path: Path) -> None:
    assert read_hostile("rows.jsonl.gz", range(155, 156), tmp_path) == 1  # not UTF-8, and a wrong checksum


def test_a_parquet_file_with_a_damaged_column_name_is_refused(tmp_path: Path) -> None:
    assert read_hostile("rows.parquet", range(921, 922), tmp_path) == 1


@pytest.mark.slow
@pytest.mark.parametrize("name", FORMS)
def test_ten_thousand_hostile_files(name: str, tmp_path: Path) -> None:
    read_hostile(name, range(MANY), tmp_path)


def clean_hostile(count: int) -> None:
    config, taxonomy = Config(name="hostile"), builtin_taxonomy()
    for start in range(0, count, 50):
        ads: list[JobAd | Rejected] = []
        for seed in range(start, start + 50):
            generator = random.Random(f"text/{seed}")
            text = pieces(generator, 60).encode("utf-8", "replace").decode()
            clean_text(text, CleanConfig(max_chars=generator.choice((1, 30, 2000))))
            ads.append(JobAd(str(seed), text, "2512", "en"))
        rows = list(numbered(ads))
        work(rows, config, taxonomy)
        assert part_rows(to_table(rows)) == rows
        assert all(row["kind"] or len(row["signature"]) == 4 * 64 for row in rows)


def test_hostile_texts() -> None:
    clean_hostile(FEW)


@pytest.mark.slow
def test_ten_thousand_hostile_texts() -> None:
    clean_hostile(MANY)


def test_every_hostile_row_is_accounted_for(tmp_path: Path) -> None:
    generator = random.Random(9)
    rows = [row for _ in range(60) for row in rows_of(generator)]
    rows += [{"text": f"nurse number {n} {generator.random()}", "label": "2512", "language": "en"} for n in range(30)]
    rows += [{"text": f"cook number {n} {generator.random()}", "label": "5120", "language": "de"} for n in range(30)]
    lines = [json.dumps(row) for row in rows] + ["{", "[]", "1", '"x"', "\x00", "null"]
    generator.shuffle(lines)
    (tmp_path / "rows.jsonl").write_text("\n".join(lines), encoding="utf-8")
    (tmp_path / "out").mkdir()
    data = DataConfig(input=str(tmp_path / "rows.jsonl"), max_rejected=0.9)
    done = run(Config(name="hostile", data=data), {}, tmp_path / "out")
    assert done.counts["read"] == len(lines)
    files = ("train", "validation", "test", "rejected", "duplicates")
    assert sum(len((tmp_path / "out" / f"{name}.jsonl").read_bytes().splitlines()) for name in files) == len(lines)
