"""A run: one config, and the tracked parent run that all its stages belong to."""

import json
import os
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from jobtuner.config import Config, load_config
from jobtuner.errors import ConfigError, ContractError

__all__ = ["HOME_VARIABLE", "Run", "finish", "home", "local_tracking_uri", "new_run_folder", "resolve"]

HOME_VARIABLE = "JOBTUNER_HOME"


def home() -> Path:
    """The work folder: JOBTUNER_HOME, else ./outputs."""
    return Path(os.environ.get(HOME_VARIABLE) or "outputs").resolve()


def local_tracking_uri() -> str:
    """MLFLOW_TRACKING_URI, else a SQLite file in the work folder.

    Raises:
        ConfigError: the URI holds credentials, which would be written into run folders and contracts.
    """
    uri = os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{home() / 'mlflow.db'}"
    if "@" in urlsplit(uri).netloc:
        raise ConfigError(
            "MLFLOW_TRACKING_URI holds a user name or password. Leave them out of it, and set "
            "MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD."
        )
    return uri


def new_run_folder() -> Path:
    """Make a folder for one run in the work folder; its name starts with the time, so that names sort by age."""
    folder = home() / "runs" / f"{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(2)}"
    folder.mkdir(parents=True)
    return folder


@dataclass(frozen=True)
class Run:
    """What every stage of a run shares; a folder with config.json and run.json."""

    config: Config
    tracking_uri: str
    """URI of the tracker, without credentials (those come from the environment)."""
    parent_id: str
    """Id of the tracked parent run."""

    def save(self, folder: Path) -> None:
        """Write the folder that `load` reads."""
        folder.mkdir(parents=True, exist_ok=True)
        self.config.save(folder / "config.json")
        data = {"tracking_uri": self.tracking_uri, "parent_id": self.parent_id}
        (folder / "run.json").write_text(json.dumps(data, indent=1), encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> "Run":
        """Read a run folder.

        Raises:
            ContractError: the folder holds no run.
            ConfigError: its config is not valid.
        """
        try:
            data = json.loads((folder / "run.json").read_text(encoding="utf-8"))
            return cls(Config.load(folder / "config.json"), data["tracking_uri"], data["parent_id"])
        except (OSError, ValueError, KeyError) as error:
            raise ContractError(
                f"{folder} holds no run ({error}). `jobtuner run` and the `resolve` step make one."
            ) from error


def resolve(recipe: str, overrides: Mapping[str, Any], out: Path | str, pipeline_run: str = "") -> Run:
    """Validate a recipe, open the tracked parent run and write both to `out`.

    Override values are YAML text, or the JSON values that a pipeline parameter holds.

    Where MLFLOW_RUN_ID is set that run becomes the parent (by `jobtuner run`), or the one it is nested in (by KFP's
    MLflow plugin, which opens a run for each task); whoever opened it ends it. One that is opened here, `finish` ends:
    on a cluster no process lives as long as the run.

    Args:
        recipe: name of a built-in recipe, or path of a YAML file.
        overrides: dotted key to value.
        out: folder for the result.
        pipeline_run: Kubeflow's id of the run; "" elsewhere.
    """
    from jobtuner.tracking import connect

    config = _config(recipe, overrides)
    uri = local_tracking_uri()
    parent_id = os.environ.get("MLFLOW_RUN_ID")
    if not parent_id:
        parent_id = connect(uri).open_run(config, pipeline_run)
    elif os.environ.get("MLFLOW_EXPERIMENT_ID"):  # the plugin sets it too; else nothing is to be asked
        parent_id = connect(uri).adopt_run(parent_id, config)
    run = Run(config, uri, parent_id)
    run.save(Path(out))
    return run


def finish(recipe: str, overrides: Mapping[str, Any], pipeline_run: str, state: str, error: str | None = None) -> None:
    """End the tracked parent run of a Kubeflow run, which `resolve` opened, and say how it went.

    Args:
        recipe: as for `resolve`.
        overrides: as for `resolve`.
        pipeline_run: as for `resolve`.
        state: Kubeflow's word: SUCCEEDED, FAILED or CANCELLED.
        error: Kubeflow's message.

    Raises:
        TrackingError: the tracker cannot be reached.
    """
    from jobtuner.progress import notice
    from jobtuner.tracking import Status, connect

    statuses: dict[str, Status] = {"SUCCEEDED": "FINISHED", "CANCELLED": "KILLED"}
    try:
        config = _config(recipe, overrides)
    except ConfigError:
        notice(f"Run {pipeline_run}: {state}. Its recipe was refused, so nothing was recorded.")
        return
    ended = connect(local_tracking_uri()).finish_pipeline(
        config.register_.experiment, pipeline_run, statuses.get(state, "FAILED"), error or ""
    )
    notice(f"Run {pipeline_run}: {state}. " + (f"Recorded in {', '.join(ended)}." if ended else "It was not open."))


def _config(recipe: str, overrides: Mapping[str, Any]) -> Config:
    return load_config(recipe, {key: _yaml_text(value) for key, value in overrides.items()})


def _yaml_text(value: Any) -> str:
    """JSON is YAML. KFP hands every number on as a double: 3.0 was typed as 3, and a float setting accepts 3 too."""
    if isinstance(value, str):
        return value
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return json.dumps(value)
