"""The trials of a search, one after the other: `python -m jobtuner.train.tune_worker FOLDER`, or in this process."""

import os
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jobtuner.config import Config
from jobtuner.errors import ConfigError, ModelError
from jobtuner.progress import notice
from jobtuner.run import Run
from jobtuner.tracking import Status, Tracker, connect
from jobtuner.tracking_entries import Entry, Measurement, recipe_parameters
from jobtuner.train.launch import PARENT_VARIABLE, die_with
from jobtuner.train.resume import SeenEnoughError
from jobtuner.train.space import Space, load_space
from jobtuner.train.stage import fine_tune_in
from jobtuner.train.tune import MEASUREMENTS, TuningPlan, next_trial, open_study

if TYPE_CHECKING:
    from optuna import Study
    from optuna.trial import Trial

__all__ = ["main", "work"]

_SECTIONS = ("seed", "task", "prompt", "model", "quantization", "lora", "training")


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

    overrides = space.suggest(trial)
    trial.set_user_attr("overrides", overrides)
    run_id = tracker.store.open_nested(parent, f"trial-{trial.number}", {"stage": "tune", "trial": str(trial.number)})
    measured: list[float] = []
    state, tags = TrialState.PRUNED, dict[str, str]()
    try:
        config = plan.config(overrides)
        tracker.store.log(run_id, Entry(params=recipe_parameters(config, *_SECTIONS)))
        _train(folder, plan, config, trial, measured)
        state = TrialState.COMPLETE
    except SeenEnoughError:
        tags = {"pruned": f"after {len(measured)} measurements"}
    except (ConfigError, ModelError) as error:  # these settings cannot be trained: others can
        if isinstance(error, ModelError) and not measured and not _diverged(error):
            _close(tracker, run_id, "FAILED", {"error": str(error)}, measured, plan)
            raise
        tags = {"refused": str(error)}
        notice(f"Trial {trial.number} was given up: {error}")
    except BaseException:
        _close(tracker, run_id, "KILLED", {}, measured, plan)
        raise
    finished = state == TrialState.COMPLETE
    study.tell(trial, _best(plan, measured) if finished else None, state=state)
    _close(tracker, run_id, "FINISHED", tags, measured, plan)
    shown = f"{plan.metric} {_best(plan, measured):.4f}" if measured else "no measurement"
    notice(f"Trial {trial.number}: {shown}{'' if finished else ', given up'}; {_shown(overrides)}")


def _train(folder: Path, plan: TuningPlan, config: Config, trial: "Trial", measured: list[float]) -> None:
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


def _close(
    tracker: Tracker, run_id: str, status: Status, tags: Mapping[str, str], measured: list[float], plan: TuningPlan
) -> None:
    name = f"validation_{plan.metric}"
    metrics = [Measurement(name, value, number) for number, value in enumerate(measured, start=1)]
    if measured:
        metrics.append(Measurement(f"best_{name}", _best(plan, measured)))
    tracker.store.log(run_id, Entry(metrics=metrics, tags=tags))
    tracker.store.close(run_id, status)


def _best(plan: TuningPlan, measured: list[float]) -> float:
    return min(measured) if plan.metric == "loss" else max(measured)


def _diverged(error: ModelError) -> bool:
    return any(part in str(error) for part in ("The loss is", "gradients exploded"))


def _shown(overrides: Mapping[str, Any]) -> str:
    return ", ".join(f"{key}={value}" for key, value in overrides.items())


def main(folder: Path) -> None:
    """A worker of its own, which ends with the process that started it."""
    die_with(int(os.environ.get(PARENT_VARIABLE) or os.getppid()))
    work(folder)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
