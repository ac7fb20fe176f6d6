"""/v1/skills and /v1/cover-letters: answers in text, checked against the ad."""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from jobtuner.clean import legible
from jobtuner.errors import DeployError
from jobtuner.serve.errors import errors
from jobtuner.serve.metrics import Metrics
from jobtuner.serve.schemas_text import (
    GroundedClaim,
    LetterRequest,
    LetterResponse,
    Skill,
    SkillMatch,
    SkillsRequest,
    SkillsResponse,
    SkillsResult,
    TextAd,
)
from jobtuner.serve.scorer import BusyError
from jobtuner.serve.upstream import Refused
from jobtuner.serve.writers import Writer
from jobtuner.skill_links import SkillLinker
from jobtuner.tasks import CoverLetterTask, SkillsTask

if TYPE_CHECKING:
    from fastapi import FastAPI, Response

__all__ = ["Office", "add_letters", "add_skills"]

_SKILL_TOKENS = 400  # 64 skills of some six tokens; a server refuses what could exceed its context
_STATUSES = (408, 413, 422, 429, 500, 503, 504)
_SKILLS, _LETTERS = "/v1/skills", "/v1/cover-letters"


@dataclass(frozen=True)
class Office:
    """What the two paths share."""

    seconds: float
    """An answer must be there by then."""
    metrics: Metrics
    guarded: dict[str, Any]
    """What routes get where a key is needed."""


def add_skills(app: "FastAPI", writer: Writer, office: Office, linker: SkillLinker | None = None) -> None:
    """Add /v1/skills.

    Args:
        app: gets the path.
        writer: the model.
        office: limits and counters.
        linker: finds the concepts of skills; None: there are no links.
    """
    from fastapi import Request

    @app.post(_SKILLS, summary="Skills in job ads", responses=_responses(office), **office.guarded)
    async def skills(body: SkillsRequest, request: Request) -> SkillsResponse:
        request.state.ads = len(body.ads)
        async with asyncio.timeout(office.seconds):
            found = await asyncio.gather(*(_skills(writer, ad, request.state.request_id) for ad in body.ads))
            if linker is not None and body.links:
                found = await asyncio.to_thread(_linked, linker, found)
        office.metrics.left_out(_SKILLS, sum(result.orders for result in found))
        return SkillsResponse(model=writer.name, results=list(found))


async def _skills(writer: Writer, ad: TextAd, request_id: str) -> SkillsResult:
    task, (text, orders) = SkillsTask(), legible(ad.text)
    answer = await writer.write(
        task.messages(text), max_tokens=_SKILL_TOKENS, schema=task.response_schema(), request_id=request_id
    )
    spans = task.parse(answer, ad.text)
    skills = [Skill(text=span.text, start=span.start, end=span.end) for span in spans]
    return SkillsResult(id=ad.id, skills=skills, orders=orders)


def _linked(linker: SkillLinker, results: Sequence[SkillsResult]) -> list[SkillsResult]:
    phrases = list(dict.fromkeys(skill.text for result in results for skill in result.skills))
    links = dict(zip(phrases, linker.link(phrases), strict=True))
    matches = {
        phrase: SkillMatch(id=link.id, label=link.label, similarity=link.similarity)
        for phrase, link in links.items()
        if link is not None
    }
    return [
        result.model_copy(
            update={"skills": [skill.model_copy(update={"link": matches.get(skill.text)}) for skill in result.skills]}
        )
        for result in results
    ]


def add_letters(app: "FastAPI", writer: Writer, office: Office) -> None:
    """Add /v1/cover-letters; arguments as for `add_skills`."""
    from fastapi import Request
    from fastapi.responses import StreamingResponse

    answers = _responses(office)
    answers[200] = {"content": {"text/event-stream": {}}, "description": "The letter, or its pieces as events."}

    @app.post(
        _LETTERS,
        summary="Write a cover letter",
        response_model=LetterResponse,
        responses=answers,
        **office.guarded,
    )
    async def letters(body: LetterRequest, request: Request) -> "LetterResponse | Response":
        request_id = request.state.request_id
        ad, orders = legible(body.ad.text)
        office.metrics.left_out(_LETTERS, orders)
        asked = _Asked(body, ad, orders, writer.name)
        pieces = writer.stream(asked.chat(), max_tokens=body.max_tokens, request_id=request_id)
        if not body.stream:
            async with asyncio.timeout(office.seconds):
                return asked.grounded("".join([piece async for piece in pieces]))
        async with asyncio.timeout(office.seconds):
            first = await anext(pieces, "")  # what is wrong from the start has a status, not an event
        return StreamingResponse(_events(asked, first, pieces, office.seconds), media_type="text/event-stream")


def _responses(office: Office) -> dict[int | str, dict[str, Any]]:
    return errors(*_STATUSES, guarded=bool(office.guarded))


@dataclass(frozen=True)
class _Asked:
    """A letter to be written."""

    body: LetterRequest
    ad: str
    """What the model reads of the ad, and what its claims are looked up in."""
    orders: int
    model: str

    def chat(self) -> Any:
        return CoverLetterTask().messages(self.ad, self.body.applicant.facts(), self.body.system)

    def grounded(self, answer: str) -> LetterResponse:
        """The letter with where its claims come from."""
        task = CoverLetterTask()
        letter, applicant = task.parse(answer), self.body.applicant.facts()
        found = task.grounding(letter, self.ad, applicant, applicant.language or self.body.ad.language)
        claims = [
            GroundedClaim(kind=claim.kind, text=claim.text, start=claim.start, end=claim.end, source=claim.source)
            for claim in found.claims
        ]
        invented = sum(not claim.source for claim in claims)
        return LetterResponse(model=self.model, letter=letter, claims=claims, invented=invented, orders=self.orders)


async def _events(asked: _Asked, first: str, pieces: AsyncIterator[str], seconds: float) -> AsyncIterator[str]:
    """The pieces as events, then the whole letter with its claims; or an event of the type error."""
    written = [first]
    try:
        yield _event("text", {"text": first})
        async with asyncio.timeout(seconds):
            async for piece in pieces:
                written.append(piece)
                yield _event("text", {"text": piece})
    except (DeployError, BusyError, Refused, TimeoutError):
        yield _event("error", {"message": "The letter broke off. Ask again."})
        return
    yield _event("grounding", asked.grounded("".join(written)).model_dump())


def _event(kind: str, data: dict[str, Any]) -> str:
    return f"event: {kind}\ndata: {json.dumps(data, ensure_ascii=False)}\n\n"
