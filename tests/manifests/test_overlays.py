"""What the overlays say, checked on what `kubectl kustomize` renders."""

import json
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from jobtuner.serve import middleware
from jobtuner.serve.page import mount
from manifests.check import FEATURES, OVERLAYS, ROOT, combinations, kubecheck, parts_of, tool
from manifests.versions import IMAGES, image_lines, read_versions
from pipelines import preparing
from pipelines.cluster import CREDENTIALS, SETTINGS, USER_ID
from pipelines.resources import NEEDS
from tests.manifests.mutations import MUTATIONS

_GOLDEN = Path(__file__).parent / "golden"
_CONTRACT = ROOT.parent / "terraform" / "modules" / "contract" / "contract.json"


def _images(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        for key, value in node.items():
            if key == "image" and isinstance(value, str):
                yield value
            else:
                yield from _images(value)
    elif isinstance(node, list):
        for value in node:
            yield from _images(value)


def test_there_are_three_overlays_and_seventeen_features() -> None:
    """A moved folder must not empty the tests."""
    assert OVERLAYS == ["dev", "kind", "prod"]
    assert len(FEATURES) == 17


@pytest.mark.parametrize("overlay", ["dev", "kind", "prod"])
def test_golden_file(overlay: str, rendered: Callable[..., str]) -> None:
    """UPDATE_GOLDEN=1 rewrites the file; the review reads the difference."""
    path = _GOLDEN / f"{overlay}.yaml"
    if os.environ.get("UPDATE_GOLDEN") == "1":
        path.write_text(rendered(overlay), encoding="utf-8")
    assert rendered(overlay) == path.read_text(encoding="utf-8"), (
        "The rendered overlay changed. `make golden` accepts the change."
    )


@pytest.mark.parametrize("overlay", ["dev", "kind", "prod"])
def test_an_overlay_names_parts_and_is_short(overlay: str) -> None:
    lines = (ROOT / "overlays" / overlay / "kustomization.yaml").read_text(encoding="utf-8").splitlines()
    assert len(lines) <= 25
    content = yaml.safe_load("\n".join(lines))
    assert set(content) <= {"apiVersion", "kind", "resources", "components", "patches"}
    assert content["components"][-1] == "../../images"  # else what a feature adds would have no tag
    assert parts_of(overlay) - {"images"} <= set(FEATURES)


@pytest.mark.parametrize("overlay", ["dev", "kind", "prod"])
def test_images_are_the_pinned_ones(overlay: str, rendered: Callable[..., str]) -> None:
    known = set(read_versions().values())
    found = {image for document in yaml.safe_load_all(rendered(overlay)) for image in _images(document)}
    tagged = {image for image in known if "@" not in image}
    by_digest = {re.sub(r":[^:@/]+@", "@", image) for image in known - tagged}
    assert len(found) >= 6
    assert found <= tagged | by_digest


def test_the_image_component_is_written_from_versions_env() -> None:
    assert IMAGES.read_text(encoding="utf-8") == image_lines(read_versions())


def test_the_images_user_is_the_pipelines() -> None:
    dockerfiles = list((ROOT.parent / "docker").glob("*.Dockerfile"))
    assert len(dockerfiles) == 2
    for path in dockerfiles:
        assert f"\nUSER {USER_ID}:{USER_ID}\n" in path.read_text(encoding="utf-8")


def _launcher(objects: Callable[..., list[dict[str, Any]]]) -> dict[str, str]:
    (launcher,) = [item["data"] for item in objects("dev") if item["metadata"]["name"] == "kfp-launcher"]
    return dict(launcher)


def test_settings_are_those_that_the_pipeline_asks_for(objects: Callable[..., list[dict[str, Any]]]) -> None:
    from pipelines import cluster

    maps = {
        item["metadata"]["namespace"]: item["data"]
        for item in objects("dev")
        if item["kind"] == "ConfigMap" and item["metadata"]["name"] == SETTINGS
    }
    assert set(maps) == {"jobtuner", "jobtuner-pipelines"}
    assert set(maps["jobtuner-pipelines"]) <= set(cluster._SETTING_KEYS)
    launcher = yaml.safe_load(_launcher(objects)["providers"])
    assert launcher["s3"]["default"]["credentials"]["secretRef"]["secretName"] == CREDENTIALS


@pytest.mark.parametrize("overlay", ["dev", "prod"])
def test_another_store_is_named_everywhere(overlay: str, rendered: Callable[..., str]) -> None:
    text = rendered(overlay, "external-store")
    for gone in ("jobtuner-s3.", "//jobtuner-s3", "s3://jobtuner-", "quay.io/minio", "us-east-1", "disableSSL: true"):
        assert gone not in text, gone
    launcher = _launcher(lambda *_: list(filter(None, yaml.safe_load_all(text))))
    provider = yaml.safe_load(launcher["providers"])["s3"]["default"]
    assert (provider["endpoint"], provider["region"]) == ("storage.example.com", "europe-west4")
    assert launcher["defaultPipelineRoot"] == "s3://example-artifacts/pipelines"
    assert "s3://example-artifacts/checkpoints" in text
    assert text.count("s3://example-models/") == 3  # the gateway's model, the base, the adapter


def test_no_secret_is_in_a_manifest(rendered: Callable[..., str]) -> None:
    for overlay in OVERLAYS:
        assert "\nkind: Secret\n" not in rendered(overlay)


def test_namespaces_enforce_the_restricted_standard(objects: Callable[..., list[dict[str, Any]]]) -> None:
    spaces = [item["metadata"] for item in objects("dev") if item["kind"] == "Namespace"]
    assert sorted(meta["name"] for meta in spaces) == ["jobtuner", "jobtuner-pipelines", "jobtuner-serving"]
    for meta in spaces:
        assert meta["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"


@pytest.mark.parametrize("features", [(), ("canary",), ("scale-to-zero",), ("llm-inference-service",)])
def test_routes_let_nothing_through_but_the_allowed_paths(
    features: tuple[str, ...], objects: Callable[..., list[dict[str, Any]]]
) -> None:
    """vLLM's key guards /v1 alone: /invocations, /pause, /tokenize and some thirty more would be open to everybody."""
    allowed = {
        "jobtuner-llm": {"/v1/chat/completions", "/v1/completions", "/v1/models", "/health"},
        "jobtuner-gateway": {"/v1/occupations", "/v1/models", "/health"},
    }
    routes = {item["metadata"]["name"]: item for item in objects("dev", *features) if item["kind"] == "HTTPRoute"}
    assert set(routes) == set(allowed)
    for name, route in routes.items():
        matches = [match for rule in route["spec"]["rules"] for match in rule["matches"]]
        assert {match["path"]["value"] for match in matches} == allowed[name]
        assert {match["path"]["type"] for match in matches} == {"Exact"}
        assert all(match["method"] in {"GET", "POST"} for match in matches)
    for item in objects("dev", *features):
        if item["kind"] == "InferenceService":  # else KServe would add a route for every path
            assert item["metadata"]["labels"]["networking.kserve.io/visibility"] == "cluster-local"


def test_the_pages_route_is_the_pages_paths(find: Callable[..., dict[str, Any]]) -> None:
    """Those that the page owns, and none of the endpoints'; the pod serves it, and the plain one does not."""
    route = find("HTTPRoute", "jobtuner-page", "dev", "page")
    matches = [match for rule in route["spec"]["rules"] for match in rule["matches"]]
    prefixes = {match["path"]["value"] for match in matches if match["path"]["type"] == "PathPrefix"}
    exact = {match["path"]["value"] for match in matches if match["path"]["type"] == "Exact"}
    assert prefixes == {"/assets", "/static"}
    assert all(mount.owns(path) for path in exact | {f"{prefix}/a.js" for prefix in prefixes})
    assert exact == {"/", "/theme.css", "/favicon.ico", "/gradio_api/queue/join", "/gradio_api/queue/data"}
    policy = find("BackendTrafficPolicy", "jobtuner-page", "dev", "page")
    assert policy["spec"]["targetRefs"][0]["name"] == route["metadata"]["name"]
    for features, option in (((), "--no-page"), (("page",), "--page"), (("page", "pipeline-deploy"), "--page")):
        deployment = find("Deployment", "jobtuner-gateway", "dev", *features)
        arguments = deployment["spec"]["template"]["spec"]["containers"][0]["args"]
        assert [argument for argument in arguments if argument.endswith("page")] == [option]


def test_gpu_pods_tolerate_the_gpu_taint_and_ask_for_one(find: Callable[..., dict[str, Any]]) -> None:
    for overlay, accelerator in (("dev", "l4"), ("prod", "a100")):
        predictor = find("InferenceService", "jobtuner-llm", overlay)["spec"]["predictor"]
        assert predictor["nodeSelector"] == {"jobtuner.dev/pool": "gpu", "jobtuner.dev/accelerator": accelerator}
        assert predictor["tolerations"] == [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}]
        assert predictor["model"]["resources"]["limits"]["nvidia.com/gpu"] == "1"


def test_without_a_gpu_nothing_asks_for_one(rendered: Callable[..., str]) -> None:
    others = [text for text in rendered("kind").split("\n---\n") if "kind: ResourceQuota" not in text]
    assert not [text for text in others if "nvidia" in text]


def test_the_drain_fits_into_the_grace_period(find: Callable[..., dict[str, Any]]) -> None:
    container = find("ServingRuntime", "jobtuner-vllm")["spec"]["containers"][0]
    grace = find("InferenceService", "jobtuner-llm")["spec"]["predictor"]["terminationGracePeriodSeconds"]
    (shutdown,) = [int(arg.partition("=")[2]) for arg in container["args"] if arg.startswith("--shutdown-timeout=")]
    assert container["lifecycle"]["preStop"]["sleep"]["seconds"] + shutdown < grace


def test_scaling_stays_within_the_quota(objects: Callable[..., list[dict[str, Any]]]) -> None:
    found = {
        (item["kind"], item["metadata"].get("namespace"), item["metadata"]["name"]): item for item in objects("prod")
    }
    scaled = found["ScaledObject", "jobtuner-serving", "jobtuner-llm"]["spec"]
    gpus = int(found["ResourceQuota", "jobtuner-serving", "jobtuner"]["spec"]["hard"]["requests.nvidia.com/gpu"])
    assert scaled["maxReplicaCount"] + 1 <= gpus  # one more while a new version rolls out
    hpa = found["HorizontalPodAutoscaler", "jobtuner", "jobtuner-gateway"]["spec"]
    gateway = found["Deployment", "jobtuner", "jobtuner-gateway"]["spec"]["template"]["spec"]["containers"][0]
    cpus = int(found["ResourceQuota", "jobtuner", "jobtuner"]["spec"]["hard"]["requests.cpu"])
    assert (hpa["maxReplicas"] + 1) * int(gateway["resources"]["requests"]["cpu"]) < cpus


def _gib(quantity: str) -> float:
    return float(quantity.removesuffix("Gi"))


def test_the_tasks_of_four_runs_fit_into_the_quota(objects: Callable[..., list[dict[str, Any]]]) -> None:
    """Of a run, baseline and train are under way at once, each with a container of Argo's, and one driver."""
    found = {(item["kind"], item["metadata"].get("namespace")): item for item in objects("dev")}
    quota = found["ResourceQuota", "jobtuner-pipelines"]["spec"]
    limits = found["LimitRange", "jobtuner-pipelines"]["spec"]
    (entry,) = limits["limits"]
    both = [NEEDS["baseline"], NEEDS["train"]]
    added = 3 * _gib(entry["default"]["memory"])
    assert 4 * (sum(_gib(need.memory_limit) for need in both) + added) <= _gib(quota["hard"]["limits.memory"])
    assert 4 * (sum(_gib(need.memory) for need in both) + added / 8) <= _gib(quota["hard"]["requests.memory"])
    assert 4 * (sum(float(need.cpu) for need in both) + 0.3) <= float(quota["hard"]["requests.cpu"])
    shard, at_once = NEEDS["clean-shard"], preparing._AT_ONCE  # in their place, not beside them
    assert (
        at_once * (_gib(shard.memory_limit) + _gib(entry["default"]["memory"]))
        <= sum(_gib(need.memory_limit) for need in both) + added
    )
    assert at_once * (float(shard.cpu) + 0.1) <= sum(float(need.cpu) for need in both) + 0.3
    assert max(_gib(need.memory_limit) for need in NEEDS.values()) <= _gib(entry["max"]["memory"])


def test_what_the_gateway_answers_without_a_key_is_on_no_route(objects: Callable[..., list[dict[str, Any]]]) -> None:
    inside = middleware._INSIDE - {"/health"}  # says nothing but "alive"
    assert inside == {"/metrics", "/ready"}
    for overlay in OVERLAYS:
        routes = [item["spec"]["rules"] for item in objects(overlay) if item["kind"] == "HTTPRoute"]
        matches = [match["path"] for rules in routes for rule in rules for match in rule["matches"]]
        assert matches and {path["type"] for path in matches} == {"Exact"}
        assert not inside & {path["value"] for path in matches}


def test_terraform_names_things_alike(objects: Callable[..., list[dict[str, Any]]]) -> None:
    if not _CONTRACT.exists():
        pytest.skip("terraform/modules/contract/contract.json is not here")
    contract = json.loads(_CONTRACT.read_text(encoding="utf-8"))
    everything = objects("dev", "pipeline-deploy")  # the feature brings an account of its own
    found = {(item["kind"], item["metadata"].get("namespace", ""), item["metadata"]["name"]) for item in everything}
    for space in contract["namespaces"].values():
        assert ("Namespace", "", space) in found
    for account in contract["service_accounts"].values():
        assert ("ServiceAccount", account["namespace"], account["name"]) in found
    setup = (ROOT / "base" / "object-store" / "setup.sh").read_text(encoding="utf-8")
    assert all(bucket in setup for bucket in contract["buckets"].values())
    assert contract["config_map"]["name"] == SETTINGS
    assert contract["secret"]["name"] == CREDENTIALS


def test_kubecheck_finds_nothing(rendered: Callable[..., str], tmp_path: Path) -> None:
    """One overlay; `make manifests-check` takes all, with every feature."""
    if tool("KUBECHECK") is None:
        pytest.skip("kubecheck is not installed (KUBECHECK=path)")
    path = tmp_path / "prod.yaml"
    path.write_text(rendered("prod"), encoding="utf-8")
    assert kubecheck(path) == []


def test_the_guide_names_every_feature() -> None:
    rows = (ROOT / "README.md").read_text(encoding="utf-8").partition("## Features")[2].partition("\nName features")[0]
    named = {
        name
        for row in rows.splitlines()
        if row.startswith("| ")
        for name in row.split("|")[1].replace(",", " ").split()
    }
    assert named - {"feature"} == set(FEATURES)


def test_the_guide_tells_the_numbers_of_the_check() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert f"({len(combinations())} combinations)" in text
    assert f"\n{len(MUTATIONS)} typical mistakes" in text
