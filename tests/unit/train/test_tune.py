"""A search: real trials on the tiny stand-in, pruned, killed, shared by workers, tracked."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from jobtuner.config import load_config
from jobtuner.contracts import PreparedData
from jobtuner.errors import ConfigError, ModelError
from jobtuner.run import Run
from jobtuner.tracking import MemoryRunStore, _memory
from jobtuner.train import tune_worker
from jobtuner.train.search import search
from jobtuner.train.tune import TuningPlan, begin, next_trial, open_study
from tests.unit.train.test_processes import prepared

__all__ = ["prepared"]

ROOT = Path(__file__).parents[3]
STANDIN = {
    "model.standin.vocab_size": "700", "model.standin.hidden_size": "32", "model.standin.intermediate_size": "64",
    "model.standin.heads": "2", "model.standin.kv_heads": "1", "model.standin.pretrain_tokens": "3000",
    "model.standin.pretrain_batch_tokens": "512", "lora.r": "8", "training.batch_size": "4", "training.epochs": "2.0",
}  # fmt: skip
SPACE = "training.learning_rate: {low: 1.0e-5, high: 1.0e-2, log: true}\nlora.alpha: [8, 16]\n"


def plan_of(
    folder: Path, prepared: PreparedData, trials: int, uri: str = "memory://tune", **changes: Any
) -> TuningPlan:
    """A search's folder with its tracked parent run, and its plan."""
    from jobtuner.tracking import connect

    (folder / "run").mkdir(parents=True, exist_ok=True)
    space = folder / "space.yaml"
    space.write_text(SPACE)
    config = load_config("smoke", STANDIN)
    if not (folder / "run" / "run.json").exists():
        Run(config, uri, connect(uri).open_run(config)).save(folder / "run")
    values: dict[str, Any] = {
        "recipe": "smoke", "overrides": STANDIN, "space": str(space), "space_text": SPACE, "metric": "loss",
        "trials": trials, "prune": True, "prepare": str(prepared.folder),
    }  # fmt: skip
    return TuningPlan(**{**values, **changes})


def test_a_search_writes_the_best_recipe_and_tracks_each_trial(prepared: PreparedData, tmp_path: Path) -> None:
    plan = plan_of(tmp_path, prepared, 2)
    best = search(tmp_path, plan, 1)
    config = load_config(str(best))
    study = open_study(tmp_path, plan)
    assert config.training.learning_rate == study.best_params["training.learning_rate"]
    assert config.lora.r == 8
    assert config.training.best_by == "loss"
    store = _memory("memory://tune")
    assert isinstance(store, MemoryRunStore)
    run = Run.load(tmp_path / "run")
    trials = [each for each in store.runs.values() if each.parent == run.parent_id]
    assert [each.name for each in trials] == ["trial-0", "trial-1"]
    assert {each.status for each in trials} == {"FINISHED"}
    assert trials[0].params["training.learning_rate"] != trials[1].params["training.learning_rate"]
    assert len(trials[0].metrics["validation_loss"]) == 12  # 2 epochs of 6 steps, each measured
    assert list(study.trials[0].intermediate_values) == list(range(9))
    assert store.runs[run.parent_id].status == "FINISHED"
    assert store.runs[run.parent_id].metrics["best_validation_loss"][0][1] == study.best_value
    assert not list((tmp_path / "cache" / "checkpoints").iterdir())
    assert search(tmp_path, plan, 1) == best  # nothing is left to do
    assert len(study.trials) == 2


def test_a_trial_that_is_behind_is_given_up(prepared: PreparedData, tmp_path: Path) -> None:
    """Five trials of the study are made up, far better than any real one."""
    import optuna

    plan = plan_of(tmp_path, prepared, 6)
    begin(tmp_path, plan)
    study = open_study(tmp_path, plan)
    for _ in range(5):
        made_up = optuna.trial.create_trial(
            value=0.1, intermediate_values=dict.fromkeys(range(1, 9), 0.1), user_attrs={"overrides": {}},
        )  # fmt: skip
        study.add_trial(made_up)
    search(tmp_path, plan, 1)
    last = open_study(tmp_path, plan).trials[-1]
    assert last.state == optuna.trial.TrialState.PRUNED
    assert 1 <= len(last.intermediate_values) < 8
    assert not list((tmp_path / "cache" / "checkpoints").iterdir())


def test_a_trial_that_diverges_does_not_end_the_search_a_missing_gpu_does(
    prepared: PreparedData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    messages = ["The loss is nan in step 3 of 12; the step was not taken.", "", "training.liger needs a GPU."]

    def train(folder: Path, plan: TuningPlan, trial: Any, measured: list[float], config: Any) -> None:
        message = messages.pop(0)
        if message:
            raise ModelError(message)
        measured += [2.0, 1.5]

    monkeypatch.setattr(tune_worker, "_train", train)
    search(tmp_path, plan_of(tmp_path, prepared, 2), 1)
    plan = plan_of(tmp_path, prepared, 3)
    study = open_study(tmp_path, plan)
    assert [trial.state.name for trial in study.trials] == ["PRUNED", "COMPLETE"]
    assert study.best_value == 1.5
    with pytest.raises(ModelError, match="needs a GPU"):
        search(tmp_path, plan, 1)


def test_no_more_trials_are_begun_than_were_asked_for(prepared: PreparedData, tmp_path: Path) -> None:
    plan = plan_of(tmp_path, prepared, 1)
    begin(tmp_path, plan)
    study = open_study(tmp_path, plan)
    assert next_trial(tmp_path, study, plan, 1) is not None
    assert next_trial(tmp_path, study, plan, 1) is None  # one is asked for, and one runs


def test_running_trials_of_a_killed_search_are_taken_up_again(prepared: PreparedData, tmp_path: Path) -> None:
    plan = plan_of(tmp_path, prepared, 3)
    begin(tmp_path, plan)
    study = open_study(tmp_path, plan)
    trial = next_trial(tmp_path, study, plan, 1)
    assert trial is not None
    before = trial.suggest_float("training.learning_rate", 1e-5, 1e-2, log=True)
    assert begin(tmp_path, plan) == 0
    again = next_trial(tmp_path, open_study(tmp_path, plan), plan, 1)
    assert again is not None
    assert again.number == 1
    assert again.suggest_float("training.learning_rate", 1e-5, 1e-2, log=True) == before


@pytest.mark.parametrize(
    "change", [{"metric": "accuracy"}, {"space_text": "lora.r: [8]\n"}, {"overrides": {}}], ids=str
)
def test_a_search_for_something_else_is_refused(change: dict[str, Any], prepared: PreparedData, tmp_path: Path) -> None:
    begin(tmp_path, plan_of(tmp_path, prepared, 3))
    with pytest.raises(ConfigError, match=next(iter(change))):
        begin(tmp_path, plan_of(tmp_path, prepared, 3, **change))
    begin(tmp_path, plan_of(tmp_path, prepared, 30))  # more trials are welcome


@pytest.mark.slow
def test_killed_and_typed_again_with_two_workers(prepared: PreparedData, tmp_path: Path) -> None:
    """The command itself; kill -9 in the middle of a trial, then the same command again, with other workers."""
    space, home = tmp_path / "space.yaml", tmp_path / "home"
    space.write_text(SPACE)
    command = [
        sys.executable, "-m", "jobtuner.cli", "tune", "smoke", "--space", str(space), "--trials", "5", "--metric",
        "macro_f1", "--prepare", str(prepared.folder), "--out", str(tmp_path / "tune"),
        *(part for key, value in STANDIN.items() for part in ("--set", f"{key}={value}")),
    ]  # fmt: skip
    environment = {**os.environ, "JOBTUNER_HOME": str(home)}
    first = subprocess.Popen([*command, "--workers", "1"], cwd=ROOT, env=environment)
    deadline = time.monotonic() + 300
    while time.monotonic() < deadline:
        if (tmp_path / "tune" / "plan.json").exists():
            plan = TuningPlan.load(tmp_path / "tune")
            study = open_study(tmp_path / "tune", plan)
            if len(study.trials) == 2 and study.trials[1].intermediate_values:
                break
        time.sleep(0.1)
    os.kill(first.pid, signal.SIGKILL)
    first.wait()
    done = subprocess.run([*command, "--workers", "2"], cwd=ROOT, env=environment, check=False, timeout=500)
    assert done.returncode == 0
    states = [trial.state.name for trial in open_study(tmp_path / "tune", plan).trials]
    assert states.count("FAIL") == 1
    assert states.count("COMPLETE") + states.count("PRUNED") == 5
    best = yaml.safe_load((tmp_path / "tune" / "best.yaml").read_text())
    assert best["training"]["best_by"] == "macro_f1"
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{home}/mlflow.db")
    parent = json.loads((tmp_path / "tune" / "run" / "run.json").read_text())["parent_id"]
    experiment = client.get_run(parent).info.experiment_id
    found = client.search_runs([experiment], f"tags.`mlflow.parentRunId` = '{parent}'")
    assert len(found) == 6
    assert client.get_run(parent).info.status == "FINISHED"
