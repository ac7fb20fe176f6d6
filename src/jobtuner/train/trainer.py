"""The fine-tuning loop: TRL's SFTTrainer on rows whose loss mask is already made."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jobtuner.config import CheckpointConfig, TrainingConfig
from jobtuner.errors import Interrupted, ModelError
from jobtuner.progress import Bar, notice, track
from jobtuner.train.arguments import optimizer_steps, trainer_arguments
from jobtuner.train.batches import AnswersLast, answer_loss
from jobtuner.train.checkpoint import Checkpoint, CheckpointStore
from jobtuner.train.guard import stop_requests
from jobtuner.train.resume import resumable

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedTokenizerBase, TrainerCallback

__all__ = ["Checkpointing", "fine_tune"]

_Row = dict[str, list[int]]


@dataclass(frozen=True)
class Checkpointing:
    """Where a training run is saved, and how often."""

    store: CheckpointStore
    settings: CheckpointConfig

    def newest(self, steps: int) -> Checkpoint | None:
        """The checkpoint to go on from, if there is one; says so.

        Args:
            steps: of the whole run.
        """
        found = self.store.newest()
        if found:
            other = [
                f"{name} {value}" for name, value in found.made_with.items() if self.store.made_with[name] != value
            ]
            note = f" It was made with {', '.join(other)}: equal to the last bit it will not be." if other else ""
            notice(f"Training is resumed from step {found.step} of {steps}.{note}")
        return found


def fine_tune(
    model: "PeftModel",
    tokenizer: "PreTrainedTokenizerBase",
    rows: Sequence[_Row],
    validation: Sequence[_Row],
    settings: TrainingConfig,
    seed: int,
    out: Path,
    checkpoints: Checkpointing | None = None,
    ids: Sequence[str] = (),
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
        checkpoints: where the run is saved, and taken up again; None: nowhere.
        ids: id of each training row, for messages.

    Returns:
        Metrics (train_loss and validation_loss in nats an answer token, steps, seconds, examples_per_second, resumes)
        and the history: one entry a logged step. All are of the whole run: where it was resumed, seconds is the time of
        the steps that led to this adapter, in all processes; the time of lost steps and of loading is not in it.

    Raises:
        ModelError: the loss or the gradients became NaN or infinite; names the examples.
        StorageError: the disk is full, or the mirror of the checkpoints cannot be read at the start.
        Interrupted: SIGTERM or SIGINT came, and a checkpoint was saved.
    """
    import torch
    from datasets import Dataset

    arguments = trainer_arguments(settings, seed, out)
    steps = optimizer_steps(settings, len(rows))
    found = checkpoints.newest(steps) if checkpoints else None
    start = found.step if found else 0
    with track("Fine-tuning", total=steps, unit="steps", start=start) as bar:
        trainer = _answer_trainer()(
            model=model,
            args=arguments,
            train_dataset=Dataset.from_list([{**row, "row": number} for number, row in enumerate(rows)]),
            eval_dataset=Dataset.from_list(list(validation)),
            processing_class=tokenizer,
            data_collator=AnswersLast(int(tokenizer.encode("<|endoftext|>")[0])),
            callbacks=[_watcher(bar, start)],
        )
        # TRL turns the adapter of a quantised model into bfloat16 on construction. Small updates late in the schedule
        # vanish in its 8 bits of mantissa; the adapter is small, so it stays in float32 and autocast does the rest.
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.data = parameter.data.to(torch.float32)
        trainer.ids = ids
        result = _train(trainer, checkpoints, found)
        seconds = trainer.seconds
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
        "seconds": seconds,
        "examples_per_second": trainer.state.epoch * len(rows) / seconds,
        "resumes": float(trainer.resumes),
    }
    return metrics, history


def _train(trainer: Any, checkpoints: Checkpointing | None, found: Checkpoint | None) -> Any:
    """Train to the end, or to the signal that stops it."""
    if checkpoints is None:
        return trainer.train()
    with stop_requests() as stop:
        trainer.keep_checkpoints(checkpoints.store, checkpoints.settings, stop)
        result = trainer.train(resume_from_checkpoint=str(found.folder) if found else None)
        if stop.signum is not None:
            state = trainer.state
            raise Interrupted(
                f"Training was stopped by {stop.name} at step {state.global_step} of {state.max_steps}. "
                f"Run again with the same settings to go on. Checkpoints: {checkpoints.store.place}.",
                stop.signum,
            )
    return result


def _answer_trainer() -> Any:
    from trl import SFTTrainer

    class AnswerTrainer(resumable(SFTTrainer)):  # type: ignore[misc]  # a class made at run time
        """SFTTrainer with the output layer applied to the answers alone (its own loss applies it to every token)."""

        def compute_loss(
            self, model: Any, inputs: Any, return_outputs: bool = False, num_items_in_batch: Any = None
        ) -> Any:
            loss = answer_loss(model, inputs, num_items_in_batch)
            return (loss, {}) if return_outputs else loss

    return AnswerTrainer


def _watcher(bar: Bar, start: int) -> "TrainerCallback":
    from transformers import TrainerCallback

    class Watcher(TrainerCallback):
        """Moves the progress bar."""

        def __init__(self) -> None:
            self._done = start

        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            bar.advance(state.global_step - self._done)
            self._done = state.global_step

        def on_log(
            self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **kwargs: Any
        ) -> None:
            if logs and "loss" in logs:
                bar.advance(0, loss=round(float(logs["loss"]), 3))

    return Watcher()


def _numbers(entry: dict[str, Any]) -> dict[str, float]:
    keep = ("step", "epoch", "loss", "learning_rate", "grad_norm")
    return {key: float(entry[key]) for key in keep if key in entry}
