"""Batches and their loss on a real quantised model with an adapter."""

from typing import Any

import pytest
import torch

from jobtuner.tasks import PromptEncoder, get_task
from jobtuner.tasks.base import IGNORED
from jobtuner.train.batches import AnswersLast, answer_loss
from tests.conftest import Standin
from tests.unit.train.samples import build, plain_loss


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
            {"input_ids": [4, 5], "labels": [4, 5]},
        ]
    )
    assert batch["input_ids"].tolist() == [[1, 2, 3], [7, 4, 5]]
    assert batch["attention_mask"].tolist() == [[1, 1, 1], [0, 1, 1]]
    assert batch["position_ids"].tolist() == [[0, 1, 2], [0, 0, 1]]
    assert batch["labels"].tolist() == [[IGNORED, IGNORED, 3], [IGNORED, IGNORED, 5]]
