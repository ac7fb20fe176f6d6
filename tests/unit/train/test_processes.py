"""Several processes train as one: real processes over gloo on a real tiny model, 4-bit and not, sharded and not."""

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from safetensors.torch import load_file

from jobtuner.config import Config, HardwareConfig, TrainingConfig, load_config
from jobtuner.contracts import CONTRACT_FILE, PreparedData, TrainedModel
from jobtuner.errors import ConfigError, Interrupted, ModelError
from jobtuner.records import Example, write_jsonl
from jobtuner.run import Run
from jobtuner.tasks.base import IGNORED
from jobtuner.taxonomy import Taxonomy
from jobtuner.train.batches import StepBatches
from jobtuner.train.group import Group, joined
from jobtuner.train.guard import StopRequest
from jobtuner.train.launch import Machines, machines, processes_here
from jobtuner.train.order import deal
from jobtuner.train.stage import run as run_train
from tests.conftest import ADS, TINY

ROOT = Path(__file__).parents[3]
CODES = ["2221", "2221", "5120", "5120", "8331"]
FILES = {"adapter", "base", "tokenizer", "history.jsonl", "curves.png", "inference.json", CONTRACT_FILE}
PRECISE = {"quantization.compute_dtype": "float32"}


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory, taxonomy: Taxonomy) -> PreparedData:
    """21 rows of unlike lengths: steps of 4 end with one of a single row, which two processes cannot share."""
    folder = tmp_path_factory.mktemp("prepared")
    examples = [Example(f"{n}", ADS[n % 5] + " more" * (n % 4), CODES[n % 5], "en", f"c{n}") for n in range(21)]
    for split in ("train", "validation", "test"):
        write_jsonl(folder / f"{split}.jsonl", examples)
    taxonomy.save(folder / "taxonomy.json")
    return PreparedData(
        folder=folder, fingerprint="data", task="occupation", source="generated", languages=["en"], labels=CODES,
        taxonomy_version=taxonomy.version, counts={},
    ).save()  # fmt: skip


def config_of(**changes: str) -> Config:
    loaded = load_config(
        "smoke",
        {
            "training.epochs": "3.0", "training.batch_size": "4", "training.evaluate_every": "6",
            "training.best_by": "loss", **({} if "lora" in changes else {"lora.r": "8"}), **PRECISE, **changes,
        },
    )  # fmt: skip
    return loaded.model_copy(update={"model": loaded.model.model_copy(update={"standin": TINY})})


def adapter_of(model: TrainedModel) -> dict[str, Any]:
    return dict(load_file(model.folder / "adapter" / "adapter_model.safetensors"))


def difference(one: dict[str, Any], other: dict[str, Any]) -> float:
    assert one.keys() == other.keys()
    return max(float((value - other[name]).abs().max()) for name, value in one.items())


class Forks:
    """The process that forks those of each training."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.unit.train.ranks"], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            env={**os.environ, "OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}, text=True,
        )  # fmt: skip

    def run(self, config: Config, prepare: Path, out: Path, processes: int = 2, **more: int) -> list[int]:
        """Train; the exit codes, by rank."""
        out.mkdir(parents=True)
        job = {"config": json.loads(config.to_json()), "prepare": str(prepare), "out": str(out), **more}
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({**job, "processes": processes}) + "\n")
        self._process.stdin.flush()
        codes: list[int] = json.loads(self._process.stdout.readline())
        return codes

    def trained(self, config: Config, prepare: Path, out: Path, processes: int = 2) -> TrainedModel:
        """Train to the end."""
        codes = self.run(config, prepare, out, processes)
        said = "".join(path.read_text()[-3000:] for path in out.parent.glob(f"{out.name}.*.log"))
        assert codes == [0] * processes, said
        return TrainedModel.load(out)

    def close(self) -> None:
        self._process.communicate(timeout=60)


@pytest.fixture(scope="module")
def forks() -> Iterator[Forks]:
    found = Forks()
    yield found
    found.close()


@pytest.fixture(scope="module")
def alone(forks: Forks, prepared: PreparedData, tmp_path_factory: pytest.TempPathFactory) -> TrainedModel:
    return forks.trained(config_of(), prepared.folder, tmp_path_factory.mktemp("alone") / "out", 1)


def history_of(model: TrainedModel) -> list[dict[str, float]]:
    return [json.loads(line) for line in (model.folder / "history.jsonl").read_text().splitlines()]


def assert_same(model: TrainedModel, alone: TrainedModel) -> None:
    """The order of sums is all that differs: seven digits of float32, some lost in Adam's division."""
    assert difference(adapter_of(model), adapter_of(alone)) < 2e-4
    for name in ("train_loss", "validation_loss", "validation_accuracy", "steps"):
        assert model.metrics[name] == pytest.approx(alone.metrics[name], abs=1e-4)
    for one, other in zip(history_of(model), history_of(alone), strict=True):
        assert one == pytest.approx(other, abs=2e-3)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"hardware.sharding": "fsdp"},
        {
            "hardware.sharding": "fsdp", "training.packing": "none", "training.gradient_accumulation": "2",
            "training.batch_size": "2", "training.gradient_checkpointing": "true",
        },
    ],
    ids=["copies", "sharded", "sharded, padded, checkpointed"],
)  # fmt: skip
def test_two_processes_train_what_one_trains(
    changes: dict[str, str], alone: TrainedModel, forks: Forks, prepared: PreparedData, tmp_path: Path
) -> None:
    """Of 4-bit weights: bitsandbytes' NF4 with double quantisation, cut in two by FSDP2 or not."""
    model = forks.trained(config_of(**changes), prepared.folder, tmp_path / "out")
    assert_same(model, alone)
    assert model.settings["processes"] == 2
    assert model.settings["quantized_layers"] == 14
    if changes:
        assert model.settings["sharded_units"] == 3  # two layers, and what is around them
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == FILES


@pytest.mark.parametrize(
    "changes",
    [
        {"hardware.sharding": "fsdp"},
        {"training.method": "full", "lora": "{}", "training.max_steps": "4", "training.learning_rate": "1.0e-3"},
    ],
    ids=["sharded", "all weights"],
)
def test_full_precision_is_the_same_too(
    changes: dict[str, str], forks: Forks, prepared: PreparedData, tmp_path: Path
) -> None:
    plain = {"quantization.type": "none", "quantization.double": "false", **changes}
    one = forks.trained(config_of(**{**plain, "hardware.sharding": "none"}), prepared.folder, tmp_path / "one", 1)
    two = forks.trained(config_of(**plain), prepared.folder, tmp_path / "two")
    assert two.metrics["validation_loss"] == pytest.approx(one.metrics["validation_loss"], abs=1e-4)
    (weights,) = [path for path in one.folder.glob("*/*.safetensors") if path.parent.name in {"adapter", "weights"}]
    theirs = two.folder / weights.relative_to(one.folder)
    assert difference(dict(load_file(weights)), dict(load_file(theirs))) < 1e-3


def test_a_signal_to_one_stops_both_at_one_step_and_the_resumed_run_ends_the_same(
    alone: TrainedModel, forks: Forks, prepared: PreparedData, tmp_path: Path
) -> None:
    """SIGTERM reaches the second process alone; the checkpoint is the first one's, and serves one process too."""
    kept = {"checkpoint.uri": str(tmp_path / "kept"), "hardware.sharding": "fsdp"}
    codes = forks.run(config_of(**kept), prepared.folder, tmp_path / "first", signal_at=6)
    assert codes == [143, 143]
    assert "SIGTERM at step 7 of 18" in (tmp_path / "first.0.log").read_text()
    assert not (tmp_path / "first" / CONTRACT_FILE).exists()
    (folder,) = (tmp_path / "kept").iterdir()  # the second process claims no folder of its own
    assert [path.name for path in folder.glob("checkpoint-*")] == ["checkpoint-7"]
    shutil.copytree(tmp_path / "kept", tmp_path / "copy")
    model = forks.trained(config_of(**kept), prepared.folder, tmp_path / "second")
    assert model.metrics["resumes"] == 1
    assert_same(model, alone)
    single = config_of(**{"checkpoint.uri": str(tmp_path / "copy")})
    assert_same(forks.trained(single, prepared.folder, tmp_path / "third", 1), alone)


def test_a_loss_that_is_no_number_stops_both_and_names_examples(
    forks: Forks, prepared: PreparedData, tmp_path: Path
) -> None:
    """At this rate the loss or the gradient is no number after a step or two."""
    codes = forks.run(
        config_of(**{"training.learning_rate": "1.0e+30", "training.best_by": "null"}),
        prepared.folder,
        tmp_path / "out",
    )
    assert codes == [1, 1]
    said = "".join(path.read_text() for path in tmp_path.glob("out.*.log"))
    assert "the step was not taken. Its examples:" in said


@pytest.mark.slow
def test_the_stage_starts_its_processes(alone: TrainedModel, prepared: PreparedData, tmp_path: Path) -> None:
    model = run_train(config_of(**{"hardware.processes": "2"}), {"prepare": prepared.folder}, tmp_path)
    assert_same(model, alone)
    assert {path.name for path in tmp_path.iterdir()} == FILES


@pytest.mark.slow
def test_sigterm_to_the_stage_ends_all_with_one_checkpoint(
    prepared: PreparedData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JOBTUNER_CHECKPOINTS", str(tmp_path / "kept"))
    events = tmp_path / "events.jsonl"
    monkeypatch.setenv("JOBTUNER_EVENTS", str(events))
    (tmp_path / "out").mkdir()

    def stop_after_a_step() -> None:
        trained = '"label": "Fine-tuning"'  # the stand-in's pretraining comes before, and has nothing to save
        while not (events.exists() and any(trained in line and '"loss"' in line for line in events.open())):
            time.sleep(0.05)
        os.kill(os.getpid(), signal.SIGTERM)

    waiting = threading.Thread(target=stop_after_a_step, daemon=True)
    waiting.start()
    config = config_of(**{"hardware.processes": "2", "training.epochs": "300.0"})  # it must not end before the signal
    with pytest.raises(Interrupted, match=r"SIGTERM at step \d+ of 1800") as stopped:
        run_train(config, {"prepare": prepared.folder}, tmp_path / "out")
    waiting.join()
    assert stopped.value.code == 143
    assert len(list((tmp_path / "kept").glob("*/checkpoint-*"))) == 1


@pytest.mark.slow
def test_a_process_that_dies_ends_the_others_and_leaves_the_checkpoint(
    prepared: PreparedData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JOBTUNER_CHECKPOINTS", str(tmp_path / "kept"))
    config = config_of(**{"hardware.processes": "2", "checkpoint.every_steps": "3", "training.epochs": "300.0"})
    (tmp_path / "out").mkdir()

    def kill_the_second() -> None:
        while not list((tmp_path / "kept").glob("*/checkpoint-*")):
            time.sleep(0.02)
        for child in psutil.Process().children(recursive=True):
            if "jobtuner.train.rank" in child.cmdline() and child.environ().get("RANK") == "1":
                child.kill()

    waiting = threading.Thread(target=kill_the_second, daemon=True)
    waiting.start()
    with pytest.raises(ModelError, match=r"Training process 1 of 2 ended with exit code -9"):
        run_train(config, {"prepare": prepared.folder}, tmp_path / "out")
    waiting.join()
    assert not [child for child in psutil.Process().children() if "jobtuner.train.rank" in child.cmdline()]
    assert list((tmp_path / "kept").glob("*/checkpoint-*/manifest.json"))


@pytest.mark.slow
@pytest.mark.parametrize("launcher", ["accelerate.commands.launch", "torch.distributed.run"])
def test_other_launchers_start_the_command_as_well(
    launcher: str, alone: TrainedModel, prepared: PreparedData, tmp_path: Path
) -> None:
    """`jobtuner train` in each process: one records and writes, the others follow."""
    Run(config_of(), f"sqlite:///{tmp_path}/mlflow.db", "").save(tmp_path / "run")
    more = {"accelerate.commands.launch": ["--num_processes=2", "--num_machines=1", "--mixed_precision=no",
                                           "--dynamo_backend=no", "--cpu", "--main_process_port=0"],
            # "--": without it torchrun takes the command's --run for one of its own options
            "torch.distributed.run": ["--nproc-per-node=2", "--standalone"]}  # fmt: skip
    module = ["-m", "jobtuner.cli"] if "accelerate" in launcher else ["-m", "--", "jobtuner.cli"]
    done = subprocess.run(
        [sys.executable, "-m", launcher, *more[launcher], *module, "train", "--run", str(tmp_path / "run"),
         "--prepare", str(prepared.folder), "--out", str(tmp_path / "out")],
        cwd=ROOT, capture_output=True, text=True, timeout=500, check=False,
        env={**os.environ, "JOBTUNER_HOME": str(tmp_path / "home"), "JOBTUNER_STAGE_RUN_ID": parent_run(tmp_path)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.count("TrainedModel in") == 1
    assert_same(TrainedModel.load(tmp_path / "out"), alone)


def test_a_launcher_that_names_no_port_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"WORLD_SIZE": "2", "RANK": "0", "MASTER_PORT": "0"}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError, match="--standalone"), joined():
        raise AssertionError("it must not get here")


def parent_run(folder: Path) -> str:
    from jobtuner.tracking_mlflow import MlflowRunStore

    return MlflowRunStore(f"sqlite:///{folder}/mlflow.db").open("tests", "train", {})


@pytest.mark.parametrize("hands", [1, 2, 3, 7])
def test_rows_are_dealt_out_whole_and_evenly(hands: int) -> None:
    lengths = [30, 5, 17, 17, 8, 40, 22, 9, 11]
    shares = deal(lengths, hands)
    assert sorted(index for share in shares for index in share) == list(range(len(lengths)))
    held = [sum(lengths[index] for index in share) for share in shares]
    assert max(held) - min(held) <= max(lengths)
    assert deal([4], 2) == [[0], []]


@pytest.mark.parametrize("packing", ["none", "rows", "shared_prefix"])
def test_the_shares_of_a_step_hold_each_row_once_and_as_many_passes(packing: Any, rows: Any) -> None:
    settings = TrainingConfig(batch_size=1, gradient_accumulation=3, packing=packing)
    numbered = [{**row, "row": number} for number, row in enumerate(rows[:3])]
    steps = [StepBatches(0, settings, Group(rank, 2), even=True)(numbered) for rank in range(2)]
    assert [len(step["passes"]) for step in steps] == [2, 2]
    held = [{number for each in step["rows"] for number in each} for step in steps]
    assert held[0] | held[1] == {0, 1, 2}
    assert not held[0] & held[1]
    assert [set(step["others"]) for step in steps] == held[::-1]
    assert {step["items"] for step in steps} == {sum(label != IGNORED for row in numbered for label in row["labels"])}


def test_a_step_of_fewer_rows_than_processes_leaves_one_idle(rows: Any) -> None:
    settings = TrainingConfig(batch_size=4)
    assert StepBatches(0, settings, Group(1, 2))(rows[:1])["passes"] == []
    (idle,) = StepBatches(0, settings, Group(1, 2), even=True)(rows[:1])["passes"]
    assert len(idle["targets"]) == 0


def test_processes_stop_on_what_they_agreed_on_alone_at_once() -> None:
    request, shared = StopRequest(), StopRequest(shared=True)
    request.signum = shared.signum = signal.SIGTERM
    assert request.agreed == signal.SIGTERM
    assert shared.agreed == 0
    shared.agree(signal.SIGINT)
    shared.agree(0)
    assert shared.agreed == signal.SIGINT


def test_a_process_for_each_gpu_and_one_without() -> None:
    assert processes_here(HardwareConfig(), 8) == 8
    assert processes_here(HardwareConfig(), 0) == 1
    assert processes_here(HardwareConfig(processes=3), 0) == 3
    with pytest.raises(ModelError, match=r"hardware.processes is 4, and 2 GPUs.*1 to 2"):
        processes_here(HardwareConfig(processes=4), 2)


def test_several_machines_are_read_from_the_environment() -> None:
    assert machines({}) == Machines()
    assert machines({"PET_NNODES": "1"}) == Machines()
    whole = {"PET_NNODES": "2", "PET_NODE_RANK": "1", "PET_MASTER_ADDR": "first", "PET_MASTER_PORT": "29400"}
    assert machines(whole) == Machines(2, 1, "first", 29400)
    for broken in ({"PET_NNODES": "1:2"}, {"PET_MASTER_ADDR": ""}, {"PET_NODE_RANK": ""}):
        with pytest.raises(ConfigError, match="PET_NNODES"):
            machines({**whole, **broken})


def test_sharding_needs_two_processes(prepared: PreparedData, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="needs at least two processes"):
        run_train(config_of(**{"hardware.sharding": "fsdp"}), {"prepare": prepared.folder}, tmp_path)
