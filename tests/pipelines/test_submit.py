"""Starting a run on a cluster, by our command and by kfp's own ones, against an API server with behaviour."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from jobtuner.errors import ConfigError, DeployError
from pipelines.compile import compile_pipeline
from pipelines.connection import connection
from pipelines.submit import submit
from tests.pipelines.fake_kfp import fake_kfp

_BIN = Path(sys.executable).parent


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return compile_pipeline(tmp_path_factory.mktemp("package") / "training.yaml")


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))  # kfp keeps settings of its own below it
    for name in ("KF_PIPELINES_ENDPOINT", "KF_PIPELINES_TOKEN", "http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize("verb", ["create", "submit"])
def test_kfp_commands_start_a_run(package: Path, verb: str) -> None:
    with fake_kfp() as server:
        command = [
            str(_BIN / "kfp"),
            "--endpoint",
            server.url,
            "run",
            verb,
            "-e",
            "nightly",
            "-r",
            "first",
            "-f",
            str(package),
        ]
        parameters = ["recipe=smoke", 'overrides={"training.epochs": "2", "data.generate.ads_per_unit": 3}']
        done = subprocess.run([*command, *parameters], capture_output=True, text=True, timeout=300, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        assert list(server.experiments) == ["nightly"]
        (run,) = server.runs
        assert run["display_name"] == "first"
        assert run["runtime_config"]["parameters"] == {
            "recipe": "smoke",
            "overrides": {"training.epochs": "2", "data.generate.ads_per_unit": 3},
        }


def test_jobtuner_submit_starts_a_run() -> None:
    with fake_kfp(token="s3cret") as server:
        environment = {**os.environ, "KF_PIPELINES_ENDPOINT": server.url, "KF_PIPELINES_TOKEN": "s3cret"}
        command = [str(_BIN / "jobtuner"), "submit", "--set", "training.epochs=2", "--run-name", "first", "--gpus", "1"]
        command += ["--shards", "8"]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)
        assert done.returncode == 0, done.stderr
        assert done.stdout == f"{server.url}/#/runs/details/run-0\n"
        (run,) = server.runs
        assert run["display_name"] == "first"
        assert run["runtime_config"]["parameters"] == {
            "recipe": "smoke",
            "overrides": {"training.epochs": "2"},
            "shards": 8,
        }
        assert run["service_account"] == "jobtuner-pipeline"
        assert list(server.experiments) == ["jobtuner"]
        assert "s3cret" not in str(run)


def test_the_installations_own_account_may_be_asked_for() -> None:
    with fake_kfp() as server:
        submit("smoke", {}, endpoint=server.url, service_account=None)
        assert "service_account" not in server.runs[0]


def test_an_experiment_is_used_again() -> None:
    with fake_kfp() as server:
        for _ in range(2):
            submit("smoke", {}, endpoint=server.url, experiment="weekly")
        assert list(server.experiments) == ["weekly"]
        assert [run["experiment_id"] for run in server.runs] == ["experiment-0"] * 2


def test_a_wrong_token_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KF_PIPELINES_TOKEN", "wrong")
    with fake_kfp(token="s3cret") as server, pytest.raises(DeployError, match=r"401.*KF_PIPELINES_TOKEN"):
        submit("smoke", {}, endpoint=server.url)


def test_no_server_is_said_at_once() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        with pytest.raises(DeployError, match=rf"127\.0\.0\.1:{port} is not reachable.*refused"):
            submit("smoke", {}, endpoint=f"http://127.0.0.1:{port}")


@pytest.mark.parametrize("endpoint", [None, "", "kubeflow.example.com"])
def test_no_endpoint_is_said(endpoint: str | None) -> None:
    with pytest.raises(ConfigError, match="KF_PIPELINES_ENDPOINT"):
        submit("smoke", {}, endpoint=endpoint)


def test_mistakes_are_found_before_anything_is_sent() -> None:
    with fake_kfp() as server, pytest.raises(ConfigError, match=r"training\.epochs"):
        submit("smoke", {"training.epochs": "-1"}, endpoint=server.url)
    assert not server.runs


def test_a_recipe_file_stays_at_home(tmp_path: Path) -> None:
    recipe = tmp_path / "mine.yaml"
    recipe.write_text("seed: 3\n")
    with pytest.raises(ConfigError, match="built-in recipe"):
        submit(str(recipe), {}, endpoint="http://127.0.0.1:1")


def test_the_batch_is_accepted_with_its_parameters(tmp_path: Path) -> None:
    given = {"source": "s3://jobtuner-data/ads.parquet", "shards": 16, "options": ["--top-k", "3"]}
    with fake_kfp() as server, connection(server.url, None) as (client, _):
        package = compile_pipeline(tmp_path / "batch.yaml", which="batch")
        client.create_run_from_pipeline_package(str(package), arguments=given, experiment_name="batch")
        assert server.runs[0]["runtime_config"]["parameters"] == given
        with pytest.raises(Exception, match="shards"):
            client.create_run_from_pipeline_package(str(package), arguments={**given, "shards": "many"})
