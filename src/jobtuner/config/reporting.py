"""Where the training is shown beside MLflow."""

from collections.abc import Sequence
from typing import Literal

from jobtuner.config.section import Section

__all__ = ["ReportingConfig"]


class ReportingConfig(Section):
    """Live curves beside MLflow, by the trainer's own integrations. These settings never change what is trained."""

    to: Sequence[Literal["tensorboard", "wandb"]] = ()
    """tensorboard: files in TENSORBOARD_LOGGING_DIR, else in the stage's folder under tensorboard/. wandb: Weights &
    Biases, which reads its key and project from WANDB_API_KEY and WANDB_PROJECT. Each needs its package."""
