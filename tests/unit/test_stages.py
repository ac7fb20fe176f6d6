"""The stage runner: what is reused, what is never reused, and what is left when a stage fails."""

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import ModuleType

import pytest

from jobtuner import stages
from jobtuner.config import Config
from jobtuner.contracts import CONTRACT_FILE, BaselineModel, Contract, PreparedData, TrainedModel
from jobtuner.errors import ConfigError, ContractError, DataError, Interrupted, StorageError
from jobtuner.progress import EVENTS_VARIABLE
from jobtuner.run import Run, resolve
from jobtuner.stages import CACHE_VARIABLE, SCHEDULED, STAGES, Stage, run_stage
from jobtuner.tracking import MemoryRun, MemoryRunStore, connect
from tests.unit import contract_samples as samples


class Work:
    """Stands for a stage's module: makes a baseline model, counts its calls, and fails when told to."""

    def __init__(self) -> None:
        self.calls = 0
        self.error: BaseException | None = None
        self.disk_full = False

    def run(self, config: Config, inputs: Mapping[str, Path], out_dir: Path) -> Contract:
        self.calls += 1
        (out_dir / "weights.safetensors").write_text(str(config.baseline.max_features), encoding="utf-8")
        (out_dir / "weights.safetensors").chmod(0o600)  # as safetensors does
        if self.disk_full:
            with Path("/dev/full").open("w", encoding="utf-8") as stream:  # every write to it finds the disk full
                stream.write("x")
        if self.error:
            raise self.error
        return samples.baseline(out_dir)


@pytest.fixture
def work(monkeypatch: pytest.MonkeyPatch) -> Work:
    work = Work()
    module = ModuleType("jobtuner.tiny.stage")
    module.run = work.run  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "jobtuner.tiny.stage", module)
    monkeypatch.setitem(STAGES, "tiny", Stage("tiny", ("prepare",), ("seed", "baseline"), BaselineModel))
    monkeypatch.setitem(STAGES, "outside", Stage("outside", ("prepare",), ("seed",), BaselineModel, cached=False))
    monkeypatch.setitem(sys.modules, "jobtuner.outside.stage", module)
    return work


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"memory://{tmp_path}")
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))
    monkeypatch.setenv(EVENTS_VARIABLE, str(tmp_path / "events.jsonl"))
    for name in ("MLFLOW_RUN_ID", "JOBTUNER_STAGE_RUN_ID"):
        monkeypatch.delenv(name, raising=False)
    yield
    stages._code_digest.cache_clear()


def run(tmp_path: Path, *, stage: str = "tiny", out: str = "out", data: str = "d" * 64, **overrides: str) -> Contract:
    recipe = {key.replace("__", "."): value for key, value in overrides.items()}
    resolve("smoke", recipe, tmp_path / "run")
    return run_stage(
        stage, tmp_path / "run", {"prepare": samples.prepared(tmp_path / "in", data).folder}, tmp_path / out
    )


def events(tmp_path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (tmp_path / "events.jsonl").read_text(encoding="utf-8").splitlines()]


def recorded(tmp_path: Path) -> list[MemoryRun]:
    store = connect(f"memory://{tmp_path}").store
    assert isinstance(store, MemoryRunStore)
    return [item for item in store.runs.values() if item.parent]


def cached(tmp_path: Path) -> list[str]:
    return sorted(path.name for path in (tmp_path / "cache").glob("*/*"))


def test_a_result_is_taken_from_the_cache(work: Work, tmp_path: Path) -> None:
    first = run(tmp_path, out="first")
    second = run(tmp_path, out="second")
    assert (work.calls, first) == (1, second)
    assert second.folder == tmp_path / "second"
    names = ["baseline.json", CONTRACT_FILE, "weights.safetensors"]
    for name in names:
        assert (tmp_path / "first" / name).read_bytes() == (tmp_path / "second" / name).read_bytes()
    assert [item.tags["reused"] for item in recorded(tmp_path)] == ["false", "true"]
    assert [item.get("reused") for item in events(tmp_path) if item["state"] == "finished"] == [False, True]


def test_an_interrupted_stage_leaves_no_result_and_says_143(work: Work, tmp_path: Path) -> None:
    work.error = Interrupted("Stopped at step 4 of 9. Run again to go on.", signal.SIGTERM)
    with pytest.raises(Interrupted):
        run(tmp_path)
    (told,) = [item for item in events(tmp_path) if item["state"] == "failed"]
    assert (told["message"], told["exit_code"], told["trace"]) == (str(work.error), 143, "")
    assert cached(tmp_path) == []
    assert [item.status for item in recorded(tmp_path)] == ["KILLED"]


def test_an_interruption_that_nobody_catches_is_the_exit_code() -> None:
    code = "from jobtuner.errors import Interrupted; raise Interrupted('x', 15)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (143, "")


def test_without_a_cache_every_stage_runs(work: Work, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(CACHE_VARIABLE)
    run(tmp_path)
    run(tmp_path)
    assert work.calls == 2
    assert not (tmp_path / "cache").exists()


def test_a_stage_that_acts_on_the_world_is_never_reused(work: Work, tmp_path: Path) -> None:
    run(tmp_path, stage="outside")
    run(tmp_path, stage="outside")
    assert work.calls == 2


@pytest.mark.parametrize(
    ("overrides", "calls"),
    [
        ({"baseline__max_features": "1000"}, 2),
        ({"seed": "18"}, 2),
        ({"training__epochs": "9"}, 1),  # another stage's section
    ],
)
def test_a_change_of_the_sections_that_it_reads_is_noticed(
    work: Work, tmp_path: Path, overrides: dict[str, str], calls: int
) -> None:
    run(tmp_path)
    run(tmp_path, **overrides)
    assert work.calls == calls


def test_other_input_is_noticed(work: Work, tmp_path: Path) -> None:
    run(tmp_path)
    run(tmp_path, data="c" * 64)
    assert work.calls == 2
    run(tmp_path)
    assert work.calls == 2


def test_other_code_is_noticed(work: Work, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "package"
    package.mkdir()
    (package / "stages.py").write_text("x = 1", encoding="utf-8")
    monkeypatch.setattr(stages, "__file__", str(package / "stages.py"))
    stages._code_digest.cache_clear()
    run(tmp_path)
    (package / "stages.py").write_text("x = 2", encoding="utf-8")
    stages._code_digest.cache_clear()
    run(tmp_path)
    assert work.calls == 2


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_other_content_of_the_input_of_prepare_is_noticed(
    tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []

    def prepare(config: Config, inputs: Mapping[str, Path], out_dir: Path) -> PreparedData:
        calls.append(out_dir)
        return samples.prepared(out_dir)

    module = ModuleType("jobtuner.prepare.stage")
    module.run = prepare  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "jobtuner.prepare.stage", module)
    source = tmp_path / "ads.csv" if kind == "file" else tmp_path / "ads"
    inner = source if kind == "file" else source / "part.csv"
    inner.parent.mkdir(exist_ok=True)
    for text, expected in (("a,b", 1), ("a,b", 1), ("a,c", 2)):
        inner.write_text(text, encoding="utf-8")
        resolve("smoke", {"data.input": str(source)}, tmp_path / "run")
        run_stage("prepare", tmp_path / "run", {}, tmp_path / "out")
        assert len(calls) == expected
    shutil.rmtree(source) if kind == "folder" else source.unlink()
    for expected in (3, 4):  # what cannot be read here may have changed
        run_stage("prepare", tmp_path / "run", {}, tmp_path / "out")
        assert len(calls) == expected


def test_an_unfinished_result_is_never_used(work: Work, tmp_path: Path) -> None:
    run(tmp_path)
    (tmp_path / "cache" / "tiny" / cached(tmp_path)[0] / CONTRACT_FILE).unlink()
    (tmp_path / "cache" / "tiny" / ".unfinished-0").mkdir()
    run(tmp_path)
    assert work.calls == 2
    run(tmp_path)
    assert work.calls == 2


def test_a_result_that_another_run_finished_first_serves(
    work: Work, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(tmp_path)
    (place,) = (tmp_path / "cache" / "tiny").iterdir()
    shutil.move(place, tmp_path / "other")

    def slow(config: Config, inputs: Mapping[str, Path], out_dir: Path) -> Contract:
        shutil.move(tmp_path / "other", place)  # the other run is done while this one still works
        return samples.baseline(out_dir)

    monkeypatch.setattr(work, "run", slow)
    sys.modules["jobtuner.tiny.stage"].run = slow  # type: ignore[attr-defined]
    assert run(tmp_path, out="again").folder == tmp_path / "again"
    assert (tmp_path / "again" / "weights.safetensors").exists()
    assert cached(tmp_path) == [place.name]


def test_what_is_left_in_the_output_folder_is_removed(work: Work, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "old.txt").write_text("x", encoding="utf-8")
    run(tmp_path)
    assert not (tmp_path / "out" / "old.txt").exists()


@pytest.mark.parametrize("with_cache", [True, False])
@pytest.mark.parametrize("error", [DataError("no rows"), RuntimeError("bug"), KeyboardInterrupt()], ids=type)
def test_a_stage_that_fails_leaves_no_contract(
    work: Work, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException, with_cache: bool
) -> None:
    if not with_cache:
        monkeypatch.delenv(CACHE_VARIABLE)
    work.error = error
    with pytest.raises(type(error)):
        run(tmp_path)
    assert not (tmp_path / "out" / CONTRACT_FILE).exists()
    assert cached(tmp_path) == []
    (stage,) = recorded(tmp_path)
    assert stage.status == ("KILLED" if isinstance(error, KeyboardInterrupt) else "FAILED")
    last = events(tmp_path)[-1]
    meant = isinstance(error, DataError)
    assert (last["stage"], last["state"], last["exit_code"]) == ("tiny", "failed", 3 if meant else 1)
    assert last["message"] == ("no rows" if meant else f"{type(error).__name__}: {error}")
    assert ("Traceback" in str(last["trace"])) is not meant
    work.error = None
    run(tmp_path)
    assert BaselineModel.load(tmp_path / "out")


@pytest.mark.parametrize("with_cache", [True, False])
@pytest.mark.parametrize("how", ["real", "wrapped by a library"])
def test_a_full_disk_leaves_nothing_behind(
    work: Work, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str, with_cache: bool
) -> None:
    if not with_cache:
        monkeypatch.delenv(CACHE_VARIABLE)
    work.disk_full = how == "real"
    work.error = RuntimeError('IoError(Os { code: 28, kind: StorageFull, message: "No space left on device" })')
    with pytest.raises(StorageError, match="disk is full"):
        run(tmp_path)
    assert not (tmp_path / "out").exists()
    assert cached(tmp_path) == []
    assert events(tmp_path)[-1]["exit_code"] == StorageError.exit_code
    assert recorded(tmp_path)[0].status == "FAILED"


def test_another_system_error_is_no_full_disk(work: Work, tmp_path: Path) -> None:
    work.error = OSError(errno.EACCES, "Permission denied")
    with pytest.raises(PermissionError):
        run(tmp_path)


def test_a_disk_that_fills_up_while_the_cache_is_copied(
    work: Work, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(tmp_path, out="first")

    def full(source: str, target: str) -> str:
        Path(target).write_text("half", encoding="utf-8")
        raise OSError(errno.ENOSPC, "No space left on device", target)

    monkeypatch.setattr(stages, "_link", full)
    with pytest.raises(StorageError):
        run(tmp_path)
    assert not (tmp_path / "out").exists()
    assert len(cached(tmp_path)) == 1


@pytest.mark.parametrize("names", [[], ["prepare", "train"], ["train"]])
def test_wrong_inputs_are_refused(work: Work, tmp_path: Path, names: list[str]) -> None:
    resolve("smoke", {}, tmp_path / "run")
    with pytest.raises(ContractError, match=r"it needs \['prepare'\]"):
        run_stage("tiny", tmp_path / "run", dict.fromkeys(names, tmp_path), tmp_path / "out")
    assert work.calls == 0


def test_an_input_that_is_not_finished_is_refused(work: Work, tmp_path: Path) -> None:
    resolve("smoke", {}, tmp_path / "run")
    (tmp_path / "in").mkdir()
    with pytest.raises(ContractError, match="no finished"):
        run_stage("tiny", tmp_path / "run", {"prepare": tmp_path / "in"}, tmp_path / "out")
    assert work.calls == 0


def test_an_unknown_stage_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"There is no stage 'tune'\. The stages are prepare, baseline, train"):
        run_stage("tune", tmp_path / "run", {}, tmp_path / "out")


def test_a_folder_that_holds_no_run_is_told_to_the_parent(work: Work, tmp_path: Path) -> None:
    with pytest.raises(ContractError, match="holds no run"):
        run_stage("tiny", tmp_path / "nothing", {"prepare": tmp_path}, tmp_path / "out")
    assert events(tmp_path)[-1]["exit_code"] == ContractError.exit_code


def test_every_stage_names_sections_and_stages_that_exist() -> None:
    sections = {info.alias or name for name, info in Config.model_fields.items()}
    assert len(STAGES) == 7
    known: set[str] = set()
    for name, stage in STAGES.items():
        assert name == stage.name
        assert set(stage.inputs) <= known, "a stage reads later stages"
        assert set(stage.sections) <= sections
        known.add(name)
    used = {section for stage in (STAGES | SCHEDULED).values() for section in stage.sections}
    assert sections - used == {"name", "checkpoint", "hardware", "reporting"}  # none changes what comes out


def test_fingerprints_are_read_whatever_the_stage(tmp_path: Path) -> None:
    model: TrainedModel = samples.trained(tmp_path / "train", "7" * 64)
    assert stages._fingerprint_in(model.folder) == "7" * 64
    with pytest.raises(ContractError, match="no finished stage"):
        stages._fingerprint_in(tmp_path)


@pytest.mark.parametrize("stage", ["tiny", "outside"])
def test_others_can_read_what_a_library_wrote_for_the_owner_alone(work: Work, stage: str, tmp_path: Path) -> None:
    before = os.umask(0o022)
    try:
        folder = run(tmp_path, stage=stage).folder
    finally:
        os.umask(before)
    assert (folder / "weights.safetensors").stat().st_mode & 0o777 == 0o644


def test_a_parent_records_reused_stages_for_its_children(
    work: Work, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(tmp_path, out="first")
    monkeypatch.setenv(stages.PARENT_RECORDS_VARIABLE, "1")
    before = len(recorded(tmp_path))
    contract = run(tmp_path, out="second")
    assert work.calls == 1
    assert contract == BaselineModel.load(tmp_path / "second")
    assert len(recorded(tmp_path)) == before  # the child has not touched the tracker
    assert events(tmp_path)[-1]["reused"] is True
    outputs = {"prepare": tmp_path / "in", "tiny": tmp_path / "second"}
    stages.record_reused(Run.load(tmp_path / "run"), outputs, ["tiny"])
    assert [item.tags["reused"] for item in recorded(tmp_path)][-1] == "true"
