"""The baseline stage: from prepared data on disk to a contract and a model that loads."""

from pathlib import Path

import pytest

from jobtuner.baseline.stage import run
from jobtuner.config import BaselineConfig, Config
from jobtuner.contracts import BaselineModel, PreparedData
from jobtuner.errors import ContractError, DataError
from jobtuner.linear.classifier import BaselineClassifier
from jobtuner.records import Example, write_jsonl
from jobtuner.taxonomy import Occupation, Taxonomy

CONFIG = Config(name="test", seed=5, baseline=BaselineConfig(max_features=300, min_count=1))
WORDS = {"2221": "nurse ward patients", "2512": "developer software backend", "5120": "cook kitchen menu"}
TAXONOMY = Taxonomy([Occupation(code, {"de": f"{code}kraft"}, "", {"et": [f"{code}ja"]}) for code in WORDS])


def rows(split: str, count: int) -> list[Example]:
    codes = sorted(WORDS)
    return [
        Example(f"{split}-{k}", f"{WORDS[codes[k % 3]]} wanted in town {k}", codes[k % 3], "en", f"{split}-{k}")
        for k in range(count)
    ]


def prepared(folder: Path, train: list[Example], validation: list[Example]) -> PreparedData:
    folder.mkdir(parents=True)
    write_jsonl(folder / "train.jsonl", train)
    write_jsonl(folder / "validation.jsonl", validation)
    TAXONOMY.save(folder / "taxonomy.json")
    return PreparedData(
        folder=folder,
        fingerprint="d" * 64,
        task="occupation",
        source="generated",
        languages=["en"],
        labels=sorted({row.label for row in train}),
        taxonomy_version="t1",
        counts={},
    ).save()


def test_fits_measures_and_writes_the_contract(tmp_path: Path) -> None:
    validation = rows("validation", 9)
    wrong = [Example("odd", "nurse ward patients", "9999", "en", "odd")]  # a code that training does not know
    prepared(tmp_path / "prepare", rows("train", 60), [*validation, *wrong])
    out = tmp_path / "baseline"
    out.mkdir()
    contract = run(CONFIG, {"prepare": tmp_path / "prepare"}, out)
    assert BaselineModel.load(out) == contract
    assert contract.labels == sorted(WORDS)
    assert contract.data_fingerprint == "d" * 64
    assert contract.validation_accuracy == pytest.approx(9 / 10)
    assert contract.train_seconds > 0
    best = BaselineClassifier.load(out).log_probabilities([row.text for row in validation]).argmax(axis=1)
    assert [contract.labels[int(column)] for column in best] == [row.label for row in validation]


def test_fingerprint_follows_content_and_nothing_else(tmp_path: Path) -> None:
    prepared(tmp_path / "prepare", rows("train", 60), rows("validation", 9))
    prints = []
    for name, config in (("a", CONFIG), ("b", CONFIG), ("c", CONFIG.model_copy(update={"seed": 6}))):
        (tmp_path / name).mkdir()
        prints.append(run(config, {"prepare": tmp_path / "prepare"}, tmp_path / name).fingerprint)
    assert prints[0] == prints[1] != prints[2]


def test_unfinished_or_empty_input_is_refused(tmp_path: Path) -> None:
    (tmp_path / "unfinished").mkdir()
    with pytest.raises(ContractError, match="Run the stage"):
        run(CONFIG, {"prepare": tmp_path / "unfinished"}, tmp_path)
    prepared(tmp_path / "prepare", rows("train", 60), [])
    with pytest.raises(DataError, match=r"validation\.jsonl has no rows"):
        run(CONFIG, {"prepare": tmp_path / "prepare"}, tmp_path)


def test_the_titles_of_the_taxonomy_are_learnt(tmp_path: Path) -> None:
    prepared(tmp_path / "prepare", rows("train", 60), rows("validation", 9))
    out = tmp_path / "baseline"
    out.mkdir()
    run(CONFIG, {"prepare": tmp_path / "prepare"}, out)
    model = BaselineClassifier.load(out)
    best = model.log_probabilities(["2512kraft", "5120ja"]).argmax(axis=1)
    assert [model.labels[int(column)] for column in best] == ["2512", "5120"]
