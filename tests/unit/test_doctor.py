"""The checks of `jobtuner doctor`: each says ok, missing or broken, quickly, and none raises."""

import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from jobtuner import doctor
from jobtuner.doctor import Check, examine, probe_url

_VARIABLES = ("KF_PIPELINES_ENDPOINT", "MINIO_ENDPOINT", "AWS_ENDPOINT_URL", "MLFLOW_TRACKING_URI", "JOBTUNER_HOME")


@pytest.fixture(autouse=True)
def nothing_is_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in (*_VARIABLES, "http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))


@contextmanager
def _server(status: int, delay: float = 0.0) -> Iterator[tuple[str, list[str]]]:
    """An HTTP server that gives one answer to everything; yields its address and the paths that were asked for."""
    paths: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            paths.append(self.path)
            time.sleep(delay)
            self.send_response(status)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 the base class's name
            """Quiet."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield f"http://127.0.0.1:{http.server_port}", paths
        finally:
            http.shutdown()
            thread.join()


def _kubectl(folder: Path, script: str) -> None:
    path = folder / "kubectl"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


def _by_name(checks: list[Check]) -> dict[str, Check]:
    return {check.name: check for check in checks}


def test_a_bare_machine_has_things_missing_and_nothing_fails() -> None:
    checks = _by_name(examine())
    assert len(checks) == 12
    for name in ("Python", "Cores", "torch", "4-bit quantisation", "MLflow"):
        assert checks[name].state == "ok", checks[name]
    for name in ("kubectl", "Cluster", "Object store", "Kubeflow Pipelines"):
        assert checks[name].state == "missing", checks[name]
    assert "NF4" in checks["4-bit quantisation"].detail
    for check in checks.values():
        assert check.state == "ok" or check.next_step or check.name == "Cluster", check


@pytest.mark.parametrize(
    ("status", "refusal_counts", "state"),
    [
        (200, False, "ok"),
        (401, False, "ok"),
        (403, True, "ok"),
        (404, False, "broken"),
        (400, True, "ok"),
        (503, False, "broken"),
    ],
)
def test_what_an_answer_means(status: int, refusal_counts: bool, state: str) -> None:
    with _server(status) as (url, _):
        check = probe_url("X", url, "shown", "next", refusal_counts=refusal_counts)
    assert check.state == state
    assert "shown" in check.detail


def test_a_service_that_is_not_there_is_broken() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        check = probe_url("X", f"http://127.0.0.1:{free.getsockname()[1]}", "shown", "next")
    assert (check.state, check.next_step) == ("broken", "next")
    assert "refused" in check.detail


def test_a_silent_service_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "TIMEOUT", 0.2)
    started = time.monotonic()
    with _server(200, delay=1.0) as (url, _):
        check = probe_url("X", url, "shown", "next")
        waited = time.monotonic() - started
    assert check.state == "broken" and "timed out" in check.detail
    assert waited < 0.9


def test_the_services_are_those_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    with _server(200) as (url, paths):
        monkeypatch.setenv("KF_PIPELINES_ENDPOINT", url + "/pipeline/")
        monkeypatch.setenv("MLFLOW_TRACKING_URI", url.replace("http://", "http://me:s3cret@"))
        monkeypatch.setenv("AWS_ENDPOINT_URL", url)
        checks = [doctor._pipelines(), doctor._object_store(), doctor._guarded("MLflow", doctor._mlflow)]
    assert [check.state for check in checks[:2]] == ["ok", "ok"]
    assert paths[0] == "/pipeline/apis/v2beta1/healthz"
    assert all("s3cret" not in check.detail + check.next_step for check in checks)


@pytest.mark.parametrize(
    ("script", "state", "words"),
    [
        ("echo ok", "ok", "ready"),
        ("echo 'connection refused' >&2; exit 1", "missing", "connection refused"),
        ("exec /bin/sleep 5", "broken", "no answer within"),
    ],
)
def test_the_cluster_is_asked_with_kubectl(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, state: str, words: str
) -> None:
    monkeypatch.setattr(doctor, "TIMEOUT", 1.5)
    _kubectl(tmp_path, script)
    assert doctor._kubectl().detail == str(tmp_path / "kubectl")
    check = doctor._cluster()
    assert check.state == state
    assert words in check.detail


def test_little_memory_and_disk_are_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "_MEMORY_GB", 1e6)
    monkeypatch.setattr(doctor, "_DISK_GB", 1e9)
    assert doctor._memory().state == "broken"
    assert "JOBTUNER_HOME" in doctor._disk().next_step


def test_a_work_folder_that_does_not_exist_yet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JOBTUNER_HOME", str(tmp_path / "not" / "yet"))
    assert str(tmp_path) in doctor._disk().detail
    assert "made by the first run" in doctor._mlflow().detail
    assert not os.path.exists(tmp_path / "not")  # noqa: PTH110 looking must not make it


def test_what_a_library_raises_is_the_finding() -> None:
    def broken() -> Check:
        raise RuntimeError("libcuda is too old")

    def absent() -> Check:
        raise ModuleNotFoundError("No module named 'bitsandbytes'")

    assert doctor._guarded("X", broken) == Check("X", "broken", "RuntimeError: libcuda is too old")
    assert doctor._guarded("X", absent).state == "missing"
