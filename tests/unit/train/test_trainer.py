"""The fine-tuning loop on a real quantised model with an adapter."""

import importlib.util
import struct
from pathlib import Path
from typing import Any

import pytest
import torch

from jobtuner.config import TrainingConfig
from jobtuner.errors import ModelError
from jobtuner.train.answer_trainer import answer_trainer, verify_trainer
from jobtuner.train.arguments import trainer_arguments
from jobtuner.train.batches import StepBatches
from jobtuner.train.curves import draw_curves
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


@pytest.mark.parametrize(
    "change",
    [
        {"packing": "none"},
        {"packing": "rows"},
        {"pass_tokens": 64, "gradient_accumulation": 2},
        {"packing": "none", "gradient_accumulation": 2},
        {"packing": "none", "attention": "eager"},
        {"packing": "none", "neftune_alpha": 5.0},
        {"gradient_checkpointing": True, "weight_decay": 0.1, "schedule": "inverse_sqrt"},
        {"schedule": "linear", "label_smoothing": 0.1, "group_by_length": False, "balance": 1.0},
    ],
    ids=str,
)
def test_settings_take_effect_and_the_loss_falls(
    standin: Standin, rows: Any, tokenizer: Any, change: dict[str, Any], tmp_path: Path
) -> None:
    """`fine_tune` reads each setting back from the trainer, and would raise."""
    settings = TrainingConfig(**{"epochs": 12.0, "batch_size": 3, "learning_rate": 5e-3, **change})
    model = build(standin, settings)
    before = plain_loss(model.eval(), rows)
    metrics, _ = fine_tune(model, tokenizer, rows, rows, settings, 1, tmp_path)
    assert metrics["validation_loss"] < before - 0.2
    model.set_attn_implementation("sdpa")
    assert metrics["validation_loss"] == pytest.approx(plain_loss(model.eval(), rows), abs=1e-5)


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"optimizer": "adamw_8bit"}, "optimizer is adamw_torch, asked for adamw_8bit"),
        ({"weight_decay": 0.1}, "weight_decay is 0.0, asked for 0.1"),
        ({"schedule": "linear"}, "schedule is cosine, asked for linear"),
        ({"gradient_checkpointing": True}, "gradient_checkpointing is False"),
        ({"packing": "none", "neftune_alpha": 5.0}, "neftune_alpha is None, asked for 5.0"),
        ({"packing": "none", "attention": "eager"}, "attention is sdpa, asked for eager"),
        ({"packing": "rows"}, "attention is sdpa, asked for jobtuner_packed"),
    ],
    ids=str,
)
def test_a_setting_that_took_no_effect_is_an_error(
    standin: Standin, rows: Any, tokenizer: Any, asked: dict[str, Any], message: str, tmp_path: Path
) -> None:
    from datasets import Dataset

    built = TrainingConfig(packing="none")
    trainer = answer_trainer(rows, built, 1)(
        model=build(standin), args=trainer_arguments(built, 1, tmp_path), processing_class=tokenizer,
        train_dataset=Dataset.from_list(rows), data_collator=StepBatches(0, built),
    )  # fmt: skip
    trainer.create_optimizer_and_scheduler(10)
    verify_trainer(trainer, built)
    with pytest.raises(ModelError, match=message):
        verify_trainer(trainer, TrainingConfig(**{"packing": "none", **asked}))


def test_every_layer_is_in_training_mode_in_each_step(
    standin: Standin, rows: Any, tokenizer: Any, tmp_path: Path
) -> None:
    """A loaded base is in evaluation mode, and so it is after each measurement on the way."""
    settings = TrainingConfig(epochs=4.0, batch_size=5, evaluate_every=2)
    model, seen = build(standin, settings), []
    layer = model.get_base_model().model.layers[1]
    layer.register_forward_pre_hook(lambda module, _: seen.append((module.training, torch.is_grad_enabled())))
    fine_tune(model, tokenizer, rows, rows, settings, 1, tmp_path)
    training, measuring = (True, True), (False, False)
    assert seen == [training, training, measuring, training, training, measuring, measuring]


@pytest.mark.parametrize("accumulation", [1, 2])
def test_padded_and_packed_runs_end_at_the_same_adapter(
    standin: Standin, rows: Any, tokenizer: Any, accumulation: int, tmp_path: Path
) -> None:
    ends = []
    for packing in ("none", "rows", "shared_prefix"):
        settings = TrainingConfig(
            epochs=3.0, batch_size=4 // accumulation, gradient_accumulation=accumulation, packing=packing
        )
        model = build(standin)
        fine_tune(model, tokenizer, rows, rows, settings, 1, tmp_path)
        ends.append({name: each.detach().clone() for name, each in model.named_parameters() if each.requires_grad})
    for name, value in ends[0].items():
        # Adam divides by the gradient's size: where that is nearly 0, the order of sums decides the sign of a step.
        assert float((ends[1][name] - value).abs().mean()) < 1e-6
        assert float((ends[2][name] - value).abs().mean()) < 1e-6


def test_the_best_adapter_is_kept_and_training_stops(
    standin: Standin, rows: Any, tokenizer: Any, tmp_path: Path
) -> None:
    """At this rate the loss falls, then rises: the end would be worse than the best."""
    settings = TrainingConfig(
        epochs=40.0, batch_size=5, learning_rate=0.3, schedule="constant_with_warmup", warmup=0.0, evaluate_every=1,
        best_by="loss", patience=3,
    )  # fmt: skip
    metrics, history = fine_tune(build(standin), tokenizer, rows, rows, settings, 1, tmp_path)
    measured = {entry["step"]: entry["validation_loss"] for entry in history if "validation_loss" in entry}
    best = min(measured, key=lambda step: measured[step])
    assert metrics["steps"] == max(measured) == best + 3
    assert metrics["validation_loss"] == pytest.approx(measured[best], abs=1e-5)


def test_a_paged_optimizer_without_a_gpu_is_one_clear_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ModelError, match=r"paged_adamw_8bit.*no GPU.*adamw_torch_fused"):
        trainer_arguments(TrainingConfig(optimizer="paged_adamw_8bit"), 1, tmp_path)


def test_a_loss_that_is_no_number_is_an_error(standin: Standin, rows: Any, tokenizer: Any, tmp_path: Path) -> None:
    model = build(standin)
    with torch.no_grad():
        model.get_base_model().model.norm.weight[0] = float("nan")
    with pytest.raises(ModelError, match="learning_rate"):
        fine_tune(model, tokenizer, rows, rows, TrainingConfig(epochs=2.0, batch_size=5), 1, tmp_path)


@pytest.mark.parametrize("name", ["tensorboard", "wandb"])
def test_a_place_for_the_curves_whose_package_is_missing_is_one_clear_error(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usual = importlib.util.find_spec
    reporters = {"tensorboard", "tensorboardX", "wandb"}
    monkeypatch.setattr(importlib.util, "find_spec", lambda each: None if each in reporters else usual(each))
    with pytest.raises(ModelError, match=f"reporting.to {name} needs the package {name}"):
        trainer_arguments(TrainingConfig(), 1, tmp_path, report_to=(name,))


def test_the_curves_show_what_the_history_holds(tmp_path: Path) -> None:
    history = [
        {"step": 10.0, "loss": 2.0, "grad_norm": 1.0, "learning_rate": 1e-3},
        {"step": 10.0, "validation_loss": 2.1, "validation_accuracy": 0.1},
    ]
    draw_curves(history, tmp_path / "all.png")
    draw_curves(history[:1], tmp_path / "some.png")
    draw_curves([], tmp_path / "none.png")
    sizes = [struct.unpack(">II", (tmp_path / name).read_bytes()[16:24]) for name in ("all.png", "some.png")]
    assert sizes[0][1] > sizes[1][1]  # a panel more
    assert not (tmp_path / "none.png").exists()
