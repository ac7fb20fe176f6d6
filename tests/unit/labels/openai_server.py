"""A small OpenAI-shaped server with behaviour: it answers from a real model and tokenizer, over real HTTP.

It does what vLLM 0.32 was seen to do: `logprob_token_ids` names the tokens whose log-probabilities over the whole
vocabulary come back; `structured_outputs: {"choice": [...]}` masks what no choice continues with, the log-probabilities
are those after the mask, and forbidden tokens have -9999. What it should misunderstand is switched off by its fields.
"""

import json
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import torch

__all__ = ["OpenAIServer"]

_FORBIDDEN = -9999.0


@dataclass
class OpenAIServer:
    model: Any
    tokenizer: Any
    served: list[str] = field(default_factory=lambda: ["occ"])
    key: str | None = None
    knows_token_ids: bool = True
    honours_choice: bool = True
    failures: list[tuple[int, dict[str, str]]] = field(default_factory=list)
    """Status and headers of the next answers, before it answers properly."""
    raw: bytes | None = None
    """Answered to everything, where given."""
    reply: Callable[[Any], str | None] | None = None
    """From the messages of a plain chat to its answer, in place of the model's."""
    delay: float = 0.0
    """Seconds that every answer takes at least."""
    requests: list[tuple[str, Any]] = field(default_factory=list)
    most_at_once: int = 0

    def __post_init__(self) -> None:
        self._model_lock, self._lock, self._now = threading.Lock(), threading.Lock(), 0
        self._texts: list[str] = []

    @contextmanager
    def running(self) -> Iterator[str]:
        """Serve on a free port of the loopback; gives the URL."""
        server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            server.server_close()
            thread.join()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        owner = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                owner._answer(self, None)

            def do_POST(self) -> None:
                owner._answer(self, json.loads(self.rfile.read(int(self.headers["content-length"]))))

            def log_message(self, *_: object) -> None:
                """Nothing: a test's output is its own."""

        return Handler

    def _answer(self, handler: BaseHTTPRequestHandler, body: Any) -> None:
        with self._lock:
            self._now += 1
            self.most_at_once = max(self.most_at_once, self._now)
            self.requests.append((handler.path, body))
            failure = self.failures.pop(0) if self.failures else None
        try:
            time.sleep(self.delay)
            status, headers, answer = self._decide(handler, body, failure)
            self._send(handler, status, headers, answer)
        finally:
            with self._lock:
                self._now -= 1

    def _decide(self, handler: Any, body: Any, failure: Any) -> tuple[int, dict[str, str], bytes]:
        if self.key and handler.headers.get("authorization") != f"Bearer {self.key}":
            return 401, {}, b'{"error": "unauthorized"}'
        if failure:
            return (*failure, b'{"error": "busy"}')
        if self.raw is not None:
            return 200, {}, self.raw
        ways = {"/v1/models": self._models, "/v1/completions": self._complete, "/v1/chat/completions": self._chat}
        return 200, {}, json.dumps(ways[handler.path](body)).encode()

    @staticmethod
    def _send(handler: BaseHTTPRequestHandler, status: int, headers: dict[str, str], answer: bytes) -> None:
        try:
            handler.send_response(status)
            for name, value in {**headers, "content-length": str(len(answer))}.items():
                handler.send_header(name, value)
            handler.end_headers()
            handler.wfile.write(answer)
        except (BrokenPipeError, ConnectionResetError):
            handler.close_connection = True  # the client did not wait

    def _models(self, _: Any) -> Any:
        return {"object": "list", "data": [{"id": name} for name in self.served]}

    def _next(self, ids: Sequence[int]) -> torch.Tensor:
        with self._model_lock, torch.no_grad():
            logits: torch.Tensor = self.model(torch.tensor([list(ids)])).logits[0, -1].float()
        return logits

    def _complete(self, body: Any) -> Any:
        choices = []
        for index, prompt in enumerate(body["prompt"]):
            scores = self._next(prompt).log_softmax(0)
            best = int(scores.argmax())
            named = [best, *(body["logprob_token_ids"] if self.knows_token_ids else [])]
            top = {f"token_id:{token}": float(scores[token]) for token in named}
            choices.append({"index": index, "text": self.tokenizer.decode([best]), "logprobs": {"top_logprobs": [top]}})
        return {"choices": choices[::-1]}  # the order is nobody's promise; `index` is

    def _chat(self, body: Any) -> Any:
        ids = self.tokenizer.apply_chat_template(
            body["messages"], tokenize=True, add_generation_prompt=True, return_dict=False
        )
        if "structured_outputs" not in body:
            return self._written(body, ids)
        choices, text, content = body["structured_outputs"]["choice"], "", []
        for _ in range(body["max_tokens"]):
            logits = self._next(ids)
            if self.honours_choice:
                logits[~self._allowed(choices, text)] = -float("inf")
            scores = logits.log_softmax(0)
            order = scores.argsort(descending=True)[: body["top_logprobs"]].tolist()
            content.append({**self._named(order[0], scores), "top_logprobs": [self._named(t, scores) for t in order]})
            if order[0] == self.tokenizer.eos_token_id:
                break
            ids = [*ids, order[0]]
            text += self.tokenizer.decode([order[0]])
        return {"choices": [{"index": 0, "message": {"content": text}, "logprobs": {"content": content}}]}

    def _written(self, body: Any, ids: list[int]) -> Any:
        """A plain answer: the likeliest tokens, unless the replies are given."""
        if self.reply is not None:
            return {"choices": [{"index": 0, "message": {"content": self.reply(body["messages"])}}]}
        written: list[int] = []
        while len(written) < body["max_tokens"]:
            token = int(self._next([*ids, *written]).argmax())
            if token == self.tokenizer.eos_token_id:
                break
            written.append(token)
        text = self.tokenizer.decode(written, skip_special_tokens=True, clean_up_tokenization_spaces=False)
        return {"choices": [{"index": 0, "message": {"content": text}}]}

    def _named(self, token: int, scores: torch.Tensor) -> dict[str, Any]:
        value = float(scores[token])
        return {"token": self._pieces()[token], "logprob": value if value > _FORBIDDEN else _FORBIDDEN}

    def _pieces(self) -> list[str]:
        """The text of every token; ids that the tokenizer does not have are no text of anything."""
        if not self._texts:
            width = self.model.config.vocab_size
            self._texts = [self.tokenizer.decode([token]) or f"<unused {token}>" for token in range(width)]
        return self._texts

    def _allowed(self, choices: list[str], text: str) -> torch.Tensor:
        allowed = [any(choice.startswith(text + piece) for choice in choices) for piece in self._pieces()]
        allowed[self.tokenizer.eos_token_id] = text in choices
        return torch.tensor(allowed)
