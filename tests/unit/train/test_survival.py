"""Training that is killed, preempted, damaged or led astray, on a real 4-bit model with an adapter and dropout."""

import contextlib
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from safetensors.numpy import load_file

from tests.conftest import Standin
from tests.unit.train.test_checkpoint import DAMAGES, mirrored, server, uri
from tests.unit.train.victim import Job

__all__ = ["server", "uri"]

ROOT = Path(__file__).parents[3]
ACCUMULATING = {"gradient_accumulation": 2}
"""22 rows in batches of 2, two batches a step: 6 steps an epoch, the last of one batch only; 18 steps in all."""
Run = Callable[..., tuple[int, dict[str, Any], str]]


class Victims:
    """The process that forks a child for each training."""

    def __init__(self, base: Path) -> None:
        self._base = base
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.unit.train.victim"],
            cwd=ROOT,
            env={**os.environ, "OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._read() == "ready"

    def _read(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()

    def start(self, folder: Path, **job: Any) -> int:
        """Start a training whose checkpoints are in the folder; its process id."""
        out = folder.with_suffix(".json")
        out.unlink(missing_ok=True)
        whole = Job(**{"base": str(self._base), "root": str(folder), "out": str(out), **job})
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(asdict(whole)) + "\n")
        self._process.stdin.flush()
        return int(self._read())

    def wait(self, folder: Path) -> tuple[int, dict[str, Any], str]:
        """Exit code, what came out, and what was said."""
        code, out = int(self._read()), folder.with_suffix(".json")
        return code, json.loads(out.read_text()) if out.exists() else {}, folder.with_suffix(".log").read_text()

    def run(self, folder: Path, **job: Any) -> tuple[int, dict[str, Any], str]:
        self.start(folder, **job)
        return self.wait(folder)

    def close(self) -> None:
        self._process.communicate(timeout=60)


@pytest.fixture(scope="module")
def victims(standin: Standin) -> Iterator[Victims]:
    found = Victims(standin.folder)
    yield found
    found.close()


@pytest.fixture(scope="module")
def whole(victims: Victims, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The run that nothing happened to."""
    code, result, said = victims.run(tmp_path_factory.mktemp("whole") / "run", training=ACCUMULATING)
    assert code == 0, said
    assert result["metrics"]["steps"] == 18
    return result


def same(result: dict[str, Any], whole: dict[str, Any]) -> bool:
    """The adapter to the last bit, each logged loss and rate, and the means of the whole run."""
    timed = ("seconds", "examples_per_second", "tokens_per_second", "resumes")
    plain = [{name: value for name, value in item["metrics"].items() if name not in timed} for item in (result, whole)]
    return (
        bool(result["adapter"] == whole["adapter"]) and result["history"] == whole["history"] and plain[0] == plain[1]
    )


def folder_of(run: Path) -> Path:
    (found,) = [path for path in run.iterdir() if (path / "lock").exists()]
    return found


@pytest.mark.parametrize("misfortune", [{"kill_at": 9}, {"kill_while_writing": 12}], ids=str)
def test_killed_and_resumed_is_the_same_to_the_last_bit(
    misfortune: dict[str, int], victims: Victims, whole: dict[str, Any], tmp_path: Path
) -> None:
    code, result, _ = victims.run(tmp_path / "run", training=ACCUMULATING, **misfortune)
    assert (code, result) == (-signal.SIGKILL, {})
    code, result, said = victims.run(tmp_path / "run", training=ACCUMULATING)
    assert code == 0, said
    assert "Training is resumed from step 8 of 18." in said
    assert same(result, whole)
    assert result["metrics"]["resumes"] == 1


@pytest.mark.slow
def test_five_kills_at_random_moments_of_one_run(victims: Victims, whole: dict[str, Any], tmp_path: Path) -> None:
    """From outside, whatever the process is doing; then five runs of one kill each at a random step."""
    chance, code, kills = random.Random(5), -1, 0
    while code != 0 and kills < 5:
        number = victims.start(tmp_path / "run", training=ACCUMULATING, every=1)
        time.sleep(chance.uniform(0.3, 1.5))
        with contextlib.suppress(ProcessLookupError):  # on a fast machine it may be through before its kill
            os.kill(number, signal.SIGKILL)
        code, result, said = victims.wait(tmp_path / "run")
        kills += 1
    if code != 0:
        _, result, said = victims.run(tmp_path / "run", training=ACCUMULATING, every=1)
    assert same(result, whole), said
    for step in chance.sample(range(1, 18), 5):
        folder = tmp_path / f"step-{step}"
        assert victims.run(folder, training=ACCUMULATING, kill_at=step)[0] == -signal.SIGKILL
        _, result, said = victims.run(folder, training=ACCUMULATING)
        assert same(result, whole), f"killed at step {step}: {said}"


@pytest.mark.parametrize(
    "settings",
    [
        # large enough for 8-bit states, which bitsandbytes gives to tensors from 4,096 values on
        pytest.param({"training": {"optimizer": "adamw_8bit", "schedule": "linear"}, "r": 128}, id="adamw_8bit"),
        pytest.param(
            {"training": {"optimizer": "adamw_torch_fused", "batch_size": 3, "epochs": 2.5}},
            id="fused, half an epoch",
            marks=pytest.mark.slow,
        ),
    ],
)
def test_other_optimizers_resume_too(settings: dict[str, Any], victims: Victims, tmp_path: Path) -> None:
    _, expected, said = victims.run(tmp_path / "whole", **settings)
    assert expected, said
    assert victims.run(tmp_path / "run", kill_at=15, **settings)[0] == -signal.SIGKILL
    states = load_file(folder_of(tmp_path / "run") / "checkpoint-12" / "optimizer.safetensors")
    assert any(value.dtype == "uint8" for value in states.values()) == ("r" in settings)
    _, result, said = victims.run(tmp_path / "run", **settings)
    assert "resumed from step 12" in said
    assert same(result, expected), said


def test_measuring_on_the_way_changes_nothing_and_the_best_adapter_survives(
    victims: Victims, whole: dict[str, Any], tmp_path: Path
) -> None:
    """The AVX512-BF16 trap too: were gradients cut by the first measurement, the adapters would differ."""
    measured = {**ACCUMULATING, "evaluate_every": 5}
    _, result, said = victims.run(tmp_path / "measured", training=measured)
    assert result["adapter"] == whole["adapter"], said
    assert [item["step"] for item in result["history"] if "validation_loss" in item] == [5, 10, 15, 18]
    best = {**measured, "best_by": "accuracy"}  # so short a training answers nothing right: the first stays the best
    _, expected, said = victims.run(tmp_path / "best", training=best)
    (first, *_) = [item for item in expected["history"] if "validation_loss" in item]
    assert expected["metrics"]["validation_loss"] == first["validation_loss"], said
    assert victims.run(tmp_path / "run", training=best, kill_at=17)[0] == -signal.SIGKILL
    _, result, said = victims.run(tmp_path / "run", training=best)
    assert "resumed from step 16" in said
    assert same(result, expected)


@pytest.mark.parametrize("when", [{"signal_at": 7}, {"signal_in": 7}], ids=["after a step", "within a step"])
def test_sigterm_saves_where_it_is_and_ends_with_143(
    when: dict[str, int], victims: Victims, whole: dict[str, Any], tmp_path: Path
) -> None:
    code, result, said = victims.run(tmp_path / "run", training=ACCUMULATING, every=100, **when)
    assert (code, result) == (143, {}), said
    assert "stopped by SIGTERM at step 7 of 18. Run again with the same settings to go on." in said
    files = {path.name for path in (folder_of(tmp_path / "run") / "checkpoint-7").iterdir()}
    assert files == {
        "adapter_model.safetensors", "adapter_config.json", "optimizer.safetensors", "optimizer.json",
        "progress.safetensors", "progress.json", "trainer_state.json", "manifest.json",
    }  # fmt: skip
    code, result, said = victims.run(tmp_path / "run", training=ACCUMULATING, every=100)
    assert "resumed from step 7 of 18" in said
    assert same(result, whole), said


@pytest.fixture
def wide(standin: Standin, tmp_path: Path) -> Path:
    """The stand-in with so many words that an adapter of rank 128 on its embedding is as large as one on a 7B.

    128 × 303,872 = 39 million weights, as those of rank 16 on all linear layers of Qwen2.5-7B: 156 MB in float32, and
    Adam's two states as much again each.
    """
    from transformers import Qwen2Config, Qwen2ForCausalLM

    folder = tmp_path / "wide"
    shutil.copytree(standin.folder, folder)
    config = Qwen2Config.from_pretrained(folder)
    config.vocab_size = 2 * 151_936
    Qwen2ForCausalLM(config).save_pretrained(folder)
    return folder


@pytest.mark.slow
def test_a_preempted_training_is_saved_and_gone_within_20_seconds(victims: Victims, wide: Path, tmp_path: Path) -> None:
    """Spot machines give 30 s of notice, pods too: 20 leave room for the container's own end."""
    events = tmp_path / "events.jsonl"
    number = victims.start(
        tmp_path / "run", base=str(wide), r=128, every=1000, training={"epochs": 300.0, "batch_size": 2},
        environment={"JOBTUNER_EVENTS": str(events)},
    )  # fmt: skip
    deadline = time.monotonic() + 120
    while not (events.exists() and re.search(r'"Fine-tuning", "done": [1-9]', events.read_text(encoding="utf-8"))):
        assert time.monotonic() < deadline, (tmp_path / "run.log").read_text(encoding="utf-8")
        time.sleep(0.05)
    os.kill(number, signal.SIGTERM)
    asked = time.monotonic()
    code, result, said = victims.wait(tmp_path / "run")
    seconds = time.monotonic() - asked
    assert (code, result) == (143, {}), said
    (saved,) = folder_of(tmp_path / "run").glob("checkpoint-*")
    assert f"stopped by SIGTERM at step {saved.name.removeprefix('checkpoint-')} of" in said
    size = sum(path.stat().st_size for path in saved.iterdir())
    assert size > 450e6
    assert seconds < 20


@pytest.fixture(scope="module")
def stopped(victims: Victims, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A training killed at step 10, with the checkpoints of steps 4 and 8."""
    folder = tmp_path_factory.mktemp("stopped") / "run"
    victims.run(folder, training=ACCUMULATING, kill_at=10)
    return folder


@pytest.mark.parametrize(
    "damage",
    [  # what is told of each is tested file by file in test_checkpoint.py
        pytest.param(name, marks=() if name in {"a cut adapter", "a flipped bit"} else pytest.mark.slow)
        for name in list(DAMAGES)[:5]
    ],
)
def test_a_damaged_last_checkpoint_costs_one_interval(
    damage: str, stopped: Path, victims: Victims, whole: dict[str, Any], tmp_path: Path
) -> None:
    break_it, reason = DAMAGES[damage]
    run = tmp_path / "run"
    shutil.copytree(stopped, run)
    break_it(folder_of(run) / "checkpoint-8")
    _, result, said = victims.run(run, training=ACCUMULATING)
    assert f"The checkpoint of step 8 (here) is not used: {reason}" in said
    assert "Training is resumed from step 4 of 18." in said
    assert same(result, whole)


def test_other_settings_start_afresh(stopped: Path, victims: Victims, tmp_path: Path) -> None:
    shutil.copytree(stopped, tmp_path / "run")
    code, result, said = victims.run(tmp_path / "run", training={**ACCUMULATING, "learning_rate": 1e-3})
    assert code == 0, said
    assert "resumed" not in said
    assert result["metrics"]["resumes"] == 0


def test_a_lost_machine_is_replaced_from_the_object_store(
    uri: str, victims: Victims, whole: dict[str, Any], tmp_path: Path
) -> None:
    names = ("MINIO_ENDPOINT", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
    job = {"mirror": uri, "environment": {name: os.environ[name] for name in names}, "training": ACCUMULATING}
    code, _, said = victims.run(tmp_path / "one", signal_at=10, **job)
    assert code == 143, said
    assert len([name for name in mirrored(uri) if name.endswith("manifest.json")]) == 2
    shutil.rmtree(tmp_path / "one")
    _, result, said = victims.run(tmp_path / "two", **job)
    assert "resumed from step 10 of 18" in said
    assert same(result, whole), said


@pytest.mark.parametrize(
    ("factor", "what", "most"),
    [(float("nan"), "The loss is nan", 2), (1e37, "The gradients exploded (their norm is inf)", 4)],
    ids=["nan", "inf"],
)
def test_a_batch_that_cannot_be_learnt_is_named(
    factor: float, what: str, most: int, victims: Victims, tmp_path: Path
) -> None:
    job = {
        "training": {**ACCUMULATING, "epochs": 1.0, "packing": "none"},
        "every": 1,
        "bad_row": 13,
        "bad_factor": factor,
    }
    code, _, said = victims.run(tmp_path / "run", **job)
    assert code == 1
    step = int(said.split(" in step ")[1].split()[0])
    assert f"ModelError: {what} in step {step} of 6; the step was not taken. Its examples: " in said
    named = said.split("Its examples: ")[1].split(". ")[0].split(", ")
    assert "ad-13" in named and len(named) <= most  # those of the batch, or of the batches of the step
    assert "lower training.learning_rate" in said
    if step > 1:
        assert f"The checkpoint of step {step - 1} is kept in {folder_of(tmp_path / 'run')}" in said


def test_seconds_and_bar_go_on(victims: Victims, tmp_path: Path) -> None:
    events = tmp_path / "events.jsonl"
    job = {"training": ACCUMULATING, "environment": {"JOBTUNER_EVENTS": str(events)}}
    victims.run(tmp_path / "run", kill_at=13, **job)
    events.unlink()
    saved = json.loads((folder_of(tmp_path / "run") / "checkpoint-12" / "progress.json").read_text())
    before = dict(saved["dict"])["seconds"]
    _, result, _ = victims.run(tmp_path / "run", **job)
    metrics = result["metrics"]
    assert metrics["seconds"] > before > 0
    assert metrics["examples_per_second"] == pytest.approx(66 / metrics["seconds"])  # 22 rows, 3 epochs
    bar = [json.loads(line) for line in events.read_text().splitlines() if "Fine-tuning" in line]
    assert (bar[0]["done"], bar[-1]["done"], bar[-1]["total"]) == (12, 18, 18)
