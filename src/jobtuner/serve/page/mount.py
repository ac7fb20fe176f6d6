"""Where the page hangs in the gateway: a few paths in front of it, and nothing else of the framework to be reached.

Gradio brings some ninety paths: uploads, files, a proxy, code editing, monitoring. The page needs those below; all
others go on to the gateway, which does not know them.
"""

import logging
import re
import threading
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from jobtuner.errors import ConfigError
from jobtuner.serve.errors import error_response
from jobtuner.serve.middleware import BodyLimit

if TYPE_CHECKING:
    from fastapi import FastAPI
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from jobtuner.taxonomy import Taxonomy

__all__ = ["PageFront", "add_page", "available", "owns"]

_OURS = re.compile(r"/|/(theme\.css|favicon\.ico)|/(assets|static)/[\w./@-]+|/gradio_api/queue/(join|data)")
_MAX_BODY = 2**20  # bytes: an ad of 20,000 characters at 6 bytes each, and the letter's fields
_MAX_OPEN = 256  # visitors whose answer is under way; the endpoint's own limits hold for what they ask
_EXTERNAL = re.compile(rb"[ \t]*<meta\s[^>]*https?://[^>]*>\s*")
_LOG = logging.getLogger("jobtuner.serve")

# The browser itself refuses whatever would leave this host. Gradio builds its parts by script, hence "unsafe".
_POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; font-src 'self' data:; connect-src 'self'; base-uri 'self'; form-action 'self'; "
    "frame-ancestors 'self'"
)
_HEADERS = [
    (b"content-security-policy", _POLICY.encode()),
    (b"referrer-policy", b"no-referrer"),
    (b"x-content-type-options", b"nosniff"),
]


def available() -> bool:
    """Whether Gradio is installed."""
    return find_spec("gradio") is not None


def owns(path: str) -> bool:
    """Whether a path is the page's."""
    return ".." not in path and _OURS.fullmatch(path) is not None


def add_page(app: "FastAPI", taxonomy: "Taxonomy", *, keys: bool) -> None:
    """Hang the page into the gateway, at "/". To be called when the gateway has all its paths and layers.

    Args:
        app: the gateway.
        taxonomy: the model's, for the languages of its titles and the codes of corrections.
        keys: whether the gateway asks for an API key; the page then asks for it too.

    Raises:
        ConfigError: Gradio is not installed.
    """
    if not available():
        raise ConfigError("The web page needs Gradio: pip install gradio, or serve without it by --no-page.")
    import gradio
    from fastapi import FastAPI

    from jobtuner.serve.page.blocks import build
    from jobtuner.serve.page.client import Gateway
    from jobtuner.serve.page.occupation_tab import language_of
    from jobtuner.serve.page.theme import look

    offered = frozenset(app.openapi()["paths"])
    app.openapi_schema = None  # paths that are added later shall be told too
    page = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    gradio.mount_gradio_app(
        page,
        build(Gateway(app), offered, taxonomy, keys=keys),
        path="/",
        footer_links=[],
        run_history=False,
        show_error=False,
        ssr_mode=False,
        pwa=False,
        mcp_server=False,
        enable_monitoring=False,
        max_file_size=0,
        **look(),
    )
    before = app.router.lifespan_context

    @asynccontextmanager
    async def both(whole: "FastAPI") -> AsyncIterator[Any]:
        # The first visitor shall not wait for the words of two dozen languages, some seconds and 0.5 GB of them.
        threading.Thread(target=language_of, args=("a", tuple(taxonomy.languages)), daemon=True).start()
        async with before(whole) as state, page.router.lifespan_context(page):
            yield state

    app.router.lifespan_context = both
    app.add_middleware(PageFront, page=page)


class PageFront:
    """Outermost layer: the page's paths go to the page, all others to the gateway.

    Args:
        app: the gateway.
        page: the page.
    """

    def __init__(self, app: "ASGIApp", page: "ASGIApp") -> None:
        self._app = app
        self._page = BodyLimit(
            page, max_bytes=_MAX_BODY, held_bytes=_MAX_OPEN * _MAX_BODY, max_seconds=30.0, max_open=_MAX_OPEN, full={}
        )

    async def __call__(self, scope: "Scope", receive: "Receive", send: "Send") -> None:
        """Serve one request."""
        if scope["type"] != "http" or not owns(scope["path"]):
            await self._app(scope, receive, send)
            return
        request_id, whole = uuid.uuid4().hex, scope["path"] == "/"
        scope.setdefault("state", {})["request_id"] = request_id
        if whole:  # it is read and changed on its way: nothing may compress it before
            scope["headers"] = [item for item in scope["headers"] if item[0] != b"accept-encoding"]
        answer = _Answer(send, whole=whole)
        try:
            await self._page(scope, receive, answer.send)
        except Exception as error:  # noqa: BLE001  # as in RequestLog: the text of an exception may quote an ad
            _LOG.error(
                "crash", extra={"fields": {"request_id": request_id, "path": "page", "error": type(error).__name__}}
            )
            if not answer.started:
                await error_response(500, "internal", "The page failed.", request_id)(scope, receive, send)


class _Answer:
    """Adds our headers; the page itself is held back until it is whole, and loses its links to other hosts."""

    def __init__(self, send: "Send", *, whole: bool) -> None:
        self._send, self._whole = send, whole
        self._head: Message = {}
        self._body = b""
        self.started = False
        """Whether anything was sent."""

    async def send(self, message: "Message") -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [*message.get("headers", []), *_HEADERS]
            if self._whole:
                self._head = message
                return
        elif self._whole and message["type"] == "http.response.body":
            self._body += message.get("body", b"")
            if message.get("more_body", False):
                return
            body = _EXTERNAL.sub(b"", self._body)
            headers = [(name, value) for name, value in self._head["headers"] if name.lower() != b"content-length"]
            self._head["headers"] = [*headers, (b"content-length", str(len(body)).encode())]
            message = {**message, "body": body}
            self.started = True
            await self._send(self._head)
        self.started = True
        await self._send(message)
