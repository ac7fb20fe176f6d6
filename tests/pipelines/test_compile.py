"""What the compiled pipeline says: checked on the YAML, so that no variable can slip through."""

import json
import os
import re
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from kfp import components
from typer.testing import CliRunner

from components.image import IMAGE, component_image
from jobtuner.cli import app
from jobtuner.errors import ConfigError
from jobtuner.stages import SCHEDULED, STAGES
from manifests import check
from pipelines.cluster import CREDENTIALS, GPU, USER_ID
from pipelines.compile import PIPELINES, compile_pipeline, pipeline_yaml
from pipelines.resources import ACCELERATORS, NEEDS, Nodes
from pipelines.submit import SERVICE_ACCOUNT

_GOLDEN = Path(__file__).parent / "golden"
_CONTRACT = Path(__file__).parents[2] / "terraform" / "modules" / "contract" / "contract.json"
_SHARDED = {"number-shards", "clean-shard", "merge-shards"}
_compiled = cache(pipeline_yaml)
_ACTS_ON_THE_WORLD = {"resolve", "finish"} | {name for name, stage in STAGES.items() if not stage.cached}


@pytest.fixture(scope="module")
def documents() -> tuple[dict[str, Any], dict[str, Any]]:
    pipeline, platform = check.documents(_compiled())
    return pipeline, platform


def _tasks(pipeline: dict[str, Any]) -> dict[str, Any]:
    """The last task, and those before it, which have a graph of their own."""
    (graph,) = [item["dag"] for name, item in pipeline["components"].items() if name.startswith("comp-exit-handler")]
    last: dict[str, Any] = {
        name: task for name, task in pipeline["root"]["dag"]["tasks"].items() if not name.startswith("exit-handler")
    }
    return {**last, **graph["tasks"]}


@pytest.mark.parametrize("which", PIPELINES)
def test_golden_file(which: str) -> None:
    """UPDATE_GOLDEN=1 rewrites the file; the review reads the difference."""
    text, path = pipeline_yaml(which=which), _GOLDEN / f"{which}.yaml"
    if os.environ.get("UPDATE_GOLDEN") == "1":
        path.write_text(text, encoding="utf-8")
    assert text == path.read_text(encoding="utf-8"), "The compiled pipeline changed. `make golden` accepts the change."


@pytest.mark.parametrize("which", PIPELINES)
def test_kfp_reads_back_what_it_compiled(which: str, tmp_path: Path) -> None:
    loaded = components.load_component_from_file(str(compile_pipeline(tmp_path / "a.yaml", which=which)))
    assert loaded.name == f"jobtuner-{which}"
    for name, comp in loaded.pipeline_spec.components.items():
        assert comp.executor_label or comp.dag.tasks, name


@pytest.mark.parametrize("which", PIPELINES)
def test_the_manifest_holds_the_same_pipeline(which: str, tmp_path: Path) -> None:
    path = compile_pipeline(tmp_path / "a.yaml", which=which, kind="manifest", namespace="jobtuner-pipelines")
    pipeline, version = check.documents(path.read_text(encoding="utf-8"))
    assert (pipeline["kind"], pipeline["metadata"]["name"]) == ("Pipeline", f"jobtuner-{which}")
    assert version["spec"]["pipelineName"] == pipeline["metadata"]["name"]
    assert {item["metadata"]["namespace"] for item in (pipeline, version)} == {"jobtuner-pipelines"}
    spec, platform = check.documents(_compiled(which=which))
    assert version["spec"]["pipelineSpec"] == spec
    assert version["spec"]["platformSpec"] == platform
    other = check.documents(pipeline_yaml(Nodes(pools=False), which, "manifest"))
    names = {item["metadata"]["name"] for item in other} | {version["metadata"]["name"]}
    assert len(names) == 3  # another content, another version of the same pipeline
    if check.tool("KUBECHECK"):
        answer = subprocess.run([str(check.tool("KUBECHECK")), str(path)], capture_output=True, text=True, check=False)
        assert answer.returncode == 0, answer.stdout


def test_an_unknown_pipeline_is_refused(tmp_path: Path) -> None:
    answer = CliRunner().invoke(app, ["compile", "--pipeline", "serving", "-o", str(tmp_path / "a.yaml")])
    assert answer.exit_code == 2
    assert "training, monitoring" in answer.stderr


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
        "shards": "NUMBER_INTEGER",
    }
    assert parameters["shards"]["defaultValue"] == 1
    assert parameters["recipe"]["defaultValue"] == "smoke"
    assert parameters["overrides"]["defaultValue"] == {}


def test_every_task_runs_our_image_and_installs_nothing(documents: tuple[dict[str, Any], dict[str, Any]]) -> None:
    executors = documents[0]["deploymentSpec"]["executors"]
    assert len(executors) == len(STAGES) + 2 + len(_SHARDED)
    for name, executor in executors.items():
        container = executor["container"]
        command = " ".join(container["command"])
        assert container["image"] == IMAGE, name
        assert not re.search(r"\bpip3?\b", command), name
        assert "kfp.dsl.executor_main" in command, name


def test_edges_are_those_of_the_stages(documents: tuple[dict[str, Any], dict[str, Any]]) -> None:
    tasks = _tasks(documents[0])
    assert set(tasks) == {"resolve", "finish", *STAGES}
    for name, stage in STAGES.items():
        inputs = tasks[name]["inputs"]["artifacts"]
        producers = {key: value["taskOutputArtifact"]["producerTask"] for key, value in inputs.items()}
        assert producers == {"run": "resolve", **{other: other for other in stage.inputs}}, name


def test_tasks_that_act_on_the_world_are_not_cached(documents: tuple[dict[str, Any], dict[str, Any]]) -> None:
    tasks = _tasks(documents[0])
    assert {name for name, task in tasks.items() if not task["cachingOptions"].get("enableCache")} == _ACTS_ON_THE_WORLD


def test_the_last_task_runs_whatever_happened(documents: tuple[dict[str, Any], dict[str, Any]]) -> None:
    tasks = documents[0]["root"]["dag"]["tasks"]
    assert set(tasks) == {"finish", "exit-handler-1"}
    last = tasks["finish"]
    assert last["triggerPolicy"] == {"strategy": "ALL_UPSTREAM_TASKS_COMPLETED"}
    parameters = last["inputs"]["parameters"]
    assert parameters["status"] == {"taskFinalStatus": {"producerTask": "exit-handler-1"}}
    # Both know the run by Kubeflow's own id.
    number = {"runtimeValue": {"constant": "{{$.pipeline_job_uuid}}"}}
    assert parameters["pipeline_run"] == number
    assert _tasks(documents[0])["resolve"]["inputs"]["parameters"]["pipeline_run"] == number


def test_the_watch_trains_where_a_bool_says_so() -> None:
    pipeline, _ = check.documents(_compiled(which="monitoring"))
    graphs = {name: item["dag"]["tasks"] for name, item in pipeline["components"].items() if "dag" in item}
    (training,) = [tasks for tasks in graphs.values() if "train" in tasks]
    assert set(training) == set(STAGES)
    (condition,) = [
        task for tasks in graphs.values() for task in tasks.values() if task["taskInfo"]["name"] == "a training is due"
    ]
    assert condition["triggerPolicy"]["condition"].endswith("== true")  # text from an ad would be code in kfp.local
    (answer,) = [item for item in condition["inputs"]["parameters"].values() if "taskOutputParameter" in item]
    assert answer["taskOutputParameter"] == {"outputParameterKey": "Output", "producerTask": "monitor"}
    outputs = pipeline["components"]["comp-monitor"]["outputDefinitions"]["parameters"]
    assert outputs == {"Output": {"parameterType": "BOOLEAN"}}
    assert set(pipeline["root"]["dag"]["tasks"]) == {"finish", "exit-handler-1"}


def test_the_batch_asks_a_few_shards_at_once() -> None:
    pipeline, _ = check.documents(_compiled(which="batch"))
    tasks = pipeline["root"]["dag"]["tasks"]
    assert set(tasks) == {"split", "for-loop-1", "join"}
    assert tasks["for-loop-1"]["iteratorPolicy"] == {"parallelismLimit": 4}
    loop = tasks["for-loop-1"]["parameterIterator"]["items"]["inputParameter"]
    taken = tasks["for-loop-1"]["inputs"]["parameters"][loop]["taskOutputParameter"]
    assert taken == {"outputParameterKey": "Output", "producerTask": "split"}
    joined = tasks["join"]["inputs"]["artifacts"]["shards"]["taskOutputArtifact"]
    assert joined["producerTask"] == "for-loop-1"


def test_the_search_trains_a_few_trials_at_once() -> None:
    pipeline, _ = check.documents(_compiled(which="tuning"))
    assert pipeline["root"]["inputDefinitions"]["parameters"]["space"]["parameterType"] == "STRING"
    graphs = [item["dag"]["tasks"] for item in pipeline["components"].values() if "dag" in item]
    (tasks,) = [each for each in graphs if "pick-best" in each]
    ((name, loop),) = [(name, task) for name, task in tasks.items() if name.startswith("for-loop")]
    assert set(tasks) == {"resolve", "prepare", "draw-trials", name, "pick-best"}
    assert loop["iteratorPolicy"] == {"parallelismLimit": 4}
    taken = loop["inputs"]["parameters"][loop["parameterIterator"]["items"]["inputParameter"]]["taskOutputParameter"]
    assert taken == {"outputParameterKey": "Output", "producerTask": "draw-trials"}
    artifacts = tasks["pick-best"]["inputs"]["artifacts"]
    assert artifacts["trials"]["taskOutputArtifact"]["producerTask"].startswith("for-loop")
    assert artifacts["drawn"] == {"taskOutputArtifact": {"outputArtifactKey": "drawn", "producerTask": "draw-trials"}}


def test_a_training_on_several_gpus_has_room_for_its_processes() -> None:
    containers, extra = _executors(Nodes(gpus=8))
    asked = containers["train"]["resources"]
    assert (asked["resourceCpuRequest"], asked["resourceMemoryRequest"], asked["resourceMemoryLimit"]) == (
        "18", "79Gi", "87Gi"
    )  # fmt: skip
    sizes = {name: [mount["sizeLimit"] for mount in item.get("emptyDirMounts", [])] for name, item in extra.items()}
    assert sizes["train"] == ["8Gi"]
    assert sizes["evaluate"] == ["1Gi"]  # one process
    assert containers["evaluate"]["resources"]["resourceMemoryRequest"] == NEEDS["evaluate"].memory
    one, _ = _executors(Nodes(gpus=1))
    assert one["train"]["resources"]["resourceMemoryRequest"] == NEEDS["train"].memory


def test_a_trial_takes_one_gpu() -> None:
    containers, extra = _executors(Nodes(gpus=8), "tuning")
    assert {name for name, item in containers.items() if "accelerator" in item["resources"]} == {"train-trial"}
    assert containers["train-trial"]["resources"]["accelerator"]["resourceCount"] == "1"
    assert extra["train-trial"]["nodeSelector"] == {"labels": {"jobtuner.dev/pool": "gpu"}}


@pytest.mark.parametrize("which", ["training", "monitoring"])
def test_the_data_is_prepared_in_one_piece_or_in_shards(which: str) -> None:
    pipeline, _ = check.documents(_compiled(which=which))
    graphs = {name: item["dag"] for name, item in pipeline["components"].items() if "dag" in item}
    (whole,) = [dag for dag in graphs.values() if set(dag["tasks"]) == {"prepare"}]
    (shards,) = [dag["tasks"] for dag in graphs.values() if "merge-shards" in dag["tasks"]]
    assert whole["tasks"]["prepare"]["inputs"]["artifacts"].keys() == {"run"}
    (loop,) = [name for name in shards if name.startswith("for-loop-")]
    assert set(shards) == {"number-shards", loop, "merge-shards"}
    assert shards[loop]["iteratorPolicy"] == {"parallelismLimit": 4}
    assert shards["merge-shards"]["inputs"]["artifacts"]["shards"]["taskOutputArtifact"]["producerTask"] == loop
    conditions = [
        task["triggerPolicy"]["condition"]
        for name, dag in graphs.items()
        if name.startswith("comp-condition-branches")
        for task in dag["tasks"].values()
    ]
    assert len(conditions) == 2 and conditions[0].endswith("== 1") and conditions[1] == f"!({conditions[0]})"


def _executors(nodes: Nodes, which: str = "training") -> tuple[dict[str, Any], dict[str, Any]]:
    """By task: the container, and what the platform adds."""
    pipeline, platform = check.documents(_compiled(nodes, which))
    containers = {name: item["container"] for name, item in pipeline["deploymentSpec"]["executors"].items()}
    extra = platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
    return (
        {name.removeprefix("exec-"): item for name, item in containers.items()},
        {name.removeprefix("exec-"): item for name, item in extra.items()},
    )


def test_tasks_get_settings_and_a_plain_user(documents: tuple[dict[str, Any], dict[str, Any]]) -> None:
    executors = documents[1]["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
    assert len(executors) == len(STAGES) + 2 + len(_SHARDED)
    for name, executor in executors.items():
        assert executor["securityContext"] == {"runAsUser": str(USER_ID), "runAsNonRoot": True}, name
        (secret,) = executor["secretAsEnv"]
        assert secret["secretName"] == CREDENTIALS and secret["optional"], name
        assert "tolerations" not in executor, name
    (settings,) = executors["exec-train"]["configMapAsEnv"]
    assert "JOBTUNER_CHECKPOINTS" in {item["envVar"] for item in settings["keyToEnv"]}


def test_every_task_asks_for_what_the_table_says() -> None:
    found = [_executors(Nodes(), which) for which in PIPELINES]
    containers: dict[str, Any] = dict(item for one, _ in found for item in one.items())
    extra: dict[str, Any] = dict(item for _, one in found for item in one.items())
    search = {"draw-trials", "train-trial", "pick-best"}
    asked_for = {"resolve", "finish", "split", "ask-shard", "join", *search, *_SHARDED, *STAGES, *SCHEDULED}
    assert set(NEEDS) == set(containers) == asked_for
    for name, need in NEEDS.items():
        asked = containers[name]["resources"]
        assert asked["resourceCpuRequest"] == need.cpu, name
        assert (asked["resourceMemoryRequest"], asked["resourceMemoryLimit"]) == (need.memory, need.memory_limit), name
        assert "resourceCpuLimit" not in asked and "accelerator" not in asked, name
        assert extra[name]["activeDeadlineSeconds"] == str(int(need.hours * 3600)), name
        assert extra[name]["nodeSelector"] == {"labels": {"jobtuner.dev/pool": "work"}}, name
        mounts = [(mount["mountPath"], mount["medium"]) for mount in extra[name].get("emptyDirMounts", [])]
        assert mounts == ([("/dev/shm", "Memory")] if need.model else []), name


def test_tasks_are_retried_but_the_one_that_opens_the_run(documents: tuple[dict[str, Any], dict[str, Any]]) -> None:
    graphs = [item["dag"]["tasks"] for item in documents[0]["components"].values() if "dag" in item]
    every = {name: task for graph in graphs for name, task in graph.items()} | _tasks(documents[0])
    (whole,) = [graph["prepare"] for graph in graphs if set(graph) == {"prepare"}]
    policies = {name: task.get("retryPolicy") for name, task in (every | {"prepare": whole}).items()}
    policies = {name: policies.get(name) for name in ("resolve", "finish", *_SHARDED, *STAGES)}
    assert policies.pop("resolve") is None
    assert {name: policy["maxRetryCount"] for name, policy in policies.items() if policy} == {
        name: {"train": 5, "deploy": 1}.get(name, 2) for name in ("finish", *_SHARDED, *STAGES)
    }
    for policy in filter(None, policies.values()):
        backoff = (policy["backoffDuration"], policy["backoffFactor"], policy["backoffMaxDuration"])
        assert backoff == ("30s", 2.0, "600s")


def test_gpus_go_to_the_tasks_that_run_the_language_model() -> None:
    containers, extra = _executors(Nodes(gpus=2, accelerator="a100"))
    with_gpu = {name for name, item in containers.items() if "accelerator" in item["resources"]}
    assert with_gpu == {"train", "evaluate", "export", "register"}
    for name, item in extra.items():
        if name not in with_gpu:
            assert item["nodeSelector"] == {"labels": {"jobtuner.dev/pool": "work"}}, name
            assert "tolerations" not in item, name
            continue
        accelerator = containers[name]["resources"]["accelerator"]
        assert accelerator["resourceType"] == GPU and accelerator["resourceCount"] == "2"
        labels = {"jobtuner.dev/pool": "gpu", "jobtuner.dev/accelerator": "a100"}
        assert item["nodeSelector"] == {"labels": labels}, name
        assert item["tolerations"] == [{"key": GPU, "operator": "Exists", "effect": "NoSchedule"}], name


def test_spot_nodes_are_for_tasks_that_are_retried() -> None:
    _, extra = _executors(Nodes(gpus=1, spot=True))
    spot = {"key": "jobtuner.dev/spot", "operator": "Equal", "value": "true", "effect": "NoSchedule"}
    assert {name for name, item in extra.items() if spot in item.get("tolerations", [])} == {
        "finish",
        *_SHARDED,
        *STAGES,
    }
    assert len(extra["train"]["tolerations"]) == 2


def test_a_cluster_without_the_labels_is_asked_for_none() -> None:
    _, extra = _executors(Nodes(pools=False))
    assert not any("nodeSelector" in item for item in extra.values())


@pytest.mark.parametrize(
    ("arguments", "told"),
    [(("--accelerator", "t4", "--gpus", "1"), "l4, a100, h100"), (("--accelerator", "l4"), "Add --gpus 1")],
)
def test_an_accelerator_that_cannot_be_chosen_is_refused(arguments: tuple[str, ...], told: str, tmp_path: Path) -> None:
    answer = CliRunner().invoke(app, ["compile", "--output", str(tmp_path / "training.yaml"), *arguments])
    assert answer.exit_code == 2
    assert told in answer.stderr
    assert not list(tmp_path.iterdir())


def test_the_clusters_names_are_those_of_the_contract() -> None:
    contract = json.loads(_CONTRACT.read_text(encoding="utf-8"))
    labels, taints = contract["node_labels"], contract["taints"]
    assert list(ACCELERATORS) == labels["accelerator"]["values"]
    _, extra = _executors(Nodes(gpus=1, accelerator="h100", spot=True))
    for item in extra.values():
        selector = item["nodeSelector"]["labels"]
        assert set(selector) <= {labels["pool"]["key"], labels["accelerator"]["key"]}
        assert selector[labels["pool"]["key"]] in labels["pool"]["values"]
        for toleration in item.get("tolerations", []):
            (taint,) = [taint for taint in taints.values() if taint["key"] == toleration["key"]]
            assert toleration["operator"] == "Exists" or toleration["value"] == taint["value"]
            assert toleration["effect"] == taint["effect"]
    assert contract["service_accounts"]["pipeline"]["name"] == SERVICE_ACCOUNT


@pytest.mark.parametrize(
    ("image", "accepted"),
    [
        ("registry.example.com:5000/team/jobtuner:1.2.3", True),
        ("jobtuner@sha256:" + "0" * 64, True),
        ("registry.example.com:5000/team/jobtuner", False),
        ("jobtuner:latest", False),
    ],
)
def test_an_image_does_not_float(image: str, accepted: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JOBTUNER_IMAGE", image)
    if accepted:
        assert component_image() == image
    else:
        with pytest.raises(ConfigError, match="JOBTUNER_IMAGE"):
            component_image()


def _compile_with(image: str, output: Path) -> "subprocess.CompletedProcess[str]":
    command = [str(Path(sys.executable).parent / "jobtuner"), "compile", "--output", str(output)]
    environment = {**os.environ, "JOBTUNER_IMAGE": image}
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)


def test_another_image_is_every_tasks(tmp_path: Path) -> None:
    image, output = "registry.example.com:5000/team/jobtuner:1.2.3", tmp_path / "training.yaml"
    done = _compile_with(image, output)
    assert done.returncode == 0, done.stderr
    pipeline = check.documents(output.read_text(encoding="utf-8"))[0]
    assert {item["container"]["image"] for item in pipeline["deploymentSpec"]["executors"].values()} == {image}


def test_an_image_that_floats_compiles_nothing(tmp_path: Path) -> None:
    done = _compile_with("jobtuner:latest", tmp_path / "training.yaml")
    assert done.returncode == 2
    assert "JOBTUNER_IMAGE" in done.stderr
    assert not list(tmp_path.iterdir())
