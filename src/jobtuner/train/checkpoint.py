"""Checkpoints on disk: there whole or not at all, and verified before they are used.

    <root>/<key>/checkpoint-<step>/manifest.json    what the other files must be: size and SHA-256 of each

A checkpoint is written into a folder with another name, hashed, flushed to the disk and renamed; only then are older
ones removed, and only then does it go to the mirror. The key, and the identity in each manifest, tell which training
run it belongs to. What the files hold is none of this module's business (see `state.py`).
"""

import fcntl
import hashlib
import itertools
import json
import os
import shutil
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from jobtuner.errors import StorageError
from jobtuner.progress import notice
from jobtuner.storage import disk_full
from jobtuner.train.mirror import MANIFEST, Mirror

__all__ = ["MANIFEST", "Checkpoint", "CheckpointStore", "UnusableError", "seal", "verify"]

_SCHEMA = 1
_PREFIX = "checkpoint-"
_UNFINISHED = ".unfinished-"
_BLOCK = 1 << 20


class UnusableError(Exception):
    """A checkpoint that must not be used; the message says why, as the rest of a sentence."""


@dataclass(frozen=True)
class Checkpoint:
    """A verified checkpoint."""

    folder: Path
    step: int
    """Optimizer steps done."""
    made_with: dict[str, str]
    """Versions, device and threads it was made with: the same ones give the same adapter, bit for bit."""


def seal(folder: Path, step: int, identity: Mapping[str, str], made_with: Mapping[str, str]) -> None:
    """Hash the folder's files, write the manifest, and flush all of it to the disk."""
    files = {path.name: {"bytes": path.stat().st_size, "sha256": _sha256(path)} for path in sorted(folder.iterdir())}
    document = {
        "schema": _SCHEMA,
        "step": step,
        "identity": dict(identity),
        "made_with": dict(made_with),
        "files": files,
    }
    document["sha256"] = _digest(document)
    (folder / MANIFEST).write_text(json.dumps(document, indent=1, sort_keys=True), encoding="utf-8")
    for path in (*folder.iterdir(), folder):
        _flush(path)


def verify(folder: Path, step: int, identity: Mapping[str, str]) -> Checkpoint:
    """Check a checkpoint against its manifest, byte for byte.

    Args:
        folder: what to check.
        step: the step that it claims to be of, by its name.
        identity: what the training run depends on, as name → digest.

    Raises:
        UnusableError: a file is missing, cut or altered, there is no manifest, or it belongs to another training run.
    """
    manifest = _manifest(folder)
    if manifest["step"] != step:
        raise UnusableError(f"its manifest is that of step {manifest['step']}")
    theirs = manifest["identity"]
    if other := [name for name in sorted({*identity, *theirs}) if theirs.get(name) != identity.get(name)]:
        raise UnusableError(f"it was made with other {' and '.join(other)}")
    for name, expected in manifest["files"].items():
        path = folder / name
        if not path.is_file():
            raise UnusableError(f"{name} is missing")
        if path.stat().st_size != expected["bytes"]:
            raise UnusableError(f"{name} has {path.stat().st_size:,} of {expected['bytes']:,} bytes")
        if _sha256(path) != expected["sha256"]:
            raise UnusableError(f"{name} is not what was written (its SHA-256 differs)")
    return Checkpoint(folder, step, manifest["made_with"])


def _manifest(folder: Path) -> dict[str, Any]:
    try:
        document: dict[str, Any] = json.loads((folder / MANIFEST).read_bytes())
        recorded = document.pop("sha256")
        schema = document["schema"]
    except FileNotFoundError as error:
        raise UnusableError(f"it has no {MANIFEST}, so it was never finished") from error
    except (OSError, ValueError, KeyError, AttributeError) as error:
        raise UnusableError(f"its {MANIFEST} is not readable") from error
    if _digest(document) != recorded:
        raise UnusableError(f"{MANIFEST} is not what was written (its SHA-256 differs)")
    if schema != _SCHEMA:
        raise UnusableError(f"it has schema {schema}; this version reads {_SCHEMA}")
    return document


class CheckpointStore:
    """The checkpoints of one training run: a folder that this process holds, and its mirror in an object store.

    Args:
        root: folder for the checkpoints of all training runs.
        identity: what the run depends on, as name → digest; a checkpoint with another identity is never used.
        keep: newest checkpoints to keep.
        mirror: s3://bucket/key below which each checkpoint is copied, or None.
        made_with: versions, device and threads of this process.

    Raises:
        StorageError: the folder cannot be made, or the mirror cannot be read: better now than after hours of work.
    """

    def __init__(
        self,
        root: Path,
        identity: Mapping[str, str],
        keep: int = 2,
        mirror: str | None = None,
        made_with: Mapping[str, str] | None = None,
    ) -> None:
        self._identity, self._keep, self.made_with = dict(identity), keep, dict(made_with or {})
        key = _digest(self._identity)[:16]
        self._mirror = Mirror(f"{mirror.rstrip('/')}/{key}") if mirror else None
        self._unusable: set[str] = set()
        try:
            self.folder, self._lock = _claim(root, key)
            for path in self.folder.glob(f"{_UNFINISHED}*"):  # of a process that was killed while it wrote
                shutil.rmtree(path)
        except OSError as error:
            raise StorageError(
                f"Checkpoints cannot be kept in {root}: {error}. Set checkpoint.uri or JOBTUNER_CHECKPOINTS to a "
                "folder that can be written to, or to s3://bucket/key."
            ) from error

    def __enter__(self) -> "CheckpointStore":
        return self

    def __exit__(self, *_: object) -> None:
        self._lock.close()

    @property
    def place(self) -> str:
        """Where the checkpoints are, for messages."""
        return f"{self.folder} and {self._mirror.location}" if self._mirror else str(self.folder)

    def newest(self) -> Checkpoint | None:
        """The newest checkpoint that is whole, here or in the mirror; says of every newer one why it is not used.

        Raises:
            StorageError: the mirror cannot be read.
        """
        found = [(step, "here", self._path(step).name) for step in self._steps()]
        mirrored = self._mirror.complete() if self._mirror else []
        found += [(step, "a mirrored copy", name) for step, name in mirrored]
        for step, origin, name in sorted(found, key=lambda item: (item[0], item[1] == "here"), reverse=True):
            try:
                return verify(self._path(step), step, self._identity) if origin == "here" else self._fetch(name, step)
            except UnusableError as why:
                if origin == "here":
                    self._unusable.add(name)
                elif self._mirror:
                    self._mirror.distrust(name)
                notice(f"The checkpoint of step {step} ({origin}) is not used: {why}.")
        if found:
            notice(f"None of the checkpoints in {self.place} can be used: training starts again at step 0.")
        return None

    @contextmanager
    def write(self, step: int, size: int) -> Iterator[Path]:
        """Yield an empty folder; what is in it when the block ends becomes the checkpoint of this step.

        Args:
            step: optimizer steps done.
            size: bytes that will be written, for the message when the disk is full.

        Raises:
            StorageError: the disk is full. The former checkpoints are untouched.
        """
        with self._unfinished(step, size) as folder:
            yield folder
            seal(folder, step, self._identity, self.made_with)
            self._put(folder, step)
        self._prune(self._keep)
        if self._mirror:
            try:
                self._mirror.upload(self._path(step), step)
                self._mirror.prune(self._keep)
            except StorageError as error:  # the copy here is whole: hours of training must not end for the network
                notice(f"The checkpoint of step {step} could not be mirrored; training goes on. {error}")

    def finish(self, keep: int) -> None:
        """Remove all but the newest `keep` checkpoints, and with 0 the folder: what they led to is stored."""
        self._prune(keep)
        if not keep:
            shutil.rmtree(self.folder, ignore_errors=True)
        if self._mirror:
            try:
                self._mirror.prune(keep)
            except StorageError as error:
                notice(f"The mirrored checkpoints could not be removed. {error}")

    def _fetch(self, name: str, step: int) -> Checkpoint:
        """Copy a mirrored checkpoint here, verified before it takes its name."""
        assert self._mirror is not None
        with self._unfinished(step) as folder:
            self._mirror.download(name, folder)
            verify(folder, step, self._identity)
            self._put(folder, step)
        return verify(self._path(step), step, self._identity)

    @contextmanager
    def _unfinished(self, step: int, size: int | None = None) -> Iterator[Path]:
        folder = self.folder / f"{_UNFINISHED}{uuid.uuid4().hex}"
        try:
            folder.mkdir()
            yield folder
        except Exception as error:
            if not disk_full(error):
                raise
            shutil.rmtree(folder, ignore_errors=True)
            raise StorageError(self._full(step, size)) from error
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def _full(self, step: int, size: int | None) -> str:
        free = shutil.disk_usage(self.folder).free
        needed = f" It takes {_megabytes(size)};" if size else ""
        before = [kept for kept in self._steps() if kept != step]
        kept = f"The checkpoint of step {before[0]} is untouched" if before else "There is no former one"
        return (
            f"The disk is full: the checkpoint of step {step} could not be written to {self.folder}.{needed} "
            f"{_megabytes(free)} are free. {kept}. Free some space, or set checkpoint.uri or JOBTUNER_CHECKPOINTS to "
            "another place, then run again."
        )

    def _put(self, folder: Path, step: int) -> None:
        """Give a sealed folder its name; one that has it already is a damaged one or another copy of the same step."""
        place = self._path(step)
        if place.exists():
            shutil.rmtree(place)
        folder.rename(place)
        _flush(self.folder)
        self._unusable.discard(place.name)

    def _prune(self, keep: int) -> None:
        """Remove what is older than the newest `keep`, and what is known to be of no use."""
        good = [step for step in self._steps() if self._path(step).name not in self._unusable]
        for step in {*self._steps()} - {*good[:keep]}:
            shutil.rmtree(self._path(step), ignore_errors=True)

    def _steps(self) -> list[int]:
        """Steps that have a folder, newest first."""
        found = (_step(path.name) for path in self.folder.glob(f"{_PREFIX}*"))
        return sorted((step for step in found if step is not None), reverse=True)

    def _path(self, step: int) -> Path:
        return self.folder / f"{_PREFIX}{step}"


def _claim(root: Path, key: str) -> tuple[Path, IO[str]]:
    """A folder that no other process writes to, and the lock that says so: two equal runs at once get two folders."""
    for number in itertools.count(1):
        folder = root / (key if number == 1 else f"{key}-{number}")
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / "lock").open("w", encoding="utf-8")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.close()
            continue
        except OSError:
            lock.close()
            raise
        return folder, lock
    raise AssertionError("count() never ends")


def _step(name: str) -> int | None:
    digits = name.removeprefix(_PREFIX)
    return int(digits) if digits.isdigit() else None


def _digest(document: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _megabytes(size: int) -> str:
    return f"{size / 1e6:,.1f} MB"
