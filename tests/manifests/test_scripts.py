"""The scripts, run for real against small stand-ins for kubectl, mc and the rest."""

import base64
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from manifests import versions
from manifests.check import ROOT
from tests.manifests.access import ACCESS
from tests.manifests.programs import write_program

_MC = """#!/usr/bin/env bash
# Notes what is asked, standard input included where mc reads keys from it; a policy attached twice fails, as mc does.
input=""
[[ "$*" == *"alias set"* || "$*" == *"user add"* || "$*" == *"rule import"* ]] && input=$(cat | base64 -w0)
echo "$*|$input" >>"$LOG"
if [[ $1 == admin && $2 == policy && $3 == attach ]]; then
  grep -qx "$5" "$LOG.attached" 2>/dev/null && exit 1
  echo "$5" >>"$LOG.attached"
fi
[[ $1 == admin && $2 == user && $3 == info ]] && echo "PolicyName: $(grep -x "$5" "$LOG.attached")"
exit 0
"""


def test_the_store_is_set_up_with_least_privilege_and_twice(tmp_path: Path) -> None:
    write_program(tmp_path, "mc", _MC)
    for folder, files in {
        "minio": {"root-user": "root-jobtuner", "root-password": "pw-root"},
        "users": {
            f"{who}-{what}": f"{who}" if what == "id" else f"pw-{who}" for who in ACCESS for what in ("id", "key")
        },
    }.items():
        (tmp_path / folder).mkdir()
        for name, value in files.items():
            (tmp_path / folder / name).write_text(value, encoding="utf-8")
    script = (ROOT / "base" / "object-store" / "setup.sh").read_text(encoding="utf-8")
    script = script.replace("/run/secrets/minio", str(tmp_path / "minio")).replace(
        "/run/secrets/users", str(tmp_path / "users")
    )
    script = script.replace("/tmp/$name.json", f"{tmp_path}/$name.json")
    environment = os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}", "LOG": str(tmp_path / "log")}
    for _ in range(2):
        answer = subprocess.run(["bash", "-c", script], env=environment, capture_output=True, text=True, check=False)
        assert answer.returncode == 0, answer.stderr
    lines = (tmp_path / "log").read_text(encoding="utf-8").splitlines()
    commands = [line.partition("|")[0] for line in lines]
    assert not [command for command in commands if "pw-" in command]  # passwords never are arguments
    typed = base64.b64decode(next(line for line in lines if line.startswith("admin user add")).partition("|")[2])
    assert typed == b"pipelines\npw-pipelines\n"
    (rules,) = {line.partition("|")[2] for line in lines if line.startswith("ilm rule import store/jobtuner-artifacts")}
    (rule,) = json.loads(base64.b64decode(rules))["Rules"]
    settings = (ROOT / "base" / "platform" / "settings.yaml").read_text(encoding="utf-8")
    assert f"JOBTUNER_CHECKPOINTS: s3://jobtuner-artifacts/{rule['Filter']['Prefix'].rstrip('/')} " in settings
    assert rule["Expiration"] == {"Days": 14}
    for bucket in ("jobtuner-data", "jobtuner-artifacts", "jobtuner-models", "jobtuner-answers"):
        assert f"mb --ignore-existing store/{bucket}" in commands
    for who, rights in ACCESS.items():
        statements = json.loads((tmp_path / f"{who}.json").read_text(encoding="utf-8"))["Statement"]
        found = {}
        for statement in statements:
            assert "s3:*" not in statement["Action"]
            (bucket,) = {item.removeprefix("arn:aws:s3:::").removesuffix("/*") for item in statement["Resource"]}
            found[bucket] = "write" if "s3:PutObject" in statement["Action"] else "read"
        assert found == rights


_FORWARDING = """#!/usr/bin/env bash
case "$*" in
*"get secret"*AWS_ACCESS_KEY_ID*) printf pipelines | base64 ;;
*"get secret"*) printf pw-pipelines | base64 ;;
*port-forward*) [[ -n $BROKEN ]] && { echo "services not found" >&2; exit 1; }
  echo "Forwarding from 127.0.0.1:43211 -> 9000"; exec sleep 60 ;;
esac
"""
_PYTHON = """#!/usr/bin/env bash
echo "$MINIO_ENDPOINT $AWS_ACCESS_KEY_ID $AWS_SECRET_ACCESS_KEY ${*:3}"
"""


@pytest.mark.parametrize("broken", ["", "1"])
def test_upload_goes_through_the_port_that_kubectl_names(broken: str, tmp_path: Path) -> None:
    write_program(tmp_path, "kubectl", _FORWARDING)
    write_program(tmp_path, "python", _PYTHON)
    own = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "PYTHON": str(tmp_path / "python"), "BROKEN": broken}
    command = [str(ROOT / "upload.sh"), "model", "s3://jobtuner-models/gateway/current"]
    answer = subprocess.run(command, env=os.environ | own, capture_output=True, text=True, check=False, timeout=20)
    if broken:
        assert answer.returncode == 1
        assert "services not found" in answer.stderr
    else:
        assert answer.returncode == 0, answer.stderr
        first = answer.stdout.splitlines()[0]
        assert first == "http://127.0.0.1:43211 pipelines pw-pipelines model s3://jobtuner-models/gateway/current"


_ANY = """#!/usr/bin/env bash
echo "${0##*/} $*" >>"$LOG"
[[ $1 == create && $2 == -f ]] && cat >/dev/null
exit 0
"""


def test_kind_up_installs_the_pinned_versions_before_the_overlay(tmp_path: Path) -> None:
    """Every program only notes what it was asked: the order and the versions, not whether a cluster would work."""
    for name in ("docker", "kind", "kubectl", "helm"):
        write_program(tmp_path, name, _ANY)
    own = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "LOG": str(tmp_path / "log"), "PYTHON": sys.executable}
    answer = subprocess.run(
        [str(ROOT / "kind-up.sh")], env=os.environ | own, capture_output=True, text=True, check=False
    )
    assert answer.returncode == 0, answer.stderr
    lines = (tmp_path / "log").read_text(encoding="utf-8").splitlines()
    known = versions.read_versions()
    charts = [line for line in lines if line.startswith("helm upgrade")]
    assert len(charts) == 4
    for name in ("CERT_MANAGER_VERSION", "ENVOY_GATEWAY_VERSION", "KSERVE_VERSION"):
        assert any(f"--version {known[name]}" in line for line in charts)
    assert any(line.startswith("kind create") and known["KIND_NODE"] in line for line in lines)
    overlay = next(i for i, line in enumerate(lines) if "overlays/kind" in line)
    assert all(lines.index(line) < overlay for line in charts)
    assert any("create -f -" in line for line in lines[:overlay])  # the Secrets
