"""The fine-tuning loop: TRL's SFTTrainer on rows whose loss mask is already made."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jobtuner.config import TrainingConfig
from jobtuner.errors import ModelError
from jobtuner.progress import Bar, track
from jobtuner.tasks.base import IGNORED

if TYPE_CHECKING:
    import torch
    from peft import PeftModel
    from transformers import PreTrainedTokenizerBase, TrainerCallback

__all__ = ["AnswersLast", "answer_loss", "fine_tune"]

_Row = dict[str, list[int]]


def fine_tune(
    model: "PeftModel",
    tokenizer: "PreTrainedTokenizerBase",
    rows: Sequence[_Row],
    validation: Sequence[_Row],
    settings: TrainingConfig,
    seed: int,
    out: Path,
) -> tuple[dict[str, float], list[dict[str, float]]]:
    """Train the adapter.

    Args:
        model: quantised base with an adapter.
        tokenizer: gives the padding token.
        rows: training rows with `input_ids` and `labels`.
        validation: rows whose loss is measured once, at the end.
        settings: schedule and optimizer.
        seed: decides data order and dropout.
        out: scratch folder for the trainer.

    Returns:
        Metrics (train_loss and validation_loss in nats an answer token, steps, seconds, examples_per_second) and the
        history: one entry a logged step.

    Raises:
        ModelError: the loss became NaN or infinite.
    """
    import torch
    from datasets import Dataset

    arguments = _arguments(settings, seed, out)
    steps = _steps(settings, len(rows))
    with track("Fine-tuning", total=steps, unit="steps") as bar:
        trainer = _answer_trainer()(
            model=model,
            args=arguments,
            train_dataset=Dataset.from_list(list(rows)),
            eval_dataset=Dataset.from_list(list(validation)),
            processing_class=tokenizer,
            data_collator=AnswersLast(int(tokenizer.encode("<|endoftext|>")[0])),
            callbacks=[_watcher(bar)],
        )
        # TRL turns the adapter of a quantised model into bfloat16 on construction. Small updates late in the schedule
        # vanish in its 8 bits of mantissa; the adapter is small, so it stays in float32 and autocast does the rest.
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.data = parameter.data.to(torch.float32)
        result = trainer.train()
        validation_loss = float(trainer.evaluate()["eval_loss"])
    if not math.isfinite(result.training_loss) or not math.isfinite(validation_loss):
        raise ModelError(
            f"The loss is {result.training_loss} (validation {validation_loss}) after {result.global_step} steps. "
            "Lower training.learning_rate or training.max_grad_norm, or use quantization.compute_dtype float32."
        )
    history = [_numbers(entry) for entry in trainer.state.log_history if "loss" in entry]
    metrics = {
        "train_loss": float(result.training_loss),
        "validation_loss": validation_loss,
        "steps": float(result.global_step),
        "seconds": float(result.metrics["train_runtime"]),
        "examples_per_second": float(result.metrics["train_samples_per_second"]),
    }
    return metrics, history


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


def _answer_trainer() -> Any:
    from trl import SFTTrainer

    class AnswerTrainer(SFTTrainer):
        """SFTTrainer with the output layer applied to the answers alone (its own loss applies it to every token)."""

        def compute_loss(
            self, model: Any, inputs: Any, return_outputs: bool = False, num_items_in_batch: Any = None
        ) -> Any:
            loss = answer_loss(model, inputs, num_items_in_batch)
            return (loss, {}) if return_outputs else loss

    return AnswerTrainer


def _steps(settings: TrainingConfig, rows: int) -> int:
    per_epoch = math.ceil(math.ceil(rows / settings.batch_size) / settings.gradient_accumulation)
    steps = math.ceil(per_epoch * settings.epochs)
    return steps if settings.max_steps is None else min(steps, settings.max_steps)


def _arguments(settings: TrainingConfig, seed: int, out: Path) -> Any:
    import torch
    from trl import SFTConfig

    cuda = torch.cuda.is_available()
    return SFTConfig(
        output_dir=str(out),
        num_train_epochs=settings.epochs,
        max_steps=-1 if settings.max_steps is None else settings.max_steps,
        per_device_train_batch_size=settings.batch_size,
        per_device_eval_batch_size=settings.batch_size,
        gradient_accumulation_steps=settings.gradient_accumulation,
        learning_rate=settings.learning_rate,
        lr_scheduler_type=settings.schedule,
        warmup_steps=settings.warmup,  # below 1: a share of all steps
        weight_decay=settings.weight_decay,
        max_grad_norm=settings.max_grad_norm,
        optim=settings.optimizer,
        gradient_checkpointing=settings.gradient_checkpointing,
        gradient_checkpointing_kwargs={"use_reentrant": False} if settings.gradient_checkpointing else None,
        train_sampling_strategy="group_by_length",
        max_length=None,  # rows are cut by PromptEncoder, which never cuts the answer
        dataset_kwargs={"skip_prepare_dataset": True},
        remove_unused_columns=False,
        prediction_loss_only=True,
        bf16=True,
        use_cpu=not cuda,
        seed=seed,
        data_seed=seed,
        logging_steps=10,
        logging_nan_inf_filter=False,
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
        dataloader_pin_memory=cuda,
    )


def _watcher(bar: Bar) -> "TrainerCallback":
    from transformers import TrainerCallback

    class Watcher(TrainerCallback):
        """Moves the progress bar and stops at the first loss that is no number."""

        def __init__(self) -> None:
            self._done = 0

        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            bar.advance(state.global_step - self._done)
            self._done = state.global_step

        def on_log(
            self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **kwargs: Any
        ) -> None:
            loss = float((logs or {}).get("loss", 0.0))
            if not math.isfinite(loss):
                control.should_training_stop = True
            elif logs and "loss" in logs:
                bar.advance(0, loss=round(loss, 3))

    return Watcher()


def _numbers(entry: dict[str, Any]) -> dict[str, float]:
    keep = ("step", "epoch", "loss", "learning_rate", "grad_norm")
    return {key: float(entry[key]) for key in keep if key in entry}
