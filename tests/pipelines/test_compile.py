"""What the compiled pipeline says: checked on the YAML, so that no variable can slip through."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from components.image import IMAGE
from jobtuner.stages import STAGES
from pipelines.cluster import CREDENTIALS, GPU, USER_ID
from pipelines.compile import compile_pipeline, pipeline_yaml

_GOLDEN = Path(__file__).parent / "golden" / "training.yaml"
_ACTS_ON_THE_WORLD = {"resolve"} | {name for name, stage in STAGES.items() if not stage.cached}


@pytest.fixture(scope="module")
def documents() -> tuple[dict[str, Any], dict[str, Any]]:
    pipeline, platform = yaml.safe_load_all(pipeline_yaml())
    return pipeline, platform


def _tasks(pipeline: dict[str, Any]) -> dict[str, Any]:
    tasks: dict[str, Any] = pipeline["root"]["dag"]["tasks"]
    return tasks


def test_golden_file() -> None:
    """UPDATE_GOLDEN=1 rewrites the file; the review reads the difference."""
    text = pipeline_yaml()
    if os.environ.get("UPDATE_GOLDEN") == "1":
        _GOLDEN.write_text(text, encoding="utf-8")
    assert text == _GOLDEN.read_text(encoding="utf-8"), (
        "The compiled pipeline changed. `make golden` accepts the change."
    )


def test_bytes_are_stable(tmp_path: Path) -> None:
    first = compile_pipeline(tmp_path / "deep" / "a.yaml")
    second = compile_pipeline(tmp_path / "b.yaml")
    assert first.read_bytes() == second.read_bytes()


def test_parameters(documents: tuple[dict[str, Any], dict[str, Any]]) -> None:
    parameters = documents[0]["root"]["inputDefinitions"]["parameters"]
    # A STRUCT: `kfp run create … overrides='{…}'` sends JSON, and the server refuses JSON for a STRING.
    assert {name: item["parameterType"] for name, item in parameters.items()} == {
        "recipe": "STRING",
        "overrides": "STRUCT",
    }
    assert parameters["recipe"]["defaultValue"] == "smoke"
    assert parameters["overrides"]["defaultValue"] == {}


def test_every_task_runs_our_image_and_installs_nothing(documents: tuple[dict[str, Any], dict[str, Any]]) -> None:
    executors = documents[0]["deploymentSpec"]["executors"]
    assert len(executors) == len(STAGES) + 1
    for name, executor in executors.items():
        container = executor["container"]
        command = " ".join(container["command"])
        assert container["image"] == IMAGE, name
        assert "pip" not in command, name
        assert "kfp.dsl.executor_main" in command, name


def test_edges_are_those_of_the_stages(documents: tuple[dict[str, Any], dict[str, Any]]) -> None:
    tasks = _tasks(documents[0])
    assert set(tasks) == {"resolve", *STAGES}
    for name, stage in STAGES.items():
        inputs = tasks[name]["inputs"]["artifacts"]
        producers = {key: value["taskOutputArtifact"]["producerTask"] for key, value in inputs.items()}
        assert producers == {"run": "resolve", **{other: other for other in stage.inputs}}, name


def test_tasks_that_act_on_the_world_are_not_cached(documents: tuple[dict[str, Any], dict[str, Any]]) -> None:
    tasks = _tasks(documents[0])
    assert {name for name, task in tasks.items() if not task["cachingOptions"].get("enableCache")} == _ACTS_ON_THE_WORLD


def test_tasks_get_settings_and_a_plain_user(documents: tuple[dict[str, Any], dict[str, Any]]) -> None:
    executors = documents[1]["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
    assert len(executors) == len(STAGES) + 1
    for name, executor in executors.items():
        assert executor["securityContext"] == {"runAsUser": str(USER_ID), "runAsNonRoot": True}, name
        (secret,) = executor["secretAsEnv"]
        assert secret["secretName"] == CREDENTIALS and secret["optional"], name
        assert "tolerations" not in executor, name


def test_training_alone_is_retried_and_finds_its_checkpoints(
    documents: tuple[dict[str, Any], dict[str, Any]],
) -> None:
    policies = {name: task["retryPolicy"] for name, task in _tasks(documents[0]).items() if "retryPolicy" in task}
    assert policies == {
        "train": {
            "maxRetryCount": 5, "backoffDuration": "30s", "backoffFactor": 2.0, "backoffMaxDuration": "600s",
        }
    }  # fmt: skip
    (settings,) = documents[1]["platforms"]["kubernetes"]["deploymentSpec"]["executors"]["exec-train"]["configMapAsEnv"]
    assert "JOBTUNER_CHECKPOINTS" in {item["envVar"] for item in settings["keyToEnv"]}


def test_gpus_go_to_the_tasks_that_run_the_language_model() -> None:
    pipeline, platform = yaml.safe_load_all(pipeline_yaml(gpus=2))
    executors = pipeline["deploymentSpec"]["executors"]
    resources = {name: executor["container"].get("resources") for name, executor in executors.items()}
    with_gpu = {"exec-train", "exec-evaluate", "exec-export", "exec-register"}
    assert {name for name, item in resources.items() if item} == with_gpu
    for name in with_gpu:
        accelerator = resources[name]["accelerator"]
        assert accelerator["resourceType"] == GPU and accelerator["resourceCount"] == "2"
        (toleration,) = platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"][name]["tolerations"]
        assert toleration["key"] == GPU


@pytest.mark.parametrize(
    ("image", "accepted"),
    [
        ("registry.example.com:5000/team/jobtuner:1.2.3", True),
        ("jobtuner@sha256:" + "0" * 64, True),
        ("registry.example.com:5000/team/jobtuner", False),
        ("jobtuner:latest", False),
    ],
)
def test_another_image(image: str, accepted: bool, tmp_path: Path) -> None:
    output = tmp_path / "training.yaml"
    command = [str(Path(sys.executable).parent / "jobtuner"), "compile", "--output", str(output)]
    environment = {**os.environ, "JOBTUNER_IMAGE": image}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)
    if accepted:
        assert done.returncode == 0, done.stderr
        pipeline = next(iter(yaml.safe_load_all(output.read_text())))
        images = {item["container"]["image"] for item in pipeline["deploymentSpec"]["executors"].values()}
        assert images == {image}
    else:
        assert done.returncode == 2
        assert "JOBTUNER_IMAGE" in done.stderr
        assert not output.exists()
