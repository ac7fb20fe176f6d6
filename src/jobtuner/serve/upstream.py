"""The model's server, asked without waiting in a thread: for text, and for what is passed through.

By aiohttp: httpx looks at every connection of its pool for every request, which at 64 at once costs it 15 ms each.
"""

import asyncio
import json
import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from jobtuner.completions import KEY_VARIABLE, base_url
from jobtuner.errors import DeployError
from jobtuner.serve.scorer import BusyError

if TYPE_CHECKING:
    import aiohttp

__all__ = ["Refused", "Upstream"]

_CONNECT_SECONDS = 5.0
_WAIT_SECONDS = 2.0  # for a free place; then the server is busy
_MOST_BYTES = 32 * 2**20  # of an answer that is read as a whole
_SHOWN = 500  # characters of a refusal


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
        import aiohttp  # now, and not in the first request

        self.url = base_url(url)
        key = os.environ.get(KEY_VARIABLE)
        self._headers = {"Authorization": f"Bearer {key}"} if key else {}
        self._timeout, self._places = timeout, asyncio.Semaphore(connections)
        self._session: aiohttp.ClientSession | None = None

    async def close(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()

    def _http(self) -> "aiohttp.ClientSession":
        """Made with the first request, since it belongs to a running event loop."""
        import aiohttp

        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0),  # `_places` is the limit
                cookie_jar=aiohttp.DummyCookieJar(),
                headers=self._headers,
                timeout=aiohttp.ClientTimeout(sock_connect=_CONNECT_SECONDS, sock_read=self._timeout),
            )
        return self._session

    async def post(self, path: str, body: Mapping[str, Any] | bytes, request_id: str) -> bytes:
        """The whole answer, which is JSON.

        Args:
            path: below /v1.
            body: a JSON value, or its text.
            request_id: goes along.

        Raises:
            BusyError: the server is busy, or too many requests wait for it.
            DeployError: it cannot be reached, fails, or answers with something else.
            Refused: it found fault with the request.
        """
        async with self._answer(path, body, request_id, "application/json") as response:
            return await _whole(response, path)

    @asynccontextmanager
    async def stream(
        self, path: str, body: Mapping[str, Any] | bytes, request_id: str
    ) -> AsyncIterator[AsyncIterator[bytes]]:
        """The answer's pieces as they come: server-sent events.

        Raises:
            BusyError, DeployError, Refused: as `post`; DeployError from the pieces where the answer breaks off.
        """
        async with self._answer(path, body, request_id, "text/event-stream") as response:
            yield _pieces(response, path)

    @asynccontextmanager
    async def _answer(
        self, path: str, body: Mapping[str, Any] | bytes, request_id: str, kind: str
    ) -> "AsyncIterator[aiohttp.ClientResponse]":
        import aiohttp

        await self._place()
        try:
            try:
                response = await self._http().post(
                    self.url + path,
                    data=body if isinstance(body, bytes) else json.dumps(body).encode(),
                    headers={"X-Request-Id": request_id, "Content-Type": "application/json"},
                    allow_redirects=False,
                )
            except (aiohttp.ClientError, TimeoutError, OSError) as error:
                raise DeployError(f"{self.url}{path} did not answer: {type(error).__name__}") from error
            async with response:
                if response.status != 200:
                    await self._complain(response, path)
                if response.content_type != kind:
                    raise DeployError(f"{self.url}{path} answered with another kind than {kind}")
                yield response
        finally:
            self._places.release()

    async def _place(self) -> None:
        if not self._places.locked():  # the usual case; waiting with a limit of time costs a task, 0.1 ms
            await self._places.acquire()
            return
        try:
            await asyncio.wait_for(self._places.acquire(), _WAIT_SECONDS)
        except TimeoutError as error:
            raise BusyError(1) from error

    async def _complain(self, response: "aiohttp.ClientResponse", path: str) -> None:
        status = response.status
        if status in {429, 503}:
            wait = response.headers.get("Retry-After", "")
            raise BusyError(int(wait) if wait.isdigit() and len(wait) < 5 else 1)
        if status in {400, 404, 413, 422}:
            raise Refused(_message(await _whole(response, path)))
        raise DeployError(f"{self.url}{path} answered HTTP {status}")


async def _whole(response: "aiohttp.ClientResponse", path: str) -> bytes:
    parts, size = [], 0
    async for part in _pieces(response, path):
        size += len(part)
        if size > _MOST_BYTES:
            raise DeployError(f"{path} answered with more than {_MOST_BYTES} bytes")
        parts.append(part)
    return b"".join(parts)


async def _pieces(response: "aiohttp.ClientResponse", path: str) -> AsyncIterator[bytes]:
    import aiohttp

    try:
        async for part in response.content.iter_any():
            yield part
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        raise DeployError(f"{path} broke off: {type(error).__name__}") from error


def _message(answer: bytes) -> str:
    """What OpenAI-shaped errors say."""
    try:
        error = json.loads(answer)["error"]
        text = str(error["message"] if isinstance(error, dict) else error)
    except (ValueError, KeyError, TypeError):
        text = "The model's server refused the request without a reason."
    return text[:_SHOWN]
