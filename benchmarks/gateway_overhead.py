r"""Claim: the gateway keeps 0.95 of a model server's throughput and adds no more than 5 ms to the median answer.

Paired, one run: the same chat requests straight to the server and through `jobtuner serve`, in short turns that
alternate, at 1, 16 and 64 requests at once. Without --endpoint the server is a stand-in for vLLM that does nothing but
wait, as a GPU would be waited for, 64 requests at once: 50 ms to the first token and 12 ms for each of 16 to 48 tokens,
434 ms on average: our assumption, not a measurement; a smaller model or a shorter answer is faster. The lengths are
drawn, the same ones for both ways, so that answers do not all end at once: with --fixed every answer takes 100 ms, all
64 end in the same moment, and the median one then waits for half of the others' processor time. "Beside" is what an
answer takes beyond the server's wait. Client, server and gateway are three processes on the same cores: the gateway's
processor time a request is printed too, and what one process could carry if it had a core to itself.

    PYTHONPATH=. .venv/bin/python benchmarks/gateway_overhead.py [--fixed] \
        [--endpoint URL --served-model NAME --gateway URL]
"""

import argparse
import asyncio
import json
import random
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

LEVELS, ROUNDS, SECONDS, TOKENS = (1, 16, 64), 4, 4.0, (16, 48)
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
    sent, more = b"", True
    while more:
        message = await receive()
        sent, more = sent + message.get("body", b""), message.get("more_body")
    if scope["path"].endswith("models"):
        body = models
    else:
        async with places:
            await asyncio.sleep(0.05 + 0.012 * json.loads(sent)["max_tokens"] if sys.argv[2] == "drawn" else 0.1)
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


async def _load(url: str, body: bytes, at_once: int, wait: Callable[[int], float]) -> tuple[list[float], float]:
    """Seconds of each answer beside the server's own wait for its tokens, and answers a second."""
    host, port = url.removeprefix("http://").split("/")[0].split(":")
    head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n"
    whole = f"{head}Content-Length: {len(body) - 4}\r\n\r\n".encode()
    found: list[float] = []
    started = time.perf_counter()

    async def client(number: int) -> None:
        draw = random.Random(number)
        reader, writer = await asyncio.open_connection(host, int(port))
        while time.perf_counter() < started + SECONDS:
            tokens = draw.randint(*TOKENS)
            before = time.perf_counter()
            await _request(reader, writer, whole, body.replace(b"TOKENS", b"%d" % tokens))
            found.append(time.perf_counter() - before - wait(tokens))
        writer.close()

    await asyncio.gather(*(client(number) for number in range(at_once)))
    return found, len(found) / (time.perf_counter() - started)


@contextmanager
def _process(*command: str) -> Iterator[int]:
    process = subprocess.Popen([sys.executable, "-c", *command], stderr=subprocess.DEVNULL)
    try:
        yield process.pid
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


def _processor_seconds(pid: int | None) -> float:
    """Of a process since it began; 0 for one that is not ours."""
    import psutil

    if pid is None:
        return 0.0
    times = psutil.Process(pid).cpu_times()
    return float(times.user + times.system)


def _measure(direct: str, gateway: str, body: bytes, wait: Callable[[int], float], pid: int | None = None) -> None:
    print("at once   direct/s  gateway/s  ratio   p50 beside: direct   gateway   added   processor ms a request")
    for at_once in LEVELS:
        used = 0.0
        rates: dict[str, list[float]] = {direct: [], gateway: []}
        times: dict[str, list[float]] = {direct: [], gateway: []}
        for number in range(ROUNDS):
            for url in (direct, gateway) if number % 2 else (gateway, direct):
                before = _processor_seconds(pid)
                found, rate = asyncio.run(_load(url, body, at_once, wait))
                used += _processor_seconds(pid) - before
                rates[url].append(rate)
                times[url] += found
        here, there = (float(np.mean(rates[url])) for url in (direct, gateway))
        quick, slow = (float(np.median(times[url])) * 1000 for url in (direct, gateway))
        print(
            f"{at_once:7d} {here:10.1f} {there:10.1f} {there / here:6.3f} {quick:16.2f} ms {slow:7.2f} ms "
            f"{slow - quick:5.2f} ms {used / len(times[gateway]) * 1000:12.2f}"
        )
    if pid is not None:
        print(f"one process with a core to itself could carry {len(times[gateway]) / used:,.0f} requests a second")


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--endpoint", help="a real server in place of the stand-in")
    parser.add_argument("--served-model", default="base")
    parser.add_argument("--fixed", action="store_true", help="100 ms an answer, all in step: the hardest case")
    parser.add_argument("--gateway", help="with --endpoint: a gateway that runs in front of it already")
    options = parser.parse_args()
    chat: dict[str, Any] = {"messages": [{"role": "user", "content": "A job ad. " * 60}], "max_tokens": "TOKENS"}
    body = json.dumps({"model": options.served_model, **chat}).encode().replace(b'"TOKENS"', b"TOKENS")
    if options.endpoint:
        _measure(options.endpoint, options.gateway, body, lambda _: 0.0)
        return
    direct, gateway = "http://127.0.0.1:18741", "http://127.0.0.1:18742"
    with _process(SERVER, "18741", "fixed" if options.fixed else "drawn"):
        _wait(f"{direct}/v1/models")
        with _process(GATEWAY, direct, options.served_model, "18742") as pid:
            _wait(f"{gateway}/health")
            _measure(direct, gateway, body, lambda tokens: 0.1 if options.fixed else 0.05 + 0.012 * tokens, pid)


if __name__ == "__main__":
    main()
