"""The exported model behind HTTP on this machine, as a child process that never outlives its parent."""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, TYPE_CHECKING, Self

from jobtuner.errors import DeployError

if TYPE_CHECKING:
    import httpx

__all__ = ["LocalEndpoint"]

_POLL_SECONDS = 0.05
_STOP_SECONDS = 10.0  # the server gives its clients 2 s to leave, and its requests 7
_LOG_LINES = 20


class LocalEndpoint:
    """Context manager: starts the server, waits until the model answers, stops it whatever happens.

    A Ctrl-C reaches this process alone; the server runs in a session of its own and is stopped in order. Where this
    process is killed, the server notices and ends by itself (`jobtuner.serve.lifetime`).

    Args:
        model: folder that the export stage wrote as `model/`.
        log: file for the server's output.
        host: address to listen on; the port is a free one.
        start_seconds: the model must answer within this time.
        command: another server with the same arguments; None: `python -m jobtuner.serve.server`.
    """

    def __init__(
        self,
        model: Path,
        log: Path,
        *,
        host: str = "127.0.0.1",
        start_seconds: float = 120.0,
        command: Sequence[str] | None = None,
    ) -> None:
        self._model, self._log, self._host, self._start_seconds = model, log, host, start_seconds
        self._command = list(command) if command is not None else [sys.executable, "-m", "jobtuner.serve.server"]
        self._process: subprocess.Popen[bytes] | None = None
        self.url = ""
        """Base URL, known once the endpoint is ready."""

    def __enter__(self) -> Self:
        """Start and wait.

        Raises:
            DeployError: the server ended or did not become ready in time; the message has its last lines.
        """
        deadline = time.monotonic() + self._start_seconds
        with tempfile.TemporaryDirectory(prefix="jobtuner-endpoint-") as folder, self._log.open("wb") as output:
            ready_file = Path(folder) / "ready.json"
            try:
                self._process = self._start(ready_file, output)
                self.url = self._wait_for_url(self._process, ready_file, deadline)
                self._wait_for_model(self._process, deadline)
            except BaseException:
                self._stop()
                raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Stop the server; a `DeployError` from inside gets the server's last words where it had ended by itself.

        Raises:
            DeployError: in place of the one from inside.
        """
        ended = self._process.poll() if self._process is not None else None
        self._stop()
        if ended is not None and isinstance(error, DeployError):
            raise DeployError(f"{error} The server had ended {self._last_words(ended)}") from error

    def _start(self, ready_file: Path, output: IO[bytes]) -> subprocess.Popen[bytes]:
        places = ["--model", str(self._model), "--ready-file", str(ready_file)]
        return subprocess.Popen(
            [*self._command, *places, "--host", self._host, "--port", "0", "--parent", str(os.getpid())],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def _wait_for_url(self, process: subprocess.Popen[bytes], ready_file: Path, deadline: float) -> str:
        while not ready_file.exists():
            self._check(process, deadline)
        return str(json.loads(ready_file.read_text(encoding="utf-8"))["url"])

    def _wait_for_model(self, process: subprocess.Popen[bytes], deadline: float) -> None:
        import httpx

        with httpx.Client(base_url=self.url, trust_env=False, timeout=5.0) as client:  # no proxy to this machine
            while not _answers_ready(client):
                self._check(process, deadline)

    def _check(self, process: subprocess.Popen[bytes], deadline: float) -> None:
        code = process.poll()
        if code is not None:
            raise DeployError(f"The endpoint ended while it started {self._last_words(code)}")
        if time.monotonic() >= deadline:
            raise DeployError(
                f"The endpoint was not ready within {self._start_seconds:g} s; set deploy.start_seconds higher if the "
                f"machine is slow. It runs {self._last_words(None)}"
            )
        time.sleep(_POLL_SECONDS)

    def _last_words(self, code: int | None) -> str:
        state = "still" if code is None else f"with code {code}"
        lines = self._log.read_text(encoding="utf-8", errors="replace").splitlines()[-_LOG_LINES:]
        shown = "\n  ".join(lines) if lines else "(nothing)"
        return f"({state}). The last lines of {self._log}:\n  {shown}"

    def _stop(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        try:
            process.terminate()
            process.wait(_STOP_SECONDS)
        except BaseException as error:
            process.kill()
            process.wait()
            if not isinstance(error, subprocess.TimeoutExpired):
                raise


def _answers_ready(client: "httpx.Client") -> bool:
    import httpx

    try:
        return client.get("/ready").status_code == 200
    except httpx.HTTPError:
        return False
