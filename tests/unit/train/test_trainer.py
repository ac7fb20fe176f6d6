"""The fine-tuning loop on a real quantised model with an adapter."""

from pathlib import Path
from typing import Any

import pytest
import torch

from jobtuner.config import TrainingConfig
from jobtuner.errors import ModelError
from jobtuner.models import load_quantized, load_tokenizer
from jobtuner.tasks import PromptEncoder, get_task
from jobtuner.tasks.base import IGNORED
from jobtuner.train.lora import add_adapter
from jobtuner.train.trainer import AnswersLast, answer_loss, fine_tune
from tests.conftest import ADS, LORA, NF4, Standin

CODES = ["2221", "2221", "5120", "5120", "8331"]


@pytest.fixture(scope="module")
def tokenizer(standin: Standin) -> Any:
    return load_tokenizer(str(standin.folder))


@pytest.fixture(scope="module")
def rows(tokenizer: Any) -> list[dict[str, list[int]]]:
    return PromptEncoder(get_task("occupation"), tokenizer, 64).examples(ADS, CODES)


def build(standin: Standin) -> Any:
    torch.manual_seed(0)
    return add_adapter(load_quantized(str(standin.folder), None, NF4), LORA, gradient_checkpointing=False)


def plain_loss(model: Any, rows: list[dict[str, list[int]]]) -> float:
    """Each row by itself, no padding, output layer everywhere: the definition."""
    total, count = 0.0, 0
    for row in rows:
        with torch.no_grad():
            logits = model(input_ids=torch.tensor([row["input_ids"]])).logits[0, :-1]
        targets = torch.tensor(row["labels"][1:])
        total += float(torch.nn.functional.cross_entropy(logits, targets, ignore_index=IGNORED, reduction="sum"))
        count += int((targets != IGNORED).sum())
    return total / count


def test_answer_loss_is_the_plain_loss_of_each_row_by_itself(standin: Standin, rows: Any) -> None:
    model = build(standin).eval()
    batch = AnswersLast(0)(rows)
    assert len({len(row["input_ids"]) for row in rows}) > 1  # else padding would not be tested
    with torch.no_grad():
        loss = float(answer_loss(model, batch))
    assert loss == pytest.approx(plain_loss(model, rows), abs=1e-5)  # float32, other order of sums


def test_answers_of_different_lengths_are_all_counted(standin: Standin, tokenizer: Any) -> None:
    encoder = PromptEncoder(get_task("occupation"), tokenizer, 64)
    rows = encoder.examples(["cook", "bus driver on city lines", "nurse"], ["5", "8331", "22.21.7"])
    model = build(standin).eval()
    with torch.no_grad():
        assert float(answer_loss(model, AnswersLast(0)(rows))) == pytest.approx(plain_loss(model, rows), abs=1e-5)


def test_padding_stands_in_front_and_positions_count_from_the_first_token() -> None:
    batch = AnswersLast(7)(
        [
            {"input_ids": [1, 2, 3], "labels": [IGNORED, IGNORED, 3]},
            {"input_ids": [4], "labels": [4]},
        ]
    )
    assert batch["input_ids"].tolist() == [[1, 2, 3], [7, 7, 4]]
    assert batch["attention_mask"].tolist() == [[1, 1, 1], [0, 0, 1]]
    assert batch["position_ids"].tolist() == [[0, 1, 2], [0, 0, 0]]
    assert batch["labels"].tolist() == [[IGNORED, IGNORED, 3], [IGNORED, IGNORED, 4]]


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
