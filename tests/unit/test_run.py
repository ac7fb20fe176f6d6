"""Runs: what `resolve` writes is what the stages read, and no password gets into it."""

import json
from pathlib import Path

import pytest

from jobtuner.config import load_config
from jobtuner.errors import ConfigError, ContractError
from jobtuner.run import Run, home, local_tracking_uri, resolve
from jobtuner.tracking import MemoryRunStore, connect


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"memory://{tmp_path}")
    monkeypatch.delenv("MLFLOW_RUN_ID", raising=False)


def test_a_run_is_opened_and_written(tmp_path: Path) -> None:
    run = resolve("smoke", {"training.epochs": "2"}, tmp_path / "run")
    loaded = Run.load(tmp_path / "run")
    assert (loaded.tracking_uri, loaded.parent_id) == (run.tracking_uri, run.parent_id)
    expected = load_config("smoke", {"training.epochs": "2"}).to_json()
    assert run.config.to_json() == loaded.config.to_json() == expected
    assert run.tracking_uri == f"memory://{tmp_path}"
    store = connect(run.tracking_uri).store
    assert isinstance(store, MemoryRunStore)
    assert store.runs[run.parent_id].params["training.epochs"] == "2.0"


def test_an_open_run_becomes_the_parent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_RUN_ID", "opened-before")
    assert resolve("smoke", {}, tmp_path / "run").parent_id == "opened-before"
    store = connect(f"memory://{tmp_path}").store
    assert isinstance(store, MemoryRunStore)
    assert store.runs == {}


def test_a_bad_recipe_opens_no_run(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"training\.epoch: unknown key"):
        resolve("smoke", {"training.epoch": "2"}, tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("uri", ["https://anna:geheim@mlflow.example.com", "https://geheim@mlflow.example.com"])
def test_credentials_in_the_uri_are_refused_and_not_repeated(
    uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    with pytest.raises(ConfigError, match="MLFLOW_TRACKING_PASSWORD") as caught:
        resolve("smoke", {}, tmp_path / "run")
    assert "geheim" not in str(caught.value)
    assert not (tmp_path / "run").exists()


def test_without_a_uri_the_work_folder_holds_a_database(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    monkeypatch.setenv("JOBTUNER_HOME", str(tmp_path / "work"))
    assert home() == tmp_path / "work"
    assert local_tracking_uri() == f"sqlite:///{tmp_path / 'work' / 'mlflow.db'}"


@pytest.mark.parametrize("damage", ["no folder", "no json", "no parent"])
def test_a_folder_that_holds_no_run_is_refused(tmp_path: Path, damage: str) -> None:
    folder = tmp_path / "run"
    if damage != "no folder":
        resolve("smoke", {}, folder)
        text = "{" if damage == "no json" else json.dumps({"tracking_uri": "memory://"})
        (folder / "run.json").write_text(text, encoding="utf-8")
    with pytest.raises(ContractError, match="holds no run"):
        Run.load(folder)


def test_a_config_that_was_edited_badly_is_refused(tmp_path: Path) -> None:
    resolve("smoke", {}, tmp_path / "run")
    (tmp_path / "run" / "config.json").write_text('{"name": "x", "sed": 1}', encoding="utf-8")
    with pytest.raises(ConfigError, match="sed"):
        Run.load(tmp_path / "run")
