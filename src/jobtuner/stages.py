"""The list of stages, and the one way in which each of them is run.

The CLI, the KFP components, DVC and the tests all call `run_stage`. It loads the config, takes a finished result from
the cache where there is one, otherwise runs the stage in a temporary folder that is renamed when it is complete, and
records the stage in the tracker. Stages themselves know nothing of this.
"""

import hashlib
import importlib
import os
import shutil
import time
import traceback
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from jobtuner import contracts
from jobtuner.config import Config
from jobtuner.contracts import CONTRACT_FILE, Contract
from jobtuner.errors import ConfigError, ContractError, JobTunerError, StorageError
from jobtuner.progress import emit
from jobtuner.run import Run
from jobtuner.storage import disk_full
from jobtuner.tracking import connect

__all__ = [
    "CACHE_VARIABLE",
    "PARENT_RECORDS_VARIABLE",
    "SCHEDULED",
    "STAGES",
    "Stage",
    "StageFunction",
    "clean_shard",
    "merge_shards",
    "record_reused",
    "run_stage",
    "shard_numbers",
]

CACHE_VARIABLE = "JOBTUNER_CACHE"
"""Environment variable: folder for finished stage results. Unset: every stage runs."""

PARENT_RECORDS_VARIABLE = "JOBTUNER_PARENT_RECORDS"
"""Environment variable: set where a parent process records reused stages in the tracker (`record_reused`)."""

_MOST_SHARDS = 64
"""Every shard reads all rows and keeps its own: beyond that, reading is most of the work."""

StageFunction = Callable[[Config, Mapping[str, Path], Path], Contract]


@dataclass(frozen=True)
class Stage:
    """What the runner must know of a stage."""

    name: str
    inputs: tuple[str, ...]
    """Names of the stages whose output folders it reads."""
    sections: tuple[str, ...]
    """Sections of the recipe that it reads; with the inputs' fingerprints they decide whether a result is reused."""
    produces: type[Contract]
    cached: bool = True
    """False where the stage acts on the world outside its folder."""

    @property
    def function(self) -> StageFunction:
        """The stage's `run`; imported on use, since stages import torch, mlflow and the like."""
        function: StageFunction = importlib.import_module(f"jobtuner.{self.name}.stage").run
        return function


_COMMON = ("seed", "task", "chat")

STAGES: dict[str, Stage] = {
    stage.name: stage
    for stage in (
        Stage("prepare", (), (*_COMMON, "data", "taxonomy", "clean", "deduplicate", "split"), contracts.PreparedData),
        Stage("baseline", ("prepare",), (*_COMMON, "baseline"), contracts.BaselineModel),
        Stage(
            "train",
            ("prepare",),
            (*_COMMON, "clean", "prompt", "model", "quantization", "lora", "training"),
            contracts.TrainedModel,
        ),
        Stage("evaluate", ("prepare", "baseline", "train"), (*_COMMON, "evaluate"), contracts.EvalReport),
        Stage("export", ("prepare", "train", "evaluate"), (*_COMMON, "export"), contracts.ExportedModel),
        Stage(
            "register",
            ("prepare", "train", "evaluate", "export"),
            (*_COMMON, "evaluate", "gate", "register"),
            contracts.ModelVersion,
            False,
        ),
        Stage("deploy", ("prepare", "register", "export"), (*_COMMON, "lora", "deploy"), contracts.Deployment, False),
    )
}

SCHEDULED: dict[str, Stage] = {
    "monitor": Stage("monitor", (), (*_COMMON, "monitor"), contracts.MonitorReport, cached=False)
}
"""Stages that are no part of a training run: a schedule starts them."""


def run_stage(
    name: str,
    run: Path | str,
    inputs: Mapping[str, Path | str],
    out: Path | str,
    work: StageFunction | None = None,
) -> Contract:
    """Run one stage, or take its result from the cache.

    Args:
        name: key of `STAGES` or of `SCHEDULED`.
        run: folder that `jobtuner.run.resolve` made: the config, and which tracked run this stage belongs to.
        inputs: output folder of each stage that this one reads, by stage name.
        out: folder for the result; made, or emptied, here.
        work: makes the result in place of the stage's own function; nothing is taken from the cache then.

    Raises:
        JobTunerError: whatever the stage raises; also sent to the parent process as an event.
        StorageError: the disk filled up. The unfinished folder is removed.
    """
    stage = _stage(name)
    folders = {key: Path(value) for key, value in inputs.items()}
    if set(folders) != set(stage.inputs):
        raise ContractError(f"Stage {name} got the inputs {sorted(folders)}; it needs {sorted(stage.inputs)}.")
    started = time.monotonic()
    emit("stage", stage=name, state="started")
    try:
        this_run = Run.load(Path(run))
        parent_records = work is None and os.environ.get(PARENT_RECORDS_VARIABLE)
        found = _finished(stage, this_run.config, folders) if parent_records else None
        if found is not None:  # MLflow takes seconds to import: for a copy of some files that is left to the parent
            contract = _copy(stage, found, Path(out))
            emit("stage", stage=name, state="finished", seconds=time.monotonic() - started, reused=True, out=str(out))
            return contract
        tracker = connect(this_run.tracking_uri)
        with tracker.stage(name, this_run, folders, stage.sections) as record:
            contract, reused = _produce(stage, this_run.config, folders, Path(out), work)
            record(contract, reused)
    except BaseException as error:
        if not _disk_full(error):
            _tell(name, error)
            raise
        shutil.rmtree(out, ignore_errors=True)
        place = getattr(error, "filename", None) or out
        full = StorageError(f"The disk is full: {place} could not be written. Free some space, then run again.")
        _tell(name, full)
        raise full from error
    emit("stage", stage=name, state="finished", seconds=time.monotonic() - started, reused=reused, out=str(out))
    return contract


def shard_numbers(shards: float) -> list[int]:
    """The shards' numbers, for a pipeline to loop over.

    Args:
        shards: how many; pipelines hand whole numbers on as floats.

    Raises:
        ConfigError: none, or more than any cluster is asked for.
    """
    if not 1 <= shards <= _MOST_SHARDS:
        raise ConfigError(f"{shards:g} shards are asked for; accepted are 1 to {_MOST_SHARDS}.")
    return list(range(int(shards)))


def clean_shard(run: Path | str, shard: float, shards: float, out: Path | str) -> Contract:
    """Clean one of several shards of a run's rows; see `jobtuner.prepare.stage.run_shard`.

    Args:
        run: folder that `jobtuner.run.resolve` made.
        shard: from 0 to `shards` - 1; pipelines hand whole numbers on as floats.
        shards: number of shards.
        out: folder for the result; parts that a killed run left in it are kept.
    """
    from jobtuner.prepare.stage import run_shard

    contract = run_shard(Run.load(Path(run)).config, int(shard), int(shards), Path(out))
    _open_to_readers(Path(out))
    return contract


def merge_shards(run: Path | str, shards: Sequence[Path | str], out: Path | str) -> Contract:
    """Run the stage prepare on shards that `clean_shard` made; the result is that of `run_stage("prepare", …)`.

    Args:
        run: folder that `jobtuner.run.resolve` made, the one that the shards were cleaned with.
        shards: output folders of `clean_shard`, one a shard, in any order.
        out: folder for the result; made, or emptied, here.
    """
    from jobtuner.prepare.stage import run_merge

    def work(config: Config, inputs: Mapping[str, Path], folder: Path) -> Contract:  # noqa: ARG001  # as stages have it
        return run_merge(config, [Path(shard) for shard in shards], folder)

    return run_stage("prepare", run, {}, out, work)


def _disk_full(error: BaseException) -> bool:
    """Whether the disk is full, and the error has no message for the user yet."""
    return not isinstance(error, JobTunerError) and disk_full(error)


def record_reused(run: Run, outputs: Mapping[str, Path], reused: Sequence[str]) -> None:
    """Record stages whose results were taken from the cache, for the child processes that left it to the parent.

    Args:
        run: the run they belong to.
        outputs: output folder of every stage of the run, by name.
        reused: names of the stages to record.
    """
    tracker = connect(run.tracking_uri)
    for stage in (STAGES[name] for name in reused):
        inputs = {name: outputs[name] for name in stage.inputs}
        with tracker.stage(stage.name, run, inputs, stage.sections) as record:
            record(stage.produces.load(outputs[stage.name]), True)


def _tell(name: str, error: BaseException) -> None:
    meant = isinstance(error, JobTunerError)
    emit(
        "stage",
        stage=name,
        state="failed",
        message=str(error) if meant else f"{type(error).__name__}: {error}",
        exit_code=error.exit_code if isinstance(error, JobTunerError) else 1,
        trace="" if meant else traceback.format_exc(),
    )


def _stage(name: str) -> Stage:
    known = STAGES | SCHEDULED
    if name not in known:
        raise ConfigError(f"There is no stage '{name}'. The stages are {', '.join(known)}.")
    return known[name]


def _produce(
    stage: Stage, config: Config, inputs: Mapping[str, Path], out: Path, work: StageFunction | None
) -> tuple[Contract, bool]:
    shutil.rmtree(out, ignore_errors=True)
    root = os.environ.get(CACHE_VARIABLE)
    if work is not None or not (root and stage.cached):
        out.mkdir(parents=True)
        contract = (work or stage.function)(config, inputs, out)
        _open_to_readers(out)
        return contract, False
    place = Path(root) / stage.name / _cache_key(stage, config, inputs)
    reused = (place / CONTRACT_FILE).exists()
    if not reused:
        _build(stage, config, inputs, place)
    return _copy(stage, place, out), reused


def _finished(stage: Stage, config: Config, inputs: Mapping[str, Path]) -> Path | None:
    """The cache's folder with this stage's result, or None."""
    root = os.environ.get(CACHE_VARIABLE)
    if not (root and stage.cached):
        return None
    place = Path(root) / stage.name / _cache_key(stage, config, inputs)
    return place if (place / CONTRACT_FILE).exists() else None


def _copy(stage: Stage, place: Path, out: Path) -> Contract:
    shutil.rmtree(out, ignore_errors=True)
    out.parent.mkdir(parents=True, exist_ok=True)
    shutil.copytree(place, out, copy_function=_link)
    return stage.produces.load(out)


def _build(stage: Stage, config: Config, inputs: Mapping[str, Path], place: Path) -> None:
    workshop = place.parent / f".unfinished-{uuid.uuid4().hex}"
    workshop.mkdir(parents=True)
    try:
        stage.function(config, inputs, workshop)
        _open_to_readers(workshop)
        if not (place / CONTRACT_FILE).exists():
            shutil.rmtree(place, ignore_errors=True)  # emptied by hand: a finished result appears in one step, whole
        try:
            workshop.rename(place)
        except OSError:
            if not (place / CONTRACT_FILE).exists():  # else another run finished the same work first: its result serves
                raise
    finally:
        shutil.rmtree(workshop, ignore_errors=True)


def _open_to_readers(folder: Path) -> None:
    """Give all files the rights that the umask allows.

    safetensors writes its files for the owner alone: a pod that runs under another user could not read the weights.
    """
    mask = os.umask(0)
    os.umask(mask)
    for path in folder.rglob("*"):
        if path.is_file() and not path.is_symlink():
            path.chmod(0o666 & ~mask)


def _link(source: str, target: str) -> str:
    try:
        os.link(source, target)
    except OSError:  # another file system: copy
        shutil.copy2(source, target)
    return target


def _cache_key(stage: Stage, config: Config, inputs: Mapping[str, Path]) -> str:
    parts = [stage.name, _code_digest(), config.digest(*stage.sections)]
    parts += [_fingerprint_in(folder) for _, folder in sorted(inputs.items())]
    if stage.name == "prepare":
        parts += [_content_digest(config.data.input), _content_digest(config.taxonomy.path)]
    if stage.name == "train":
        parts += [_content_digest(each.prepare) for _, each in sorted(config.training.mixture.items())]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:24]


def _fingerprint_in(folder: Path) -> str:
    """Fingerprint of whichever finished stage lies in the folder."""
    for stage in STAGES.values():
        try:
            return stage.produces.load(folder).fingerprint
        except ContractError:
            continue
    raise ContractError(f"{folder} holds no finished stage. Run the stage that makes it.")


@cache
def _code_digest() -> str:
    """SHA-256 over the package's own files: a change of code makes every cached result stale."""
    root = Path(__file__).parent
    digest = hashlib.sha256()
    for path in sorted(root.rglob("*")):
        if path.suffix in {".py", ".json", ".html", ".md", ".jinja"}:
            digest.update(str(path.relative_to(root)).encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


def _content_digest(location: str | None) -> str:
    """Digest of a local input's bytes; a remote one is never taken as unchanged."""
    if location is None:
        return "-"
    path = Path(location.removeprefix("file://"))
    if not path.exists():
        return uuid.uuid4().hex
    digest = hashlib.sha256()
    for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
        if file.is_file():
            digest.update(file.name.encode() + b"\0")
            with file.open("rb") as stream:
                while block := stream.read(1 << 20):
                    digest.update(block)
    return digest.hexdigest()
