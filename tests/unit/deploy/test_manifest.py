"""The built InferenceService says what the manifests say, for every profile; and KServe's schema accepts it."""

import itertools
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from jobtuner.config import KServeConfig
from jobtuner.deploy.manifest import MODEL_LABEL, PROFILES, ServedModel, inference_service, service
from manifests.check import ROOT, documents, tool

_BASE = "s3://jobtuner-models/base/qwen2.5-7b-instruct"
_TINY = "s3://jobtuner-models/base/qwen2.5-0.5b-instruct"
_ADAPTER = {"occupation": "s3://jobtuner-models/adapters/occupation"}
_MERGED = "s3://jobtuner-models/merged/occupation"

needs_kustomize = pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl is not installed")


def _build(profile: str, model: ServedModel, **more: Any) -> dict[str, Any]:
    return inference_service("jobtuner-llm", "jobtuner-serving", model, PROFILES[profile], **more)


def _rendered(kind: str, name: str, folder: Path, *features: str) -> dict[str, Any]:
    """One object of base/serving with features on top."""
    parts = {"resources": ["base/serving"], "components": [f"features/{feature}" for feature in features]}
    here = folder.resolve()
    paths = {key: [os.path.relpath(ROOT.resolve() / part, here) for part in names] for key, names in parts.items()}
    (here / "kustomization.yaml").write_text(yaml.safe_dump(paths), encoding="utf-8")
    text = subprocess.run(["kubectl", "kustomize", str(here)], capture_output=True, text=True, check=True).stdout
    (found,) = [item for item in documents(text) if (item["kind"], item["metadata"]["name"]) == (kind, name)]
    return found


def _settled(item: dict[str, Any]) -> dict[str, Any]:
    """Arguments as vLLM reads them: of an option given twice the last; their order means nothing."""
    model = item["spec"]["predictor"]["model"]
    assert all(argument.startswith("--") for argument in model["args"])
    model["args"] = dict(argument.partition("=")[::2] for argument in model["args"])
    return item


@needs_kustomize
@pytest.mark.parametrize(
    ("profile", "features", "model", "fp8"),
    [
        ("gpu", (), ServedModel(_BASE, _ADAPTER), False),
        ("l4", ("gpu-l4",), ServedModel(_BASE, _ADAPTER), False),
        ("a100", ("gpu-a100",), ServedModel(_BASE, _ADAPTER), False),
        ("h100", ("gpu-h100",), ServedModel(_BASE, _ADAPTER), False),
        ("h100", ("gpu-h100", "fp8"), ServedModel(_BASE, _ADAPTER), True),
        ("cpu-tiny", ("cpu-tiny",), ServedModel(_TINY, _ADAPTER), False),
        ("gpu", ("local-model-cache",), ServedModel(_MERGED), False),
        ("gpu", ("autoscaling-keda",), ServedModel(_BASE, _ADAPTER), False),
    ],
)
def test_it_is_what_the_manifests_declare(
    profile: str, features: tuple[str, ...], model: ServedModel, fp8: bool, tmp_path: Path
) -> None:
    declared = _rendered("InferenceService", "jobtuner-llm", tmp_path, *features)
    assert _settled(_build(profile, model, fp8=fp8, replicas=3 if "autoscaling-keda" in features else 1)) == _settled(
        declared
    )


@needs_kustomize
def test_the_canary_is_what_the_feature_declares(tmp_path: Path) -> None:
    adapter = {"occupation": "s3://jobtuner-models/adapters/occupation-canary"}
    built = inference_service("jobtuner-llm-canary", "jobtuner-serving", ServedModel(_BASE, adapter), PROFILES["gpu"])
    declared = _rendered("InferenceService", "jobtuner-llm-canary", tmp_path, "canary")
    declared["metadata"]["labels"].setdefault("app.kubernetes.io/part-of", "jobtuner")
    assert _settled(built) == _settled(declared)
    found = service("jobtuner-llm-canary", "jobtuner-serving")
    wanted = _rendered("Service", "jobtuner-llm-canary", tmp_path, "canary")
    del found["spec"]["ports"][0]["protocol"]  # Kubernetes' default
    assert found == wanted


def test_every_profile_of_the_recipe_is_there() -> None:
    (choices,) = [info.annotation for name, info in KServeConfig.model_fields.items() if name == "profile"]
    assert set(choices.__args__) == set(PROFILES)  # type: ignore[union-attr]


def test_the_pods_say_which_model_they_serve() -> None:
    predictor = _build("gpu", ServedModel(_MERGED), fingerprint="abc")["spec"]["predictor"]
    assert predictor["labels"] == {MODEL_LABEL: "abc"}
    assert predictor["model"]["storageUri"] == _MERGED
    assert "storageUris" not in predictor  # KServe accepts one of the two


def test_several_adapters_share_a_base() -> None:
    predictor = _build("gpu", ServedModel(_BASE, {"occupation": "s3://b/o", "skills": "s3://b/s"}, rank=64))
    predictor = predictor["spec"]["predictor"]
    assert [item["mountPath"] for item in predictor["storageUris"]] == [
        "/mnt/models/base",
        "/mnt/models/occupation",
        "/mnt/models/skills",
    ]
    at = predictor["model"]["args"].index("--lora-modules=occupation=/mnt/models/occupation")
    assert predictor["model"]["args"][at + 1] == "skills=/mnt/models/skills"
    assert {"--max-lora-rank=64", "--max-loras=2"} <= set(predictor["model"]["args"])


@pytest.mark.skipif(tool("KUBECHECK") is None, reason="kubecheck is not installed")
def test_kserves_schema_accepts_all_of_them(tmp_path: Path) -> None:
    made = [service("jobtuner-llm", "jobtuner-serving")]
    for number, (profile, adapters) in enumerate(itertools.product(PROFILES, ({}, _ADAPTER))):
        built = inference_service(
            f"llm-{number}", "jobtuner-serving", ServedModel(_BASE, adapters), PROFILES[profile], fingerprint="abc"
        )
        made.append(built)
    path = tmp_path / "services.yaml"
    path.write_text(yaml.safe_dump_all(made), encoding="utf-8")
    answer = subprocess.run(
        [str(tool("KUBECHECK")), "--external", "ServingRuntime/jobtuner-vllm", str(path)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert answer.returncode == 0, answer.stdout
