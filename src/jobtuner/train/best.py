"""Measuring on validation rows while training runs, the best adapter kept, and the end when nothing gets better."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jobtuner.config import TrainingConfig

if TYPE_CHECKING:
    from transformers import TrainerCallback

__all__ = ["BEST", "Watch", "copy_best", "restore_best", "validation_watch"]

BEST = "best"
"""Folder of the best adapter within the trainer's."""

Watch = Callable[[int, dict[str, float]], None]
"""Told of each measurement: the optimizer step, and what was measured."""

_WEIGHTS, _RECORD = "best.safetensors", "best.json"


def validation_watch(
    model: Any,
    measure: Callable[[], dict[str, float]],
    settings: TrainingConfig,
    folder: Path,
    watch: Watch | None = None,
) -> "TrainerCallback":
    """A callback that measures every `evaluate_every` steps and after the last one.

    Args:
        model: with an adapter.
        measure: gives loss and accuracy of the model as it is.
        settings: evaluate_every, best_by, patience.
        folder: the best adapter so far lies here, and how good it was: a run that is resumed goes on from there.
        watch: told of each measurement.
    """
    from transformers import TrainerCallback

    class ValidationWatch(TrainerCallback):
        """Writes what it measured into the trainer's history."""

        def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            if state.global_step == 0:  # not resumed: what lies there is of another run
                shutil.rmtree(folder, ignore_errors=True)

        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            last = state.global_step >= state.max_steps
            if settings.evaluate_every is None or (state.global_step % settings.evaluate_every and not last):
                return
            values = measure()
            named = {f"validation_{key}": value for key, value in values.items()}
            state.log_history.append({"step": state.global_step, "epoch": state.epoch, **named})
            if watch is not None:
                watch(state.global_step, values)
            if settings.best_by is None:
                return
            waited = _compare(model, settings.best_by, values[settings.best_by], state.global_step, folder)
            if settings.patience is not None and waited >= settings.patience:
                control.should_training_stop = True

    return ValidationWatch()


def _compare(model: Any, name: str, value: float, step: int, folder: Path) -> int:
    """Keep the adapter if it is the best; return how many measurements in a row were not better."""
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    path = folder / _RECORD
    best = json.loads(path.read_text(encoding="utf-8")) if path.exists() else None
    if best is not None and not (value < best["value"] if name == "loss" else value > best["value"]):
        best["waited"] += 1
    else:
        weights = {key: each.detach().cpu().contiguous() for key, each in _trainable(model).items()}
        save_file(weights, folder / (_WEIGHTS + ".new"))
        (folder / (_WEIGHTS + ".new")).replace(folder / _WEIGHTS)
        best = {"by": name, "value": value, "step": step, "waited": 0}
    path.with_suffix(".new").write_text(json.dumps(best), encoding="utf-8")
    path.with_suffix(".new").replace(path)
    waited: int = best["waited"]
    return waited


def copy_best(source: Path, target: Path) -> None:
    """Copy the best adapter so far, where there is one: into a checkpoint, and out of it."""
    if (source / _RECORD).exists():
        target.mkdir(parents=True, exist_ok=True)
        for name in (_WEIGHTS, _RECORD):
            shutil.copyfile(source / name, target / name)


def restore_best(model: Any, folder: Path) -> int | None:
    """Give the model the best adapter that was kept; return the step it is of, or None where none was kept."""
    import torch
    from safetensors.torch import load_file

    if not (folder / _RECORD).exists():
        return None
    weights, parameters = load_file(folder / _WEIGHTS), _trainable(model)
    with torch.no_grad():
        for name, value in weights.items():
            parameters[name].copy_(value)
    step: int = json.loads((folder / _RECORD).read_text(encoding="utf-8"))["step"]
    return step


def _trainable(model: Any) -> dict[str, Any]:
    return {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}
