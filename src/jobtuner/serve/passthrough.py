"""OpenAI-compatible paths by way of the gateway: keys, limits, counters and errors are ours, answers the server's."""

import json
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

from jobtuner.errors import DeployError
from jobtuner.serve.errors import errors
from jobtuner.serve.schemas_chat import ChatRequest, CompletionRequest
from jobtuner.serve.upstream import Upstream

if TYPE_CHECKING:
    from fastapi import FastAPI, Response

__all__ = ["add_passthrough"]

_END_BYTES = 32  # room for the last event, "data: [DONE]", and the empty lines behind it


def add_passthrough(app: "FastAPI", upstream: Upstream, models: frozenset[str], guarded: dict[str, Any]) -> None:
    """Add /v1/chat/completions and /v1/completions.

    Args:
        app: gets the paths.
        upstream: the server.
        models: names that may be asked for.
        guarded: what routes get where a key is needed.
    """
    from fastapi import Request, Response

    answers = {
        200: {"content": {"application/json": {}, "text/event-stream": {}}, "description": "As the server answers."},
        **errors(404, 408, 413, 422, 429, 500, 503, 504, guarded=bool(guarded)),
    }
    shape: dict[str, Any] = {"responses": answers, "response_model": None, "response_class": Response, **guarded}

    @app.post("/v1/chat/completions", summary="Chat, as OpenAI has it", **shape)
    async def chat(body: ChatRequest, request: Request) -> "Response":
        return await _pass(upstream, "/chat/completions", body, models, request.state.request_id)

    @app.post("/v1/completions", summary="Completion, as OpenAI has it", **shape)
    async def completions(body: CompletionRequest, request: Request) -> "Response":
        return await _pass(upstream, "/completions", body, models, request.state.request_id)


async def _pass(
    upstream: Upstream, path: str, body: ChatRequest | CompletionRequest, models: frozenset[str], request_id: str
) -> "Response":
    from fastapi import HTTPException, Response
    from fastapi.responses import StreamingResponse

    if body.model not in models:
        raise HTTPException(404, f"There is no such model. Those that may be asked for: {', '.join(sorted(models))}.")
    if not body.stream:
        answer = await upstream.post(path, body.forwarded(), request_id)
        return Response(answer, media_type="application/json")
    pieces = _relay(upstream, path, body.forwarded(), request_id)
    first = await anext(pieces, b"")  # what is wrong from the start has a status, not an event
    return StreamingResponse(_joined(first, pieces), media_type="text/event-stream")


async def _relay(upstream: Upstream, path: str, body: bytes, request_id: str) -> AsyncIterator[bytes]:
    """The pieces; where they break off, an event that says so, since the status is long sent."""
    end = b""
    async with upstream.stream(path, body, request_id) as pieces:
        try:
            async for piece in pieces:
                end = (end + piece)[-_END_BYTES:]
                yield piece
        except DeployError:
            if not end:
                raise
            end = b""
        if b"data: [DONE]" not in end:
            error = {"type": "upstream", "message": "The model's server broke off.", "request_id": request_id}
            yield f"data: {json.dumps({'error': error})}\n\n".encode()


async def _joined(first: bytes, rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield first
    async for piece in rest:
        yield piece
