"""The train stage's own processes, one a GPU: started, watched, told to stop, and their errors brought home.

The stage starts them as torchrun would: RANK, WORLD_SIZE, LOCAL_RANK, MASTER_ADDR, MASTER_PORT. On several machines it
runs once on each, and learns of the others from the variables that Kubeflow Trainer and torchrun use: PET_NNODES,
PET_NODE_RANK, PET_MASTER_ADDR, PET_MASTER_PORT.
"""

import ctypes
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from jobtuner import errors
from jobtuner.config import Config, HardwareConfig
from jobtuner.errors import ConfigError, Interrupted, JobTunerError, ModelError
from jobtuner.progress import EVENTS_VARIABLE
from jobtuner.tracking_live import child_environment
from jobtuner.train.guard import StopRequest, stop_requests

__all__ = ["PARENT_VARIABLE", "Machines", "die_with", "launch", "machines", "processes_here", "record_failure"]

PARENT_VARIABLE = "JOBTUNER_PARENT"
"""Environment variable: the process with which one of its children ends."""

_PARENT_DEATH_SIGNAL = 1  # PR_SET_PDEATHSIG of prctl(2)
_PATIENCE = 10.0  # seconds for the other processes, after one has failed: they may have more to say
_SAVING = 60.0  # seconds for all of them to stop, after a signal: to finish a step and write a checkpoint
_SHOWN = 2000  # characters of a process's log in a message


@dataclass(frozen=True)
class Machines:
    """Where this machine stands among those that train together."""

    count: int = 1
    rank: int = 0
    address: str = "127.0.0.1"
    port: int | None = None
    """None: a free one."""


def machines(environment: Mapping[str, str] | None = None) -> Machines:
    """Read from PET_NNODES and so on; one machine where they are not set.

    Raises:
        ConfigError: they are set, but not all of them, or not to what is needed.
    """
    found = os.environ if environment is None else environment
    count = found.get("PET_NNODES") or "1"
    if count == "1":
        return Machines()
    values = {name: found.get(name, "") for name in ("PET_NODE_RANK", "PET_MASTER_ADDR", "PET_MASTER_PORT")}
    numbers = (count, values["PET_NODE_RANK"], values["PET_MASTER_PORT"])
    if not all(each.isdigit() for each in numbers) or not values["PET_MASTER_ADDR"]:
        raise ConfigError(
            f"PET_NNODES is '{count}' with {values}. Several machines need a number (no range) and all three others; "
            "a TrainJob of Kubeflow Trainer sets them. Unset PET_NNODES to train on this machine alone."
        )
    return Machines(int(count), int(numbers[1]), values["PET_MASTER_ADDR"], int(numbers[2]))


def processes_here(settings: HardwareConfig, gpus: int) -> int:
    """Training processes on this machine.

    Args:
        settings: how many were asked for.
        gpus: how many there are.

    Raises:
        ModelError: more processes than GPUs, where there are some.
    """
    count = settings.processes or max(1, gpus)
    if gpus and count > gpus:
        raise ModelError(
            f"hardware.processes is {count}, and {gpus} GPUs are visible here; each process needs one. Accepted: 1 to "
            f"{gpus}, or null for as many as there are."
        )
    return count


def launch(config: Config, prepare: Path, out: Path, count: int, place: Machines) -> None:
    """Train in `count` processes here; returns when all of them have ended well.

    Args:
        config: the recipe.
        prepare: folder of the prepared data.
        out: where the first process writes the result.
        count: processes on this machine.
        place: this machine among all.

    Raises:
        JobTunerError: as the process that failed raised it.
        Interrupted: SIGTERM or SIGINT came to this process, and the others have ended.
    """
    folder = out / "processes"
    folder.mkdir(parents=True)
    config.save(folder / "config.json")
    job = json.dumps({"config": str(folder / "config.json"), "prepare": str(prepare), "out": str(out)})
    (folder / "job.json").write_text(job, encoding="utf-8")
    port = place.port if place.port is not None else _free_port()
    with stop_requests() as stop:
        started = [
            _start(folder, index, place.rank * count + index, count, place, port)
            for index in range(count)
        ]  # fmt: skip
        try:
            first = _watch(started, stop)
        finally:
            for process in started:
                if process.poll() is None:
                    process.kill()
                process.wait()
    codes = [process.returncode for process in started]
    if stop.signum is not None and any(codes):
        raise _failure(folder, codes) or Interrupted(f"Training was stopped by {stop.name}.", stop.signum)
    if any(codes):
        raise _failure(folder, codes) or ModelError(_last_words(folder, codes, first))


def _start(folder: Path, local: int, rank: int, count: int, place: Machines, port: int) -> "subprocess.Popen[bytes]":
    variables: dict[str, object] = {
        PARENT_VARIABLE: os.getpid(),
        "RANK": rank, "LOCAL_RANK": local, "WORLD_SIZE": count * place.count, "LOCAL_WORLD_SIZE": count,
        "GROUP_RANK": place.rank, "MASTER_ADDR": place.address, "MASTER_PORT": port,
    }  # fmt: skip
    environment = {**os.environ, **{name: str(value) for name, value in variables.items()}}
    environment |= child_environment()
    if rank:  # one process alone shows progress
        environment.pop(EVENTS_VARIABLE, None)
    environment.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // count)))
    log = None if rank == 0 else (folder / f"{local}.log").open("wb")
    return subprocess.Popen(
        [sys.executable, "-m", "jobtuner.train.rank", str(folder / "job.json")], env=environment, stdout=log, stderr=log
    )


def _watch(started: "Sequence[subprocess.Popen[bytes]]", stop: StopRequest) -> int:
    """Wait until all have ended; pass a signal on, and let no process wait for one that has failed.

    Returns:
        The number of the process that failed first; of those that failed at once the last, as the first process fails
        whenever another one does.
    """
    told, deadline, first = False, float("inf"), -1
    while any(process.poll() is None for process in started) and time.monotonic() < deadline:
        if stop and not told:
            told, deadline = True, time.monotonic() + _SAVING
            for process in started:
                process.send_signal(signal.SIGTERM)
        elif first < 0 and (failed := [index for index, process in enumerate(started) if process.poll()]):
            first, deadline = failed[-1], min(deadline, time.monotonic() + _PATIENCE)
        time.sleep(0.05)
    failed = [index for index, process in enumerate(started) if process.poll()]
    return first if first >= 0 or not failed else failed[-1]


def die_with(parent: int) -> None:
    """End when the process of this number ends, however it does: work that nobody waits for would hold its GPU."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PARENT_DEATH_SIGNAL, signal.SIGKILL)
    if os.getppid() != parent:  # it had ended already
        raise SystemExit(1)


def record_failure(job: Path, rank: int, error: JobTunerError) -> None:
    """Leave an error for the process that started this one."""
    document = {"kind": type(error).__name__, "message": str(error), "code": error.exit_code}
    (job.parent / f"failure-{rank}.json").write_text(json.dumps(document), encoding="utf-8")


def _failure(folder: Path, codes: Sequence[int]) -> JobTunerError | None:
    """What the first of the failed processes raised; None where none had a message for the user."""
    for path in sorted(folder.glob("failure-*.json"), key=lambda path: int(path.stem.partition("-")[2])):
        document = json.loads(path.read_text(encoding="utf-8"))
        if document["kind"] == Interrupted.__name__:
            return Interrupted(document["message"], document["code"] - 128)
        kind: type[JobTunerError] = getattr(errors, document["kind"], ModelError)
        return kind(f"{document['message']} (process {path.stem.partition('-')[2]} of {len(codes)})")
    return None


def _last_words(folder: Path, codes: Sequence[int], first: int) -> str:
    index = max(first, 0)
    log = folder / f"{index}.log"
    said = log.read_text(encoding="utf-8", errors="replace")[-_SHOWN:].strip() if log.exists() else "see above"
    return (
        f"Training process {index} of {len(codes)} ended with exit code {codes[index]}, and the others were stopped. "
        f"Its last words: {said}\nRun again to go on from the last checkpoint; with hardware.processes=1 a single "
        "process trains."
    )


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port
