"""A quantised model with an adapter, and the loss by its definition."""

from typing import Any

import torch

from jobtuner.config import TrainingConfig
from jobtuner.models import load_quantized
from jobtuner.tasks.base import IGNORED
from jobtuner.train.lora import add_adapter
from tests.conftest import LORA, NF4, Standin

_USUAL = TrainingConfig()


def build(standin: Standin, settings: TrainingConfig = _USUAL) -> Any:
    """The same adapter each time."""
    torch.manual_seed(0)
    base = load_quantized(str(standin.folder), None, NF4, settings.attention)
    return add_adapter(base, LORA, settings.gradient_checkpointing)


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
