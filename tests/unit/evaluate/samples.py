"""A small world with known answers: finished stages on disk, and predictors whose scores are given by hand."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from jobtuner.contracts import BaselineModel, PreparedData, TrainedModel
from jobtuner.evaluate.charts import CHARTS
from jobtuner.evaluate.results import Comparison, Settings, compare, evaluate_predictor
from jobtuner.records import Example, write_jsonl
from jobtuner.taxonomy import Occupation, Taxonomy

DATA = "d" * 64
HOSTILE = '<script>alert("x")</script> | [click](http://evil.example) `code` <img src=x onerror=alert(1)>'

TITLES = {"1111": "Legislator", "2221": "Nurse", "2222": "Midwife", "9112": "Cleaner"}


def taxonomy() -> Taxonomy:
    return Taxonomy([Occupation(code, {"en": title}) for code, title in TITLES.items()])


class TablePredictor:
    """Answers from a table: text to the index of the answer; the answer gets the given probability, the rest share."""

    def __init__(self, labels: Sequence[str], answers: Mapping[str, str], probability: float) -> None:
        self.labels = list(labels)
        self.batches: list[int] = []
        self.answers, self._probability = dict(answers), probability

    def log_probabilities(self, texts: Sequence[str]) -> NDArray[np.float32]:
        self.batches.append(len(texts))
        rest = (1.0 - self._probability) / (len(self.labels) - 1)
        scores = np.full((len(texts), len(self.labels)), np.log(rest), dtype=np.float32)
        for row, text in enumerate(texts):
            scores[row, self.labels.index(self.answers[text])] = np.log(self._probability)
        return scores


def comparison(
    rows: list[Example],
    model: TablePredictor,
    baseline: TablePredictor,
    *,
    validation: list[Example] | None = None,
    occupations: Taxonomy | None = None,
    standin: bool = True,
    top_k: int = 3,
) -> Comparison:
    """Both predictors on the rows; the first eight serve as validation where no others are given."""
    settings = Settings(batch_size=64, top_k=top_k, target_precision=0.7, seed=1)
    counts = {code: 20 * number for number, code in enumerate(model.labels)}
    ours, theirs = (
        evaluate_predictor(name, predictor, validation or rows[:8], rows, counts, settings)
        for name, predictor in (("model", model), ("baseline", baseline))
    )
    base = "base" if standin else "Qwen/Qwen2.5-7B-Instruct"
    known = occupations or taxonomy()
    return compare(rows, ours, theirs, known, settings, base=base, base_is_standin=standin)


def without_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Write empty files in place of the pictures: drawing takes most of a second each."""

    def draw(result: Comparison, folder: Path) -> None:
        for name in CHARTS:
            (folder / name).write_bytes(b"")

    monkeypatch.setattr("jobtuner.evaluate.report.draw_charts", draw)


def example(number: int, label: str, language: str, text: str | None = None) -> Example:
    return Example(f"ad-{number}", text or f"text {number} of {label}", label, language, f"cluster-{number}")


def examples(count: int, start: int = 0) -> list[Example]:
    codes = sorted(TITLES)
    return [example(start + k, codes[k % 4], "en" if k % 3 else "da") for k in range(count)]


def prepared(folder: Path, **splits: Sequence[Example]) -> PreparedData:
    folder.mkdir(parents=True)
    for name, rows in splits.items():
        write_jsonl(folder / f"{name}.jsonl", rows)
    taxonomy().save(folder / "taxonomy.json")
    return PreparedData(
        folder=folder,
        fingerprint=DATA,
        task="occupation",
        source="generated",
        languages=["da", "en"],
        labels=sorted(TITLES),
        taxonomy_version=taxonomy().version,
        counts={name: len(rows) for name, rows in splits.items()},
    ).save()


def trained(folder: Path, standin: bool = True, data_fingerprint: str = DATA) -> TrainedModel:
    folder.mkdir(parents=True, exist_ok=True)
    return TrainedModel(
        folder=folder,
        fingerprint="a" * 64,
        base="base" if standin else "Qwen/Qwen2.5-7B-Instruct",
        base_is_standin=standin,
        data_fingerprint=data_fingerprint,
        prompt_hash="p" * 64,
        labels=sorted(TITLES),
        settings={},
        metrics={},
    ).save()


def baseline(folder: Path, data_fingerprint: str = DATA) -> BaselineModel:
    folder.mkdir(parents=True, exist_ok=True)
    return BaselineModel(
        folder=folder,
        fingerprint="b" * 64,
        data_fingerprint=data_fingerprint,
        labels=sorted(TITLES),
        validation_accuracy=0.5,
        train_seconds=1.0,
    ).save()
