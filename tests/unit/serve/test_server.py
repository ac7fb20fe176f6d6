import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from jobtuner.errors import ConfigError, DeployError, ModelError
from jobtuner.serve.assembly import Offer
from jobtuner.serve.server import _bind, _run, main, serve
from tests.unit.serve import fakes
from tests.unit.serve.conftest import wait_until

BODY = {"ads": [{"text": "nurse"}]}


@contextmanager
def running(folder: Path, *arguments: str) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """A real server process and its URL."""
    ready = folder / "ready.json"
    command = [*fakes.COMMAND, "--model", str(fakes.model_folder(folder)), "--port", "0", "--ready-file", str(ready)]
    with (folder / "server.log").open("wb") as log, subprocess.Popen([*command, *arguments], stderr=log) as process:
        try:
            wait_until(lambda: ready.exists() or process.poll() is not None, 30)
            told = json.loads(ready.read_text(encoding="utf-8"))
            assert told["pid"] == process.pid
            yield process, told["url"]
        finally:
            process.kill()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, str]]:
    """A running server's folder and URL, for the tests that leave it as it was."""
    folder = tmp_path_factory.mktemp("server")
    with running(folder) as (_, url):
        yield folder, url


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_lets_the_request_under_way_finish(tmp_path: Path, number: signal.Signals) -> None:
    answers: list[int] = []
    with running(tmp_path) as (process, url):

        def ask() -> None:
            answers.append(httpx.post(f"{url}/v1/occupations", json={"ads": [{"text": "SLOW nurse"}]}).status_code)

        asking = threading.Thread(target=ask)
        assert httpx.post(f"{url}/v1/occupations", json=BODY).status_code == 200
        asking.start()
        wait_until(lambda: open_requests(url) > 0)
        process.send_signal(number)
        assert process.wait(10) == 0
        asking.join(10)
    assert answers == [200]
    assert list(tmp_path.glob("ready.json.*")) == []  # the temporary file became the ready file


def open_requests(url: str) -> int:
    """Requests under way, but for the one that asks."""
    (line,) = [
        line for line in httpx.get(f"{url}/metrics").text.splitlines() if line.startswith("jobtuner_requests_open ")
    ]
    return int(float(line.split()[1])) - 1


def test_the_log_is_json_without_the_ad(server: tuple[Path, str]) -> None:
    log, url = server[0] / "server.log", server[1]
    before = len(log.read_text(encoding="utf-8").splitlines())
    assert httpx.post(f"{url}/v1/occupations", json={"ads": [{"text": "nurse Geheimwort"}]}).status_code == 200
    assert httpx.post(f"{url}/v1/occupations", json={"ads": [{"text": "EXPLODE Geheimwort"}]}).status_code == 500
    response = httpx.get(f"{url}/v1/models")
    assert "server" not in response.headers
    # An answer is sent before its line is written: three requests and a crash.
    wait_until(lambda: len(log.read_text(encoding="utf-8").splitlines()) >= before + 4)
    text = log.read_text(encoding="utf-8")
    assert "Geheimwort" not in text
    lines = [json.loads(line) for line in text.splitlines()[before:]]
    crash, *requests = sorted(lines, key=lambda line: (line["message"], line["time"]))
    assert [(line["path"], line["status"]) for line in requests] == [
        ("/v1/occupations", 200),
        ("/v1/occupations", 500),
        ("/v1/models", 200),
    ]
    assert (crash["message"], crash["level"], crash["request_id"]) == ("crash", "error", requests[1]["request_id"])
    assert "fakes.py" in str(crash["frames"])


def test_a_large_body_over_a_real_connection_is_413(server: tuple[Path, str]) -> None:
    url = f"{server[1]}/v1/occupations"
    assert httpx.post(url, content=b"x" * (9 * 2**20)).status_code == 413
    assert httpx.post(url, json=BODY).status_code == 200


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        (b"\x00" * 100, b"400"),
        (b"POST /v1/occupations HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\n", b"400"),
        (b"POST /v1/occupations HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", b"400"),
        (b"GET /health HTTP/1.1\r\nHost: x\r\nX-Request-Id: \xff\xfe\r\n\r\n", b"200"),
        (b"GET /%00%ff HTTP/1.1\r\nHost: x\r\n\r\n", b"404"),
    ],
)
def test_raw_nonsense_on_the_socket_does_no_harm(server: tuple[Path, str], raw: bytes, status: bytes) -> None:
    url = server[1]
    with socket.create_connection(("127.0.0.1", int(url.rsplit(":", 1)[1])), timeout=5) as connection:
        connection.sendall(raw)
        assert connection.recv(100).split()[1] == status
    assert httpx.post(f"{url}/v1/occupations", json=BODY).status_code == 200


def test_a_taken_port_and_a_wrong_one_are_named(tmp_path: Path) -> None:
    folder = fakes.model_folder(tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(DeployError, match=f"port {port}.*in use"):
            serve(Offer(folder), "127.0.0.1", port, load=fakes.load)
    with pytest.raises(ConfigError, match="70000"):
        serve(Offer(folder), "127.0.0.1", 70_000, load=fakes.load)
    with pytest.raises(DeployError, match="no-such-host"):
        serve(Offer(folder), "no-such-host.invalid", 0, load=fakes.load)


def test_a_model_that_cannot_be_loaded_ends_with_its_exit_code(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = fakes.model_folder(tmp_path, load="fails")
    ready = tmp_path / "ready.json"
    code = main(["--model", str(folder), "--port", "0", "--ready-file", str(ready)], load=fakes.load)
    assert code == ModelError.exit_code
    assert "The taxonomy of the model is 1111" in capsys.readouterr().err
    assert not ready.exists()


def test_a_signal_before_uvicorn_takes_over_is_not_lost() -> None:
    class Server:
        should_exit = False

        def run(self, sockets: list[socket.socket]) -> None:
            signal.raise_signal(signal.SIGTERM)

    server, before = Server(), signal.getsignal(signal.SIGTERM)
    with socket.socket() as listener:
        _run(server, listener, threading.Event())  # type: ignore[arg-type]  # the two members that it uses
    assert server.should_exit
    assert signal.getsignal(signal.SIGTERM) == before


def test_an_orphan_ends_at_once(tmp_path: Path) -> None:
    command = [*fakes.COMMAND, "--model", str(fakes.model_folder(tmp_path)), "--port", "0"]
    not_its_parent = str(os.getppid())
    with subprocess.Popen([*command, "--parent", not_its_parent], stderr=subprocess.DEVNULL) as process:
        assert process.wait(10) in {0, -signal.SIGTERM}


def test_importing_the_server_imports_nothing_heavy() -> None:
    code = (
        "import sys, jobtuner.serve.server; print(sorted({'torch', 'fastapi', 'uvicorn', 'scipy'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_answers_are_sent_at_once() -> None:
    """asyncio turns Nagle's algorithm off only for sockets of this protocol; accepted ones inherit it."""
    listener = _bind("127.0.0.1", 0)
    with listener:
        assert listener.proto == socket.IPPROTO_TCP
