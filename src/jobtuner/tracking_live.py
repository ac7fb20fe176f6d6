"""A training's curves in the tracker while it runs, not at its end alone.

What cannot be sent is left to the end, when the stage's whole history is recorded: the tracker never ends a training.
"""

import json
import os
import time
from collections.abc import Mapping
from typing import Any

from jobtuner.errors import TrackingError
from jobtuner.progress import notice
from jobtuner.tracking import Tracker, connect, current_run
from jobtuner.tracking_entries import Entry, Measurement, step_measurements

__all__ = ["LIVE_VARIABLE", "LiveCurves", "child_environment", "live_curves"]

LIVE_VARIABLE = "JOBTUNER_LIVE_RUN"
"""Environment variable of a process that trains for another one: that one's tracker and run, as JSON."""

_INTERVAL = 5.0  # seconds between two sendings: some 20 ms each, half a per cent of the time
_AT_ONCE = 900  # values a sending: MLflow takes 1,000


class LiveCurves:
    """Sends the entries of a training's history, several at once."""

    def __init__(self, tracker: Tracker, run_id: str) -> None:
        self._tracker, self._run_id = tracker, run_id
        self._waiting: list[Measurement] = []
        self._sent_at, self._works = time.monotonic(), True

    def add(self, entry: Mapping[str, Any]) -> None:
        """An entry, with its `step`; it is sent with others, seconds later."""
        self._waiting += step_measurements(entry)
        if time.monotonic() - self._sent_at >= _INTERVAL:
            self.send()

    def send(self) -> None:
        """Send what waits."""
        while self._waiting and self._works:
            now, self._waiting = self._waiting[:_AT_ONCE], self._waiting[_AT_ONCE:]
            try:
                self._tracker.store.log(self._run_id, Entry(metrics=now))
            except TrackingError as error:
                self._works = False
                notice(f"The curves are recorded at the end of the training, not while it runs: {error}")
        self._sent_at = time.monotonic()


def live_curves() -> LiveCurves | None:
    """For the run of the stage that runs in this process, or in the one that started it; None where there is none."""
    found = current_run()
    if found is None and (told := os.environ.get(LIVE_VARIABLE)):
        uri, run_id = json.loads(told)
        found = connect(uri), run_id
    return LiveCurves(*found) if found else None


def child_environment() -> dict[str, str]:
    """What lets a child process send to the run of this process's stage."""
    found = current_run()
    return {LIVE_VARIABLE: json.dumps([found[0].uri, found[1]])} if found and found[0].uri else {}
