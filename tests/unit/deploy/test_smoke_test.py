import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar

import pytest

from jobtuner.deploy.smoke_test import smoke_test
from jobtuner.errors import DeployError
from jobtuner.records import Example
from tests.unit.serve.fakes import TAXONOMY

EXAMPLES = [
    Example("a1", "nurse", "2221", "en", "c1"),
    Example("a2", "Koch", "5120", "de", "c2"),
    Example("a3", "?", "2512", "und", "c3"),
]
GOOD_TOP = [("2221", 0.7), ("5120", 0.2), ("2512", 0.1)]


def answer(top: list[tuple[Any, Any]] = GOOD_TOP, **changes: Any) -> dict[str, Any]:
    entries = [{"code": code, "probability": probability} for code, probability in top]
    first = entries[0] if entries else {"code": "2221", "probability": 0.7}
    return {"model_version": "m/1", "results": [{"id": "smoke-test", **first, "top": entries, **changes}]}


class Endpoint(BaseHTTPRequestHandler):
    """An endpoint that says what the test tells it to."""

    reply: ClassVar[Callable[[Any], tuple[int, Any]]]
    bad_request: ClassVar[int]
    unknown_path: ClassVar[int]
    asked: ClassVar[list[Any]]

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.asked.append(body)
        self._send(*(type(self).reply(body) if body["ads"] else (self.bad_request, {"error": {"request_id": "r"}})))

    def do_GET(self) -> None:
        self._send(self.unknown_path, {"error": {"request_id": "r"}})

    def _send(self, status: int, body: Any) -> None:
        raw = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(raw)))
        self.end_headers()
        self.wfile.write(raw)

    def log_message(self, *arguments: Any) -> None:
        """Stay quiet."""


@contextmanager
def endpoint(
    reply: Callable[[Any], tuple[int, Any]], bad_request: int = 422, unknown_path: int = 404
) -> Iterator[tuple[str, list[Any]]]:
    asked: list[Any] = []
    attributes = {
        "reply": staticmethod(reply), "bad_request": bad_request, "unknown_path": unknown_path, "asked": asked
    }  # fmt: skip
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Told", (Endpoint,), attributes))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}", asked
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_good_answers_give_one_check_an_ad() -> None:
    with endpoint(lambda _: (200, answer())) as (url, asked):
        checks = smoke_test(url, TAXONOMY, EXAMPLES)
    assert checks == [
        {"language": language, "expected": expected, "answered": "2221", "probability": 0.7, "valid": True}
        for language, expected in (("en", "2221"), ("de", "5120"), ("und", "2512"))
    ]
    assert [body["ads"][0].get("language") for body in asked[:3]] == ["en", "de", None]
    assert len(asked) == 4


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (None, "no JSON of the form"),
        ([], "no JSON of the form"),
        ({"results": []}, "no JSON of the form"),
        ({"results": answer()["results"] * 2}, "no JSON of the form"),
        ({"results": [{"id": "smoke-test", "top": []}]}, "no JSON of the form"),
        (answer(id="x"), "id of another ad"),
        (answer([]), "not the first"),
        (answer([(code, 0.1) for code in "abcdef"]), "not the first"),
        (answer(code="5120"), "not the first"),
        (answer(probability=0.6), "not the first"),
        (answer([("9999", 0.7)]), "'9999' is not in the taxonomy"),
        (answer([("51", 0.7)]), "'51' is not in the taxonomy"),  # a group is no label
        (answer([(2221, 0.7)]), "2221 is not in the taxonomy"),
        (answer([("2221", 0.5), ("9999", 0.2)]), "'9999' is not in the taxonomy"),
        (answer([("2221", 0.5), ("2221", 0.2)]), "comes twice"),
        (answer([("2221", float("inf"))]), "no finite number"),
        (answer([("2221", 0.5), ("5120", float("nan"))]), "no finite number"),
        (answer([("2221", None)]), "no finite number"),
        (answer([("2221", True)]), "no finite number"),
        (answer([("2221", "0.7")]), "no finite number"),
        (answer([("2221", 1.2)]), "not between 0 and 1"),
        (answer([("2221", 0.5), ("5120", -0.1)]), "not between 0 and 1"),
        (answer([("2221", 0.3), ("5120", 0.4)]), "do not fall"),
        (answer([("2221", 0.6), ("5120", 0.5)]), "more than 1"),
    ],
)
def test_the_first_wrong_answer_is_named(body: Any, said: str) -> None:
    def reply(asked: Any) -> tuple[int, Any]:
        return 200, body if asked["ads"][0]["text"] == "Koch" else answer()

    with endpoint(reply) as (url, asked), pytest.raises(DeployError, match=f"to the de ad a2: .*{said}"):
        smoke_test(url, TAXONOMY, EXAMPLES)
    assert len(asked) == 2


def test_rounding_in_the_sum_is_accepted() -> None:
    with endpoint(lambda _: (200, answer([("2221", 0.6), ("5120", 0.4005)]))) as (url, _):
        assert smoke_test(url, TAXONOMY, EXAMPLES[:1])[0]["valid"] is True


def test_statuses_are_checked() -> None:
    with endpoint(lambda _: (500, {})) as (url, _), pytest.raises(DeployError, match="en ad a1: status 500"):
        smoke_test(url, TAXONOMY, EXAMPLES)
    accepts_nothing = pytest.raises(DeployError, match=r"without ads .* with 200; 422 is right")
    with endpoint(lambda _: (200, answer()), bad_request=200) as (url, _), accepts_nothing:
        smoke_test(url, TAXONOMY, EXAMPLES)
    has_any_path = pytest.raises(DeployError, match=r"unknown path .* with 200; 404 is right")
    with endpoint(lambda _: (200, answer()), unknown_path=200) as (url, _), has_any_path:
        smoke_test(url, TAXONOMY, EXAMPLES)


def test_an_endpoint_that_is_not_there_is_told() -> None:
    with pytest.raises(DeployError, match="did not answer: ConnectError"):
        smoke_test("http://127.0.0.1:9", TAXONOMY, EXAMPLES)
