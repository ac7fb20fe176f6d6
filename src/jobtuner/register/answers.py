"""What a model answered on a test split: enough to compare it with any other model on the same ads, at any time."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray

from jobtuner.contracts import EvalReport, PreparedData
from jobtuner.errors import ContractError
from jobtuner.records import Example, Prediction, read_jsonl
from jobtuner.statistics import (
    Interval,
    McNemar,
    Metric,
    accuracy,
    bootstrap,
    macro_f1,
    mcnemar,
    mean,
    paired_bootstrap,
)
from jobtuner.taxonomy import ancestors

__all__ = ["ANSWERS_FILE", "Answer", "Answers", "intervals", "measure", "paired", "split_examples"]

ANSWERS_FILE = "answers.json"

_BINS = 15  # of equal width, as evaluation has them (Guo et al. 2017, arXiv 1706.04599, section 2)


@dataclass(frozen=True, slots=True)
class Answer:
    """One model's answer to one test ad."""

    id: str
    label: str
    """The right code."""
    language: str
    predicted: str
    """As it counts: another right code than `label` is stored as `label`."""
    probability: float
    """Probability of the answer, calibrated, in [0, 1]."""
    cluster: str
    """Near-duplicate cluster of the ad: ads of one cluster are no independent evidence."""


@dataclass(frozen=True)
class Answers:
    """One model's answers to the test split of one data set."""

    data_fingerprint: str
    rows: Mapping[str, Answer]
    """Id to answer."""

    @classmethod
    def of_report(cls, report: EvalReport, prepared: PreparedData, file: str = "predictions.jsonl") -> Self:
        """Read the predictions of an evaluation.

        Args:
            report: what evaluation found.
            prepared: the data that it was measured on.
            file: "predictions.jsonl" for the model, "baseline_predictions.jsonl" for the baseline.

        Raises:
            ContractError: a file is missing or cut, or an ad is not in the test split.
        """
        clusters = {example.id: example.cluster for example in split_examples(prepared)}
        try:
            found = [Prediction.from_json(row) for row in read_jsonl(report.folder / file)]
            rows = [
                Answer(row.id, row.label, row.language, row.counted, row.probability, clusters[row.id]) for row in found
            ]
        except OSError as error:
            raise ContractError(f"{report.folder} holds no {file}: run the stage evaluate again.") from error
        except KeyError as error:
            raise ContractError(
                f"{report.folder / file} answers the ad {error}, which is not in the test split of {prepared.folder}. "
                "Evaluate the model on the data that you name here."
            ) from error
        return cls.of(report.data_fingerprint, rows)

    @classmethod
    def of(cls, data_fingerprint: str, rows: Iterable[Answer]) -> Self:
        """Answers by their ids, in the given order."""
        return cls(data_fingerprint, {row.id: row for row in rows})

    def save(self, path: Path) -> Path:
        """Write one JSON document; equal answers give equal bytes."""
        names = [field.name for field in fields(Answer)]
        document = {
            "data_fingerprint": self.data_fingerprint,
            "columns": names,
            "rows": [astuple(row) for row in self.rows.values()],
        }
        path.write_text(json.dumps(document, ensure_ascii=False, indent=0), encoding="utf-8")
        return path

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read what `save` wrote.

        Raises:
            ContractError: the file is missing, cut, or of another form.
        """
        try:
            document = json.loads(path.read_text(encoding="utf-8"))
            columns = document["columns"]
            rows = [Answer(**dict(zip(columns, row, strict=True))) for row in document["rows"]]
            return cls.of(document["data_fingerprint"], rows)
        except (OSError, ValueError, KeyError, TypeError) as error:
            if isinstance(error, KeyError) and "task" in document:
                raise ContractError(f"{path} holds texts, of the task {document['task']}, and no labels.") from error
            raise ContractError(f"{path} holds no readable answers ({error}). Register the model again.") from error

    def cover(self, other: Self) -> bool:
        """Whether these are of the same data and answer every ad that the other answers."""
        return self.data_fingerprint == other.data_fingerprint and set(self.rows) >= set(other.rows)

    def only(self, ids: Iterable[str]) -> "Answers":
        """The answers to some of the ads, in the order of the ids."""
        return Answers(self.data_fingerprint, {key: self.rows[key] for key in ids})


def split_examples(prepared: PreparedData) -> list[Example]:
    """The test split in file order."""
    return [Example.from_json(row) for row in read_jsonl(prepared.folder / "test.jsonl")]


def paired(
    ours: Answers, theirs: Answers, metric: Literal["macro_f1", "accuracy"], seed: int
) -> tuple[Interval, McNemar]:
    """Gain of `ours` over `theirs` with its 95 % interval, and McNemar's test; both hold the same ads.

    Args:
        ours: answers of one model.
        theirs: answers of the other.
        metric: "macro_f1" or "accuracy".
        seed: of the bootstrap, which draws whole near-duplicate clusters.

    Raises:
        ContractError: the two do not answer the same ads.
    """
    if ours.rows.keys() != theirs.rows.keys():
        odd = sorted(ours.rows.keys() ^ theirs.rows.keys())
        raise ContractError(
            f"{len(odd)} test ads, {odd[0]} among them, were answered by one model and not by the other: they cannot "
            "be compared in pairs. Run the stage evaluate again."
        )
    gold = [row.label for row in ours.rows.values()]
    mine = [row.predicted for row in ours.rows.values()]
    reference = [theirs.rows[key].predicted for key in ours.rows]
    clusters = [row.cluster for row in ours.rows.values()]
    return paired_bootstrap(gold, mine, reference, metric, seed=seed, groups=clusters), mcnemar(gold, mine, reference)


def measure(answers: Answers) -> dict[str, Any]:
    """The metrics that the gate looks at, as evaluation defines them: n, accuracy, macro_f1, ece, per_language and
    per_level {slice: {n, accuracy}}.

    Raises:
        DataError: no answers.
    """
    rows = list(answers.rows.values())
    whole = np.ones((1, len(rows)))
    values = {name: float(metric(whole)[0]) for name, metric in _overall(rows).items()}
    slices = {
        kind: {
            key: {"n": int(mask.sum()), "accuracy": float(right[mask].mean())} for key, (mask, right) in found.items()
        }
        for kind, found in _slices(rows).items()
    }
    return {"n": len(rows), **values, "ece": _calibration_error(rows), **slices}


def intervals(answers: Answers, seed: int) -> dict[str, Interval]:
    """Accuracy and macro-F1 with their 95 % intervals, and the accuracy of each language ("per_language/da") and each
    level of the hierarchy ("per_level/2").

    Args:
        answers: of one model.
        seed: of the bootstrap, which draws whole near-duplicate clusters.
    """
    rows = list(answers.rows.values())
    metrics = _overall(rows)
    for kind, found in _slices(rows).items():
        metrics |= {f"{kind}/{key}": mean(right, mask) for key, (mask, right) in found.items()}
    return bootstrap(metrics, len(rows), seed=seed, groups=[row.cluster for row in rows])


def _overall(rows: Sequence[Answer]) -> dict[str, Metric]:
    gold, predicted = [row.label for row in rows], [row.predicted for row in rows]
    return {"accuracy": accuracy(gold, predicted), "macro_f1": macro_f1(gold, predicted)}


_Slice = tuple[NDArray[np.bool_], NDArray[np.bool_]]  # which rows it holds, and which of all rows are right


def _slices(rows: Sequence[Answer]) -> dict[str, dict[str, _Slice]]:
    """The languages, and the levels of the hierarchy: a row counts at the levels that its right code has."""
    right = np.array([row.label == row.predicted for row in rows])
    languages = np.array([row.language for row in rows])
    paths = [(ancestors(row.label), ancestors(row.predicted)) for row in rows]
    levels = {}
    for level in range(max((len(truth) for truth, _ in paths), default=0)):
        deep = np.array([len(truth) > level for truth, _ in paths])
        hits = np.array([truth[level : level + 1] == guess[level : level + 1] for truth, guess in paths])
        levels[str(level + 1)] = (deep, hits)
    per_language = {str(name): (languages == name, right) for name in np.unique(languages)}
    return {"per_language": per_language, "per_level": levels}


def _calibration_error(rows: Sequence[Answer]) -> float:
    """Mean distance between confidence and accuracy over the bins, weighted by their answers."""
    confidence = np.array([row.probability for row in rows])
    right = np.array([row.label == row.predicted for row in rows], dtype=np.float64)
    place = np.digitize(confidence, np.linspace(0.0, 1.0, _BINS + 1)[1:-1], right=True)
    gaps = np.bincount(place, right - confidence, _BINS)
    return float(np.abs(gaps).sum() / len(rows))
