"""A gateway around a keyword classifier with its page, and the paths that only a fine-tuned model gives."""

import asyncio
import json
import re
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jobtuner.serve.gateway import create_app
from jobtuner.serve.keys import KeyRing
from jobtuner.serve.page.mount import add_page
from tests.unit.serve.fakes import TAXONOMY, WORDS, KeywordClassifier

if TYPE_CHECKING:
    from fastapi import FastAPI

LETTER = "Dear team,\n\nI apply as a nurse. I know triage, and I worked at Acme.\n\nAda"
"""What the fake writes, whatever it is asked; Acme is its invention."""


def gateway(*, keys: Path | None = None, more: bool = True) -> "FastAPI":
    """The gateway with its page.

    Args:
        keys: file of API keys.
        more: whether it offers skills and letters too.
    """
    ring = None if keys is None else KeyRing(keys)
    app = create_app(KeywordClassifier(), keys=ring)
    if more:
        _add_skills(app)
        _add_letters(app)
    add_page(app, TAXONOMY.languages, keys=ring is not None)
    return app


def _add_skills(app: "FastAPI") -> None:
    known = sorted(word for words in WORDS.values() for word in words)

    @app.post("/v1/skills")
    async def skills(body: dict[str, Any]) -> dict[str, Any]:
        text = body["ads"][0]["text"]
        found = re.finditer(rf"\b({'|'.join(known)})\b", text, re.IGNORECASE)
        return {"results": [{"skills": [{"text": hit[0], "start": hit.start(), "end": hit.end()} for hit in found]}]}


def _add_letters(app: "FastAPI") -> None:
    from starlette.responses import StreamingResponse

    @app.post("/v1/cover-letters")
    async def letters(body: dict[str, Any]) -> StreamingResponse:
        return StreamingResponse(_events(body), media_type="text/event-stream")


async def _events(body: dict[str, Any]) -> AsyncIterator[str]:
    for word in re.findall(r"\S+\s*", LETTER):
        await asyncio.sleep(0.02)
        yield f"data: {json.dumps({'text': word})}\n\n"
    claims = [_claim("skill", "triage", body["applicant"]["skills"]), _claim("employer", "Acme", [])]
    yield f"data: {json.dumps({'letter': LETTER, 'claims': claims})}\n\n"


def _claim(kind: str, text: str, said: list[str]) -> dict[str, Any]:
    start = LETTER.index(text)
    source = "applicant" if text in said else ""
    return {"kind": kind, "text": text, "start": start, "end": start + len(text), "source": source}


def main(address: Path, keys: Path | None) -> None:
    """Serve it on a free port and write the URL into a file: `python -m tests.unit.serve.page_fakes FILE [KEYS]`."""
    import socket

    import uvicorn

    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    app = gateway(keys=keys)
    listener.listen()
    temporary = address.with_suffix(".part")
    temporary.write_text(f"http://127.0.0.1:{listener.getsockname()[1]}", encoding="utf-8")
    temporary.replace(address)
    uvicorn.Server(uvicorn.Config(app, lifespan="on", ws="none", log_level="warning")).run(sockets=[listener])


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]) if len(sys.argv) > 2 else None)
