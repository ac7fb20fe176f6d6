"""Where a model is good and where it is not: rows by language, source, level of the taxonomy, frequency in training.

A code stands for the set of its ancestors and itself. The hierarchical F1 compares such sets, so that a neighbour in
the right minor group costs less than an answer from another major group (Kiritchenko et al. 2006; recommended by Silla
and Freitas 2011, section 5).
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from jobtuner.taxonomy import ancestors

__all__ = ["FREQUENCIES", "KINDS", "Overlap", "Slice", "find_slices", "overlap"]

KINDS = ("per_language", "per_source", "per_level", "per_frequency")

FREQUENCIES = {"head": (101, None), "body": (20, 100), "tail": (0, 19)}
"""Least and most training rows of a code in each band: many, medium and few shots as in Liu et al. 2019 (arXiv
1904.05160), section 5."""


@dataclass(frozen=True)
class Overlap:
    """Lengths of paths, one a row, shape [n] each; the root counts nowhere."""

    right: NDArray[np.intp]
    """Levels of the right code."""
    answered: NDArray[np.intp]
    """Levels of the answer."""
    shared: NDArray[np.intp]
    """Levels at which the two are in the same group."""


def overlap(gold: Sequence[str], predicted: Sequence[str]) -> Overlap:
    """Compare each answer's path with that of the right code."""
    paths = {code: ancestors(code) for code in {*gold, *predicted}}
    shared = [
        sum(ours == theirs for ours, theirs in zip(paths[code], paths[answer], strict=False))  # equal as far as both go
        for code, answer in zip(gold, predicted, strict=True)
    ]
    depths = {code: len(path) for code, path in paths.items()}
    return Overlap(
        right=np.array([depths[code] for code in gold], dtype=np.intp),
        answered=np.array([depths[code] for code in predicted], dtype=np.intp),
        shared=np.array(shared, dtype=np.intp),
    )


@dataclass(frozen=True)
class Slice:
    """Some of the rows, and what counts as a right answer there."""

    kind: str
    """One of `KINDS`."""
    name: str
    rows: NDArray[np.bool_]
    """Which rows belong to it, shape [n]."""
    right: NDArray[np.bool_]
    """Whether each answer is right, shape [n]; at a level of the taxonomy: whether its group is."""


def find_slices(
    gold: Sequence[str],
    languages: Sequence[str],
    right: NDArray[np.bool_],
    paths: Overlap,
    training_rows: Mapping[str, int],
    sources: Sequence[str] = (),
) -> list[Slice]:
    """All slices that hold rows.

    Args:
        gold: the right codes.
        languages: of the rows.
        right: whether each answer is the right code.
        paths: as `overlap` returns them.
        training_rows: code to the number of its training rows; a code that is missing was never seen. Empty: no bands.
        sources: of the rows; empty, or all the same: no slices by source.
    """
    found = [
        *_named("per_language", languages, right),
        *(_named("per_source", sources, right) if len(set(sources)) > 1 else ()),
    ]
    for level in range(1, int(paths.right.max()) + 1):  # a row counts at the levels that its right code has
        found.append(Slice("per_level", str(level), paths.right >= level, paths.shared >= level))
    return [*found, *(_bands(gold, right, training_rows) if training_rows else ())]


def _named(kind: str, values: Sequence[str], right: NDArray[np.bool_]) -> Iterator[Slice]:
    names = np.array(values, dtype=str)
    for name in np.unique(names):
        yield Slice(kind, str(name) or "unknown", names == name, right)


def _bands(gold: Sequence[str], right: NDArray[np.bool_], training_rows: Mapping[str, int]) -> Iterator[Slice]:
    seen = np.array([training_rows.get(code, 0) for code in gold])
    for name, (least, most) in FREQUENCIES.items():
        rows = seen >= least if most is None else (seen >= least) & (seen <= most)
        if rows.any():
            yield Slice("per_frequency", name, rows, right)
