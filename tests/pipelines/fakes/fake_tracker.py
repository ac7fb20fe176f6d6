"""A run store in one JSON file a run, shared by the processes of a test: MLflow's import would cost seconds in each."""

import json
import uuid
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

from jobtuner.tracking_entries import Entry

__all__ = ["FileRunStore"]


class FileRunStore:
    """Like MLflow, it refuses to write to a run that does not exist."""

    def __init__(self, folder: str) -> None:
        self._folder = Path(folder)
        self._folder.mkdir(exist_ok=True)

    def open(self, experiment: str, name: str, tags: Mapping[str, str]) -> str:
        return self._write(uuid.uuid4().hex, {"experiment": experiment, "name": name, "status": "RUNNING"})

    def open_nested(self, parent: str, name: str, tags: Mapping[str, str]) -> str:
        self._read(parent)
        return self._write(uuid.uuid4().hex, {"parent": parent, "name": name, "status": "RUNNING"})

    def parent(self, run_id: str) -> str | None:
        parent = self._read(run_id).get("parent")
        return None if parent is None else str(parent)

    def watched(self, run_id: str) -> AbstractContextManager[None]:
        self._read(run_id)
        return nullcontext()

    def log(self, run_id: str, entry: Entry) -> None:
        run = self._read(run_id)
        self._write(run_id, {**run, "metrics": [item.name for item in entry.metrics]})

    def steps(self, run_id: str, name: str) -> set[int]:  # fast stages log nothing by step
        return set()

    def close(self, run_id: str, status: str) -> None:
        self._write(run_id, {**self._read(run_id), "status": status})

    def find_open(self, experiment: str, tag: str, value: str) -> list[str]:
        raise AssertionError("`jobtuner run` ends its tracked run by itself")

    def _read(self, run_id: str) -> dict[str, object]:
        run: dict[str, object] = json.loads((self._folder / f"{run_id}.json").read_text())
        return run

    def _write(self, run_id: str, run: dict[str, object]) -> str:
        (self._folder / f"{run_id}.json").write_text(json.dumps(run))
        return run_id
