"""ASGI middleware: request ids, a log line and counters a request, API keys, bounded bodies."""

import asyncio
import logging
import math
import re
import threading
import time
import traceback
import uuid
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from jobtuner.serve.errors import error_response
from jobtuner.serve.keys import KeyRing
from jobtuner.serve.metrics import Metrics

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

__all__ = ["BodyLimit", "KeyCheck", "RequestLog"]

_LOG = logging.getLogger("jobtuner.serve")
_SANE_ID = re.compile(rb"[A-Za-z0-9._-]{1,64}")
_PROBES = frozenset({"/health", "/ready"})
_INSIDE = _PROBES | {"/metrics"}  # for the cluster's own probes and scrapes, which carry no key: no proxy routes them


class RequestLog:
    """Outermost layer: gives each request an id, logs and counts it, and turns a crash into a bare 500.

    Args:
        app: the application inside.
        paths: the known paths. Others are logged as "other": they may hold anything, an ad's text included.
        metrics: counts the requests.
        stopping: when set, answers ask the client to come back by another connection, since this one will be closed.
    """

    def __init__(self, app: "ASGIApp", paths: frozenset[str], metrics: Metrics, stopping: threading.Event) -> None:
        self._app, self._paths, self._metrics, self._stopping = app, paths, metrics, stopping

    async def __call__(self, scope: "Scope", receive: "Receive", send: "Send") -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        state: dict[str, Any] = scope.setdefault("state", {})
        state["request_id"] = request_id = _request_id(scope)
        started, status = time.monotonic(), 0
        self._metrics.opened()

        async def send_with_id(message: "Message") -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message.get("headers", []), (b"x-request-id", request_id.encode())]
                if self._stopping.is_set():
                    message["headers"].append((b"connection", b"close"))
            await send(message)

        try:
            await self._app(scope, receive, send_with_id)
        except Exception as error:  # noqa: BLE001  # the last resort: no exception text reaches a client or the log
            _LOG.error("crash", extra={"fields": {"request_id": request_id, **_where(error)}})
            if status == 0:
                message = "The endpoint failed. Its log names the cause under this request id."
                await error_response(500, "internal", message, request_id)(scope, receive, send_with_id)
        finally:
            self._note(scope, status, time.monotonic() - started)

    def _note(self, scope: "Scope", status: int, seconds: float) -> None:
        template = getattr(scope.get("route"), "path", scope["path"])
        path = template if template in self._paths else "other"
        self._metrics.closed(path, status, seconds, scope["state"].get("key", ""))
        if path in _INSIDE and status < 400:
            return  # a probe every second would drown the rest
        fields = {"method": scope["method"], "path": path, "status": status, "seconds": round(seconds, 4)}
        _LOG.info("request", extra={"fields": {**fields, **scope["state"]}})


def _request_id(scope: "Scope") -> str:
    for name, value in scope["headers"]:
        if name == b"x-request-id" and _SANE_ID.fullmatch(value):
            return str(value.decode("ascii"))
    return uuid.uuid4().hex


def _where(error: Exception) -> dict[str, Any]:
    """Kind and place of an exception. Not its message, which may quote the ad."""
    frames = traceback.extract_tb(error.__traceback__)[-8:]
    return {
        "error": type(error).__name__,
        "frames": [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames],
    }


class KeyCheck:
    """Lets in who has a key, no more often than the key allows.

    Args:
        app: the application inside.
        ring: the keys.
    """

    def __init__(self, app: "ASGIApp", ring: KeyRing) -> None:
        self._app, self._ring = app, ring

    async def __call__(self, scope: "Scope", receive: "Receive", send: "Send") -> None:
        """Serve one request, or refuse it unread."""
        if scope["type"] != "http" or scope["path"] in _INSIDE:
            await self._app(scope, receive, send)
            return
        request_id = scope["state"]["request_id"]
        key = self._ring.owner(_bearer(scope))
        if key is None:
            message = "A valid API key is needed, in the header 'Authorization: Bearer KEY'."
            response = error_response(401, "unauthorized", message, request_id, {"WWW-Authenticate": "Bearer"})
            await response(scope, receive, send)
            return
        scope["state"]["key"] = key.name
        seconds = math.ceil(self._ring.wait(key))
        if seconds:
            message = f"This key may ask {key.per_minute:g} times a minute. Retry after {seconds} s."
            response = error_response(429, "rate_limited", message, request_id, {"Retry-After": str(seconds)})
            await response(scope, receive, send)
        else:
            await self._app(scope, receive, send)


def _bearer(scope: "Scope") -> str:
    """The key that the request carries; empty where it carries none, or several."""
    values = [value for name, value in scope["headers"] if name == b"authorization"]
    if len(values) != 1:
        return ""
    scheme, _, secret = values[0].decode("latin-1").partition(" ")
    return secret.strip() if scheme.lower() == "bearer" else ""


class BodyLimit:
    """Bounds what requests can hold of the memory: bytes a body, seconds to send it, requests at once.

    Args:
        app: the application inside.
        max_bytes: a longer body gets 413.
        held_bytes: of all bodies that are read or answered; the request that goes beyond gets 429.
        max_seconds: a body that is not there after this time gets 408.
        max_open: requests beyond this number get 429, unread.
        full: by path, the seconds after which to come back, or 0 where there is room. What would be refused anyhow is
            refused unread: under ten times too much load, reading it would take the time that the accepted ones need.
    """

    def __init__(
        self,
        app: "ASGIApp",
        max_bytes: int,
        held_bytes: int,
        max_seconds: float,
        max_open: int,
        full: Mapping[str, Callable[[], int]],
    ) -> None:
        self._app, self._full = app, full
        self._max_bytes, self._held_bytes = max_bytes, held_bytes
        self._max_seconds, self._max_open = max_seconds, max_open
        self._open = self._held = 0

    async def __call__(self, scope: "Scope", receive: "Receive", send: "Send") -> None:
        """Serve one request, or refuse it."""
        if scope["type"] != "http" or scope["path"] in _INSIDE:
            await self._app(scope, receive, send)
        elif seconds := self._wait(scope["path"]):
            message = f"Too many requests are under way. Retry after {seconds} s."
            headers = {"Retry-After": str(seconds)}
            await error_response(429, "overloaded", message, scope["state"]["request_id"], headers)(
                scope, receive, send
            )
        else:
            self._open += 1
            mine = [0]
            try:
                await self._app(scope, self._bounded(scope, receive, mine), send)
            finally:
                self._open -= 1
                self._held -= mine[0]

    def _wait(self, path: str) -> int:
        if self._open >= self._max_open:
            return 1
        return self._full[path]() if path in self._full else 0

    def _bounded(self, scope: "Scope", receive: "Receive", mine: list[int]) -> "Receive":
        """`receive` within the limits; counts the bytes read into `mine`."""
        from fastapi import HTTPException

        too_large = HTTPException(413, f"The body is too large; {self._max_bytes} bytes are accepted. Send fewer ads.")
        full = HTTPException(429, "Too much is being sent at once. Retry after a second.", {"Retry-After": "1"})
        late = HTTPException(408, f"The body did not arrive within {self._max_seconds:g} s.")
        deadline = time.monotonic() + self._max_seconds
        declared, complete = _declared_length(scope), False

        async def bounded() -> "Message":
            nonlocal complete
            if complete:
                return await receive()  # nothing but the disconnect is to come
            if declared > self._max_bytes:
                raise too_large
            try:
                async with asyncio.timeout(deadline - time.monotonic()):
                    message = await receive()
            except TimeoutError as error:
                raise late from error
            size = len(message.get("body", b""))
            mine[0] += size
            self._held += size
            if mine[0] > self._max_bytes:
                raise too_large
            if self._held > self._held_bytes:
                raise full
            complete = not message.get("more_body", False)
            return message

        return bounded


def _declared_length(scope: "Scope") -> int:
    values = [value for name, value in scope["headers"] if name == b"content-length" and value.isdigit()]
    # Twenty digits suffice to see that it is too long; int() of thousands of digits raises.
    return max((int(value[:20]) for value in values), default=0)
