"""The throughput benchmark runs: a tiny shape on the CPU, the real one where there is a GPU."""

import argparse
import importlib.util
import re
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from jobtuner.config import load_config
from jobtuner.train.shapes import SHAPES

_SCRIPT = Path(__file__).parents[3] / "benchmarks" / "train_throughput.py"


@pytest.fixture
def benchmark(monkeypatch: pytest.MonkeyPatch) -> Any:
    spec = importlib.util.spec_from_file_location("train_throughput", _SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, spec.name, module)  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


@pytest.mark.slow
def test_all_three_run_on_a_tiny_shape(benchmark: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """`make gpu-bench ARGS=--tiny`: the whole of what is measured on a GPU."""
    benchmark.main(["--gpu", "--tiny"])
    out = capsys.readouterr().out
    speeds = re.findall(r"^(\w+) +[\d.]+ examples/s +[\d.,]+ tokens/s +loss ([\d.]+)", out, flags=re.MULTILINE)
    assert [name for name, _ in speeds] == ["notebook", "trl", "jobtuner"]
    assert "measured ceiling" in out
    assert "jobtuner / trl: speed" in out
    assert out.count("MFU") == 3


def test_what_cannot_be_measured_here_is_said_at_once(benchmark: Any, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--tiny"] if torch.cuda.is_available() else ["--gpu"]
    with pytest.raises(SystemExit):
        benchmark.main(arguments)
    assert "--gpu" in capsys.readouterr().err


def test_the_share_that_is_computed_leaves_the_common_prompt_out(benchmark: Any) -> None:
    """Eight rows of 16 common tokens and 4 of their own in a pass: 16 + 8 × 4 of 8 × 20."""
    rows = [{"input_ids": [*range(16), *([40 + n] * 4)], "labels": [-100] * 18 + [40 + n] * 2} for n in range(16)]
    config = load_config("smoke", {"training.batch_size": "8"})
    setting = benchmark.Setting(Path("none"), config, rows, rows, gpu=False)
    assert benchmark.computed_share(setting) == pytest.approx(48 / 160)
    assert benchmark.matmul_flops("cpu", 64, 3) > 0


@pytest.mark.gpu
def test_the_7b_shape_fits_and_runs_on_a_gpu(benchmark: Any, tmp_path: Path) -> None:
    arguments = argparse.Namespace(rows=16, length=1024)
    setting = benchmark.gpu_setting(arguments, tmp_path / "model", SHAPES["qwen2.5-7b"])
    results = benchmark.compare(setting, 1, tmp_path / "scratch")
    assert results["jobtuner"][0].peak_bytes < results["notebook"][0].peak_bytes
