"""Requests and answers of the HTTP interface. Strict: no unknown keys, no conversions (true is no number)."""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from jobtuner.serve.text import tidy

__all__ = [
    "MAX_ADS",
    "MAX_CHARS",
    "Ad",
    "Body",
    "Candidate",
    "ErrorBody",
    "ErrorDetail",
    "Group",
    "Language",
    "ModelCard",
    "ModelList",
    "OccupationResult",
    "OccupationsRequest",
    "OccupationsResponse",
    "Probability",
    "State",
    "readable",
]

MAX_ADS = 64
"""Ads a request."""
MAX_CHARS = 20_000
"""Characters an ad; some ten times the length of a long one."""


def readable(text: str) -> str:
    """The tidy text.

    Raises:
        ValueError: nothing is left.
    """
    text = tidy(text)
    if not text:
        raise ValueError("holds no readable character")
    return text


class Body(BaseModel):
    """Base of all bodies."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _no_flood(cls, data: Any) -> Any:
        # Pydantic reports unknown keys one by one: a body of a million keys would cost a gigabyte of error objects.
        if isinstance(data, dict) and len(data) > len(cls.model_fields):
            raise ValueError(f"has {len(data)} keys; accepted are {', '.join(cls.model_fields)}")
        return data


Language = Annotated[str, Field(pattern="^[a-z]{2}$", description="ISO 639-1 code.", examples=["en"])]
Probability = Annotated[float, Field(ge=0.0, le=1.0)]


class Ad(Body):
    """One job ad, or a job title."""

    text: Annotated[str, Field(min_length=1, max_length=MAX_CHARS), AfterValidator(readable)]
    language: Language | None = Field(
        default=None,
        description="Language of the ad; the titles of its answer come in it, unless title_language is set.",
    )
    id: str | None = Field(default=None, max_length=128, description="Comes back with the answer.")


class OccupationsRequest(Body):
    """Ads to classify."""

    ads: list[Ad] = Field(min_length=1, max_length=MAX_ADS)
    top_k: int = Field(default=5, ge=1, le=20, description="Codes an ad in the answer, likeliest first.")
    title_language: Language | None = Field(
        default=None, description="Language of all titles; English where a title has no such translation."
    )


class Group(Body):
    """A group of the taxonomy above a code."""

    code: str
    title: str


class Candidate(Body):
    """A code with its probability."""

    code: str
    title: str
    probability: Probability
    path: list[Group] = Field(description="The groups above the code, from the top.")


class OccupationResult(Body):
    """The answer for one ad."""

    id: str | None
    code: str
    title: str
    probability: Probability
    answered_by: Literal["model", "baseline"] = Field(description="The fine-tuned model, or the cheap one before it.")
    abstain: bool = Field(description="True: too unsure by the threshold that evaluation chose; a person should look.")
    orders: int = Field(
        ge=0,
        description="Passages that spoke to the machine that reads (“ignore your instructions”) and were left out. "
        "Above 0 a person should look at the ad.",
    )
    top: list[Candidate]


class OccupationsResponse(Body):
    """The answers, in the order of the ads."""

    model_version: str
    results: list[OccupationResult]


class ModelCard(Body):
    """One entry of the model list, in OpenAI's form with two more fields for the model that classifies."""

    id: str
    object: str = "model"
    created: int = Field(description="Unix time at which the endpoint started.")
    owned_by: str = "jobtuner"
    fingerprint: str | None = None
    taxonomy_version: str | None = None


class ModelList(Body):
    """The models that the endpoint serves: first the one that classifies."""

    object: str = "list"
    data: list[ModelCard]


class State(Body):
    """Answer of the health checks."""

    status: str


class ErrorDetail(Body):
    """What went wrong."""

    type: str
    message: str
    request_id: str


class ErrorBody(Body):
    """Every answer with a status of 400 or more has this form."""

    error: ErrorDetail
