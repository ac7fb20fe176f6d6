"""The register stage: what ends up in the registry, whatever happens on the way."""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from jobtuner.config import Config, load_config
from jobtuner.contracts import Contract, ModelVersion, TrainedModel
from jobtuner.errors import ContractError, ModelError, TrackingError
from jobtuner.register.answers import Answers
from jobtuner.register.promotion import roll_back
from jobtuner.register.registry import CHAMPION, RegisteredModel, champion_of, open_registry
from jobtuner.register.registry_memory import MemoryRegistry
from jobtuner.register.stage import register, run
from jobtuner.taxonomy import Taxonomy
from tests.unit import contract_samples
from tests.unit.register import samples
from tests.unit.register.samples import BETTER, CODES, GOOD, POOR, answers, inputs

SETTINGS = {"gate.metric": "macro_f1", "gate.min_gain": "0.0", "gate.max_language_loss": "0.05"}
CONFIG = load_config("smoke", SETTINGS)
NAME = CONFIG.register_.model_name
OTHER_DATA = "c" * 64


class TableModel:
    """A champion with given answers, asked by text; and a record of who asked for it."""

    labels = CODES

    def __init__(self, every: int, confidence: float = 0.95) -> None:
        texts = [row.text for row in samples.test_split()]
        self._answers = dict(zip(texts, (row.predicted for row in answers(every)), strict=True))
        self._confidence, self.loaded = confidence, list[TrainedModel]()

    def __call__(self, trained: TrainedModel, taxonomy: Taxonomy, batch_size: int) -> "TableModel":
        assert (trained.folder / "adapter" / "adapter_model.safetensors").is_file()
        self.loaded.append(trained)
        return self

    def log_probabilities(self, texts: Sequence[str]) -> NDArray[np.float32]:
        scores = np.full((len(texts), len(CODES)), (1 - self._confidence) / (len(CODES) - 1), dtype=np.float32)
        for row, text in enumerate(texts):
            scores[row, CODES.index(self._answers[text])] = self._confidence
        return np.log(scores)


def no_model(*_: object) -> Any:
    raise AssertionError("the champion was loaded, though its answers are stored")


def broken_model(*_: object) -> Any:
    raise ModelError("The base model 'base' cannot be loaded: it is gone.")


def register_into(
    registry: Any, folders: Mapping[str, Path], out: Path, config: Config = CONFIG, load: Any = no_model
) -> ModelVersion:
    out.mkdir(exist_ok=True)
    return register(config, folders, out, registry, "memory://", load)


def champion(registry: Any) -> RegisteredModel | None:
    return champion_of(registry.versions(NAME))


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
    assert decision["settings"]["min_gain"] == 0.0
    assert [item["sentence"] for item in decision["comparisons"]] == version.reasons
    (kept,) = registry.candidates[NAME]
    assert kept.metrics["accuracy"] == pytest.approx(220 / 240)
    assert kept.metrics["examples"] == 240
    assert (kept.data_fingerprint, kept.temperature) == ("d" * 64, 1.25)


def test_a_worse_model_is_registered_and_not_promoted(registry: MemoryRegistry, tmp_path: Path) -> None:
    version = register_into(registry, inputs(tmp_path, model=answers(POOR), baseline=answers(GOOD)), tmp_path / "out")
    assert (version.promoted, version.aliases) == (False, ["challenger"])
    assert champion(registry) is None


@pytest.mark.parametrize(
    ("every", "expected"), [(BETTER, "2"), (GOOD, "1"), (POOR + 1, "1")], ids=["better", "equal", "worse"]
)
def test_a_champion_gives_way_to_a_better_model_only(
    registry: MemoryRegistry, tmp_path: Path, every: int, expected: str
) -> None:
    register_into(registry, inputs(tmp_path), tmp_path / "first")
    version = register_into(registry, inputs(tmp_path, "b" * 64, answers(every)), tmp_path / "second")
    assert version.version == "2"
    assert version.promoted is (expected == "2")
    known = champion(registry)
    assert known is not None
    assert known.version == expected
    assert known.marks.get("replaces", "") == ("1" if expected == "2" else "")


def test_a_model_compared_with_itself_never_wins(registry: MemoryRegistry, tmp_path: Path) -> None:
    """The same weights under another fingerprint: every number is equal, to the last answer."""
    register_into(registry, inputs(tmp_path), tmp_path / "first")
    for number, settings in enumerate(({}, {"gate.non_inferiority_margin": "0.5"}, {"gate.metric": "accuracy"})):
        config = load_config("smoke", {**SETTINGS, **settings})
        twin = inputs(tmp_path / str(number), str(number) * 64)
        version = register_into(registry, twin, tmp_path / f"twin{number}", config)
        assert not version.promoted
        (reason,) = [item for item in version.reasons if "champion" in item and "gain" in item]
        assert "gain +0.0000 [+0.0000, +0.0000]" in reason
    known = champion(registry)
    assert known is not None
    assert known.version == "1"


def test_a_smaller_model_that_is_as_good_wins_where_the_recipe_says_so(
    registry: MemoryRegistry, tmp_path: Path
) -> None:
    register_into(registry, inputs(tmp_path), tmp_path / "first")
    smaller = inputs(tmp_path, "b" * 64, parameters=500)
    assert not register_into(registry, smaller, tmp_path / "strict").promoted
    config = load_config("smoke", {**SETTINGS, "gate.non_inferiority_margin": "0.01"})
    assert register_into(registry, smaller, tmp_path / "lenient", config).promoted


def test_stored_answers_of_the_champion_are_used_for_the_same_data(registry: MemoryRegistry, tmp_path: Path) -> None:
    register_into(registry, inputs(tmp_path), tmp_path / "first")
    register_into(registry, inputs(tmp_path, "b" * 64, answers(BETTER)), tmp_path / "second", load=no_model)
    stored = Answers.load(tmp_path / "second" / "champion_answers.json")
    assert stored == samples.as_answers(answers(GOOD))


@pytest.mark.parametrize(("every", "promoted"), [(BETTER, True), (GOOD, False), (POOR + 1, False)])
def test_a_champion_of_other_data_is_asked_anew(
    registry: MemoryRegistry, tmp_path: Path, every: int, promoted: bool
) -> None:
    register_into(registry, inputs(tmp_path, data=OTHER_DATA), tmp_path / "first")
    model = TableModel(GOOD)
    version = register_into(registry, inputs(tmp_path, "b" * 64, answers(every)), tmp_path / "second", load=model)
    assert version.promoted is promoted
    (trained,) = model.loaded
    assert trained.fingerprint == "a" * 64
    asked = Answers.load(tmp_path / "second" / "champion_answers.json")
    expected = samples.as_answers(answers(GOOD))
    assert [row.predicted for row in asked.rows.values()] == [row.predicted for row in expected.rows.values()]
    # The champion's own temperature, 1.25, makes its 0.95 less sure: 0.95^0.8 / (0.95^0.8 + 3 (0.05 / 3)^0.8).
    assert {row.probability for row in asked.rows.values()} == {0.894337}
    (reason,) = [item for item in version.reasons if "that would favour the champion" in item]
    assert "champion" in reason


def test_a_champion_measured_on_fewer_examples_of_the_same_data_is_asked_anew(
    registry: MemoryRegistry, tmp_path: Path
) -> None:
    register_into(registry, inputs(tmp_path, model=answers(GOOD, 120), baseline=answers(POOR, 120)), tmp_path / "first")
    model = TableModel(GOOD)
    folders = inputs(tmp_path, "b" * 64, answers(BETTER))
    assert register_into(registry, folders, tmp_path / "second", load=model).promoted
    assert len(model.loaded) == 1


def test_stored_answers_that_were_cut_are_asked_anew(registry: MemoryRegistry, tmp_path: Path) -> None:
    register_into(registry, inputs(tmp_path), tmp_path / "first")
    kept = registry.candidates[NAME][0].files["answers.json"]
    kept.write_text(kept.read_text(encoding="utf-8")[:200], encoding="utf-8")
    model = TableModel(GOOD)
    register_into(registry, inputs(tmp_path, "b" * 64, answers(BETTER)), tmp_path / "second", load=model)
    assert len(model.loaded) == 1


def test_a_champion_that_cannot_be_measured_stays_unless_the_recipe_says_otherwise(
    registry: MemoryRegistry, tmp_path: Path
) -> None:
    register_into(registry, inputs(tmp_path, data=OTHER_DATA), tmp_path / "first")
    folders = inputs(tmp_path, "b" * 64, answers(BETTER))
    version = register_into(registry, folders, tmp_path / "second", load=broken_model)
    assert not version.promoted
    assert not (tmp_path / "second" / "champion_answers.json").exists()
    (reason,) = [item for item in version.reasons if "could not be measured" in item]
    assert "The base model 'base' cannot be loaded: it is gone." in reason
    assert "jobtuner rollback" in reason
    override = load_config("smoke", {**SETTINGS, "gate.ignore_unmeasurable_champion": "true"})
    version = register_into(registry, folders, tmp_path / "third", override, broken_model)
    assert version.promoted
    decision = json.loads((tmp_path / "third" / "decision.json").read_text(encoding="utf-8"))
    assert decision["settings"]["ignore_unmeasurable_champion"] is True
    assert decision["champion_version"] == "1"


@pytest.mark.parametrize("missing", ["weights", "taxonomy"])
def test_why_a_champion_cannot_be_measured_is_said(registry: MemoryRegistry, tmp_path: Path, missing: str) -> None:
    register_into(registry, inputs(tmp_path, data=OTHER_DATA), tmp_path / "first")
    files = registry.candidates[NAME][0].files
    if missing == "weights":
        files["adapter/adapter_model.safetensors"].unlink()
    else:
        text = files["inference.json"].read_text(encoding="utf-8")
        files["inference.json"].write_text(text.replace(samples.TAXONOMY.version, "another"), encoding="utf-8")
    version = register_into(registry, inputs(tmp_path, "b" * 64, answers(BETTER)), tmp_path / "second")
    (reason,) = [item for item in version.reasons if "could not be measured" in item]
    assert {"weights": "are gone", "taxonomy": "taxonomy another"}[missing] in reason
    assert not version.promoted


def test_the_gate_of_the_recipe_decides(registry: MemoryRegistry, tmp_path: Path) -> None:
    strict = load_config("smoke", {**SETTINGS, "gate.min_gain": "0.9"})
    assert not register_into(registry, inputs(tmp_path), tmp_path / "out", strict).promoted


@pytest.mark.parametrize("count", [1, 2, 99])
def test_a_tiny_test_set_promotes_nothing(registry: MemoryRegistry, tmp_path: Path, count: int) -> None:
    folders = inputs(tmp_path, model=answers(10**6, count), baseline=answers(1, count))
    version = register_into(registry, folders, tmp_path / "out")
    assert not version.promoted
    assert f"Test examples: {count}; at least 100 are needed." in version.reasons


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"prompt": "q" * 64}, "Prompt: NOT the same in training pppppppppppp, evaluation pppppppppppp, export qqq"),
        ({"agreement": 0.5}, "Merged weights give the answer of base and adapter on a share of 0.5000"),
    ],
)
def test_what_is_served_must_be_what_was_evaluated(
    registry: MemoryRegistry, tmp_path: Path, changes: dict[str, Any], sentence: str
) -> None:
    version = register_into(registry, inputs(tmp_path, **changes), tmp_path / "out")
    assert not version.promoted
    assert any(reason.startswith(sentence) for reason in version.reasons)


def test_running_again_changes_nothing(registry: MemoryRegistry, tmp_path: Path) -> None:
    """Also for a model that took the place of another: the second run compares it with that one, not with itself."""
    for letter, every in (("a", GOOD), ("b", BETTER)):
        folders = inputs(tmp_path, letter * 64, answers(every))
        first = register_into(registry, folders, tmp_path / f"{letter}1")
        second = register_into(registry, folders, tmp_path / f"{letter}2")
        assert first == second
        for name in ("decision.json", "model_card.md", "answers.json", "settings.json"):
            assert (tmp_path / f"{letter}1" / name).read_bytes() == (tmp_path / f"{letter}2" / name).read_bytes()
    assert len(registry.candidates[NAME]) == 2
    assert registry.pointers[NAME, CHAMPION] == "2"


def test_a_model_that_was_rolled_back_is_not_promoted_by_a_rerun(registry: MemoryRegistry, tmp_path: Path) -> None:
    register_into(registry, inputs(tmp_path), tmp_path / "first")
    folders = inputs(tmp_path, "b" * 64, answers(BETTER))
    assert register_into(registry, folders, tmp_path / "second").promoted
    assert roll_back(registry, NAME).champion == "1"
    again = register_into(registry, folders, tmp_path / "third")
    assert (again.version, again.promoted) == ("2", False)
    assert any("was taken back" in reason for reason in again.reasons)
    assert roll_back(registry, NAME, to="2").champion == "2"
    assert register_into(registry, folders, tmp_path / "fourth").promoted


class Overtaken:
    """A registry in which another run makes its model champion whenever this one is about to."""

    def __init__(self, real: MemoryRegistry, others: list[str]) -> None:
        self._real, self._others = real, others

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)

    def lock(self) -> Any:
        if self._others:
            self._real.set_alias(NAME, CHAMPION, self._others.pop(0))
        return self._real.lock()


def test_a_champion_that_changed_meanwhile_is_compared_with_before_it_gives_way(
    registry: MemoryRegistry, tmp_path: Path
) -> None:
    register_into(registry, inputs(tmp_path), tmp_path / "first")
    register_into(registry, inputs(tmp_path, "b" * 64, answers(GOOD + 1)), tmp_path / "second")
    better = inputs(tmp_path, "c" * 64, answers(BETTER))
    version = register_into(Overtaken(registry, ["2"]), better, tmp_path / "third")
    assert version.promoted
    assert registry.marks[NAME, "3"]["replaces"] == "2"
    equal = inputs(tmp_path, "e" * 64, answers(BETTER))
    registry.set_alias(NAME, CHAMPION, "1")
    assert not register_into(Overtaken(registry, ["3"]), equal, tmp_path / "fourth").promoted
    assert registry.pointers[NAME, CHAMPION] == "3"
    card = registry.candidates[NAME][3].files["model_card.md"].read_text(encoding="utf-8")
    assert "The gate's answer: not promoted." in card


def test_a_champion_that_keeps_changing_is_an_error(registry: MemoryRegistry, tmp_path: Path) -> None:
    for letter, every in (("a", GOOD), ("b", GOOD + 1)):
        register_into(registry, inputs(tmp_path, letter * 64, answers(every)), tmp_path / letter)
    with pytest.raises(TrackingError, match="changed 5 times"):
        register_into(
            Overtaken(registry, ["2", "1"] * 5), inputs(tmp_path, "c" * 64, answers(BETTER)), tmp_path / "third"
        )


@pytest.mark.parametrize("standin", [True, False])
def test_the_version_is_complete(registry: MemoryRegistry, tmp_path: Path, standin: bool) -> None:
    register_into(registry, inputs(tmp_path, standin=standin), tmp_path / "out")
    adapter = {"adapter/adapter_config.json", "adapter/adapter_model.safetensors"}
    base = {"base/config.json", "base/model.safetensors"} if standin else set()
    assert set(registry.candidates[NAME][0].files) == {
        *adapter,
        *base,
        "tokenizer/tokenizer.json",
        "inference.json",
        "contract.json",
        "model_card.md",
        "answers.json",
        "settings.json",
    }


@pytest.mark.parametrize(
    ("part", "message"),
    [
        ("evaluate", "is about the model 0000"),
        ("export", "is about the model 0000"),
        ("prepare", "was made on the data dddd"),
    ],
)
def test_inputs_that_do_not_belong_together_are_refused(
    registry: MemoryRegistry, tmp_path: Path, part: str, message: str
) -> None:
    make: dict[str, Callable[[], Contract]] = {
        "evaluate": lambda: contract_samples.report(tmp_path / "other", model_fingerprint="0" * 64),
        "export": lambda: samples.exported(tmp_path / "other", "0" * 64),
        "prepare": lambda: samples.prepared(tmp_path / "other", "0" * 64),
    }
    folders = {**inputs(tmp_path), part: make[part]().folder}
    with pytest.raises(ContractError, match=message):
        register_into(registry, folders, tmp_path / "out")
    assert not registry.candidates
    assert not (tmp_path / "out" / "contract.json").exists()


@pytest.mark.parametrize("damage", ["cut", "gone", "foreign", "one-sided"])
def test_predictions_that_do_not_fit_are_refused(registry: MemoryRegistry, tmp_path: Path, damage: str) -> None:
    folders = inputs(tmp_path)
    path = folders["evaluate"] / ("baseline_predictions.jsonl" if damage == "one-sided" else "predictions.jsonl")
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    if damage == "gone":
        path.unlink()
    elif damage == "foreign":
        path.write_text("".join(lines).replace('"ad-7"', '"ad-777"'), encoding="utf-8")
    else:
        path.write_text("".join(lines[:-3]), encoding="utf-8")
    expected = {"cut": "answer 237", "gone": "holds no", "foreign": "'ad-777'", "one-sided": "3 test ads"}[damage]
    with pytest.raises(ContractError, match=expected):
        register_into(registry, folders, tmp_path / "out")
    assert not registry.candidates


def test_pickled_weights_are_refused_before_anything_is_written(registry: MemoryRegistry, tmp_path: Path) -> None:
    folders = inputs(tmp_path)
    (folders["train"] / "adapter" / "training_args.bin").write_text("x", encoding="utf-8")
    with pytest.raises(ContractError, match=r"training_args\.bin"):
        register_into(registry, folders, tmp_path / "out")
    assert not registry.candidates


def test_the_environment_names_the_registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    uri = f"memory://{tmp_path}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    (tmp_path / "out").mkdir()
    version = run(CONFIG, inputs(tmp_path), tmp_path / "out")
    assert version.tracking_uri == uri
    assert champion(open_registry(uri, "jobtuner")) is not None
