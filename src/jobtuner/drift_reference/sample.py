"""Answers as columns: what drift is measured on."""

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from jobtuner.prediction_log.sketch import DIMENSIONS

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["COLUMNS", "Sample"]

COLUMNS = ["language", "label", "probability", "characters", "unknown_words", "sketch"]
"""What is read of a prediction log."""


@dataclass(frozen=True)
class Sample:
    """Columns of n answers, all of the same length."""

    language: NDArray[np.str_]
    label: NDArray[np.str_]
    probability: NDArray[np.float64]
    characters: NDArray[np.float64]
    unknown_words: NDArray[np.float64]
    """NaN where no vocabulary was at hand."""
    sketch: NDArray[np.float32]
    """Shape [n, DIMENSIONS]."""

    def __len__(self) -> int:
        return len(self.label)

    @classmethod
    def of(cls, table: "pa.Table") -> "Sample":
        """The columns of a prediction log's rows, in their order."""
        sketch = table["sketch"].combine_chunks().flatten().to_numpy(zero_copy_only=False)
        return cls(
            language=np.array(table["language"].to_pylist(), dtype=str),
            label=np.array(table["label"].to_pylist(), dtype=str),
            probability=table["probability"].to_numpy().astype(np.float64),
            characters=table["characters"].to_numpy().astype(np.float64),
            unknown_words=table["unknown_words"].to_numpy().astype(np.float64),
            sketch=sketch.reshape(-1, DIMENSIONS).astype(np.float32),
        )

    def take(self, chosen: NDArray[np.intp] | NDArray[np.bool_]) -> "Sample":
        """The chosen rows."""
        return Sample(**{field.name: getattr(self, field.name)[chosen] for field in fields(self)})

    def joined(self, other: "Sample") -> "Sample":
        """These rows, and behind them the other ones."""
        names = [field.name for field in fields(self)]
        return Sample(**{name: np.concatenate([getattr(self, name), getattr(other, name)]) for name in names})

    def without_repeats(self) -> "Sample":
        """One row a text, the first. A client that sends one ad a thousand times is no news about a thousand ads."""
        _, first = np.unique(self.sketch, axis=0, return_index=True)
        return self.take(np.sort(first))

    def at_most(self, rows: int, seed: int) -> "Sample":
        """The rows, or so many of them drawn at random and kept in order."""
        if len(self) <= rows:
            return self
        chosen = np.random.default_rng(seed).choice(len(self), rows, replace=False)
        return self.take(np.sort(chosen))
