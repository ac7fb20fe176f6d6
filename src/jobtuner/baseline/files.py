"""Fit the baseline on any file of rows, and score any other one: no pipeline, no split."""

import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from jobtuner.baseline.rows import Columns, LabelledRow, merge_equal, read_labelled
from jobtuner.config import BaselineConfig
from jobtuner.errors import DataError
from jobtuner.linear.classifier import SETTINGS_FILE, BaselineClassifier
from jobtuner.linear.taxonomy_rows import taxonomy_rows, unseen_labels
from jobtuner.progress import track
from jobtuner.taxonomy import Taxonomy

__all__ = ["REPORT_FILE", "FitReport", "TestScore", "fit_file", "predict_file"]

REPORT_FILE = "fit.json"

_CHUNK = 1000  # texts scored at once


@dataclass(frozen=True)
class TestScore:
    """Accuracy on a file that was not trained on."""

    texts: int
    """Distinct texts with a label."""
    accuracy: float
    """Share of the distinct texts whose answer is among the right codes of all rows with this text."""
    row_accuracy: float
    """Share of the rows whose answer is among the row's own codes: less where one text has rows of several codes."""
    unknown: int
    """Texts none of whose codes occurs in training: wrong whatever the model answers."""
    skipped: int
    """Rows without text or label."""


@dataclass(frozen=True)
class FitReport:
    """What `fit_file` did."""

    rows: int
    """Rows trained on."""
    skipped: int
    """Rows without text or label."""
    labels: int
    titles: int
    """Taxonomy titles at hand; equal ones, and those beyond what the epochs visit, are left out of training."""
    seconds: float
    test: TestScore | None


def fit_file(
    path: Path,
    columns: Columns,
    taxonomies: Sequence[Taxonomy],
    config: BaselineConfig,
    seed: int,
    out_dir: Path,
    test: Path | None = None,
) -> FitReport:
    """Fit on all rows of a file, write the model and `fit.json` into a folder.

    Args:
        path: JSONL, CSV or Parquet.
        columns: of this file and of `test`.
        taxonomies: their titles become training rows.
        config: settings of the classifier.
        seed: order of the rows.
        out_dir: new, empty, or with a former result, which is replaced.
        test: file to measure accuracy on.

    Raises:
        DataError: a file cannot be used, fewer than two labels, or `out_dir` holds other files.
        ModelError: the encoder is not available.
    """
    _check_out(out_dir)
    rows, skipped = _usable(read_labelled(path, columns), path)
    held_out = read_labelled(test, columns) if test is not None else None  # a mistake shows before the work
    started = time.monotonic()
    labels = {label for row in rows for label in row.labels}
    unseen = unseen_labels(taxonomies, labels)
    titles = taxonomy_rows(taxonomies, labels | unseen)
    with track("Fitting the baseline", unit="passes") as bar:
        classifier = BaselineClassifier(config, seed).fit(
            [row.text for row in rows],
            [row.labels for row in rows],
            languages=[row.language for row in rows],
            titles=titles,
            unseen=unseen,
            on_epoch=bar.advance,
        )
    seconds = time.monotonic() - started
    score = _score(classifier, held_out, test) if held_out is not None and test is not None else None
    report = FitReport(len(rows), skipped, len(classifier.labels), len(titles), round(seconds, 3), score)
    out_dir.mkdir(parents=True, exist_ok=True)
    classifier.save(out_dir)
    (out_dir / REPORT_FILE).write_text(json.dumps(asdict(report), indent=1) + "\n", encoding="utf-8")
    return report


def predict_file(folder: Path, path: Path, text_column: str, top_k: int) -> Iterator[dict[str, Any]]:
    """Yield an answer for every row of a file, in its order: row, text, and top, the likeliest codes first.

    A row without text gets `top` = [] and an `error`.

    Raises:
        DataError: the file cannot be used.
        ModelError: the folder holds no model.
    """
    classifier = BaselineClassifier.load(folder)
    rows = read_labelled(path, Columns(text=text_column, label=None))
    for start in range(0, len(rows), _CHUNK):
        part = rows[start : start + _CHUNK]
        for row, scores in zip(part, classifier.log_probabilities([row.text for row in part]), strict=True):
            if not row.text:
                yield {"row": row.number, "text": "", "top": [], "error": f"no text in column '{text_column}'"}
                continue
            best = np.argsort(-scores, kind="stable")[:top_k]
            top = [{"code": classifier.labels[k], "probability": round(float(np.exp(scores[k])), 6)} for k in best]
            yield {"row": row.number, "text": row.text, "top": top}


def _check_out(out_dir: Path) -> None:
    if out_dir.exists() and not out_dir.is_dir():
        raise DataError(f"--output {out_dir} is a file. Give a folder.")
    if out_dir.is_dir() and any(out_dir.iterdir()) and not (out_dir / SETTINGS_FILE).is_file():
        raise DataError(f"--output {out_dir} holds other files. Give a new or an empty folder.")


def _usable(rows: list[LabelledRow], path: Path) -> tuple[list[LabelledRow], int]:
    usable = [row for row in rows if row.text and row.labels]
    if not usable:
        raise DataError(f"None of the {len(rows)} rows of {path} has both a text and a label. Check the column names.")
    return usable, len(rows) - len(usable)


def _score(classifier: BaselineClassifier, rows: list[LabelledRow], path: Path) -> TestScore:
    usable, skipped = _usable(rows, path)
    answers = _answers(classifier, usable)
    merged = merge_equal(usable)
    first = {row.number: answer for row, answer in zip(usable, answers, strict=True)}
    known = set(classifier.labels)
    return TestScore(
        texts=len(merged),
        accuracy=sum(first[row.number] in row.labels for row in merged) / len(merged),
        row_accuracy=sum(answer in row.labels for row, answer in zip(usable, answers, strict=True)) / len(usable),
        unknown=sum(not (row.labels & known) for row in merged),
        skipped=skipped,
    )


def _answers(classifier: BaselineClassifier, rows: Sequence[LabelledRow]) -> list[str]:
    answers = []
    for start in range(0, len(rows), _CHUNK):
        scores = classifier.log_probabilities([row.text for row in rows[start : start + _CHUNK]])
        answers += [classifier.labels[int(column)] for column in scores.argmax(axis=1)]
    return answers
