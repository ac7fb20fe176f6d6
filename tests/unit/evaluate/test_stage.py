"""The evaluate stage on small finished stages, with predictors whose answers are known."""

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from jobtuner.cascade import BASELINE_FOLDER, CascadeSettings
from jobtuner.config import Config, EvaluateConfig
from jobtuner.contracts import EvalReport
from jobtuner.errors import ContractError, DataError
from jobtuner.evaluate.charts import CHARTS
from jobtuner.evaluate.stage import evaluate, run
from jobtuner.records import Example, Prediction, read_jsonl, write_jsonl
from tests.unit.evaluate import samples

LABELS = sorted(samples.TITLES)
FILES = {
    "report.md",
    "report.html",
    "metrics.json",
    "predictions.jsonl",
    "baseline_predictions.jsonl",
    "calibration.json",
}


def config(batch_size: int = 7, max_examples: int | None = None, seed: int = 5, **more: Any) -> Config:
    settings = EvaluateConfig(batch_size=batch_size, top_k=2, max_examples=max_examples, **more)
    return Config(name="test", seed=seed, evaluate=settings)


class World:
    """One prepared data set, a model that is right but for two ads, a baseline that is right for one code in four."""

    def __init__(self, folder: Path, test: list[Example], validation: list[Example]) -> None:
        self.folder, self.test = folder, test
        self.prepared = samples.prepared(folder / "prepare", test=test, validation=validation, train=[])
        self.trained = samples.trained(folder / "train")
        rows = [*test, *validation]
        answers = {row.text: row.label for row in rows}
        answers[test[1].text], answers[test[2].text] = "1111", "1111"
        # Without column 2222 the baseline is wrong on every ad with that code.
        self.model = samples.TablePredictor(LABELS, answers, 0.9)
        self.baseline = samples.TablePredictor(LABELS[:2] + LABELS[3:], {row.text: "1111" for row in rows}, 0.6)

    def evaluate(self, name: str, config: Config) -> EvalReport:
        out = self.folder / name
        out.mkdir()
        return evaluate(
            config,
            self.prepared,
            self.trained,
            samples.taxonomy(),
            model=self.model,
            baseline=self.baseline,
            out_dir=out,
        )


@pytest.fixture(autouse=True)
def _no_pictures(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.function is not test_writes_all_files_and_the_contract:
        samples.without_pictures(monkeypatch)


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path, samples.examples(40), samples.examples(20, start=100))


def predictions(folder: Path, name: str = "predictions.jsonl") -> list[Prediction]:
    return [Prediction.from_json(row) for row in read_jsonl(folder / name)]


def test_writes_all_files_and_the_contract(world: World) -> None:
    report = world.evaluate("out", config())
    out = world.folder / "out"
    assert {path.name for path in out.iterdir()} == {*FILES, *CHARTS, "contract.json", BASELINE_FOLDER}
    assert EvalReport.load(out) == report
    assert report.examples == 40
    assert (report.data_fingerprint, report.model_fingerprint) == (samples.DATA, "a" * 64)
    assert report.model["accuracy"] == pytest.approx(38 / 40)
    assert report.baseline["accuracy"] == pytest.approx(10 / 40)
    written = json.loads((out / "metrics.json").read_text(encoding="utf-8"))
    assert (written["model"], written["baseline"]) == (report.model, report.baseline)
    assert written["gain"] == report.gain
    gain = report.gain["accuracy"]
    assert gain["estimate"] == pytest.approx(28 / 40)
    assert 0 < gain["low"] < gain["estimate"] < gain["high"] < 1
    assert written["mcnemar"] == {"ours_only": 28, "theirs_only": 0, "p_value": report.mcnemar_p}
    assert report.mcnemar_p < 0.001
    assert {"model", "baseline"} == set(written["abstention"]) == set(written["prediction_sets"])
    cascade = CascadeSettings.load(world.folder / "out" / BASELINE_FOLDER)
    assert cascade.threshold == written["cascade"]["point"]["threshold"]
    assert (cascade.curve[0].coverage, cascade.curve[-1].coverage) == (0.0, 1.0)
    # The baseline is equally sure of everything, and mostly wrong: the model must answer all.
    assert (written["cascade"]["point"]["coverage"], written["cascade"]["accuracy"]["estimate"]) == (0.0, 38 / 40)
    assert written["cascade"]["curve"][0]["accuracy"] == pytest.approx(38 / 40)
    assert written["cascade"]["curve"][-1]["accuracy"] == pytest.approx(10 / 40)


def test_predictions_are_of_the_same_rows_in_the_same_order(world: World) -> None:
    report = world.evaluate("out", config())
    ours = predictions(world.folder / "out")
    theirs = predictions(world.folder / "out", "baseline_predictions.jsonl")
    assert [(row.id, row.label, row.language) for row in ours] == [(r.id, r.label, r.language) for r in world.test]
    assert [row.id for row in theirs] == [row.id for row in ours]
    assert sum(row.predicted == row.label for row in ours) / 40 == pytest.approx(report.model["accuracy"])
    assert [row.rank for row in ours[:2]] == [1, 2]  # "2221" stands second: ties go by column, and 1111 was answered
    assert {row.rank for row in theirs if row.label == "2222"} == {4}  # one behind the last of three columns
    for row in ours:
        assert tuple(row.top[0]) == (row.predicted, row.probability)
        assert len(row.top) == 2


def test_temperature_is_fitted_on_validation_and_applied_to_test(tmp_path: Path) -> None:
    test, validation = samples.examples(40), samples.examples(40, start=100)
    world = World(tmp_path, test, validation)
    for row in validation[::2]:  # right for half of validation although it says 90 %: T makes that 50 %
        world.model.answers[row.text] = LABELS[(LABELS.index(row.label) + 1) % 4]
    report = world.evaluate("out", config())
    assert report.temperature > 1.5
    assert predictions(tmp_path / "out")[0].probability == pytest.approx(0.5, abs=0.01)
    saved = json.loads((tmp_path / "out" / "calibration.json").read_text(encoding="utf-8"))
    assert saved["validation_examples"] == 40
    assert saved["model"]["temperature"] == report.temperature
    assert saved["model"]["ece_uncalibrated"] == pytest.approx(0.95 - 0.9, abs=1e-4)
    assert saved["model"]["ece"] == pytest.approx(0.95 - 0.5, abs=0.01)
    assert sum(item["n"] for item in saved["baseline"]["bins"]) == 40


def test_a_language_has_its_own_temperature_and_its_answers_have_it(tmp_path: Path) -> None:
    test, validation = samples.examples(40), samples.examples(240, start=100)
    world = World(tmp_path, test, validation)
    for row in validation:  # of Danish ads half are wrong, of English ones one in ten, as the model says
        if row.language == "da" if int(row.id[3:]) % 2 else row.language == "en" and int(row.id[3:]) % 10 == 0:
            world.model.answers[row.text] = LABELS[(LABELS.index(row.label) + 1) % 4]
    report = world.evaluate("out", config(min_language_rows=20))
    assert set(report.language_temperatures) == {"da", "en"}
    assert report.language_temperatures["en"] < report.temperature < report.language_temperatures["da"]
    sure = {row.language: row.probability for row in predictions(tmp_path / "out")}
    assert sure["da"] == pytest.approx(0.5, abs=0.1)
    assert sure["en"] == pytest.approx(0.9, abs=0.05)
    saved = json.loads((tmp_path / "out" / "calibration.json").read_text(encoding="utf-8"))["model"]
    assert saved["language_temperatures"] == report.language_temperatures
    assert saved["ece_pooled"] != saved["ece"]
    kept = CascadeSettings.load(tmp_path / "out" / BASELINE_FOLDER)
    assert set(kept.language_temperatures) == {"da", "en"}
    few = world.evaluate("few", config(min_language_rows=200))
    assert few.language_temperatures == {}


def test_any_of_several_right_codes_is_a_right_answer(tmp_path: Path) -> None:
    rows = samples.examples(40)
    wrong = {1: "1111", 2: "1111"}  # what the model answers there
    test = [replace(row, accepted=[wrong[k]] if k in wrong else [], source="ab"[k % 2]) for k, row in enumerate(rows)]
    world = World(tmp_path, test, samples.examples(20, start=100))
    report = world.evaluate("out", config())
    assert report.model["accuracy"] == 1.0
    assert report.model["macro_f1"] == 1.0
    assert {name: part["n"] for name, part in report.model["per_source"].items()} == {"a": 20, "b": 20}
    answers = predictions(tmp_path / "out")
    assert [(row.predicted, row.counted, row.rank) for row in answers[1:3]] == [
        ("1111", test[1].label, 1),
        ("1111", test[2].label, 1),
    ]
    told = (tmp_path / "out" / "report.md").read_text(encoding="utf-8")
    assert "Per source" in told and "2 ads have several right codes" in told
    assert report.mcnemar_p < 0.001  # 30 ads, the two among them, on which the baseline alone is wrong


def test_costs_are_told_where_prices_are_known(world: World) -> None:
    world.evaluate("free", config())
    assert "cost_per_thousand" not in json.loads((world.folder / "free" / "metrics.json").read_text())["cascade"]
    world.evaluate("priced", config(baseline_price=0.01, model_price=2.0))
    found = json.loads((world.folder / "priced" / "metrics.json").read_text(encoding="utf-8"))["cascade"]
    costs, saved = found["cost_per_thousand"], found["point"]["coverage"]
    assert (costs["model"], costs["baseline"]) == pytest.approx((2.0, 0.01))
    assert costs["cascade"] == pytest.approx((0.01 if saved else 0.0) + 2.0 * (1 - saved))
    assert found["cost_curve"][0] == [0.0, 2.0] and found["cost_curve"][-1] == pytest.approx([1.0, 0.01])
    assert "cost of 1,000 ads" in (world.folder / "priced" / "report.md").read_text(encoding="utf-8")
    with pytest.raises(ValidationError, match="go together"):
        config(model_price=2.0)


def test_scores_in_batches_of_the_configured_size(world: World) -> None:
    world.evaluate("out", config(batch_size=7))
    assert max(world.model.batches) == 7 and sum(world.model.batches) == 60
    assert sum(world.baseline.batches) == 60


def test_batch_size_changes_nothing(world: World) -> None:
    first, second = world.evaluate("one", config(batch_size=1)), world.evaluate("two", config(batch_size=64))
    assert first.fingerprint == second.fingerprint


def test_max_examples_takes_the_first_by_hash_whatever_the_order(tmp_path: Path) -> None:
    rows = samples.examples(40)
    ids = []
    for name, order in (("a", rows), ("b", rows[::-1])):
        world = World(tmp_path / name, order, samples.examples(20, start=100))
        report = world.evaluate("out", config(max_examples=15))
        assert report.examples == 15
        ids.append({row.id for row in predictions(tmp_path / name / "out")})
    by_hash = sorted((row.id for row in rows), key=lambda id_: hashlib.sha256(id_.encode()).hexdigest())
    assert ids[0] == ids[1] == set(by_hash[:15])


def test_validation_is_limited(tmp_path: Path) -> None:
    world = World(tmp_path, samples.examples(8), samples.examples(40, start=100))
    world.evaluate("out", config(batch_size=100, max_validation=11))
    assert sum(world.model.batches) == 11 + 8


def test_one_validation_example_is_enough_to_run(tmp_path: Path) -> None:
    world = World(tmp_path, samples.examples(8), samples.examples(1, start=100))
    world.evaluate("out", config())
    document = json.loads((tmp_path / "out" / "metrics.json").read_text(encoding="utf-8"))
    # It promises nothing: no answer is kept, and every set holds all codes.
    assert document["abstention"]["model"]["point"]["coverage"] == 0.0
    assert {item["mean_size"] for item in document["prediction_sets"]["model"]} == {4.0}


def test_near_duplicates_are_resampled_together(tmp_path: Path) -> None:
    world = World(tmp_path, [replace(row, cluster="one") for row in samples.examples(40)], samples.examples(20, 100))
    report = world.evaluate("out", config())
    document = json.loads((tmp_path / "out" / "metrics.json").read_text(encoding="utf-8"))
    # One cluster: every sample holds the same rows, and no interval has a width.
    assert report.model["accuracy_interval"] == [report.model["accuracy"]] * 2
    found = [*report.gain.values(), document["cascade"]["accuracy"], document["abstention"]["model"]["accuracy"]]
    assert all(interval["low"] == interval["high"] for interval in found)


def test_training_rows_decide_which_codes_are_rare(world: World) -> None:
    rows = [samples.example(1000 + k, code, "en") for code, n in (("1111", 120), ("2221", 30)) for k in range(n)]
    write_jsonl(world.prepared.folder / "train.jsonl", rows)
    bands = world.evaluate("out", config()).model["per_frequency"]
    assert {name: (band["codes"], band["n"]) for name, band in bands.items()} == {
        "head": (1, 10),
        "body": (1, 10),
        "tail": (2, 20),
    }


def test_a_target_precision_out_of_reach_keeps_nothing(world: World) -> None:
    world.evaluate("low", config(target_precision=0.5))
    world.evaluate("high", config(target_precision=0.99))  # ten right validation answers are not enough for that

    def kept(name: str) -> tuple[float, object]:
        document = json.loads((world.folder / name / "metrics.json").read_text(encoding="utf-8"))
        found = document["abstention"]["model"]
        return found["point"]["coverage"], found["precision"]

    coverage, precision = kept("low")
    assert coverage == 1.0 and isinstance(precision, dict)
    assert kept("high") == (0.0, None)


def test_same_input_same_fingerprint_other_answers_another(world: World) -> None:
    first = world.evaluate("one", config()).fingerprint
    assert world.evaluate("two", config()).fingerprint == first
    world.model.answers[world.test[5].text] = "9112"
    assert world.evaluate("three", config()).fingerprint != first


def test_models_trained_on_other_data_are_refused(world: World) -> None:
    inputs = {name: world.folder / name for name in ("prepare", "baseline", "train")}
    samples.baseline(inputs["baseline"], data_fingerprint="e" * 64)
    with pytest.raises(ContractError, match=r"BaselineModel .* was trained on data eeeeeeeeeeee"):
        run(config(), inputs, world.folder)
    samples.baseline(inputs["baseline"])
    samples.trained(inputs["train"], data_fingerprint="f" * 64)
    with pytest.raises(ContractError, match=r"TrainedModel .* was trained on data ffffffffffff"):
        run(config(), inputs, world.folder)


def test_empty_test_split_is_refused(tmp_path: Path) -> None:
    world = World(tmp_path, samples.examples(8), samples.examples(8, start=100))
    (world.prepared.folder / "test.jsonl").write_text("", encoding="utf-8")
    with pytest.raises(DataError, match=r"test\.jsonl has no rows.*split\.test"):
        world.evaluate("out", config())
