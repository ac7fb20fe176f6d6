"""Versions in MLflow: the files belong to a logged model, the version points to it.

A version is written in this order: logged model (pending), its files, logged model ready, version with all its tags.
Marks and aliases come last. Every step looks first for what a killed run has left: a rerun goes on with that and never
makes a second version of the same model.
"""

import hashlib
import json
import tempfile
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING

from jobtuner.errors import TrackingError
from jobtuner.register.registry import REPLACES, RESTORED, TAKEN_BACK, Candidate, RegisteredModel
from jobtuner.tracking_mlflow import client, error_code, experiment_id, guarded, write_lock

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import LoggedModel
    from mlflow.entities.model_registry import ModelVersion

__all__ = ["MlflowRegistry"]

_EVALUATION = "evaluation"  # one tag for metrics, temperature and the data they belong to: a kill cannot part them
_SIGNATURE_FILE = "MLmodel"


class MlflowRegistry:
    """The registry at a tracking URI; each version has a signature and safetensors weights."""

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
                model = self._logged_model(name, candidate)
                self._log_files(model, candidate, candidate.measured)
                self._client.set_model_version_tag(name, str(known.version), _EVALUATION, tags[_EVALUATION])
            return str(known.version)

    def _create(self, name: str, candidate: Candidate) -> str:
        from mlflow.exceptions import MlflowException

        model = self._logged_model(name, candidate)
        try:
            self._client.create_registered_model(name)
        except MlflowException as error:
            if error_code(error) != "RESOURCE_ALREADY_EXISTS":
                raise
        # The location and no models:/ URI, and the id for a server only (which checks the location with it): a database
        # would look both up at the process's default tracker.
        served = model.model_id if self._uri.startswith("http") else None
        version = self._client.create_model_version(
            name, str(model.artifact_location), run_id=candidate.run_id, model_id=served, tags=_tags(candidate)
        )
        return str(version.version)

    def _logged_model(self, name: str, candidate: Candidate) -> "LoggedModel":
        """The complete logged model of a candidate: found, finished or made."""
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
            self._log_files(model, candidate, frozenset(candidate.files))
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder) / _SIGNATURE_FILE
                _write_signature(path, candidate)
                self._client.log_model_artifact(model.model_id, str(path))
            self._client.finalize_logged_model(model.model_id, "READY")
        return model

    def _log_files(self, model: "LoggedModel", candidate: Candidate, names: frozenset[str]) -> None:
        for inside, path in candidate.files.items():
            if inside in names:
                folder = str(Path(inside).parent)
                self._client.log_model_artifact(model.model_id, str(path), None if folder == "." else folder)

    def names(self) -> list[str]:
        """Names of all models, sorted.

        Raises:
            TrackingError: the registry cannot be reached.
        """
        with guarded(self._uri):
            return sorted(str(item.name) for item in self._client.search_registered_models(max_results=1000))

    def versions(self, name: str) -> list[RegisteredModel]:
        """All versions of a model, the oldest first; none where there is no such model.

        Raises:
            TrackingError: the registry cannot be reached.
        """
        from mlflow.exceptions import MlflowException

        with guarded(self._uri):
            try:
                aliases = self._client.get_registered_model(name).aliases
            except MlflowException as error:
                if error_code(error) in {"RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"}:  # no such model; name
                    return []
                raise
            found = self._client.search_model_versions(f"name = '{name}'")
        ordered = sorted(found, key=lambda item: int(item.version))
        return [
            _registered(item, sorted(alias for alias, version in aliases.items() if str(version) == str(item.version)))
            for item in ordered
        ]

    def set_alias(self, name: str, alias: str, version: str) -> None:
        """Move an alias to a version.

        Raises:
            TrackingError: the registry cannot be reached, or has no such version.
        """
        with guarded(self._uri):
            self._client.set_registered_model_alias(name, alias, version)

    def mark(self, name: str, version: str, key: str, value: str) -> None:
        """Set a mark of a version.

        Raises:
            TrackingError: the registry cannot be reached, or has no such version.
        """
        with guarded(self._uri):
            self._client.set_model_version_tag(name, version, key, value)

    def fetch(self, name: str, version: str, inside: str, folder: Path) -> Path:
        """Copy a file or folder of a version into a folder.

        Raises:
            TrackingError: the registry cannot be reached, or the file is gone.
        """
        from mlflow.artifacts import download_artifacts

        folder.mkdir(parents=True, exist_ok=True)
        try:
            with guarded(self._uri):
                source = self._client.get_model_version_download_uri(name, version)
                place = f"{source.rstrip('/')}/{inside}" if inside else source
                return Path(download_artifacts(artifact_uri=place, dst_path=str(folder), tracking_uri=self._uri))
        except OSError as error:
            raise TrackingError(
                f"{inside or 'The files'} of version {version} of {name} cannot be read: {error}."
            ) from error

    def lock(self) -> AbstractContextManager[None]:
        """Keep other processes out on SQLite; a server has no such lock."""
        return write_lock(self._uri)


def _tags(candidate: Candidate) -> dict[str, str]:
    evaluation = {
        "data_fingerprint": candidate.data_fingerprint,
        "metrics": dict(candidate.metrics),
        "temperature": candidate.temperature,
        **({"language_temperatures": dict(languages)} if (languages := candidate.language_temperatures) else {}),
        "files": _digest(candidate),
    }
    return {"model_fingerprint": candidate.fingerprint, _EVALUATION: json.dumps(evaluation, sort_keys=True)}


def _digest(candidate: Candidate) -> str:
    """Of the files that hold results: where it differs they are written anew."""
    digest = hashlib.sha256()
    for inside in sorted(candidate.measured):
        digest.update(inside.encode() + b"\0" + candidate.files[inside].read_bytes())
    return digest.hexdigest()


def _registered(version: "ModelVersion", aliases: list[str]) -> RegisteredModel:
    evaluation = json.loads(version.tags.get(_EVALUATION, "{}"))  # a version made by hand has none
    return RegisteredModel(
        version=str(version.version),
        fingerprint=version.tags.get("model_fingerprint", ""),
        data_fingerprint=evaluation.get("data_fingerprint", ""),
        metrics=evaluation.get("metrics", {}),
        temperature=evaluation.get("temperature"),
        language_temperatures=evaluation.get("language_temperatures", {}),
        aliases=aliases,
        marks={key: version.tags[key] for key in (REPLACES, TAKEN_BACK, RESTORED) if key in version.tags},
    )


def _write_signature(path: Path, candidate: Candidate) -> None:
    """MLflow's description of a model: what goes in and what comes out. No loader: nothing of it is ever executed."""
    from mlflow.models import Model, ModelSignature
    from mlflow.types import ColSpec, Schema

    text, number = "string", "double"
    signature = ModelSignature(
        inputs=Schema([ColSpec(text, "text"), ColSpec(text, "language", required=False)]),
        outputs=Schema([ColSpec(text, "code"), ColSpec(number, "probability")]),
    )
    flavour = {"jobtuner": {"model_fingerprint": candidate.fingerprint}}
    Model(flavors=flavour, signature=signature, model_uuid=candidate.fingerprint[:32]).save(str(path))
