"""TRL's trainer with our own order, forward passes and loss; and the proof that its settings took effect."""

import hashlib
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from jobtuner.config import TrainingConfig
from jobtuner.errors import ModelError
from jobtuner.tasks.base import IGNORED
from jobtuner.train.batches import StepBatches, answer_loss, answer_metrics
from jobtuner.train.group import ALONE, Group
from jobtuner.train.mixture import MixedRows
from jobtuner.train.order import EpochOrder
from jobtuner.train.packing import PACKED, packed_attention
from jobtuner.train.resume import resumable

__all__ = ["answer_trainer", "attention", "measure", "verify_trainer"]

_Row = dict[str, list[int]]

_MEASURED_TOGETHER = 512  # rows that are packed at once: finding the best fit takes time quadratic in them


def answer_trainer(
    rows: Sequence[_Row], settings: TrainingConfig, seed: int, group: Group = ALONE, mixed: Sequence[MixedRows] = ()
) -> Any:
    """A subclass of TRL's SFTTrainer for these rows, behind which those of the mixed sets stand in the data set.

    Its batches hold the rows of one optimizer step, which `StepBatches` cuts into forward passes; the step's loss is
    the mean over all their answer tokens, whatever passes they came in, and whichever process made them.
    """
    import torch
    from trl import SFTTrainer

    class AnswerTrainer(resumable(SFTTrainer, group)):  # type: ignore[misc]  # a class made at run time
        """One training step is one optimizer step of one or more passes."""

        _begun = False

        def training_step(self, model: Any, inputs: Any, num_items_in_batch: Any = None) -> Any:
            if not self._begun:  # optimizer and hooks are in place now
                verify_trainer(self, settings)
                model.train()  # once: it walks all modules, a tenth of the stand-in's step; `measure` sets it back
                self._begun = True
            if group.size > 1:  # masks of dropout of its own for each process, and no state of them to be stored
                torch.manual_seed(_seed(seed, self.state.global_step, group))
            step: Any = self._prepare_inputs(inputs)
            self.begin_step(step["others"])
            total: Any = torch.zeros((), device=self.args.device)
            for each, numbers in zip(step["passes"], step["rows"], strict=True):
                self.begin_pass(numbers)
                loss = answer_loss(model, each, step["items"], settings.label_smoothing)
                self.accelerator.backward(loss)
                self.end_pass(loss.detach())
                total = total + loss.detach()
            return self.agree(total)

        def _get_train_sampler(self, train_dataset: Any = None) -> Any:
            return EpochOrder(
                lengths=[len(row["input_ids"]) for each in (rows, *(other.train for other in mixed)) for row in each],
                labels=[tuple(label for label in row["labels"] if label != IGNORED) for row in rows],
                step_rows=settings.batch_size * settings.gradient_accumulation,
                group=settings.group_by_length,
                balance=settings.balance,
                seed=seed,
                others=[(len(each.train), each.drawn) for each in mixed],
            )

        def floating_point_ops(self, inputs: Any) -> int:
            return 0  # unused; the default looks for tensors that a list of passes does not have

    return AnswerTrainer


def _seed(seed: int, step: int, group: Group) -> int:
    digest = hashlib.sha256(f"{seed} {step} {group.rank}".encode()).digest()
    return int.from_bytes(digest[:7], "little")


def attention(model: Any, settings: TrainingConfig) -> AbstractContextManager[None]:
    """The attention that the passes of these settings need, for as long as the context is open."""
    return nullcontext() if settings.packing == "none" else packed_attention(model)


def measure(trainer: Any, batches: StepBatches, rows: Sequence[_Row]) -> dict[str, float]:
    """Loss (nats an answer token) and accuracy (share of answers right token for token) of the model as it is."""
    by_length = sorted(rows, key=lambda row: len(row["input_ids"]))
    chunks = (by_length[start : start + _MEASURED_TOGETHER] for start in range(0, len(by_length), _MEASURED_TOGETHER))
    passes = (trainer._prepare_inputs(each) for chunk in chunks for each in batches.passes(chunk))
    return answer_metrics(trainer.model, passes, batches.group)


def verify_trainer(trainer: Any, settings: TrainingConfig) -> dict[str, Any]:
    """Read the settings back from a trainer whose optimizer is made.

    Returns:
        The settings found.

    Raises:
        ModelError: one or more settings did not take effect; lists each with what was asked for and what was found.
    """
    names = ("optimizer", "weight_decay", "schedule", "gradient_checkpointing", "neftune_alpha")
    asked = {name: getattr(settings, name) for name in names}
    asked["attention"] = settings.attention if settings.packing == "none" else PACKED
    model = trainer.model
    found = {
        "optimizer": _optimizer_of(trainer.optimizer),
        "weight_decay": max(group["weight_decay"] for group in trainer.optimizer.param_groups),
        "schedule": _schedule_of(trainer.lr_scheduler),
        "gradient_checkpointing": any(
            module.gradient_checkpointing for module in model.modules() if hasattr(module, "gradient_checkpointing")
        ),
        "neftune_alpha": getattr(model.get_input_embeddings(), "neftune_noise_alpha", None),  # read by its hook
        "attention": model.config._attn_implementation,
    }
    wrong = [f"{key} is {found[key]}, asked for {asked[key]}" for key in asked if found[key] != asked[key]]
    if wrong:
        raise ModelError(f"{len(wrong)} settings did not take effect in the trainer: " + "; ".join(wrong) + ".")
    return found


def _optimizer_of(optimizer: Any) -> str:
    optimizer = getattr(optimizer, "optimizer", optimizer)  # accelerate wraps it
    if type(optimizer).__module__.startswith("bitsandbytes"):
        return ("paged_" if optimizer.is_paged else "") + f"adamw_{optimizer.args.optim_bits}bit"
    return "adamw_torch_fused" if optimizer.defaults.get("fused") else "adamw_torch"


_RULES = {
    "_get_linear_schedule_with_warmup_lr_lambda": "linear",
    "_get_cosine_schedule_with_warmup_lr_lambda": "cosine",
    "_get_constant_schedule_with_warmup_lr_lambda": "constant_with_warmup",
    "_get_inverse_sqrt_schedule_lr_lambda": "inverse_sqrt",
}


def _schedule_of(scheduler: Any) -> str:
    rule = getattr(scheduler, "scheduler", scheduler).lr_lambdas[0]
    name: str = getattr(rule, "func", rule).__name__  # a partial of the library's function
    return _RULES.get(name, name)
