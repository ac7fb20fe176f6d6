"""MLflow behind `jobtuner.tracking` and `jobtuner.register`.

Only `MlflowClient` is used: no active run, no autologging, nothing global but the environment variables from which
MLflow reads its settings. `import mlflow` takes seconds, so it happens in the functions.
"""

import fcntl
import json
import logging
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from jobtuner.errors import TrackingError
from jobtuner.tracking_entries import DataUse, Entry, without_credentials

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import DatasetInput

__all__ = ["MlflowRunStore", "client", "error_code", "experiment_id", "guarded", "write_lock"]

_SETTINGS = {  # each gives way to a value that the user has set
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_LOGGING_LEVEL": "WARNING",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    # 1 + 2 + 4 + 8 s of waiting bridge the restart of a server; MLflow's own 7 retries with factor 2 take minutes.
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "4",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
}
_DIGEST_CHARS = 16  # MLflow keeps 36 at most; 16 hex digits = 64 bits tell data sets apart


def error_code(error: Exception) -> str:
    """MLflow's name for what went wrong ("RESOURCE_DOES_NOT_EXIST"), or an empty string."""
    return str(getattr(error, "error_code", ""))


@contextmanager
def guarded(uri: str) -> Iterator[None]:
    """Turn the errors of MLflow, its HTTP client and its database layer into `TrackingError`."""
    from mlflow.exceptions import MlflowException
    from requests.exceptions import RequestException  # type: ignore[import-untyped]
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except (MlflowException, RequestException, SQLAlchemyError) as error:
        place = without_credentials(uri)
        if uri.startswith("http"):
            advice = "Check that the server runs, MLFLOW_TRACKING_URI, and MLFLOW_TRACKING_USERNAME and _PASSWORD"
        else:
            advice = "Check that the file can be written, or set MLFLOW_TRACKING_URI to a tracking server"
        text = str(error).strip().replace(uri, place)
        raise TrackingError(f"The tracker {place} failed: {text} {advice}; then run again.") from error


def _sqlite_file(uri: str) -> Path | None:
    """The database file of a SQLite URI; None for every other URI."""
    if not uri.startswith("sqlite:"):
        return None
    from sqlalchemy.engine import make_url

    database = make_url(uri).database
    if not database or database == ":memory:":
        raise TrackingError(f"{uri} names no file. Use sqlite:///<file>: each stage opens the database anew.")
    return Path(database).resolve()


def _artifact_root(database: Path) -> Path:
    return database.parent / "mlartifacts"


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)  # released when the file is closed, by a kill too
        yield


@contextmanager
def write_lock(uri: str) -> Iterator[None]:
    """Keep other processes out of a look-then-write step on a SQLite tracker; does nothing for a server."""
    database = _sqlite_file(uri)
    if database is None:
        yield
    else:
        with _locked(database.with_name(database.name + ".lock")):
            yield


@cache
def client(uri: str) -> "MlflowClient":
    """A client for tracking and registry at one URI; a SQLite file is made where there is none.

    Raises:
        TrackingError: the database cannot be opened. A server is asked with the first call only.
    """
    for name, value in _SETTINGS.items():
        os.environ.setdefault(name, value)
    from mlflow import MlflowClient

    for name in ("mlflow", "alembic"):  # in case MLflow was imported, and set up its logging, before
        logging.getLogger(name).setLevel(os.environ["MLFLOW_LOGGING_LEVEL"].upper())
    database = _sqlite_file(uri)
    try:
        if database is not None:
            with write_lock(uri):
                if not database.exists():
                    _create_database(database)
        with guarded(uri):
            return MlflowClient(tracking_uri=uri, registry_uri=uri)
    except OSError as error:
        raise TrackingError(f"{uri} cannot be made: {error}. Set MLFLOW_TRACKING_URI to a place that can.") from error


def _create_database(database: Path) -> None:
    """Build the tables in a temporary file and rename it: neither a kill nor a neighbour leaves half a schema."""
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore
    from sqlalchemy.engine import URL

    building = database.with_name(f".{database.name}.building")
    for path in database.parent.glob(f"{building.name}*"):
        path.unlink()
    uri = URL.create("sqlite", database=str(building)).render_as_string()
    with guarded(uri):
        SqlAlchemyStore(uri, str(_artifact_root(database))).engine.dispose()  # type: ignore[no-untyped-call]
    building.rename(database)


def experiment_id(uri: str, name: str) -> str:
    """Id of the experiment, which is made where it is new."""
    from mlflow.exceptions import MlflowException

    known = client(uri).get_experiment_by_name(name)
    if known is None:
        database = _sqlite_file(uri)
        root = None if database is None else str(_artifact_root(database))
        try:
            return str(client(uri).create_experiment(name, artifact_location=root))
        except MlflowException:
            known = client(uri).get_experiment_by_name(name)
            if known is None:  # else another process made it meanwhile
                raise
    return str(known.experiment_id)


class MlflowRunStore:
    """Runs in MLflow: a tracking server, or a SQLite file."""

    def __init__(self, uri: str) -> None:
        self._uri = uri
        self._client = client(uri)

    def open(self, experiment: str, name: str, tags: Mapping[str, str]) -> str:
        """Start a run in an experiment, which is made where it is new; return the run's id."""
        with guarded(self._uri):
            return self._create(experiment_id(self._uri, experiment), name, tags)

    def open_nested(self, parent: str, name: str, tags: Mapping[str, str]) -> str:
        """Start a run below another one, in that one's experiment; return the new run's id."""
        with guarded(self._uri):
            experiment = self._client.get_run(parent).info.experiment_id
            return self._create(experiment, name, {**tags, "mlflow.parentRunId": parent})

    def parent(self, run_id: str) -> str | None:
        """Id of the run below which this one was started."""
        with guarded(self._uri):
            parent: str | None = self._client.get_run(run_id).data.tags.get("mlflow.parentRunId")
            return parent

    @contextmanager
    def watched(self, run_id: str) -> Iterator[None]:
        """Record the machine in the run by MLflow's own monitor (system/…), GPUs where nvidia-ml-py is installed.

        MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING=false turns it off, MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL sets the
        seconds between two samples. What it cannot read or send it leaves out: it never ends a training.
        """
        from mlflow.exceptions import MlflowException
        from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor

        monitor = None
        if os.environ.get("MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING", "true").lower() not in {"false", "0"}:
            with suppress(MlflowException, OSError):
                monitor = cast("Any", SystemMetricsMonitor)(run_id, tracking_uri=self._uri)
                monitor.start()
        try:
            yield
        finally:
            if monitor is not None:
                monitor.finish()

    def _create(self, experiment: str, name: str, tags: Mapping[str, str]) -> str:
        return str(self._client.create_run(experiment, tags=dict(tags), run_name=name).info.run_id)

    def log(self, run_id: str, entry: Entry) -> None:
        """Add parameters, measurements, tags, files and a data set to a run."""
        from mlflow.entities import Metric, Param, RunTag

        now = int(time.time() * 1000)
        metrics = [Metric(item.name, item.value, now, item.step) for item in entry.metrics]
        params = [Param(key, value) for key, value in entry.params.items()]
        tags = [RunTag(key, value) for key, value in entry.tags.items()]
        with guarded(self._uri):
            self._client.log_batch(run_id, metrics, params, tags, synchronous=True)
            if entry.data is not None:
                self._client.log_inputs(run_id, datasets=[_data_input(entry.data)])
            for path in entry.files:
                self._client.log_artifact(run_id, str(path))

    def steps(self, run_id: str, name: str) -> set[int]:
        """Steps for which a run holds a value of a metric."""
        with guarded(self._uri):
            return {int(item.step) for item in self._client.get_metric_history(run_id, name)}

    def close(self, run_id: str, status: str) -> None:
        """End a run."""
        with guarded(self._uri):
            self._client.set_terminated(run_id, status)

    def find_open(self, experiment: str, tag: str, value: str) -> list[str]:
        """Ids of the runs of an experiment that have this tag and have not ended; none where it does not exist."""
        wanted = f"tags.`{tag}` = '{value}' AND attributes.status = 'RUNNING'"
        with guarded(self._uri):
            known = self._client.get_experiment_by_name(experiment)
            if known is None:
                return []
            return [str(run.info.run_id) for run in self._client.search_runs([known.experiment_id], wanted)]


def _data_input(use: DataUse) -> "DatasetInput":
    from mlflow.entities import Dataset, DatasetInput, InputTag

    data = use.data
    dataset = Dataset(
        name=f"{data.task} prepared",
        digest=data.fingerprint[:_DIGEST_CHARS],
        source_type="local",
        source=json.dumps({"uri": without_credentials(data.source)}),
        profile=json.dumps(data.counts),
    )
    return DatasetInput(dataset, [InputTag("mlflow.data.context", use.context)])
