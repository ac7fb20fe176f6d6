"""/v1/skills and /v1/cover-letters: answers in text, checked against the ad."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

from jobtuner.errors import DeployError
from jobtuner.serve.errors import errors
from jobtuner.serve.schemas_text import (
    GroundedClaim,
    LetterRequest,
    LetterResponse,
    Skill,
    SkillsRequest,
    SkillsResponse,
    SkillsResult,
    TextAd,
)
from jobtuner.serve.scorer import BusyError
from jobtuner.serve.text import tidy
from jobtuner.serve.upstream import Refused
from jobtuner.serve.writers import Writer
from jobtuner.tasks import CoverLetterTask, SkillsTask

if TYPE_CHECKING:
    from fastapi import FastAPI, Response

__all__ = ["add_letters", "add_skills"]

_SKILL_TOKENS = 400  # 64 skills of some six tokens; a server refuses what could exceed its context
_STATUSES = (408, 413, 422, 429, 500, 503, 504)


def add_skills(app: "FastAPI", writer: Writer, seconds: float, guarded: dict[str, Any]) -> None:
    """Add /v1/skills.

    Args:
        app: gets the path.
        writer: the model.
        seconds: an answer must be there by then.
        guarded: what routes get where a key is needed.
    """
    from fastapi import Request

    @app.post("/v1/skills", summary="Skills in job ads", responses=_responses(guarded), **guarded)
    async def skills(body: SkillsRequest, request: Request) -> SkillsResponse:
        request.state.ads = len(body.ads)
        async with asyncio.timeout(seconds):
            found = [_skills(writer, ad, request.state.request_id) for ad in body.ads]
            return SkillsResponse(model=writer.name, results=list(await asyncio.gather(*found)))


async def _skills(writer: Writer, ad: TextAd, request_id: str) -> SkillsResult:
    task = SkillsTask()
    answer = await writer.write(
        task.messages(tidy(ad.text)), max_tokens=_SKILL_TOKENS, schema=task.response_schema(), request_id=request_id
    )
    spans = task.parse(answer, ad.text)
    return SkillsResult(id=ad.id, skills=[Skill(text=span.text, start=span.start, end=span.end) for span in spans])


def add_letters(app: "FastAPI", writer: Writer, seconds: float, guarded: dict[str, Any]) -> None:
    """Add /v1/cover-letters; arguments as for `add_skills`."""
    from fastapi import Request
    from fastapi.responses import StreamingResponse

    answers = _responses(guarded)
    answers[200] = {"content": {"text/event-stream": {}}, "description": "The letter, or its pieces as events."}

    @app.post(
        "/v1/cover-letters", summary="Write a cover letter", response_model=LetterResponse, responses=answers, **guarded
    )
    async def letters(body: LetterRequest, request: Request) -> "LetterResponse | Response":
        request_id = request.state.request_id
        pieces = writer.stream(_chat(body), max_tokens=body.max_tokens, request_id=request_id)
        if not body.stream:
            async with asyncio.timeout(seconds):
                return _grounded(body, "".join([piece async for piece in pieces]), writer.name)
        async with asyncio.timeout(seconds):
            first = await anext(pieces, "")  # what is wrong from the start has a status, not an event
        return StreamingResponse(_events(body, first, pieces, writer.name, seconds), media_type="text/event-stream")


def _responses(guarded: dict[str, Any]) -> dict[int | str, dict[str, Any]]:
    return errors(*_STATUSES, guarded=bool(guarded))


def _chat(body: LetterRequest) -> Any:
    return CoverLetterTask().messages(tidy(body.ad.text), body.applicant.facts(), body.system)


async def _events(
    body: LetterRequest, first: str, pieces: AsyncIterator[str], model: str, seconds: float
) -> AsyncIterator[str]:
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
    yield _event("grounding", _grounded(body, "".join(written), model).model_dump())


def _event(kind: str, data: dict[str, Any]) -> str:
    return f"event: {kind}\ndata: {json.dumps(data, ensure_ascii=False)}\n\n"


def _grounded(body: LetterRequest, answer: str, model: str) -> LetterResponse:
    task = CoverLetterTask()
    letter, applicant = task.parse(answer), body.applicant.facts()
    language = applicant.language or body.ad.language
    found = task.grounding(letter, body.ad.text, applicant, language)
    claims = [
        GroundedClaim(kind=claim.kind, text=claim.text, start=claim.start, end=claim.end, source=claim.source)
        for claim in found.claims
    ]
    return LetterResponse(model=model, letter=letter, claims=claims, invented=sum(not claim.source for claim in claims))
