"""Fixed questions with a model's answers, kept beside its weights: is what a server answers for really this model?

A name says little: the last version's adapter under this version's name would answer valid codes, and wrong ones.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from jobtuner.errors import ModelError

__all__ = ["KNOWN_ANSWERS_FILE", "distance_to_known_answers", "write_known_answers"]

KNOWN_ANSWERS_FILE = "known_answers.json"

_QUESTIONS = (
    "Registered nurse, night shift, city hospital",
    "Wir suchen eine Softwareentwicklerin mit Erfahrung in Python und Datenbanken.",
    "Cuisinier pour un petit restaurant, service du soir",
    "Conductor de camión con permiso C, rutas nacionales",
    "Butiksassistent til vores supermarked",
    "Accountant: ledgers, invoices, year-end closing, tax returns",
)
"""Our own words: no training data lies beside published weights."""


class _Predictor(Protocol):
    @property
    def labels(self) -> list[str]: ...

    def log_probabilities(self, texts: Sequence[str]) -> NDArray[np.float32]: ...


def write_known_answers(predictor: _Predictor, folder: Path) -> None:
    """Ask the questions and write `known_answers.json`."""
    scores = predictor.log_probabilities(_QUESTIONS)
    rows = [
        {"text": text, "log_probabilities": [round(float(value), 4) for value in row]}
        for text, row in zip(_QUESTIONS, scores, strict=True)
    ]
    (folder / KNOWN_ANSWERS_FILE).write_text(json.dumps({"questions": rows}, ensure_ascii=False), encoding="utf-8")


def distance_to_known_answers(predictor: _Predictor, folder: Path) -> float:
    """Mean total variation between the predictor's answers and the written ones: 0 equal, 1 nothing in common.

    Raises:
        ModelError: the folder holds no readable answers, or to other labels.
    """
    path = folder / KNOWN_ANSWERS_FILE
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))["questions"]
        texts = [str(row["text"]) for row in rows]
        written = np.exp(np.array([row["log_probabilities"] for row in rows], dtype=np.float64))
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise ModelError(
            f"{path} cannot be read ({type(error).__name__}): this model was exported by an earlier version. Export it "
            "again, so that a server's answers can be checked against it."
        ) from error
    found = np.exp(predictor.log_probabilities(texts).astype(np.float64))
    if found.shape != written.shape:
        raise ModelError(f"{path} holds {written.shape} probabilities, the model gives {found.shape}. Export it again.")
    return float(np.abs(found - written).sum(axis=1).mean() / 2.0)
