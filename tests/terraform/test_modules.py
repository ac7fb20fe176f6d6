"""How the Terraform code is written: every variable typed, described and, where its set is closed, validated."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from terraform.docs import blocks, readme
from tests.terraform.contract_rules import ROOT

TERRAFORM = ROOT / "terraform"
MODULES = sorted(path.parent for path in TERRAFORM.glob("modules/*/main.tf"))
ENVIRONMENTS = sorted(path.parent for path in TERRAFORM.glob("envs/*/main.tf"))
FOLDERS = [*MODULES, *ENVIRONMENTS]
CLOSED = {"accelerator", "capacity", "driver_version", "gpus_per_node", "hmac_components", "pool", "release_channel"}
"""Variables whose values form a closed set, in whatever module defines the set."""
names = pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
modules = pytest.mark.parametrize("module", MODULES, ids=lambda module: module.name)


def _code(folder: Path) -> str:
    return "\n".join(path.read_text() for path in sorted(folder.glob("*.tf")))


def test_there_are_all_modules_and_environments() -> None:
    gcp = {
        "network",
        "encryption",
        "cluster",
        "node_pool",
        "gpu_pool",
        "storage",
        "registry",
        "identity",
        "budget",
        "platform",
    }
    aws_only = {"aws_addons"}
    expected = gcp | {f"aws_{name}" for name in gcp} | aws_only | {"contract", "database"}
    assert {module.name for module in MODULES} == expected
    assert {folder.name for folder in ENVIRONMENTS} == {"gcp-dev", "gcp-prod", "aws-dev"}


@names
def test_variables_and_outputs_are_typed_and_described(folder: Path) -> None:
    for block in blocks(_code(folder)):
        if block.kind in {"variable", "output"}:
            assert len(block.arguments.get("description", "")) > 15, block.name
        if block.kind == "variable":
            assert block.arguments.get("type", "any") != "any", block.name


@names
def test_validations_say_what_came_and_what_is_accepted(folder: Path) -> None:
    messages = re.findall(r'variable "(\w+)" \{(?:(?!\n\}).)*?error_message = "(.*?)"\n', _code(folder), re.DOTALL)
    for name, message in messages:
        assert "accepted" in message or "accepts" in message or "needs one" in message or "need one" in message, (
            name,
            message,
        )
        assert f"var.{name}" in message or name in message, (name, message)


@modules
def test_closed_sets_are_validated(module: Path) -> None:
    """A platform passes such a variable on to the module that validates it."""
    if module.name.endswith("platform"):
        return
    for name, body in re.findall(r'variable "(\w+)" \{\n(.*?)\n\}', _code(module), re.DOTALL):
        assert name not in CLOSED or "validation {" in body, name


@modules
def test_module_has_its_files_and_a_test(module: Path) -> None:
    expected = {"main.tf", "outputs.tf", "README.md", f"tests/{module.name}.tftest.hcl"}
    assert all((module / name).is_file() for name in expected)
    assert "required_version" in _code(module)


@modules
def test_readme_is_up_to_date(module: Path) -> None:
    assert (module / "README.md").read_text() == readme(module), "run: python terraform/docs.py"


@pytest.mark.parametrize("folder", ENVIRONMENTS, ids=lambda folder: folder.name)
def test_environment_is_short_and_has_examples(folder: Path) -> None:
    assert len(_code(folder).splitlines()) <= 80
    assert re.search(r'backend "(gcs|s3)" \{\}', _code(folder)), (
        "a partial backend: the bucket differs from user to user"
    )
    assert (folder / "backend.hcl.example").is_file()
    values = (folder / f"{folder.name}.tfvars.example").read_text()
    required = [
        block.name for block in blocks(_code(folder)) if block.kind == "variable" and "default" not in block.arguments
    ]
    assert [name for name in required if not re.search(rf"^{name}\s+=", values, re.MULTILINE)] == []


def test_dev_and_prod_differ() -> None:
    dev, prod = ((TERRAFORM / "envs" / f"gcp-{name}" / "main.tf").read_text() for name in ("dev", "prod"))
    same = set(dev.splitlines()) & set(prod.splitlines())
    differing = [line for line in prod.splitlines() if line not in same]
    assert 10 <= len(differing) <= 30


@names
def test_no_file_is_a_copy(folder: Path) -> None:
    """Two modules may be alike in shape; no main.tf says mostly what another says."""
    ours = {line for line in (folder / "main.tf").read_text().splitlines() if len(line) > 30}
    for other in FOLDERS:
        theirs = {line for line in (other / "main.tf").read_text().splitlines() if len(line) > 30}
        if other != folder and ours and theirs and not {folder.name, other.name} <= {"gcp-dev", "gcp-prod", "aws-dev"}:
            assert len(ours & theirs) / len(ours | theirs) < 0.5, f"{folder.name} and {other.name}"


@pytest.mark.skipif(shutil.which("terraform") is None, reason="terraform is not installed")
def test_code_is_formatted() -> None:
    done = subprocess.run(
        ["terraform", "fmt", "-check", "-recursive", str(TERRAFORM)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
