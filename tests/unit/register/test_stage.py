"""The register stage: what ends up in the registry, whatever happens on the way."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from jobtuner.config import Config, load_config
from jobtuner.contracts import ModelVersion
from jobtuner.errors import ContractError
from jobtuner.register.registry import (
    CHAMPION,
    Candidate,
    MemoryRegistry,
    MlflowRegistry,
    RegisteredModel,
    Registry,
    open_registry,
)
from jobtuner.register.stage import register, run
from jobtuner.tracking_mlflow import client, experiment_id
from tests.unit import contract_samples as samples
from tests.unit.mlflow_template import fresh_tracker

SETTINGS = {"gate.metric": "macro_f1", "gate.min_gain": "0.0", "gate.max_language_loss": "0.05"}
CONFIG = load_config("smoke", SETTINGS)
NAME = CONFIG.register_.model_name
WORSE = samples.metrics(0.5, 0.4, da=(30, 0.5), en=(50, 0.5))
BEST = samples.metrics(0.99, 0.99, da=(30, 0.99), en=(50, 0.99))


def inputs(
    folder: Path,
    fingerprint: str = "a" * 64,
    model: dict[str, Any] | None = None,
    data: str = "d" * 64,
    standin: bool = True,
) -> dict[str, Path]:
    folder = folder / fingerprint[:8]
    return {
        "prepare": samples.prepared(folder / "prepare", data).folder,
        "train": samples.trained(folder / "train", fingerprint, standin).folder,
        "evaluate": samples.report(folder / "evaluate", model, fingerprint, data).folder,
    }


def register_into(registry: Registry, folders: Mapping[str, Path], out: Path, config: Config = CONFIG) -> ModelVersion:
    out.mkdir(exist_ok=True)
    return register(config, folders, out, registry, "memory://")


@pytest.fixture
def registry() -> MemoryRegistry:
    return MemoryRegistry()


def test_a_better_model_becomes_champion(registry: MemoryRegistry, tmp_path: Path) -> None:
    version = register_into(registry, inputs(tmp_path), tmp_path / "out")
    assert (version.name, version.version, version.promoted) == (NAME, "1", True)
    assert version.aliases == ["challenger", "champion"]
    assert version.model_fingerprint == "a" * 64
    assert version == ModelVersion.load(tmp_path / "out")
    decision = json.loads((tmp_path / "out" / "decision.json").read_text(encoding="utf-8"))
    assert decision["promoted"] is True
    assert [item["sentence"] for item in decision["comparisons"]] == version.reasons
    (kept,) = registry.versions[NAME]
    assert kept.metrics == {"accuracy": 0.9, "macro_f1": 0.8, "examples": 80}
    assert kept.data_fingerprint == "d" * 64


def test_a_worse_model_is_registered_and_not_promoted(registry: MemoryRegistry, tmp_path: Path) -> None:
    version = register_into(registry, inputs(tmp_path, model=WORSE), tmp_path / "out")
    assert (version.promoted, version.aliases) == (False, ["challenger"])
    assert registry.champion(NAME) is None


@pytest.mark.parametrize(
    ("model", "data", "champion"),
    [(BEST, "d" * 64, "2"), (None, "d" * 64, "1"), (WORSE, "d" * 64, "1"), (BEST, "c" * 64, "1")],
    ids=["better", "equal", "worse", "better on other data"],
)
def test_a_champion_gives_way_to_a_better_model_only(
    registry: MemoryRegistry, tmp_path: Path, model: dict[str, Any] | None, data: str, champion: str
) -> None:
    register_into(registry, inputs(tmp_path), tmp_path / "first")
    version = register_into(registry, inputs(tmp_path, "b" * 64, model, data), tmp_path / "second")
    assert version.version == "2"
    assert version.promoted is (champion == "2")
    known = registry.champion(NAME)
    assert known is not None
    assert known.version == champion


def test_a_champion_measured_on_fewer_examples_of_the_same_data_is_not_comparable(
    registry: MemoryRegistry, tmp_path: Path
) -> None:
    register_into(registry, inputs(tmp_path), tmp_path / "first")
    kept = registry.versions[NAME][0]
    registry.versions[NAME][0] = Candidate("a" * 64, "d" * 64, kept.files, {**kept.metrics, "examples": 8}, None)
    version = register_into(registry, inputs(tmp_path, "b" * 64, BEST), tmp_path / "second")
    assert not version.promoted
    assert "not measured on this test data" in " ".join(version.reasons)


def test_the_gate_of_the_recipe_decides(registry: MemoryRegistry, tmp_path: Path) -> None:
    strict = load_config("smoke", {**SETTINGS, "gate.min_gain": "0.3"})
    assert not register_into(registry, inputs(tmp_path), tmp_path / "out", strict).promoted


def test_running_again_changes_nothing(registry: MemoryRegistry, tmp_path: Path) -> None:
    first = register_into(registry, inputs(tmp_path), tmp_path / "first")
    second = register_into(registry, inputs(tmp_path), tmp_path / "second")
    assert first == second
    assert len(registry.versions[NAME]) == 1
    for name in ("decision.json", "model_card.md"):
        assert (tmp_path / "first" / name).read_bytes() == (tmp_path / "second" / name).read_bytes()


@pytest.mark.parametrize("standin", [True, False])
def test_the_version_is_complete(registry: MemoryRegistry, tmp_path: Path, standin: bool) -> None:
    register_into(registry, inputs(tmp_path, standin=standin), tmp_path / "out")
    adapter = {"adapter/adapter_config.json", "adapter/adapter_model.safetensors"}
    base = {"base/config.json", "base/model.safetensors"} if standin else set()
    assert set(registry.versions[NAME][0].files) == {
        *adapter,
        *base,
        "tokenizer/tokenizer.json",
        "inference.json",
        "contract.json",
        "model_card.md",
    }


def test_a_report_about_another_model_is_refused(registry: MemoryRegistry, tmp_path: Path) -> None:
    folders = {**inputs(tmp_path), "evaluate": samples.report(tmp_path / "other", model_fingerprint="0" * 64).folder}
    with pytest.raises(ContractError, match="is about the model 0000"):
        register_into(registry, folders, tmp_path / "out")
    assert not registry.versions
    assert not (tmp_path / "out" / "contract.json").exists()


def test_a_report_on_other_data_is_refused(registry: MemoryRegistry, tmp_path: Path) -> None:
    folders = {**inputs(tmp_path), "prepare": samples.prepared(tmp_path / "other", "0" * 64).folder}
    with pytest.raises(ContractError, match="was made on the data dddd"):
        register_into(registry, folders, tmp_path / "out")
    assert not registry.versions


def test_pickled_weights_are_refused_before_anything_is_written(registry: MemoryRegistry, tmp_path: Path) -> None:
    folders = inputs(tmp_path)
    (folders["train"] / "adapter" / "training_args.bin").write_text("x", encoding="utf-8")
    with pytest.raises(ContractError, match=r"training_args\.bin"):
        register_into(registry, folders, tmp_path / "out")
    assert not registry.versions


def test_the_environment_names_the_registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    uri = f"memory://{tmp_path}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    (tmp_path / "out").mkdir()
    version = run(CONFIG, inputs(tmp_path), tmp_path / "out")
    assert version.tracking_uri == uri
    assert open_registry(uri, "jobtuner").champion(NAME) is not None


class Killed(BaseException):
    """Stands for a kill: nothing but the test catches it."""


class Countdown:
    """Raises `Killed` after so many writes."""

    def __init__(self, writes: int) -> None:
        self.left = writes

    def wrote(self) -> None:
        self.left -= 1
        if self.left == 0:
            raise Killed


class KillingClient:
    """An MLflow client that works, and dies after so many writes."""

    def __init__(self, real: Any, countdown: Countdown) -> None:
        self._real, self._countdown = real, countdown

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._real, name)
        if name.startswith(("search_", "get_")):
            return method

        def write(*args: Any, **kwargs: Any) -> Any:
            result = method(*args, **kwargs)
            self._countdown.wrote()
            return result

        return write


class KillingRegistry:
    """The registry in memory, which dies after so many writes."""

    def __init__(self, real: MemoryRegistry, countdown: Countdown) -> None:
        self._real, self._countdown = real, countdown

    def register(self, name: str, candidate: Candidate) -> str:
        version = self._real.register(name, candidate)
        self._countdown.wrote()
        return version

    def set_alias(self, name: str, alias: str, version: str) -> None:
        self._real.set_alias(name, alias, version)
        self._countdown.wrote()

    def champion(self, name: str) -> RegisteredModel | None:
        return self._real.champion(name)

    def aliases(self, name: str, version: str) -> list[str]:
        return self._real.aliases(name, version)


def _killed_and_repeated(
    dying: Registry, sound: Registry, folders: Mapping[str, Path], out: Path, config: Config
) -> bool:
    """Run, die, run again; False once there are no more writes to die after."""
    try:
        register_into(dying, folders, out, config)
    except Killed:
        assert not (out / "contract.json").exists()
        version = register_into(sound, folders, out, config)
        assert (version.version, version.promoted, version.aliases) == ("1", True, ["challenger", "champion"])
        return True
    return False


def test_a_kill_between_any_two_writes_in_memory(tmp_path: Path) -> None:
    folders, writes = inputs(tmp_path), 1
    while True:
        real = MemoryRegistry()
        dying = KillingRegistry(real, Countdown(writes))
        if not _killed_and_repeated(dying, real, folders, tmp_path / f"out{writes}", CONFIG):
            break
        assert len(real.versions[NAME]) == 1
        writes += 1
    assert writes - 1 == 3  # the version, two aliases


def test_a_kill_between_any_two_writes_in_mlflow(tmp_path: Path) -> None:
    uri, folders, writes = fresh_tracker(tmp_path), inputs(tmp_path), 1
    real = client(uri)
    while True:
        name = f"model-{writes}"
        config = load_config("smoke", {**SETTINGS, "register.model_name": name})
        dying = MlflowRegistry(uri, "jobtuner", KillingClient(real, Countdown(writes)))  # type: ignore[arg-type]
        if not _killed_and_repeated(dying, MlflowRegistry(uri, "jobtuner"), folders, tmp_path / f"out{writes}", config):
            break
        (version,) = real.search_model_versions(f"name = '{name}'")
        (model,) = real.search_logged_models([experiment_id(uri, "jobtuner")], f"name = '{name}'")
        assert model.status == "READY"
        assert version.source == model.artifact_location
        root = Path(model.artifact_location)
        kept = {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()}
        assert {"adapter/adapter_model.safetensors", "base/model.safetensors", "contract.json", "model_card.md"} <= kept
        assert len(kept) == 8
        writes += 1
    assert writes - 1 == 14  # logged model, 8 files, ready, name, version, two aliases


def test_the_champion_of_before_is_replaced_after_a_kill_too(tmp_path: Path) -> None:
    for writes in (1, 2, 3):
        real = MemoryRegistry()
        register_into(real, inputs(tmp_path), tmp_path / f"before{writes}")
        folders = inputs(tmp_path, "b" * 64, BEST)
        with pytest.raises(Killed):
            register_into(KillingRegistry(real, Countdown(writes)), folders, tmp_path / f"killed{writes}")
        version = register_into(real, folders, tmp_path / f"after{writes}")
        assert (version.version, version.promoted) == ("2", True)
        assert real.pointers[NAME, CHAMPION] == "2"
        assert len(real.versions[NAME]) == 2
