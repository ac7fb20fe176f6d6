"""A whole search: the workers, the tracked parent run, and the best recipe at the end."""

import os
import subprocess
import sys
import time
from pathlib import Path

from jobtuner.errors import ConfigError, Interrupted, JobTunerError, ModelError
from jobtuner.run import Run
from jobtuner.tracking import Status, connect
from jobtuner.tracking_entries import Entry, Measurement
from jobtuner.train.guard import stop_requests
from jobtuner.train.launch import PARENT_VARIABLE
from jobtuner.train.tune import TuningPlan, begin, best_recipe, open_study
from jobtuner.train.tune_worker import work

__all__ = ["search"]

_SAVING = 60.0  # seconds for the workers to write their checkpoints after a signal


def search(folder: Path, plan: TuningPlan, workers: int) -> Path:
    """Make the trials that are still to be made.

    Args:
        folder: of the search; `run` in it is the tracked parent run.
        plan: what is searched.
        workers: processes that make trials.

    Returns:
        The file with the best recipe.

    Raises:
        JobTunerError: as the trial that ended the search raised it.
        ModelError: no trial came to its end.
        ConfigError: more workers than GPUs, where there are some.
    """
    _check_gpus(workers)
    run = Run.load(folder / "run")
    begin(folder, plan)
    status: Status = "FAILED"
    try:
        if workers == 1:
            work(folder)
        else:
            _work_together(folder, workers)
        best = best_recipe(folder, plan)
        if best is None:
            raise ModelError(
                f"None of the {plan.trials} trials came to its end. The tracked runs say why; narrow {plan.space}."
            )
        value = open_study(folder, plan).best_value
        tracker = connect(run.tracking_uri)
        tracker.store.log(
            run.parent_id, Entry(metrics=[Measurement(f"best_validation_{plan.metric}", value)], files=[best])
        )
        status = "FINISHED"
    except (KeyboardInterrupt, Interrupted):
        status = "KILLED"
        raise
    finally:
        connect(run.tracking_uri).close_run(run.parent_id, status)
    return best


def _check_gpus(workers: int) -> None:
    import torch

    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if gpus and workers > gpus:
        raise ConfigError(f"--workers is {workers}, and {gpus} GPUs are visible; each worker needs one.")


def _work_together(folder: Path, workers: int) -> None:
    devices = [each for each in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if each]
    started = []
    with stop_requests() as stop:
        for number in range(workers):
            environment = {**os.environ, PARENT_VARIABLE: str(os.getpid())}
            environment["CUDA_VISIBLE_DEVICES"] = devices[number] if number < len(devices) else str(number)
            log = (folder / f"worker-{number}.log").open("ab")
            command = [sys.executable, "-m", "jobtuner.train.tune_worker", str(folder)]
            started.append(subprocess.Popen(command, env=environment, stderr=log, stdout=log))
        deadline = float("inf")
        while any(process.poll() is None for process in started) and time.monotonic() < deadline:
            if stop and deadline == float("inf"):
                deadline = time.monotonic() + _SAVING
                for process in started:
                    process.terminate()
            time.sleep(0.1)
        for process in started:
            process.kill()
            process.wait()
        if stop:
            raise Interrupted(f"The search was stopped by {stop.name}. Type the command again to go on.", stop.agreed)
    failed = [number for number, process in enumerate(started) if process.returncode]
    if len(failed) == len(started):
        words = (folder / f"worker-{failed[0]}.log").read_text(encoding="utf-8", errors="replace")[-2000:]
        raise JobTunerError(f"All {workers} workers failed; the last words of worker {failed[0]}:\n{words}")
