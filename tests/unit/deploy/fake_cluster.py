"""A small Kubernetes API server with KServe behind it, over real HTTP: what a deployment asks of them, as they answer.

Server-side apply, resourceVersions and their conflicts, 404 and 409, pods that come up (or do not) some looks after an
InferenceService was applied, old pods that linger, and events. What should go wrong is said by `fate`.
"""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal
from urllib.parse import parse_qs, urlsplit

from kubernetes.client import ApiClient, Configuration

__all__ = ["FakeCluster", "Fate"]

Fate = Literal["ready", "crash", "no-node", "slow"]

_KINDS = {"inferenceservices": "InferenceService", "leases": "Lease", "services": "Service", "configmaps": "ConfigMap"}
_KINDS |= {"deployments": "Deployment"}
_GATEWAY = ("Deployment", "jobtuner-gateway")
_LABEL = "jobtuner.dev/model"


@dataclass
class FakeCluster:
    url: str = ""
    token: str = "t0ken"
    objects: dict[tuple[str, str], dict[str, Any]] = field(default_factory=dict)
    fate: dict[str, Fate] = field(default_factory=dict)
    """What becomes of the pods of a model, by its label; unnamed ones become ready."""
    looks_until_ready: int = 2
    """Pod listings after which new pods are ready and the old ones are gone."""
    forbidden: set[str] = field(default_factory=set)
    """Kinds that the caller has no right to."""
    asked: set[tuple[str, str, str]] = field(default_factory=set)
    """Verb, resource and name of every request, as RBAC sees it."""
    writes: list[tuple[str, str, str]] = field(default_factory=list)
    """Method, kind and name of everything that was written, leases apart."""
    gateway_pods: list[str] = field(default_factory=list)
    """Per pod of the gateway: the export that it asks about, and the server, with a blank between."""
    _pods: dict[str, dict[str, Any]] = field(default_factory=dict)
    _version: int = 0

    def __post_init__(self) -> None:
        self._lock = threading.Lock()

    @contextmanager
    def running(self) -> Iterator["FakeCluster"]:
        server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        self.url = f"http://127.0.0.1:{server.server_port}"
        try:
            yield self
        finally:
            server.shutdown()
            server.server_close()
            thread.join()

    def client(self) -> ApiClient:
        settings = Configuration(host=self.url, api_key={"authorization": f"Bearer {self.token}"})
        return ApiClient(settings)

    def kubeconfig(self) -> dict[str, Any]:
        """What KUBECONFIG would name."""
        return {
            "apiVersion": "v1", "kind": "Config", "current-context": "fake",
            "clusters": [{"name": "fake", "cluster": {"server": self.url}}],
            "users": [{"name": "fake", "user": {"token": self.token}}],
            "contexts": [{"name": "fake", "context": {"cluster": "fake", "user": "fake"}}],
        }  # fmt: skip

    def model_of(self, name: str) -> str | None:
        """Label of the model that answers behind a service: that of its ready pods."""
        pods = self._pods.get(name)
        return None if pods is None else pods["serving"]

    def add_gateway(self, server: str) -> None:
        """As the overlay makes it: two pods, and no deployment has told them about a model yet."""
        pod = {
            "initContainers": [{"name": "fetch-model", "image": "i", "env": [{"name": "OTHER", "value": "kept"}]}],
            "containers": [{"name": "gateway", "env": [{"name": "JOBTUNER_MODEL_SERVER", "value": server}]}],
        }
        meta = {"name": _GATEWAY[1], "generation": 1, "resourceVersion": "1"}
        self.objects[_GATEWAY] = {"metadata": meta, "spec": {"replicas": 2, "template": {"spec": pod}}}
        self.gateway_pods = [self._wanted()] * 2

    def _wanted(self) -> str:
        """What the Deployment's template says."""
        pod = self.objects[_GATEWAY]["spec"]["template"]["spec"]
        every = {entry["name"]: entry["value"] for kind in pod.values() for item in kind for entry in item["env"]}
        return f"{every.get('JOBTUNER_MODEL', '-')} {every.get('JOBTUNER_MODEL_SERVER', '-')}"

    # ---- the API server

    def answer(self, method: str, path: str, query: dict[str, list[str]], kind: str, body: Any) -> tuple[int, Any]:
        parts = path.strip("/").split("/")
        at = parts.index("namespaces")
        resource, name = parts[at + 2], "/".join(parts[at + 3 :])
        verb = {"GET": "get" if name else "list", "POST": "create", "PUT": "update"}.get(method, method.lower())
        self.asked.add((verb, resource, name))
        if verb == "patch":  # server-side apply may have to make the object
            self.asked.add(("create", resource, ""))
        if resource == "pods" and query["labelSelector"] == ["app.kubernetes.io/component=gateway"]:
            return 200, {"items": [_gateway_pod(place, said) for place, said in enumerate(self.gateway_pods)]}
        if resource == "pods":
            return 200, {"items": self._list_pods(query["labelSelector"][0])}
        if resource == "events":
            assert query["fieldSelector"] == ["type=Warning"]
            return 200, {"items": self._events()}
        key = (_KINDS[resource], name)
        if key[0] in self.forbidden:
            return 403, {"message": f"{resource} is forbidden"}
        return getattr(self, f"_{method.lower()}")(key, query, kind, body)  # type: ignore[no-any-return]

    def _get(self, key: tuple[str, str], *_: Any) -> tuple[int, Any]:
        if key == _GATEWAY and key in self.objects:
            self._roll_gateway()
        return (200, self.objects[key]) if key in self.objects else (404, {"reason": "NotFound"})

    def _patch(self, key: tuple[str, str], query: dict[str, list[str]], kind: str, body: Any) -> tuple[int, Any]:
        if kind != "application/apply-patch+yaml" or "fieldManager" not in query:
            return 415, {"message": f"{kind} without a manager"}
        known = self.objects.get(key)
        if known is not None and {k: v for k, v in known.items() if k != "status"} | _versioned(body, known) == known:
            return 200, known  # nothing changes, nothing happens
        if key == _GATEWAY:
            if known is None:
                return 422, {"message": "spec.template.spec.containers[0].image: Required value"}
            merged = _merged(known, body)
            merged["metadata"] |= {"generation": known["metadata"]["generation"] + 1, "resourceVersion": self._next()}
            self.objects[key] = merged
            self.writes.append(("APPLY", *key))
            return 200, merged
        made = {**body, "metadata": {**body["metadata"], "resourceVersion": self._next()}}
        self.objects[key] = made
        self.writes.append(("APPLY", *key))
        if key[0] == "InferenceService":
            self._roll_out(key[1], made)
        return (201 if known is None else 200), made

    def _post(self, key: tuple[str, str], _query: Any, _kind: str, body: Any) -> tuple[int, Any]:
        key = (key[0], body["metadata"]["name"])
        if key in self.objects:
            return 409, {"reason": "AlreadyExists"}
        return self._store(key, body, 201)

    def _put(self, key: tuple[str, str], _query: Any, _kind: str, body: Any) -> tuple[int, Any]:
        known = self.objects.get(key)
        if known is None:
            return 404, {"reason": "NotFound"}
        if body["metadata"].get("resourceVersion") != known["metadata"]["resourceVersion"]:
            return 409, {"reason": "Conflict"}
        return self._store(key, body, 200)

    def _delete(self, key: tuple[str, str], *_: Any) -> tuple[int, Any]:
        if self.objects.pop(key, None) is None:
            return 404, {"reason": "NotFound"}
        self.writes.append(("DELETE", *key))
        if key[0] == "InferenceService":
            self._pods.pop(key[1], None)
        return 200, {"status": "Success"}

    def _store(self, key: tuple[str, str], body: Any, status: int) -> tuple[int, Any]:
        self.objects[key] = {**body, "metadata": {**body["metadata"], "resourceVersion": self._next()}}
        return status, self.objects[key]

    def _next(self) -> str:
        self._version += 1
        return str(self._version)

    # ---- KServe

    def _roll_out(self, name: str, service: dict[str, Any]) -> None:
        """New pods beside the old; the service stays Ready, as KServe leaves it."""
        wanted = service["spec"]["predictor"]["labels"][_LABEL]
        pods = self._pods.setdefault(name, {"serving": None, "coming": None, "looks": 0})
        if pods["serving"] != wanted:
            pods |= {"coming": wanted, "looks": 0}
        else:
            pods |= {"coming": None}
        service["status"] = {"conditions": [{"type": "Ready", "status": str(pods["serving"] is not None)}]}

    def _roll_gateway(self) -> None:
        """One pod a look, if the new ones become ready at all."""
        item, wanted = self.objects[_GATEWAY], self._wanted()
        old = [place for place, said in enumerate(self.gateway_pods) if said != wanted]
        status = {"observedGeneration": item["metadata"]["generation"], "replicas": 2, "availableReplicas": 2}
        fate = self.fate.get(wanted.partition(" ")[0], "ready")
        if (old and fate == "ready") or (len(old) == 2 and fate == "slow"):  # slow: the first one is on trial for long
            self.gateway_pods[old[0]] = wanted
        status["updatedReplicas"] = 2 - len(old) if fate == "ready" or not old else 1
        if old:
            status["replicas"] = 3
        if old and fate == "crash":
            status["conditions"] = [
                {"type": "Progressing", "reason": "ProgressDeadlineExceeded", "message": "1 pod has not come."}
            ]
        item["status"] = status

    def _list_pods(self, selector: str) -> list[dict[str, Any]]:
        name = selector.removeprefix("app=isvc.").removesuffix("-predictor")
        pods = self._pods.get(name)
        if pods is None:
            return []
        coming, fate = pods["coming"], self.fate.get(pods["coming"] or "", "ready")
        if coming and fate == "ready":
            pods["looks"] += 1
            if pods["looks"] > self.looks_until_ready:
                pods |= {"serving": coming, "coming": None}
                self.objects["InferenceService", name]["status"]["conditions"][0]["status"] = "True"
        found = [_pod(name, "old", pods["serving"], "ready")] if pods["serving"] else []
        if pods["coming"]:
            found.append(_pod(name, "new", coming, "slow" if fate == "ready" else fate))
        return found

    def _events(self) -> list[dict[str, Any]]:
        return [
            {
                "type": "Warning", "reason": "FailedScheduling", "message": "0/3 nodes: insufficient nvidia.com/gpu",
                "involvedObject": {"name": f"{name}-predictor-new"},
            }
            for name, pods in self._pods.items()
            if self.fate.get(pods["coming"] or "") == "no-node"
        ]  # fmt: skip

    # ---- HTTP

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        owner = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            wbufsize = -1  # headers and body in one packet: else each answer waits 40 ms for an acknowledgement

            def _handle(self) -> None:
                length = int(self.headers.get("Content-Length") or 0)
                body = json.loads(self.rfile.read(length)) if length else None
                parts = urlsplit(self.path)
                if self.headers.get("Authorization") != f"Bearer {owner.token}":
                    status, answer = 401, {"message": "who are you?"}
                else:
                    with owner._lock:
                        status, answer = owner.answer(
                            self.command, parts.path, parse_qs(parts.query), self.headers["Content-Type"], body
                        )
                data = json.dumps(answer).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            do_GET = do_PATCH = do_POST = do_PUT = do_DELETE = _handle  # noqa: N815 the base class's names

            def log_message(self, *_: object) -> None:
                """Quiet."""

        return Handler


def _versioned(body: Any, known: Any) -> dict[str, Any]:
    return {**body, "metadata": {**body["metadata"], "resourceVersion": known["metadata"]["resourceVersion"]}}


def _gateway_pod(place: int, said: str) -> dict[str, Any]:
    location = said.partition(" ")[0]
    env = [] if location == "-" else [{"name": "JOBTUNER_MODEL", "value": location}]
    return {
        "spec": {"initContainers": [{"name": "fetch-model", "env": env}]},
        "status": {"podIP": f"10.0.0.{place}"},
    }


def _merged(known: Any, new: Any) -> Any:
    """Server-side apply: maps key by key, lists of named things by their names."""
    if isinstance(known, dict) and isinstance(new, dict):
        return {**known, **{key: _merged(known.get(key), value) for key, value in new.items()}}
    if isinstance(known, list) and isinstance(new, list):
        by_name = {item["name"]: item for item in known}
        return list((by_name | {item["name"]: _merged(by_name.get(item["name"]), item) for item in new}).values())
    return new


def _pod(service: str, age: str, model: str, fate: str) -> dict[str, Any]:
    name = f"{service}-predictor-{age}"
    status: dict[str, Any] = {"conditions": [{"type": "Ready", "status": str(fate == "ready")}]}
    if fate == "crash":
        status["containerStatuses"] = [
            {
                "name": "kserve-container", "restartCount": 3,
                "state": {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 40s"}},
                "lastState": {"terminated": {"exitCode": 137, "reason": "OOMKilled"}},
            }
        ]  # fmt: skip
    if fate == "no-node":
        status["conditions"].append({"type": "PodScheduled", "status": "False", "reason": "Unschedulable",
                                     "message": "no node has a GPU"})  # fmt: skip
    return {"metadata": {"name": name, "labels": {_LABEL: model}}, "status": status}
