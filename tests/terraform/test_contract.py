"""Names that Terraform makes and manifests/ or pipelines/ use: a rename on one side only fails here."""

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.terraform.contract_rules import CONTRACT, ROOT, documents, violations

MANIFESTS = ROOT / "manifests"
GOLDEN = ROOT / "tests" / "pipelines" / "golden" / "training.yaml"
TERRAFORM = [*(ROOT / "terraform").glob("modules/*/*.tf"), *(ROOT / "terraform").glob("envs/*/*.tf")]


def test_manifests_use_only_names_of_the_contract() -> None:
    if not MANIFESTS.is_dir():
        pytest.skip("there are no manifests")
    found = [f"{where}: {what}" for where, document in documents(MANIFESTS) for what in violations(document, CONTRACT)]
    assert found == []


def test_manifests_make_every_namespace_and_account_of_the_contract() -> None:
    if not MANIFESTS.is_dir():
        pytest.skip("there are no manifests")
    made = {
        (document["kind"], document["metadata"].get("namespace"), document["metadata"]["name"])
        for _, document in documents(MANIFESTS)
        if isinstance(document, dict) and document.get("kind") in {"Namespace", "ServiceAccount"}
    }
    wanted = {("Namespace", None, name) for name in CONTRACT["namespaces"].values()}
    wanted |= {("ServiceAccount", item["namespace"], item["name"]) for item in CONTRACT["service_accounts"].values()}
    assert wanted - made == set()


def _task_settings() -> Iterator[tuple[str, dict[str, Any]]]:
    """What each task of the compiled pipeline asks of the cluster, by executor."""
    for document in yaml.safe_load_all(GOLDEN.read_text()):
        platform = document.get("platforms", {}).get("kubernetes", {})
        yield from platform.get("deploymentSpec", {}).get("executors", {}).items()


def _constants(path: Path) -> dict[str, Any]:
    """The constants at the top of a module, read without importing it: kfp takes seconds."""
    return {
        target.id: ast.literal_eval(node.value)
        for node in ast.parse(path.read_text()).body
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant | ast.Tuple)
        for target in node.targets
        if isinstance(target, ast.Name)
    }


def test_pipeline_names_are_those_of_the_contract() -> None:
    constants = _constants(ROOT / "pipelines" / "cluster.py")
    assert constants["SETTINGS"] == CONTRACT["config_map"]["name"]
    assert constants["CREDENTIALS"] == CONTRACT["secret"]["name"]
    assert constants["GPU"] == CONTRACT["taints"]["gpu"]["key"]
    assert list(constants["_SETTING_KEYS"]) == CONTRACT["config_map"]["keys"]
    assert list(constants["_CREDENTIAL_KEYS"]) == CONTRACT["secret"]["keys"]


def test_compiled_pipeline_asks_for_what_the_cluster_has() -> None:
    tasks = list(_task_settings())
    assert tasks
    for name, task in tasks:
        for kind, source, entries in (
            ("config_map", "configMapAsEnv", "configMap"),
            ("secret", "secretAsEnv", "secret"),
        ):
            for item in task.get(source, []):
                assert item[f"{entries}Name"] == CONTRACT[kind]["name"], name
                assert {pair[f"{entries}Key"] for pair in item["keyToEnv"]} <= set(CONTRACT[kind]["keys"]), name
        assert list(violations(task, CONTRACT)) == [], name


@pytest.mark.parametrize("name", ["jobtuner.dev/", "nvidia.com/gpu", "jobtuner-pipelines", "jobtuner-serving"])
def test_terraform_repeats_no_name_of_the_contract(name: str) -> None:
    """Code takes them from the module contract; prose (descriptions, comments) may name them."""
    lines = [
        f"{path.relative_to(ROOT)}: {line.strip()}"
        for path in TERRAFORM
        for line in path.read_text().splitlines()
        if name in line.partition("#")[0] and not line.strip().startswith("description")
    ]
    assert lines == []


def test_contract_is_consistent() -> None:
    assert set(CONTRACT["access"]) <= set(CONTRACT["service_accounts"])
    assert {bucket for rights in CONTRACT["access"].values() for bucket in rights} <= set(CONTRACT["buckets"])
    assert {item["namespace"] for item in CONTRACT["service_accounts"].values()} == set(CONTRACT["namespaces"].values())
    assert [f"IDENTITY_{name.upper()}" for name in CONTRACT["access"]] == [
        key for key in CONTRACT["cluster_env"] if key.startswith("IDENTITY_")
    ]
    assert {key for key in CONTRACT["cluster_env"] if key.startswith("BUCKET_")} == {
        f"BUCKET_{name.upper()}" for name in CONTRACT["buckets"]
    }


GOOD = """
kind: Deployment
metadata: {namespace: jobtuner-serving}
spec:
  template:
    spec:
      serviceAccountName: jobtuner-serving
      nodeSelector: {jobtuner.dev/pool: gpu, jobtuner.dev/accelerator: l4, kubernetes.io/os: linux}
      tolerations:
        - {key: nvidia.com/gpu, operator: Exists, effect: NoSchedule}
        - {key: jobtuner.dev/spot, value: "true"}
      containers: [{args: ["--model=s3://jobtuner-models/current"]}]
"""


def test_a_good_document_passes() -> None:
    assert list(violations(yaml.safe_load(GOOD), CONTRACT)) == []


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("{namespace: jobtuner-serving}", "{namespace: jobs}", "namespace jobs"),
        ("serviceAccountName: jobtuner-serving", "serviceAccountName: serving", "service account serving"),
        ("jobtuner.dev/pool: gpu", "jobtuner.dev/role: gpu", "node label jobtuner.dev/role"),
        ("accelerator: l4", "accelerator: t4", "accelerator=t4"),
        ("key: nvidia.com/gpu", "key: nvidia.com/gpus", "toleration of nvidia.com/gpus"),
        ("key: nvidia.com/gpu", "key: nvidia.com/gpus", "does not tolerate nvidia.com/gpu"),
        ("effect: NoSchedule", "effect: NoExecute", "with effect NoExecute"),
        ('value: "true"', 'value: "yes"', "jobtuner.dev/spot=yes"),
        ("s3://jobtuner-models", "s3://models", "bucket models"),
    ],
)
def test_each_rule_has_teeth(old: str, new: str, expected: str) -> None:
    document = yaml.safe_load(GOOD.replace(old, new, 1))
    assert any(expected in what for what in violations(document, CONTRACT))


@pytest.mark.parametrize(
    "document",
    [
        {"kind": "Namespace", "metadata": {"name": "jobtuner-batch"}},
        {"kind": "ServiceAccount", "metadata": {"name": "jobtuner-gateway", "namespace": "jobtuner-serving"}},
        {"subjects": [{"kind": "ServiceAccount", "name": "jobtuner-batch", "namespace": "jobtuner"}]},
        {"key": "kubernetes.io/metadata.name", "operator": "In", "values": ["jobtuner", "jobtuner-old"]},
        {"nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [
            {"key": "jobtuner.dev/pool", "operator": "In", "values": ["gpus"]}]}]}}},
    ],
)  # fmt: skip
def test_names_are_found_wherever_they_stand(document: dict[str, Any]) -> None:
    assert len(list(violations(document, CONTRACT))) == 1


def test_a_rename_in_the_contract_is_found_in_documents() -> None:
    renamed = {
        **CONTRACT,
        "taints": {**CONTRACT["taints"], "gpu": {"key": "gpu", "value": "yes", "effect": "NoSchedule"}},
    }
    assert any("nvidia.com/gpu" in what for what in violations(yaml.safe_load(GOOD), renamed))


def test_patches_written_as_text_are_read(tmp_path: Any) -> None:
    text = "kind: Component\npatches:\n  - patch: |-\n      kind: Pod\n      spec: {serviceAccountName: nobody}\n"
    (tmp_path / "kustomization.yaml").write_text(text)
    assert [what for _, document in documents(tmp_path) for what in violations(document, CONTRACT)]
