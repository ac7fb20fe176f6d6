"""Answers about the review queue."""

from typing import Literal

from pydantic import Field

from jobtuner.serve.schemas import Body, Probability

__all__ = ["ReviewCandidate", "ReviewQueue", "ReviewRow"]


class ReviewCandidate(Body):
    """A code with its probability."""

    code: str
    title: str
    probability: Probability


class ReviewRow(Body):
    """A logged answer that a person should look at."""

    id: str = Field(description="By which a correction finds the answer.")
    time: str = Field(description="Of the answer: ISO 8601, UTC.")
    language: str
    text: str | None = Field(description="The ad, personal data masked; null where the log keeps no texts.")
    label: str = Field(description="The answered code.")
    probability: Probability
    top: list[ReviewCandidate]
    chosen: Literal["unsure", "random"] = Field(description="Among the least certain, or picked blindly.")


class ReviewQueue(Body):
    """The least certain answers first, then those picked blindly."""

    rows: list[ReviewRow]
