"""The server process: `python -m jobtuner.serve.server --model DIR`.

It loads the model, listens, and then writes the ready file. SIGTERM and SIGINT stop it after the requests under way:
for a moment it still takes what arrives, but asks every client to leave; then the door shuts, and it finishes. A
second signal skips the moment.
"""

import argparse
import json
import logging
import math
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

from jobtuner.errors import ConfigError, DeployError, JobTunerError
from jobtuner.serve import door
from jobtuner.serve.assembly import Loader, Offer, build
from jobtuner.serve.lifetime import end_with_parent
from jobtuner.serve.logs import log_as_json

if TYPE_CHECKING:
    import uvicorn
    from fastapi import FastAPI

__all__ = ["main", "serve"]

_LOG = logging.getLogger("jobtuner.serve")
_LOOPBACK = frozenset({"127.0.0.1", "::1"})
_LEAVE_SECONDS = 1.0  # in which clients may still send on connections that they keep: before the door shuts, and after
_QUIET_SECONDS = 0.3  # the same before, where there is no connection
_BACKLOG_SECONDS = 0.2  # the same after: connections that the kernel has taken come in
_STOP_SECONDS = 7  # for the requests under way; `deploy.local` kills after 10


def serve(offer: Offer, host: str, port: int, *, ready_file: Path | None = None, load: Loader | None = None) -> None:
    """Serve an exported model until SIGTERM or SIGINT.

    Args:
        offer: what to serve.
        host: address to listen on.
        port: 0 takes a free one.
        ready_file: gets {"url", "pid"} as soon as requests are answered.
        load: as for `assembly.build`.

    Raises:
        ConfigError: the port is no port, or as `assembly.build`.
        DeployError: the address is taken or not this machine's; or as `assembly.build`.
        ModelError: as `assembly.build`.
    """
    if not 0 <= port <= 65_535:
        raise ConfigError(f"The port is {port}; 0 to 65535 are accepted, 0 takes a free one.")
    with _told_as_deploy_error(host, port):
        listener = _bind(host, port)
    with listener:
        if offer.keys is None and listener.getsockname()[0] not in _LOOPBACK:
            _LOG.warning("no API keys: everybody who reaches this address may ask; see `jobtuner keys --help`")
        stopping = threading.Event()
        app = build(offer, load, stopping)
        url = _url(listener)
        with _told_as_deploy_error(host, port):
            _run(_server(app, lambda: _announce(url, ready_file), stopping, listener), listener, stopping)


@contextmanager
def _told_as_deploy_error(host: str, port: int) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise DeployError(
            f"The endpoint cannot listen on {host}, port {port}: {error}. Port 0 takes a free one."
        ) from error


def _bind(host: str, port: int) -> socket.socket:
    """Take the address before the model is loaded: a taken one shows at once. It listens later."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # asyncio sends at once (TCP_NODELAY) only where the socket says that it is TCP's; else each answer waits 40 ms.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
    except BaseException:
        listener.close()
        raise
    return listener


def _url(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    reachable = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104  # "all addresses" is not one to call
    return f"http://[{reachable}]:{port}" if ":" in reachable else f"http://{reachable}:{port}"


def _server(
    app: "FastAPI", announce: Callable[[], None], stopping: threading.Event, listener: socket.socket
) -> "uvicorn.Server":
    import uvicorn

    class Server(uvicorn.Server):
        asked = closed = math.inf
        """When the stop was asked for, and when the door was closed; monotonic seconds."""

        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            announce()

        def handle_exit(self, sig: int, frame: FrameType | None) -> None:
            if stopping.is_set():
                super().handle_exit(sig, frame)
            stopping.set()

        async def on_tick(self, counter: int) -> bool:  # ten times a second
            return await super().on_tick(counter) or (stopping.is_set() and self._left())

        def _left(self) -> bool:
            """Whether everybody had the time to leave."""
            now, here = time.monotonic(), bool(self.server_state.connections)
            self.asked = min(self.asked, now)
            if self.closed == math.inf and now >= self.asked + (_LEAVE_SECONDS if here else _QUIET_SECONDS):
                door.shut(listener)
                self.closed = now
            return now >= self.closed + (_LEAVE_SECONDS if here else _BACKLOG_SECONDS)

    return Server(
        uvicorn.Config(
            app,
            lifespan="on",
            ws="none",
            log_config=None,
            access_log=False,  # the gateway logs requests, without their content
            server_header=False,
            proxy_headers=False,
            timeout_graceful_shutdown=_STOP_SECONDS,
        )
    )


def _announce(url: str, ready_file: Path | None) -> None:
    sys.stderr.write(f"Listening on {url}\n")
    if ready_file is not None:
        temporary = ready_file.with_name(f"{ready_file.name}.{os.getpid()}")
        temporary.write_text(json.dumps({"url": url, "pid": os.getpid()}), encoding="utf-8")
        temporary.replace(ready_file)


def _run(server: "uvicorn.Server", listener: socket.socket, stopping: threading.Event) -> None:
    def stop(_signal: int, _frame: object) -> None:
        server.should_exit = True
        stopping.set()

    # Uvicorn raises a signal again after its orderly stop. Caught here, so that the process then ends with code 0.
    before = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        server.run(sockets=[listener])
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def main(arguments: Sequence[str] | None = None, load: Loader | None = None) -> int:
    """Entry point of the server process; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m jobtuner.serve.server", description="Serve an exported model.")
    parser.add_argument("--model", type=Path, required=True, help="folder that the export stage wrote as model/")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8080, help="0 takes a free one")
    parser.add_argument("--ready-file", type=Path, help="gets the URL and the process id when requests are answered")
    parser.add_argument("--keys", type=Path, help="file of API keys; without it everybody may ask")
    parser.add_argument("--parent", type=int, help="process id; the server ends when this is no longer its parent")
    options = parser.parse_args(arguments)
    if options.parent is not None:
        end_with_parent(options.parent)
    log_as_json()
    try:
        offer = Offer(options.model, keys=options.keys)
        serve(offer, options.host, options.port, ready_file=options.ready_file, load=load)
    except JobTunerError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
