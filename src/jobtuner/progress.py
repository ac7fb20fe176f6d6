"""Progress of long steps, told once and shown where there is somebody to see it.

A stage says `with track("Fine-tuning", total=900, unit="steps") as bar: bar.advance()`. Where it runs as a child of
`jobtuner run`, the events go as JSON lines to the file named by JOBTUNER_EVENTS and the parent draws the bars. Alone on
a terminal it draws its own bar; in a pod or a log it prints a plain line every few seconds.
"""

import json
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

__all__ = ["EVENTS_VARIABLE", "Bar", "emit", "notice", "track"]

EVENTS_VARIABLE = "JOBTUNER_EVENTS"
_EVENT_INTERVAL = 0.2  # seconds between two events of one bar: five redraws a second look smooth
_LINE_INTERVAL = 10.0  # seconds between two plain lines in a log


class Bar(Protocol):
    """A progress bar of any kind."""

    def advance(self, amount: float = 1, **values: float | str) -> None:
        """Move on by `amount` units; `values` (loss=1.2) are shown behind the bar."""


def emit(event: str, **fields: Any) -> None:
    """Append one event for the parent process; does nothing where no parent listens."""
    path = os.environ.get(EVENTS_VARIABLE)
    if not path:
        return
    line = json.dumps({"event": event, "time": time.time(), **fields}, ensure_ascii=False) + "\n"
    with Path(path).open("a", encoding="utf-8") as stream:  # one write of one line: appends do not interleave
        stream.write(line)


def notice(text: str) -> None:
    """Say one thing that the user should know: to the parent process where one listens, and to stderr."""
    emit("notice", text=text)
    sys.stderr.write(f"{text}\n")


class _EventBar:
    def __init__(self, label: str, total: float | None, unit: str, start: float) -> None:
        self._label, self._total, self._unit = label, total, unit
        self._done, self._last, self._values = start, 0.0, dict[str, float | str]()
        self._send()

    def advance(self, amount: float = 1, **values: float | str) -> None:
        self._done += amount
        self._values.update(values)
        if time.monotonic() - self._last >= _EVENT_INTERVAL:
            self._send()

    def close(self) -> None:
        self._send(finished=True)

    def _send(self, finished: bool = False) -> None:
        self._last = time.monotonic()
        fields = {"label": self._label, "done": self._done, "total": self._total, "unit": self._unit}
        emit("progress", **fields, values=self._values, finished=finished)


class _LineBar:
    def __init__(self, label: str, total: float | None, unit: str, start: float) -> None:
        self._label, self._total, self._unit = label, total, unit
        self._done, self._before, self._start = start, start, time.monotonic()
        self._last = self._start
        self._values = dict[str, float | str]()

    def advance(self, amount: float = 1, **values: float | str) -> None:
        self._done += amount
        self._values.update(values)
        if time.monotonic() - self._last >= _LINE_INTERVAL:
            self._print()

    def close(self) -> None:
        self._print()

    def _print(self) -> None:
        self._last = time.monotonic()
        seconds = max(self._last - self._start, 1e-9)
        of_total = f"/{self._total:,.0f}" if self._total else ""
        values = "".join(f", {name} {value}" for name, value in self._values.items())
        rate = f"{(self._done - self._before) / seconds:,.1f} {self._unit}/s"
        sys.stderr.write(f"{self._label}: {self._done:,.0f}{of_total} {self._unit}, {rate}{values}\n")


class _RichBar:
    def __init__(self, label: str, total: float | None, unit: str, start: float) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn(unit))
        self._progress = Progress(
            *columns, TimeRemainingColumn(), TextColumn("{task.fields[values]}"), console=Console(stderr=True)
        )
        self._task = self._progress.add_task(label, total=total, completed=int(start), values="")
        self._progress.start()

    def advance(self, amount: float = 1, **values: float | str) -> None:
        text = "  ".join(f"{name} {value}" for name, value in values.items())
        if text:
            self._progress.update(self._task, advance=amount, values=text)
        else:
            self._progress.update(self._task, advance=amount)

    def close(self) -> None:
        self._progress.stop()


@contextmanager
def track(label: str, total: float | None = None, unit: str = "rows", start: float = 0) -> Iterator[Bar]:
    """Show the progress of a step.

    Args:
        label: what is being done, as a short phrase.
        total: number of units, or None where it is not known.
        unit: plural name of one unit.
        start: units that were done before, by a run that this one goes on from.
    """
    bar: _EventBar | _LineBar | _RichBar
    if os.environ.get(EVENTS_VARIABLE):
        bar = _EventBar(label, total, unit, start)
    elif sys.stderr.isatty():
        bar = _RichBar(label, total, unit, start)
    else:
        bar = _LineBar(label, total, unit, start)
    try:
        yield bar
    finally:
        bar.close()
