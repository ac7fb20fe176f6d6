"""One deployment at a time: a lock in the cluster that a killed process loses by itself."""

import os
import secrets
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

from jobtuner.deploy.kube import Kube, Object
from jobtuner.errors import DeployError

__all__ = ["only_one"]

_SECONDS = 180
"""A holder that has not renewed for so long is gone. It renews with every look at the cluster, seconds apart, and every
eight prompts, the first of which compile kernels."""
_TIME = "%Y-%m-%dT%H:%M:%S.%fZ"


@contextmanager
def only_one(
    kube: Kube, name: str, *, patience: float, poll: float, sleep: Callable[[float], None] = time.sleep
) -> Iterator[Callable[[], None]]:
    """Hold the Lease of this name for the block; yields a function that renews it.

    Args:
        kube: the cluster.
        name: the Lease's name.
        patience: seconds to wait for another holder.
        poll: seconds between two tries.
        sleep: waits; tests give one that does not.

    Raises:
        DeployError: another one holds it for longer than `patience`, or took it over since this one did not renew.
    """
    me = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(3)}"
    deadline = time.monotonic() + patience
    while not _take(kube, name, me):
        if time.monotonic() >= deadline:
            raise DeployError(
                f"Another deployment of {name} holds the Lease of this name in {kube.namespace}. Let it end, then run "
                "again."
            )
        sleep(poll)

    def renew() -> None:
        if not _take(kube, name, me):
            raise DeployError(f"Another deployment of {name} took over, as this one was silent for {_SECONDS} s.")

    try:
        yield renew
    finally:
        _give_back(kube, name, me)


def _take(kube: Kube, name: str, me: str) -> bool:
    found = kube.get("Lease", name)
    if found is None:
        return kube.create(_lease(name, kube.namespace, me)) is not None
    spec = found.get("spec") or {}
    if spec.get("holderIdentity") not in {None, "", me} and not _expired(spec):
        return False
    found["spec"] = _lease(name, kube.namespace, me)["spec"]
    return kube.replace(found) is not None  # it carries the resourceVersion that was read: of two, one wins


def _give_back(kube: Kube, name: str, me: str) -> None:
    found = kube.get("Lease", name)
    if found is not None and (found.get("spec") or {}).get("holderIdentity") == me:
        found["spec"]["holderIdentity"] = ""
        kube.replace(found)


def _lease(name: str, namespace: str, holder: str) -> Object:
    return {
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "holderIdentity": holder,
            "leaseDurationSeconds": _SECONDS,
            "renewTime": datetime.now(UTC).strftime(_TIME),
        },
    }


def _expired(spec: Object) -> bool:
    try:
        renewed = datetime.strptime(spec["renewTime"], _TIME).replace(tzinfo=UTC)
    except (KeyError, TypeError, ValueError):
        return True  # somebody else's form: nobody here holds it
    return datetime.now(UTC) - renewed > timedelta(seconds=int(spec.get("leaseDurationSeconds") or _SECONDS))
