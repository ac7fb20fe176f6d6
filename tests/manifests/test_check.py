"""`make manifests-check` itself: does it see what is wrong, and is everything right?"""

from collections.abc import Callable
from pathlib import Path

import pytest

from manifests import check
from tests.manifests.mutations import MUTATIONS, Mutation


def test_there_are_at_least_thirty_mutations_and_each_differs() -> None:
    assert len(MUTATIONS) >= 30
    assert len({mutation.name for mutation in MUTATIONS}) == len(MUTATIONS)


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.name)
def test_mutations_change_something(mutation: Mutation, rendered: Callable[..., str]) -> None:
    assert mutation.before in rendered(mutation.overlay, *mutation.features)


@pytest.mark.slow
@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.name)
def test_every_mutation_is_caught(mutation: Mutation, rendered: Callable[..., str], tmp_path: Path) -> None:
    if check.tool("KUBECHECK") is None:
        pytest.skip("kubecheck is not installed (KUBECHECK=path)")
    path = tmp_path / "mutated.yaml"
    path.write_text(
        rendered(mutation.overlay, *mutation.features).replace(mutation.before, mutation.after, 1), encoding="utf-8"
    )
    assert check.kubecheck(path)


@pytest.mark.slow
def test_all_overlays_with_all_features_are_clean(capsys: pytest.CaptureFixture[str]) -> None:
    if check.tool("KUBECHECK") is None or check.tool("CHECKOV") is None:
        pytest.skip("kubecheck or checkov is not installed (KUBECHECK=path, CHECKOV=path)")
    assert check.main([]) == 0, capsys.readouterr().out


def test_an_exception_excuses_only_what_it_names() -> None:
    found = {
        ("CKV_K8S_22", "Pod.jobtuner-serving.jobtuner-llm-predictor"),
        ("CKV_K8S_22", "Pod.jobtuner.jobtuner-mlflow"),
    }
    rest, unused = check.unexcused(found)
    assert rest == ["CKV_K8S_22 Pod.jobtuner.jobtuner-mlflow"]
    assert len(unused) == len(check.exceptions()["checkov"]) - 1


def test_every_exception_has_a_reason() -> None:
    for entries in check.exceptions().values():
        assert all(len(entry["reason"]) > 40 for entry in entries)


def test_a_tool_that_looked_at_nothing_is_no_success(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    silent = tmp_path / "silent"
    silent.write_text("#!/bin/sh\necho '[]'\n", encoding="utf-8")
    silent.chmod(0o755)
    monkeypatch.setenv("CHECKOV", str(silent))
    monkeypatch.setenv("KUBECHECK", str(silent))
    with pytest.raises(RuntimeError, match="looked at nothing"):
        check.checkov([tmp_path / "a.yaml"])
    with pytest.raises(RuntimeError, match="did not run"):
        check.kubecheck(tmp_path / "a.yaml")


def test_missing_tools_are_told(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("KUBECHECK", "/no/such/tool")
    monkeypatch.setattr(check, "combinations", list)
    assert check.main([]) == 0
    assert "NOT checked" in capsys.readouterr().err


def test_the_pipelines_tasks_become_the_pods_that_kfp_makes(rendered: Callable[..., str]) -> None:
    tasks = {
        item["metadata"]["name"]: item["spec"]
        for item in check.documents(check.with_tasks(rendered("dev")))
        if item["kind"] == "Pod"
    }
    assert len(tasks) == 12
    train = tasks["kfp-train"]["containers"][0]
    assert train["resources"]["limits"] == {"memory": "24Gi", "nvidia.com/gpu": "1"}
    assert train["resources"]["requests"] == {"cpu": "4", "memory": "16Gi", "nvidia.com/gpu": "1"}
    assert train["volumeMounts"] == [{"name": "shm", "mountPath": "/dev/shm"}]
    assert tasks["kfp-train"]["nodeSelector"] == {"jobtuner.dev/pool": "gpu"}
    assert train["securityContext"]["runAsUser"] == 10001
    assert {"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"} in tasks["kfp-train"]["tolerations"]
    names = {entry["name"]: entry["valueFrom"] for entry in tasks["kfp-prepare"]["containers"][0]["env"]}
    assert names["MLFLOW_TRACKING_URI"]["configMapKeyRef"]["name"] == "jobtuner-settings"
    assert names["AWS_SECRET_ACCESS_KEY"]["secretKeyRef"]["name"] == "jobtuner-credentials"
