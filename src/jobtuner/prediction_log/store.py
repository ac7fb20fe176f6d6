"""Where the published parts of the log lie: `day=2026-11-20/<name>.parquet` below a folder or an s3:// prefix.

A part appears whole or not at all, and publishing it twice leaves one: its name comes from the spool file it was.
"""

import os
import tempfile
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

from jobtuner import storage
from jobtuner.errors import DataError

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["FINDINGS", "LogStore", "day_of", "days_in"]

FINDINGS = "_watch/metrics.prom"
"""What the last look at a log found, in Prometheus' text format: the watch writes it, the gateway shows it."""

_PREFIX = "day="


def day_of(part: str) -> date | None:
    """The day of a part's name, or None where it is no part of a log."""
    folder, _, name = part.partition("/")
    if not (folder.startswith(_PREFIX) and name.endswith(".parquet")):
        return None
    try:
        return date.fromisoformat(folder.removeprefix(_PREFIX))
    except ValueError:
        return None


def days_in(table: "pa.Table") -> Mapping[date, "pa.Table"]:
    """The rows of each day (UTC)."""
    import pyarrow.compute as pc

    days = pc.strftime(table["time"], format="%Y-%m-%d")
    return {date.fromisoformat(day): table.filter(pc.equal(days, day)) for day in sorted(pc.unique(days).to_pylist())}


class LogStore:
    """The parts of one log.

    Args:
        location: a folder, file:///path or s3://bucket/key.

    Raises:
        StorageError: another scheme.
    """

    def __init__(self, location: str) -> None:
        self.location = location.rstrip("/")
        self.folder = storage.local_path(self.location)

    def parts(self) -> list[str]:
        """Names of all parts, oldest day first.

        Raises:
            StorageError: the object store does not answer.
        """
        if self.folder is None:
            found = storage.names(self.location)
        else:
            found = [f"{path.parent.name}/{path.name}" for path in self.folder.glob(f"{_PREFIX}*/*.parquet")]
        return sorted(name for name in found if day_of(name) is not None)

    def publish(self, table: "pa.Table", name: str) -> None:
        """Write one part, in place of a former one of the name.

        Args:
            table: its rows, all of one day.
            name: `day=…/….parquet`.

        Raises:
            StorageError: the object store refuses.
            OSError: the folder cannot be written.
        """
        if self.folder is None:
            with tempfile.TemporaryDirectory(prefix="jobtuner-log-") as folder:
                path = Path(folder) / "part.parquet"
                _write(table, path)
                storage.upload(path, f"{self.location}/{name}")
            return
        target = self.folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = target.with_name(f".{target.name}.{uuid.uuid4().hex}.tmp")
        try:
            _write(table, temporary)
            temporary.replace(target)
        finally:
            temporary.unlink(missing_ok=True)

    def read(self, name: str, columns: list[str] | None = None) -> "pa.Table":
        """The rows of one part.

        Raises:
            DataError: the part is damaged.
            StorageError: it is gone.
        """
        import pyarrow as pa
        from pyarrow import parquet

        with self._local(name) as path:
            try:
                return parquet.ParquetFile(path).read(columns=columns)
            except (pa.ArrowException, OSError) as error:
                raise DataError(
                    f"{self.location}/{name} is no readable part of a prediction log ({error}). Move it away, or take "
                    "it from a backup."
                ) from error

    def put(self, content: bytes, name: str) -> None:
        """Write a file beside the parts, in place of a former one.

        Raises:
            StorageError: the object store refuses.
            OSError: the folder cannot be written.
        """
        if self.folder is None:
            with tempfile.TemporaryDirectory(prefix="jobtuner-log-") as folder:
                path = Path(folder) / "file"
                path.write_bytes(content)
                storage.upload(path, f"{self.location}/{name}")
            return
        target = self.folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = target.with_name(f".{target.name}.{uuid.uuid4().hex}.tmp")
        temporary.write_bytes(content)
        temporary.replace(target)

    def get(self, name: str) -> bytes | None:
        """A file beside the parts; None where there is none.

        Raises:
            StorageError: the object store does not answer.
        """
        if self.folder is None:
            folder, _, last = name.rpartition("/")
            if last not in storage.names(f"{self.location}/{folder}"):
                return None
        elif not (self.folder / name).exists():
            return None
        with self._local(name) as path:
            return path.read_bytes()

    def remove(self, name: str) -> None:
        """Delete one part, and its day's folder where that was the last one."""
        if self.folder is None:
            storage.remove(f"{self.location}/{name}")
            return
        path = self.folder / name
        path.unlink(missing_ok=True)
        if not any(path.parent.iterdir()):
            path.parent.rmdir()

    @contextmanager
    def _local(self, name: str) -> Iterator[Path]:
        """The part as a local file; a download is deleted afterwards, or a deleted row would live on in a cache."""
        if self.folder is not None:
            yield self.folder / name
            return
        with tempfile.TemporaryDirectory(prefix="jobtuner-log-") as folder:
            path = Path(folder) / "part.parquet"
            storage.download(f"{self.location}/{name}", path)
            yield path


def _write(table: "pa.Table", path: Path) -> None:
    from pyarrow import parquet

    with path.open("wb") as file:
        parquet.write_table(table, file, compression="zstd")
        file.flush()
        os.fsync(file.fileno())
