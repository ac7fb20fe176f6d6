"""Parts: some thousands of rows as one table, from reading to splitting.

A part is the unit of work, of resuming and of sharding. On disk it is an Arrow file that is memory-mapped when read:
texts stay on disk until somebody looks at them. A file appears under its name when it is complete.
"""

import hashlib
import os
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice, repeat
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict

from jobtuner.errors import ContractError
from jobtuner.prepare.sources import Rejected
from jobtuner.records import JobAd

if TYPE_CHECKING:
    from pyarrow import Table

__all__ = [
    "PART_PATTERN",
    "PartRow",
    "chunks",
    "content_key",
    "numbered",
    "part_rows",
    "read_part",
    "reject",
    "to_table",
    "write_part",
]

PART_PATTERN = "part-*.arrow"
_SHOWN = 200  # characters that are kept of the text and the label of a rejected row
_LARGEST = 64_000_000  # characters in a part: hostile rows must not fill the memory


class PartRow(TypedDict):
    """One row of the input and what became of it so far."""

    number: int
    """Place in the whole input, from 0; shards and parts keep it."""
    id: str
    text: str
    label: str
    language: str
    group: str | None
    employer: str | None
    title: str | None
    date: str | None
    translation_of: str | None
    source: str | None
    accepted: str
    """Other right codes than `label`, with "|" between them."""
    kind: str
    """Short name of the reason for which the row is rejected; empty while it is not."""
    reason: str
    html: bool
    cut: bool
    padded: bool
    repaired: bool
    lines: bool
    """Whether lines were dropped that occurred before, or are boilerplate."""
    told: bool
    """Whether the language was told from the text."""
    orders: int
    """Passages left out that spoke to the machine."""
    masked: str
    """Kinds of personal data with the number of places, as JSON; empty where there are none."""
    key: bytes
    """`deduplicate.text_key`; empty before that step."""
    signature: bytes
    """MinHash signature, little-endian 32-bit numbers; empty before that step."""


def numbered(rows: Iterable[JobAd | Rejected]) -> Iterator[PartRow]:
    """Yield the rows of a source as rows of parts."""
    for number, row in enumerate(rows):
        found: PartRow = {
            "number": number,
            "id": row.id,
            "text": row.text,
            "label": row.label or "",
            "language": row.language,
            "group": None,
            "employer": None,
            "title": None,
            "date": None,
            "translation_of": None,
            "source": None,
            "accepted": "",
            "kind": "",
            "reason": "",
            "html": False,
            "cut": False,
            "padded": False,
            "repaired": False,
            "lines": False,
            "told": False,
            "orders": 0,
            "masked": "",
            "key": b"",
            "signature": b"",
        }
        if isinstance(row, Rejected):
            found["kind"], found["reason"] = row.kind, row.reason
        else:
            found["group"], found["employer"], found["title"] = row.group, row.employer, row.title
            found["date"], found["translation_of"], found["source"] = row.date, row.translation_of, row.source
        yield found


def reject(row: PartRow, kind: str, reason: str) -> None:
    """Mark a row as rejected."""
    row["kind"], row["reason"] = kind, reason


def chunks(rows: Iterable[PartRow], size: int) -> Iterator[list[PartRow]]:
    """Yield lists of at most `size` rows, fewer where their texts are very long."""
    rows = iter(rows)
    while first := list(islice(rows, 1)):
        characters = len(first[0]["text"])
        for row in islice(rows, size - 1):
            first.append(row)
            characters += len(row["text"])
            if characters > _LARGEST:
                break
        yield first


def to_table(rows: Sequence[PartRow]) -> "Table":
    """The rows as an Arrow table; of rejected rows only the beginning of text and label is kept."""
    import pyarrow as pa

    for row in rows:
        if row["kind"]:
            row["text"], row["label"] = row["text"][:_SHOWN], row["label"][:_SHOWN]
    kinds = {int: pa.int64(), str: pa.large_string(), bool: pa.bool_(), bytes: pa.large_binary()}
    annotations = PartRow.__annotations__
    values = zip(*map(itemgetter(*annotations), rows), strict=True) if rows else repeat(())
    columns = {
        name: pa.array(column, type=kinds.get(kind, pa.large_string()))
        for (name, kind), column in zip(annotations.items(), values, strict=bool(rows))
    }
    return pa.table(columns)


def part_rows(table: "Table") -> list[PartRow]:
    """The rows of a table that `to_table` made."""
    rows: list[Any] = table.to_pylist()
    return rows


def content_key(table: "Table") -> str:
    """16 hex digits that are equal for equal tables."""
    digest = hashlib.sha256()
    for column in table.combine_chunks().columns:
        for buffer in column.chunk(0).buffers() if column.num_chunks else ():
            digest.update(b"-" if buffer is None else memoryview(buffer))
    return digest.hexdigest()[:16]


def write_part(table: "Table", path: Path) -> None:
    """Write a table so that a file of this name is a whole one, whatever happens meanwhile."""
    import pyarrow as pa

    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with temporary.open("wb") as stream:
            with pa.ipc.new_file(stream, table.schema) as writer:
                writer.write_table(table)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def read_part(path: Path) -> "Table":
    """A part by way of a memory map.

    Raises:
        ContractError: the file is no part, or a damaged one.
    """
    import pyarrow as pa

    try:
        with pa.memory_map(str(path)) as source:
            table = pa.ipc.open_file(source).read_all()
    except (pa.ArrowInvalid, OSError) as error:
        raise ContractError(f"{path} is no readable part ({error}). Delete it and run the step again.") from error
    if table.column_names != list(PartRow.__annotations__):
        raise ContractError(
            f"{path} has the columns {table.column_names}; another version wrote it. Run the step again."
        )
    return table
