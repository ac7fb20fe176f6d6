"""The gateway follows the model: its pods are told where the export lies and which server runs it.

Both are part of the Deployment's template, so a pod never asks one model with the prompt, labels and calibration of
another. A rolling update brings the users over: with `hold`, each new pod must be ready for so many seconds before the
next one is replaced, so their share grows pod by pod, and a pod that does not become ready stops it. Meanwhile what the
new pods answer is held against the old ones.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from jobtuner.deploy.kube import Kube, Object
from jobtuner.errors import DeployError
from jobtuner.progress import notice, track

__all__ = ["Gateway", "Tally", "Target", "complaint", "read_tally"]

_MODEL_VARIABLE, _SERVER_VARIABLE = "JOBTUNER_MODEL", "JOBTUNER_MODEL_SERVER"
_FETCHES, _ANSWERS = "fetch-model", "gateway"  # containers
_LABEL = "app.kubernetes.io/component=gateway"
_START_SECONDS = 180.0  # a pod's startup probe
_ENOUGH = 20  # requests: one failure among fewer says nothing
_MOST_FAILURES = 0.05
_PORT = 8080
_TIMEOUT = 5.0


@dataclass(frozen=True)
class Target:
    """Whom the gateway asks."""

    location: str
    """s3 folder of the export."""
    url: str
    """The server that runs it."""


@dataclass(frozen=True)
class Tally:
    """What pods have answered to users."""

    answers: float = 0.0
    failures: float = 0.0
    """Those with a status of 500 or more."""

    def __add__(self, other: "Tally") -> "Tally":
        return Tally(self.answers + other.answers, self.failures + other.failures)

    @property
    def share(self) -> float:
        """Of failures; 0 without answers."""
        return self.failures / self.answers if self.answers else 0.0


def complaint(new: Tally, old: Tally) -> str | None:
    """What users have against the new pods; None: nothing, or too few have asked. Pure.

    Args:
        new: of the pods that ask the new model.
        old: of the others.
    """
    allowed = max(_MOST_FAILURES, 2 * old.share)  # a store or a proxy that is away fails both
    if new.answers < _ENOUGH or new.share <= allowed:
        return None
    return (
        f"{new.failures:.0f} of {new.answers:.0f} requests of users failed ({new.share:.1%}); the old pods fail "
        f"{old.share:.1%}, and {allowed:.1%} are allowed."
    )


def read_tally(address: str) -> Tally:
    """The counters of one pod; an empty tally where it cannot be asked.

    Args:
        address: the pod's.
    """
    import httpx
    from prometheus_client.parser import text_string_to_metric_families

    try:
        text = httpx.get(f"http://{address}:{_PORT}/metrics", timeout=_TIMEOUT, trust_env=False).raise_for_status().text
    except httpx.HTTPError:
        return Tally()
    counted = [
        (int(sample.labels["status"]), sample.value)
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == "jobtuner_requests_total" and sample.labels["path"].startswith("/v1/")
    ]
    return Tally(sum(value for _, value in counted), sum(value for status, value in counted if status >= 500))


class Gateway:
    """The Deployment of the gateway.

    Args:
        kube: its namespace.
        name: its name.
        poll: seconds between two looks.
        alive: called with every look; it keeps a lock.
        sleep: waits; tests give one that does not.
    """

    def __init__(
        self, kube: Kube, name: str, *, poll: float, alive: Callable[[], None], sleep: Callable[[float], None]
    ) -> None:
        self._kube, self._name, self._poll, self._alive, self._sleep = kube, name, poll, alive, sleep

    def target(self) -> Target | None:
        """Whom its pods are to ask; None: no deployment has told it yet.

        Raises:
            DeployError: there is no such Deployment, or it is not one of manifests/features/pipeline-deploy.
        """
        template = self._deployment()["spec"]["template"]["spec"]
        location = _variable(template.get("initContainers") or [], _FETCHES, _MODEL_VARIABLE)
        url = _variable(template["containers"], _ANSWERS, _SERVER_VARIABLE)
        if url is None:
            raise DeployError(
                f"Deployment {self._name} in {self._kube.namespace} does not ask a model server. Add "
                "manifests/features/pipeline-deploy to the overlay, or set deploy.kserve.gateway=null."
            )
        return None if location is None else Target(location, url)

    def follow(self, target: Target, hold: float = 0.0) -> None:
        """Let the pods be replaced by such that ask the target, and wait until all are.

        Args:
            target: whom they are to ask.
            hold: seconds that each new pod answers users before the next one is replaced.

        Raises:
            DeployError: a new pod did not become ready, or its answers failed. The old ones go on as long as one new
                pod is not ready; to go back is the caller's.
        """
        if self.target() == target and _rolled_out(self._deployment()):
            return
        notice(f"{self._name}: {target.url} ({target.location})")
        self._kube.apply(self._patch(target, hold))
        replicas = int(self._deployment()["spec"].get("replicas") or 1)
        deadline = time.monotonic() + (replicas + 1) * (hold + _START_SECONDS)
        with track(f"Waiting for {self._name}", total=None, unit="looks") as bar:
            while not _rolled_out(found := self._deployment()):
                self._alive()
                told = self._users(target) if hold else None
                if told is not None or _stuck(found) or time.monotonic() >= deadline:
                    raise DeployError(f"{self._name} does not follow to {target.url}: {told or _reason(found)}")
                bar.advance()
                self._sleep(self._poll)

    def _users(self, target: Target) -> str | None:
        new, old = Tally(), Tally()
        for pod in self._kube.pods(_LABEL):
            address = (pod.get("status") or {}).get("podIP")
            if address is None:
                continue
            location = _variable(pod["spec"].get("initContainers") or [], _FETCHES, _MODEL_VARIABLE)
            tally = read_tally(address)
            new, old = (new + tally, old) if location == target.location else (new, old + tally)
        return complaint(new, old)

    def _deployment(self) -> Object:
        found = self._kube.get("Deployment", self._name)
        if found is None:
            raise DeployError(
                f"There is no Deployment {self._name} in {self._kube.namespace}, which shall follow the model. Apply "
                "the overlay, or set deploy.kserve.gateway=null where nothing is to follow."
            )
        return found

    def _patch(self, target: Target, hold: float) -> Object:
        """The fields that a deployment of a model owns; all others are the manifests'."""

        def container(name: str, variable: str, value: str) -> dict[str, Any]:
            return {"name": name, "env": [{"name": variable, "value": value}]}

        return {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": self._name, "namespace": self._kube.namespace},
            "spec": {
                "minReadySeconds": round(hold),
                "progressDeadlineSeconds": round(hold + 2 * _START_SECONDS),
                "template": {
                    "spec": {
                        "initContainers": [container(_FETCHES, _MODEL_VARIABLE, target.location)],
                        "containers": [container(_ANSWERS, _SERVER_VARIABLE, target.url)],
                    }
                },
            },
        }


def _variable(containers: Sequence[Object], name: str, variable: str) -> str | None:
    return next(
        (
            str(entry["value"])
            for container in containers
            if container["name"] == name
            for entry in container.get("env") or []
            if entry["name"] == variable and "value" in entry
        ),
        None,
    )


def _rolled_out(deployment: Object) -> bool:
    """As `kubectl rollout status` has it."""
    status, wanted = deployment.get("status") or {}, int(deployment["spec"].get("replicas") or 1)
    counts = [int(status.get(key) or 0) for key in ("updatedReplicas", "replicas", "availableReplicas")]
    seen = int(status.get("observedGeneration") or 0) >= int(deployment["metadata"].get("generation") or 0)
    return seen and counts == [wanted] * 3


def _stuck(deployment: Object) -> bool:
    return _progress(deployment).get("reason") == "ProgressDeadlineExceeded"


def _reason(deployment: Object) -> str:
    message = _progress(deployment).get("message")
    return f"{message or 'its pods were not ready in time.'} Its pods' logs say why."


def _progress(deployment: Object) -> dict[str, Any]:
    conditions = (deployment.get("status") or {}).get("conditions") or []
    return next((dict(item) for item in conditions if item.get("type") == "Progressing"), {})
