"""A reference on disk: reference.json, reference.parquet (rows of the log's form) and vocabulary.safetensors."""

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jobtuner.drift_reference.calibration import Calibration, calibrate
from jobtuner.drift_reference.distances import Measure, cells_of, kernel_width
from jobtuner.drift_reference.sample import COLUMNS, Sample
from jobtuner.errors import ContractError
from jobtuner.prediction_log.sketch import Vocabulary

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["ALPHA", "FOLDER", "VOCABULARY_FILE", "Reference", "make_reference"]

FOLDER = "watch_reference"
"""Name of a reference's folder beside a model's weights."""

VOCABULARY_FILE = "vocabulary.safetensors"

ALPHA = 0.01
"""Share of windows without drift that may be called drifted. All windows are compared with one reference and share its
luck: at 2.5 % one reference of real titles alarmed on 6 % of them. At 1 % the promised 5 % hold."""

_JSON, _ROWS = "reference.json", "reference.parquet"
_FORMAT = 1
_MOST = 2000  # rows: their kernel matrix takes 16 MB
_SEED = 17


@dataclass(frozen=True)
class Reference:
    """What a model's answers look like without drift."""

    rows: Sample
    measure: Measure
    calibrations: list[Calibration]
    vocabulary: Vocabulary | None
    alpha: float
    about: dict[str, Any]
    """Where it came from: model_version, data_fingerprint, accuracy, created."""

    def save(self, folder: Path) -> None:
        """Write the files; the JSON last."""
        from pyarrow import parquet

        folder.mkdir(parents=True, exist_ok=True)
        if self.vocabulary is not None:
            self.vocabulary.save(folder / VOCABULARY_FILE)
        parquet.write_table(_table(self.rows), folder / _ROWS, compression="zstd")
        document = {
            "format": _FORMAT,
            "about": self.about,
            "alpha": self.alpha,
            "rows_sha256": hashlib.sha256((folder / _ROWS).read_bytes()).hexdigest(),
            "measure": asdict(self.measure),
            "calibrations": [item.to_json() for item in self.calibrations],
        }
        text = json.dumps(document, ensure_ascii=False, indent=1, allow_nan=False)
        (folder / _JSON).write_text(text + "\n", encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> "Reference":
        """Read what `save` wrote.

        Raises:
            ContractError: the folder holds no whole reference of this format.
        """
        import pyarrow as pa
        from pyarrow import parquet

        try:
            document = json.loads((folder / _JSON).read_text(encoding="utf-8"))
            _check(document, (folder / _ROWS).read_bytes())
            measure = document["measure"]
            words = folder / VOCABULARY_FILE
            return cls(
                rows=Sample.of(parquet.read_table(folder / _ROWS)),
                measure=Measure(**{**measure, "cells": tuple(measure["cells"])}),
                calibrations=[Calibration.from_json(item) for item in document["calibrations"]],
                vocabulary=Vocabulary.load(words) if words.is_file() else None,
                alpha=document["alpha"],
                about=document["about"],
            )
        except (OSError, ValueError, KeyError, TypeError, ContractError, pa.ArrowException) as error:
            raise ContractError(
                f"{folder} holds no reference ({error}). `jobtuner monitor reference` makes one."
            ) from error


def _check(document: dict[str, Any], rows: bytes) -> None:
    if document["format"] != _FORMAT:
        raise ContractError(f"its format is {document['format']}, this version reads {_FORMAT}")
    if hashlib.sha256(rows).hexdigest() != document["rows_sha256"]:
        raise ContractError(f"{_ROWS} is not the one that {_JSON} was written with")


def make_reference(
    table: "pa.Table",
    vocabulary: Vocabulary | None,
    about: dict[str, Any],
    *,
    abstain_below: float,
    alpha: float = ALPHA,
    seed: int = _SEED,
) -> Reference:
    """A reference of rows in the log's form.

    Args:
        table: answers to ads that the model was not trained on; at most 2,000 of them are kept.
        vocabulary: words of the training.
        about: where they came from.
        abstain_below: probability below which an answer counts as abstained.
        alpha: share of windows without drift that may be called drifted.
        seed: of the divisions, and of the choice among more rows.

    Raises:
        DataError: there are too few rows.
    """
    rows = Sample.of(table).without_repeats().at_most(_MOST, seed)
    measure = Measure(kernel_width(rows.sketch) if len(rows) else 1.0, cells_of(rows.label), abstain_below)
    return Reference(rows, measure, calibrate(rows, measure, alpha, seed), vocabulary, alpha, about)


def _table(rows: Sample) -> "pa.Table":
    import pyarrow as pa

    columns: dict[str, Any] = {name: getattr(rows, name) for name in COLUMNS if name != "sketch"}
    flat = pa.array(rows.sketch.ravel(), type=pa.float32())
    return pa.table({**columns, "sketch": pa.FixedSizeListArray.from_arrays(flat, rows.sketch.shape[1])})
