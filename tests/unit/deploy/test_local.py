import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import httpx
import psutil
import pytest

from jobtuner.deploy.local import LocalEndpoint
from jobtuner.errors import DeployError
from tests.unit.serve import fakes

BODY = {"ads": [{"text": "nurse"}]}


def endpoint(folder: Path, seconds: float = 30.0, **behaviour: object) -> LocalEndpoint:
    model = fakes.model_folder(folder / "model", **behaviour)
    return LocalEndpoint(model, folder / "server.log", start_seconds=seconds, command=fakes.COMMAND)


def children() -> list[psutil.Process]:
    """Server processes of this test process."""
    return [child for child in psutil.Process().children() if "--ready-file" in child.cmdline()]


def test_it_answers_inside_and_is_gone_outside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "ALL_PROXY"):  # a proxy of the environment is not asked for this machine
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    with endpoint(tmp_path) as running:
        assert running.url.startswith("http://127.0.0.1:")
        with httpx.Client(trust_env=False) as client:
            assert client.get(f"{running.url}/ready").status_code == 200
            assert client.post(f"{running.url}/v1/occupations", json=BODY).status_code == 200
        assert len(children()) == 1
    assert children() == []
    with pytest.raises(httpx.ConnectError), httpx.Client(trust_env=False) as client:
        client.get(f"{running.url}/ready")
    assert "/v1/occupations" in (tmp_path / "server.log").read_text(encoding="utf-8")


def test_it_is_stopped_on_an_interrupt(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), endpoint(tmp_path):
        raise KeyboardInterrupt
    assert children() == []


@pytest.mark.parametrize(
    ("load", "said"),
    [("fails", r"with code 5\).*The taxonomy of the model is 1111"), ("dies", r"with code 7\).*\(nothing\)")],
)
def test_a_server_that_ends_early_is_told_with_its_last_lines(tmp_path: Path, load: str, said: str) -> None:
    started = time.monotonic()
    with pytest.raises(DeployError, match=f"(?s){said}"), endpoint(tmp_path, load=load):
        pytest.fail("it was entered")
    assert time.monotonic() - started < 10
    assert children() == []


def test_a_server_that_never_listens_is_stopped_after_the_time_given(tmp_path: Path) -> None:
    with pytest.raises(DeployError, match=r"not ready within 1\.5 s"), endpoint(tmp_path, 1.5, load="hangs"):
        pytest.fail("it was entered")
    assert children() == []


def test_a_model_that_never_answers_is_not_ready(tmp_path: Path) -> None:
    listens_only = textwrap.dedent("""
        import json, sys
        from http.server import BaseHTTPRequestHandler, HTTPServer
        from pathlib import Path
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                self.send_error(503)
        server = HTTPServer(("127.0.0.1", 0), Handler)
        ready = Path(sys.argv[sys.argv.index("--ready-file") + 1])
        ready.with_suffix(".tmp").write_text(json.dumps({"url": f"http://127.0.0.1:{server.server_address[1]}"}))
        ready.with_suffix(".tmp").rename(ready)
        server.serve_forever()
    """)
    running = LocalEndpoint(
        tmp_path, tmp_path / "server.log", start_seconds=2.0, command=[sys.executable, "-c", listens_only]
    )
    with pytest.raises(DeployError, match=r'(?s)not ready within 2 s.*"GET /ready HTTP/1.1" 503'), running:
        pytest.fail("it was entered")
    assert children() == []


def test_a_server_that_dies_later_gets_its_last_words_into_the_error(tmp_path: Path) -> None:
    with pytest.raises(DeployError, match=r"(?s)no answer.*with code 9\)"), endpoint(tmp_path) as running:
        with pytest.raises(httpx.HTTPError):
            httpx.post(f"{running.url}/v1/occupations", json={"ads": [{"text": "DIE"}]}, trust_env=False)
        time.sleep(0.2)
        raise DeployError("There was no answer.")


def test_a_server_deaf_to_sigterm_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jobtuner.deploy.local._STOP_SECONDS", 0.5)
    deaf = (
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); time.sleep(60)"
    )
    command = [sys.executable, "-c", deaf]
    log = tmp_path / "server.log"
    started = time.monotonic()
    with pytest.raises(DeployError, match="deaf"), LocalEndpoint(tmp_path, log, start_seconds=1.0, command=command):
        pytest.fail("it was entered")
    assert time.monotonic() - started < 5
    assert children() == []


@pytest.mark.parametrize(
    ("number", "load"),
    [(signal.SIGKILL, None), (signal.SIGKILL, "hangs"), (signal.SIGTERM, None), (signal.SIGINT, None)],
)
def test_no_orphan_whatever_ends_the_parent(tmp_path: Path, number: signal.Signals, load: str | None) -> None:
    fakes.model_folder(tmp_path / "model", load=load)
    script = textwrap.dedent(f"""
        import sys, time
        from pathlib import Path
        sys.path.insert(0, {str(fakes.ROOT)!r})
        from jobtuner.deploy.local import LocalEndpoint
        from tests.unit.serve import fakes
        folder = Path({str(tmp_path)!r})
        with LocalEndpoint(folder / "model", folder / "server.log", command=fakes.COMMAND):
            print("entered", flush=True)
            time.sleep(60)
    """)
    command = [sys.executable, "-c", script]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as parent:
        child = _child_of(parent, wait_for_entry=load is None)
        os.kill(parent.pid, number)
        parent.wait(15)
        psutil.wait_procs([child], timeout=5)
        gone = not child.is_running()
        if not gone:
            child.kill()
    assert gone, "the server outlived its parent by 5 s"


def _child_of(parent: subprocess.Popen[bytes], wait_for_entry: bool) -> psutil.Process:
    if wait_for_entry:
        assert parent.stdout is not None
        assert parent.stdout.readline() == b"entered\n"
    deadline = time.monotonic() + 15
    while not (found := psutil.Process(parent.pid).children()):
        assert time.monotonic() < deadline, "no child was started"
        time.sleep(0.02)
    if not wait_for_entry:
        time.sleep(1.5)  # it is inside the model's loading by then
    return found[0]
