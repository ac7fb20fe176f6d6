"""The trials of a search, one after the other: `python -m jobtuner.train.tune_worker FOLDER`, or in this process."""

import os
import shutil
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from jobtuner.config import Config
from jobtuner.run import Run
from jobtuner.tracking import Tracker, connect
from jobtuner.train.launch import PARENT_VARIABLE, die_with
from jobtuner.train.resume import SeenEnoughError
from jobtuner.train.space import Space, load_space
from jobtuner.train.stage import fine_tune_in
from jobtuner.train.trial import Attempt
from jobtuner.train.tune import MEASUREMENTS, TuningPlan, next_trial, open_study

if TYPE_CHECKING:
    from optuna import Study
    from optuna.trial import Trial

__all__ = ["main", "work"]


def work(folder: Path) -> None:
    """Make trials until enough are through.

    Raises:
        JobTunerError: what no other settings would mend: the disk is full, the base cannot be loaded, a signal came.
    """
    plan, run = TuningPlan.load(folder), Run.load(folder / "run")
    space = load_space(Path(plan.space), plan.recipe, plan.overrides)
    os.environ["JOBTUNER_CACHE"] = str(folder / "cache")
    os.environ.pop("JOBTUNER_CHECKPOINTS", None)
    study, tracker = open_study(folder, plan), connect(run.tracking_uri)
    while (trial := next_trial(folder, study, plan, run.config.seed)) is not None:
        _one(folder, plan, space, study, trial, tracker, run.parent_id)


def _one(
    folder: Path, plan: TuningPlan, space: Space, study: "Study", trial: "Trial", tracker: Tracker, parent: str
) -> None:
    from optuna.trial import TrialState

    attempt = Attempt(plan, trial.number, space.suggest(trial))
    trial.set_user_attr("overrides", attempt.overrides)
    if attempt.run(tracker, parent, partial(_train, folder, plan, trial, attempt.measured)):
        study.tell(trial, attempt.best)
    else:
        study.tell(trial, state=TrialState.PRUNED)


def _train(folder: Path, plan: TuningPlan, trial: "Trial", measured: list[float], config: Config) -> None:
    out = folder / "trials" / f"{trial.number}-{os.getpid()}"
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)

    steps, reported = plan.steps(config), set[int]()

    def watch(step: int, values: dict[str, float]) -> None:
        measured.append(values[plan.metric])
        part = MEASUREMENTS * step // steps  # trials with other batch sizes are compared at the same share of the rows
        if part not in reported:
            reported.add(part)
            trial.report(values[plan.metric], part)
        if step < steps and trial.should_prune():
            raise SeenEnoughError

    try:
        fine_tune_in(config, Path(plan.prepare), out, watch=watch)
    finally:
        shutil.rmtree(out, ignore_errors=True)  # the settings are what is sought; the checkpoints lie elsewhere


def main(folder: Path) -> None:
    """A worker of its own, which ends with the process that started it."""
    die_with(int(os.environ.get(PARENT_VARIABLE) or os.getppid()))
    work(folder)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
