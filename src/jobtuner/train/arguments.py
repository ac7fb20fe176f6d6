"""The recipe's training section as arguments of TRL's trainer, and the number of steps they make."""

import importlib.util
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jobtuner.config import TrainingConfig
from jobtuner.errors import ModelError

__all__ = ["optimizer_steps", "trainer_arguments"]


_REPORTERS = {"tensorboard": ("tensorboard", "tensorboardX"), "wandb": ("wandb",)}


def optimizer_steps(settings: TrainingConfig, rows: int) -> int:
    """Optimizer steps of a run over `rows` training rows."""
    per_epoch = math.ceil(rows / (settings.batch_size * settings.gradient_accumulation))
    steps = math.ceil(per_epoch * settings.epochs)
    return steps if settings.max_steps is None else min(steps, settings.max_steps)


def trainer_arguments(
    settings: TrainingConfig, seed: int, out: Path, autocast: bool = True, report_to: Sequence[str] = ()
) -> Any:
    """The `SFTConfig` of a run in which a batch holds all rows of an optimizer step.

    Args:
        settings: schedule and optimizer.
        seed: decides data order and dropout.
        out: scratch folder for the trainer.
        autocast: matrix products in bfloat16; False: as the model's weights are.
        report_to: transformers' names of where the curves go.

    Raises:
        ModelError: the optimizer needs a GPU, and there is none; or a package to report with is missing.
    """
    import torch
    from trl import SFTConfig

    cuda = torch.cuda.is_available()
    if settings.optimizer.startswith("paged") and not cuda:
        raise ModelError(
            f"training.optimizer {settings.optimizer} moves its state between GPU and host, and this machine has no "
            "GPU. Accepted here: adamw_torch, adamw_torch_fused, adamw_8bit."
        )
    for name in report_to:
        if not any(importlib.util.find_spec(package) for package in _REPORTERS[name]):
            raise ModelError(
                f"reporting.to {name} needs the package {_REPORTERS[name][0]}, which is not installed. Install it (pip "
                f"install {_REPORTERS[name][0]}), or leave {name} out of reporting.to; MLflow records the run anyway."
            )
    return SFTConfig(
        output_dir=str(out),
        num_train_epochs=settings.epochs,
        max_steps=-1 if settings.max_steps is None else settings.max_steps,
        per_device_train_batch_size=settings.batch_size * settings.gradient_accumulation,
        learning_rate=settings.learning_rate,
        lr_scheduler_type=settings.schedule,
        warmup_steps=settings.warmup,  # below 1: a share of all steps
        weight_decay=settings.weight_decay,
        max_grad_norm=settings.max_grad_norm,
        optim=settings.optimizer,
        neftune_noise_alpha=settings.neftune_alpha,
        gradient_checkpointing=settings.gradient_checkpointing,
        gradient_checkpointing_kwargs={"use_reentrant": False} if settings.gradient_checkpointing else None,
        max_length=None,  # rows are cut by PromptEncoder, which never cuts the answer
        dataset_kwargs={"skip_prepare_dataset": True},
        remove_unused_columns=False,
        prediction_loss_only=True,
        bf16=autocast,
        use_cpu=not cuda,
        seed=seed,
        data_seed=seed,
        logging_steps=10,
        logging_nan_inf_filter=False,
        save_strategy="no",
        report_to=list(report_to) or "none",
        disable_tqdm=True,
        dataloader_pin_memory=cuda,
    )
