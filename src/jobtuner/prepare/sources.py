"""Reading labelled rows: JSONL, CSV or Parquet, one file or a folder of them.

A row that cannot be used becomes a `Rejected` with its reason; a file that cannot be used is a `DataError`.
"""

import csv
import gzip
import io
import json
import math
import re
import zlib
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from jobtuner.config import Columns
from jobtuner.errors import DataError
from jobtuner.records import UNKNOWN_LANGUAGE, JobAd

__all__ = ["SUFFIXES", "Rejected", "Row", "read_rows", "source_files"]

SUFFIXES = (".jsonl", ".jsonl.gz", ".csv", ".csv.gz", ".parquet")
"""Endings of the accepted file names."""

_LONGEST_FIELD = 50_000_000  # characters in one CSV field; Python's own limit is 131,072
_LONGEST_VALUE = 200  # characters of a rejected value that are kept
_BLOCK = 1 << 20

Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Rejected:
    """A row that was read and cannot be used."""

    id: str
    kind: str
    """Short name of the reason, the same for all rows with it."""
    reason: str
    """The reason with the row's own values."""
    text: str = ""
    label: str = ""
    language: str = UNKNOWN_LANGUAGE

    def to_row(self) -> dict[str, str]:
        """The form in rejected.jsonl; the text is cut to its beginning."""
        return {
            "id": self.id,
            "kind": self.kind,
            "reason": self.reason,
            "text": self.text[:_LONGEST_VALUE],
            "label": self.label[:_LONGEST_VALUE],
            "language": self.language,
        }


def source_files(path: Path) -> list[Path]:
    """The data files of an input: the file itself, or all data files below a folder in the order of their names.

    Hidden files and those that start with "_" (markers such as _SUCCESS) are no data.

    Raises:
        DataError: nothing there, or a file whose name says no accepted form.
    """
    accepted = ", ".join(SUFFIXES)
    if path.is_file():
        if _suffix(path) is None:
            raise DataError(f"{path} ends with none of {accepted}. Convert it to one of these forms.")
        return [path]
    if not path.is_dir():
        raise DataError(f"{path} does not exist. Set data.input to a file or folder with {accepted}.")
    files = [item for item in sorted(path.rglob("*")) if item.is_file() and not _is_marker(item.relative_to(path))]
    unknown = [item for item in files if _suffix(item) is None]
    if unknown:
        names = ", ".join(str(item.relative_to(path)) for item in unknown[:5])
        raise DataError(f"The folder {path} holds {names}; data files end with {accepted}. Move other files elsewhere.")
    if not files:
        raise DataError(f"The folder {path} holds no data files. Accepted: {accepted}.")
    return files


def read_rows(path: Path, columns: Columns) -> Iterator[JobAd | Rejected]:
    """Yield every row of a file or folder, as an ad or as a rejected row.

    Labels are stripped text; whole numbers are taken as their digits, other numbers are rejected.

    Raises:
        DataError: missing or empty input, unknown form, a column that no row has, bytes that are not UTF-8.
    """
    files = source_files(path)
    for file in files:
        name = str(file.relative_to(path)) if file != path else file.name
        yield from _read_file(file, name, columns)


def _suffix(path: Path) -> str | None:
    return next((suffix for suffix in SUFFIXES if path.name.lower().endswith(suffix)), None)


def _is_marker(path: Path) -> bool:
    return any(part.startswith((".", "_")) for part in path.parts)


def _read_file(path: Path, name: str, columns: Columns) -> Iterator[JobAd | Rejected]:
    readers = {".jsonl": _jsonl_rows, ".csv": _csv_rows, ".parquet": _parquet_rows}
    reader = readers[(_suffix(path) or "").removesuffix(".gz")]
    wanted = {key: value for key, value in columns.model_dump().items() if value is not None}
    count = 0
    for count, row in enumerate(reader(path, wanted), start=1):
        row_id = f"{name}:{count}"
        if isinstance(row, str):
            yield Rejected(row_id, "broken row", f"broken row: {row}")
        else:
            yield _to_ad(row, row_id, columns)
    if not count:
        raise DataError(f"{path} is empty: it has no rows.")


def _check_columns(path: Path, wanted: Mapping[str, str], present: Collection[str]) -> None:
    for key, column in wanted.items():
        if column not in present:
            optional = "" if key in {"text", "label"} else ", or to null"
            raise DataError(
                f"{path} has no column '{column}' (data.columns.{key}). Its columns are {', '.join(sorted(present))}. "
                f"Set data.columns.{key} to one of them{optional}."
            )


@contextmanager
def _opened(path: Path) -> Iterator[IO[str]]:
    """The file as UTF-8 text (a byte order mark is dropped); decoding errors tell where."""
    try:
        with gzip.open(path) if path.name.lower().endswith(".gz") else path.open("rb") as raw:
            yield io.TextIOWrapper(raw, encoding="utf-8-sig", newline="")
    except UnicodeDecodeError as error:
        raise _not_utf8(path) from error
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise DataError(f"{path} is no complete gzip file ({error}). Copy it again or unpack it.") from error
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error}.") from error


def _not_utf8(path: Path) -> DataError:
    """Find the first byte that is not UTF-8: the decoder of a stream only knows places within its own block."""
    data = gzip.decompress(path.read_bytes()) if path.name.lower().endswith(".gz") else path.read_bytes()
    try:
        data.decode("utf-8")
    except UnicodeDecodeError as error:
        kind = "UTF-16" if data[:2] in {b"\xff\xfe", b"\xfe\xff"} else "cp1252"
        line = data.count(b"\n", 0, error.start) + 1
        return DataError(
            f"{path} is not UTF-8: byte 0x{data[error.start]:02x} at offset {error.start} (line {line}). "
            f"Convert it, e.g. `iconv -f {kind} -t UTF-8`."
        )
    return DataError(f"{path} is not UTF-8. Convert it, e.g. with iconv.")


def _jsonl_rows(path: Path, wanted: Mapping[str, str]) -> Iterator[Row | str]:
    """Objects differ in their keys: a column is missing only where no object of the file has it."""
    seen: set[str] = set()
    with _opened(path) as stream:
        for number, line in enumerate(stream, start=1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except (ValueError, RecursionError) as error:
                yield f"line {number} is not JSON ({error})"
                continue
            if isinstance(row, dict):
                seen.update(row)
                yield row
            else:
                yield f"line {number} is a JSON {type(row).__name__}, not an object"
    if seen:
        _check_columns(path, wanted, seen)


def _csv_rows(path: Path, wanted: Mapping[str, str]) -> Iterator[Row | str]:
    csv.field_size_limit(_LONGEST_FIELD)
    with _opened(path) as stream:
        first = stream.readline()
        delimiter = max(",;\t", key=first.count)
        header = next(csv.reader([first], delimiter=delimiter), [])
        if not header:
            return
        _check_columns(path, wanted, header)
        repeated = [column for column in wanted.values() if header.count(column) > 1]
        if repeated:
            raise DataError(f"{path} has more than one column {', '.join(repeated)}. Rename all but one.")
        reader = csv.reader(stream, delimiter=delimiter, strict=True)
        while True:
            start = reader.line_num + 2  # the header is line 1
            try:
                fields = next(reader, None)
            except csv.Error as error:
                if "end of data" in str(error):
                    raise DataError(f"{path}: a quote opens in line {start} and is never closed.") from error
                yield f"line {start} is not CSV ({error})"
                continue
            if fields is None:
                return
            if fields and len(fields) != len(header):
                yield f"line {start} has {len(fields)} fields, the header {len(header)} ('{delimiter}' separates them)"
            elif fields:
                yield dict(zip(header, fields, strict=True))


def _parquet_rows(path: Path, wanted: Mapping[str, str]) -> Iterator[Row | str]:
    import pyarrow
    from pyarrow import parquet

    try:
        with parquet.ParquetFile(path) as file:
            _check_columns(path, wanted, file.schema_arrow.names)
            for batch in file.iter_batches(batch_size=4096, columns=sorted(set(wanted.values()))):
                yield from batch.to_pylist()
    except (pyarrow.ArrowInvalid, OSError) as error:
        raise DataError(f"{path} is no readable Parquet file ({error}). Write it again.") from error


def _to_ad(row: Row, row_id: str, columns: Columns) -> JobAd | Rejected:  # noqa: PLR0911  # one return a reason
    """One row as an ad; the first thing that is wrong with it is the reason to reject it."""
    text, label = row.get(columns.text), row.get(columns.label)
    language = row.get(columns.language) if columns.language else None
    if columns.id and row.get(columns.id) not in (None, ""):
        row_id = _well_formed(str(row[columns.id]))
    shown = {"text": _shown(text), "label": _shown(label), "language": _shown(language) or UNKNOWN_LANGUAGE}

    def rejected(kind: str, detail: str = "") -> Rejected:
        return Rejected(row_id, kind, f"{kind}{detail}", **shown)

    if columns.id and row.get(columns.id) in (None, ""):
        return rejected("no id", f": column '{columns.id}' is empty")
    if text is None:
        return rejected("no text", f": column '{columns.text}' is empty")
    if not isinstance(text, str):
        return rejected("text is not a string", f": {type(text).__name__} {_shown(text)}")
    code, wrong = _label(label)
    if code is None:
        return rejected(*wrong)
    tag = _language(language)
    if tag is None:
        return rejected("unknown language", f" '{_shown(language)}': ISO 639-1 codes such as en are accepted")
    date = _optional(row, columns.date)
    if date is not None and not _DATE.match(date):
        return rejected("no date", f": '{date[:40]}' in column '{columns.date}' is not as 2026-01-31")
    return JobAd(
        row_id,
        _well_formed(text),
        code,
        tag,
        group=_optional(row, columns.group),
        employer=_optional(row, columns.employer),
        title=_optional(row, columns.title),
        date=date,
        translation_of=_optional(row, columns.translation_of),
    )


_DATE = re.compile(r"\d{4}-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12]\d|3[01])(?![\d])")


def _optional(row: Row, column: str | None) -> str | None:
    value = row.get(column) if column else None
    return None if value in (None, "") else _well_formed(str(value))


def _label(value: Any) -> tuple[str | None, tuple[str, str]]:
    """The label as text, or None and the reason."""
    if isinstance(value, str) and value.strip():
        return _well_formed(value.strip()), ("", "")
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return str(value), ("", "")
    if value is None or isinstance(value, str) or (isinstance(value, float) and math.isnan(value)):
        return None, ("no label", "")
    if isinstance(value, float):
        return None, ("label is a decimal number", f" {value}: zeros are lost in it; store codes as text")
    return None, ("label is not text", f": {type(value).__name__} {_shown(value)}")


def _language(value: Any) -> str | None:
    """The primary subtag ("en" of "en-GB"), UNKNOWN_LANGUAGE for an empty cell, None for what is no language code."""
    if value is None or value == "":
        return UNKNOWN_LANGUAGE
    if not isinstance(value, str):
        return None
    tag = re.split(r"[-_]", value.strip().lower())[0]
    return tag if re.fullmatch(r"[a-z]{2}", tag) or tag == UNKNOWN_LANGUAGE else None


def _shown(value: Any) -> str:
    return "" if value is None else _well_formed(str(value)[:_LONGEST_VALUE])


def _well_formed(text: str) -> str:
    """The text without lone surrogates, which JSON can carry and UTF-8 cannot."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
