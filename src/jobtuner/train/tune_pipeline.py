"""A search without a database, for a pipeline: all trials are drawn at first, trained beside each other, and compared.

draw → trial (one task each, on a node of its own) → pick

Every trial's settings are drawn at random before the first one trains (Bergstra and Bengio 2012), so the tasks share
nothing but files and any of them can be repeated. `jobtuner tune` is the search that learns from its trials and prunes.
"""

import json
import shutil
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from jobtuner.config import Config
from jobtuner.errors import ConfigError, ModelError
from jobtuner.records import write_jsonl
from jobtuner.run import Run
from jobtuner.tracking import connect
from jobtuner.tracking_entries import Entry, Measurement
from jobtuner.train.space import Space, load_space
from jobtuner.train.stage import fine_tune_in
from jobtuner.train.trial import Attempt
from jobtuner.train.tune import METRICS, TuningPlan

__all__ = ["draw_trials", "pick_best", "train_trial"]

_DRAWN, _SPACE, _TRIAL, _BEST, _ALL = "trials.json", "space.yaml", "trial.json", "best.yaml", "trials.jsonl"
_DRAWS = 20  # for each trial, to find settings that no other trial has


def draw_trials(run: Path | str, space: str, trials: int, metric: str, out: Path | str) -> list[int]:
    """Draw the settings of all trials; from equal recipes and spaces the same.

    Args:
        run: folder that `jobtuner.run.resolve` made.
        space: YAML, as the file of `jobtuner tune --space` holds it.
        trials: how many; fewer where the space holds fewer.
        metric: loss, accuracy, label_accuracy or macro_f1, on the validation split.
        out: gets trials.json.

    Returns:
        Their numbers, for a pipeline to loop over.

    Raises:
        ConfigError: the space, the metric or the number cannot be used.
    """
    folder, config = Path(out), Path(run) / "config.json"
    if metric not in METRICS:
        raise ConfigError(f"metric is '{metric}'; accepted are {', '.join(METRICS)}.")
    if trials < 1:
        raise ConfigError(f"trials is {trials}; at least 1 is needed.")
    if Config.load(config).hardware.sharding != "none":
        raise ConfigError(
            "A trial trains in one process: override hardware.sharding with none, or take a smaller base."
        )
    folder.mkdir(parents=True, exist_ok=True)
    (folder / _SPACE).write_text(space, encoding="utf-8")
    drawn = _draw(load_space(folder / _SPACE, str(config), {}), trials, Config.load(config).seed)
    document = {"space": space, "metric": metric, "trials": drawn}
    (folder / _DRAWN).write_text(json.dumps(document, indent=1), encoding="utf-8")
    return list(range(len(drawn)))


def _draw(space: Space, trials: int, seed: int) -> list[dict[str, str]]:
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=seed))
    found: list[dict[str, str]] = []
    for _ in range(_DRAWS * trials):
        settings = space.suggest(study.ask())
        if settings not in found:
            found.append(settings)
        if len(found) == trials:
            break
    return found


def train_trial(run: Path | str, prepare: Path | str, drawn: Path | str, number: float, out: Path | str) -> None:
    """Train one of the drawn trials, as a tracked run of its own; one whose settings are of no use has no value.

    Args:
        run: folder that `jobtuner.run.resolve` made.
        prepare: folder of the prepared data.
        drawn: what `draw_trials` made.
        number: of the trial; pipelines hand whole numbers on as floats.
        out: gets trial.json: number, settings, and the best measurement or null.

    Raises:
        JobTunerError: what no other settings would mend.
    """
    folder, this_run = Path(out), Run.load(Path(run))
    plan, settings = _plan(Path(run), Path(prepare), Path(drawn))
    attempt = Attempt(plan, int(number), settings[int(number)])
    folder.mkdir(parents=True, exist_ok=True)
    finished = attempt.run(connect(this_run.tracking_uri), this_run.parent_id, partial(_train, attempt, folder))
    value = attempt.best if finished else None
    document = {"number": attempt.number, "settings": attempt.overrides, "value": value}
    (folder / _TRIAL).write_text(json.dumps(document, indent=1), encoding="utf-8")


def _train(attempt: Attempt, folder: Path, config: Config) -> None:
    scratch = folder / "scratch"
    scratch.mkdir(exist_ok=True)

    def watch(_step: int, values: dict[str, float]) -> None:
        attempt.measured.append(values[attempt.plan.metric])

    try:
        fine_tune_in(config, Path(attempt.plan.prepare), scratch, watch=watch)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)  # the settings are what is sought


def pick_best(
    run: Path | str, prepare: Path | str, drawn: Path | str, trials: Sequence[Path | str], out: Path | str
) -> None:
    """Compare the trials, and write the recipe of the best one.

    Args:
        run: folder that `jobtuner.run.resolve` made.
        prepare: folder of the prepared data.
        drawn: what `draw_trials` made.
        trials: what `train_trial` made, in any order.
        out: gets best.yaml, and trials.jsonl with all of them, the best first.

    Raises:
        ModelError: no trial came to its end.
    """
    folder, this_run = Path(out), Run.load(Path(run))
    plan, _ = _plan(Path(run), Path(prepare), Path(drawn))
    found = [json.loads((Path(each) / _TRIAL).read_text(encoding="utf-8")) for each in trials]
    sign = 1 if plan.metric == "loss" else -1
    ranked = sorted(found, key=lambda each: (each["value"] is None, sign * (each["value"] or 0.0), each["number"]))
    if ranked[0]["value"] is None:
        raise ModelError(
            f"None of the {len(ranked)} trials came to its end. The tracked runs say why; narrow the space."
        )
    folder.mkdir(parents=True, exist_ok=True)
    write_jsonl(folder / _ALL, ranked)
    best: dict[str, Any] = ranked[0]
    text = plan.recipe_of(best["settings"], _BEST, best["number"], best["value"])
    (folder / _BEST).write_text(text, encoding="utf-8")
    measured = [Measurement(f"best_validation_{plan.metric}", best["value"])]
    entry = Entry(metrics=measured, files=[folder / _BEST, folder / _ALL])
    connect(this_run.tracking_uri).store.log(this_run.parent_id, entry)


def _plan(run: Path, prepare: Path, drawn: Path) -> tuple[TuningPlan, list[dict[str, str]]]:
    """The search as each task sees it, and the settings of all trials."""
    document = json.loads((drawn / _DRAWN).read_text(encoding="utf-8"))
    plan = TuningPlan(
        recipe=str(run / "config.json"), overrides={}, space=str(drawn / _SPACE), space_text=document["space"],
        metric=document["metric"], trials=len(document["trials"]), prune=False, prepare=str(prepare),
    )  # fmt: skip
    return plan, document["trials"]
