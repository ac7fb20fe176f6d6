"""A small Hugging Face Hub on loopback: repositories, commits of regular and large files, tokens, and refusals."""

import base64
import hashlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

import yaml

TOKEN = "hf_" + "w" * 34


class FakeHub:
    """Context manager; `url` is what HF_ENDPOINT should be."""

    def __init__(self) -> None:
        self.repositories: dict[str, dict[str, Any]] = {}
        """Name to {"private", "files", "commits"}."""
        self.objects: dict[str, bytes] = {}
        """Large files by SHA-256."""
        self.read_only = False
        """When set, the token may not write."""

    def __enter__(self) -> Self:
        hub = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                hub.post(self)

            def do_PUT(self) -> None:
                hub.put(self)

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self._server.shutdown()
        self._server.server_close()

    def put(self, request: BaseHTTPRequestHandler) -> None:
        content = _body(request)
        digest = request.path.removeprefix("/objects/")
        if hashlib.sha256(content).hexdigest() != digest:
            _answer(request, 400, {"error": "another content than announced"})
            return
        self.objects[digest] = content
        _answer(request, 200, {})

    def post(self, request: BaseHTTPRequestHandler) -> None:
        body, path = _body(request), request.path.partition("?")[0]
        if request.headers.get("authorization") != f"Bearer {TOKEN}":
            _answer(request, 401, {"error": "Invalid username or password."})
        elif self.read_only:
            _answer(request, 403, {"error": "You don't have the rights to do that."})
        elif path == "/api/validate-yaml":
            _answer(request, *_validated(json.loads(body)["content"]))
        elif path == "/api/repos/create":
            self._create(request, json.loads(body))
        elif path.endswith("/info/lfs/objects/batch"):
            self._batch(request, json.loads(body))
        else:
            self._write(request, path, body)

    def _create(self, request: BaseHTTPRequestHandler, asked: dict[str, Any]) -> None:
        owner = asked.get("organization") or "me"
        name = f"{owner}/{asked['name']}"
        known = name in self.repositories
        private = asked.get("private") or asked.get("visibility") == "private"
        self.repositories.setdefault(name, {"private": bool(private), "files": {}, "commits": 0})
        told = {"url": f"{self.url}/{name}", "name": name, "id": name}
        _answer(
            request, 409 if known else 200, told | ({"error": "You already created this model repo"} if known else {})
        )

    def _batch(self, request: BaseHTTPRequestHandler, asked: dict[str, Any]) -> None:
        objects = []
        for item in asked["objects"]:
            have = (
                {}
                if item["oid"] in self.objects
                else {"actions": {"upload": {"href": f"{self.url}/objects/{item['oid']}"}}}
            )
            objects.append({"oid": item["oid"], "size": item["size"], **have})
        _answer(request, 200, {"transfer": "basic", "objects": objects})

    def _write(self, request: BaseHTTPRequestHandler, path: str, body: bytes) -> None:
        parts = path.removeprefix("/api/models/").split("/")
        repository, verb = self.repositories["/".join(parts[:2])], parts[2]
        if verb == "preupload":
            modes = [
                {
                    "path": item["path"],
                    "uploadMode": "lfs" if item["path"].endswith(".safetensors") else "regular",
                    "shouldIgnore": False,
                }
                for item in json.loads(body)["files"]
            ]
            _answer(request, 200, {"files": modes})
            return
        for line in map(json.loads, body.decode().splitlines()):
            value = line["value"]
            if line["key"] == "file":
                repository["files"][value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                repository["files"][value["path"]] = self.objects[value["oid"]]
        repository["commits"] += 1
        _answer(
            request,
            200,
            {
                "commitUrl": f"{self.url}/{'/'.join(parts[:2])}/commit/{'1' * 40}",
                "commitOid": "1" * 40,
                "hookOutput": "",
            },
        )


def _validated(content: str) -> tuple[int, dict[str, Any]]:
    """As the Hub: the metadata must be YAML, with a licence."""
    data = yaml.safe_load(content.split("---")[1]) if content.startswith("---") else None
    if not isinstance(data, dict) or "license" not in data:
        return 400, {"errors": [{"message": "license is missing"}], "warnings": []}
    return 200, {"errors": [], "warnings": []}


def _body(request: BaseHTTPRequestHandler) -> bytes:
    if request.headers.get("transfer-encoding") == "chunked":
        parts = []
        while size := int(request.rfile.readline(), 16):
            parts.append(request.rfile.read(size))
            request.rfile.readline()
        request.rfile.readline()
        return b"".join(parts)
    return request.rfile.read(int(request.headers.get("content-length") or 0))


def _answer(request: BaseHTTPRequestHandler, status: int, body: dict[str, Any]) -> None:
    content = json.dumps(body).encode()
    request.send_response(status)
    request.send_header("content-type", "application/json")
    request.send_header("content-length", str(len(content)))
    if "error" in body:
        request.send_header("x-error-message", body["error"])
    request.end_headers()
    request.wfile.write(content)
