"""Requests and answers about skills and cover letters."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from jobtuner.serve.schemas import MAX_CHARS, Body, Language, readable
from jobtuner.tasks import Applicant

__all__ = [
    "ApplicantFacts",
    "GroundedClaim",
    "LetterRequest",
    "LetterResponse",
    "Skill",
    "SkillMatch",
    "SkillsRequest",
    "SkillsResponse",
    "SkillsResult",
    "TextAd",
]

_MAX_ADS = 16
"""Ads a request: each is a text of its own to write."""


def _has_text(text: str) -> str:
    readable(text)
    return text  # as it came: offsets are the client's


_AdText = Annotated[str, Field(min_length=1, max_length=MAX_CHARS), AfterValidator(_has_text)]
_Fact = Annotated[str, Field(max_length=300)]
_Facts = Annotated[list[_Fact], Field(max_length=20, default_factory=list)]


class TextAd(Body):
    """One job ad."""

    text: _AdText
    language: Language | None = None
    id: str | None = Field(default=None, max_length=128, description="Comes back with the answer.")


class SkillsRequest(Body):
    """Ads whose skills are wanted."""

    ads: list[TextAd] = Field(min_length=1, max_length=_MAX_ADS)
    links: bool = Field(default=True, description="Link skills to concepts, where the endpoint has a skills taxonomy.")


class SkillMatch(Body):
    """A concept of the skills taxonomy."""

    id: str = Field(description="Its URI or code.")
    label: str
    similarity: float = Field(gt=0.0, le=1.0, description="1: an equal name; below, one that is written alike.")


class Skill(Body):
    """A skill as it stands in the ad."""

    text: str
    start: int = Field(ge=0, description="Characters (Unicode code points) of the ad before it.")
    end: int = Field(ge=1)
    link: SkillMatch | None = Field(
        default=None, description="Its concept; null where no name is similar, or the endpoint has no skills taxonomy."
    )


class SkillsResult(Body):
    """The skills of one ad, in its order."""

    id: str | None
    skills: list[Skill]
    orders: int = Field(ge=0, description="Passages left out because they spoke to the machine, as in /v1/occupations.")


class SkillsResponse(Body):
    """The answers, in the order of the ads."""

    model: str
    results: list[SkillsResult]


class ApplicantFacts(Body):
    """What the letter may say about who applies."""

    name: Annotated[str, Field(min_length=1, max_length=300), AfterValidator(readable)]
    role: _Fact = ""
    company: _Fact = ""
    skills: _Facts
    reasons: _Facts
    experience: _Facts
    language: Literal["", "da", "de", "en", "es", "fr"] = Field(
        default="", description="Of the letter; empty: the ad's own."
    )

    def facts(self) -> Applicant:
        """The task's form of it."""
        return Applicant.from_json(self.model_dump())


class LetterRequest(Body):
    """An ad and who applies."""

    ad: TextAd
    applicant: ApplicantFacts
    system: str | None = Field(default=None, min_length=1, max_length=2000, description="In place of our instruction.")
    max_tokens: int = Field(default=600, ge=16, le=2048)
    stream: bool = Field(
        default=True, description="Server-sent events: `text` with {text}, then `grounding` with the whole answer."
    )


class GroundedClaim(Body):
    """Something that the letter says, and where it is said too."""

    kind: str
    text: str
    start: int = Field(ge=0, description="Characters of the letter before it.")
    end: int = Field(ge=1)
    source: Literal["applicant", "ad", ""] = Field(description="Empty: nowhere. A person should look.")


class LetterResponse(Body):
    """A letter."""

    model: str
    letter: str
    claims: list[GroundedClaim]
    invented: int = Field(ge=0, description="Claims that neither ad nor facts make.")
    orders: int = Field(ge=0, description="Passages of the ad left out because they spoke to the machine.")
