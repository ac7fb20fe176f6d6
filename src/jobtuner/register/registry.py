"""The model registry: what a version is, one protocol, and how to open it.

MLflow is behind it (`registry_mlflow`), or a twin in memory (`registry_memory`).
"""

from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from jobtuner.errors import ContractError

__all__ = [
    "CHALLENGER",
    "CHAMPION",
    "REPLACES",
    "RESTORED",
    "TAKEN_BACK",
    "Candidate",
    "RegisteredModel",
    "Registry",
    "champion_of",
    "open_registry",
    "published_files",
]

CHAMPION = "champion"
"""Alias of the version that is to be served."""
CHALLENGER = "challenger"
"""Alias of the version that was registered last."""

REPLACES = "replaces"
"""Mark of a version that became champion: the version that was champion before, or an empty text."""
TAKEN_BACK = "taken_back"
"""Mark of a version that a rollback took the alias `champion` from: when, and in favour of which version."""
RESTORED = "restored"
"""Mark of a version that a rollback made champion again: when, and in place of which version."""

_UNSAFE = {".bin", ".ckpt", ".joblib", ".pickle", ".pkl", ".pt", ".pth", ".py", ".so"}
"""Files that can run code when they are loaded; PyTorch's formats are pickles."""


@dataclass(frozen=True)
class Candidate:
    """A model that is to be registered."""

    fingerprint: str
    data_fingerprint: str
    """Fingerprint of the prepared data whose test split gave the metrics."""
    files: Mapping[str, Path]
    """Path inside the version to local file, which has the same name; see `published_files`."""
    metrics: Mapping[str, float]
    temperature: float
    """Divides the model's log-probabilities before they are renormalised."""
    run_id: str | None
    """The run that registers it, where there is one."""
    measured: frozenset[str] = frozenset()
    """Those of `files` that hold results, not the model: written anew when the same model is measured anew."""
    language_temperatures: Mapping[str, float] = field(default_factory=dict)
    """Language to the temperature of its ads in place of `temperature`."""


@dataclass(frozen=True)
class RegisteredModel:
    """What the registry says of a version."""

    version: str
    fingerprint: str
    data_fingerprint: str
    metrics: Mapping[str, float]
    temperature: float | None = None
    """None: the version was made by hand."""
    aliases: list[str] = field(default_factory=list)
    marks: Mapping[str, str] = field(default_factory=dict)
    """REPLACES, TAKEN_BACK, RESTORED, where they are set."""
    language_temperatures: Mapping[str, float] = field(default_factory=dict)
    """As in `Candidate`."""


class Registry(Protocol):
    """A service that keeps model versions under names, with movable aliases."""

    def register(self, name: str, candidate: Candidate) -> str:
        """Make a version of the model, or find the one that has its fingerprint; return the version's number."""

    def names(self) -> list[str]:
        """Names of all models, sorted."""

    def versions(self, name: str) -> list[RegisteredModel]:
        """All versions of a model, the oldest first; none where there is no such model."""

    def set_alias(self, name: str, alias: str, version: str) -> None:
        """Move an alias to a version."""

    def mark(self, name: str, version: str, key: str, value: str) -> None:
        """Set a mark of a version."""

    def fetch(self, name: str, version: str, inside: str, folder: Path) -> Path:
        """Copy a file or folder of a version ("" for all of it) into a folder; return its local path."""

    def lock(self) -> AbstractContextManager[None]:
        """Keep others out of a look-then-write step, where the registry can."""


def champion_of(versions: list[RegisteredModel]) -> RegisteredModel | None:
    """The version with the alias `champion`, or None."""
    return next((item for item in versions if CHAMPION in item.aliases), None)


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


def open_registry(uri: str, experiment: str) -> Registry:
    """The registry at a tracking URI.

    Args:
        uri: as for `jobtuner.tracking.connect`.
        experiment: name of the experiment that the registered models' files belong to.

    Raises:
        TrackingError: the registry cannot be opened.
    """
    if uri.startswith("memory://"):
        from jobtuner.register.registry_memory import memory_registry

        return memory_registry(uri)
    from jobtuner.register.registry_mlflow import MlflowRegistry

    return MlflowRegistry(uri, experiment)
