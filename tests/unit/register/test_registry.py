"""The registry: MLflow and its twin give the same answers, and one model has one version."""

import json
import threading
from pathlib import Path

import pytest

from jobtuner.errors import ContractError, TrackingError
from jobtuner.register.registry import (
    CHALLENGER,
    CHAMPION,
    REPLACES,
    Candidate,
    RegisteredModel,
    Registry,
    champion_of,
    open_registry,
    published_files,
)
from jobtuner.register.registry_memory import MemoryRegistry
from jobtuner.register.registry_mlflow import MlflowRegistry
from jobtuner.tracking_mlflow import client
from tests.unit.mlflow_template import fresh_tracker

NAME = "jobtuner-occupation"


@pytest.fixture(params=["memory", "mlflow"])
def registry(request: pytest.FixtureRequest, tmp_path: Path) -> Registry:
    uri = f"memory://{tmp_path}" if request.param == "memory" else fresh_tracker(tmp_path)
    return open_registry(uri, "jobtuner")


def candidate(folder: Path, fingerprint: str = "a1", accuracy: float = 0.9, data: str = "d1") -> Candidate:
    files = {name: folder / fingerprint / name for name in ("adapter/a.json", "inference.json", "answers.json")}
    for name, path in files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(data if name == "answers.json" else fingerprint, encoding="utf-8")
    return Candidate(fingerprint, data, files, {"accuracy": accuracy}, 1.5, None, frozenset({"answers.json"}))


def champion(registry: Registry, name: str = NAME) -> RegisteredModel | None:
    return champion_of(registry.versions(name))


def test_versions_count_up_and_one_model_has_one(registry: Registry, tmp_path: Path) -> None:
    assert registry.register(NAME, candidate(tmp_path, "a1")) == "1"
    assert registry.register(NAME, candidate(tmp_path, "a2")) == "2"
    assert registry.register(NAME, candidate(tmp_path, "a1")) == "1"
    assert registry.register("another", candidate(tmp_path, "a1")) == "1"


def test_no_champion_before_one_is_named(registry: Registry, tmp_path: Path) -> None:
    assert champion(registry) is None
    registry.register(NAME, candidate(tmp_path))
    assert champion(registry) is None


def test_aliases_move(registry: Registry, tmp_path: Path) -> None:
    for fingerprint in ("a1", "a2"):
        version = registry.register(NAME, candidate(tmp_path, fingerprint))
        registry.set_alias(NAME, CHALLENGER, version)
        registry.set_alias(NAME, CHAMPION, version)
    first, second = registry.versions(NAME)
    assert first.aliases == []
    assert second == RegisteredModel("2", "a2", "d1", {"accuracy": 0.9}, 1.5, [CHALLENGER, CHAMPION], {})
    assert champion(registry) == second


def test_marks_stay_with_their_version(registry: Registry, tmp_path: Path) -> None:
    for fingerprint in ("a1", "a2"):
        registry.register(NAME, candidate(tmp_path, fingerprint))
    registry.mark(NAME, "2", REPLACES, "1")
    assert [item.marks for item in registry.versions(NAME)] == [{}, {REPLACES: "1"}]
    registry.mark(NAME, "2", REPLACES, "")
    assert [item.marks.get(REPLACES, "") for item in registry.versions(NAME)] == ["", ""]
    with pytest.raises(TrackingError):
        registry.mark(NAME, "3", REPLACES, "1")


def test_names_and_versions(registry: Registry, tmp_path: Path) -> None:
    assert (registry.names(), registry.versions("nobody"), registry.versions("outputs/runs")) == ([], [], [])
    for name in ("b", "a"):
        registry.register(name, candidate(tmp_path))
    assert registry.names() == ["a", "b"]
    for number in range(2, 12):
        registry.register("a", candidate(tmp_path, f"a{number}"))
    assert [item.version for item in registry.versions("a")] == [str(number) for number in range(1, 12)]


def test_files_are_fetched(registry: Registry, tmp_path: Path) -> None:
    registry.register(NAME, candidate(tmp_path))
    one = registry.fetch(NAME, "1", "answers.json", tmp_path / "one")
    assert one.read_text(encoding="utf-8") == "d1"
    everything = registry.fetch(NAME, "1", "", tmp_path / "all")
    assert (everything / "adapter" / "a.json").read_text(encoding="utf-8") == "a1"
    with pytest.raises(TrackingError):
        registry.fetch(NAME, "1", "nothing.json", tmp_path / "none")
    with pytest.raises(TrackingError):
        registry.fetch(NAME, "7", "answers.json", tmp_path / "none")


def test_a_model_that_is_measured_anew_keeps_its_version_and_gets_the_new_metrics(
    registry: Registry, tmp_path: Path
) -> None:
    registry.set_alias(NAME, CHAMPION, registry.register(NAME, candidate(tmp_path, accuracy=0.9, data="d1")))
    assert registry.register(NAME, candidate(tmp_path, accuracy=0.7, data="d2")) == "1"
    assert champion(registry) == RegisteredModel("1", "a1", "d2", {"accuracy": 0.7}, 1.5, [CHAMPION], {})
    kept = registry.fetch(NAME, "1", "answers.json", tmp_path / "fetched")
    assert kept.read_text(encoding="utf-8") == "d2"


def test_an_alias_needs_a_version(registry: Registry, tmp_path: Path) -> None:
    registry.register(NAME, candidate(tmp_path))
    with pytest.raises(TrackingError):
        registry.set_alias(NAME, CHAMPION, "2")


def test_one_name_in_memory_is_one_registry() -> None:
    assert open_registry("memory://one", "x") is open_registry("memory://one", "x")
    assert open_registry("memory://one", "x") is not open_registry("memory://two", "x")


def test_the_files_of_a_version_can_be_found_by_its_alias(tmp_path: Path) -> None:
    uri = fresh_tracker(tmp_path)
    registry = MlflowRegistry(uri, "jobtuner")
    registry.set_alias(NAME, CHAMPION, registry.register(NAME, candidate(tmp_path)))
    found = client(uri).get_model_version_by_alias(NAME, CHAMPION)
    root = Path(client(uri).get_model_version_download_uri(NAME, found.version))
    files = {
        str(path.relative_to(root)): path.read_text(encoding="utf-8") for path in root.rglob("*") if path.is_file()
    }
    assert "signature" in files.pop("MLmodel")
    assert files == {"adapter/a.json": "a1", "inference.json": "a1", "answers.json": "d1"}
    evaluation = json.loads(found.tags["evaluation"])
    assert len(evaluation.pop("files")) == 64
    assert evaluation == {"data_fingerprint": "d1", "metrics": {"accuracy": 0.9}, "temperature": 1.5}


def test_a_version_has_a_signature_and_nothing_that_loads_code(tmp_path: Path) -> None:
    from mlflow.models import Model

    registry = MlflowRegistry(fresh_tracker(tmp_path), "jobtuner")
    registry.register(NAME, candidate(tmp_path))
    model = Model.load(str(registry.fetch(NAME, "1", "MLmodel", tmp_path / "fetched")))
    assert model.signature is not None
    assert [(item.name, item.required) for item in model.signature.inputs] == [("text", True), ("language", False)]
    assert model.signature.outputs.input_names() == ["code", "probability"]
    assert list(model.flavors) == ["jobtuner"]


def test_a_champion_that_was_made_by_hand_has_no_metrics(tmp_path: Path) -> None:
    uri = fresh_tracker(tmp_path)
    client(uri).create_registered_model(NAME)
    version = client(uri).create_model_version(NAME, str(tmp_path / "somewhere"))
    client(uri).set_registered_model_alias(NAME, CHAMPION, version.version)
    assert champion(open_registry(uri, "jobtuner")) == RegisteredModel("1", "", "", {}, None, [CHAMPION], {})


def test_runs_that_register_one_model_at_once_make_one_version(tmp_path: Path) -> None:
    uri = fresh_tracker(tmp_path)
    start, versions = threading.Barrier(4), list[str]()

    def work() -> None:
        registry = open_registry(uri, "jobtuner")
        start.wait()
        versions.append(registry.register(NAME, candidate(tmp_path)))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert versions == ["1"] * 4
    assert len(client(uri).search_model_versions(f"name = '{NAME}'")) == 1


def test_a_registry_that_does_not_answer_is_a_tracking_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    registry = open_registry("http://127.0.0.1:1", "jobtuner")  # nothing listens on port 1
    for call in (
        registry.names,
        lambda: registry.versions(NAME),
        lambda: registry.register(NAME, candidate(tmp_path)),
        lambda: registry.set_alias(NAME, CHAMPION, "1"),
        lambda: registry.mark(NAME, "1", REPLACES, "2"),
        lambda: registry.fetch(NAME, "1", "answers.json", tmp_path / "fetched"),
    ):
        with pytest.raises(TrackingError, match=r"http://127\.0\.0\.1:1 failed"):
            call()


def test_the_twin_is_a_registry() -> None:
    twin: Registry = MemoryRegistry()
    assert twin.versions("nothing") == []


def test_files_are_found_with_their_places(tmp_path: Path) -> None:
    names = ["adapter/a.safetensors", "adapter/deep/b.json", "card.md"]
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("x", encoding="utf-8")
    found = published_files(tmp_path / "adapter", tmp_path / "card.md")
    assert found == {name: tmp_path / name for name in names}


@pytest.mark.parametrize("name", ["training_args.bin", "a.pkl", "deep/a.PT", "a.pth", "a.pickle", "a.ckpt", "model.py"])
def test_files_that_can_run_code_are_refused(tmp_path: Path, name: str) -> None:
    path = tmp_path / "adapter" / name
    path.parent.mkdir(parents=True)
    path.write_text("x", encoding="utf-8")
    (tmp_path / "adapter" / "a.safetensors").write_text("x", encoding="utf-8")
    with pytest.raises(ContractError, match=f"adapter/{name} cannot be registered"):
        published_files(tmp_path / "adapter")


@pytest.mark.parametrize("make", [lambda path: None, Path.mkdir], ids=["missing", "empty"])
def test_a_model_without_its_files_is_refused(tmp_path: Path, make: object) -> None:
    assert callable(make)
    make(tmp_path / "adapter")
    with pytest.raises(ContractError, match="missing or empty"):
        published_files(tmp_path / "adapter")
