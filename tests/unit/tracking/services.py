"""A tracker in memory and one in MLflow, to be asked the same."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from jobtuner.config import load_config
from jobtuner.run import Run
from jobtuner.tracking import MemoryRun, MemoryRunStore, Tracker, connect
from jobtuner.tracking_mlflow import client

CONFIG = load_config("smoke", {"seed": "17", "training.learning_rate": "0.0003", "data.input": "null"})


@dataclass
class Service:
    """A tracker, and a way to read back what it recorded, in the form of the memory twin."""

    uri: str
    tracker: Tracker
    read: Callable[[str], MemoryRun]
    children: Callable[[str], list[str]]

    def open_run(self) -> Run:
        return Run(CONFIG, self.uri, self.tracker.open_run(CONFIG))

    def only_child(self, run: Run) -> MemoryRun:
        (child,) = self.children(run.parent_id)
        return self.read(child)


def memory_service(uri: str) -> Service:
    tracker = connect(uri)
    store = tracker.store
    assert isinstance(store, MemoryRunStore)
    return Service(
        uri,
        tracker,
        lambda key: store.runs[key],
        lambda key: [item for item, run in store.runs.items() if run.parent == key],
    )


def mlflow_service(uri: str) -> Service:
    mlflow = client(uri)

    def files(key: str, folder: str | None = None) -> dict[str, bytes]:
        root = Path(mlflow.get_run(key).info.artifact_uri)
        return {item.path: (root / item.path).read_bytes() for item in mlflow.list_artifacts(key, folder)}

    def read(key: str) -> MemoryRun:
        run = mlflow.get_run(key)
        tags = {name: value for name, value in run.data.tags.items() if not name.startswith("mlflow.")}
        history = {name: mlflow.get_metric_history(key, name) for name in run.data.metrics}
        return MemoryRun(
            experiment=mlflow.get_experiment(run.info.experiment_id).name,
            name=run.info.run_name,
            parent=run.data.tags.get("mlflow.parentRunId"),
            tags=tags,
            status=run.info.status,
            params=run.data.params,
            metrics={name: [(item.step, item.value) for item in items] for name, items in history.items()},
            files=files(key),
        )

    def children(key: str) -> list[str]:
        experiment = mlflow.get_run(key).info.experiment_id
        return [run.info.run_id for run in mlflow.search_runs([experiment], f"tags.mlflow.parentRunId = '{key}'")]

    return Service(uri, connect(uri), read, children)
