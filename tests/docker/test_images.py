"""The Dockerfiles, as far as they can be judged without a container runtime."""

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from importlib.metadata import distributions
from pathlib import Path

import pytest

from manifests.check import tool
from manifests.versions import read_versions

_ROOT = Path(__file__).parents[2]
_SPEC = importlib.util.spec_from_file_location("unneeded", _ROOT / "docker" / "unneeded.py")
assert _SPEC is not None
assert _SPEC.loader is not None
_MODULE = importlib.util.module_from_spec(_SPEC)  # by path: a distribution is called "docker" too
_SPEC.loader.exec_module(_MODULE)
needed, unneeded = _MODULE.needed, _MODULE.unneeded
_FILES = sorted((_ROOT / "docker").glob("*.Dockerfile"))


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def test_there_are_two() -> None:
    assert [path.name for path in _FILES] == ["cpu.Dockerfile", "train.Dockerfile"]


@pytest.mark.parametrize("path", _FILES, ids=lambda path: path.stem)
def test_versions_are_those_of_the_project(path: Path) -> None:
    assert f"\nARG BASE_IMAGE={read_versions()['PYTHON_BASE_IMAGE'].partition('@')[0]}\n" in _text(path)
    torch = re.search(r"TORCH  := torch==(\S+)", _text(_ROOT / "Makefile"))
    assert torch is not None
    assert f"\nARG TORCH_VERSION={torch[1]}\n" in _text(path)
    version = re.search(r'(?m)^version = "(.+)"', _text(_ROOT / "pyproject.toml"))
    assert version is not None
    assert f"\nARG VERSION={version[1]}\n" in _text(path)


@pytest.mark.parametrize("path", _FILES, ids=lambda path: path.stem)
def test_the_last_stage_is_lean_and_not_root(path: Path) -> None:
    last = _text(path).rpartition("\nFROM ")[2]
    assert last.startswith("${BASE_IMAGE} AS runtime")
    assert "\nUSER 10001:10001\n" in last
    assert "\nHEALTHCHECK " in last
    assert "pip install" not in last
    assert "apt-get" not in last
    assert {"title", "version", "revision", "created", "licenses"} <= set(
        re.findall(r"opencontainers\.image\.(\w+)=", last)
    )


@pytest.mark.parametrize("path", _FILES, ids=lambda path: path.stem)
def test_every_install_is_by_hash_or_by_version(path: Path) -> None:
    installs = re.findall(r"pip install ((?:[^&\\\n]|\\\n)+)", _text(path))
    assert len(installs) == 5
    for arguments in installs:
        assert "--require-hashes" in arguments or "==$" in arguments or arguments.rstrip().endswith("--no-deps .")


@pytest.mark.parametrize("path", _FILES, ids=lambda path: path.stem)
def test_what_is_copied_exists_and_is_not_ignored(path: Path) -> None:
    allowed = {line[1:] for line in _text(_ROOT / ".dockerignore").splitlines() if line.startswith("!")}
    copied = {source for line in re.findall(r"(?m)^COPY (?!--from)(.+)$", _text(path)) for source in line.split()[:-1]}
    assert copied == allowed
    assert all((_ROOT / source).exists() for source in copied)


def test_development_tools_are_left_out_and_nothing_else() -> None:
    dropped = set(unneeded())
    assert {"ruff", "mypy", "pytest", "moto", "hypothesis", "pip"} <= dropped
    assert (
        not {
            "jobtuner",
            "torch",
            "transformers",
            "peft",
            "kfp",
            "kfp-kubernetes",
            "mlflow",
            "minio",
            "fastapi",
            "uvicorn",
        }
        & dropped
    )


def test_a_missing_requirement_is_told() -> None:
    installed = {item.metadata["Name"].lower(): item for item in distributions() if item.metadata["Name"] == "fastapi"}
    with pytest.raises(LookupError, match="is required and not installed"):
        needed("fastapi", installed)


_IMPORT_ALL = """
import importlib, pkgutil
for package in ("jobtuner", "components", "pipelines"):
    for module in pkgutil.walk_packages(importlib.import_module(package).__path__, package + "."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
for name in (
    "torch", "transformers", "peft", "trl", "bitsandbytes", "datasets", "mlflow", "kfp.dsl.executor_main",
    "kfp.kubernetes", "kubernetes", "minio", "fastapi", "uvicorn", "sklearn", "matplotlib.pyplot",
):
    importlib.import_module(name)
"""


@pytest.mark.slow
def test_the_package_imports_without_what_is_left_out(tmp_path: Path) -> None:
    """The image's environment, imitated: links to this one's packages, without the distributions removed there."""
    dropped = set(unneeded())
    (site,) = {Path(str(item.locate_file(""))) for item in distributions(name="torch")}
    gone = {
        path.parts[0]
        for item in distributions()
        if item.metadata["Name"].lower().replace("_", "-") in dropped
        for path in item.files or []
        if ".." not in path.parts and path.parts[0] != "__pycache__"
    }
    assert {"pytest", "moto", "mypy"} <= gone
    for entry in site.iterdir():
        if entry.name not in gone:
            (tmp_path / entry.name).symlink_to(entry)
    environment = os.environ | {"PYTHONPATH": f"{_ROOT / 'src'}:{_ROOT}:{tmp_path}"}
    command = [sys.executable, "-S", "-c", _IMPORT_ALL]
    answer = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert answer.returncode == 0, answer.stderr[-2000:]


def test_hadolint_finds_nothing() -> None:
    program = shutil.which(os.environ.get("HADOLINT", "hadolint"))
    if program is None:
        pytest.skip("hadolint is not installed (HADOLINT=path)")
    answer = subprocess.run([program, *map(str, _FILES)], capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stdout


@pytest.mark.slow
def test_checkov_finds_nothing() -> None:
    program = tool("CHECKOV")
    if program is None:
        pytest.skip("checkov is not installed (CHECKOV=path)")
    files = [option for path in _FILES for option in ("-f", str(path))]
    command = [program, "--framework", "dockerfile", "--compact", "--skip-download", *files]
    answer = subprocess.run(command, capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stdout
    assert re.search(r"Passed checks: \d{3}, Failed checks: 0, Skipped checks: 2", answer.stdout)
