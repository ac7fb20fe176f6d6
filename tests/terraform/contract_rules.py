"""What a Kubernetes document must not say if Terraform's clusters shall run it: rules over parsed YAML."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

__all__ = ["CONTRACT", "FOREIGN_NAMESPACES", "ROOT", "documents", "violations"]

ROOT = Path(__file__).parents[2]
CONTRACT: dict[str, Any] = json.loads((ROOT / "terraform" / "modules" / "contract" / "contract.json").read_text())
FOREIGN_NAMESPACES = {"envoy-gateway-system", "keda", "kserve", "kube-system", "kubeflow", "monitoring"}
"""Namespaces of other people's software that our documents may name."""

_S3 = re.compile(r"s3://([a-z0-9.-]+)")
_OWN_LABEL = "jobtuner.dev/"


class _Loader(yaml.SafeLoader):
    """Reads `!` tags and repeated keys as SafeLoader does, but lets patches hold any tag as text."""


_Loader.add_multi_constructor("!", lambda loader, suffix, node: str(node.value))


def documents(folder: Path) -> Iterator[tuple[str, Any]]:
    """All YAML documents below `folder`, and those written as text in kustomize patches, with where they stand."""
    for path in sorted([*folder.rglob("*.yaml"), *folder.rglob("*.yml")]):
        for document in yaml.load_all(path.read_text(), Loader=_Loader):
            where = str(path.relative_to(folder))
            yield where, document
            for text in _patches(document):
                yield from ((f"{where} (patch)", part) for part in yaml.load_all(text, Loader=_Loader))


def _patches(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        for key, value in node.items():
            if key == "patch" and isinstance(value, str):
                yield value
            else:
                yield from _patches(value)
    elif isinstance(node, list):
        for item in node:
            yield from _patches(item)


def violations(document: Any, contract: dict[str, Any]) -> Iterator[str]:
    """Each name in the document that the contract does not know."""
    for node in _mappings(document):
        yield from _namespaces(node, contract)
        yield from _accounts(node, contract)
        yield from _selectors(node, contract)
        yield from _tolerations(node, contract)
    for text in _strings(document):
        for bucket in _S3.findall(text):
            if bucket not in contract["buckets"].values():
                yield f"bucket {bucket}; known are {', '.join(contract['buckets'].values())}"


def _mappings(node: Any) -> Iterator[dict[str, Any]]:
    if isinstance(node, dict):
        yield node
    for child in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
        yield from _mappings(child)


def _strings(node: Any) -> Iterator[str]:
    if isinstance(node, str):
        yield node
    for child in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
        yield from _strings(child)


def _namespaces(node: dict[str, Any], contract: dict[str, Any]) -> Iterator[str]:
    named = [node.get("namespace"), node.get("kubernetes.io/metadata.name")]
    if node.get("kind") == "Namespace":
        named.append((node.get("metadata") or {}).get("name"))
    if node.get("key") == "kubernetes.io/metadata.name":
        named += node.get("values") or []
    known = {*contract["namespaces"].values(), *FOREIGN_NAMESPACES}
    for name in named:
        if isinstance(name, str) and name not in known:
            yield f"namespace {name}; known are {', '.join(sorted(known))}"


def _accounts(node: dict[str, Any], contract: dict[str, Any]) -> Iterator[str]:
    known = {(item["namespace"], item["name"]) for item in contract["service_accounts"].values()}
    name = node.get("serviceAccountName")
    if name is not None and name not in {account for _, account in known}:
        yield f"service account {name}; known are {', '.join(sorted(account for _, account in known))}"
    if node.get("kind") == "ServiceAccount":
        # In the subject of a binding, name and namespace stand beside the kind.
        place = node.get("metadata") or node
        namespace, name = place.get("namespace"), place.get("name")
        # A patch may name the account alone: kustomize finds the namespace.
        same = {item for item in known if item == (namespace, name) or (namespace is None and item[1] == name)}
        if not same and namespace not in FOREIGN_NAMESPACES:
            yield f"service account {namespace}/{name}"


def _selectors(node: dict[str, Any], contract: dict[str, Any]) -> Iterator[str]:
    selector = node.get("nodeSelector")
    wanted = {key: [value] for key, value in selector.items()} if isinstance(selector, dict) else {}
    for term in _mappings([node.get("nodeSelectorTerms"), node.get("preference")]):
        if "key" in term:
            wanted[term["key"]] = term.get("values") or []
    labels = {label["key"]: label["values"] for label in contract["node_labels"].values()}
    for key, values in wanted.items():
        if key.startswith(_OWN_LABEL) and key not in labels:
            yield f"node label {key}; known are {', '.join(labels)}"
        for value in values:
            if key in labels and value not in labels[key]:
                yield f"node label {key}={value}; known values are {', '.join(labels[key])}"
    gpu = contract["taints"]["gpu"]["key"]
    pool = contract["node_labels"]["pool"]["key"]
    if wanted.get(pool) == ["gpu"] and "tolerations" in node:
        tolerated = [item.get("key") for item in node["tolerations"] or []]
        if gpu not in tolerated:
            yield f"a pod for GPU nodes does not tolerate {gpu}: it would wait for ever"


def _tolerations(node: dict[str, Any], contract: dict[str, Any]) -> Iterator[str]:
    taints = {taint["key"]: taint for taint in contract["taints"].values()}
    found = node.get("tolerations")
    for item in found if isinstance(found, list) else []:
        taint = taints.get(item.get("key"))
        if taint is None:
            yield f"toleration of {item.get('key')}; known taints are {', '.join(taints)}"
        elif item.get("effect", taint["effect"]) != taint["effect"]:
            yield f"toleration of {item['key']} with effect {item['effect']}; the taint has {taint['effect']}"
        elif item.get("operator", "Equal") == "Equal" and item.get("value") != taint["value"]:
            yield f"toleration of {item['key']}={item.get('value')}; the taint has {taint['value']}"
