"""A gateway around a keyword classifier, with its page and with a model that answers in text."""

import asyncio
import json
import re
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jobtuner.prediction_log.writer import LogSettings, PredictionLog
from jobtuner.records import Message
from jobtuner.serve.gateway import Texts, create_app
from jobtuner.serve.keys import KeyRing
from jobtuner.serve.page.mount import add_page
from tests.unit.prediction_log.samples import answer
from tests.unit.serve.fakes import TAXONOMY, WORDS, KeywordClassifier

if TYPE_CHECKING:
    from fastapi import FastAPI

LETTER = "Dear team,\n\nI have experience in triage, and I worked at Acme for years.\n\nAda"
"""What the writer writes, whatever it is asked; Acme is its invention."""


class KeywordWriter:
    """Lists the words that it knows as skills, and writes one letter, word by word."""

    name = "words/1"

    async def write(
        self, chat: Sequence[Message], *, max_tokens: int, schema: Mapping[str, Any] | None, request_id: str
    ) -> str:
        known = {word for words in WORDS.values() for word in words}
        return json.dumps([word for word in re.findall(r"\w+", chat[-1]["content"].lower()) if word in known])

    async def stream(self, chat: Sequence[Message], *, max_tokens: int, request_id: str) -> AsyncIterator[str]:
        for word in re.findall(r"\S+\s*", LETTER):
            await asyncio.sleep(0.02)
            yield word


def gateway(*, keys: Path | None = None, texts: bool = True, review: str | None = None) -> "FastAPI":
    """The gateway with its page.

    Args:
        keys: file of API keys.
        review: prediction log that the page shows.
        texts: whether it offers skills and letters too.
    """
    ring = None if keys is None else KeyRing(keys)
    writer = KeywordWriter()
    offered = Texts(skills=writer, letters=writer) if texts else None
    app = create_app(KeywordClassifier(), keys=ring, texts=offered, review=review)
    add_page(app, TAXONOMY, keys=ring is not None)
    return app


def main(address: Path, keys: Path | None) -> None:
    """Serve it on a free port and write the URL into a file: `python -m tests.unit.serve.page_fakes FILE [KEYS]`."""
    import socket

    import uvicorn

    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    log = PredictionLog(str(address.with_suffix(".log")), LogSettings(keep_text=True))
    top = [("5120", 0.4), ("2221", 0.3)]
    log.offer([answer(n, label="5120", probability=0.1 + n / 20, top=top, time=datetime.now(UTC)) for n in range(8)])
    log.close()
    app = gateway(keys=keys, review=str(address.with_suffix(".log")))
    listener.listen()
    temporary = address.with_suffix(".part")
    temporary.write_text(f"http://127.0.0.1:{listener.getsockname()[1]}", encoding="utf-8")
    temporary.replace(address)
    uvicorn.Server(uvicorn.Config(app, lifespan="on", ws="none", log_level="warning")).run(sockets=[listener])


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]) if len(sys.argv) > 2 else None)
