"""The gateway follows the model: by the canary to its place, back where users are failed, and whatever is killed."""

# fixtures of another file

import copy
import itertools
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest
import yaml

from jobtuner.config import KServeConfig
from jobtuner.deploy import gateway
from jobtuner.deploy.cluster import Rollout
from jobtuner.deploy.follow import Champion, look_once
from jobtuner.deploy.gateway import Tally, Target, complaint
from jobtuner.deploy.kube import Kube
from jobtuner.errors import ConfigError, DeployError
from jobtuner.serve.metrics import Metrics
from manifests.check import ROOT
from tests.unit.deploy.fake_cluster import FakeCluster
from tests.unit.deploy.rollouts import (
    KilledError,
    Models,
    Mortal,
    bundle_named,
    fetched,
    release_named,
    serving_now,
    there,
)
from tests.unit.serve.fakes import KeywordClassifier

_REAL_TALLY = gateway.read_tally
_SETTINGS = KServeConfig(ready_seconds=0.5, poll_seconds=0.001, users_seconds=0.01)
_MAIN = "http://jobtuner-llm.jobtuner-serving.svc.cluster.local:8080"
_CANARY = _MAIN.replace("llm.", "llm-canary.", 1)


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeCluster]:
    monkeypatch.setattr(gateway, "read_tally", lambda _: Tally())
    with FakeCluster().running() as running:
        running.add_gateway(_MAIN)
        yield running


def _rollout(fake: FakeCluster, name: str, kube: Kube | None = None, **settings: Any) -> Rollout:
    made = _SETTINGS.model_copy(update=settings)
    return Rollout(kube or Kube(made.namespace, fake.client()), made, bundle_named(name), release_named(name))


def _asked(fake: FakeCluster) -> set[str]:
    """Export and server of every pod of the gateway."""
    return set(fake.gateway_pods)


@pytest.mark.parametrize(
    ("new", "old", "fine"),
    [
        ((0, 0), (0, 0), True),
        ((19, 19), (1000, 0), True),  # too few to say
        ((20, 1), (1000, 0), True),  # 5 %
        ((20, 2), (1000, 0), False),
        ((100, 30), (100, 20), True),  # something fails both
        ((100, 50), (100, 20), False),
    ],
)
def test_what_users_have_against_new_pods(new: tuple[int, int], old: tuple[int, int], fine: bool) -> None:
    assert (complaint(Tally(*new), Tally(*old)) is None) == fine


def test_the_gateway_goes_by_the_canary(fake: FakeCluster, models: Models) -> None:
    _rollout(fake, "a").run()
    assert _asked(fake) == {f"s3://models/a {_MAIN}"}
    fake.writes.clear()
    _rollout(fake, "b", url="http://{name}.port-forward:1").run()  # from a laptop: pods go by their own way
    assert _asked(fake) == {f"s3://models/b {_MAIN}"}
    deployment = ("APPLY", "Deployment", "jobtuner-gateway")
    order = [write for write in fake.writes if write[1] in {"Deployment", "InferenceService"}]
    assert order == [
        ("APPLY", "InferenceService", "jobtuner-llm-canary"),
        deployment,  # to the canary, before the champion's pods go
        ("APPLY", "InferenceService", "jobtuner-llm"),
        deployment,  # to its place, before the canary goes
        ("DELETE", "InferenceService", "jobtuner-llm-canary"),
    ]
    template = fake.objects["Deployment", "jobtuner-gateway"]["spec"]["template"]["spec"]
    assert {"name": "OTHER", "value": "kept"} in template["initContainers"][0]["env"]
    fake.writes.clear()
    _rollout(fake, "b").run()
    assert fake.writes == []


def test_each_new_pod_is_held_before_the_next(fake: FakeCluster, models: Models) -> None:
    seen = []
    real = FakeCluster._roll_gateway

    def noted(self: FakeCluster) -> None:
        spec = self.objects["Deployment", "jobtuner-gateway"]["spec"]
        seen.append((self._wanted().partition(" ")[2], spec.get("minReadySeconds")))
        real(self)

    _rollout(fake, "a").run()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(FakeCluster, "_roll_gateway", noted)
        _rollout(fake, "b", users_seconds=90.0).run()
    assert set(seen) >= {(_CANARY, 90), (_MAIN, 0)}
    assert (_MAIN, 90) not in seen


def test_users_that_are_failed_stop_it(
    fake: FakeCluster,
    models: Models,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    _rollout(fake, "a").run()
    fake.fate["s3://models/b"] = "slow"  # the second pod waits: the first has its share

    def tally(address: str) -> Tally:
        new = fake._wanted().startswith("s3://models/b") and address == "10.0.0.0"
        return Tally(100, 40) if new else Tally(1000, 1)

    monkeypatch.setattr(gateway, "read_tally", tally)
    said = "m/b failed as a canary and was removed; m/a serves on.*40 of 100 requests of users failed"
    with pytest.raises(DeployError, match=said):
        _rollout(fake, "b").run()
    assert _asked(fake) == {f"s3://models/a {_MAIN}"}
    assert there(fake) == {("InferenceService", "jobtuner-llm")} and serving_now(fake) == "m/a"


def test_pods_that_do_not_start_stop_it(fake: FakeCluster, models: Models) -> None:
    _rollout(fake, "a").run()
    fake.fate["s3://models/b"] = "crash"
    with pytest.raises(DeployError, match=r"does not follow to.*1 pod has not come"):
        _rollout(fake, "b").run()
    assert _asked(fake) == {f"s3://models/a {_MAIN}"}


def test_a_model_that_fails_in_its_place_leaves_users_with_the_old(
    fake: FakeCluster,
    models: Models,
) -> None:
    _rollout(fake, "a").run()
    fake.writes.clear()
    real, tries = models.check, []

    def check(url: str, *rest: Any) -> list[dict[str, Any]]:
        tries.append(url)
        if len(tries) == 2:  # the canary was fine
            raise DeployError("answers wrongly")
        return real(url, *rest)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("jobtuner.deploy.cluster.check_served", check)
        with pytest.raises(DeployError, match=r"m/b failed; m/a serves again\."):
            _rollout(fake, "b").run()
    assert _asked(fake) == {f"s3://models/a {_MAIN}"}
    gone = fake.writes.index(("DELETE", "InferenceService", "jobtuner-llm-canary"))
    assert max(place for place, write in enumerate(fake.writes) if write[1] == "Deployment") < gone
    assert there(fake) == {("InferenceService", "jobtuner-llm")}


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("stride", [9, pytest.param(1, marks=pytest.mark.slow)])
def test_killed_anywhere_and_started_again(
    fake: FakeCluster,
    models: Models,
    monkeypatch: pytest.MonkeyPatch,
    after: bool,
    stride: int,
) -> None:
    monkeypatch.setattr("jobtuner.deploy.lease._SECONDS", 0)
    fake.looks_until_ready = 0
    _rollout(fake, "a").run()
    before = copy.deepcopy((fake.objects, fake._pods, fake.gateway_pods))
    lives = 1
    while True:
        fake.objects, fake._pods, fake.gateway_pods = copy.deepcopy(before)
        mortal = Mortal(fake, lives, after)
        try:
            _rollout(fake, "b", kube=mortal).run()
        except KilledError:
            _rollout(fake, "b").run()
        assert _asked(fake) == {f"s3://models/b {_MAIN}"}
        assert there(fake) == {("InferenceService", "jobtuner-llm")} and serving_now(fake) == "m/b"
        if mortal.lives > 0:
            break
        lives += stride


def test_another_models_unfinished_try_loses_its_users_first(fake: FakeCluster, models: Models) -> None:
    """The gateway asks a canary whose rollout was killed; the next one's canary must not answer in its name."""
    _rollout(fake, "a").run()
    kube = Kube("jobtuner", fake.client())
    gateway.Gateway(kube, "jobtuner-gateway", poll=0, alive=lambda: None, sleep=lambda _: None).follow(
        Target("s3://models/b", _CANARY)
    )
    fake.writes.clear()
    _rollout(fake, "c").run()
    assert fake.writes[0] == ("APPLY", "Deployment", "jobtuner-gateway")
    assert _asked(fake) == {f"s3://models/c {_MAIN}"}


def test_the_follower_brings_the_gateway_too(
    fake: FakeCluster,
    models: Models,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("jobtuner.deploy.follow.find_bundle", lambda key, place, serving: f"s3://models/{key}")
    monkeypatch.setattr("jobtuner.deploy.follow.fetch_bundle", fetched)
    kube = Kube(_SETTINGS.namespace, fake.client())
    _rollout(fake, "a", gateway=None).run()  # as an older version left it
    assert look_once(Champion("m/a", "a"), kube, _SETTINGS, 16)[0] == "deploy"
    assert _asked(fake) == {f"s3://models/a {_MAIN}"}
    assert look_once(Champion("m/a", "a"), kube, _SETTINGS, 16) == ("nothing", None)


@pytest.mark.parametrize("there", [True, False])
def test_a_gateway_that_cannot_follow_is_said(fake: FakeCluster, models: Models, there: bool) -> None:
    deployment = fake.objects.pop(("Deployment", "jobtuner-gateway"))
    if there:
        deployment["spec"]["template"]["spec"]["containers"][0]["env"] = []
        fake.objects["Deployment", "jobtuner-gateway"] = deployment
    told = "does not ask a model server" if there else "There is no Deployment jobtuner-gateway in jobtuner"
    with pytest.raises(DeployError, match=f"{told}.*deploy.kserve.gateway=null"):
        _rollout(fake, "a").run()
    assert fake.writes == []  # before anything was changed


def test_the_role_in_the_gateways_namespace(fake: FakeCluster, models: Models) -> None:
    _rollout(fake, "a").run()
    fake.asked.clear()
    _rollout(fake, "b").run()
    text = (ROOT / "features" / "pipeline-deploy" / "rights.yaml").read_text(encoding="utf-8")
    (role,) = [
        item
        for item in yaml.safe_load_all(text)
        if item["kind"] == "Role" and item["metadata"]["namespace"] == "jobtuner"
    ]
    allowed = {
        (verb, resource, name)
        for rule in role["rules"]
        for verb, resource, name in itertools.product(rule["verbs"], rule["resources"], rule.get("resourceNames", [""]))
    }
    asked = {item for item in fake.asked if item[1] == "deployments"} - {("create", "deployments", "")}
    assert allowed == asked | {("list", "pods", "")}


@pytest.mark.parametrize("value", ["jobtuner-gateway", "a/b/c", "/x"])
def test_a_gateway_is_named_with_its_namespace(value: str) -> None:
    with pytest.raises((ConfigError, ValueError), match="namespace/name"):
        KServeConfig(gateway=value)


class _Metrics(BaseHTTPRequestHandler):
    text = b""

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(self.text)

    def log_message(self, *_: object) -> None:
        """Quiet."""


def test_a_pods_counters_are_the_gateways_own(monkeypatch: pytest.MonkeyPatch) -> None:
    counted = Metrics(KeywordClassifier())
    for path, status, times in (("/v1/occupations", 200, 7), ("/v1/skills", 503, 2), ("/ready", 503, 90)):
        for _ in range(times):
            counted.opened()
            counted.closed(path, status, 0.1, "a-site")
    monkeypatch.setattr(_Metrics, "text", counted.text(ready=True))
    with HTTPServer(("127.0.0.1", 0), _Metrics) as server:
        thread = threading.Thread(target=server.handle_request)
        thread.start()
        monkeypatch.setattr("jobtuner.deploy.gateway._PORT", server.server_port)
        assert _REAL_TALLY("127.0.0.1") == Tally(9, 2)
        thread.join()
    assert _REAL_TALLY("127.0.0.1") == Tally()  # nobody listens any more
