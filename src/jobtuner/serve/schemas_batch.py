"""Requests and answers about batches."""

from typing import Literal

from pydantic import Field

from jobtuner.serve.schemas import Ad, Body, Language

__all__ = ["BatchList", "BatchRequest", "BatchState"]

_MAX_ADS = 5_000
"""Ads a batch. The bound on a body's bytes comes first where they are long."""


class BatchRequest(Body):
    """Ads to classify later."""

    ads: list[Ad] = Field(min_length=1, max_length=_MAX_ADS)
    top_k: int = Field(default=5, ge=1, le=20)
    title_language: Language | None = None


class BatchState(Body):
    """How far a batch is."""

    id: str
    status: Literal["queued", "running", "done", "failed"]
    ads: int
    created: int = Field(description="Unix time.")
    owner: str = Field(description="Name of the key that submitted it; empty where none is needed.")
    answered: int = 0
    rejected: int = 0
    reason: str | None = Field(default=None, description="Where it failed: the kind of error.")


class BatchList(Body):
    """Batches, the oldest first."""

    data: list[BatchState]
