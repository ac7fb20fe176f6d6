"""Claim: the gateway keeps 0.95 of a model server's throughput and adds no more than 5 ms to the median answer.

Paired, one run: the same chat requests straight to the server and through `jobtuner serve`, in short turns that
alternate, at 1, 16 and 64 requests at once. Without --endpoint the server is a stand-in for vLLM that does nothing but
wait, as a GPU would be waited for: 100 ms an answer, 64 at once. The client is the same in both, and its own process.

    PYTHONPATH=. .venv/bin/python benchmarks/gateway_overhead.py [--endpoint URL --served-model NAME --gateway URL]
"""

import argparse
import asyncio
import json
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

LEVELS, ROUNDS, SECONDS = (1, 16, 64), 4, 2.0
SERVER = """
import asyncio, json, sys, uvicorn
places = asyncio.Semaphore(64)
answer = json.dumps({"choices": [{"index": 0, "message": {"role": "assistant", "content": "word " * 50}}]}).encode()
models = json.dumps({"data": [{"id": "base"}]}).encode()

async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        while True:
            message = await receive()
            await send({"type": message["type"] + ".complete"})
            if message["type"] == "lifespan.shutdown":
                return
    while (await receive()).get("more_body"):
        pass
    if scope["path"].endswith("models"):
        body = models
    else:
        async with places:
            await asyncio.sleep(0.1)
        body = answer
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"application/json"),
                (b"content-length", str(len(body)).encode())]})
    await send({"type": "http.response.body", "body": body})

uvicorn.run(app, port=int(sys.argv[1]), log_level="error")
"""
GATEWAY = """
import sys
from pathlib import Path
from jobtuner.serve.assembly import Offer
from jobtuner.serve.backend import Endpoint
from jobtuner.serve.server import serve
from tests.unit.serve.fakes import KeywordClassifier

offer = Offer(Path("."), Endpoint(sys.argv[1], sys.argv[2]))
serve(offer, "127.0.0.1", int(sys.argv[3]), load=lambda _: KeywordClassifier())
"""


async def _request(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, head: bytes, body: bytes) -> None:
    writer.write(head + body)
    first = await reader.readuntil(b"\r\n\r\n")
    if b" 200 " not in first.split(b"\r\n", 1)[0]:
        raise RuntimeError(first.decode())
    size = re.search(rb"content-length: (\d+)", first, re.IGNORECASE)
    await reader.readexactly(int(size[1]) if size else 0)


async def _load(url: str, body: bytes, at_once: int, seconds: float) -> tuple[list[float], float]:
    """Seconds of each answer, and answers a second."""
    host, port = url.removeprefix("http://").split("/")[0].split(":")
    head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n"
    whole = f"{head}Content-Length: {len(body)}\r\n\r\n".encode()
    found: list[float] = []
    started = time.perf_counter()

    async def client() -> None:
        reader, writer = await asyncio.open_connection(host, int(port))
        while time.perf_counter() < started + seconds:
            before = time.perf_counter()
            await _request(reader, writer, whole, body)
            found.append(time.perf_counter() - before)
        writer.close()

    await asyncio.gather(*(client() for _ in range(at_once)))
    return found, len(found) / (time.perf_counter() - started)


@contextmanager
def _process(*command: str) -> Iterator[None]:
    process = subprocess.Popen([sys.executable, "-c", *command], stderr=subprocess.DEVNULL)
    try:
        yield
    finally:
        process.terminate()
        process.wait()


def _wait(url: str) -> None:
    import httpx

    for _ in range(600):
        try:
            httpx.get(url, timeout=5)
        except httpx.TransportError:
            time.sleep(0.1)
        else:
            return
    raise RuntimeError(f"{url} does not answer")


def _measure(direct: str, gateway: str, body: bytes) -> None:
    print("at once   direct/s  gateway/s  ratio   direct p50   gateway p50   added p50")
    for at_once in LEVELS:
        rates: dict[str, list[float]] = {direct: [], gateway: []}
        times: dict[str, list[float]] = {direct: [], gateway: []}
        for number in range(ROUNDS):
            for url in (direct, gateway) if number % 2 else (gateway, direct):
                found, rate = asyncio.run(_load(url, body, at_once, SECONDS))
                rates[url].append(rate)
                times[url] += found
        here, there = (float(np.mean(rates[url])) for url in (direct, gateway))
        quick, slow = (float(np.median(times[url])) * 1000 for url in (direct, gateway))
        print(
            f"{at_once:7d} {here:10.1f} {there:10.1f} {there / here:6.3f} {quick:9.1f} ms {slow:10.1f} ms "
            f"{slow - quick:8.2f} ms"
        )


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--endpoint", help="a real server in place of the stand-in")
    parser.add_argument("--served-model", default="base")
    parser.add_argument("--gateway", help="with --endpoint: a gateway that runs in front of it already")
    options = parser.parse_args()
    chat: dict[str, Any] = {"messages": [{"role": "user", "content": "A job ad. " * 60}], "max_tokens": 32}
    body = json.dumps({"model": options.served_model, **chat}).encode()
    if options.endpoint:
        _measure(options.endpoint, options.gateway, body)
        return
    direct, gateway = "http://127.0.0.1:18741", "http://127.0.0.1:18742"
    with _process(SERVER, "18741"):
        _wait(f"{direct}/v1/models")
        with _process(GATEWAY, direct, options.served_model, "18742"):
            _wait(f"{gateway}/health")
            _measure(direct, gateway, body)


if __name__ == "__main__":
    main()
