"""Files of ads in, files of answers out: JSONL, CSV (both also .gz) and Parquet, read and written piece by piece."""

import csv
import gzip
import io
import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Literal, TextIO, cast

from jobtuner.errors import ConfigError, DataError

__all__ = ["Columns", "Row", "Task", "count_rows", "file_kind", "read_rows", "write_answers"]

Task = Literal["occupations", "skills", "cover-letters"]

_KINDS = {".jsonl": "jsonl", ".ndjson": "jsonl", ".csv": "csv", ".parquet": "parquet"}
_GROUP = 5_000  # rows of a Parquet row group
_FIELD_BYTES = 2**24  # of a CSV cell; the csv module's own limit is 128 KiB
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


@dataclass(frozen=True)
class Columns:
    """Where the ads are in a row."""

    text: str = "text"
    id: str | None = None
    """None: the number of the row."""
    language: str | None = None
    applicant: str | None = None
    """For cover letters: facts of who applies, a JSON object (in CSV as text); None: the rows have none."""


@dataclass(frozen=True)
class Row:
    """One row of the input; with a reason where it holds no ad."""

    number: int
    """Counted from 0."""
    id: str
    text: str = ""
    language: str | None = None
    reason: str = ""
    applicant: Mapping[str, Any] | None = None


def file_kind(path: Path) -> str:
    """jsonl, csv or parquet, by the name.

    Raises:
        ConfigError: another ending.
    """
    suffixes = [suffix.lower() for suffix in path.suffixes[-2:]]
    ending = suffixes[-2] if suffixes[-1:] == [".gz"] and len(suffixes) == 2 else "".join(suffixes[-1:])
    kind = _KINDS.get(ending)
    if kind is None or (kind == "parquet" and suffixes[-1:] == [".gz"]):
        raise ConfigError(f"{path} has another ending than .jsonl, .csv (both also .gz) or .parquet.")
    return kind


def count_rows(path: Path) -> int:
    """Rows of a file; those that cannot be read count too.

    Raises:
        ConfigError: another ending.
        DataError: the file cannot be read.
    """
    if file_kind(path) == "parquet":
        from pyarrow.parquet import read_metadata

        with _told_as_data_error(path):
            return int(read_metadata(path).num_rows)
    return sum(1 for _ in _values(path, Columns()))


def read_rows(path: Path, columns: Columns) -> Iterator[Row]:
    """The rows in order. What is no row of the format has a reason; what is no file of the format is an error.

    Raises:
        DataError: the file cannot be read, or has no such column.
    """
    for number, values in enumerate(_values(path, columns)):
        if isinstance(values, str):
            yield Row(number, str(number), reason=values)
            continue
        given = values.get(columns.id) if columns.id else None
        name = str(number) if given is None else str(given)[:128]
        text, language = values.get(columns.text), values.get(columns.language) if columns.language else None
        if not isinstance(text, str):
            yield Row(number, name, reason=f"no text in the column '{columns.text}'")
        else:
            known = isinstance(language, str) and len(language) == 2 and language.isascii() and language.islower()
            facts = _facts(values.get(columns.applicant)) if columns.applicant else None
            if isinstance(facts, str):
                yield Row(number, name, reason=facts)
            else:
                yield Row(number, name, text, language if known and isinstance(language, str) else None, "", facts)


def _facts(value: Any) -> Mapping[str, Any] | str:
    """An applicant as an object, or why there is none."""
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            return "the applicant is no JSON"
    if not isinstance(value, dict):
        return "the row names no applicant"
    return {key: item for key, item in value.items() if item is not None}


def _values(path: Path, columns: Columns) -> Iterator[Mapping[str, Any] | str]:
    """A row's values by column, or why there are none."""
    kind = file_kind(path)
    try:
        if kind == "parquet":
            yield from _parquet(path, columns)
            return
        with _text(path) as stream:
            yield from _jsonl(stream) if kind == "jsonl" else _csv(stream, path, columns)
    except (OSError, EOFError, csv.Error, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read: {error}. Is it whole, and in UTF-8?") from error


@contextmanager
def _text(path: Path) -> Iterator[TextIO]:
    with (
        _opened(path, "rb") as binary,
        io.TextIOWrapper(cast("Any", binary), encoding="utf-8-sig", errors="replace", newline="") as stream,
    ):
        yield stream


def _opened(path: Path, mode: Literal["rb", "wb"]) -> Any:
    return gzip.open(path, mode) if path.suffix.lower() == ".gz" else path.open(mode)


def _jsonl(stream: TextIO) -> Iterator[Mapping[str, Any] | str]:
    for line in stream:
        if not line.strip():
            continue
        try:
            value = json.loads(line)
        except (ValueError, RecursionError):
            yield "not JSON"
        else:
            yield value if isinstance(value, dict) else "not a JSON object"


def _csv(stream: TextIO, path: Path, columns: Columns) -> Iterator[Mapping[str, Any] | str]:
    csv.field_size_limit(_FIELD_BYTES)
    reader = csv.DictReader(stream)
    _check_columns(path, reader.fieldnames or (), columns)
    yield from reader


def _parquet(path: Path, columns: Columns) -> Iterator[Mapping[str, Any] | str]:
    from pyarrow.parquet import ParquetFile

    with _told_as_data_error(path), ParquetFile(path) as file:
        names = file.schema_arrow.names
        _check_columns(path, names, columns)
        wanted = {columns.text, columns.id, columns.language, columns.applicant}
        for part in file.iter_batches(_GROUP, columns=[name for name in names if name in wanted]):
            yield from part.to_pylist()


@contextmanager
def _told_as_data_error(path: Path) -> Iterator[None]:
    from pyarrow import ArrowException

    try:
        yield
    except ArrowException as error:
        raise DataError(f"{path} is no readable Parquet file: {error}") from error


def _check_columns(path: Path, names: Iterable[str], columns: Columns) -> None:
    there = list(names)
    missing = [
        name for name in (columns.text, columns.id, columns.language, columns.applicant) if name and name not in there
    ]
    if missing:
        raise DataError(f"{path} has no column '{missing[0]}'; it has: {', '.join(there)[:500]}.")


def write_answers(path: Path, answers: Iterable[Mapping[str, Any]], task: Task) -> int:
    """Write all answers and return their number; the file appears when it is complete."""
    temporary = path.with_name(f".{path.name}.unfinished{path.suffix}")
    kind = file_kind(path)
    if kind == "parquet":
        count = _write_parquet(temporary, answers, task)
    else:
        with _opened(temporary, "wb") as binary, io.TextIOWrapper(binary, encoding="utf-8", newline="") as stream:
            count = _write_jsonl(stream, answers) if kind == "jsonl" else _write_csv(stream, answers, task)
    temporary.replace(path)
    return count


def _write_jsonl(stream: TextIO, answers: Iterable[Mapping[str, Any]]) -> int:
    count = 0
    for count, answer in enumerate(answers, start=1):  # noqa: B007  # the number is what is returned
        stream.write(json.dumps(answer, ensure_ascii=False) + "\n")
    return count


def _write_csv(stream: TextIO, answers: Iterable[Mapping[str, Any]], task: Task) -> int:
    writer = csv.writer(stream)
    names = _schema(task).names
    writer.writerow(names)
    count = 0
    for count, answer in enumerate(answers, start=1):  # noqa: B007
        writer.writerow([_cell(answer[name]) for name in names])
    return count


def _cell(value: Any) -> Any:
    """Lists as JSON; text that a spreadsheet would run as a formula with an apostrophe before it."""
    if isinstance(value, list):
        return json.dumps(value, ensure_ascii=False)
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value


def _write_parquet(path: Path, answers: Iterable[Mapping[str, Any]], task: Task) -> int:
    import pyarrow as pa
    from pyarrow.parquet import ParquetWriter

    schema, count, rest = _schema(task), 0, iter(answers)
    with ParquetWriter(path, schema, compression="zstd") as writer:
        while group := list(islice(rest, _GROUP)):
            writer.write_table(pa.Table.from_pylist(group, schema=schema))
            count += len(group)
    return count


def _schema(task: Task) -> Any:
    import pyarrow as pa

    row: list[tuple[str, Any]] = [("row", pa.int64()), ("id", pa.string())]
    if task == "skills":
        link = pa.struct([("id", pa.string()), ("label", pa.string()), ("similarity", pa.float64())])
        span = pa.struct([("text", pa.string()), ("start", pa.int64()), ("end", pa.int64()), ("link", link)])
        return pa.schema([*row, ("skills", pa.list_(span)), ("orders", pa.int64()), ("model", pa.string())])
    if task == "cover-letters":
        claim = pa.struct(
            [
                *(("kind", pa.string()), ("text", pa.string()), ("start", pa.int64()), ("end", pa.int64())),
                ("source", pa.string()),
            ]
        )
        told = [("letter", pa.string()), ("claims", pa.list_(claim)), ("invented", pa.int64()), ("orders", pa.int64())]
        return pa.schema([*row, *told, ("model", pa.string())])
    candidate = pa.struct([("code", pa.string()), ("title", pa.string()), ("probability", pa.float64())])
    return pa.schema(
        [
            *row,
            *(("code", pa.string()), ("title", pa.string()), ("probability", pa.float64())),
            *(("answered_by", pa.string()), ("abstain", pa.bool_()), ("orders", pa.int64())),
            *(("top", pa.list_(candidate)), ("model", pa.string())),
        ]
    )
