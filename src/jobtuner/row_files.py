"""Rows of data files: JSONL, JSON, CSV, TSV and Parquet, each plain, .gz or .zst, one row after another.

Memory does not grow with the file. What cannot be a row is told in its place; what makes the rest of a file unreadable
is a `DataError`. A `Budget` bounds what packed files may unfold to.
"""

import codecs
import csv
import gzip
import io
import json
import re
import tempfile
import zlib
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from jobtuner.errors import DataError

__all__ = ["ACCEPTED", "LONGEST_ROW", "Budget", "CheckColumns", "Row", "form_of", "opened", "raw_rows"]

_FORMS = (".jsonl", ".json", ".csv", ".tsv", ".parquet")
_PACKINGS = ("", ".gz", ".zst")
ACCEPTED = f"{', '.join(_FORMS)}, each plain or with .gz or .zst"
"""Endings of the accepted file names, for messages."""

LONGEST_ROW = 50_000_000
"""Bytes of one JSON row, characters of one CSV field (Python's own limit is 131,072). Longer ones are no job ads."""

_BLOCK = 1 << 20
_BATCH = 1024  # Parquet rows decoded at once
_BOMB_BYTES, _BOMB_RATIO = 256_000_000, 500
"""A file is refused once it has unfolded to so many bytes and so many times its size: ads pack 3- to 20-fold."""

Row = Mapping[str, Any]
CheckColumns = Callable[[Collection[str]], list[str] | None]
"""Gets a file's column names once they are known; raises where one is missing, returns those to read (None: all)."""


@dataclass(slots=True)
class Budget:
    """Bytes that all files of one input may unfold to."""

    limit: int | None = None
    """None: no limit but the one on each file's ratio."""
    spent: int = 0

    def spend(self, count: int, path: Path) -> None:
        """Count bytes read from a file.

        Raises:
            DataError: the input holds more than the limit.
        """
        self.spent += count
        if self.limit is not None and self.spent > self.limit:
            raise DataError(
                f"{path}: the input holds more than {self.limit:,} bytes once unpacked (data.max_bytes). Raise the "
                "limit if the file is meant to be that large, or take it out: it may be a zip bomb."
            )


def form_of(path: Path) -> str | None:
    """The form (".jsonl") that a file's name says, without its packing; None for a name that says none."""
    name = path.name.lower()
    return next((form for form in _FORMS if any(name.endswith(form + packing) for packing in _PACKINGS)), None)


def raw_rows(path: Path, check: CheckColumns | None = None, budget: Budget | None = None) -> Iterator[Row | str]:
    """Yield the rows of one file as mappings, and what is no row as the reason in words.

    Args:
        path: a file whose name says its form.
        check: looks at the file's columns; None: any will do. Rows of JSON differ in their keys: it is called with
            all of them at the end.
        budget: bounds what is read; None: only the file's packing ratio is watched.

    Raises:
        DataError: bytes that are not UTF-8, a file that is cut or damaged or larger than allowed; what `check` raises.
    """
    readers = {
        ".jsonl": _jsonl_rows, ".json": _json_rows, ".csv": _csv_rows, ".tsv": _csv_rows, ".parquet": _parquet_rows
    }  # fmt: skip
    return readers[form_of(path) or ".jsonl"](path, check or _any_columns, budget or Budget())


def _any_columns(present: Collection[str]) -> None:
    """Take a file with whatever columns it has."""
    del present


@contextmanager
def opened(path: Path, budget: Budget, longest_line: int | None = None) -> Iterator[IO[str]]:
    """A plain or packed file as UTF-8 text (a byte order mark is dropped); lines keep their ends.

    Raises:
        DataError: inside the block, too: not UTF-8, cut or damaged, larger than allowed, a line longer than allowed.
    """
    try:
        try:
            with _unpacked(path) as source:
                guard = _Guard(source, path, budget, longest_line)
                yield io.TextIOWrapper(io.BufferedReader(guard, _BLOCK), encoding="utf-8-sig", newline="")
        except UnicodeDecodeError as error:
            raise _not_utf8(path) from error  # it reads the file again, further: what it meets is caught below
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise DataError(f"{path} is no complete gzip file ({error}). Copy it again or unpack it.") from error
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error}. Copy it again.") from error


def _unpacked(path: Path) -> Any:
    name = path.name.lower()
    if name.endswith(".zst"):
        import pyarrow

        return pyarrow.input_stream(str(path), compression="zstd")  # unlike zstandard's reader it notices a cut file
    return gzip.open(path) if name.endswith(".gz") else path.open("rb")


class _Guard(io.RawIOBase):
    """Passes bytes on and stops where there are more than allowed: of the input, of a packed file, of one line."""

    def __init__(self, source: Any, path: Path, budget: Budget, longest_line: int | None) -> None:
        self._source, self._path, self._budget, self._longest_line = source, path, budget, longest_line
        self._packed = path.stat().st_size if path.name.lower().endswith(_PACKINGS[1:]) else None
        self._read = self._line = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        block = self._source.read(len(buffer))
        self._read += len(block)
        self._budget.spend(len(block), self._path)
        if self._packed is not None and self._read > max(_BOMB_BYTES, _BOMB_RATIO * self._packed):
            raise DataError(
                f"{self._path} unfolds to more than {_BOMB_RATIO} times its {self._packed:,} bytes: it looks like a "
                "zip bomb. Unpack it yourself if it is not."
            )
        if self._longest_line is not None:
            end = block.rfind(b"\n")
            self._line = self._line + len(block) if end < 0 else len(block) - end
            if self._line > self._longest_line:
                raise DataError(
                    f"{self._path}: a line before byte {self._read:,} is longer than {self._longest_line:,} bytes. Is "
                    "this one JSON value a line? A list of objects belongs into a file named .json."
                )
        buffer[: len(block)] = block
        return len(block)


def _not_utf8(path: Path) -> DataError:
    """Find the first byte that is not UTF-8: the decoder of a stream only knows places within its own block."""
    decoder, offset, lines = codecs.getincrementaldecoder("utf-8")(), 0, 1
    with _unpacked(path) as stream:
        while block := stream.read(_BLOCK):
            held = decoder.getstate()[0]
            try:
                decoder.decode(block)
            except UnicodeDecodeError as error:
                data = held + block
                kind = "UTF-16" if offset == 0 and data[:2] in {b"\xff\xfe", b"\xfe\xff"} else "cp1252"
                return DataError(
                    f"{path} is not UTF-8: byte 0x{data[error.start]:02x} at offset {offset - len(held) + error.start} "
                    f"(line {lines + data.count(10, 0, error.start)}). Convert it, e.g. `iconv -f {kind} -t UTF-8`."
                )
            offset, lines = offset + len(block), lines + block.count(b"\n")
    return DataError(f"{path} is not UTF-8: it ends within a character. Copy it again.")


def _jsonl_rows(path: Path, check: CheckColumns, budget: Budget) -> Iterator[Row | str]:
    seen: set[str] = set()
    with opened(path, budget, LONGEST_ROW) as stream:
        for number, line in enumerate(stream, start=1):
            if line.isspace():
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
        check(seen)


def _json_rows(path: Path, check: CheckColumns, budget: Budget) -> Iterator[Row | str]:
    """One list of objects, or objects one after another, however they are broken into lines."""
    seen: set[str] = set()
    with opened(path, budget) as stream:
        for number, value in enumerate(_json_values(stream, path), start=1):
            if isinstance(value, dict):
                seen.update(value)
                yield value
            else:
                yield f"value {number} is a JSON {type(value).__name__}, not an object"
    if seen:
        check(seen)


_BETWEEN = re.compile(r"[\s,]*")


def _json_values(stream: IO[str], path: Path) -> Iterator[Any]:
    """The values of a list at the top, or those that follow one another; holds little more than one of them."""
    decoder, text, place = json.JSONDecoder(), "", 0
    ended = in_list = started = False
    while True:
        place = _end(_BETWEEN.match(text, place))
        if not started and place < len(text):
            started, in_list = True, text[place] == "["
            place += in_list
            continue
        if in_list and text[place : place + 1] == "]":
            rest = text[place + 1 :]
            while not rest.strip() and (rest := stream.read(_BLOCK)):
                pass
            if rest.strip():
                raise DataError(f"{path}: something follows the list's end. A .json file holds one list, or objects.")
            return
        try:
            value, end = decoder.raw_decode(text, place)
        except (ValueError, RecursionError) as error:
            if ended and place == len(text) and not in_list:
                return
            if ended or len(text) - place > LONGEST_ROW or isinstance(error, RecursionError):
                shown = text[place : place + 60]
                raise DataError(f"{path} is not JSON from {shown!r} on ({error}). Repair it there.") from error
        else:
            if ended or end < len(text):  # a number at the end of what was read may go on
                place = end
                yield value
                continue
        block = stream.read(max(_BLOCK, len(text) - place))  # as much again as waits: the cost stays linear
        text, place, ended = text[place:] + block, 0, not block


def _end(match: re.Match[str] | None) -> int:
    return match.end() if match else 0


def _csv_rows(path: Path, check: CheckColumns, budget: Budget) -> Iterator[Row | str]:
    csv.field_size_limit(LONGEST_ROW)
    with opened(path, budget) as stream:
        first = stream.readline(LONGEST_ROW)
        delimiter = max(",;\t", key=first.count)
        header = next(csv.reader([first], delimiter=delimiter), [])
        if not header:
            return
        check(header)
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


def _parquet_rows(path: Path, check: CheckColumns, budget: Budget) -> Iterator[Row | str]:
    if form_of(path) == ".parquet" and not path.name.lower().endswith(_PACKINGS[1:]):
        yield from _parquet_file(path, path, check, budget)
        return
    with tempfile.TemporaryFile() as whole:  # Parquet is read from its end
        try:
            with _unpacked(path) as source:
                guard = _Guard(source, path, budget, None)
                while block := guard.read(_BLOCK):
                    whole.write(block)
        except (OSError, EOFError, zlib.error) as error:
            raise DataError(f"{path} is no complete packed file ({error}). Copy it again or unpack it.") from error
        yield from _parquet_file(whole, path, check, budget)


def _parquet_file(source: Any, path: Path, check: CheckColumns, budget: Budget) -> Iterator[Row | str]:
    import pyarrow
    from pyarrow import parquet

    try:
        with parquet.ParquetFile(source) as file:
            names = file.schema_arrow.names
            wanted = check(names)
            groups = file.metadata
            budget.spend(sum(groups.row_group(index).total_byte_size for index in range(groups.num_row_groups)), path)
            for batch in file.iter_batches(batch_size=_BATCH, columns=wanted):
                yield from _batch_rows(batch)
    except (pyarrow.ArrowException, OSError, ValueError, OverflowError) as error:  # a damaged column name is no UTF-8
        raise DataError(f"{path} is no readable Parquet file ({error}). Write it again.") from error


def _batch_rows(batch: Any) -> Iterator[Row | str]:
    """All rows at once, or one by one where a value has no form in Python (text that is not UTF-8, the year 0)."""
    try:
        yield from batch.to_pylist()
    except (ValueError, OverflowError):
        for number in range(batch.num_rows):
            try:
                yield from batch.slice(number, 1).to_pylist()
            except (ValueError, OverflowError) as error:
                yield f"a value cannot be read ({error})"
