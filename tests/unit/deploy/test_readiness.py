"""When a model counts as ready, and what is said while it does not; who holds the lock."""

from collections.abc import Iterator
from typing import Any

import pytest

from jobtuner.deploy import lease
from jobtuner.deploy.kube import Kube
from jobtuner.deploy.manifest import MODEL_LABEL
from jobtuner.deploy.readiness import judge
from jobtuner.errors import DeployError
from tests.unit.deploy.fake_cluster import FakeCluster


def _service(ready: str = "True", **status: Any) -> dict[str, Any]:
    return {"status": {"conditions": [{"type": "Ready", "status": ready}], **status}}


def _pod(model: str | None, ready: str = "True", *, going: bool = False, **status: Any) -> dict[str, Any]:
    meta: dict[str, Any] = {"name": f"llm-{model}", "labels": {} if model is None else {MODEL_LABEL: model}}
    meta |= {"deletionTimestamp": "2026-01-31T12:00:00Z"} if going else {}
    return {"metadata": meta, "status": {"conditions": [{"type": "Ready", "status": ready}], **status}}


@pytest.mark.parametrize(
    ("service", "pods", "ready"),
    [
        (_service(), [_pod("new")], True),
        (_service(), [_pod("new"), _pod("new")], True),
        (_service(), [_pod("new"), _pod("old", going=True)], True),  # on its way out, out of the Service already
        (_service(), [_pod("new"), _pod("old")], False),  # either of them may answer
        (_service(), [_pod("old")], False),  # KServe says Ready of the old one too
        (_service(), [_pod(None)], False),
        (_service(), [], False),  # scaled to zero, or not begun
        (_service("False"), [_pod("new")], False),
        (_service(), [_pod("new", "False")], False),
        (_service(), [_pod("new"), _pod("new", "False")], False),
        (_service(), [_pod("new", going=True)], False),
        ({}, [_pod("new")], False),  # no status yet
    ],
)
def test_ready(service: dict[str, Any], pods: list[dict[str, Any]], ready: bool) -> None:
    state = judge(service, pods, [], "llm", "new")
    assert (state.ready, state.hopeless) == (ready, False)


def _container(**state: Any) -> dict[str, Any]:
    return {"name": "kserve-container", "restartCount": 0, **state}


@pytest.mark.parametrize(
    ("status", "told", "hopeless"),
    [
        ({"containerStatuses": [_container(state={"waiting": {"reason": "ContainerCreating"}})]}, None, False),
        (
            {"containerStatuses": [_container(state={"waiting": {"reason": "ImagePullBackOff", "message": "no x"}})]},
            "pod llm-new, kserve-container: ImagePullBackOff. no x",
            False,
        ),
        (
            {"initContainerStatuses": [_container(lastState={"terminated": {"exitCode": 1, "reason": "Error"}})]},
            "pod llm-new, kserve-container: ended with 1 (Error).",
            False,
        ),
        (
            {"containerStatuses": [_container(state={"waiting": {"reason": "CrashLoopBackOff"}}, restartCount=2)]},
            "pod llm-new, kserve-container: CrashLoopBackOff.",
            False,
        ),
        (
            {"containerStatuses": [_container(state={"waiting": {"reason": "CrashLoopBackOff"}}, restartCount=3)]},
            "pod llm-new, kserve-container: CrashLoopBackOff.",
            True,
        ),
        (
            {"containerStatuses": [_container(state={"running": {}}, restartCount=9)]},  # it runs now
            None,
            False,
        ),
    ],
)
def test_reasons_of_the_new_pods(status: dict[str, Any], told: str | None, hopeless: bool) -> None:
    old = _pod("old", containerStatuses=[_container(state={"waiting": {"reason": "OldNews"}})])
    state = judge(_service(), [_pod("new", "False", **status), old], [], "llm", "new")
    assert (state.reasons, state.hopeless) == ((told,) if told else (), hopeless)


def test_reasons_of_the_service_and_its_events() -> None:
    def event(about: str, text: str) -> dict[str, Any]:
        return {"reason": "Failed", "message": text, "involvedObject": {"name": about}}

    failure = {"modelStatus": {"lastFailureInfo": {"reason": "ModelLoadFailed", "message": "no such bucket "}}}
    events = [event("llm-new", "one"), event("llm", "two"), event("llm-old", "old news"), event("llm-new", "one")]
    state = judge(_service("False", **failure), [_pod("new", "False")], events, "llm", "new")
    assert state.reasons == ("Failed: one", "Failed: two", "KServe: ModelLoadFailed: no such bucket.")
    assert judge(None, [], [], "llm", "new").hopeless


@pytest.fixture
def kube() -> Iterator[Kube]:
    with FakeCluster().running() as fake:
        yield Kube("serving", fake.client())


def test_a_dead_holder_loses_the_lock(kube: Kube, monkeypatch: pytest.MonkeyPatch) -> None:
    with lease.only_one(kube, "llm", patience=0, poll=0) as renew:
        with pytest.raises(DeployError, match="holds the Lease"), lease.only_one(kube, "llm", patience=0, poll=0):
            pass
        found = kube.get("Lease", "llm")
        assert found is not None
        found["spec"]["renewTime"] = "2026-01-31T12:00:00.000000Z"
        kube.replace(found)
        with lease.only_one(kube, "llm", patience=0, poll=0), pytest.raises(DeployError, match="took over"):
            renew()
    with lease.only_one(kube, "llm", patience=0, poll=0):  # given back: at once
        pass


def test_of_two_that_take_an_old_lock_one_wins(kube: Kube) -> None:
    with lease.only_one(kube, "llm", patience=0, poll=0):
        pass
    read = kube.get("Lease", "llm")
    assert read is not None
    assert kube.replace(dict(read)) is not None
    assert kube.replace(dict(read)) is None
