"""Rows into the forward passes of an optimizer step, and the loss on their answers."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from jobtuner.config import TrainingConfig
from jobtuner.tasks.base import IGNORED
from jobtuner.train.group import ALONE, Group
from jobtuner.train.order import deal
from jobtuner.train.packing import best_fit, grain, pack, round_up, shared_prefix

if TYPE_CHECKING:
    import torch

__all__ = ["AnswersLast", "StepBatches", "answer_count", "answer_loss", "answer_metrics"]

_Row = dict[str, list[int]]
_STEP = 8  # of answers and of the longest row in a pack: few different shapes, as `grain` says of its size


@dataclass(frozen=True)
class StepBatches:
    """Cuts this process's share of the rows of an optimizer step into forward passes: padded batches, or packs.

    Args:
        pad_id: any token id; padding is masked.
        settings: packing, and how much goes into a pass.
        group: the processes among which the rows are dealt out.
        even: every process makes as many passes as the one that needs most; what it lacks it fills with idle ones.
    """

    pad_id: int
    settings: TrainingConfig
    group: Group = ALONE
    even: bool = False

    def __call__(self, rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """The step.

        Returns:
            passes, each as `answer_loss` takes it; items, the answer tokens of all rows, whoever has them; rows, for
            each pass the numbers (`row`) of its rows where they carry one; others, the numbers of all other rows.
        """
        prefix, groups = self._share(rows)
        numbers = [[row["row"] for row in group if "row" in row] for group in groups]
        mine = {number for each in numbers for number in each}
        return {
            "passes": [self._pass(group, prefix) for group in groups],
            "items": sum(label != IGNORED for row in rows for label in row["labels"][1:]),
            "rows": numbers,
            "others": [row["row"] for row in rows if row.get("row") not in {None, *mine}],
        }

    def passes(self, rows: Sequence[_Row]) -> Iterator[dict[str, Any]]:
        """This process's share as forward passes, in their order unless `pass_tokens` packs them best-fit."""
        prefix, groups = self._share(rows)
        return (self._pass(group, prefix) for group in groups)

    def _share(self, rows: Sequence[Any]) -> tuple[int, list[Sequence[Any]]]:
        """As `_groups`, of this process's rows; with idle passes where the group must keep step."""
        if self.group.size == 1:
            return self._groups(rows)
        dealt = deal([len(row["input_ids"]) for row in rows], self.group.size)
        shares = [[rows[index] for index in share] for share in dealt]
        mine = shares[self.group.rank]
        prefix, groups = self._groups(mine) if mine else (0, [])
        if self.even:
            idle = {"input_ids": rows[0]["input_ids"], "labels": [IGNORED] * len(rows[0]["labels"])}
            most = max(len(self._groups(share)[1]) for share in shares if share)
            groups += [[idle]] * (most - len(groups))
        return prefix, groups

    def _groups(self, rows: Sequence[Any]) -> tuple[int, list[Sequence[Any]]]:
        """Tokens that are computed once for all rows of a pass, and the rows of each pass."""
        settings = self.settings
        prefix = shared_prefix(rows) if settings.packing == "shared_prefix" else 0
        if settings.packing == "none" or settings.pass_tokens is None:
            size = settings.batch_size
            return prefix, [rows[start : start + size] for start in range(0, len(rows), size)]
        own = [len(row["input_ids"]) - prefix for row in rows]
        return prefix, [[rows[index] for index in found] for found in best_fit(own, settings.pass_tokens - prefix)]

    def _pass(self, group: Sequence[Any], prefix: int) -> dict[str, Any]:
        if self.settings.packing == "none":
            return AnswersLast(self.pad_id)(group)
        prefix = min(prefix, len(group[0]["input_ids"]) - 1)  # an idle row may be shorter than the prefix
        tokens = prefix + sum(len(row["input_ids"]) - prefix for row in group)
        size = round_up(tokens, grain(tokens))
        room = self.settings.pass_tokens
        return pack(group, prefix, size if room is None or size <= room else tokens, _STEP)


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
            labels[index, start] = IGNORED  # nothing of the row predicts its first token
            mask[index, start:] = 1
        positions = (mask.cumsum(dim=1) - 1).clamp(min=0)
        return {"input_ids": tokens, "attention_mask": mask, "position_ids": positions, "labels": labels}


def answer_count(inputs: Mapping[str, Any]) -> int:
    """Answer tokens of a pass."""
    return int((inputs["targets"] != IGNORED).sum() if "targets" in inputs else (inputs["labels"] != IGNORED).sum())


def answer_loss(model: Any, inputs: Mapping[str, Any], items: int | None = None, smoothing: float = 0.0) -> Any:
    """Cross-entropy over the answers' tokens of a pass, in nats, as a scalar tensor.

    Args:
        model: causal language model; for a pack within `packed_attention`.
        inputs: a pass that `AnswersLast` or `pack` made.
        items: divisor of the summed loss (the answer tokens of all passes of an optimizer step); None: this pass's.
        smoothing: probability mass spread evenly over the vocabulary.
    """
    import torch

    logits, wanted, _ = _answers(model, inputs)
    loss = torch.nn.functional.cross_entropy(
        logits, wanted, ignore_index=IGNORED, reduction="sum", label_smoothing=smoothing
    )
    return loss / (answer_count(inputs) if items is None else items)


def _answers(model: Any, inputs: Mapping[str, Any]) -> "tuple[torch.Tensor, torch.Tensor, torch.Tensor]":
    """Logits [n, vocabulary] (float32), targets [n], and the row of each [n]; n: hardly more than the answer tokens."""
    import torch

    if "layout" in inputs:
        logits = model(
            input_ids=inputs["input_ids"],
            position_ids=inputs["position_ids"],
            attention_mask={"full_attention": None},  # the layout says what is seen
            layout=inputs["layout"],
            logits_to_keep=inputs["kept"],
            use_cache=False,
        ).logits
        return logits[0].float(), inputs["targets"], inputs["owner"]
    labels = inputs["labels"]
    answered = (labels != IGNORED).any(dim=0).nonzero()  # no answer begins before the first of these columns
    first = int(answered[0]) if len(answered) else labels.shape[1] - 1
    keep = labels.shape[1] - first + 1  # the token before it predicts it
    arguments = {key: value for key, value in inputs.items() if key != "labels"}
    logits = model(**arguments, use_cache=False, logits_to_keep=keep).logits[:, :-1].float()
    owner = torch.arange(len(labels), device=labels.device).repeat_interleave(keep - 1)
    return logits.flatten(0, 1), labels[:, first:].flatten(), owner


def answer_metrics(model: Any, passes: Iterable[Mapping[str, Any]], group: Group = ALONE) -> dict[str, float]:
    """How well a model answers, on the passes of some rows.

    Args:
        model: causal language model.
        passes: of this process's share of the rows.
        group: the processes that have the other shares.

    Returns:
        loss, in nats an answer token, and accuracy: the share of rows whose every answer token is the likeliest one
        after the right ones before it.
    """
    import torch

    training, loss, tokens, right, rows = model.training, 0.0, 0, 0, 0
    model.eval()
    with torch.no_grad():
        for inputs in passes:
            logits, wanted, owner = _answers(model, inputs)
            loss += float(torch.nn.functional.cross_entropy(logits, wanted, ignore_index=IGNORED, reduction="sum"))
            real = wanted != IGNORED
            wrong = owner[real & (logits.argmax(dim=1) != wanted)]
            tokens += int(real.sum())
            rows += len(owner[real].unique())
            right += len(owner[real].unique()) - len(wrong.unique())
    model.train(training)
    loss, tokens, right, rows = group.gather([loss, tokens, right, rows]).sum(dim=0).tolist()
    return {"loss": loss / tokens, "accuracy": right / rows}
