"""The events of a local run, read as they come and drawn: bars on a terminal, plain lines elsewhere."""

import json
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from jobtuner.display import StageTime, duration

__all__ = ["Events", "Failure", "watch"]

_POLL = 0.1  # seconds between two looks at the events file
_LINE_INTERVAL = 10.0  # seconds between two plain progress lines

_Event = Mapping[str, Any]


@dataclass(frozen=True)
class Failure:
    """What a failed stage said of itself."""

    stage: str
    message: str
    exit_code: int
    trace: str
    """Empty where the error was raised on purpose, for the user to read."""


@dataclass
class Events:
    """What has been read so far."""

    stages: list[StageTime] = field(default_factory=list)
    running: str | None = None
    """The stage that has started and not said how it ended."""
    failure: Failure | None = None


class _View(Protocol):
    def stage_started(self, stage: str) -> None: ...
    def stage_finished(self, time_of: StageTime) -> None: ...
    def progress(self, event: _Event) -> None: ...
    def notice(self, text: str) -> None: ...
    def close(self) -> None: ...


class _Bars:
    """Rich bars on a terminal: one for the stage, one for each of its steps."""

    def __init__(self, console: Console) -> None:
        # Live would take sys.stdout over; it belongs to the log file while kfp runs.
        self._progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[amount]}"),
            TimeElapsedColumn(),
            TextColumn("[dim]{task.fields[values]}"),
            console=console,
            redirect_stdout=False,
            redirect_stderr=False,
            transient=True,
        )
        self._tasks: dict[str, Any] = {}
        self._progress.start()
        self._add("[bold]starting", None)

    def stage_started(self, stage: str) -> None:
        self._clear()
        self._add(f"[bold]{stage}", None)

    def stage_finished(self, time_of: StageTime) -> None:
        self._clear()
        self._progress.console.print(_stage_line(time_of), highlight=False)

    def progress(self, event: _Event) -> None:
        name = f"  {escape(event['label'])}"
        if event["finished"]:
            task = self._tasks.pop(name, None)
            if task is not None:
                self._progress.remove_task(task)
            return
        task = self._tasks[name] if name in self._tasks else self._add(name, event["total"])
        self._progress.update(task, completed=event["done"], amount=_amount(event), values=_values(event))

    def notice(self, text: str) -> None:
        self._progress.console.print(_notice_line(text), soft_wrap=True, highlight=False)

    def close(self) -> None:
        self._progress.stop()

    def _clear(self) -> None:
        for task in self._tasks.values():
            self._progress.remove_task(task)
        self._tasks.clear()

    def _add(self, name: str, total: float | None) -> Any:
        self._tasks[name] = self._progress.add_task(name, total=total, amount="", values="")
        return self._tasks[name]


class _Lines:
    """Plain lines for a log or a pipe."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._last = time.monotonic()

    def stage_started(self, stage: str) -> None:  # noqa: ARG002 the line comes when the stage ends
        self._last = time.monotonic()

    def stage_finished(self, time_of: StageTime) -> None:
        self._console.print(_stage_line(time_of), highlight=False)

    def progress(self, event: _Event) -> None:
        if time.monotonic() - self._last >= _LINE_INTERVAL:
            self._last = time.monotonic()
            line = f"  {event['label']}: {_amount(event)}  {_values(event)}".rstrip()
            self._console.print(escape(line), soft_wrap=True)

    def notice(self, text: str) -> None:
        self._console.print(_notice_line(text), soft_wrap=True, highlight=False)

    def close(self) -> None:
        """Nothing is left open."""


@contextmanager
def watch(path: Path, console: Console) -> Iterator[Events]:
    """Draw the events of a file as they are appended; yields what has been read, complete when the block is left."""
    events = Events()
    view: _View = _Bars(console) if console.is_terminal else _Lines(console)
    done = threading.Event()
    thread = threading.Thread(target=_follow, args=(path, events, view, done), name="watch", daemon=True)
    thread.start()
    try:
        yield events
    finally:
        done.set()
        thread.join()
        view.close()


def _follow(path: Path, events: Events, view: _View, done: threading.Event) -> None:
    with path.open("r", encoding="utf-8") as stream:
        rest = ""
        while True:
            last_look = done.is_set()
            *lines, rest = (rest + stream.read()).split("\n")
            for line in lines:
                _take(json.loads(line), events, view)
            if last_look:
                return
            done.wait(_POLL)


def _take(event: _Event, events: Events, view: _View) -> None:
    if event["event"] == "progress":
        view.progress(event)
    elif event["event"] == "notice":
        view.notice(event["text"])
    elif event["state"] == "started":
        events.running = event["stage"]
        view.stage_started(event["stage"])
    elif event["state"] == "finished":
        time_of = StageTime(event["stage"], event["seconds"], event["reused"], Path(event["out"]))
        events.stages.append(time_of)
        events.running = None
        view.stage_finished(time_of)
    elif event["state"] == "failed":
        events.failure = Failure(event["stage"], event["message"], event["exit_code"], event["trace"])


def _notice_line(text: str) -> str:
    return f"  [yellow]{escape(text)}[/yellow]"


def _stage_line(time_of: StageTime) -> str:
    reused = "  [dim]reused: nothing it depends on has changed[/dim]" if time_of.reused else ""
    return f"[green]✓[/green] {time_of.stage:<10}{duration(time_of.seconds):>9}{reused}"


def _amount(event: _Event) -> str:
    of_total = f"/{event['total']:,.0f}" if event["total"] else ""
    return f"{event['done']:,.0f}{of_total} {event['unit']}"


def _values(event: _Event) -> str:
    return "  ".join(
        f"{name} {value:.4g}" if isinstance(value, float) else f"{name} {value}"
        for name, value in event["values"].items()
    )
