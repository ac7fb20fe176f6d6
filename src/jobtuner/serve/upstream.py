"""The model's server, asked without waiting in a thread: for text, and for what is passed through."""

import logging
import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from jobtuner.completions import KEY_VARIABLE, base_url
from jobtuner.errors import DeployError
from jobtuner.serve.scorer import BusyError

if TYPE_CHECKING:
    import httpx

__all__ = ["Refused", "Upstream"]

_CONNECT_SECONDS = 5.0
_POOL_SECONDS = 2.0  # for a free connection; then the server is busy
_MOST_BYTES = 32 * 2**20  # of an answer that is read as a whole
_SHOWN = 500  # characters of a refusal
_LOG = logging.getLogger("jobtuner.serve")


class Refused(Exception):  # noqa: N818  # it is the server's answer
    """The server found fault with the request; the text is its own, for the client that sent it."""


class Upstream:
    """Requests to one OpenAI-compatible server; for one event loop.

    Nothing of a client's headers goes out but its request id, and nothing of the server's comes back but the body.

    Args:
        url: the server, with or without the final /v1.
        timeout: seconds between two pieces of an answer.
        connections: requests under way at once.
    """

    def __init__(self, url: str, *, timeout: float = 30.0, connections: int = 64) -> None:
        import httpx

        self.url = base_url(url)
        key = os.environ.get(KEY_VARIABLE)
        self._http = httpx.AsyncClient(
            base_url=self.url,
            headers={"Authorization": f"Bearer {key}"} if key else {},
            timeout=httpx.Timeout(timeout, connect=_CONNECT_SECONDS, pool=_POOL_SECONDS),
            limits=httpx.Limits(max_connections=connections, max_keepalive_connections=connections),
        )

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def post(self, path: str, body: Mapping[str, Any], request_id: str) -> bytes:
        """The whole answer, which is JSON.

        Raises:
            BusyError: the server is busy, or too many requests wait for it.
            DeployError: it cannot be reached, fails, or answers with something else.
            Refused: it found fault with the request.
        """
        async with self._answer(path, body, request_id, "application/json") as response:
            return await _whole(response, path)

    @asynccontextmanager
    async def stream(self, path: str, body: Mapping[str, Any], request_id: str) -> AsyncIterator[AsyncIterator[bytes]]:
        """The answer's pieces as they come: server-sent events.

        Raises:
            BusyError, DeployError, Refused: as `post`; DeployError from the pieces where the answer breaks off.
        """
        async with self._answer(path, body, request_id, "text/event-stream") as response:
            yield _pieces(response, path)

    @asynccontextmanager
    async def _answer(
        self, path: str, body: Mapping[str, Any], request_id: str, kind: str
    ) -> "AsyncIterator[httpx.Response]":
        import httpx

        request = self._http.build_request("POST", path.lstrip("/"), json=body, headers={"X-Request-Id": request_id})
        try:
            response = await self._http.send(request, stream=True)
        except httpx.PoolTimeout as error:
            raise BusyError(1) from error
        except httpx.TransportError as error:
            raise DeployError(f"{self.url}{path} did not answer: {type(error).__name__}") from error
        try:
            if response.status_code != 200:
                await self._complain(response, path)
            found = response.headers.get("content-type", "")
            if found.partition(";")[0].strip() != kind:
                raise DeployError(f"{self.url}{path} answered with another kind than {kind}")
            yield response
        finally:
            await response.aclose()

    async def _complain(self, response: "httpx.Response", path: str) -> None:
        status = response.status_code
        if status in {429, 503}:
            wait = response.headers.get("retry-after", "")
            raise BusyError(int(wait) if wait.isdigit() and len(wait) < 5 else 1)
        if status in {400, 404, 413, 422}:
            raise Refused(_message(await _whole(response, path)))
        raise DeployError(f"{self.url}{path} answered HTTP {status}")


async def _whole(response: "httpx.Response", path: str) -> bytes:
    parts, size = [], 0
    async for part in _pieces(response, path):
        size += len(part)
        if size > _MOST_BYTES:
            raise DeployError(f"{path} answered with more than {_MOST_BYTES} bytes")
        parts.append(part)
    return b"".join(parts)


async def _pieces(response: "httpx.Response", path: str) -> AsyncIterator[bytes]:
    import httpx

    try:
        async for part in response.aiter_bytes():
            yield part
    except httpx.TransportError as error:
        raise DeployError(f"{path} broke off: {type(error).__name__}") from error


def _message(answer: bytes) -> str:
    """What OpenAI-shaped errors say."""
    import json

    try:
        error = json.loads(answer)["error"]
        text = str(error["message"] if isinstance(error, dict) else error)
    except (ValueError, KeyError, TypeError):
        text = "The model's server refused the request without a reason."
    return text[:_SHOWN]
