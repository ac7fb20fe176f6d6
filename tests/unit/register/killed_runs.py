"""Registers models in processes that are killed, or all at once, for `test_kills`.

MLflow is imported once, before the forks.

usage: python -m tests.unit.register.killed_runs FOLDER SCENARIOS|COUNT

SCENARIOS is a JSON list of lists of numbers. For each list a model of its own is registered: one child process a number
runs the stage and kills itself with SIGKILL right after so many writes, and a last one repeats it undisturbed. One JSON
line a scenario: how each child ended, and what the registry then holds.

With a COUNT so many children register one equally good model each, under one name, at the same moment, in a registry
that is not there yet; one JSON line.
"""

import importlib
import json
import os
import signal
import sys
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from jobtuner.config import load_config
from jobtuner.register.registry_mlflow import MlflowRegistry
from jobtuner.register.stage import register
from jobtuner.tracking_mlflow import client, experiment_id
from tests.unit.register.samples import inputs

READS = ("search_", "get_", "list_")


class KillingClient:
    """An MLflow client that works, and kills its own process after so many writes."""

    def __init__(self, real: Any, writes: int) -> None:
        self._real, self._left = real, writes

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._real, name)
        if name.startswith(READS):
            return method

        def write(*arguments: Any, **named: Any) -> Any:
            result = method(*arguments, **named)
            self._left -= 1
            if self._left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return result

        return write


def in_child(work: Callable[[], None]) -> int:
    """Run in a forked process; its exit code, or minus the number of the signal that ended it."""
    return os.waitstatus_to_exitcode(os.waitpid(start(work), 0)[1])


def start(work: Callable[[], None]) -> int:
    """Run in a forked process; its id."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            work()
            code = 0
        finally:
            os._exit(code)
    return child


def run(uri: str, folder: Path, places: Mapping[str, Path], name: str, writes: int | None) -> None:
    """The stage register, as one process of a run executes it; with a number it dies after so many writes."""
    config = load_config("smoke", {"register.model_name": name})
    registry = MlflowRegistry(uri, "jobtuner")
    if writes is not None:
        registry = MlflowRegistry(uri, "jobtuner", KillingClient(client(uri), writes))  # type: ignore[arg-type]
    out = folder / f"out-{name}"
    out.mkdir(exist_ok=True)
    register(config, places, out, registry, uri)


def at_once(uri: str, folder: Path, count: int) -> dict[str, Any]:
    """Register `count` models under one name in as many processes."""
    places = [inputs(folder / f"inputs-{number}", f"{number:x}" * 64) for number in range(count)]
    children = []
    for number in range(count):
        (folder / str(number)).mkdir()
        children.append(start(partial(run, uri, folder / str(number), places[number], "shared", None)))
    ended = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
    versions = MlflowRegistry(uri, "jobtuner").versions("shared")
    return {
        "ended": ended,
        "fingerprints": sorted(item.fingerprint[0] for item in versions),
        "champions": [item.version for item in versions if "champion" in item.aliases],
        "replaced": [item.version for item in versions if item.marks.get("replaces")],
    }


def state(uri: str, name: str) -> dict[str, Any]:
    """What the registry holds of one model."""
    store = client(uri)
    (model,) = store.search_logged_models([experiment_id(uri, "jobtuner")], f"name = '{name}'")
    versions = store.search_model_versions(f"name = '{name}'")
    root = Path(str(model.artifact_location))
    return {
        "status": str(model.status),
        "versions": [[str(item.version), str(item.source) == str(root)] for item in versions],
        "aliases": {key: str(value) for key, value in store.get_registered_model(name).aliases.items()},
        "files": sorted(path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()),
    }


def main() -> None:
    """See the module's text."""
    for module in ("mlflow.artifacts", "mlflow.store.model_registry.sqlalchemy_store", "scipy.stats"):
        importlib.import_module(module)  # here, so that no child waits for them

    folder, scenarios = Path(sys.argv[1]), json.loads(sys.argv[2])
    uri = f"sqlite:///{folder / 'mlflow.db'}"
    if isinstance(scenarios, int):
        sys.stdout.write(json.dumps(at_once(uri, folder, scenarios)) + "\n")
        return
    places, ended = inputs(folder / "inputs"), []
    for number, kills in enumerate(scenarios):
        name = f"model-{number}"
        ended.append([in_child(partial(run, uri, folder, places, name, writes)) for writes in [*kills, None]])
    for number, codes in enumerate(ended):  # last: a store that was opened here must not be there at a fork
        sys.stdout.write(json.dumps({"ended": codes, **state(uri, f"model-{number}")}) + "\n")


if __name__ == "__main__":
    main()
