"""References of a training run and of a stretch of the log."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from jobtuner.contracts import EvalReport, PreparedData
from jobtuner.drift_reference.files import ALPHA, Reference, make_reference
from jobtuner.errors import ContractError
from jobtuner.prediction_log.reader import read_window
from jobtuner.prediction_log.rows import Answer, to_table
from jobtuner.prediction_log.sketch import Vocabulary
from jobtuner.records import Example, Prediction, read_jsonl

__all__ = ["reference_of_log", "reference_of_run"]

_UNSURE = 0.5  # threshold where the evaluation found none that reaches the wanted precision


def reference_of_run(prepared: PreparedData, report: EvalReport, alpha: float = ALPHA) -> Reference:
    """The model's answers to the test split. On ads that it was trained on it would be too sure, and know every word.

    Args:
        prepared: the data, for the texts and the vocabulary of the training.
        report: the evaluation, for the answers.
        alpha: share of windows without drift that may be called drifted.

    Raises:
        ContractError: the evaluation is of other data.
        DataError: the test split is too small.
    """
    if report.data_fingerprint != prepared.fingerprint:
        raise ContractError(
            f"The evaluation in {report.folder} is of data {report.data_fingerprint[:12]}, the data in "
            f"{prepared.folder} is {prepared.fingerprint[:12]}: give two stages of one run."
        )
    texts = {row.id: row.text for row in _examples(prepared.folder / "test.jsonl")}
    vocabulary = Vocabulary.of(row.text for row in _examples(prepared.folder / "train.jsonl"))
    answers = [Prediction.from_json(row) for row in read_jsonl(report.folder / "predictions.jsonl")]
    now = datetime.now(UTC)
    rows = [_as_answer(item, texts[item.id], report.model_fingerprint[:12], now) for item in answers]
    about = {
        "source": "the test split",
        "model_version": report.model_fingerprint[:12],
        "data_fingerprint": prepared.fingerprint,
        "accuracy": report.model["accuracy"],
        "created": now.isoformat(timespec="seconds"),
    }
    table = to_table(rows, vocabulary, keep_text=False)
    return make_reference(table, vocabulary, about, abstain_below=_threshold(report.folder), alpha=alpha)


def reference_of_log(
    location: str,
    since: datetime,
    until: datetime,
    *,
    vocabulary: Vocabulary | None,
    abstain_below: float,
    alpha: float = ALPHA,
) -> Reference:
    """The answers of a stretch of the log that somebody looked at and found good.

    Raises:
        DataError: there are too few answers, or the times have no zone.
    """
    table = read_window(location, since, until)
    versions = sorted(set(table["model_version"].to_pylist()))
    about: dict[str, Any] = {
        "source": f"the log from {since.isoformat()} to {until.isoformat()}",
        "model_version": ", ".join(versions),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    return make_reference(table, vocabulary, about, abstain_below=abstain_below, alpha=alpha)


def _examples(path: Path) -> list[Example]:
    return [Example.from_json(row) for row in read_jsonl(path)]


def _as_answer(item: Prediction, text: str, version: str, time: datetime) -> Answer:
    return Answer(
        request_id="reference",
        number=0,
        ad_id=item.id,
        text=text,
        language=item.language,
        label=item.predicted,
        probability=item.probability,
        top=[(code, value) for code, value in item.top],
        model_version=version,
        answered_by="model",
        abstained=False,
        time=time,
    )


def _threshold(report: Path) -> float:
    """The probability from which the evaluation would keep the model's answers."""
    document = json.loads((report / "metrics.json").read_text(encoding="utf-8"))
    threshold = document.get("abstention", {}).get("model", {}).get("point", {}).get("threshold", _UNSURE)
    return float(threshold) if 0.0 < threshold <= 1.0 else _UNSURE
