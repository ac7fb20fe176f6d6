"""How near test rows are to training: for each of a sample, the most similar training row.

Splitting whole clusters keeps near-duplicates on one side. This looks whether it did, and shows what lies just below
the threshold. The candidates come from the signatures of all training rows, their exact similarity from the texts.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from jobtuner.config import LeakageConfig
from jobtuner.errors import DataError
from jobtuner.prepare.deduplicate import TextOf
from jobtuner.prepare.shingles import jaccard, normalise, shingle_sets
from jobtuner.progress import track

__all__ = ["Leakage", "Neighbour", "check_leakage", "find_leakage"]

_CANDIDATES = 3  # training rows by estimate, of which the most similar one is taken
_SHOWN = 5


@dataclass(frozen=True, slots=True)
class Neighbour:
    """A test row and the most similar training row, by their places."""

    test: int
    train: int
    similarity: float
    """Jaccard similarity of the sets of character shingles, in [0, 1]."""


@dataclass(frozen=True, slots=True)
class Leakage:
    """The nearest training rows of a sample of the test rows, the most similar pair first."""

    neighbours: Sequence[Neighbour]
    test_rows: int
    """Size of the split of which the neighbours' test rows are a sample."""

    def share(self, similarity: float) -> float:
        """Share of the sample with a training row of at least this similarity."""
        near = sum(pair.similarity >= similarity for pair in self.neighbours)
        return near / len(self.neighbours) if self.neighbours else 0.0


def find_leakage(
    train: Sequence[int],
    test: Sequence[int],
    signatures: tuple[NDArray[np.uint32], NDArray[np.uint32]],
    text_of: TextOf,
    config: LeakageConfig,
    shingle: int,
    seed: int,
) -> Leakage:
    """Look for the nearest training row of at most `config.sample` test rows.

    Args:
        train, test: places of the rows.
        signatures: of all training rows and all test rows, in the same order.
        text_of: gives the text of a row by its place.
        config: size of the sample.
        shingle: characters a shingle.
        seed: draws the sample.
    """
    if not (train and test and config.sample):
        return Leakage([], len(test))
    chosen = sorted(random.Random(seed).sample(range(len(test)), min(config.sample, len(test))))  # noqa: S311  # a sample
    # One byte of each number is enough for an estimate: two different ones agree in it once in 256.
    columns = np.ascontiguousarray(signatures[0].astype(np.uint8).T)
    found = []
    with track("Comparing test with training", total=len(chosen), unit="rows") as bar:
        for index in chosen:
            places = [train[place] for place in _nearest(columns, signatures[1][index].astype(np.uint8))]
            sets = shingle_sets([normalise(text_of(place)) for place in (test[index], *places)], shingle)
            similarities = [jaccard(sets[0], other) for other in sets[1:]]
            best = int(np.argmax(similarities))
            found.append(Neighbour(test[index], places[best], similarities[best]))
            bar.advance()
    return Leakage(sorted(found, key=lambda pair: (-pair.similarity, pair.test)), len(test))


def _nearest(columns: NDArray[np.uint8], signature: NDArray[np.uint8]) -> list[int]:
    """Indices of the training rows that agree in most places, of equal ones the first.

    `columns` has the shape (permutations, rows). Some 130 short passes over a byte a row: 4 ms for a million rows.
    """
    agree = np.zeros(columns.shape[1], dtype=np.uint8)
    equal = np.empty(columns.shape[1], dtype=bool)
    for column, value in zip(columns[:255], signature, strict=False):
        np.equal(column, value, out=equal)
        agree += equal.view(np.uint8)
    found: list[int] = []
    for level in range(int(agree.max()), -1, -1):  # a few passes: `np.argpartition` takes as long as all before
        found += np.flatnonzero(agree == level)[: _CANDIDATES - len(found)].tolist()
        if len(found) == _CANDIDATES:
            break
    return found


def check_leakage(found: Leakage, config: LeakageConfig, ids: Sequence[str]) -> None:
    """Refuse a split whose test rows are known from training.

    Raises:
        DataError: too large a share of the sample has a training row that is too similar.
    """
    share = found.share(config.similarity)
    if share <= config.max_share:
        return
    pairs = "\n".join(
        f"  {ids[pair.test]} ~ {ids[pair.train]}: similarity {pair.similarity:.2f}"
        for pair in found.neighbours[:_SHOWN]
    )
    raise DataError(
        f"{share:.1%} of {len(found.neighbours):,} test rows have a training row of similarity {config.similarity} or "
        f"more; at most {config.max_share:.1%} may (split.leakage.max_share). The nearest:\n{pairs}\n"
        "Lower deduplicate.threshold so that such rows are kept together, or allow a larger share."
    )
