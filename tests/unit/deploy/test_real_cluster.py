"""Against whatever cluster KUBECONFIG points to: are KServe's kinds, our namespace and our rights there?

`make test-cluster` runs them. They change nothing: every apply is a dry run on the server.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from jobtuner.config import KServeConfig
from jobtuner.contracts import ExportedModel
from jobtuner.deploy.bundle import Bundle
from jobtuner.deploy.cluster import release_of
from jobtuner.deploy.kube import Kube, Object
from jobtuner.deploy.manifest import PROFILES, service
from jobtuner.deploy.readiness import pod_label
from jobtuner.deploy.record import Record

pytestmark = pytest.mark.cluster

_SETTINGS = KServeConfig()


class _DryRun(Kube):
    """Applies are admitted by schemas and webhooks, and not stored."""

    def _call(self, method: str, path: str, body: Object | None = None, query: Any = None, **more: Any) -> Any:
        if method != "GET":
            query = {**(query or {}), "dryRun": "All"}
        return super()._call(method, path, body, query, **more)


@pytest.fixture
def kube() -> Iterator[Kube]:
    if not Path(os.environ.get("KUBECONFIG", "~/.kube/config")).expanduser().is_file():
        pytest.skip("No cluster: KUBECONFIG names no file.")
    yield _DryRun(_SETTINGS.namespace)


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("weights", ["merged", "adapter"])
def test_the_api_server_admits_every_profile(kube: Kube, profile: str, weights: str) -> None:
    settings = _SETTINGS.model_copy(update={"profile": profile, "weights": weights, "name": "jobtuner-dry-run"})
    exported = ExportedModel(folder=Path(), fingerprint="e", model_fingerprint="m", labels=[], parity={})
    release = release_of(Bundle(f"{settings.models}/m-e", exported), "m/1", settings, 16)
    admitted = kube.apply(release.manifest)
    assert admitted["spec"]["predictor"]["labels"] == release.manifest["spec"]["predictor"]["labels"]


def test_everything_that_a_rollout_asks_is_allowed(kube: Kube) -> None:
    kube.apply(service("jobtuner-dry-run", _SETTINGS.namespace))
    Record().save(kube, "jobtuner-dry-run")
    assert kube.get("InferenceService", "jobtuner-no-such-service") is None
    assert kube.get("Lease", "jobtuner-no-such-lease") is None
    assert isinstance(kube.pods(pod_label(_SETTINGS.name)), list)
    assert isinstance(kube.warnings(), list)
