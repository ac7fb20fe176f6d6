"""Where runs are recorded: one small protocol, with MLflow behind it or a twin in memory.

A run of the pipeline is a parent run; each stage is a nested run of it. The tracking URI comes from
`jobtuner.run.local_tracking_uri`: MLFLOW_TRACKING_URI, else a SQLite file in the work folder.
"""

import os
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Literal, Protocol

from jobtuner import __version__
from jobtuner.config import Config
from jobtuner.contracts import Contract, EvalReport, PreparedData
from jobtuner.errors import TrackingError
from jobtuner.provenance import provenance
from jobtuner.run import Run
from jobtuner.tracking_entries import DataUse, Entry, headline, recipe_parameters, result_entry, without_credentials

__all__ = [
    "STAGE_RUN_VARIABLE",
    "MemoryRun",
    "MemoryRunStore",
    "Record",
    "RunStore",
    "Status",
    "Tracker",
    "connect",
    "current_run",
    "current_run_id",
]

STAGE_RUN_VARIABLE = "JOBTUNER_STAGE_RUN_ID"
"""Environment variable: id of an open run into which the stage is recorded, in place of a new nested run."""

Status = Literal["FINISHED", "FAILED", "KILLED"]

Record = Callable[[Contract, bool], None]
"""Called by the stage runner with the stage's result and whether it came from the cache."""

_KFP_TAGS = {  # tag names of KFP's own MLflow plugin (KEP-12862), so that its runs and ours can be searched alike
    "kfp.pipeline_run_id": "KFP_RUN_ID",
    "kfp.pipeline_run_url": "KFP_RUN_URL",
    "kfp.pipeline_id": "KFP_PIPELINE_ID",
    "kfp.pipeline_version_id": "KFP_PIPELINE_VERSION_ID",
}
_PIPELINE_TAG = "kfp.pipeline_run_id"
_PARENT_TAG = "mlflow.parentRunId"
_TAG_CHARS = 1000  # a message; the whole of it is in Kubeflow's own log
_TRAINING = {"baseline", "train"}  # stages that fit to the prepared data; the others measure or check on it

_WATCHED = {"train"}  # stages whose machine is recorded: the one that holds GPUs for hours

_stage_run: ContextVar["tuple[Tracker, str] | None"] = ContextVar("_stage_run", default=None)


def current_run() -> "tuple[Tracker, str] | None":
    """The tracker and the id of the run of the stage that is running, or None outside of `Tracker.stage`."""
    return _stage_run.get()


def current_run_id() -> str | None:
    """Id of the run of the stage that is running, or None outside of `Tracker.stage`."""
    found = current_run()
    return found[1] if found else None


class RunStore(Protocol):
    """A service that keeps runs."""

    def open(self, experiment: str, name: str, tags: Mapping[str, str]) -> str:
        """Start a run in an experiment, which is made where it is new; return the run's id."""

    def open_nested(self, parent: str, name: str, tags: Mapping[str, str]) -> str:
        """Start a run below another one, in that one's experiment; return the new run's id."""

    def parent(self, run_id: str) -> str | None:
        """Id of the run below which this one was started, or None."""

    def watched(self, run_id: str) -> AbstractContextManager[None]:
        """Record processor, memory, network and GPUs of this machine in a run, for as long as the context is open."""

    def log(self, run_id: str, entry: Entry) -> None:
        """Add parameters, measurements, tags, files and a data set to a run."""

    def steps(self, run_id: str, name: str) -> set[int]:
        """Steps for which a run holds a value of a metric."""

    def close(self, run_id: str, status: Status) -> None:
        """End a run."""

    def find_open(self, experiment: str, tag: str, value: str) -> list[str]:
        """Ids of the runs of an experiment that have this tag and have not ended; none where it does not exist."""


@dataclass(frozen=True)
class Tracker:
    """Records runs and their stages; the same words whatever the store."""

    store: RunStore
    uri: str = ""
    """Where another process finds the store; "": it belongs to this process."""

    def open_run(self, config: Config, pipeline_run: str = "") -> str:
        """Start the parent run of a pipeline run, with the whole recipe as parameters; return its id.

        Args:
            config: the recipe.
            pipeline_run: Kubeflow's id of the run, by which `finish_pipeline` finds it again; "" elsewhere.
        """
        tags = self._tags(config) | ({_PIPELINE_TAG: pipeline_run} if pipeline_run else {})
        run_id = self.store.open(config.register_.experiment, config.name, tags)
        self.store.log(run_id, Entry(params=recipe_parameters(config)))
        return run_id

    def adopt_run(self, run_id: str, config: Config) -> str:
        """Take up a run that was opened elsewhere, in MLFLOW_RUN_ID; return the parent run's id.

        KFP's MLflow plugin gives each task a run of its own below the pipeline's: then the pipeline's is the parent.
        """
        parent = self.store.parent(run_id)
        if parent is None:
            return run_id
        self.store.log(parent, Entry(params=recipe_parameters(config), tags=self._tags(config)))
        return parent

    @staticmethod
    def _tags(config: Config) -> dict[str, str]:
        tags = {
            "recipe": config.name,
            "jobtuner.version": __version__,
            "data.source": without_credentials(config.data.input or "generated"),
            "kfp.pipeline_run_id": "local",
        }
        return tags | provenance() | {tag: os.environ[name] for tag, name in _KFP_TAGS.items() if os.environ.get(name)}

    def close_run(self, run_id: str, status: Status) -> None:
        """End the parent run."""
        self.store.close(run_id, status)

    def finish_pipeline(self, experiment: str, pipeline_run: str, status: Status, error: str = "") -> list[str]:
        """End the parent run of a Kubeflow run, and the stages of it that were killed; again does nothing.

        Args:
            experiment: where it was opened.
            pipeline_run: as for `open_run`.
            status: how the Kubeflow run ended.
            error: what Kubeflow says of it.

        Returns:
            Ids of the parent runs that were ended.
        """
        parents = self.store.find_open(experiment, _PIPELINE_TAG, pipeline_run)
        for parent in parents:
            for child in self.store.find_open(experiment, _PARENT_TAG, parent):
                self.store.close(child, "KILLED")
            if error:
                self.store.log(parent, Entry(tags={"pipeline.error": error[:_TAG_CHARS]}))
            self.store.close(parent, status)
        return parents

    @contextmanager
    def stage(self, name: str, run: Run, inputs: Mapping[str, Path], sections: Sequence[str] = ()) -> Iterator[Record]:
        """Record a stage while the `with` block runs.

        Its nested run ends as FINISHED, as FAILED where the block raises, as KILLED on KeyboardInterrupt or SystemExit.

        Args:
            name: the stage's name, and its run's.
            run: the pipeline run that it belongs to.
            inputs: output folder of each stage that it reads.
            sections: sections of the recipe that it reads; none named: all.

        Raises:
            TrackingError: the store cannot be reached or refuses.
            ContractError: the folder named "prepare" in `inputs` is no prepared data.
        """
        run_id = _opened_elsewhere(run.parent_id) or self.store.open_nested(run.parent_id, name, {})
        token = _stage_run.set((self, run_id))

        def record(contract: Contract, reused: bool) -> None:
            entry = result_entry(contract, reused)
            self.store.log(run_id, self._unsent(run_id, entry) if name in _WATCHED else entry)
            if isinstance(contract, EvalReport):
                self.store.log(run.parent_id, Entry(metrics=headline(contract)))

        try:
            tags = {"stage": name, "jobtuner.version": __version__, **provenance()}
            entry = Entry(params=recipe_parameters(run.config, *sections), tags=tags, data=_data_use(name, inputs))
            self.store.log(run_id, entry)
            with self.store.watched(run_id) if name in _WATCHED else nullcontext():
                yield record
        except BaseException as error:
            killed = isinstance(error, KeyboardInterrupt | SystemExit)
            with suppress(TrackingError):  # what went wrong in the stage is the error to report
                self.store.close(run_id, "KILLED" if killed else "FAILED")
            raise
        else:
            self.store.close(run_id, "FINISHED")
        finally:
            _stage_run.reset(token)

    def _unsent(self, run_id: str, entry: Entry) -> Entry:
        """The entry without the steps that the run holds already: they were sent while the stage ran."""
        names = {item.name for item in entry.metrics if item.step}
        sent = {(name, step) for name in sorted(names) for step in self.store.steps(run_id, name)}
        return replace(entry, metrics=[item for item in entry.metrics if (item.name, item.step) not in sent])


def _opened_elsewhere(parent: str) -> str | None:
    """The run that was opened for this stage: by its caller, or for its task by KFP's MLflow plugin."""
    task = os.environ.get("MLFLOW_RUN_ID")
    return os.environ.get(STAGE_RUN_VARIABLE) or (task if task and task != parent else None)


def _data_use(stage: str, inputs: Mapping[str, Path]) -> DataUse | None:
    if "prepare" not in inputs:
        return None
    return DataUse(PreparedData.load(inputs["prepare"]), "training" if stage in _TRAINING else "evaluation")


@dataclass
class MemoryRun:
    """A run as the twin in memory keeps it."""

    experiment: str
    name: str
    parent: str | None
    tags: dict[str, str]
    status: Status | Literal["RUNNING"] = "RUNNING"
    params: dict[str, str] = field(default_factory=dict)
    metrics: dict[str, list[tuple[int, float]]] = field(default_factory=dict)
    """Name to (step, value), in the order of logging."""
    files: dict[str, bytes] = field(default_factory=dict)
    data: list[DataUse] = field(default_factory=list)


class MemoryRunStore:
    """Keeps runs for as long as the process lives. For tests; refuses what MLflow refuses."""

    def __init__(self) -> None:
        self.runs: dict[str, MemoryRun] = {}

    def open(self, experiment: str, name: str, tags: Mapping[str, str]) -> str:
        """Start a run in an experiment."""
        run_id = uuid.uuid4().hex
        self.runs[run_id] = MemoryRun(experiment, name, None, dict(tags))
        return run_id

    def open_nested(self, parent: str, name: str, tags: Mapping[str, str]) -> str:
        """Start a run below another one."""
        run_id = uuid.uuid4().hex
        self.runs[run_id] = MemoryRun(self._run(parent).experiment, name, parent, dict(tags))
        return run_id

    def parent(self, run_id: str) -> str | None:
        """Id of the run below which this one was started."""
        return self._run(run_id).parent

    def watched(self, run_id: str) -> AbstractContextManager[None]:
        """Record nothing: a run in memory has no machine to itself."""
        self._run(run_id)
        return nullcontext()

    def log(self, run_id: str, entry: Entry) -> None:
        """Add to a run.

        Raises:
            TrackingError: no such run, or a parameter that has another value already.
        """
        run = self._run(run_id)
        changed = [key for key, value in entry.params.items() if run.params.get(key, value) != value]
        if changed:
            raise TrackingError(f"Run {run_id} has other values already for {changed}. Start a new run.")
        run.params.update(entry.params)
        run.tags.update(entry.tags)
        for item in entry.metrics:
            run.metrics.setdefault(item.name, []).append((item.step, item.value))
        run.files.update({path.name: path.read_bytes() for path in entry.files})
        run.data += [entry.data] if entry.data else []

    def steps(self, run_id: str, name: str) -> set[int]:
        """Steps for which a run holds a value of a metric."""
        return {step for step, _ in self._run(run_id).metrics.get(name, [])}

    def close(self, run_id: str, status: Status) -> None:
        """End a run."""
        self._run(run_id).status = status

    def find_open(self, experiment: str, tag: str, value: str) -> list[str]:
        """Ids of the runs of an experiment that have this tag and have not ended."""
        return [
            run_id
            for run_id, run in self.runs.items()
            if run.experiment == experiment
            and run.status == "RUNNING"
            and {**run.tags, _PARENT_TAG: run.parent}.get(tag) == value
        ]

    def _run(self, run_id: str) -> MemoryRun:
        if run_id not in self.runs:
            raise TrackingError(f"There is no run {run_id} in this process's memory. Open the run in the same process.")
        return self.runs[run_id]


@cache
def _memory(_uri: str) -> MemoryRunStore:
    return MemoryRunStore()


def connect(uri: str) -> Tracker:
    """The tracker at a URI.

    Args:
        uri: "memory://" or "memory://<name>" for a store in this process's memory; else whatever MLflow accepts:
            "sqlite:///<file>", "http(s)://<server>".

    Raises:
        TrackingError: the store cannot be opened.
    """
    if uri.startswith("memory://"):
        return Tracker(_memory(uri))
    from jobtuner.tracking_mlflow import MlflowRunStore

    return Tracker(MlflowRunStore(uri), uri)
