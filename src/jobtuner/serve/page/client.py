"""The page's client: the gateway's own HTTP interface, asked inside the process, with answers that may stream."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from typing import TYPE_CHECKING, Any

import httpx

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message

__all__ = ["Gateway", "InProcess", "RefusedError"]

_NOT_REACHED = "The endpoint did not answer. Try again in a moment."


class RefusedError(Exception):
    """The gateway refused or failed; the text is meant for the person at the page."""

    def __init__(self, message: str, status: int = 0) -> None:
        super().__init__(message)
        self.status = status
        """HTTP status; 0 where there was no answer."""


class _Stream(httpx.AsyncByteStream):
    """The body of an answer, piece by piece as the application sends it; closing it tells the application."""

    def __init__(self, messages: "asyncio.Queue[Message]", work: "asyncio.Task[None]") -> None:
        self._messages, self._work = messages, work

    async def __aiter__(self) -> AsyncIterator[bytes]:
        more = True
        while more:
            message = await self._messages.get()
            if message["type"] == "broken":
                raise httpx.RemoteProtocolError("the application failed within its answer")
            yield message.get("body", b"")
            more = message.get("more_body", False)

    async def aclose(self) -> None:
        await _ended(self._work)


async def _ended(work: "asyncio.Task[None]") -> None:
    """Stop a task and take its exception in: one that nobody took is logged with its text, which may quote an ad."""
    work.cancel()
    await asyncio.gather(work, return_exceptions=True)


class InProcess(httpx.AsyncBaseTransport):
    """Calls an ASGI application; unlike `httpx.ASGITransport` it does not wait for the end of the body.

    Args:
        app: the application.
    """

    def __init__(self, app: "ASGIApp") -> None:
        self._app = app

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send one request; returns at the answer's head."""
        body = await request.aread()
        coming: asyncio.Queue[Message] = asyncio.Queue()
        coming.put_nowait({"type": "http.request", "body": body, "more_body": False})
        going: asyncio.Queue[Message] = asyncio.Queue()
        work = asyncio.create_task(self._serve(_scope(request), coming, going))
        try:
            head = await going.get()
        except asyncio.CancelledError:
            await _ended(work)
            raise
        if head["type"] == "broken":
            await _ended(work)
            raise httpx.RemoteProtocolError("the application failed before it answered", request=request)
        return httpx.Response(head["status"], headers=head.get("headers", []), stream=_Stream(going, work))

    async def _serve(
        self, scope: dict[str, Any], coming: "asyncio.Queue[Message]", going: "asyncio.Queue[Message]"
    ) -> None:
        try:
            await self._app(scope, coming.get, going.put)
        finally:
            going.put_nowait({"type": "broken"})  # nobody reads it after a whole answer


def _scope(request: httpx.Request) -> dict[str, Any]:
    return {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": request.method,
        "headers": [(name.lower(), value) for name, value in request.headers.raw],
        "scheme": "http",
        "path": request.url.path,
        "raw_path": request.url.raw_path,
        "query_string": request.url.query,
        "server": ("page", None),
        "client": ("127.0.0.1", 0),
        "root_path": "",
        "state": {},
    }


class Gateway:
    """What the page asks of the gateway.

    Args:
        app: the gateway.
    """

    def __init__(self, app: "ASGIApp") -> None:
        # No timeout of the client's holds here: the gateway's own limits end what takes too long.
        self._client = httpx.AsyncClient(transport=InProcess(app), base_url="http://page")

    async def get(self, path: str, key: str = "") -> dict[str, Any]:
        """The JSON answer of a path.

        Raises:
            RefusedError: any other status than 200.
        """
        return await self._ask("GET", path, None, key)

    async def post(self, path: str, body: Mapping[str, Any], key: str = "") -> dict[str, Any]:
        """The JSON answer to a JSON body.

        Raises:
            RefusedError: any other status than 200.
        """
        return await self._ask("POST", path, body, key)

    async def _ask(self, method: str, path: str, body: Mapping[str, Any] | None, key: str) -> dict[str, Any]:
        try:
            response = await self._client.request(method, path, json=body, headers=_headers(key))
            answer = response.json()
        except (httpx.HTTPError, ValueError) as error:
            raise RefusedError(_NOT_REACHED) from error
        if response.status_code != 200:
            raise _refusal(response.status_code, answer)
        return dict(answer)

    async def events(self, path: str, body: Mapping[str, Any], key: str = "") -> AsyncIterator[dict[str, Any]]:
        """The server-sent events that answer a JSON body, each as the object in its data.

        Raises:
            RefusedError: any other status than 200.
        """
        try:
            async with self._client.stream("POST", path, json=body, headers=_headers(key)) as response:
                if response.status_code != 200:
                    await response.aread()
                    raise _refusal(response.status_code, response.json())
                async for line in response.aiter_lines():
                    if line.startswith("data:") and (data := line.removeprefix("data:").strip()) != "[DONE]":
                        yield json.loads(data)
        except (httpx.HTTPError, ValueError) as error:
            raise RefusedError(_NOT_REACHED) from error


def _headers(key: str) -> dict[str, str]:
    # A header holds visible ASCII alone; whatever else was pasted cannot be a key.
    sane = key.strip() if key.isascii() and key.strip().isprintable() else ""
    return {"authorization": f"Bearer {sane}"} if sane else {}


def _refusal(status: int, answer: Any) -> RefusedError:
    error = answer.get("error") if isinstance(answer, dict) else None
    message = error.get("message") if isinstance(error, dict) else None
    if status == 401:
        message = "This endpoint asks for an API key. Put yours into the field “API key” and try again."
    return RefusedError(str(message or _NOT_REACHED), status)
