"""The gateway's pod: its code run for real, its arguments and settings those of the program."""

import inspect
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from jobtuner.config import KServeConfig, MonitorConfig
from jobtuner.contracts import ExportedModel
from jobtuner.deploy import bundle
from jobtuner.deploy.gateway import _SERVER_VARIABLE
from jobtuner.deploy.manifest import SERVED_NAME
from jobtuner.prediction_log.writer import LogSettings, PredictionLog
from jobtuner.serve import server
from manifests.check import ROOT
from tests.manifests.access import ACCESS


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


def test_the_gateway_logs_its_answers(find: Callable[..., dict[str, Any]]) -> None:
    """Where it may write, what survives the container, and time enough at the end."""
    pod = find("Deployment", "jobtuner-gateway")["spec"]["template"]["spec"]
    container = pod["containers"][0]
    options = dict(argument.partition("=")[::2] for argument in container["args"])
    assert {"configMapRef": {"name": "jobtuner-settings"}} in container["envFrom"]
    settings = (ROOT / "base" / "platform" / "settings.yaml").read_text(encoding="utf-8")
    place = re.search(r"JOBTUNER_PREDICTION_LOG: s3://([\w-]+)/", settings)
    assert place and ACCESS["gateway"][place[1]] == ACCESS["pipelines"][place[1]] == "write"
    assert {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"} <= {entry["name"] for entry in container["env"]}
    (mount,) = [item for item in container["volumeMounts"] if item["mountPath"] == options["--log-spool"]]
    (volume,) = [item["emptyDir"] for item in pod["volumes"] if item["name"] == mount["name"]]
    assert not mount.get("readOnly")
    assert int(volume["sizeLimit"].removesuffix("Mi")) * 2**20 > LogSettings().spool_bytes
    assert int(options["--log-days"]) > MonitorConfig().quality_days + MonitorConfig().window_days
    waits = container["lifecycle"]["preStop"]["sleep"]["seconds"] + server._STOP_SECONDS
    publishes = inspect.signature(PredictionLog.close).parameters["timeout"].default
    assert waits + publishes < pod["terminationGracePeriodSeconds"]
