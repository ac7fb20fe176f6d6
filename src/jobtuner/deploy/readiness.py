"""Is the new model ready, and if not, why? What the cluster says, read by a pure function; and the waiting.

KServe's Ready is not enough: in mode Standard it follows the Deployment, which is available as long as any pod is, the
old model's too. So the pods are asked, by the label that says which model they serve.
"""

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from jobtuner.deploy.kube import Kube, Object
from jobtuner.deploy.manifest import MODEL_LABEL
from jobtuner.errors import DeployError
from jobtuner.progress import notice, track

__all__ = ["State", "judge", "pod_label", "wait_until_ready"]

_HOPELESS_RESTARTS = 3
"""Container starts that failed before it is called hopeless: one may be luck, kubelet's pause is 40 s by then."""


@dataclass(frozen=True)
class State:
    """What is known of a model on its way."""

    ready: bool
    hopeless: bool
    """Waiting longer would change nothing."""
    reasons: tuple[str, ...]
    """Why it is not ready, for the user; the newest last."""


def pod_label(name: str) -> str:
    """The label by which KServe's pods of an InferenceService are found, `key=value`."""
    return f"app=isvc.{name}-predictor"


def judge(service: Object | None, pods: Sequence[Object], warnings: Sequence[Object], name: str, model: str) -> State:
    """What service, pods and events say of a model.

    Args:
        service: the InferenceService; None: it is gone.
        pods: all of its pods, those of another model among them.
        warnings: events of the namespace.
        name: the InferenceService's name.
        model: value of MODEL_LABEL that its pods shall have.
    """
    if service is None:
        return State(False, True, (f"InferenceService {name} is gone: somebody has deleted it.",))
    alive = [pod for pod in pods if not pod["metadata"].get("deletionTimestamp")]
    mine = [pod for pod in alive if (pod["metadata"].get("labels") or {}).get(MODEL_LABEL) == model]
    ready = (
        _condition(service, "Ready") == "True"
        and bool(mine)
        and len(mine) == len(alive)
        and all(_condition(pod, "Ready") == "True" for pod in mine)
    )
    if ready:
        return State(True, False, ())
    reasons = [*_events(warnings, name, mine), *_of_service(service), *(line for pod in mine for line in _of_pod(pod))]
    hopeless = any(_restarts(pod) >= _HOPELESS_RESTARTS for pod in mine)
    return State(False, hopeless, tuple(dict.fromkeys(reasons)))


def wait_until_ready(
    kube: Kube,
    name: str,
    model: str,
    *,
    seconds: float,
    poll: float,
    alive: Callable[[], None] = lambda: None,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Look until the model is ready, and tell each new reason why it is not.

    Args:
        kube: the cluster.
        name: the InferenceService.
        model: value of MODEL_LABEL of its pods.
        seconds: the limit.
        poll: seconds between two looks.
        alive: called with every look; it keeps a lock.
        sleep: waits; tests give one that does not.

    Raises:
        DeployError: it is hopeless, or the time is over; with the last reasons.
    """
    deadline, told = time.monotonic() + seconds, set[str]()
    with track(f"Waiting for {name}", total=None, unit="looks") as bar:
        while True:
            alive()
            pods = kube.pods(pod_label(name))
            state = judge(kube.get("InferenceService", name), pods, kube.warnings(), name, model)
            if state.ready:
                return
            for reason in state.reasons:
                if reason not in told:
                    told.add(reason)
                    notice(f"{name}: {reason}")
            if state.hopeless or time.monotonic() >= deadline:
                raise DeployError(_told(name, state, seconds))
            bar.advance()
            sleep(poll)


def _told(name: str, state: State, seconds: float) -> str:
    what = "will not become ready" if state.hopeless else f"was not ready within {seconds:g} s"
    hint = "" if state.hopeless else " Set deploy.kserve.ready_seconds higher if it only needs longer."
    return f"{name} {what}: {' '.join(state.reasons) or 'the cluster gives no reason.'}{hint}"


def _condition(item: Object, kind: str) -> str:
    conditions = (item.get("status") or {}).get("conditions") or []
    return str(next((entry.get("status") for entry in conditions if entry.get("type") == kind), "Unknown"))


def _of_service(service: Object) -> Iterable[str]:
    failure = ((service.get("status") or {}).get("modelStatus") or {}).get("lastFailureInfo") or {}
    if failure.get("message"):
        yield f"KServe: {failure.get('reason', 'failed')}: {failure['message'].strip()}."


def _of_pod(pod: Object) -> Iterable[str]:
    name, status = pod["metadata"]["name"], pod.get("status") or {}
    for entry in status.get("conditions") or []:
        if entry.get("reason") == "Unschedulable":
            yield f"pod {name} has no node: {entry.get('message', '').strip()}"
    for container in _containers(pod):
        waiting = (container.get("state") or {}).get("waiting") or {}
        if waiting.get("reason") not in {None, "ContainerCreating", "PodInitializing"}:
            yield f"pod {name}, {container['name']}: {waiting['reason']}. {waiting.get('message', '')}".strip()
        ended = (container.get("lastState") or {}).get("terminated") or {}
        if ended:
            yield f"pod {name}, {container['name']}: ended with {ended.get('exitCode')} ({ended.get('reason', '-')})."


def _containers(pod: Object) -> list[Object]:
    status = pod.get("status") or {}
    return [*(status.get("initContainerStatuses") or []), *(status.get("containerStatuses") or [])]


def _restarts(pod: Object) -> int:
    crashing = [
        item
        for item in _containers(pod)
        if ((item.get("state") or {}).get("waiting") or {}).get("reason") == "CrashLoopBackOff"
    ]
    return max((int(item.get("restartCount", 0)) for item in crashing), default=0)


def _events(warnings: Sequence[Object], name: str, pods: Sequence[Object]) -> Iterable[str]:
    """Warnings about the service and the new pods; those about old pods are old news."""
    about = {name, *(pod["metadata"]["name"] for pod in pods)}
    for event in warnings:
        subject = (event.get("involvedObject") or {}).get("name", "")
        if subject in about:
            yield f"{event.get('reason')}: {str(event.get('message', '')).strip()}"
