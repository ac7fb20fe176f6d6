"""Pushing to the Hub: what is packed, what is refused, and what arrives."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from jobtuner.cli import app
from jobtuner.errors import ConfigError, ContractError, ModelError, StorageError
from jobtuner.export.hub import pack, push
from tests.unit import contract_samples as samples
from tests.unit.export.fake_hub import TOKEN, FakeHub

REPOSITORY = "me/jobs"


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    with FakeHub() as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        # Xet is another protocol with servers of its own; without it the library falls back to the one spoken here.
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_XET", True)
        yield hub


def a_run(folder: Path, *, standin: bool = False, **trained: Any) -> Path:
    samples.prepared(folder / "prepare")
    samples.trained(folder / "train", standin=standin, **trained)
    samples.report(folder / "evaluate")
    samples.exported(folder / "export")
    samples.version(folder / "register")
    settings = {"base_model_name_or_path": "/home/somebody/base", "r": 16}
    (folder / "train" / "adapter" / "adapter_config.json").write_text(json.dumps(settings), encoding="utf-8")
    (folder / "train" / "adapter" / "README.md").write_text("PEFT's own card", encoding="utf-8")
    (folder / "register" / "model_card.md").write_text("# jobtuner-occupation\n\nWhat it is for.\n", encoding="utf-8")
    model = folder / "export" / "model"
    model.mkdir()
    for name in ("config.json", "inference.json", "tokenizer.json", "model.safetensors"):
        (model / name).write_text(f"content of {name}", encoding="utf-8")
    return folder


def metadata(readme: bytes) -> dict[str, Any]:
    return dict(yaml.safe_load(readme.decode().split("---\n")[1]))


def test_the_merged_model_arrives_with_its_card_in_one_commit(hub: FakeHub, tmp_path: Path) -> None:
    address = push(pack(a_run(tmp_path)), REPOSITORY, private=True)
    assert address.startswith(hub.url)
    repository = hub.repositories[REPOSITORY]
    assert repository["private"] is True
    assert repository["commits"] == 1
    files = repository["files"]
    assert set(files) == {"README.md", "config.json", "inference.json", "tokenizer.json", "model.safetensors"}
    assert files["model.safetensors"] == b"content of model.safetensors"
    assert files["README.md"].decode().endswith("---\n\n# jobtuner-occupation\n\nWhat it is for.\n")
    told = metadata(files["README.md"])
    assert told["license"] == "apache-2.0"
    assert told["base_model"] == "Qwen/Qwen2.5-7B-Instruct"
    assert told["base_model_relation"] == "finetune"
    assert told["language"] == ["da", "en"]
    assert told["library_name"] == "transformers"
    metrics = {item["type"]: item["value"] for item in told["model-index"][0]["results"][0]["metrics"]}
    assert metrics == {"accuracy": 0.9, "macro_f1": 0.8}


def test_a_second_push_is_a_second_commit_of_the_same(hub: FakeHub, tmp_path: Path) -> None:
    parcel = pack(a_run(tmp_path))
    push(parcel, REPOSITORY, private=False)
    push(parcel, REPOSITORY, private=True)
    assert hub.repositories[REPOSITORY]["commits"] == 2
    assert hub.repositories[REPOSITORY]["private"] is False  # an existing repository stays as it is


def test_the_adapter_names_its_base_and_no_path_of_this_machine(hub: FakeHub, tmp_path: Path) -> None:
    push(pack(a_run(tmp_path), adapter=True), REPOSITORY, private=False)
    files = hub.repositories[REPOSITORY]["files"]
    assert set(files) == {
        *("README.md", "adapter_config.json", "adapter_model.safetensors", "tokenizer.json", "inference.json"),
    }
    settings = json.loads(files["adapter_config.json"])
    assert settings == {"base_model_name_or_path": "Qwen/Qwen2.5-7B-Instruct", "revision": None, "r": 16}
    told = metadata(files["README.md"])
    assert (told["library_name"], told["base_model_relation"]) == ("peft", "adapter")
    assert b"PEFT's own" not in files["README.md"]


def test_the_exported_folder_names_its_run(tmp_path: Path) -> None:
    run = a_run(tmp_path)
    assert set(pack(run / "export" / "model").files) == set(pack(run).files)


@pytest.mark.parametrize(
    ("base", "licence", "name"),
    [
        ("Qwen/Qwen2.5-0.5B", "apache-2.0", None),
        ("Qwen/Qwen2.5-3B-Instruct", "other", "qwen-research"),
        ("Qwen/Qwen2.5-72B", "other", "qwen"),
        ("somebody/else", "other", "see-the-model-card"),
    ],
)
def test_the_licence_is_the_bases(tmp_path: Path, base: str, licence: str, name: str | None) -> None:
    readme = pack(a_run(tmp_path, base=base)).files["README.md"]
    assert isinstance(readme, bytes)
    told = metadata(readme)
    assert (told["license"], told.get("license_name")) == (licence, name)


def test_a_standin_is_refused_unless_forced(hub: FakeHub, tmp_path: Path) -> None:
    parcel = pack(a_run(tmp_path, standin=True))
    with pytest.raises(ConfigError, match="--force-standin"):
        push(parcel, REPOSITORY, private=False)
    assert hub.repositories == {}
    push(parcel, REPOSITORY, private=False, force_standin=True)
    assert "base_model" not in metadata(hub.repositories[REPOSITORY]["files"]["README.md"])
    with pytest.raises(ModelError, match="merged"):
        pack(tmp_path, adapter=True)


def test_what_is_neither_weights_nor_settings_is_not_published(tmp_path: Path) -> None:
    run = a_run(tmp_path)
    (run / "export" / "model" / "optimizer.pt").write_bytes(b"pickle")
    with pytest.raises(ModelError, match=r"optimizer\.pt"):
        pack(run)


def test_a_run_without_card_or_stages_is_refused(tmp_path: Path) -> None:
    run = a_run(tmp_path / "run")
    (run / "register" / "model_card.md").unlink()
    with pytest.raises(ModelError, match="no model card"):
        pack(run)
    with pytest.raises(ContractError):
        pack(tmp_path / "nothing")


@pytest.mark.parametrize("name", ["jobs", "me/", "me/jobs/x", "me/../x", "me/jö"])
def test_a_name_that_is_no_repositorys_is_refused(hub: FakeHub, tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match="OWNER/NAME"):
        push(pack(a_run(tmp_path)), name, private=False)


def test_refusals_are_told_and_hold_no_token(hub: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parcel = pack(a_run(tmp_path))
    hub.read_only = True
    with pytest.raises(StorageError, match=r"refused \(403\).*write access") as refused:
        push(parcel, REPOSITORY, private=False)
    monkeypatch.setenv("HF_TOKEN", "hf_wrong")
    with pytest.raises(StorageError, match=r"refused \(401\)") as unknown:
        push(parcel, REPOSITORY, private=False)
    assert TOKEN not in str(refused.value)
    assert "hf_wrong" not in str(unknown.value)
    monkeypatch.delenv("HF_TOKEN")
    with pytest.raises(ConfigError, match="HF_TOKEN is not set"):
        push(parcel, REPOSITORY, private=False)


def test_a_hub_that_is_not_there_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    with pytest.raises(StorageError, match="cannot be used"):
        push(pack(a_run(tmp_path)), REPOSITORY, private=False)


def test_a_dry_run_shows_files_and_metadata_and_asks_nobody(hub: FakeHub, tmp_path: Path) -> None:
    run = a_run(tmp_path, standin=True)
    shown = CliRunner().invoke(app, ["push", str(run), REPOSITORY, "--dry-run"])
    assert shown.exit_code == 0, shown.output
    for word in ("license: other", "model.safetensors", "README.md"):
        assert word in shown.output
    assert hub.repositories == {}
    done = CliRunner().invoke(app, ["push", str(run), REPOSITORY, "--force-standin", "--private"])
    assert done.exit_code == 0, done.output
    assert hub.repositories[REPOSITORY]["private"] is True
