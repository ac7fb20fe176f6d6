"""A trainer that goes on where a killed one stopped, bit for bit, and stops at the first batch that cannot be learnt.

transformers' own resuming is used (`train(resume_from_checkpoint=…)`); what it stores and in which form is replaced,
and what it does not restore is added: the sums of the loss, the time, the best adapter so far.
"""

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jobtuner.config import CheckpointConfig
from jobtuner.errors import Interrupted, ModelError
from jobtuner.progress import notice
from jobtuner.train.best import BEST, copy_best
from jobtuner.train.checkpoint import Checkpoint, CheckpointStore
from jobtuner.train.group import ALONE, Group
from jobtuner.train.guard import StopRequest, stop_requests
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

__all__ = ["Checkpointing", "FailedElsewhereError", "SeenEnoughError", "resumable", "run_training"]

_SHARE = 0.02  # of the time, at most, goes into writing checkpoints
_SHOWN_IDS = 20


class _StoppedInStepError(Exception):
    """Training was stopped between two passes of a step, whose gradients are thrown away."""


class SeenEnoughError(Exception):
    """Whoever watches the measurements has seen enough of this training."""


class FailedElsewhereError(Exception):
    """The loss of another process is no number: that process says so."""


@dataclass(frozen=True)
class Checkpointing:
    """Where a training run is saved, and how often."""

    store: CheckpointStore | None
    """None: in every process but the first of its group, which does not write."""
    settings: CheckpointConfig

    def newest(self, steps: int) -> Checkpoint | None:
        """The checkpoint to go on from, if there is one; says so.

        Args:
            steps: of the whole run.
        """
        if self.store is None:
            return None
        found = self.store.newest()
        if found:
            now = self.store.made_with
            other = [f"{name} {value}" for name, value in found.made_with.items() if now.get(name) != value]
            note = f" It was made with {', '.join(other)}: equal to the last bit it need not be." if other else ""
            notice(f"Training is resumed from step {found.step} of {steps}.{note}")
        return found

    @property
    def place(self) -> str:
        """Where the checkpoints are, for messages."""
        return self.store.place if self.store else "the first process's folder"


def run_training(trainer: Any, checkpoints: Checkpointing | None, found: Checkpoint | None) -> Any:
    """Train to the end, or to the signal that stops it; transformers' `TrainOutput`.

    Args:
        trainer: of a class that `resumable` made.
        checkpoints: where the run is saved; None: nowhere, and signals do what they always do.
        found: where it goes on from; None: from the beginning.

    Raises:
        Interrupted: SIGTERM or SIGINT came; a checkpoint of the last whole step is saved.
        ModelError: the loss or the gradients are no numbers.
        StorageError: the disk is full.
    """
    if checkpoints is None:
        return trainer.train()
    with stop_requests(shared=trainer.processes > 1) as stop:
        trainer.keep_checkpoints(checkpoints.store, checkpoints.settings, stop)
        try:
            result = trainer.train(resume_from_checkpoint=str(found.folder) if found else None)
        except _StoppedInStepError:
            trainer.save_checkpoint()
        if stop.agreed:
            state = trainer.state
            raise Interrupted(
                f"Training was stopped by {stop.name} at step {state.global_step} of {state.max_steps}. "
                f"Run again with the same settings to go on. Checkpoints: {checkpoints.place}.",
                stop.agreed,
            )
    return result


def resumable(base: Any, group: Group = ALONE) -> Any:
    """A subclass of a transformers trainer that keeps checkpoints once `keep_checkpoints` was called.

    Args:
        base: the trainer's class.
        group: the processes that train together; all of them stop at the same step.
    """

    class ResumableTrainer(base):  # type: ignore[misc]  # a class made at run time
        """Checkpoints of ours, and a guard over loss and gradients."""

        processes = group.size
        ids: Sequence[str] = ()
        """Ids of the training rows, for messages."""
        resumes = 0
        """How often this training was resumed."""
        _stop: StopRequest | None = None
        _tr_loss: Any  # the trainer's sum of the loss since it last logged, on the device
        _store: CheckpointStore | None = None
        _position: dict[str, Any] | None = None  # what `_where` told after the last step
        _saved_step = 0
        _others: Sequence[int] = ()  # rows of the step that other processes have
        _elsewhere = False  # the loss of another process is no number
        _earlier = 0.0  # seconds that former processes trained up to the checkpoint that this one began with

        def __init__(self, *args: Any, **kwargs: Any) -> None:
            self._passes: list[tuple[Sequence[int], Any]] = []  # rows and loss of the passes of the step at hand
            self._started = time.monotonic()
            super().__init__(*args, **kwargs)

        def keep_checkpoints(
            self, store: CheckpointStore | None, settings: CheckpointConfig, stop: StopRequest
        ) -> None:
            """Write checkpoints as the settings say, and when a stop is requested."""
            self._store, self._keeping, self._stop = store, settings, stop
            self._saved_at, self._cost = time.monotonic(), 0.0
            self.add_callback(_keeper(self, stop))

        def save_checkpoint(self) -> None:
            """Write a checkpoint of the last whole step."""
            self._save_checkpoint(self.model, None)

        @property
        def _best(self) -> Path:
            return Path(self.args.output_dir) / BEST

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
            if self._store is not None:
                self._position = self._where()  # to stop between the passes of a step, and save as of its beginning

        def _save_checkpoint(self, model: Any, trial: Any) -> None:
            step = self.state.global_step
            if self._store is None or step == self._saved_step:
                return
            began = time.monotonic()
            position = self._position if self._passes else self._where()
            optimizer = {"optimizer": self.optimizer.state_dict(), "schedule": self.lr_scheduler.state_dict()}
            weights = [weight for weight in self.model.parameters() if weight.requires_grad]
            with self._store.write(step, size_of([optimizer, weights])) as folder:
                save_adapter(self.model, folder)
                save_values(optimizer, folder, "optimizer")
                progress = {**(position or {}), "seconds": self.seconds, "resumes": self.resumes}
                save_values(progress, folder, "progress")
                copy_best(self._best, folder)
                self.state.save_to_json(str(folder / "trainer_state.json"))
            self._saved_step, self._saved_at = step, time.monotonic()
            self._cost = self._saved_at - began

        def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
            load_adapter(self.model if model is None else model, Path(resume_from_checkpoint))
            copy_best(Path(resume_from_checkpoint), self._best)

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

        def begin_step(self, others: Sequence[int]) -> None:
            """To be called before the first pass of a step; `others`: numbers of the rows that other processes have."""
            self._others = others

        def agree(self, loss: Any) -> Any:
            """To be called after the last pass of a step: sums the gradients, and tells of a stop that is requested.

            Args:
                loss: of this process's passes, detached.

            Returns:
                The loss of all processes' passes.
            """
            if group.size == 1:
                return loss
            group.sum_gradients([each for each in self.model.parameters() if each.requires_grad])
            losses, signals = group.gather([float(loss), self._stop.signum or 0 if self._stop else 0]).unbind(dim=1)
            self._elsewhere = bool(loss.isfinite()) and not bool(losses.isfinite().all())
            if self._stop is not None:
                self._stop.agree(int(signals.max()))
            return losses.sum().to(loss)

        def begin_pass(self, rows: Sequence[int]) -> None:
            """To be called before each forward pass of a step; a requested stop does not wait for the whole step.

            Args:
                rows: numbers of the training rows in it.
            """
            if self._stop and self._passes and group.size == 1:
                raise _StoppedInStepError
            self._passes.append((rows, None))

        def end_pass(self, loss: Any) -> None:
            """To be called after the backward pass; `loss` is the pass's own, detached."""
            self._passes[-1] = (self._passes[-1][0], loss)

        def _clip_grad_norm(self, model: Any) -> Any:
            """Stop before the optimizer applies a gradient that is no number: the adapter is still good."""
            norm = super()._clip_grad_norm(model)
            passes, self._passes = self._passes, []
            wrong = _not_finite(norm, [loss for _, loss in passes])  # one wait for the device a step
            if wrong is not None and self._elsewhere:
                raise FailedElsewhereError
            if wrong is not None:
                numbers = [row for index in wrong[1] or range(len(passes)) for row in passes[index][0]]
                numbers += [] if wrong[1] else self._others  # where no loss is to blame, any of the step's rows may be
                raise ModelError(self._explain(wrong[0], [self.ids[row] for row in numbers if row < len(self.ids)]))
            return norm

        def _explain(self, what: str, ids: Sequence[str]) -> str:
            more = f" and {len(ids) - _SHOWN_IDS} more" if len(ids) > _SHOWN_IDS else ""
            kept = f"The checkpoint of step {self._saved_step} is kept in {self._store.place}. " if self._store else ""
            return (
                f"{what} in step {self.state.global_step + 1} of {self.state.max_steps}; the step was not taken. "
                + (f"Its examples: {', '.join(ids[:_SHOWN_IDS])}{more}. " if ids else "")
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

        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            if stop.agreed:
                control.should_training_stop = True
            if stop.agreed or state.global_step >= state.max_steps or trainer.is_due(state.global_step):
                control.should_save = True

    return Keeper()


def _not_finite(norm: Any, losses: "Sequence[torch.Tensor]") -> tuple[str, list[int]] | None:
    """What is no number, and the passes whose loss it is (none: the gradients alone are); None where all is well."""
    import torch

    values = torch.stack([value.detach().float() for value in (norm, *losses)])
    if bool(values.isfinite().all()):
        return None
    size, *each = values.tolist()
    wrong = [index for index, loss in enumerate(each) if not math.isfinite(loss)]
    if wrong:
        return f"The loss is {each[wrong[0]]}", wrong
    return f"The gradients exploded (their norm is {size})", []
