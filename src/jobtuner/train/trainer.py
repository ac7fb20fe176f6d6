"""The fine-tuning loop: TRL's SFTTrainer on rows whose loss mask is already made."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jobtuner.config import TrainingConfig
from jobtuner.errors import ModelError
from jobtuner.progress import Bar, track
from jobtuner.train.answer_trainer import answer_trainer, attention, measure
from jobtuner.train.arguments import optimizer_steps, trainer_arguments
from jobtuner.train.batches import StepBatches
from jobtuner.train.best import restore_best, validation_watch

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedTokenizerBase, TrainerCallback

__all__ = ["fine_tune"]

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
        validation: rows that are measured at the end, and the first of them every `evaluate_every` steps.
        settings: schedule and optimizer.
        seed: decides data order and dropout.
        out: scratch folder for the trainer.

    Returns:
        Metrics (train_loss and validation_loss in nats an answer token, validation_accuracy as the share of answers
        that are right token for token, steps, seconds, examples_per_second) and the history: one entry a logged step.

    Raises:
        ModelError: the loss became NaN or infinite.
    """
    import torch
    from datasets import Dataset

    batches = StepBatches(int(tokenizer.encode("<|endoftext|>")[0]), settings)
    arguments = trainer_arguments(settings, seed, out, autocast=model.config.dtype == torch.bfloat16)
    steps = optimizer_steps(settings, len(rows))
    with track("Fine-tuning", total=steps, unit="steps") as bar, attention(model, settings):
        trainer = answer_trainer(rows, settings, seed)(
            model=model,
            args=arguments,
            train_dataset=Dataset.from_list(list(rows)),
            processing_class=tokenizer,
            data_collator=batches,
            callbacks=[_watcher(bar)],
        )
        # TRL turns the adapter of a quantised model into bfloat16 on construction. Small updates late in the schedule
        # vanish in its 8 bits of mantissa; the adapter is small, so it stays in float32 and autocast does the rest.
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.data = parameter.data.to(torch.float32)
        some = list(validation)[: settings.evaluate_rows]
        trainer.add_callback(
            validation_watch(model, lambda: measure(trainer, batches, some), settings, out / "best"),
        )
        result = trainer.train()
        restore_best(model, out / "best")
        measured = measure(trainer, batches, validation)
    validation_loss = measured["loss"]
    if not math.isfinite(result.training_loss) or not math.isfinite(validation_loss):
        raise ModelError(
            f"The loss is {result.training_loss} (validation {validation_loss}) after {result.global_step} steps. "
            "Lower training.learning_rate or training.max_grad_norm, or use quantization.compute_dtype float32."
        )
    history = [_numbers(entry) for entry in trainer.state.log_history if "loss" in entry or "validation_loss" in entry]
    metrics = {
        "train_loss": float(result.training_loss),
        "validation_loss": validation_loss,
        "validation_accuracy": measured["accuracy"],
        "steps": float(result.global_step),
        "seconds": float(result.metrics["train_runtime"]),
        "examples_per_second": float(result.metrics["train_samples_per_second"]),
    }
    return metrics, history


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
    keep = ("step", "epoch", "loss", "learning_rate", "grad_norm", "validation_loss", "validation_accuracy")
    return {key: float(entry[key]) for key in keep if key in entry}
