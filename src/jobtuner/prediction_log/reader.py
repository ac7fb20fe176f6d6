"""Reading a prediction log, and taking rows out of it."""

from collections.abc import Collection, Iterator
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING

from jobtuner.errors import DataError
from jobtuner.prediction_log.rows import schema
from jobtuner.prediction_log.store import LogStore, day_of

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["delete_answers", "expire", "iter_window", "read_window"]


def iter_window(
    location: str, since: datetime, until: datetime, columns: list[str] | None = None
) -> Iterator["pa.Table"]:
    """The rows with since ≤ time < until, one table a part, oldest day first; only parts of those days are read.

    Args:
        location: of the log.
        since: with its time zone.
        until: with its time zone.
        columns: names of the columns; None: all. `time` is always among them.

    Raises:
        DataError: a time without zone, or a damaged part.
        StorageError: the log cannot be read.
    """
    import pyarrow.compute as pc

    if since.tzinfo is None or until.tzinfo is None:
        raise DataError(f"The window from {since} to {until} has no time zone; write 2026-11-20T00:00:00+00:00.")
    store = LogStore(location)
    wanted = None if columns is None else sorted({*columns, "time"})
    first, last = since.astimezone(UTC).date(), until.astimezone(UTC).date()
    for name in store.parts():
        day = day_of(name)
        if day is not None and first <= day <= last:
            table = store.read(name, wanted)
            inside = pc.and_(pc.greater_equal(table["time"], since), pc.less(table["time"], until))
            found = table.filter(inside)
            if len(found):
                yield found


def read_window(location: str, since: datetime, until: datetime, columns: list[str] | None = None) -> "pa.Table":
    """The rows of `iter_window` in one table; an empty one where there are none."""
    import pyarrow as pa

    tables = list(iter_window(location, since, until, columns))
    if tables:
        return pa.concat_tables(tables)
    empty = schema().empty_table()
    return empty if columns is None else empty.select(sorted({*columns, "time"}))


def delete_answers(location: str, ids: Collection[str]) -> int:
    """Take all rows out that carry one of the ids as their own or their request's; return how many there were.

    A part is replaced by one without those rows; nobody ever reads half a part. Rows that a running gateway has not
    published yet are not reached.

    Raises:
        DataError: a damaged part.
        StorageError: the log cannot be read or written.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    store, wanted, gone = LogStore(location), pa.array(sorted(ids), type=pa.string()), 0
    for name in store.parts():
        table = store.read(name)
        hit = pc.or_(pc.is_in(table["id"], value_set=wanted), pc.is_in(table["request_id"], value_set=wanted))
        kept = table.filter(pc.invert(hit))
        if len(kept) == len(table):
            continue
        gone += len(table) - len(kept)
        if len(kept):
            store.publish(kept, name)
        else:
            store.remove(name)
    return gone


def expire(location: str, keep_days: int, today: date) -> list[str]:
    """Delete the parts of days before the last `keep_days` (today is one of them); return their names.

    Raises:
        DataError: `keep_days` is less than 1.
        StorageError: the log cannot be read or written.
    """
    if keep_days < 1:
        raise DataError(f"A log that is kept for {keep_days} days keeps nothing; 1 or more is accepted.")
    store, first = LogStore(location), today - timedelta(days=keep_days - 1)
    old = [name for name in store.parts() if (day := day_of(name)) is not None and day < first]
    for name in old:
        store.remove(name)
    return old
