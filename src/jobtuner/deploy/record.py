"""What was deployed, in a ConfigMap beside the InferenceService: what to go back to, and what has been proven.

Not in annotations of the InferenceService: KServe copies those to the pods, so that each note would restart them.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

from jobtuner.deploy.kube import Kube
from jobtuner.deploy.manifest import Manifest

__all__ = ["Record", "Release", "digest_of"]

_DIGEST_CHARS = 16  # a label holds 63 characters


@dataclass(frozen=True)
class Release:
    """One model as it was deployed."""

    digest: str
    """Of the manifest: of the model's location, the profile and all options."""
    model_version: str
    """The registry's, "name/version"."""
    fingerprint: str
    """Of the export."""
    location: str
    """s3 folder of the export."""
    manifest: Manifest
    """The InferenceService, to be applied again where the next one fails."""

    @classmethod
    def from_json(cls, text: str | None) -> Self | None:
        """Read what `to_json` wrote; None of None."""
        return None if not text else cls(**json.loads(text))

    def to_json(self) -> str:
        """The release as stable JSON."""
        return json.dumps(asdict(self), sort_keys=True)


@dataclass(frozen=True)
class Record:
    """The ConfigMap's content."""

    serving: Release | None = None
    """The last release that was proven in its place."""
    proven: str = ""
    """Digest of the canary that was proven."""
    failed: str = ""
    """Digest of the release that failed last: nobody tries it again without being told to."""

    @classmethod
    def load(cls, kube: Kube, name: str) -> Self:
        """Read it; an empty one where there is none.

        Raises:
            DeployError: the cluster refuses.
        """
        data: Mapping[str, str] = (kube.get("ConfigMap", _name(name)) or {}).get("data") or {}
        return cls(Release.from_json(data.get("serving")), data.get("proven", ""), data.get("failed", ""))

    def save(self, kube: Kube, name: str) -> None:
        """Write it.

        Raises:
            DeployError: the cluster refuses.
        """
        serving = self.serving.to_json() if self.serving else ""
        data = {"serving": serving, "proven": self.proven, "failed": self.failed}
        meta = {"name": _name(name), "namespace": kube.namespace, "labels": {"app.kubernetes.io/part-of": "jobtuner"}}
        kube.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": data})


def digest_of(manifest: Mapping[str, Any]) -> str:
    """Of a manifest's spec; equal specs have equal digests."""
    text = json.dumps(manifest["spec"], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:_DIGEST_CHARS]


def _name(name: str) -> str:
    return f"{name}-release"
