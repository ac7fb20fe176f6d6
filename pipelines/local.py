"""The whole pipeline on this machine: each component in a process of its own, by kfp's local runner."""

import contextlib
import os
import re
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from rich.console import Console

from jobtuner.config import Config, load_config
from jobtuner.display import Summary
from jobtuner.errors import JobTunerError
from jobtuner.progress import EVENTS_VARIABLE
from jobtuner.run import HOME_VARIABLE, Run, home, local_tracking_uri, new_run_folder
from jobtuner.stages import CACHE_VARIABLE, PARENT_RECORDS_VARIABLE, record_reused
from jobtuner.tracking import Status, connect
from pipelines.processes import Stopped, stopping_on_signals
from pipelines.watch import Events, Failure, watch

__all__ = ["LocalRunError", "run_local"]

_COLOUR_CODES = re.compile(r"\x1b\[\d+m")  # kfp colours its log whatever reads it
_LAST_LINES = 8  # of a trace or a log, shown when something unexpected went wrong: the error and where it came from


class LocalRunError(JobTunerError):
    """A step failed in its own process; carries that process's message and exit code."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


def run_local(recipe: str, overrides: Mapping[str, str], console: Console) -> Summary:
    """Run all stages of a recipe, draw their progress, and link the result at <home>/latest.

    Args:
        recipe: name of a built-in recipe, or path of a YAML file.
        overrides: dotted key to value as YAML text.
        console: where progress goes; it must hold a stream of its own (`Console(file=sys.stdout)`), since `sys.stdout`
            belongs to the log file meanwhile.

    Raises:
        ConfigError: the recipe or an override is wrong; nothing has been started.
        LocalRunError: a step failed.
        Stopped: SIGINT or SIGTERM came; every process of the run is gone.
    """
    config = load_config(recipe, overrides)
    folder = new_run_folder()
    log, events_file = folder / "pipeline.log", folder / "events.jsonl"
    events_file.touch()
    console.print(f"Recipe [bold]{config.name}[/bold]; log: {_short(log)}", soft_wrap=True, highlight=False)
    started = time.monotonic()
    uri = local_tracking_uri()
    mark = (EVENTS_VARIABLE, str(events_file))
    try:
        with (
            _output_to(log),
            watch(events_file, console) as events,
            stopping_on_signals(mark),
            _tracked_run(uri, config) as parent_id,
        ):
            _run_pipeline(recipe, overrides, folder, {**_settings(parent_id), mark[0]: mark[1]})
    except Stopped:
        console.print(f"[yellow]Stopped.[/yellow] Finished stages are kept. Log: {_short(log)}", soft_wrap=True)
        raise
    except RuntimeError as error:  # what kfp raises when a task fails
        raise _failure(events, error, log) from error
    outputs = {item.stage: Path(item.out) for item in events.stages}
    record_reused(Run.load(_run_folder(folder)), outputs, [item.stage for item in events.stages if item.reused])
    _link_outputs(folder, events)
    return Summary(folder, events.stages, uri, time.monotonic() - started)


@contextlib.contextmanager
def _tracked_run(uri: str, config: Config) -> Iterator[str]:
    """Open the parent run of all stages, yield its id, and close it as what happened says."""
    tracker = connect(uri)
    parent_id = tracker.open_run(config)
    status: Status = "FAILED"
    try:
        yield parent_id
        status = "FINISHED"
    except Stopped:
        status = "KILLED"
        raise
    finally:
        tracker.close_run(parent_id, status)


@contextlib.contextmanager
def _output_to(log: Path) -> Iterator[None]:
    with (
        log.open("a", encoding="utf-8", buffering=1) as stream,
        contextlib.redirect_stdout(stream),
        contextlib.redirect_stderr(stream),
    ):
        yield


def _settings(parent_id: str) -> dict[str, str]:
    return {
        HOME_VARIABLE: str(home()),
        CACHE_VARIABLE: os.environ.get(CACHE_VARIABLE) or str(home() / "cache"),
        PARENT_RECORDS_VARIABLE: "1",
        "MLFLOW_RUN_ID": parent_id,
        "PYTHONUNBUFFERED": "1",  # the log shows what a process said before it died
    }


def _run_pipeline(recipe: str, overrides: Mapping[str, str], folder: Path, settings: Mapping[str, str]) -> None:
    from kfp import local

    from pipelines.training import build_pipeline

    with tempfile.TemporaryDirectory(prefix="jobtuner-") as scratch, _environment({**settings, "TMPDIR": scratch}):
        local.init(
            local.SubprocessRunner(use_venv=False),
            pipeline_root=str(folder / "kfp"),
            workspace_root=None,  # kfp deletes the workspace after a run, whoever it belongs to: let it make its own
            raise_on_error=True,
            enable_caching=False,  # run_stage has a cache that knows our code and the content of the inputs
        )
        build_pipeline(None)(recipe=recipe, overrides=dict(overrides))


@contextlib.contextmanager
def _environment(settings: Mapping[str, str]) -> Iterator[None]:
    """Set environment variables, and let `python3` be this interpreter, for the block.

    kfp writes `sys.executable` in place of every "python3" in a task's command line, paths and parameters included: an
    input under ~/python3-course would be lost. With "python3" as the executable that replacement changes nothing.
    """
    before = dict(os.environ)
    executable = sys.executable
    os.environ.update(settings)
    os.environ["PATH"] = f"{Path(executable).parent}{os.pathsep}{before.get('PATH', os.defpath)}"
    sys.executable = "python3"
    try:
        yield
    finally:
        sys.executable = executable
        os.environ.clear()
        os.environ.update(before)


def _failure(events: Events, error: RuntimeError, log: Path) -> LocalRunError:
    if events.failure is not None:
        return LocalRunError(f"{_told(events.failure)}\nThe whole log: {_short(log)}", events.failure.exit_code)
    if events.running is not None:
        what = f"Stage {events.running} ended without a word: killed from outside, for want of memory perhaps."
    else:
        what = f"A step failed outside its stage: {error}"
    ending = _last_lines(log.read_text(encoding="utf-8", errors="replace"))
    return LocalRunError(_COLOUR_CODES.sub("", f"{what} The log {_short(log)} ends:\n{ending}"), 1)


def _told(failure: Failure) -> str:
    if not failure.trace:
        return f"Stage {failure.stage} failed. {failure.message}"
    return f"Stage {failure.stage} failed unexpectedly. {failure.message}\n{_last_lines(failure.trace)}"


def _last_lines(text: str) -> str:
    lines = [line.rstrip() for line in text.splitlines() if line.strip()]
    return "\n".join(f"  {line}" for line in lines[-_LAST_LINES:])


def _short(path: Path) -> Path:
    """The path as one would type it here."""
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


def _run_folder(folder: Path) -> Path:
    """Where kfp put what the step `resolve` made."""
    return next((folder / "kfp").glob("*/resolve/run"))


def _link_outputs(folder: Path, events: Events) -> None:
    """Give each stage's output a plain name in the run's folder, and the run the name `latest`."""
    outputs = {item.stage: item.out for item in events.stages}
    outputs["run"] = _run_folder(folder)
    for name, path in outputs.items():
        (folder / name).symlink_to(path.relative_to(folder))
    latest = folder.parent.parent / "latest"
    new = latest.with_name(f".latest-{folder.name}")
    new.symlink_to(folder.relative_to(latest.parent))
    new.replace(latest)
