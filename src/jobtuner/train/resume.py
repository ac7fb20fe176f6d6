"""A trainer that goes on where a killed one stopped, bit for bit, and stops at the first batch that cannot be learnt.

transformers' own resuming is used (`train(resume_from_checkpoint=…)`); what it stores and in which form is replaced,
and what it does not restore is added: the order of rows grouped by length, the sums of the loss, the time.
"""

import math
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jobtuner.config import CheckpointConfig
from jobtuner.errors import ModelError
from jobtuner.train.checkpoint import CheckpointStore
from jobtuner.train.guard import StopRequest
from jobtuner.train.state import (
    load_adapter,
    load_values,
    random_state,
    save_adapter,
    save_values,
    set_random_state,
    size_of,
)

if TYPE_CHECKING:
    import torch
    from transformers import TrainerCallback

__all__ = ["resumable"]

_SHARE = 0.02  # of the time, at most, goes into writing checkpoints
_SHOWN_IDS = 20


def resumable(base: Any) -> Any:
    """A subclass of a transformers trainer that keeps checkpoints once `keep_checkpoints` was called."""

    class ResumableTrainer(base):  # type: ignore[misc]  # a class made at run time
        """Checkpoints of ours, an order that can be repeated, and a guard over loss and gradients."""

        ids: Sequence[str] = ()
        """Ids of the training rows, for messages."""
        resumes = 0
        """How often this training was resumed."""
        _tr_loss: Any  # the trainer's sum of the loss since it last logged, on the device
        _store: CheckpointStore | None = None
        _position: dict[str, Any] | None = None  # what `_where` told after the last step
        _saved_step = 0
        _earlier = 0.0  # seconds that former processes trained up to the checkpoint that this one began with

        def __init__(self, *args: Any, **kwargs: Any) -> None:
            self._batches: list[tuple[Any, torch.Tensor]] = []  # row numbers and loss of the step's batches so far
            self._started = time.monotonic()
            super().__init__(*args, **kwargs)

        def keep_checkpoints(self, store: CheckpointStore, settings: CheckpointConfig, stop: StopRequest) -> None:
            """Write checkpoints as the settings say, and when a stop is requested."""
            self._store, self._keeping = store, settings
            self._saved_at, self._cost = time.monotonic(), 0.0
            self.add_callback(_keeper(self, stop))

        @property
        def seconds(self) -> float:
            """Time that the steps up to here took, in all the processes that made them; lost steps do not count."""
            return self._earlier + time.monotonic() - self._started

        def is_due(self, step: int) -> bool:
            """Whether a checkpoint shall be written after this step."""
            if self._keeping.every_steps is not None:
                return step % self._keeping.every_steps == 0
            pause = max(60.0 * self._keeping.every_minutes, self._cost / _SHARE)
            return time.monotonic() - self._saved_at >= pause

        def begin(self) -> None:
            """Take up the sums that the trainer sets to zero at every start."""
            self._started = time.monotonic()
            if self._position is not None:
                self._tr_loss = self._position["loss"].to(self._tr_loss, copy=True)
                self._total_loss_scalar = self._position["total_loss"]
                self._globalstep_last_logged = self._position["logged"]
                self._initial_global_step = 0  # the divisor of the mean loss: it is that of the whole run

        def _where(self) -> dict[str, Any]:
            return {
                "random": random_state(),
                "loss": self._tr_loss.detach().clone(),
                "total_loss": self._total_loss_scalar,
                "logged": self._globalstep_last_logged,
            }

        def _maybe_log_save_evaluate(self, *args: Any, **kwargs: Any) -> None:
            super()._maybe_log_save_evaluate(*args, **kwargs)
            if self._store is not None and not self._batches and self.args.gradient_accumulation_steps > 1:
                self._position = self._where()  # to stop between the batches of a step, and save as of its beginning

        def _save_checkpoint(self, model: Any, trial: Any) -> None:
            step = self.state.global_step
            if self._store is None or step == self._saved_step:
                return
            began = time.monotonic()
            position = self._position if self._batches else self._where()
            optimizer = {"optimizer": self.optimizer.state_dict(), "schedule": self.lr_scheduler.state_dict()}
            weights = [weight for weight in self.model.parameters() if weight.requires_grad]
            with self._store.write(step, size_of([optimizer, weights])) as folder:
                save_adapter(self.model, folder)
                save_values(optimizer, folder, "optimizer")
                progress = {**(position or {}), "seconds": self.seconds, "resumes": self.resumes}
                save_values(progress, folder, "progress")
                self.state.save_to_json(str(folder / "trainer_state.json"))
            self._saved_step, self._saved_at = step, time.monotonic()
            self._cost = self._saved_at - began

        def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
            load_adapter(self.model if model is None else model, Path(resume_from_checkpoint))

        def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
            if checkpoint is None:
                return
            saved = load_values(Path(checkpoint), "optimizer")
            self.optimizer.load_state_dict(saved["optimizer"])
            self.lr_scheduler.load_state_dict(saved["schedule"])
            self._position = load_values(Path(checkpoint), "progress")
            self._earlier, self.resumes = self._position["seconds"], self._position["resumes"] + 1
            self._saved_step = self.state.global_step

        def _load_rng_state(self, checkpoint: str | None) -> None:
            if checkpoint is not None and self._position is not None:
                set_random_state(self._position["random"])

        def _get_train_sampler(self, train_dataset: Any = None) -> Any:
            if self.args.train_sampling_strategy != "group_by_length":
                return super()._get_train_sampler(train_dataset)
            rows = self.train_dataset if train_dataset is None else train_dataset
            lengths = [len(tokens) for tokens in rows["input_ids"]]
            group = self.args.train_batch_size * self.args.gradient_accumulation_steps
            return _by_length(lengths, group, self.args.seed)

        def evaluate(self, *args: Any, **kwargs: Any) -> Any:
            """Evaluate without moving a random generator: training goes on as if nobody had looked."""
            before = random_state()
            try:
                return super().evaluate(*args, **kwargs)
            finally:
                set_random_state(before)

        def training_step(self, model: Any, inputs: Any, num_items_in_batch: Any = None) -> Any:
            """One batch, forward and backward; remembers which rows it held."""
            rest = {name: value for name, value in inputs.items() if name != "rows"}
            loss = super().training_step(model, rest, num_items_in_batch)
            self._batches.append((inputs.get("rows"), loss))
            return loss

        def _clip_grad_norm(self, model: Any) -> Any:
            """Stop before the optimizer applies a gradient that is no number: the adapter is still good."""
            norm = super()._clip_grad_norm(model)
            batches, self._batches = self._batches, []
            wrong = _not_finite(norm, [loss for _, loss in batches])  # one wait for the device a step
            if wrong is not None:
                numbers = [row for index in wrong[1] for row in _numbers(batches[index][0])]
                raise ModelError(self._explain(wrong[0], [self.ids[row] for row in numbers if row < len(self.ids)]))
            return norm

        def _explain(self, what: str, ids: Sequence[str]) -> str:
            shown = ", ".join(ids[:_SHOWN_IDS]) + (
                f" and {len(ids) - _SHOWN_IDS} more" if len(ids) > _SHOWN_IDS else ""
            )
            kept = f"The checkpoint of step {self._saved_step} is kept in {self._store.place}. " if self._store else ""
            return (
                f"{what} in step {self.state.global_step + 1} of {self.state.max_steps}; the step was not taken. "
                + (f"Its examples: {shown}. " if ids else "")
                + (kept if self._saved_step else "")
                + "Look at these examples; lower training.learning_rate or training.max_grad_norm, or use "
                "quantization.compute_dtype float32."
            )

    return ResumableTrainer


def _keeper(trainer: Any, stop: StopRequest) -> "TrainerCallback":
    from transformers import TrainerCallback

    class Keeper(TrainerCallback):
        """Says when a checkpoint is written, and when training stops."""

        def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            trainer.begin()

        def on_substep_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            if stop:
                control.should_save = control.should_training_stop = True

        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            if stop:
                control.should_training_stop = True
            if stop or state.global_step >= state.max_steps or trainer.is_due(state.global_step):
                control.should_save = True

    return Keeper()


def _by_length(lengths: Sequence[int], group: int, seed: int) -> Any:
    from torch import Generator
    from torch.utils.data import Sampler
    from transformers.trainer_pt_utils import get_length_grouped_indices

    class ByLength(Sampler[int]):
        """Rows of similar length beside each other, in an order that depends on seed and epoch alone.

        transformers' own sampler draws from the global generator: where training is resumed in the middle of an
        epoch, the generator is elsewhere, and the epoch's second half would hold other rows.
        """

        def __init__(self) -> None:
            self.epoch = 0

        def set_epoch(self, epoch: int) -> None:
            """Called by the data loader at the begin of each epoch."""
            self.epoch = epoch

        def __len__(self) -> int:
            return len(lengths)

        def __iter__(self) -> Any:
            generator = Generator().manual_seed(seed * 1_000_003 + self.epoch)
            return iter(get_length_grouped_indices(list(lengths), group, generator=generator))

    return ByLength()


def _not_finite(norm: Any, losses: "Sequence[torch.Tensor]") -> tuple[str, list[int]] | None:
    """What is no number, and which of the step's batches it came from; None where all is well."""
    import torch

    values = torch.stack([value.detach().float() for value in (norm, *losses)])
    if bool(values.isfinite().all()):
        return None
    size, *each = values.tolist()
    wrong = [index for index, loss in enumerate(each) if not math.isfinite(loss)]
    if wrong:
        return f"The loss is {each[wrong[0]]}", wrong
    return f"The gradients exploded (their norm is {size})", list(range(len(each)))


def _numbers(rows: Any) -> list[int]:
    return [] if rows is None else rows.tolist()
