"""The writing end of the prediction log: a request hands its answers over and goes on; a thread does the rest.

    offer → queue (bounded) → spool file (every half second) → Parquet by day (every minute, or 5,000 rows)

A full queue drops answers and counts them. What is spooled survives a kill of the process and an object store that does
not answer: it is published later, or by the next process that opens the same log on the same disk.
"""

import hashlib
import logging
import os
import queue
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from pathlib import Path

from jobtuner.errors import JobTunerError, StorageError
from jobtuner.languages import language_finder
from jobtuner.prediction_log.reader import expire
from jobtuner.prediction_log.rows import Answer, to_table
from jobtuner.prediction_log.sketch import Vocabulary
from jobtuner.prediction_log.spool import Spool, leftovers, read_spool
from jobtuner.prediction_log.store import LogStore, days_in

__all__ = ["LogCounts", "LogSettings", "PredictionLog"]

_LOG = logging.getLogger("jobtuner.prediction_log")
_SPOOL = ".spool"
_BATCH = 1000  # answers a batch of the spool


@dataclass(frozen=True)
class LogSettings:
    """How the log is written."""

    keep_text: bool = False
    """Write the ads' texts too, with personal data masked."""
    languages: tuple[str, ...] = ()
    """Languages among which that of an ad is found where its client names none (ISO 639-1, two at least): those of the
    training and those that may come. None: such an ad's language is unknown. Five take 170 MB of memory, 23 600 MB."""
    queue: int = 10_000
    """Answers that may wait for the thread; more are dropped and counted. 10,000 ads of 2 kB are 20 MB."""
    spool_seconds: float = 0.5
    """Answers younger than this are lost when the process is killed with SIGKILL."""
    flush_rows: int = 5_000
    """Rows after which a part is published."""
    flush_seconds: float = 60.0
    """Seconds after which a part is published, however small."""
    keep_days: int | None = None
    """Days that are kept, today among them; None: the log never deletes."""
    spool_bytes: int = 128 * 2**20
    """Size of the spool from which answers are dropped: an object store may be away for long. 128 MiB are some 300,000
    answers, and half of the gateway's temporary volume."""
    spool: Path | None = None
    """Folder for rows that are not published yet; None: inside the log's folder, or for s3:// one of the system's
    temporary folder, named after the log."""


@dataclass(frozen=True)
class LogCounts:
    """What became of the answers so far."""

    offered: int
    dropped: int
    """Answers that a full queue or a full disk refused: they are in no log."""
    published: int
    """Rows in finished parts, those that were taken up from a former process among them."""
    failures: int
    """Attempts to publish, spool or expire that failed; what was spooled is tried again."""
    waiting: int
    """Answers in the queue."""


class PredictionLog:
    """An open log; `close` publishes what is left.

    Args:
        location: a folder, file:///path or s3://bucket/key.
        settings: sizes and times; None: the defaults.
        vocabulary: words of the model's training, for the share of unknown words.

    Raises:
        DataError: a language that cannot be found in texts.
        StorageError: another scheme.
        OSError: the spool folder cannot be made.
    """

    def __init__(
        self, location: str, settings: LogSettings | None = None, vocabulary: Vocabulary | None = None
    ) -> None:
        self._store, self._settings = LogStore(location), settings or LogSettings()
        self._vocabulary = vocabulary
        self._finder = language_finder(self._settings.languages) if self._settings.languages else None
        self._folder = self._settings.spool or _spool_folder(self._store)
        self._folder.mkdir(parents=True, exist_ok=True)
        self._queue: queue.Queue[Answer] = queue.Queue(self._settings.queue)
        self._stop = threading.Event()
        self._offered = self._dropped = self._published = self._failures = 0
        self._lock = threading.Lock()
        self._spool: Spool | None = None
        self._opened = 0.0
        self._expired: date | None = None
        self._thread = threading.Thread(target=self._work, name="prediction-log", daemon=True)
        self._thread.start()

    def offer(self, answers: Sequence[Answer]) -> int:
        """Hand answers over without waiting; return how many were taken. After `close` none is."""
        taken = 0
        with self._lock:  # what is taken before `close` is taken before the thread looks for the last time
            for answer in answers:
                if self._stop.is_set() or self._queue.full():
                    break
                self._queue.put_nowait(answer)
                taken += 1
            self._offered += len(answers)
            self._dropped += len(answers) - taken
        return taken

    def counts(self) -> LogCounts:
        """What became of the answers so far."""
        with self._lock:
            return LogCounts(self._offered, self._dropped, self._published, self._failures, self._queue.qsize())

    def close(self, timeout: float = 30.0) -> bool:
        """Write and publish what waits.

        Args:
            timeout: seconds to wait for the thread; an object store may be slow.

        Returns:
            Whether all is published; otherwise it lies in the spool.
        """
        with self._lock:
            self._stop.set()
        self._thread.join(timeout)
        return not self._thread.is_alive() and not any(self._folder.glob("*"))

    def _work(self) -> None:
        self._publish_leftovers()
        last = False
        while not last:
            last = self._stop.wait(self._settings.spool_seconds)
            self._take()
            if self._spool is not None and (last or self._due(self._spool)):
                self._seal(self._spool)
                self._publish_leftovers()
            self._expire()

    def _due(self, spool: Spool) -> bool:
        age = time.monotonic() - self._opened
        return spool.rows >= self._settings.flush_rows or age >= self._settings.flush_seconds

    def _take(self) -> None:
        """Move what waits to the spool."""
        while not self._queue.empty():
            batch: list[Answer] = []
            while len(batch) < _BATCH and not self._queue.empty():
                batch.append(self._queue.get_nowait())
            try:
                if self._spool is None:
                    self._spool, self._opened = self._new_spool(), time.monotonic()
                self._spool.append(to_table(self._told(batch), self._vocabulary, self._settings.keep_text))
            except Exception as error:  # noqa: BLE001  # one bad batch or a full disk must not end the log
                self._failed("spool", error, dropped=len(batch))

    def _told(self, batch: list[Answer]) -> list[Answer]:
        """The answers, with a language found where none was named: here, for no request waits for this thread."""
        finder = self._finder
        if finder is None:
            return batch
        return [replace(one, language=one.language or finder.find(one.text)) for one in batch]

    def _new_spool(self) -> Spool:
        size = sum(path.stat().st_size for path in self._folder.iterdir())
        if size > self._settings.spool_bytes:
            raise StorageError(f"The spool {self._folder} holds {size} bytes that could not be published.")
        return Spool(self._folder)

    def _seal(self, spool: Spool) -> None:
        self._spool = None
        try:
            spool.close()
        except Exception as error:  # noqa: BLE001  # its whole batches are on the disk: they are read without its end
            self._failed("seal", error)

    def _publish_leftovers(self) -> None:
        """Publish every spool file that no process writes to: this one's sealed ones, and those of dead processes."""
        with leftovers(self._folder) as paths:
            for path in paths:
                try:
                    table = read_spool(path)
                    for day, rows in days_in(table).items():
                        self._store.publish(rows, f"day={day.isoformat()}/{path.stem}.parquet")
                    path.unlink()
                except (JobTunerError, OSError) as error:
                    self._failed("publish", error)
                    return  # the next ones would fail alike; all are tried again with the next part
                with self._lock:
                    self._published += len(table)

    def _expire(self) -> None:
        """Once a day, and at the start."""
        today = datetime.now(UTC).date()
        if self._settings.keep_days is None or self._expired == today:
            return
        self._expired = today
        try:
            expire(self._store.location, self._settings.keep_days, today)
        except (JobTunerError, OSError) as error:
            self._failed("expire", error)

    def _failed(self, what: str, error: Exception, dropped: int = 0) -> None:
        with self._lock:
            self._failures += 1
            self._dropped += dropped
        fields = {"step": what, "error": type(error).__name__, "dropped": dropped}
        _LOG.error("the prediction log failed", extra={"fields": fields})


def _spool_folder(store: LogStore) -> Path:
    if store.folder is not None:
        return store.folder / _SPOOL
    name = hashlib.sha256(store.location.encode()).hexdigest()[:16]
    return Path(tempfile.gettempdir()) / f"jobtuner-log-{os.getuid()}-{name}"
