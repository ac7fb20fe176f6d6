"""How near test rows are to training: for each of a sample, the most similar training row.

Splitting whole clusters keeps near-duplicates on one side. This looks whether it did, and shows what lies just below
the threshold. The candidates come from the signatures of all training rows, their exact similarity from the texts.
"""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from jobtuner.config import LeakageConfig
from jobtuner.errors import DataError
from jobtuner.prepare.deduplicate import TextOf
from jobtuner.prepare.shingles import jaccard, normalise, shingle_sets
from jobtuner.progress import Bar, track

__all__ = ["Leakage", "Neighbour", "check_leakage", "find_leakage"]

_CANDIDATES = 3  # training rows by estimate, of which the most similar one is taken
_PLACES = 255  # of a signature that are looked at: a byte counts them
_BLOCK = 131_072  # training rows looked at together: their places by column and byte take 34 MB
_TOGETHER = 100  # test rows whose texts are read together
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
    found: list[Neighbour] = []
    with track("Comparing test with training", total=len(chosen), unit="rows") as bar:
        near = _nearest(signatures[0], signatures[1][chosen], bar)
        for start in range(0, len(chosen), _TOGETHER):
            some = slice(start, start + _TOGETHER)
            pairs = zip(chosen[some], near[some], strict=True)
            groups = [(test[index], *(train[place] for place in places)) for index, places in pairs]
            found += _most_similar(groups, text_of, shingle)
    return Leakage(sorted(found, key=lambda pair: (-pair.similarity, pair.test)), len(test))


def _most_similar(groups: Sequence[Sequence[int]], text_of: TextOf, shingle: int) -> Iterator[Neighbour]:
    """Of each group, whose first place is a test row and whose others are candidates, the most similar candidate."""
    sets = iter(shingle_sets([normalise(text_of(place)) for group in groups for place in group], shingle))
    for test, *places in groups:
        own = next(sets)
        similarities = [jaccard(own, next(sets)) for _ in places]
        best = int(np.argmax(similarities))
        yield Neighbour(test, places[best], similarities[best])


def _nearest(train: NDArray[np.uint32], test: NDArray[np.uint32], bar: Bar) -> list[list[int]]:
    """For each test row the training rows that agree with it in most places, of equal ones the first.

    One byte of each number is enough for an estimate: two different ones agree in it once in 256. So of a column of
    training, a test row looks at the 256th part that has its byte there: two thirds of the price of comparing all.

    Args:
        train, test: signatures, shape (rows, permutations).
        bar: advanced by one a test row.
    """
    best: list[list[tuple[int, int]]] = [[] for _ in test]
    done = 0
    for start in range(0, len(train), _BLOCK):
        block = train[start : start + _BLOCK, :_PLACES].astype(np.uint8)
        lists = [_rows_by_value(column) for column in block.T]
        for index, signature in enumerate(test[:, :_PLACES].astype(np.uint8).tolist()):
            same = [rows[value] for rows, value in zip(lists, signature, strict=True)]
            agree = np.bincount(np.concatenate(same), minlength=len(block)).astype(np.uint8)
            best[index] = sorted([*best[index], *((-level, start + row) for level, row in _first(agree))])[:_CANDIDATES]
        reached = len(test) * min(start + _BLOCK, len(train)) // len(train)
        bar.advance(reached - done)
        done = reached
    return [[row for _, row in rows] for rows in best]


def _rows_by_value(column: NDArray[np.uint8]) -> list[NDArray[np.int32]]:
    """For each of the 256 values of a byte, the rows that have it."""
    order = np.argsort(column, kind="stable").astype(np.int32)
    return np.split(order, np.cumsum(np.bincount(column, minlength=256))[:-1])


def _first(agree: NDArray[np.uint8]) -> list[tuple[int, int]]:
    """The largest numbers with their places, of equal ones the first."""
    found: list[tuple[int, int]] = []
    for level in range(int(agree.max()), -1, -1):  # a few passes: `np.argpartition` takes as long as all before
        found += [(level, row) for row in np.flatnonzero(agree == level)[: _CANDIDATES - len(found)].tolist()]
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
