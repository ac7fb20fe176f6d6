"""The model registry: one protocol, MLflow behind it, and a twin in memory.

A version is written in this order: logged model (pending), its files, logged model ready, version with all its tags.
The aliases come last. Every step looks first for what a killed run has left: a rerun goes on with that and never makes
a second version of the same model.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from jobtuner.errors import ContractError, TrackingError
from jobtuner.tracking_mlflow import client, error_code, experiment_id, guarded, write_lock

if TYPE_CHECKING:
    from mlflow import MlflowClient

__all__ = [
    "CHALLENGER",
    "CHAMPION",
    "Candidate",
    "MemoryRegistry",
    "MlflowRegistry",
    "RegisteredModel",
    "Registry",
    "open_registry",
    "published_files",
]

CHAMPION = "champion"
"""Alias of the version that is to be served."""
CHALLENGER = "challenger"
"""Alias of the version that was registered last."""

_UNSAFE = {".bin", ".ckpt", ".joblib", ".pickle", ".pkl", ".pt", ".pth", ".py", ".so"}
"""Files that can run code when they are loaded; PyTorch's formats are pickles."""

_EVALUATION = "evaluation"  # one tag for metrics and the data they belong to: a kill cannot part them


@dataclass(frozen=True)
class Candidate:
    """A model that is to be registered."""

    fingerprint: str
    data_fingerprint: str
    """Fingerprint of the prepared data whose test split gave the metrics."""
    files: Mapping[str, Path]
    """Path inside the version to local file, which has the same name; see `published_files`."""
    metrics: Mapping[str, float]
    run_id: str | None
    """The run that registers it, where there is one."""


@dataclass(frozen=True)
class RegisteredModel:
    """What the registry says of a version."""

    version: str
    fingerprint: str
    data_fingerprint: str
    metrics: Mapping[str, float]


class Registry(Protocol):
    """A service that keeps model versions under names, with movable aliases."""

    def register(self, name: str, candidate: Candidate) -> str:
        """Make a version of the model, or find the one that has its fingerprint; return the version's number."""

    def champion(self, name: str) -> RegisteredModel | None:
        """The version with the alias `champion`, or None."""

    def set_alias(self, name: str, alias: str, version: str) -> None:
        """Move an alias to a version."""

    def aliases(self, name: str, version: str) -> list[str]:
        """The aliases of a version, sorted."""


def published_files(*places: Path) -> dict[str, Path]:
    """All files of a version, by their path inside it: the place's name, and the path below where it is a folder.

    Args:
        places: files and folders.

    Raises:
        ContractError: a place is missing or an empty folder, or holds a file that can run code when it is loaded.
    """
    found: dict[str, Path] = {}
    for place in places:
        files = [place] if place.is_file() else [path for path in sorted(place.rglob("*")) if path.is_file()]
        if not files:
            raise ContractError(f"{place} is missing or empty: the model is not complete. Run the stage that makes it.")
        found |= {path.relative_to(place.parent).as_posix(): path for path in files}
    unsafe = sorted(name for name in found if Path(name).suffix.lower() in _UNSAFE)
    if unsafe:
        raise ContractError(
            f"{', '.join(unsafe)} cannot be registered: such files can run code when they are loaded. Weights as "
            "safetensors, and JSON and text beside them, are accepted; save the model so, then register it."
        )
    return found


class MlflowRegistry:
    """Versions in MLflow: the files belong to a logged model, the version points to it."""

    def __init__(self, uri: str, experiment: str, mlflow_client: "MlflowClient | None" = None) -> None:
        self._uri, self._experiment = uri, experiment
        self._client = mlflow_client or client(uri)

    def register(self, name: str, candidate: Candidate) -> str:
        """Make a version of the model, or find the one that has its fingerprint.

        Raises:
            TrackingError: the registry cannot be reached or refuses.
        """
        with guarded(self._uri), write_lock(self._uri):
            wanted = f"name = '{name}' AND tags.model_fingerprint = '{candidate.fingerprint}'"
            found = self._client.search_model_versions(wanted)
            if not found:
                return self._create(name, candidate)
            known = min(found, key=lambda item: int(item.version))
            tags = _tags(candidate)
            if known.tags.get(_EVALUATION) != tags[_EVALUATION]:  # the same model, measured anew
                self._client.set_model_version_tag(name, str(known.version), _EVALUATION, tags[_EVALUATION])
            return str(known.version)

    def _create(self, name: str, candidate: Candidate) -> str:
        from mlflow.exceptions import MlflowException

        model_id, location = self._logged_model(name, candidate)
        try:
            self._client.create_registered_model(name)
        except MlflowException as error:
            if error_code(error) != "RESOURCE_ALREADY_EXISTS":
                raise
        # The location and no models:/ URI, and the id for a server only (which checks the location with it): a database
        # would look both up at the process's default tracker.
        served = model_id if self._uri.startswith("http") else None
        version = self._client.create_model_version(
            name, location, run_id=candidate.run_id, model_id=served, tags=_tags(candidate)
        )
        return str(version.version)

    def _logged_model(self, name: str, candidate: Candidate) -> tuple[str, str]:
        experiment = experiment_id(self._uri, self._experiment)
        wanted = f"name = '{name}' AND tags.model_fingerprint = '{candidate.fingerprint}'"
        known = self._client.search_logged_models([experiment], filter_string=wanted, max_results=1)
        model = (
            known[0]
            if known
            else self._client.create_logged_model(
                experiment, name=name, source_run_id=candidate.run_id, tags=_tags(candidate), model_type="adapter"
            )
        )
        if model.status != "READY":
            for inside, path in candidate.files.items():
                folder = str(Path(inside).parent)
                self._client.log_model_artifact(model.model_id, str(path), None if folder == "." else folder)
            self._client.finalize_logged_model(model.model_id, "READY")
        return str(model.model_id), str(model.artifact_location)

    def champion(self, name: str) -> RegisteredModel | None:
        """The version with the alias `champion`, or None.

        Raises:
            TrackingError: the registry cannot be reached.
        """
        from mlflow.exceptions import MlflowException

        with guarded(self._uri):
            try:
                found = self._client.get_model_version_by_alias(name, CHAMPION)
            except MlflowException as error:
                if error_code(error) in {"RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"}:  # no such model; alias
                    return None
                raise
        evaluation = json.loads(found.tags.get(_EVALUATION, "{}"))  # a version made by hand has none
        return RegisteredModel(
            version=str(found.version),
            fingerprint=found.tags.get("model_fingerprint", ""),
            data_fingerprint=evaluation.get("data_fingerprint", ""),
            metrics=evaluation.get("metrics", {}),
        )

    def set_alias(self, name: str, alias: str, version: str) -> None:
        """Move an alias to a version.

        Raises:
            TrackingError: the registry cannot be reached, or has no such version.
        """
        with guarded(self._uri):
            self._client.set_registered_model_alias(name, alias, version)

    def aliases(self, name: str, version: str) -> list[str]:
        """The aliases of a version, sorted."""
        with guarded(self._uri):
            return sorted(self._client.get_model_version(name, version).aliases)


def _tags(candidate: Candidate) -> dict[str, str]:
    evaluation = {"data_fingerprint": candidate.data_fingerprint, "metrics": dict(candidate.metrics)}
    return {"model_fingerprint": candidate.fingerprint, _EVALUATION: json.dumps(evaluation, sort_keys=True)}


@dataclass
class MemoryRegistry:
    """Keeps versions for as long as the process lives. For tests."""

    versions: dict[str, list[Candidate]] = field(default_factory=dict)
    """Name to its versions; the first is version 1."""
    pointers: dict[tuple[str, str], str] = field(default_factory=dict)
    """(name, alias) to version."""

    def register(self, name: str, candidate: Candidate) -> str:
        """Make a version of the model, or find the one that has its fingerprint."""
        kept = self.versions.setdefault(name, [])
        for number, known in enumerate(kept, start=1):
            if known.fingerprint == candidate.fingerprint:
                kept[number - 1] = candidate
                return str(number)
        kept.append(candidate)
        return str(len(kept))

    def champion(self, name: str) -> RegisteredModel | None:
        """The version with the alias `champion`, or None."""
        version = self.pointers.get((name, CHAMPION))
        if version is None:
            return None
        known = self.versions[name][int(version) - 1]
        return RegisteredModel(version, known.fingerprint, known.data_fingerprint, known.metrics)

    def set_alias(self, name: str, alias: str, version: str) -> None:
        """Move an alias to a version.

        Raises:
            TrackingError: there is no such version.
        """
        if not 1 <= int(version) <= len(self.versions.get(name, [])):
            raise TrackingError(f"{name} has no version {version}; register the model first.")
        self.pointers[name, alias] = version

    def aliases(self, name: str, version: str) -> list[str]:
        """The aliases of a version, sorted."""
        return sorted(alias for (owner, alias), target in self.pointers.items() if (owner, target) == (name, version))


@cache
def _memory(_uri: str) -> MemoryRegistry:
    return MemoryRegistry()


def open_registry(uri: str, experiment: str) -> Registry:
    """The registry at a tracking URI.

    Args:
        uri: as for `jobtuner.tracking.connect`.
        experiment: name of the experiment that the registered models' files belong to.

    Raises:
        TrackingError: the registry cannot be opened.
    """
    return _memory(uri) if uri.startswith("memory://") else MlflowRegistry(uri, experiment)
