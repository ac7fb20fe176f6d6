"""The fine-tuning loop on a real quantised model with an adapter."""

from pathlib import Path
from typing import Any

import pytest
import torch

from jobtuner.config import TrainingConfig
from jobtuner.errors import ModelError
from jobtuner.train.trainer import fine_tune
from tests.conftest import Standin
from tests.unit.train.samples import build, plain_loss


@pytest.mark.parametrize("optimizer", ["adamw_torch", "adamw_torch_fused", "adamw_8bit"])
def test_training_lowers_the_loss_and_leaves_the_base_alone(
    standin: Standin, rows: Any, tokenizer: Any, optimizer: Any, tmp_path: Path
) -> None:
    model = build(standin)
    frozen = {name: value.clone() for name, value in model.state_dict().items() if "lora_" not in name}
    settings = TrainingConfig(epochs=20.0, batch_size=5, learning_rate=5e-3, optimizer=optimizer)
    before = plain_loss(model.eval(), rows)
    metrics, history = fine_tune(model, tokenizer, rows, rows, settings, 1, tmp_path)
    assert metrics["steps"] == 20
    assert metrics["validation_loss"] < before - 0.5
    assert [entry["step"] for entry in history] == [10, 20]
    after = model.state_dict()
    assert all(torch.equal(value, after[name]) for name, value in frozen.items())
    assert {value.dtype for name, value in after.items() if "lora_" in name} == {torch.float32}


def test_the_same_seed_gives_the_same_adapter(standin: Standin, rows: Any, tokenizer: Any, tmp_path: Path) -> None:
    settings = TrainingConfig(epochs=4.0, batch_size=2, learning_rate=1e-3)
    states = []
    for _ in range(2):
        model = build(standin)
        fine_tune(model, tokenizer, rows, rows, settings, 3, tmp_path)
        states.append({name: value.clone() for name, value in model.state_dict().items() if "lora_" in name})
    assert all(torch.equal(value, states[1][name]) for name, value in states[0].items())


@pytest.mark.parametrize(
    ("settings", "steps"),
    [
        (TrainingConfig(epochs=3.0, batch_size=2), 9),
        (TrainingConfig(epochs=2.0, batch_size=1, gradient_accumulation=5), 2),
        (TrainingConfig(epochs=9.0, batch_size=2, max_steps=4), 4),
    ],
)
def test_schedule_settings_take_effect(
    standin: Standin, rows: Any, tokenizer: Any, settings: TrainingConfig, steps: int, tmp_path: Path
) -> None:
    metrics, _ = fine_tune(build(standin), tokenizer, rows, rows[:1], settings, 1, tmp_path)
    assert metrics["steps"] == steps


def test_a_loss_that_is_no_number_is_an_error(standin: Standin, rows: Any, tokenizer: Any, tmp_path: Path) -> None:
    model = build(standin)
    with torch.no_grad():
        model.get_base_model().model.norm.weight[0] = float("nan")
    with pytest.raises(ModelError, match="learning_rate"):
        fine_tune(model, tokenizer, rows, rows, TrainingConfig(epochs=2.0, batch_size=5), 1, tmp_path)
