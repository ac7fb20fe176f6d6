"""The TrainJob of several machines: what it says, and that Kubeflow Trainer's schemas and Pod Security accept it."""

import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from jobtuner.cli import app
from jobtuner.errors import ConfigError
from jobtuner.train.launch import machines
from jobtuner.train.train_job import TrainJobSpec, train_job
from manifests.check import ROOT, tool

IMAGE = "registry.example.com/jobtuner/python-train:0.1.0@sha256:" + "ab" * 32


def written(*options: str) -> list[dict[str, Any]]:
    done = CliRunner().invoke(app, ["train-job", "--recipe", "qwen2_5_72b", "--image", IMAGE, *options])
    assert done.exit_code == 0, done.output
    return list(yaml.safe_load_all(done.output))


def test_each_machine_runs_the_command_and_has_its_gpus() -> None:
    _, runtime, job = written("--machines", "3", "--accelerator", "h100", "--set", "training.epochs=1.0")
    trainer = job["spec"]["trainer"]
    assert trainer["numNodes"] == runtime["spec"]["mlPolicy"]["numNodes"] == 3
    assert trainer["command"][:4] == ["jobtuner", "train", "--recipe", "qwen2_5_72b"]
    assert trainer["command"][4:] == ["--set", "training.epochs=1.0"]
    assert trainer["args"] == ["--prepare", "/work/qwen2-5-72b/prepare", "--out", "/work/qwen2-5-72b/train"]
    assert trainer["resourcesPerNode"]["limits"]["nvidia.com/gpu"] == "8"
    pod = runtime["spec"]["template"]["spec"]["replicatedJobs"][0]["template"]["spec"]["template"]["spec"]
    assert pod["nodeSelector"] == {"jobtuner.dev/pool": "gpu", "jobtuner.dev/accelerator": "h100"}
    assert job["spec"]["runtimeRef"]["name"] == runtime["metadata"]["name"]


def test_the_operators_variables_are_those_that_the_stage_reads() -> None:
    """As Kubeflow Trainer's torch plugin sets them in the second of two pods."""
    found = machines(
        {"PET_NNODES": "2", "PET_NPROC_PER_NODE": "8", "PET_NODE_RANK": "1",
         "PET_MASTER_ADDR": "qwen2-5-72b-node-0-0.qwen2-5-72b", "PET_MASTER_PORT": "29400"}
    )  # fmt: skip
    assert (found.count, found.rank, found.port) == (2, 1, 29400)


def test_the_schemas_and_pod_security_accept_it(tmp_path: Path) -> None:
    kubecheck = tool("KUBECHECK")
    if kubecheck is None:
        pytest.skip("kubecheck is not installed; KUBECHECK names it")
    (tmp_path / "job.yaml").write_text(yaml.safe_dump_all(written()))
    outside = "jobtuner-work,jobtuner-settings,jobtuner-credentials,Namespace/*"
    network = str(ROOT / "base" / "platform" / "network.yaml")  # what the namespace already has
    command = [kubecheck, "--pss", "restricted", "--hygiene", "--digest", "--external", outside, network]
    done = subprocess.run([*command, str(tmp_path / "job.yaml")], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    broken = yaml.safe_dump_all(train_job(TrainJobSpec("a", IMAGE, "smoke"))).replace("numNodes", "numNode")
    (tmp_path / "broken.yaml").write_text(broken)
    done = subprocess.run([*command, str(tmp_path / "broken.yaml")], capture_output=True, text=True, check=False)
    assert done.returncode == 1


@pytest.mark.parametrize(
    ("changes", "message"),
    [({"image": "jobtuner:latest"}, "can change"), ({"image": "jobtuner"}, "can change"), ({"gpus": 0}, "at least 1")],
)
def test_what_cannot_work_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        TrainJobSpec(**{"name": "a", "image": IMAGE, "recipe": "smoke", **changes})


def test_the_command_refuses_what_the_cluster_cannot_do(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("seed: 1\n")
    command = ["train-job", "--image", IMAGE, "--recipe"]
    done = CliRunner().invoke(app, [*command, str(tmp_path / "mine.yaml")])
    assert done.exit_code == 2
    done = CliRunner().invoke(app, [*command, "qwen2_5_72b", "--gpus", "4"])
    assert done.exit_code == 2
