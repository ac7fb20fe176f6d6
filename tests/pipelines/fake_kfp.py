"""A small Kubeflow Pipelines API server: what starting a run needs of it, with the checks that the real one makes."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

__all__ = ["FakeKfp", "fake_kfp"]

_PREFIX = "/apis/v2beta1"
_JSON_TYPES = {
    "STRING": str,
    "STRUCT": dict,
    "LIST": list,
    "BOOLEAN": bool,
    "NUMBER_INTEGER": int,
    "NUMBER_DOUBLE": float,
}


@dataclass
class FakeKfp:
    """The server's address and what it holds."""

    url: str = ""
    token: str | None = None
    """None: anybody may call."""
    experiments: dict[str, str] = field(default_factory=dict)
    """Name to id."""
    runs: list[dict[str, Any]] = field(default_factory=list)
    states: list[str] = field(default_factory=list)
    """States that the next looks at a run find; the last one stays."""
    recurring: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Id to recurring run."""
    page: int = 2
    """Recurring runs on one page of the list, whatever is asked for."""
    _made: int = 0

    def admit(self, authorization: str | None) -> None:
        if self.token is not None and authorization != f"Bearer {self.token}":
            raise _RefusalError(401, "who are you?")

    def get(self, path: str, query: dict[str, list[str]]) -> dict[str, Any]:
        if path == "/healthz":
            return {"multi_user": False}
        if path == "/experiments":
            wanted = json.loads(query["filter"][0])["predicates"][0]["stringValue"]
            found = [name for name in self.experiments if name == wanted]
            return {"experiments": [self._experiment(name) for name in found]} if found else {}
        if path.startswith("/runs/"):
            run = self.runs[int(path.removeprefix("/runs/run-"))]
            if self.states:
                run["state"] = self.states.pop(0) if len(self.states) > 1 else self.states[0]
            return run
        if path == "/recurringruns":
            start = int(query.get("page_token", ["0"])[0] or 0)
            known = list(self.recurring.values())
            rest = {"next_page_token": str(start + self.page)} if len(known) > start + self.page else {}
            return {"recurringRuns": known[start : start + self.page], **rest}
        raise _RefusalError(404, f"no {path}")

    def post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        if path == "/experiments":
            name = body["display_name"]
            self.experiments[name] = f"experiment-{len(self.experiments)}"
            return self._experiment(name)
        if path == "/runs":
            self._check(body)
            body["run_id"] = f"run-{len(self.runs)}"
            body |= {"state": "PENDING", "created_at": "2026-01-31T12:00:00Z"}
            self.runs.append(body)
            return body
        if path == "/recurringruns":
            self._check(body)
            if len(body["trigger"]["cron_schedule"]["cron"].split()) != 6:
                raise _RefusalError(400, "cron needs six fields")
            self._made += 1
            body |= {"recurring_run_id": f"schedule-{self._made}", "status": body["mode"] + "D"}
            self.recurring[body["recurring_run_id"]] = body
            return body
        if path.startswith("/recurringruns/") and ":" in path:
            number, _, verb = path.removeprefix("/recurringruns/").partition(":")
            self.recurring[number]["status"] = {"enable": "ENABLED", "disable": "DISABLED"}[verb]
            return {}
        raise _RefusalError(404, f"no {path}")

    def delete(self, path: str) -> dict[str, Any]:
        if self.recurring.pop(path.removeprefix("/recurringruns/"), None) is None:
            raise _RefusalError(404, f"no {path}")
        return {}

    def _experiment(self, name: str) -> dict[str, Any]:
        return {"experiment_id": self.experiments[name], "display_name": name}

    def _check(self, body: dict[str, Any]) -> None:
        """What backend/src/apiserver/template/v2_template.go checks of a run's parameters."""
        if body.get("experiment_id") not in self.experiments.values():
            raise _RefusalError(400, f"no experiment {body.get('experiment_id')}")
        spec = body["pipeline_spec"]
        known = spec.get("pipeline_spec", spec)["root"]["inputDefinitions"]["parameters"]
        for name, value in body["runtime_config"]["parameters"].items():
            if name not in known:
                raise _RefusalError(400, f"parameter {name} is not in the pipeline")
            kind = known[name]["parameterType"]
            if not isinstance(value, _JSON_TYPES[kind]):
                raise _RefusalError(400, f"input parameter {name} requires type {kind}")


class _RefusalError(Exception):
    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


def _handler(server: FakeKfp) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            self._answer(lambda: server.get(parts.path.removeprefix(_PREFIX), parse_qs(parts.query)))

        def do_DELETE(self) -> None:
            self._answer(lambda: server.delete(urlsplit(self.path).path.removeprefix(_PREFIX)))

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers.get("Content-Length") or 0)) or b"{}")
            self._answer(lambda: server.post(urlsplit(self.path).path.removeprefix(_PREFIX), body))

        def _answer(self, make: Any) -> None:
            try:
                server.admit(self.headers.get("Authorization"))
                status, answer = 200, make()
            except _RefusalError as error:
                status, answer = error.status, {"error": str(error)}
            data = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 the base class's name
            """Quiet."""

    return Handler


@contextmanager
def fake_kfp(token: str | None = None) -> Iterator[FakeKfp]:
    """Run the server on a free port of the loopback interface."""
    server = FakeKfp(token=token)
    with ThreadingHTTPServer(("127.0.0.1", 0), _handler(server)) as http:
        server.url = f"http://127.0.0.1:{http.server_port}"
        thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield server
        finally:
            http.shutdown()
            thread.join()
