"""A small OpenAI-shaped server that writes text, over real HTTP: what vLLM does with chats, streams and schemas.

It misbehaves by its fields.
"""

import json
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

__all__ = ["LETTER", "TextServer"]

LETTER = "Dear team, I worked five years at Nordhavn Clinic and have experience in wound care. I know SQL. Yours, Ann"


@dataclass
class TextServer:
    served: list[str] = field(default_factory=lambda: ["base", "skills", "letters"])
    key: str | None = None
    status: int = 200
    """Of every answer but the list of models."""
    retry_after: str = ""
    breaks_off: bool = False
    """Streams end in the middle."""
    nonsense: bytes | None = None
    """Answered with status 200 in place of a completion."""
    delay: float = 0.0
    requests: list[tuple[str, dict[str, str], Any]] = field(default_factory=list)

    @contextmanager
    def running(self) -> Iterator[str]:
        """Serve on a free port of the loopback; gives the URL."""
        owner = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                owner._json(self, 200, {"data": [{"id": name} for name in owner.served]})

            def do_POST(self) -> None:
                owner._answer(self, json.loads(self.rfile.read(int(self.headers["content-length"]))))

            def log_message(self, *_: object) -> None:
                """Nothing: a test's output is its own."""

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            server.server_close()
            thread.join()

    def _answer(self, handler: BaseHTTPRequestHandler, body: Any) -> None:
        self.requests.append((handler.path, {name.lower(): value for name, value in handler.headers.items()}, body))
        time.sleep(self.delay)
        if self.key and handler.headers.get("authorization") != f"Bearer {self.key}":
            self._json(handler, 401, {"error": "unauthorized"})
        elif self.status != 200:
            self._json(handler, self.status, {"error": {"message": "The prompt is too long: 9000 tokens."}})
        elif self.nonsense is not None:
            self._send(handler, 200, self.nonsense)
        elif body.get("stream"):
            self._stream(handler, self._text(body))
        else:
            text, kind = self._text(body), "chat.completion" if "messages" in body else "text_completion"
            choice = {"index": 0, "message": {"role": "assistant", "content": text}, "text": text}
            self._json(handler, 200, {"object": kind, "model": body["model"], "choices": [choice]})

    def _text(self, body: Any) -> str:
        """For a JSON schema the longer words of the ad and one that it does not have; else a letter."""
        if "json" in body.get("structured_outputs", {}):
            return json.dumps([*re.findall(r"\w{7,}", body["messages"][-1]["content"]), "Quantum chemistry"])
        return LETTER

    def _stream(self, handler: BaseHTTPRequestHandler, text: str) -> None:
        handler.send_response(200)
        handler.send_header("content-type", "text/event-stream; charset=utf-8")
        handler.send_header("connection", "close")
        handler.end_headers()
        pieces = re.findall(r"\S+\s*", text)
        for number, piece in enumerate(pieces):
            if self.breaks_off and number == len(pieces) // 2:
                handler.close_connection = True
                return
            event = {"choices": [{"index": 0, "delta": {"content": piece}}]}
            handler.wfile.write(f"data: {json.dumps(event)}\n\n".encode())
        handler.wfile.write(b"data: [DONE]\n\n")
        handler.close_connection = True

    def _json(self, handler: BaseHTTPRequestHandler, status: int, answer: Any) -> None:
        self._send(handler, status, json.dumps(answer).encode())

    def _send(self, handler: BaseHTTPRequestHandler, status: int, answer: bytes) -> None:
        handler.send_response(status)
        handler.send_header("content-type", "application/json")
        handler.send_header("content-length", str(len(answer)))
        handler.send_header("x-secret-of-the-server", "yes")
        if self.retry_after:
            handler.send_header("retry-after", self.retry_after)
        handler.end_headers()
        handler.wfile.write(answer)
