"""The observer that writes the prediction log; the metrics show how that goes, and what the watch found in it."""

import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from jobtuner.drift_reference.files import FOLDER, VOCABULARY_FILE
from jobtuner.errors import JobTunerError
from jobtuner.prediction_log.rows import Answer
from jobtuner.prediction_log.sketch import Vocabulary
from jobtuner.prediction_log.store import FINDINGS, LogStore
from jobtuner.prediction_log.writer import LogSettings, PredictionLog
from jobtuner.serve.observers import Answered

if TYPE_CHECKING:
    from prometheus_client.metrics_core import Metric

__all__ = ["LogChoice", "Recorder", "open_recorder"]

_REFRESH_SECONDS = 300.0  # a look is taken once a day; the alerts wait longer than this


@dataclass(frozen=True)
class LogChoice:
    """What is written of the answers."""

    location: str
    """A folder or s3://bucket/key."""
    settings: LogSettings


class Recorder:
    """Hands answers to the log, and counts.

    Args:
        log: open; `close` closes it.
        location: of the log, for what the watch leaves there.
        refresh_seconds: between two looks for that.
    """

    def __init__(self, log: PredictionLog, location: str, refresh_seconds: float = _REFRESH_SECONDS) -> None:
        self._log, self._store = log, LogStore(location)
        self._request, self._number = "", -1
        self._findings = b""
        self._closed = threading.Event()
        threading.Thread(target=self._refresh, args=(refresh_seconds,), name="watch-findings", daemon=True).start()

    def observe(self, answered: Answered) -> None:
        """Take in one answer; those of a request come one behind the other."""
        same = answered.request_id == self._request
        self._request, self._number = answered.request_id, self._number + 1 if same else 0
        result = answered.result
        answer = Answer(
            request_id=answered.request_id,
            number=self._number,
            ad_id=result.id,
            text=answered.text,
            language=answered.language,
            label=result.code,
            probability=result.probability,
            top=[(item.code, item.probability) for item in result.top],
            model_version=answered.model_version,
            answered_by=result.answered_by,
            abstained=result.abstain,
            time=datetime.fromtimestamp(answered.time, UTC),
        )
        self._log.offer([answer])

    def close(self) -> None:
        """Publish what is left."""
        self._closed.set()
        self._log.close()

    def collect(self) -> "Iterator[Metric]":
        """For the registry: the log's counters, and the watch's gauges."""
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
        from prometheus_client.parser import text_string_to_metric_families

        counts = self._log.counts()
        outcomes = CounterMetricFamily("jobtuner_logged", "Answers by what the log did with them.", labels=["outcome"])
        outcomes.add_metric(["dropped"], counts.dropped)
        outcomes.add_metric(["published"], counts.published)
        yield outcomes
        yield CounterMetricFamily("jobtuner_log_failures", "Failed attempts to write the log.", counts.failures)
        yield GaugeMetricFamily("jobtuner_log_waiting", "Answers that wait for the log.", counts.waiting)
        yield from text_string_to_metric_families(self._findings.decode("utf-8", "replace"))

    def _refresh(self, seconds: float) -> None:
        while True:
            with suppress(JobTunerError, OSError):  # the last ones stay; their time stamp tells their age
                self._findings = self._store.get(FINDINGS) or b""
            if self._closed.wait(seconds):
                return


def open_recorder(choice: LogChoice, model: Path) -> Recorder:
    """Open the log for a model.

    Args:
        choice: where and what.
        model: its folder; the words of its training are taken from there, where they are.

    Raises:
        ContractError: the vocabulary is damaged.
        OSError: the spool folder cannot be made.
        StorageError: a scheme that is not accepted.
    """
    words = model / FOLDER / VOCABULARY_FILE
    vocabulary = Vocabulary.load(words) if words.is_file() else None
    return Recorder(PredictionLog(choice.location, choice.settings, vocabulary), choice.location)
