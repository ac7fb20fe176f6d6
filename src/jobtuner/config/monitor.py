"""The watch over a served model: where it looks, and when it asks for a new training."""

from typing import Annotated, Literal

from pydantic import Field

from jobtuner.config.section import Count, Section, Share

__all__ = ["MonitorConfig", "RetrainConfig"]


class RetrainConfig(Section):
    """When the watch asks for a new training."""

    drifted_windows: Count = 2
    """Drifted windows, less the quiet ones between them, after which drift counts; it counts until as many quiet ones
    have taken it back to 0."""
    max_accuracy_loss: Share = 0.05
    """Accuracy that may be lost against the reference; more, with 95 % certainty, asks for a training."""
    min_labelled: Count = 100
    """Corrected answers in the window that accuracy is judged on; with fewer, drift decides alone."""
    max_age_days: Count | None = 180
    """Days since the reference was made after which a model is due; None: never."""
    cool_down_days: int = Field(default=14, ge=0)
    """Days after one training was asked for in which no other one is: its result must be seen first."""
    approval: Literal["automatic", "manual"] = "automatic"
    """manual: the watch asks, and a training starts only after `jobtuner monitor approve`."""


class MonitorConfig(Section):
    """The watch over a served model."""

    log: str | None = None
    """Prediction log: a folder or s3://bucket/key."""
    reference: str | None = None
    """Folder or s3://bucket/key of the model's reference (`jobtuner monitor reference`)."""
    corrections: str | None = None
    """Corrected answers (JSONL or CSV with id and label): a file or s3://bucket/key; None: quality is not measured."""
    state: str | None = None
    """File or s3://bucket/key that remembers drifted windows, trainings asked for and approvals from one look to the
    next. None: each look begins anew; drift then starts a training only where `retrain.drifted_windows` is 1."""
    window_days: Annotated[float, Field(gt=0.0)] = 7.0
    """Days before `until` that are looked at."""
    until: str | None = None
    """End of the window in ISO 8601 with time zone; None: now."""
    quality_days: Annotated[float, Field(gt=0.0)] = 28.0
    """Days before `until` whose corrections count: labels come late."""
    retrain: RetrainConfig = RetrainConfig()
