"""kill -9 between any two writes of the register stage, in real processes, and then the same stage again."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

WRITES = 18  # logged model, 10 files, signature, ready, name, version, challenger, mark, champion
FILES = {
    *("adapter/adapter_config.json", "adapter/adapter_model.safetensors", "tokenizer/tokenizer.json"),
    *("base/config.json", "base/model.safetensors", "inference.json", "contract.json", "MLmodel"),
    *("model_card.md", "answers.json", "settings.json"),
}


def killed_and_repeated(folder: Path, scenarios: list[list[int]]) -> list[dict[str, Any]]:
    command = [sys.executable, "-m", "tests.unit.register.killed_runs", str(folder), json.dumps(scenarios)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=3000, check=False)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def check(found: dict[str, Any], kills: list[int]) -> None:
    assert found["ended"] == [*(-9 for _ in kills), 0]
    assert found["status"] == "READY"
    assert found["versions"] == [["1", True]]  # one version, and it points to the files of the one logged model
    assert found["aliases"] == {"challenger": "1", "champion": "1"}
    assert set(found["files"]) == FILES


def test_killed_among_the_files_before_the_version_and_before_the_alias(tmp_path: Path) -> None:
    scenarios = [[4], [WRITES - 4], [WRITES - 1]]
    results = killed_and_repeated(tmp_path, [*scenarios, []])
    for kills, found in zip([*scenarios, []], results, strict=True):
        check(found, kills)


@pytest.mark.slow
def test_twenty_of_twenty_kills_end_with_one_version_and_one_alias(tmp_path: Path) -> None:
    """After each of the 18 writes; and twice in a row, among the files and among the last writes."""
    scenarios = [*([writes] for writes in range(1, WRITES + 1)), [5, 3, 2], [WRITES - 3, 1, 1]]
    assert len(scenarios) == 20
    for kills, found in zip(scenarios, killed_and_repeated(tmp_path, scenarios), strict=True):
        check(found, kills)


@pytest.mark.slow
def test_there_is_no_write_that_the_scenarios_leave_out(tmp_path: Path) -> None:
    (found,) = killed_and_repeated(tmp_path, [[WRITES + 1]])
    assert found["ended"] == [0, 0]


def at_once(folder: Path, count: int) -> dict[str, Any]:
    command = [sys.executable, "-m", "tests.unit.register.killed_runs", str(folder), str(count)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=3000, check=False)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize("count", [3, pytest.param(8, marks=pytest.mark.slow)])
def test_runs_that_end_at_once_on_a_fresh_registry_are_all_registered(tmp_path: Path, count: int) -> None:
    found = at_once(tmp_path, count)
    assert found["ended"] == [0] * count
    assert found["fingerprints"] == [f"{number:x}" for number in range(count)]
    assert len(found["champions"]) == 1  # they are equally good: the first stays, whoever that was
    assert found["replaced"] == []
