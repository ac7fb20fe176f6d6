"""The fine-tuning loop: TRL's SFTTrainer on rows whose loss mask is already made."""

import math
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jobtuner.config import TrainingConfig
from jobtuner.errors import ModelError
from jobtuner.progress import Bar, track
from jobtuner.tracking_live import LiveCurves
from jobtuner.train.answer_trainer import answer_trainer, attention, measure
from jobtuner.train.arguments import optimizer_steps, trainer_arguments
from jobtuner.train.batches import StepBatches
from jobtuner.train.best import BEST, Watch, restore_best, validation_watch
from jobtuner.train.checkpoint import Checkpoint
from jobtuner.train.group import ALONE, Group
from jobtuner.train.label_metrics import LabelJudge
from jobtuner.train.mixture import MixedRows, with_mixed_loss
from jobtuner.train.resume import Checkpointing, run_training
from jobtuner.train.shard import is_sharded

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedModel, PreTrainedTokenizerBase, TrainerCallback

__all__ = ["fine_tune"]

_Row = dict[str, list[int]]


def fine_tune(
    model: "PeftModel | PreTrainedModel",
    tokenizer: "PreTrainedTokenizerBase",
    rows: Sequence[_Row],
    validation: Sequence[_Row],
    settings: TrainingConfig,
    seed: int,
    out: Path,
    checkpoints: Checkpointing | None = None,
    ids: Sequence[str] = (),
    group: Group = ALONE,
    autocast: bool | None = None,
    judge: LabelJudge | None = None,
    watch: Watch | None = None,
    report_to: Sequence[str] = (),
    mixed: Sequence[MixedRows] = (),
    live: LiveCurves | None = None,
) -> tuple[dict[str, float], list[dict[str, float]]]:
    """Train the adapter, or all weights.

    Args:
        model: base with an adapter, or one whose weights all learn.
        tokenizer: gives the padding token.
        rows: training rows with `input_ids` and `labels`.
        validation: rows that are measured at the end, and the first of them every `evaluate_every` steps.
        settings: schedule and optimizer.
        seed: decides data order and dropout.
        out: scratch folder for the trainer.
        checkpoints: where the run is saved, and taken up again; None: nowhere.
        ids: id of each training row, for messages.
        group: the processes that train together; each of them calls this with the same arguments.
        judge: measures the labels' scores on the validation rows, where `best_by` asks for them.
        report_to: transformers' names of where the curves go beside the history.
        watch: told the step and what was measured, each time; may raise `SeenEnoughError`.
        live: gets each entry of the history as it is made.
        mixed: other sets, learnt beside the rows and measured by themselves.
        autocast: matrix products in bfloat16; None: where the model's weights are of that type.

    Returns:
        Metrics (train_loss and validation_loss in nats an answer token, validation_accuracy as the share of answers
        that are right token for token, the same two of each mixed set as validation_<name>_loss and _accuracy, steps,
        seconds, examples_per_second, tokens_per_second (as they stand in the rows), resumes) and the history: one entry
        a logged step. All are of the whole run: where it was resumed, seconds is the time of the steps that led to this
        adapter, in all processes; the time of lost steps and of loading is not in it.

    Raises:
        ModelError: the loss or the gradients became NaN or infinite; names the examples.
        StorageError: the disk is full, or the mirror of the checkpoints cannot be read at the start.
        Interrupted: SIGTERM or SIGINT came, and a checkpoint was saved.
    """
    import torch
    from datasets import Dataset

    pad_id = int(tokenizer.encode("<|endoftext|>")[0])
    batches = StepBatches(pad_id, settings, group, even=is_sharded(model))
    in_half = model.config.dtype == torch.bfloat16 if autocast is None else autocast
    arguments = trainer_arguments(settings, seed, out, in_half, report_to if group.first else ())
    learnt = [*rows, *(row for each in mixed for row in each.train)]
    an_epoch = len(rows) + sum(each.drawn for each in mixed)
    steps = optimizer_steps(settings, an_epoch)
    tokens = _mean_tokens(rows, mixed)
    step_tokens = tokens * settings.batch_size * settings.gradient_accumulation
    found = checkpoints.newest(steps) if checkpoints else None
    found = _for_all(group, found, out / "resumed")
    start = found.step if found else 0
    with track("Fine-tuning", total=steps, unit="steps", start=start) as bar, attention(model, settings):
        trainer = answer_trainer(rows, settings, seed, group, mixed)(
            model=model,
            args=arguments,
            train_dataset=Dataset.from_list([{**row, "row": number} for number, row in enumerate(learnt)]),
            processing_class=tokenizer,
            data_collator=batches,
            callbacks=[_watcher(bar, start, step_tokens)],
        )
        # TRL turns the adapter of a quantised model into bfloat16 on construction. Small updates late in the schedule
        # vanish in its 8 bits of mantissa; the adapter is small, so it stays in float32 and autocast does the rest.
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.data = parameter.data.to(torch.float32)
        some, measured_on = list(validation)[: settings.evaluate_rows], partial(measure, trainer, batches)

        def measured_now() -> dict[str, float]:
            labels = judge.measure(trainer.model, len(some), group) if judge else {}
            return measured_on(some) | labels | with_mixed_loss(measured_on, mixed, settings.evaluate_rows)

        trainer.add_callback(
            validation_watch(model, measured_now, settings, out / BEST, watch),
        )
        if live is not None:
            trainer.add_callback(_sender(live))
        trainer.ids = [*ids, *(number for each in mixed for number in each.ids)]
        result = run_training(trainer, checkpoints, found)
        seconds = trainer.seconds
        restore_best(model, out / BEST)
        measured = measured_on(validation)
        others = with_mixed_loss(measured_on, mixed)
    validation_loss = measured["loss"]
    if not math.isfinite(result.training_loss) or not math.isfinite(validation_loss):
        raise ModelError(
            f"The loss is {result.training_loss} (validation {validation_loss}) after {result.global_step} steps. "
            "Lower training.learning_rate or training.max_grad_norm, or use quantization.compute_dtype float32."
        )
    history = [_numbers(entry) for entry in trainer.state.log_history if _is_measurement(entry)]
    metrics = {
        "train_loss": float(result.training_loss),
        "validation_loss": validation_loss,
        "validation_accuracy": measured["accuracy"],
        "steps": float(result.global_step),
        "seconds": seconds,
        "examples_per_second": trainer.state.epoch * an_epoch / seconds,
        "tokens_per_second": trainer.state.epoch * an_epoch * tokens / seconds,
        "resumes": float(trainer.resumes),
        **{f"validation_{name}": value for name, value in others.items()},
    }
    return metrics, history


def _for_all(group: Group, found: Checkpoint | None, copy: Path) -> Checkpoint | None:
    """The checkpoint that the first process found, for every process."""
    if group.size == 1:
        return found
    step = group.tell(found.step if found else None)
    if step is None:
        return None
    folder = group.copy_folder(found.folder if found else None, copy)
    return found or Checkpoint(folder, step, {})


def _mean_tokens(rows: Sequence[_Row], mixed: Sequence[MixedRows]) -> float:
    """Tokens of a row, on average over an epoch."""
    sets = [(rows, len(rows)), *((each.train, each.drawn) for each in mixed)]
    total = sum(drawn * sum(len(row["input_ids"]) for row in each) / len(each) for each, drawn in sets)
    return total / sum(drawn for _, drawn in sets)


def _watcher(bar: Bar, start: int, step_tokens: float) -> "TrainerCallback":
    from transformers import TrainerCallback

    class Watcher(TrainerCallback):
        """Moves the progress bar."""

        def __init__(self) -> None:
            self._done = self._told = start
            self._told_at = time.monotonic()

        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            bar.advance(state.global_step - self._done)
            self._done = state.global_step

        def on_log(
            self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **kwargs: Any
        ) -> None:
            if logs and "loss" in logs:
                now = time.monotonic()
                rate = (state.global_step - self._told) * step_tokens / max(now - self._told_at, 1e-9)
                self._told, self._told_at = state.global_step, now
                bar.advance(0, loss=round(float(logs["loss"]), 3), **{"tokens/s": round(rate)})

    return Watcher()


def _sender(live: LiveCurves) -> "TrainerCallback":
    from transformers import TrainerCallback

    class Sender(TrainerCallback):
        """Passes on what the history has gained; what a former process logged is recorded at the end."""

        def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            self._seen = len(state.log_history)

        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            new, self._seen = state.log_history[self._seen :], len(state.log_history)
            for entry in filter(_is_measurement, new):
                live.add(_numbers(entry))

        def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            self.on_step_end(args, state, control)
            live.send()

    return Sender()


def _is_measurement(entry: dict[str, Any]) -> bool:
    return "loss" in entry or "validation_loss" in entry


def _numbers(entry: dict[str, Any]) -> dict[str, float]:
    keep = ("step", "epoch", "loss", "learning_rate", "grad_norm")
    return {key: float(value) for key, value in entry.items() if key in keep or key.startswith("validation_")}
