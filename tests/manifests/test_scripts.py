"""The scripts and the code inside the manifests, run for real against small stand-ins for kubectl, mc and crane."""

import base64
import inspect
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from jobtuner.config import KServeConfig, MonitorConfig
from jobtuner.contracts import ExportedModel
from jobtuner.deploy import bundle
from jobtuner.deploy.gateway import _SERVER_VARIABLE
from jobtuner.deploy.manifest import SERVED_NAME
from jobtuner.prediction_log.writer import LogSettings, PredictionLog
from jobtuner.serve import server
from jobtuner.serve.keys import KeyRing
from manifests import check, versions
from manifests.check import ROOT

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


def _program(folder: Path, name: str, text: str) -> None:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    path.chmod(0o755)


def _script(tmp_path: Path, *command: str, **more: str) -> "subprocess.CompletedProcess[str]":
    _program(tmp_path, "kubectl", _KUBECTL)
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
    _program(tmp_path, "mc", _MC)
    for folder, files in {
        "minio": {"root-user": "root-jobtuner", "root-password": "pw-root"},
        "users": {
            f"{who}-{what}": f"{who}" if what == "id" else f"pw-{who}" for who in _ACCESS for what in ("id", "key")
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
    for who, rights in _ACCESS.items():
        statements = json.loads((tmp_path / f"{who}.json").read_text(encoding="utf-8"))["Statement"]
        found = {}
        for statement in statements:
            assert "s3:*" not in statement["Action"]
            (bucket,) = {item.removeprefix("arn:aws:s3:::").removesuffix("/*") for item in statement["Resource"]}
            found[bucket] = "write" if "s3:PutObject" in statement["Action"] else "read"
        assert found == rights


_CONTRACT = json.loads((ROOT.parent / "terraform/modules/contract/contract.json").read_text(encoding="utf-8"))
_USERS = {"pipelines": "pipeline", "mlflow": "mlflow", "gateway": "gateway", "serving": "serving"}
_ACCESS = {  # in MinIO as in the cloud
    user: {_CONTRACT["buckets"][bucket]: right for bucket, right in _CONTRACT["access"][component].items()}
    for user, component in _USERS.items()
}


def test_the_gateways_init_container_puts_the_model_where_it_is_served(
    tmp_path: Path, find: Callable[..., dict[str, Any]]
) -> None:
    """The same lines that the pod runs, on a model that lies in a folder; twice, as after a restart."""
    pod = find("Deployment", "jobtuner-gateway")["spec"]["template"]["spec"]
    (fetch,) = pod["initContainers"]
    model, volume = tmp_path / "model", tmp_path / "volume"
    model.mkdir()
    volume.mkdir()
    (model / "config.json").write_text("{}", encoding="utf-8")
    code = fetch["args"][0].replace("/model/current", f"{volume}/current")
    for _ in range(2):
        environment = os.environ | {"JOBTUNER_MODEL": str(model)}
        subprocess.run([sys.executable, "-c", code], env=environment, check=True)
    assert (volume / "current" / "config.json").read_text(encoding="utf-8") == "{}"
    assert "--model=/model/current" in pod["containers"][0]["args"]


def test_the_gateway_that_follows_fetches_all_but_the_weights(
    tmp_path: Path, find: Callable[..., dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The init container's lines of features/pipeline-deploy, the object store being a folder."""
    pod = find("Deployment", "jobtuner-gateway", "dev", "pipeline-deploy")["spec"]["template"]["spec"]
    export, volume = tmp_path / "export", tmp_path / "volume"
    for name in ("model/config.json", "model/model.safetensors", "model/watch_reference/vocabulary.safetensors"):
        (export / name).parent.mkdir(parents=True, exist_ok=True)
        (export / name).write_text(name, encoding="utf-8")
    volume.mkdir()
    ExportedModel(folder=export, fingerprint="e", model_fingerprint="m", labels=[], parity={}).save()
    files = [path.relative_to(export).as_posix() for path in export.rglob("*") if path.is_file()]
    monkeypatch.setattr(bundle, "names", lambda _: files)
    monkeypatch.setattr(bundle, "download", lambda uri, to: shutil.copy(export / uri.removeprefix("s3://x/"), to))
    monkeypatch.setenv("JOBTUNER_MODEL", "s3://x")
    for _ in range(2):
        exec(pod["initContainers"][0]["args"][0].replace("/model/current", f"{volume}/current"), {})
    served = (volume / "current").resolve()
    found = {path.relative_to(served).as_posix() for path in served.rglob("*") if path.is_file()}
    assert found == {"config.json", "watch_reference/vocabulary.safetensors"}


def test_the_gateway_that_follows_is_the_one_that_deployments_tell(find: Callable[..., dict[str, Any]]) -> None:
    settings = KServeConfig()
    deployment = find("Deployment", "jobtuner-gateway", "dev", "pipeline-deploy")
    assert settings.gateway == f"{deployment['metadata']['namespace']}/{deployment['metadata']['name']}"
    pod = deployment["spec"]["template"]["spec"]
    container = pod["containers"][0]
    values = {entry["name"]: entry.get("value") for entry in container["env"]}
    assert values[_SERVER_VARIABLE] == settings.url.format(name=settings.name, namespace=settings.namespace)
    assert f"--endpoint=$({_SERVER_VARIABLE})" in container["args"]
    assert f"--served-model={SERVED_NAME}" in container["args"]
    assert [item["name"] for item in (*pod["initContainers"], container)] == ["fetch-model", "gateway"]
    assert deployment["spec"]["template"]["metadata"]["labels"]["app.kubernetes.io/component"] == "gateway"


@pytest.mark.parametrize("features", [(), ("pipeline-deploy",)])
def test_the_gateways_arguments_are_options_of_the_command(
    features: tuple[str, ...], find: Callable[..., dict[str, Any]]
) -> None:
    deployment = find("Deployment", "jobtuner-gateway", "dev", *features)
    container = deployment["spec"]["template"]["spec"]["containers"][0]
    assert container["command"] == ["jobtuner", "serve"]
    command = [sys.executable, "-m", "jobtuner.cli", "serve", "--help"]
    text = subprocess.run(
        command, capture_output=True, text=True, check=True, env=os.environ | {"COLUMNS": "200"}
    ).stdout
    assert all(argument.partition("=")[0] in text for argument in container["args"])


def test_the_gateway_reads_the_keys_where_they_are_mounted(find: Callable[..., dict[str, Any]]) -> None:
    pod = find("Deployment", "jobtuner-gateway")["spec"]["template"]["spec"]
    container = pod["containers"][0]
    (mount,) = [item for item in container["volumeMounts"] if item["name"] == "keys"]
    (volume,) = [item["secret"] for item in pod["volumes"] if item["name"] == "keys"]
    (path,) = [Path(item.partition("=")[2]) for item in container["args"] if item.startswith("--keys=")]
    assert path.parent == Path(mount["mountPath"])
    assert path.name in {item["path"] for item in volume["items"]}
    assert mount["readOnly"] and "subPath" not in mount  # kubelet never updates one
    assert volume["defaultMode"] == 0o440
    assert not volume.get("optional", False)  # without the Secret the pod must not start and answer everybody


def test_the_gateways_probes_are_paths_of_the_gateway(find: Callable[..., dict[str, Any]]) -> None:
    source = (ROOT.parent / "src" / "jobtuner" / "serve" / "gateway.py").read_text(encoding="utf-8")
    container = find("Deployment", "jobtuner-gateway")["spec"]["template"]["spec"]["containers"][0]
    paths = {container[probe]["httpGet"]["path"] for probe in ("startupProbe", "livenessProbe", "readinessProbe")}
    assert paths == {"/health", "/ready"}
    route = find("HTTPRoute", "jobtuner-gateway")["spec"]["rules"][0]["matches"]
    for path in paths | {match["path"]["value"] for match in route}:
        assert f'("{path}",' in source


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
    _program(tmp_path, "kubectl", _FORWARDING)
    _program(tmp_path, "python", _PYTHON)
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
        _program(tmp_path, name, _ANY)
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


_CRANE = """#!/usr/bin/env bash
[[ $2 == *mlflow* && -n $BROKEN ]] && { echo "no such manifest" >&2; exit 1; }
printf 'sha256:%s\\n' "$(printf '%s' "$2" | sha256sum | cut -d' ' -f1)"
"""


@pytest.fixture
def pinning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    _program(tmp_path, "crane", _CRANE)
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


def test_the_gateway_logs_its_answers(find: Callable[..., dict[str, Any]]) -> None:
    """Where it may write, what survives the container, and time enough at the end."""
    pod = find("Deployment", "jobtuner-gateway")["spec"]["template"]["spec"]
    container = pod["containers"][0]
    options = dict(argument.partition("=")[::2] for argument in container["args"])
    assert {"configMapRef": {"name": "jobtuner-settings"}} in container["envFrom"]
    settings = (ROOT / "base" / "platform" / "settings.yaml").read_text(encoding="utf-8")
    place = re.search(r"JOBTUNER_PREDICTION_LOG: s3://([\w-]+)/", settings)
    assert place and _ACCESS["gateway"][place[1]] == _ACCESS["pipelines"][place[1]] == "write"
    assert {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"} <= {entry["name"] for entry in container["env"]}
    (mount,) = [item for item in container["volumeMounts"] if item["mountPath"] == options["--log-spool"]]
    (volume,) = [item["emptyDir"] for item in pod["volumes"] if item["name"] == mount["name"]]
    assert not mount.get("readOnly")
    assert int(volume["sizeLimit"].removesuffix("Mi")) * 2**20 > LogSettings().spool_bytes
    assert int(options["--log-days"]) > MonitorConfig().quality_days + MonitorConfig().window_days
    waits = container["lifecycle"]["preStop"]["sleep"]["seconds"] + server._STOP_SECONDS
    publishes = inspect.signature(PredictionLog.close).parameters["timeout"].default
    assert waits + publishes < pod["terminationGracePeriodSeconds"]
