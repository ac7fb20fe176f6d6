"""The best adapter is kept, and training ends when nothing gets better."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from jobtuner.config import TrainingConfig
from jobtuner.train.best import restore_best, validation_watch


class Watched:
    """A model of one number, and validation losses that are given."""

    def __init__(self, losses: list[float], settings: TrainingConfig, folder: Path, begun: int = 0) -> None:
        self.model = torch.nn.Linear(1, 1, bias=False)
        self.losses, self.folder = iter(losses), folder
        self.state = SimpleNamespace(global_step=begun, max_steps=len(losses) + begun, epoch=0.0, log_history=[])
        self.watch = validation_watch(self.model, self._measure, settings, folder)
        self._call("on_train_begin")

    def _measure(self) -> dict[str, float]:
        value = next(self.losses)
        return {"loss": value, "accuracy": 1 - value}

    def _call(self, event: str) -> Any:
        control = SimpleNamespace(should_training_stop=False)
        getattr(self.watch, event)(None, self.state, control)
        return control

    def step(self) -> bool:
        """One step, after which the weight is its number; whether training is to stop."""
        self.state.global_step += 1
        torch.nn.init.constant_(self.model.weight, float(self.state.global_step))
        return bool(self._call("on_step_end").should_training_stop)


@pytest.mark.parametrize("name", ["loss", "accuracy"])
def test_it_stops_after_as_many_worse_measurements_as_there_is_patience(tmp_path: Path, name: Any) -> None:
    settings = TrainingConfig(evaluate_every=1, best_by=name, patience=2)
    watched = Watched([0.9, 0.5, 0.7, 0.4, 0.6, 0.4, 0.1], settings, tmp_path / "best")
    assert [watched.step() for _ in range(6)] == [False, False, False, False, False, True]
    assert restore_best(watched.model, tmp_path / "best") == 4
    assert float(watched.model.weight) == 4.0
    assert watched.state.log_history[1] == {
        "step": 2, "epoch": 0.0, "validation_loss": 0.5, "validation_accuracy": 0.5
    }  # fmt: skip


def test_it_measures_every_so_many_steps_and_after_the_last(tmp_path: Path) -> None:
    watched = Watched([0.5] * 7, TrainingConfig(evaluate_every=3), tmp_path / "best")
    for _ in range(7):
        watched.step()
    assert [entry["step"] for entry in watched.state.log_history] == [3, 6, 7]
    assert restore_best(watched.model, tmp_path / "best") is None  # nobody asked to keep one


def test_a_resumed_run_remembers_the_best_and_a_new_one_does_not(tmp_path: Path) -> None:
    settings = TrainingConfig(evaluate_every=1, best_by="loss")
    first = Watched([0.3], settings, tmp_path / "best")
    first.step()
    resumed = Watched([0.6], settings, tmp_path / "best", begun=1)
    resumed.step()
    assert restore_best(resumed.model, tmp_path / "best") == 1
    fresh = Watched([0.8], settings, tmp_path / "best")
    assert restore_best(fresh.model, tmp_path / "best") is None


def test_without_measurements_nothing_is_measured(tmp_path: Path) -> None:
    watched = Watched([], TrainingConfig(), tmp_path / "best")
    watched.step()
    assert watched.state.log_history == []
