"""A stretch of the prediction log, small enough for memory however busy the endpoint was."""

from collections import Counter
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from jobtuner.drift_reference.sample import COLUMNS, Sample
from jobtuner.prediction_log.reader import iter_window

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["Window", "read"]

_MOST = 20_000  # rows that are kept: twenty times what the tests look at, so that repeats can be left out first


@dataclass(frozen=True)
class Window:
    """What was answered in a stretch of time."""

    since: datetime
    until: datetime
    rows: int
    """All answers."""
    sample: Sample
    """The model's answers, or 20,000 of them drawn at random."""
    versions: dict[str, int]
    """Answers by version of the model."""
    abstained: int
    """Answers that the endpoint gave no code for, being too unsure."""
    per_day: dict[str, int]


def read(location: str, since: datetime, until: datetime, version: str | None, seed: int = 0) -> Window:
    """Read a stretch of the log.

    Args:
        location: of the log.
        since: with its time zone.
        until: with its time zone, not inside.
        version: the model whose answers are compared; where none carries it, all are. None: all.
        seed: of the choice among more rows than are kept.

    Raises:
        DataError: a time without zone, or a damaged part.
        StorageError: the log cannot be read.
    """
    columns = [*COLUMNS, "model_version", "abstained"]
    versions, days, abstained = Counter[str](), Counter[str](), 0
    kept: dict[bool, _Reservoir] = {mine: _Reservoir(seed) for mine in (True, False)}
    for table in iter_window(location, since, until, columns):
        named = np.array(table["model_version"].to_pylist(), dtype=str)
        versions.update(named.tolist())
        days.update(str(time.date()) for time in table["time"].to_pylist())
        abstained += int(np.sum(table["abstained"].to_numpy(zero_copy_only=False)))
        for mine, reservoir in kept.items():
            reservoir.add(table.filter((named == version) == mine))
    chosen = kept[True].rows() if versions[version or ""] else kept[False].rows()
    return Window(since, until, sum(versions.values()), chosen, dict(versions), abstained, dict(sorted(days.items())))


class _Reservoir:
    """Rows drawn at random out of tables that come one by one: those with the smallest random keys."""

    def __init__(self, seed: int) -> None:
        self._generator = np.random.default_rng(seed)
        self._keys: NDArray[np.float64] = np.zeros(0)
        self._sample: Sample | None = None

    def add(self, table: "pa.Table") -> None:
        if not len(table):
            return
        new = Sample.of(table)
        self._keys = np.concatenate([self._keys, self._generator.random(len(new))])
        joined = new if self._sample is None else self._sample.joined(new)
        if len(joined) > _MOST:
            chosen = np.sort(np.argpartition(self._keys, _MOST)[:_MOST])
            joined, self._keys = joined.take(chosen), self._keys[chosen]
        self._sample = joined

    def rows(self) -> Sample:
        from jobtuner.prediction_log.rows import schema

        return Sample.of(schema().empty_table()) if self._sample is None else self._sample
