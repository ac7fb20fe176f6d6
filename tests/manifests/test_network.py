"""Who may talk to whom: a small evaluator of NetworkPolicies over the rendered overlays, and the table of flows."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

Pod = dict[str, Any]

_PODS: dict[str, Pod] = {
    "gateway": {"namespace": "jobtuner", "labels": {"app.kubernetes.io/component": "gateway"}},
    "mlflow": {"namespace": "jobtuner", "labels": {"app.kubernetes.io/component": "mlflow"}, "ports": {"http": 5000}},
    "postgres": {
        "namespace": "jobtuner",
        "labels": {"app.kubernetes.io/component": "postgres"},
        "ports": {"postgres": 5432},
    },
    "store": {
        "namespace": "jobtuner",
        "labels": {"app.kubernetes.io/component": "object-store"},
        "ports": {"s3": 9000},
    },
    "setup": {"namespace": "jobtuner", "labels": {"app.kubernetes.io/component": "object-store-setup"}},
    "task": {"namespace": "jobtuner-pipelines", "labels": {}},
    "llm": {"namespace": "jobtuner-serving", "labels": {"app.kubernetes.io/component": "llm"}},
    "kfp": {"namespace": "kubeflow", "labels": {}},
    "proxy": {"namespace": "envoy-gateway-system", "labels": {}},
    "prometheus": {"namespace": "monitoring", "labels": {}},
    "keda": {"namespace": "keda", "labels": {}},
    "stranger": {"namespace": "default", "labels": {}},
    "dns": {"namespace": "kube-system", "labels": {"k8s-app": "kube-dns"}},
}
_PODS["gateway"]["ports"] = {"http": 8080}
_OURS = {"jobtuner", "jobtuner-pipelines", "jobtuner-serving"}

_ALLOWED = {
    ("proxy", "gateway", 8080),
    ("proxy", "llm", 8080),
    ("prometheus", "llm", 8080),
    ("prometheus", "gateway", 8080),
    ("prometheus", "store", 9000),
    ("gateway", "store", 9000),
    ("mlflow", "store", 9000),
    ("setup", "store", 9000),
    ("task", "store", 9000),
    ("llm", "store", 9000),
    ("kfp", "store", 9000),
    ("mlflow", "postgres", 5432),
    ("task", "mlflow", 5000),
    ("task", "gateway", 8080),
    ("kfp", "mlflow", 5000),
    ("task", "kfp", 8887),
    *((name, "dns", 53) for name in ("gateway", "mlflow", "postgres", "store", "setup", "task", "llm")),
}


def _selects(selector: dict[str, Any], labels: dict[str, str]) -> bool:
    for entry in selector.get("matchExpressions", []):
        assert entry["operator"] == "In"
        if labels.get(entry["key"]) not in entry["values"]:
            return False
    return all(labels.get(key) == value for key, value in selector.get("matchLabels", {}).items())


def _peer_fits(peer: dict[str, Any], other: Pod, own_namespace: str) -> bool:
    if "ipBlock" in peer:
        return False  # pods are told by selectors here; see the test of the metadata address
    space = {"kubernetes.io/metadata.name": other["namespace"]}
    there = (
        _selects(peer["namespaceSelector"], space)
        if "namespaceSelector" in peer
        else other["namespace"] == own_namespace
    )
    return there and _selects(peer.get("podSelector", {}), other["labels"])


def _port_fits(rule: dict[str, Any], port: int, names: dict[str, int]) -> bool:
    wanted = [entry["port"] for entry in rule.get("ports", [])]
    return not wanted or port in [names.get(item, item) if isinstance(item, str) else item for item in wanted]


def _one_side(
    policies: list[dict[str, Any]], pod: Pod, other: Pod, port: int, side: str, names: dict[str, int]
) -> bool:
    if pod["namespace"] not in _OURS:
        return True
    peers = "from" if side == "ingress" else "to"
    for policy in policies:
        spec = policy["spec"]
        mine = policy["metadata"]["namespace"] == pod["namespace"] and _selects(spec["podSelector"], pod["labels"])
        if not mine or side.capitalize() not in spec["policyTypes"]:
            continue
        for rule in spec.get(side, []):
            fits = any(_peer_fits(peer, other, pod["namespace"]) for peer in rule[peers])
            if fits and _port_fits(rule, port, names):
                return True
    return False


def _flows(policies: list[dict[str, Any]]) -> Iterator[tuple[str, str, int]]:
    ports = [53, 5000, 5432, 8080, 8887, 9000, 443]
    for source, sender in _PODS.items():
        for target, receiver in _PODS.items():
            for port in ports:
                names = receiver.get("ports", {})
                if (
                    {sender["namespace"], receiver["namespace"]} & _OURS
                    and _one_side(policies, sender, receiver, port, "egress", names)
                    and _one_side(policies, receiver, sender, port, "ingress", names)
                ):
                    yield source, target, port


@pytest.mark.parametrize("overlay", ["dev", "kind", "prod"])
def test_exactly_the_meant_flows_are_open(overlay: str, objects: Callable[..., list[dict[str, Any]]]) -> None:
    policies = [item for item in objects(overlay) if item["kind"] == "NetworkPolicy"]
    also = {("task", "kfp", 8080)}  # metadata-grpc
    assert set(_flows(policies)) == _ALLOWED | also


def test_scale_to_zero_lets_the_interceptor_in(objects: Callable[..., list[dict[str, Any]]]) -> None:
    policies = [item for item in objects("dev", "scale-to-zero") if item["kind"] == "NetworkPolicy"]
    assert ("keda", "llm", 8080) in set(_flows(policies))


def test_pipeline_deploy_lets_tasks_and_the_gateway_ask_the_model(objects: Callable[..., list[dict[str, Any]]]) -> None:
    policies = [item for item in objects("dev", "pipeline-deploy") if item["kind"] == "NetworkPolicy"]
    also = {("task", "kfp", 8080), ("task", "llm", 8080), ("gateway", "llm", 8080)}
    assert set(_flows(policies)) == _ALLOWED | also


def test_no_range_of_addresses_holds_the_clouds_metadata_address(objects: Callable[..., list[dict[str, Any]]]) -> None:
    blocks = [
        (item["metadata"]["name"], peer["ipBlock"])
        for item in objects("dev")
        if item["kind"] == "NetworkPolicy"
        for rule in item["spec"].get("egress", [])
        for peer in rule["to"]
        if "ipBlock" in peer
    ]
    assert {name for name, block in blocks if block["cidr"] == "0.0.0.0/0"} == {"pipeline-tasks"}
    for _, block in blocks:
        assert block["cidr"] == "169.254.20.10/32" or block["except"] == ["169.254.0.0/16"]
