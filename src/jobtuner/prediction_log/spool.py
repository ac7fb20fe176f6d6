"""Rows on the local disk before they are published: what a kill of the process leaves, the next start takes up.

A spool file is an Arrow stream that grows batch by batch. It is locked while its process lives, so that nobody takes up
the rows of a neighbour; of a file that was cut in the middle of a batch, all whole batches are read.
"""

import fcntl
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from jobtuner.prediction_log.rows import schema

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["Spool", "leftovers", "read_spool"]

_SUFFIX = ".arrows"


class Spool:
    """One growing file.

    Args:
        folder: where it lies; made where it is missing.

    Attributes:
        rows: how many rows it holds.
    """

    def __init__(self, folder: Path) -> None:
        import pyarrow as pa

        folder.mkdir(parents=True, exist_ok=True)
        self.path = folder / f"{uuid.uuid4().hex}{_SUFFIX}"
        self.rows = 0
        new = self.path.with_suffix(".new")  # seen by others under its name only when it is locked
        self._file = new.open("wb", buffering=0)
        fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        new.rename(self.path)
        self._stream = pa.ipc.new_stream(self._file, schema())

    def append(self, table: "pa.Table") -> None:
        """Add rows; they are in the operating system's hands when this returns, so a kill does not lose them."""
        for batch in table.combine_chunks().to_batches():
            self._stream.write_batch(batch)
        self.rows += len(table)

    def close(self) -> None:
        """End the file. It stays on the disk, unlocked."""
        try:
            self._stream.close()
        finally:
            self._file.close()


def read_spool(path: Path) -> "pa.Table":
    """All whole batches of a spool file; a file that was cut before its first batch gives no rows."""
    import pyarrow as pa

    batches = []
    with path.open("rb") as file:
        try:
            stream = pa.ipc.open_stream(file)
            while True:
                batches.append(stream.read_next_batch())
        except (StopIteration, OSError, pa.ArrowInvalid):
            pass
    return pa.Table.from_batches(batches, schema=schema())


@contextmanager
def leftovers(folder: Path) -> Iterator[list[Path]]:
    """The spool files that no living process holds, held by this one inside the `with`."""
    held = []
    try:
        for path in sorted(folder.glob(f"*{_SUFFIX}")):
            try:
                file = path.open("rb")
            except FileNotFoundError:  # another process has just published it
                continue
            held.append(file)
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                taken = os.fstat(file.fileno()).st_nlink == 0
            except BlockingIOError:
                taken = True
            if taken:
                held.pop().close()
        yield [Path(file.name) for file in held]
    finally:
        for file in held:
            file.close()
