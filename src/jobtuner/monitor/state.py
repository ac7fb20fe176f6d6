"""The watch's memory between two looks, as a small JSON file or object."""

import json
import tempfile
import uuid
from dataclasses import replace
from pathlib import Path

from jobtuner import storage
from jobtuner.errors import ContractError, StorageError
from jobtuner.monitor.decision import Memory

__all__ = ["approve", "load_memory", "save_memory"]


def load_memory(location: str | None) -> Memory:
    """The memory at a location; a fresh one where there is none yet.

    Raises:
        ContractError: something else lies there.
        StorageError: the object store does not answer.
    """
    if location is None:
        return Memory()
    text = _read(location)
    if text is None:
        return Memory()
    try:
        return Memory.from_json(json.loads(text))
    except (ValueError, ContractError) as error:
        raise ContractError(f"{location}: {error}") from error


def save_memory(location: str | None, memory: Memory) -> None:
    """Write it in one step; without a location nothing is kept.

    Raises:
        StorageError: the object store refuses.
    """
    if location is None:
        return
    text = json.dumps(memory.to_json(), indent=1) + "\n"
    here = storage.local_path(location)
    if here is not None:
        here.parent.mkdir(parents=True, exist_ok=True)
        temporary = here.with_name(f".{here.name}.{uuid.uuid4().hex}.tmp")
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(here)
        return
    with tempfile.TemporaryDirectory(prefix="jobtuner-state-") as folder:
        path = Path(folder) / "state.json"
        path.write_text(text, encoding="utf-8")
        storage.upload(path, location)


def approve(location: str) -> None:
    """Let the next look start a training that is due.

    Raises:
        ContractError: something else than the watch's memory lies there.
        StorageError: there is no memory yet, or the store does not answer.
    """
    if _read(location) is None:
        raise StorageError(f"{location} does not exist: the watch has not looked yet, there is nothing to approve.")
    save_memory(location, replace(load_memory(location), approved=True))


def _read(location: str) -> str | None:
    here = storage.local_path(location)
    if here is not None:
        return here.read_text(encoding="utf-8") if here.exists() else None
    parent, _, name = location.rstrip("/").rpartition("/")
    if "/" not in parent.removeprefix("s3://"):
        raise StorageError(f"{location} lies at the top of its bucket; write s3://bucket/folder/{name}.")
    if name not in storage.names(parent):
        return None
    with tempfile.TemporaryDirectory(prefix="jobtuner-state-") as folder:
        path = Path(folder) / "state.json"
        storage.download(location, path)
        return path.read_text(encoding="utf-8")
