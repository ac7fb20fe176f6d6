"""Reading labelled rows: one file or a folder of them, in the forms of `row_files`.

A row that cannot be used becomes a `Rejected` with its reason; a file that cannot be used is a `DataError`.
"""

import math
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

from jobtuner.config import Columns
from jobtuner.errors import DataError
from jobtuner.prepare.sources_hub import SCHEME, hub_rows
from jobtuner.records import UNKNOWN_LANGUAGE, JobAd
from jobtuner.row_files import ACCEPTED, Budget, Row, form_of, raw_rows
from jobtuner.storage import fetch

__all__ = ["Rejected", "Row", "located_rows", "read_location", "read_rows", "source_files", "to_ad"]

_LONGEST_VALUE = 200  # characters of a rejected value that are kept


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
        DataError: nothing there, a file whose name says no accepted form, or a link that leads out of the folder.
    """
    if path.is_file():
        if form_of(path) is None:
            raise DataError(f"{path} ends with none of {ACCEPTED}. Convert it.")
        return [path]
    if not path.is_dir():
        raise DataError(f"{path} does not exist. Set data.input to a file or folder with {ACCEPTED}.")
    files = [item for item in sorted(path.rglob("*")) if item.is_file() and not _is_marker(item.relative_to(path))]
    unknown = [item for item in files if form_of(item) is None]
    if unknown:
        names = ", ".join(str(item.relative_to(path)) for item in unknown[:5])
        raise DataError(f"The folder {path} holds {names}; data files end with {ACCEPTED}. Move other files elsewhere.")
    if not files:
        raise DataError(f"The folder {path} holds no data files. Accepted: {ACCEPTED}.")
    root = path.resolve()
    outside = next((item for item in files if not item.resolve().is_relative_to(root)), None)
    if outside is not None:
        raise DataError(
            f"{outside} is a link to {outside.resolve()}, outside the folder {path}. Copy the file into the folder, or "
            "name the file itself."
        )
    return files


def read_rows(path: Path, columns: Columns, max_bytes: int | None = None) -> Iterator[JobAd | Rejected]:
    """Yield every row of a file or folder, as an ad or as a rejected row, without holding the input in memory.

    Labels are stripped text; whole numbers are taken as their digits, other numbers are rejected.

    Args:
        path: a file whose name ends with one of `row_files.ACCEPTED`, or a folder of such files.
        columns: which column holds what.
        max_bytes: all files together may unfold to so many bytes; None: only each file's packing ratio is watched.

    Raises:
        DataError: missing or empty input, unknown form, a column that no row has, bytes that are not UTF-8, a damaged
            file, or more than is allowed.
    """
    budget = Budget(max_bytes)
    for file in source_files(path):
        yield from _read_file(file, _name(file, path), columns, budget)


def read_location(
    location: str, columns: Columns, downloads: Path, max_bytes: int | None = None
) -> Iterator[JobAd | Rejected]:
    """`read_rows` for any location: a path, file://, s3://bucket/key, or hf://NAME[:config][@revision][#split].

    Args:
        location: where the rows are.
        columns: which column holds what.
        downloads: folder for what is fetched from an object store; it must stay while rows are read.
        max_bytes: see `read_rows`; data sets of the Hub are unpacked by their own library.

    Raises:
        DataError: as `read_rows` does, or the Hub's data set cannot be loaded.
        StorageError: the location cannot be fetched.
    """
    if not location.startswith(SCHEME):
        yield from read_rows(fetch(location, downloads), columns, max_bytes)
        return
    name = location.removeprefix(SCHEME)
    rows = hub_rows(location, partial(_check_columns, name, _wanted(columns)))
    for row_id, row in _numbered(rows, name, location):
        yield _ad(row, row_id, columns)


def located_rows(location: str, downloads: Path, max_bytes: int | None = None) -> Iterator[tuple[str, Row | str]]:
    """Yield every row of any location as it is, or why it is none, each with an id of file and number.

    Args:
        location, downloads, max_bytes: see `read_location`.

    Raises:
        DataError: as `read_location`, but for columns: any will do.
        StorageError: the location cannot be fetched.
    """
    if location.startswith(SCHEME):
        yield from _numbered(hub_rows(location, lambda _: None), location.removeprefix(SCHEME), location)
        return
    path, budget = fetch(location, downloads), Budget(max_bytes)
    for file in source_files(path):
        yield from _numbered(raw_rows(file, budget=budget), _name(file, path), file)


def _name(file: Path, path: Path) -> str:
    """A file's name in what it was found in."""
    return str(file.relative_to(path)) if file != path else file.name


def _numbered(rows: Iterator[Row | str], name: str, place: Path | str) -> Iterator[tuple[str, Row | str]]:
    count = 0
    for count, row in enumerate(rows, start=1):
        yield f"{name}:{count}", row
    if not count:
        raise DataError(f"{place} is empty: it has no rows.")


def _is_marker(path: Path) -> bool:
    return any(part.startswith((".", "_")) for part in path.parts)


def _read_file(path: Path, name: str, columns: Columns, budget: Budget) -> Iterator[JobAd | Rejected]:
    rows = raw_rows(path, partial(_check_columns, path, _wanted(columns)), budget)
    for row_id, row in _numbered(rows, name, path):
        yield _ad(row, row_id, columns)


def _ad(row: Row | str, row_id: str, columns: Columns) -> JobAd | Rejected:
    if isinstance(row, str):
        return Rejected(row_id, "broken row", f"broken row: {row}")
    return to_ad(row, row_id, columns)


def _wanted(columns: Columns) -> dict[str, str]:
    """Setting to column, of those that are set."""
    return {key: value for key, value in columns.model_dump().items() if value is not None}


def _check_columns(path: Path | str, wanted: Mapping[str, str], present: Collection[str]) -> list[str]:
    for key, column in wanted.items():
        if column not in present:
            optional = "" if key in {"text", "label"} else ", or to null"
            raise DataError(
                f"{path} has no column '{column}' (data.columns.{key}). Its columns are {', '.join(sorted(present))}. "
                f"Set data.columns.{key} to one of them{optional}."
            )
    names = list(present)
    repeated = [column for column in wanted.values() if names.count(column) > 1]
    if repeated:
        raise DataError(f"{path} has more than one column {', '.join(repeated)}. Rename all but one.")
    return sorted(set(wanted.values()))


def to_ad(row: Row, row_id: str, columns: Columns) -> JobAd | Rejected:  # noqa: PLR0911  # one return a reason
    """One row as an ad; the first thing that is wrong with it is the reason to reject it."""
    text, label = row.get(columns.text), row.get(columns.label)
    language = row.get(columns.language) if columns.language else None
    own_id = row.get(columns.id) if columns.id else row_id
    if own_id is None or own_id == "":
        return _rejected(row_id, text, label, language, "no id", f": column '{columns.id}' is empty")
    row_id = _well_formed(str(own_id))
    if not isinstance(text, str):
        if text is None:
            return _rejected(row_id, text, label, language, "no text", f": column '{columns.text}' is empty")
        wrong = f": {type(text).__name__} {_shown(text)}"
        return _rejected(row_id, text, label, language, "text is not a string", wrong)
    code, reason = _label(label)
    if code is None:
        return _rejected(row_id, text, label, language, *reason)
    tag = _language(language)
    if tag is None:
        wrong = f" '{_shown(language)}': ISO 639-1 codes such as en are accepted"
        return _rejected(row_id, text, label, language, "unknown language", wrong)
    date = _optional(row, columns.date)
    if date is not None and not _DATE.match(date):
        wrong = f": '{date[:40]}' in column '{columns.date}' is not as 2026-01-31"
        return _rejected(row_id, text, label, language, "no date", wrong)
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
        source=_optional(row, columns.source),
    )


_DATE = re.compile(r"\d{4}-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12]\d|3[01])(?![\d])")


def _optional(row: Row, column: str | None) -> str | None:
    value = row.get(column) if column else None
    return None if value in (None, "") else _well_formed(str(value))


def _rejected(row_id: str, text: Any, label: Any, language: Any, kind: str, detail: str) -> Rejected:
    shown = (_shown(text), _shown(label), _shown(language) or UNKNOWN_LANGUAGE)
    return Rejected(row_id, kind, f"{kind}{detail}", *shown)


def _label(value: Any) -> tuple[str | None, tuple[str, str]]:
    """The label as text, several with "|" between them, or None and the reason."""
    if isinstance(value, list) and value:
        parts = [
            _label(item) if not isinstance(item, list) else (None, ("label is not text", ": list in a list"))
            for item in value
        ]
        wrong = next((reason for text, reason in parts if text is None), None)
        return (None, wrong) if wrong else ("|".join(text for text, _ in parts if text), ("", ""))
    if isinstance(value, str) and value.strip():
        return _well_formed(value.strip()), ("", "")
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return str(value), ("", "")
    if value is None or isinstance(value, str) or (isinstance(value, float) and math.isnan(value)):
        return None, ("no label", "")
    if isinstance(value, float):
        return None, ("label is a decimal number", f" {value}: zeros are lost in it; store codes as text")
    return None, ("label is not text", f": {type(value).__name__} {_shown(value)}")


@lru_cache(maxsize=1024)
def _tag(value: str) -> str | None:
    tag = re.split(r"[-_]", value.strip().lower())[0]
    return tag if re.fullmatch(r"[a-z]{2}", tag) or tag == UNKNOWN_LANGUAGE else None


def _language(value: Any) -> str | None:
    """The primary subtag ("en" of "en-GB"), UNKNOWN_LANGUAGE for an empty cell, None for what is no language code."""
    if value is None or value == "":
        return UNKNOWN_LANGUAGE
    return _tag(value) if isinstance(value, str) else None


def _shown(value: Any) -> str:
    return "" if value is None else _well_formed(str(value)[:_LONGEST_VALUE])


def _well_formed(text: str) -> str:
    """The text without lone surrogates, which JSON can carry and UTF-8 cannot."""
    if text.isascii():
        return text
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text
