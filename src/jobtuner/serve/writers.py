"""Models that answer in text: for skills and cover letters."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol, TypeVar

from jobtuner.errors import DeployError
from jobtuner.generation import LocalWriter, Sampling
from jobtuner.records import Message
from jobtuner.serve.scorer import BusyError
from jobtuner.serve.upstream import Upstream

__all__ = ["RemoteWriter", "ThreadWriter", "Writer"]

_Result = TypeVar("_Result")
_MOST_WAITING = 8  # chats that a model on this machine may have before it; each takes seconds
_RETRY_SECONDS = 10


class Writer(Protocol):
    """Continues a chat."""

    @property
    def name(self) -> str:
        """Name of the model, for answers."""

    async def write(
        self, chat: Sequence[Message], *, max_tokens: int, schema: Mapping[str, Any] | None, request_id: str
    ) -> str:
        """The whole answer, the likeliest token at each step; JSON of the schema where one is given."""

    def stream(self, chat: Sequence[Message], *, max_tokens: int, request_id: str) -> AsyncIterator[str]:
        """The answer in pieces, as it is written."""


class RemoteWriter:
    """A model of an OpenAI-compatible server.

    Args:
        upstream: the server.
        name: its name for the model, or for the adapter.
    """

    def __init__(self, upstream: Upstream, name: str) -> None:
        self._upstream, self.name = upstream, name

    async def write(
        self, chat: Sequence[Message], *, max_tokens: int, schema: Mapping[str, Any] | None, request_id: str
    ) -> str:
        """As `Writer.write`.

        Raises:
            DeployError: the server does not answer, or not as it should.
            Refused: it found fault with the request.
        """
        body = self._body(chat, max_tokens)
        if schema is not None:
            body["structured_outputs"] = {"json": schema}
        answer = await self._upstream.post("/chat/completions", body, request_id)
        try:
            return str(json.loads(answer)["choices"][0]["message"]["content"] or "")
        except (ValueError, KeyError, TypeError, IndexError) as error:
            raise DeployError(f"{self._upstream.url} answered with no chat completion") from error

    async def stream(self, chat: Sequence[Message], *, max_tokens: int, request_id: str) -> AsyncIterator[str]:
        """As `Writer.stream`; raises as `write`."""
        body = {**self._body(chat, max_tokens), "stream": True}
        async with self._upstream.stream("/chat/completions", body, request_id) as pieces:
            async for event in _events(pieces):
                try:
                    yield str(event["choices"][0]["delta"].get("content") or "")
                except (KeyError, TypeError, IndexError, AttributeError) as error:
                    raise DeployError(f"{self._upstream.url} streamed no chat completion") from error

    def _body(self, chat: Sequence[Message], max_tokens: int) -> dict[str, Any]:
        return {"model": self.name, "messages": list(chat), "max_tokens": max_tokens, "temperature": 0.0}


class ThreadWriter:
    """A model on this machine, in a thread of its own; one chat after the other.

    Args:
        writer: the model.
        name: for answers.
    """

    def __init__(self, writer: LocalWriter, name: str) -> None:
        self._writer, self.name = writer, name
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="writing")
        self._waiting = 0

    async def write(
        self,
        chat: Sequence[Message],
        *,
        max_tokens: int,
        schema: Mapping[str, Any] | None,  # noqa: ARG002  # nothing here constrains; what is no skill is left out later
        request_id: str,  # noqa: ARG002  # nobody to tell
    ) -> str:
        """As `Writer.write`, without the schema.

        Raises:
            BusyError: too many chats wait.
        """
        (answer,) = await self._in_thread(lambda: self._writer.answers([list(chat)], Sampling(max_tokens=max_tokens)))
        return answer

    async def stream(
        self,
        chat: Sequence[Message],
        *,
        max_tokens: int,
        request_id: str,  # noqa: ARG002
    ) -> AsyncIterator[str]:
        """As `Writer.stream`; a reader who leaves stops the model. Raises as `write`."""
        loop, pieces = asyncio.get_running_loop(), asyncio.Queue[str | None]()
        left = False

        def work() -> None:
            source = self._writer.stream(list(chat), Sampling(max_tokens=max_tokens))
            try:
                for piece in source:
                    if left:
                        break
                    loop.call_soon_threadsafe(pieces.put_nowait, piece)
            finally:
                loop.call_soon_threadsafe(pieces.put_nowait, None)

        working = asyncio.ensure_future(self._in_thread(work))
        try:
            while not working.done() or not pieces.empty():
                if (piece := await pieces.get()) is None:
                    break
                yield piece
            await working
        finally:
            left = True

    async def _in_thread(self, work: Callable[[], _Result]) -> _Result:
        if self._waiting >= _MOST_WAITING:
            raise BusyError(_RETRY_SECONDS)
        self._waiting += 1
        future = self._pool.submit(work)
        future.add_done_callback(lambda _: self._left())
        return await asyncio.wrap_future(future)

    def _left(self) -> None:
        self._waiting -= 1


async def _events(pieces: AsyncIterator[bytes]) -> AsyncIterator[Any]:
    """The JSON of each `data:` line, up to [DONE].

    Raises:
        DeployError: the stream ends before that, or a line is no JSON.
    """
    rest = b""
    async for piece in pieces:
        *lines, rest = (rest + piece).split(b"\n")
        for line in lines:
            data = line.strip().removeprefix(b"data:").strip() if line.startswith(b"data:") else b""
            if data == b"[DONE]":
                return
            if data:
                try:
                    yield json.loads(data)
                except ValueError as error:
                    raise DeployError("the model's server streamed no JSON") from error
    raise DeployError("the model's server broke off")
