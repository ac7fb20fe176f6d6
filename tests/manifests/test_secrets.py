"""Secrets and API keys, made by the real scripts against a stand-in for kubectl."""

import base64
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from jobtuner.serve.keys import KeyRing
from manifests.check import ROOT
from tests.manifests.programs import write_program

_KUBECTL = """#!/usr/bin/env bash
# Keeps Secrets as files: `create -f -` stores standard input, `get secret NAME` looks for one, `patch` sets keys.json
# where the version it names is the stored one. $BUSY: somebody else changes the Secret after each look at its version.
if [[ $1 == create ]]; then
  body=$(cat)
  name=$(grep -o '"name":"[^"]*"' <<<"$body" | head -1 | cut -d'"' -f4)
  namespace=$(grep -o '"namespace":"[^"]*"' <<<"$body" | head -1 | cut -d'"' -f4)
  printf '%s' "$body" >"$STORE/$namespace.$name.json"
  echo 1 >"$STORE/$namespace.$name.version"
  exit 0
fi
file="$STORE/$2.$5"
if [[ $3 == patch ]]; then
  patch=$(cat "${@: -1}")
  [[ $patch == *'"resourceVersion":"'$(cat "$file.version")'"'* ]] || { echo "Conflict: it has changed" >&2; exit 1; }
  held=$(grep -o '"keys.json":"[^"]*"' <<<"$patch")
  sed -i 's|"keys.json":"[^"]*"|'"$held|" "$file.json"
  echo $(($(cat "$file.version") + 1)) >"$file.version"
elif [[ $* == *VLLM_API_KEY* ]]; then
  grep -o '"VLLM_API_KEY":"[^"]*"' "$file.json" | cut -d'"' -f4 | tr -d '\n' | base64
elif [[ -f "$file.json" && $* == *jsonpath* ]]; then
  echo "$(cat "$file.version")|${OWNER:-}|$(grep -o '"keys.json":"[^"]*"' "$file.json" | cut -d'"' -f4)"
  [[ -z ${BUSY:-} ]] || echo 99 >"$file.version"
elif [[ -f "$file.json" ]]; then
  echo "secret/$5"
fi
exit 0
"""


def _script(tmp_path: Path, *command: str, **more: str) -> "subprocess.CompletedProcess[str]":
    write_program(tmp_path, "kubectl", _KUBECTL)
    own = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "STORE": str(tmp_path), "PYTHON": sys.executable}
    program = [str(ROOT / command[0]), *command[1:]]
    return subprocess.run(program, env=os.environ | own | more, capture_output=True, text=True, check=False)


def _make_secrets(tmp_path: Path, **more: str) -> "subprocess.CompletedProcess[str]":
    return _script(tmp_path, "secrets.sh", **more)


def _secrets(tmp_path: Path) -> dict[tuple[str, str], dict[str, Any]]:
    found = [json.loads(path.read_text(encoding="utf-8")) for path in tmp_path.glob("*.json")]
    return {(item["metadata"]["namespace"], item["metadata"]["name"]): item for item in found}


def test_secrets_are_made_once_with_strong_values(tmp_path: Path) -> None:
    first = _make_secrets(tmp_path, HF_TOKEN="hf_abc")
    assert first.returncode == 0, first.stderr
    made = _secrets(tmp_path)
    assert len(made) == 8
    values = {name: item["stringData"] for name, item in made.items() if "stringData" in item}
    tasks, store = values["jobtuner-pipelines", "jobtuner-credentials"], values["jobtuner", "jobtuner-s3-users"]
    assert tasks["AWS_SECRET_ACCESS_KEY"] == store["pipelines-key"]
    assert values["jobtuner-serving", "jobtuner-credentials"]["AWS_SECRET_ACCESS_KEY"] == store["serving-key"]
    assert tasks["MLFLOW_TRACKING_PASSWORD"] == values["jobtuner", "jobtuner-mlflow"]["admin-password"]
    assert tasks["HF_TOKEN"] == "hf_abc"
    assert tasks["JOBTUNER_ENDPOINT_KEY"] == values["jobtuner-serving", "jobtuner-credentials"]["VLLM_API_KEY"]
    assert tasks["JOBTUNER_ENDPOINT_KEY"] == values["jobtuner", "jobtuner-llm"]["VLLM_API_KEY"]
    keys = [value for item in values.values() for key, value in item.items() if re.search("key|password|KEY", key)]
    assert all(len(value) == 32 for value in keys if value not in {"pipelines", "serving"})
    again = _make_secrets(tmp_path)
    assert "nothing was changed" in again.stdout
    assert _secrets(tmp_path) == made
    assert not set(keys) & set((first.stdout + first.stderr).split())


def _ring(tmp_path: Path) -> KeyRing:
    """The gateway's own reader, on what the Secret holds."""
    held = _secrets(tmp_path)["jobtuner", "jobtuner-gateway-keys"]["data"]["keys.json"]
    path = tmp_path / "mounted"
    path.write_bytes(base64.b64decode(held))
    return KeyRing(path)


def test_the_first_api_key_is_shown_and_stored_as_a_hash(tmp_path: Path) -> None:
    (secret,) = re.findall(r"^jobtuner_\S+$", _make_secrets(tmp_path).stdout, re.MULTILINE)
    owner = _ring(tmp_path).owner(secret)
    assert owner is not None and owner.name == "first"
    assert secret not in (tmp_path / "mounted").read_text(encoding="utf-8")
    assert "jobtuner_" not in _make_secrets(tmp_path).stdout


def test_a_cluster_from_before_the_keys_gets_them(tmp_path: Path) -> None:
    _make_secrets(tmp_path)
    before = _secrets(tmp_path)
    for name in ("gateway-keys", "llm"):
        (tmp_path / f"jobtuner.jobtuner-{name}.json").unlink()
    assert _make_secrets(tmp_path).returncode == 0
    after = _secrets(tmp_path)
    assert len(after) == 8
    assert after["jobtuner", "jobtuner-llm"] == before["jobtuner", "jobtuner-llm"]


def test_keys_come_and_go(tmp_path: Path) -> None:
    assert "There is no Secret" in _script(tmp_path, "keys.sh", "list").stderr
    first = _script(tmp_path, "keys.sh", "add", "first").stdout.strip()
    site = _script(tmp_path, "keys.sh", "add", "jobs-site", "--per-minute", "30").stdout.strip()
    owner = _ring(tmp_path).owner(site)
    assert owner is not None and (owner.name, owner.per_minute) == ("jobs-site", 30)
    assert "jobs-site  30 requests a minute" in _script(tmp_path, "keys.sh", "list").stdout
    assert _script(tmp_path, "keys.sh", "remove", "first").returncode == 0
    assert _ring(tmp_path).owner(first) is None
    assert _ring(tmp_path).owner(site) is not None


@pytest.mark.parametrize(
    ("arguments", "more", "told"),
    [
        (("add", "first"), {}, "has a key named first already"),
        (("remove", "jobs-site"), {}, "no key named jobs-site"),
        (("add", "jobs-site"), {"OWNER": "ExternalSecret"}, "External Secrets writes"),
        (("add", "jobs-site"), {"BUSY": "1"}, "Conflict"),
        (("rename", "first"), {}, "usage"),
        ((), {}, "usage"),
    ],
)
def test_a_change_of_keys_that_cannot_be_made_shows_no_key(
    arguments: tuple[str, ...], more: dict[str, str], told: str, tmp_path: Path
) -> None:
    _script(tmp_path, "keys.sh", "add", "first")
    before = _secrets(tmp_path)
    answer = _script(tmp_path, "keys.sh", *arguments, **more)
    assert answer.returncode != 0
    assert told in answer.stderr
    assert answer.stdout == ""
    assert _secrets(tmp_path) == before


def test_half_of_the_secrets_is_refused(tmp_path: Path) -> None:
    _make_secrets(tmp_path)
    (tmp_path / "jobtuner.jobtuner-postgres.json").unlink()
    answer = _make_secrets(tmp_path)
    assert answer.returncode == 1
    assert "jobtuner/jobtuner-postgres" in answer.stderr
    assert len(_secrets(tmp_path)) == 7


def _named(node: Any) -> Iterator[tuple[str, str | None]]:
    """(Secret, key) that a manifest asks for; key None: the Secret as files."""
    if isinstance(node, dict):
        if "secretKeyRef" in node:
            yield node["secretKeyRef"]["name"], node["secretKeyRef"]["key"]
        if "secretName" in node and "providers" not in node:
            yield node["secretName"], None
        for value in node.values():
            yield from _named(value)
    elif isinstance(node, list):
        for value in node:
            yield from _named(value)


def test_every_secret_that_a_pod_names_is_made_by_both_ways(
    tmp_path: Path, objects: Callable[..., list[dict[str, Any]]]
) -> None:
    _make_secrets(tmp_path, HF_TOKEN="hf_abc")
    script = {name: set(item.get("stringData") or item["data"]) for name, item in _secrets(tmp_path).items()}
    external = {
        (item["metadata"]["namespace"], item["spec"]["target"]["name"]): {
            row["secretKey"] for row in item["spec"]["data"]
        }
        for item in objects("prod")
        if item["kind"] == "ExternalSecret"
    }
    assert script == external
    asked = {
        (item["metadata"]["namespace"], *found)
        for item in objects("prod")
        if item["kind"] in {"Deployment", "StatefulSet", "Job", "ServingRuntime"}
        for found in _named(item)
    }
    assert len(asked) >= 10
    for namespace, name, key in asked:
        assert key is None or key in script[namespace, name], (namespace, name, key)


def test_kserves_secret_says_where_the_store_is(tmp_path: Path, objects: Callable[..., list[dict[str, Any]]]) -> None:
    _make_secrets(tmp_path)
    made = _secrets(tmp_path)["jobtuner-serving", "jobtuner-credentials"]["metadata"]["annotations"]
    (external,) = [
        item["spec"]["target"]["template"]["metadata"]["annotations"]
        for item in objects("prod")
        if item["kind"] == "ExternalSecret" and item["metadata"]["namespace"] == "jobtuner-serving"
    ]
    assert made == external
    assert made["serving.kserve.io/s3-endpoint"] == "jobtuner-s3.jobtuner.svc.cluster.local:9000"
