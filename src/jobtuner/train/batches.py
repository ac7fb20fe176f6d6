"""Rows into batches, and the loss on the answers of a batch."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from jobtuner.tasks.base import IGNORED

if TYPE_CHECKING:
    import torch

__all__ = ["AnswersLast", "answer_loss"]

_Row = dict[str, list[int]]


@dataclass(frozen=True)
class AnswersLast:
    """Puts rows into a batch with the padding in front, so that all answers end at the last position.

    The loss then needs the output layer at the last few positions only. For a code of five tokens behind a prompt of a
    hundred that saves nineteen twentieths of its work, and with Qwen2.5's 152,000 tokens most of the memory.
    """

    pad_id: int

    def __call__(self, rows: Sequence[_Row]) -> "dict[str, torch.Tensor]":
        """Tensors of shape [rows, longest row]: input_ids, attention_mask, position_ids, labels."""
        import torch

        length = max(len(row["input_ids"]) for row in rows)
        tokens = torch.full((len(rows), length), self.pad_id)
        labels = torch.full((len(rows), length), IGNORED)
        mask = torch.zeros((len(rows), length), dtype=torch.long)
        for index, row in enumerate(rows):
            start = length - len(row["input_ids"])
            tokens[index, start:] = torch.tensor(row["input_ids"])
            labels[index, start:] = torch.tensor(row["labels"])
            mask[index, start:] = 1
        positions = (mask.cumsum(dim=1) - 1).clamp(min=0)
        return {"input_ids": tokens, "attention_mask": mask, "position_ids": positions, "labels": labels}


def answer_loss(model: Any, inputs: "Mapping[str, torch.Tensor]", items: Any = None) -> "torch.Tensor":
    """Cross-entropy over the answers' tokens, in nats, of a batch that `AnswersLast` made.

    Args:
        model: causal language model.
        inputs: the batch.
        items: divisor of the summed loss (the answer tokens of all batches of an optimizer step); None: this batch's.
    """
    import torch

    labels = inputs["labels"]
    first = int((labels != IGNORED).any(dim=0).nonzero()[0])  # no answer begins before this column
    keep = labels.shape[1] - first + 1  # the token before it predicts it
    arguments = {key: value for key, value in inputs.items() if key != "labels"}
    logits = model(**arguments, use_cache=False, logits_to_keep=keep).logits[:, :-1].float()
    wanted = labels[:, first:]
    loss = torch.nn.functional.cross_entropy(
        logits.reshape(-1, logits.shape[-1]), wanted.reshape(-1), ignore_index=IGNORED, reduction="sum"
    )
    return loss / (items if items is not None else (wanted != IGNORED).sum())
