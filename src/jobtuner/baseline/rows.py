"""Rows of any file for the baseline's own commands: texts, and all the right codes of each."""

import csv
import gzip
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jobtuner.errors import DataError
from jobtuner.records import UNKNOWN_LANGUAGE

__all__ = ["Columns", "LabelledRow", "merge_equal", "read_labelled"]

_FORMS = ".jsonl, .csv (either also .gz) and .parquet"
_LONGEST_FIELD = 50_000_000  # characters in one CSV field; Python's own limit is 131,072


@dataclass(frozen=True, slots=True)
class Columns:
    """Columns, or JSON keys, of a file."""

    text: str = "text"
    label: str | None = "label"
    """None: the rows carry no label."""
    language: str | None = None


@dataclass(frozen=True, slots=True)
class LabelledRow:
    """One row of a file."""

    number: int
    """Place in the file, from 1."""
    text: str
    """Empty where the row has none."""
    labels: frozenset[str]
    """All its right codes; empty where it has none."""
    language: str = UNKNOWN_LANGUAGE


def read_labelled(path: Path, columns: Columns) -> list[LabelledRow]:
    """All rows of a file, in its order.

    A label is a code, a whole number, or several codes: a JSON list, or codes with "|" between them.

    Raises:
        DataError: the file cannot be read, a line is broken, a column is missing, or a label is of no such form.
    """
    rows = [_row(path, number, row, columns) for number, row in enumerate(_raw_rows(path, columns), start=1)]
    if not rows:
        raise DataError(f"{path} has no rows.")
    return rows


def merge_equal(rows: list[LabelledRow]) -> list[LabelledRow]:
    """One row for each text and language, with all the codes that its rows carry; in the order of the first ones."""
    found: dict[tuple[str, str], LabelledRow] = {}
    for row in rows:
        key = (" ".join(row.text.casefold().split()), row.language)
        first = found.get(key, row)
        found[key] = LabelledRow(first.number, first.text, first.labels | row.labels, row.language)
    return list(found.values())


def _raw_rows(path: Path, columns: Columns) -> Iterator[Mapping[str, Any]]:
    name = path.name.lower().removesuffix(".gz")
    reader = next((reader for suffix, reader in _READERS.items() if name.endswith(suffix)), None)
    if reader is None:
        raise DataError(f"{path} is of no known form; {_FORMS} are accepted.")
    wanted = {name for name in (columns.text, columns.label, columns.language) if name is not None}
    seen: set[str] = set()
    try:
        for row in reader(path):
            seen.update(row)
            yield row
    except (OSError, EOFError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path} cannot be read: {error}. UTF-8 text is needed.") from error
    if seen and wanted - seen:
        raise DataError(
            f"{path} has no column {', '.join(sorted(wanted - seen))}. Its columns are {', '.join(sorted(seen))}. "
            "Name the right ones with --text-column, --label-column and --language-column."
        )


def _lines(path: Path) -> Iterator[str]:
    with gzip.open(path) if path.name.lower().endswith(".gz") else path.open("rb") as stream:
        for line in stream:
            yield line.decode("utf-8-sig" if line.startswith(b"\xef\xbb\xbf") else "utf-8")


def _jsonl(path: Path) -> Iterator[Mapping[str, Any]]:
    for number, line in enumerate(_lines(path), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise DataError(f"{path}, line {number}: not JSON ({error}). Correct or remove the line.") from error
        if not isinstance(row, dict):
            raise DataError(f"{path}, line {number}: a {type(row).__name__} where a JSON object belongs.")
        yield row


def _csv(path: Path) -> Iterator[Mapping[str, Any]]:
    csv.field_size_limit(_LONGEST_FIELD)
    reader = csv.DictReader(_lines(path), strict=True)
    for row in reader:
        if None in row or None in row.values():
            raise DataError(
                f"{path}, line {reader.line_num}: another number of fields than the header has. Correct the line."
            )
        yield row


def _parquet(path: Path) -> Iterator[Mapping[str, Any]]:
    import pyarrow
    from pyarrow import parquet

    try:
        yield from parquet.read_table(path).to_pylist()
    except pyarrow.ArrowInvalid as error:
        raise DataError(f"{path} is no readable Parquet file ({error}). Write it again.") from error


_READERS = {".jsonl": _jsonl, ".csv": _csv, ".parquet": _parquet}


def _row(path: Path, number: int, row: Mapping[str, Any], columns: Columns) -> LabelledRow:
    text = row.get(columns.text)
    if text is not None and not isinstance(text, str):
        raise DataError(f"{path}, row {number}: '{columns.text}' holds a {type(text).__name__}, not text.")
    language = row.get(columns.language) if columns.language else None
    labels: frozenset[str] = frozenset()
    if columns.label is not None:
        labels = _labels(row.get(columns.label), f"{path}, row {number}: '{columns.label}'")
    return LabelledRow(number, (text or "").strip(), labels, str(language or UNKNOWN_LANGUAGE))


def _labels(value: Any, where: str) -> frozenset[str]:
    if value is None:
        return frozenset()
    if isinstance(value, str):
        stripped = value.strip()
        if stripped.startswith("["):
            try:
                return _labels(json.loads(stripped), where)
            except ValueError as error:
                raise DataError(f"{where} holds {stripped[:60]!r}, which is no JSON list ({error}).") from error
        return frozenset(code.strip() for code in stripped.split("|") if code.strip())
    if isinstance(value, int) and not isinstance(value, bool):
        return frozenset([str(value)])
    if isinstance(value, list):
        return frozenset().union(*(_labels(item, where) for item in value))
    raise DataError(
        f"{where} holds the {type(value).__name__} {value!r}; a code, a list of codes, or codes with '|' between them "
        "are accepted. Store codes as text: numbers lose their zeros."
    )
