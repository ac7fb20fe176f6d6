"""The registry's twin in memory, for tests."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from jobtuner.errors import TrackingError
from jobtuner.register.registry import Candidate, RegisteredModel

__all__ = ["MemoryRegistry", "memory_registry"]


@dataclass
class MemoryRegistry:
    """Keeps versions for as long as the process lives; refuses what MLflow refuses."""

    candidates: dict[str, list[Candidate]] = field(default_factory=dict)
    """Name to its versions; the first is version 1."""
    pointers: dict[tuple[str, str], str] = field(default_factory=dict)
    """(name, alias) to version."""
    marks: dict[tuple[str, str], dict[str, str]] = field(default_factory=dict)
    """(name, version) to its marks."""

    def register(self, name: str, candidate: Candidate) -> str:
        """Make a version of the model, or find the one that has its fingerprint."""
        kept = self.candidates.setdefault(name, [])
        for number, known in enumerate(kept, start=1):
            if known.fingerprint == candidate.fingerprint:
                kept[number - 1] = candidate
                return str(number)
        kept.append(candidate)
        return str(len(kept))

    def names(self) -> list[str]:
        """Names of all models, sorted."""
        return sorted(self.candidates)

    def versions(self, name: str) -> list[RegisteredModel]:
        """All versions of a model, the oldest first; none where there is no such model."""
        return [
            RegisteredModel(
                version=str(number),
                fingerprint=item.fingerprint,
                data_fingerprint=item.data_fingerprint,
                metrics=item.metrics,
                temperature=item.temperature,
                language_temperatures=item.language_temperatures,
                aliases=sorted(
                    alias for (owner, alias), to in self.pointers.items() if (owner, to) == (name, str(number))
                ),
                marks=dict(self.marks.get((name, str(number)), {})),
            )
            for number, item in enumerate(self.candidates.get(name, []), start=1)
        ]

    def set_alias(self, name: str, alias: str, version: str) -> None:
        """Move an alias to a version.

        Raises:
            TrackingError: there is no such version.
        """
        self._candidate(name, version)
        self.pointers[name, alias] = version

    def mark(self, name: str, version: str, key: str, value: str) -> None:
        """Set a mark of a version.

        Raises:
            TrackingError: there is no such version.
        """
        self._candidate(name, version)
        self.marks.setdefault((name, version), {})[key] = value

    def fetch(self, name: str, version: str, inside: str, folder: Path) -> Path:
        """Copy a file or folder of a version into a folder.

        Raises:
            TrackingError: it is not there.
        """
        files = self._candidate(name, version).files
        chosen = [key for key in files if not inside or key == inside or key.startswith(f"{inside}/")]
        if not chosen:
            raise TrackingError(f"Version {version} of {name} holds no {inside}.")
        try:
            for key in chosen:
                (folder / key).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(files[key], folder / key)
        except OSError as error:
            raise TrackingError(f"Files of version {version} of {name} are gone: {error}.") from error
        return folder / inside

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Nobody else is in this process's memory."""
        yield

    def _candidate(self, name: str, version: str) -> Candidate:
        known = self.candidates.get(name, [])
        if not version.isdigit() or not 1 <= int(version) <= len(known):
            raise TrackingError(f"{name} has no version {version}; register the model first.")
        return known[int(version) - 1]


@cache
def memory_registry(_uri: str) -> MemoryRegistry:
    """The one registry of this process under a URI."""
    return MemoryRegistry()
