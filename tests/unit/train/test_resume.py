"""When a checkpoint is due, and what one holds; the whole way is in test_survival.py."""

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from jobtuner.config import CheckpointConfig
from jobtuner.errors import ModelError
from jobtuner.train.guard import StopRequest
from jobtuner.train.identity import identity
from jobtuner.train.resume import resumable
from jobtuner.train.state import load_values, random_state, save_values, set_random_state, size_of


class Plain:
    """As much of a trainer as the question of when takes."""

    def __init__(self) -> None:
        self.callbacks: list[Any] = []

    def add_callback(self, callback: Any) -> None:
        self.callbacks.append(callback)


def trainer(monkeypatch: pytest.MonkeyPatch, **settings: Any) -> tuple[Any, dict[str, float]]:
    clock = {"now": 1000.0}
    monkeypatch.setattr("time.monotonic", lambda: clock["now"])
    made = resumable(Plain)()
    made.keep_checkpoints(None, CheckpointConfig(**settings), StopRequest())
    return made, clock


def test_checkpoints_come_by_the_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    made, clock = trainer(monkeypatch, every_minutes=2.0)
    clock["now"] += 119
    assert not made.is_due(7)
    clock["now"] += 1
    assert made.is_due(7)


def test_slow_writing_makes_them_rarer(monkeypatch: pytest.MonkeyPatch) -> None:
    made, clock = trainer(monkeypatch, every_minutes=2.0)
    made._cost = 8.0  # seconds: 2 % of 400
    clock["now"] += 399
    assert not made.is_due(7)
    clock["now"] += 1
    assert made.is_due(7)


def test_or_by_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    made, clock = trainer(monkeypatch, every_steps=3)
    clock["now"] += 1e6
    assert [step for step in range(1, 10) if made.is_due(step)] == [3, 6, 9]


def test_random_numbers_go_on_after_a_file(tmp_path: Path) -> None:
    def draw() -> list[float]:
        return [random.random(), float(np.random.normal()), float(torch.rand(1))]

    draw()  # an odd number of normal values: NumPy keeps the second of a pair
    save_values(random_state(), tmp_path, "random")
    expected = [draw() for _ in range(3)]
    set_random_state(load_values(tmp_path, "random"))
    assert [draw() for _ in range(3)] == expected


def test_values_come_back_as_they_were(tmp_path: Path) -> None:
    shared = torch.arange(4.0)
    values = {
        "state": {0: {"step": torch.tensor(3.0), "map": shared, "state1": torch.tensor([1, 255], dtype=torch.uint8)}},
        "param_groups": [{"lr": 1e-3 / 3, "betas": (0.9, 0.999), "fused": None, "params": [0], "on": True}],
        "again": shared,
    }
    save_values(values, tmp_path, "optimizer")
    found = load_values(tmp_path, "optimizer")
    assert found["param_groups"] == values["param_groups"]
    assert isinstance(found["param_groups"][0]["betas"], tuple)
    state = found["state"][0]
    assert torch.equal(state["map"], shared) and torch.equal(found["again"], shared)
    assert (state["step"].shape, state["state1"].dtype) == ((), torch.uint8)
    assert size_of(values) == 4 + 16 + 2 + 16
    with pytest.raises(ModelError, match="A set in the optimizer's state"):
        save_values({"x": {1}}, tmp_path, "other")


def test_identity_sees_every_cause() -> None:
    torch.manual_seed(0)
    rows = [{"input_ids": [1, 2, 3], "labels": [-100, 2, 3]}, {"input_ids": [4], "labels": [4]}]
    model = torch.nn.Linear(4, 4).requires_grad_(False)
    base = identity("s", (rows, rows[:1]), model)
    moved = [{"input_ids": [1, 2], "labels": [3, -100]}, {"input_ids": [2, 3], "labels": [4, 4]}]
    assert {name for name, value in identity("t", (rows, rows[:1]), model).items() if value != base[name]} == {
        "settings"
    }
    for other in ((rows[::-1], rows[:1]), (rows, rows), (rows[:1], rows[1:]), (moved, rows[:1])):
        assert {name for name, value in identity("s", other, model).items() if value != base[name]} == {"data"}
    with torch.no_grad():
        model.weight[0, 0] += 1
    assert {n for n, value in identity("s", (rows, rows[:1]), model).items() if value != base[n]} == {"base model"}
