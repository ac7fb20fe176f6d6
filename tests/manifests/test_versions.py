"""Images and their digests: pinned in versions.env and in the overlays, against a stand-in for crane."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from manifests import check, versions
from manifests.check import ROOT
from tests.manifests.programs import write_program

_CRANE = """#!/usr/bin/env bash
[[ $2 == *mlflow* && -n $BROKEN ]] && { echo "no such manifest" >&2; exit 1; }
printf 'sha256:%s\\n' "$(printf '%s' "$2" | sha256sum | cut -d' ' -f1)"
"""


@pytest.fixture
def pinning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    write_program(tmp_path, "crane", _CRANE)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.delenv("BROKEN", raising=False)
    copy = tmp_path / "versions.env"
    copy.write_text(versions.VERSIONS.read_text(encoding="utf-8"), encoding="utf-8")
    monkeypatch.setattr(versions, "VERSIONS", copy)
    monkeypatch.setattr(versions, "IMAGES", tmp_path / "kustomization.yaml")
    return copy


def test_pinning_writes_digests_and_can_be_repeated(pinning: Path) -> None:
    before = versions.read_versions()
    assert versions.main(["--pin"]) == 0
    once = pinning.read_text(encoding="utf-8")
    after = versions.read_versions()
    assert {name: value.partition("@")[0] for name, value in after.items()} == before
    assert all("@sha256:" in value for name, value in after.items() if name.endswith("_IMAGE"))
    content = yaml.safe_load((pinning.parent / "kustomization.yaml").read_text(encoding="utf-8"))
    assert all(set(image) == {"name", "digest"} for image in content["images"])
    assert versions.main(["--pin"]) == 0
    assert pinning.read_text(encoding="utf-8") == once


def test_after_pinning_every_image_has_a_digest(pinning: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a copy of the manifests, with kubecheck's own rule for digests."""
    if check.tool("KUBECHECK") is None:
        pytest.skip("kubecheck is not installed (KUBECHECK=path)")
    folder, path = pinning.parent / "manifests", pinning.parent / "dev.yaml"
    shutil.copytree(ROOT, folder, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(check, "ROOT", folder)
    monkeypatch.setattr(versions, "IMAGES", folder / "images" / "kustomization.yaml")
    path.write_text(check.render("dev"), encoding="utf-8")
    assert not check.all_pinned()
    assert len(check.kubecheck(path, digests=True)) >= 6
    versions.main(["--pin"])
    path.write_text(check.render("dev"), encoding="utf-8")
    assert check.all_pinned()
    assert check.kubecheck(path, digests=True) == []


def test_pinning_changes_nothing_when_one_digest_is_not_found(
    pinning: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("BROKEN", "1")
    before = pinning.read_text(encoding="utf-8")
    assert versions.main(["--pin"]) == 1
    assert pinning.read_text(encoding="utf-8") == before
    assert "no such manifest" in capsys.readouterr().err


def test_an_image_may_lie_in_another_registry(pinning: Path, find: Callable[..., dict[str, Any]]) -> None:
    text = pinning.read_text(encoding="utf-8")
    moved = text.replace("=jobtuner/python-cpu:", "=registry.example.com:5000/team/jobtuner/python-cpu:")
    pinning.write_text(moved, encoding="utf-8")
    assert versions.main([]) == 0
    content = yaml.safe_load((pinning.parent / "kustomization.yaml").read_text(encoding="utf-8"))
    used = find("Deployment", "jobtuner-gateway")["spec"]["template"]["spec"]["containers"][0]["image"]
    (entry,) = [image for image in content["images"] if image["name"] == used.partition(":")[0]]
    assert entry["newName"] == "registry.example.com:5000/team/jobtuner/python-cpu"


@pytest.mark.parametrize(
    "line", ["MLFLOW_IMAGE=ghcr.io/mlflow/mlflow", "mlflow=1", "MLFLOW_IMAGE", "A_IMAGE=x:1@sha256:12"]
)
def test_a_line_that_pins_nothing_is_refused(line: str, tmp_path: Path) -> None:
    path = tmp_path / "versions.env"
    path.write_text(f"# versions\n{line}\n", encoding="utf-8")
    with pytest.raises(ValueError, match="line 2"):
        versions.read_versions(path)
