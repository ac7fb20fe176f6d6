"""The door of a server: whoever is in or on the way in is served, everybody else is refused unheard."""

import socket
import sys
import threading

import pytest

from jobtuner.serve import door


@pytest.fixture
def listener() -> socket.socket:
    return socket.create_server(("127.0.0.1", 0))


def address(listener: socket.socket) -> tuple[str, int]:
    return ("127.0.0.1", int(listener.getsockname()[1]))


@pytest.mark.skipif(sys.platform != "linux", reason="BPF filters of sockets are Linux's")
@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_a_shut_door_lets_in_who_waits_and_nobody_new(host: str) -> None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listener = socket.create_server((host, 0), family=family)
    except OSError:
        pytest.skip(f"{host} is not there")
    with listener, socket.create_connection(listener.getsockname()[:2]) as waiting:
        door.shut(listener)
        with pytest.raises(TimeoutError):
            socket.create_connection(listener.getsockname()[:2], timeout=0.2)
        accepted, _ = listener.accept()
        with accepted:  # the filter is inherited, and drops nothing of a connection that stands
            waiting.sendall(b"a question")
            assert accepted.recv(64) == b"a question"
            accepted.sendall(b"an answer")
            assert waiting.recv(64) == b"an answer"
            waiting.shutdown(socket.SHUT_WR)
            assert accepted.recv(64) == b""


@pytest.mark.skipif(sys.platform != "linux", reason="BPF filters of sockets are Linux's")
def test_who_was_dropped_is_refused_once_the_socket_is_closed(listener: socket.socket) -> None:
    with listener:
        place = address(listener)
        door.shut(listener)
        closing = threading.Timer(0.2, listener.close)
        closing.start()
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(place, timeout=10)
        closing.join()


def test_without_filters_the_queue_is_cut(listener: socket.socket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    with listener, socket.create_connection(address(listener)) as waiting:
        door.shut(listener)
        accepted, _ = listener.accept()
        with accepted:
            waiting.sendall(b"a question")
            assert accepted.recv(64) == b"a question"
