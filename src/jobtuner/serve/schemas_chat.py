"""The part of OpenAI's chat and completion requests that is passed through.

An allow-list: no images or tools (a model server would fetch their URLs), no template of the client's own, nothing that
steers the server itself.
"""

import json
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field

from jobtuner.serve.schemas import Body

__all__ = ["ChatMessage", "ChatRequest", "CompletionRequest", "StreamOptions"]

_MAX_CHARS = 200_000
_MAX_TOKENS = 8192
_MAX_SCHEMA = 20_000  # characters: compiling a schema or grammar costs the server more than its length


def _small(value: dict[str, Any] | None) -> dict[str, Any] | None:
    if len(json.dumps(value)) > _MAX_SCHEMA:
        raise ValueError(f"is longer than {_MAX_SCHEMA} characters as JSON")
    return value


_Schema = Annotated[dict[str, Any] | None, AfterValidator(_small)]
_Text = Annotated[str, Field(max_length=_MAX_CHARS)]
_Stop = Annotated[str, Field(min_length=1, max_length=100)]


class ChatMessage(Body):
    """One turn."""

    role: Literal["system", "user", "assistant"]
    content: _Text


class StreamOptions(Body):
    """What else a stream says."""

    include_usage: bool = False


class _Generation(Body):
    """What both kinds of request have."""

    model: str = Field(min_length=1, max_length=256)
    max_tokens: int | None = Field(default=None, ge=1, le=_MAX_TOKENS)
    temperature: float | None = Field(default=None, ge=0.0, le=2.0)
    top_p: float | None = Field(default=None, gt=0.0, le=1.0)
    n: int | None = Field(default=None, ge=1, le=4)
    stop: _Stop | Annotated[list[_Stop], Field(min_length=1, max_length=4)] | None = None
    seed: int | None = Field(default=None, ge=0, lt=2**31)
    presence_penalty: float | None = Field(default=None, ge=-2.0, le=2.0)
    frequency_penalty: float | None = Field(default=None, ge=-2.0, le=2.0)
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    structured_outputs: _Schema = Field(default=None, description="vLLM's: choice, json, regex or grammar.")

    def forwarded(self) -> bytes:
        """What goes to the server, as JSON: what was set."""
        return self.model_dump_json(exclude_none=True, exclude_unset=True).encode()


class ChatRequest(_Generation):
    """A chat."""

    messages: list[ChatMessage] = Field(min_length=1, max_length=64)
    max_completion_tokens: int | None = Field(default=None, ge=1, le=_MAX_TOKENS)
    logprobs: bool | None = None
    top_logprobs: int | None = Field(default=None, ge=0, le=20)
    response_format: _Schema = None


class CompletionRequest(_Generation):
    """A text to be continued."""

    prompt: Annotated[str, Field(min_length=1, max_length=_MAX_CHARS)]
    logprobs: int | None = Field(default=None, ge=0, le=20)
