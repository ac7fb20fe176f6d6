"""Recurring runs, by our command, against an API server with behaviour."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from jobtuner.cli import app
from jobtuner.errors import ConfigError, DeployError
from pipelines import schedule
from pipelines.submit import submit, watch_run
from tests.pipelines.fake_kfp import FakeKfp, fake_kfp


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[FakeKfp]:
    monkeypatch.setenv("HOME", str(tmp_path))  # kfp keeps settings of its own below it
    for name in ("KF_PIPELINES_TOKEN", "http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with fake_kfp() as running:
        monkeypatch.setenv("KF_PIPELINES_ENDPOINT", running.url)
        yield running


def _run(*arguments: str) -> str:
    done = CliRunner().invoke(app, ["schedule", *arguments])
    assert done.exit_code == 0, done.output
    return done.stdout


def test_a_schedule_from_its_start_to_its_end(server: FakeKfp) -> None:
    assert _run("list") == "No schedule yet: jobtuner schedule RECIPE --cron '0 3 * * 1'\n"
    told = _run("smoke", "--cron", "0 3 * * 1", "--monitoring", "--set", "monitor.log=s3://b/log")
    assert told == "monitoring smoke: 0 0 3 * * 1 (UTC)\n"
    (made,) = server.recurring.values()
    assert made["pipeline_spec"]["pipeline_spec"]["pipelineInfo"]["name"] == "jobtuner-monitoring"
    assert made["runtime_config"]["parameters"] == {
        "recipe": "smoke",
        "overrides": {"monitor.log": "s3://b/log"},
        "shards": 1,
    }
    assert (made["no_catchup"], int(made["max_concurrency"])) == (True, 1)
    assert (made["mode"], made["service_account"]) == ("ENABLE", "jobtuner-pipeline")
    assert _run("list") == "monitoring smoke\t0 0 3 * * 1\ton\tsmoke\n"
    assert _run("pause", "monitoring smoke") == "Paused: monitoring smoke\n"
    assert _run("list") == "monitoring smoke\t0 0 3 * * 1\tpaused\tsmoke\n"
    _run("resume", "monitoring smoke")
    assert "\ton\t" in _run("list")
    _run("delete", "monitoring smoke")
    assert server.recurring == {}


def test_again_replaces_and_other_names_stay(server: FakeKfp) -> None:
    for name in ("a", "b", "c"):
        schedule.add("smoke", {}, "0 3 * * *", name=name)
    schedule.add("smoke", {"seed": "3"}, "0 4 * * *", name="c")  # on the list's second page
    found = {item["display_name"]: item for item in server.recurring.values()}
    assert len(server.recurring) == len(found) == 3
    assert found["c"]["trigger"]["cron_schedule"]["cron"] == "0 0 4 * * *"
    assert found["c"]["runtime_config"]["parameters"]["overrides"] == {"seed": "3"}
    assert [item.name for item in schedule.listed()] == ["a", "b", "c"]


def test_mistakes_are_told_before_anything_is_sent(server: FakeKfp) -> None:
    with pytest.raises(ConfigError, match="4 fields; five"):
        schedule.add("smoke", {}, "0 3 * *")
    with pytest.raises(ConfigError, match=r"training\.epochs"):
        schedule.add("smoke", {"training.epochs": "-1"}, "0 3 * * *")
    with pytest.raises(ConfigError, match=r"no schedule 'x'\. There are: none"):
        schedule.change("x", "pause")
    assert (server.recurring, server.experiments) == ({}, {})


def test_a_run_is_watched_to_its_end(server: FakeKfp) -> None:
    link = submit("smoke", {})
    lines: list[str] = []
    server.states = ["PENDING", "RUNNING", "RUNNING", "SUCCEEDED"]
    watch_run(link, lines.append, sleep=lambda _: None)
    assert [line.partition(",")[0] for line in lines] == ["PENDING", "RUNNING", "SUCCEEDED"]
    server.states = ["FAILED"]
    with pytest.raises(DeployError, match="ended as FAILED"):
        watch_run(link, lines.append, sleep=lambda _: None)


def test_parameters_come_from_a_file(server: FakeKfp, tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    path.write_text("recipe: smoke\noverrides: {training.epochs: 2, data.generate.languages: [de]}\n", encoding="utf-8")
    command = ["submit", "--params", str(path), "--set", "seed=5"]
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 0, done.output
    assert server.runs[0]["runtime_config"]["parameters"] == {
        "recipe": "smoke",
        "overrides": {"training.epochs": "2", "data.generate.languages": '["de"]', "seed": "5"},
        "shards": 1,
    }
    assert CliRunner().invoke(app, [*command, "--recipe", "smoke"]).exit_code == 2
    path.write_text("recipe: smoke\nepochs: 2\n", encoding="utf-8")
    wrong = CliRunner().invoke(app, command)
    assert wrong.exit_code == 2 and "accepted are the keys recipe and overrides" in wrong.stderr
