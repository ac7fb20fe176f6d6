import json
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest

from jobtuner.contracts import EvalReport, PreparedData
from jobtuner.drift_reference.build import reference_of_log, reference_of_run
from jobtuner.drift_reference.files import Reference, make_reference
from jobtuner.errors import ContractError, DataError
from jobtuner.prediction_log.rows import Answer, to_table
from jobtuner.prediction_log.sketch import Vocabulary
from jobtuner.prediction_log.writer import PredictionLog
from jobtuner.records import Example, Prediction, write_jsonl
from tests.unit import contract_samples
from tests.unit.prediction_log.samples import NOON, answer

WORDS = ["nurse", "ward", "night", "cook", "kitchen", "driver", "bus", "clinic", "city", "hotel"]


def ads(count: int, seed: int = 0) -> list[str]:
    generator = np.random.default_rng(seed)
    return [" ".join([*generator.choice(WORDS, 6), str(number)]) for number in range(count)]


def answers(texts: list[str]) -> list[Answer]:
    generator = np.random.default_rng(7)
    return [
        answer(number, text=text, probability=float(generator.uniform(0.2, 1.0)), language="en")
        for number, text in enumerate(texts)
    ]


@pytest.fixture(scope="module")
def reference() -> Reference:
    words = Vocabulary.of(WORDS)
    table = to_table([*answers(ads(220)), *answers(ads(10))], words, keep_text=False)  # ten ads come twice
    return make_reference(table, words, {"model_version": "m1"}, abstain_below=0.4)


def test_repeats_count_once(reference: Reference) -> None:
    assert len(reference.rows) == 220
    assert [item.rows for item in reference.calibrations] == [100]


def test_a_reference_comes_back(reference: Reference, tmp_path: Path) -> None:
    reference.save(tmp_path / "r")
    loaded = Reference.load(tmp_path / "r")
    assert loaded.measure == reference.measure
    assert loaded.calibrations == reference.calibrations
    assert (loaded.about, loaded.alpha) == ({"model_version": "m1"}, 0.01)
    assert np.array_equal(loaded.rows.sketch, reference.rows.sketch)
    assert loaded.rows.label.tolist() == reference.rows.label.tolist()
    assert loaded.vocabulary is not None and loaded.vocabulary.unknown_share("nurse pilot") == 0.5
    names = {path.name for path in (tmp_path / "r").iterdir()}
    assert names == {"reference.json", "reference.parquet", "vocabulary.safetensors"}


@pytest.mark.parametrize(
    ("file", "content", "told"),
    [
        ("reference.json", None, "No such file"),
        ("reference.json", '{"format": 99}', "format is 99"),
        ("reference.parquet", "other", r"reference\.parquet is not the one"),
        ("vocabulary.safetensors", "half", "no vocabulary"),
    ],
)
def test_a_damaged_reference_is_refused(
    reference: Reference, tmp_path: Path, file: str, content: str | None, told: str
) -> None:
    reference.save(tmp_path)
    (tmp_path / file).unlink()
    if content is not None:
        (tmp_path / file).write_text(content)
    with pytest.raises(ContractError, match=told):
        Reference.load(tmp_path)


@pytest.fixture
def run(tmp_path: Path) -> tuple[PreparedData, EvalReport]:
    prepared, report = contract_samples.prepared(tmp_path / "prepare"), contract_samples.report(tmp_path / "evaluate")
    texts = ads(220)
    write_jsonl(prepared.folder / "train.jsonl", [Example("t", " ".join(WORDS[:5]), "2221", "en", "t")])
    rows = [Example(str(number), text, "2221", "en", str(number)) for number, text in enumerate(texts)]
    write_jsonl(prepared.folder / "test.jsonl", rows)
    top = [("2221", 0.9), ("2512", 0.1)]
    found = [Prediction(row.id, "2221", "en", "2221", 0.9, top, 1) for row in rows]
    write_jsonl(report.folder / "predictions.jsonl", found)
    document = {"abstention": {"model": {"point": {"threshold": 0.62}}}}
    (report.folder / "metrics.json").write_text(json.dumps(document))
    return prepared, report


def test_the_reference_of_a_run_is_its_test_split(run: tuple[PreparedData, EvalReport]) -> None:
    found = reference_of_run(*run)
    assert len(found.rows) == 220
    assert set(found.rows.label) == {"2221"}
    assert found.measure.abstain_below == 0.62
    assert 0 < found.rows.unknown_words.mean() < 1  # five of the ten words are of the training
    assert (found.about["model_version"], found.about["accuracy"]) == ("a" * 12, 0.9)
    (run[1].folder / "metrics.json").write_text("{}")
    assert reference_of_run(*run).measure.abstain_below == 0.5


def test_data_and_evaluation_of_two_runs_are_refused(run: tuple[PreparedData, EvalReport], tmp_path: Path) -> None:
    other = contract_samples.prepared(tmp_path / "other", "0" * 64)
    with pytest.raises(ContractError, match="two stages of one run"):
        reference_of_run(other, run[1])


def test_the_reference_of_a_stretch_of_the_log(tmp_path: Path) -> None:
    log = PredictionLog(str(tmp_path))
    log.offer(answers(ads(230)))
    assert log.close()
    ends = NOON, NOON + timedelta(seconds=210)
    found = reference_of_log(str(tmp_path), *ends, vocabulary=None, abstain_below=0.4)
    assert len(found.rows) == 210
    assert (found.about["model_version"], found.vocabulary) == ("m1", None)
    with pytest.raises(DataError, match="0 different ads"):
        reference_of_log(
            str(tmp_path), ends[1] + timedelta(days=1), ends[1] + timedelta(days=2), vocabulary=None, abstain_below=0.4
        )
