"""Exact duplicates, and clusters of near-duplicates by MinHash and locality-sensitive hashing.

Signatures propose pairs, the exact Jaccard similarity decides, and union-find makes clusters of the pairs. Of a text
only its hash and its signature are held in memory; the text itself is asked for where a pair must be decided. The order
of rows changes nothing.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from hashlib import sha256

import numpy as np
from numpy.typing import NDArray

from jobtuner.config import DeduplicateConfig
from jobtuner.prepare.shingles import jaccard, mix, normalise, shingle_sets, signatures
from jobtuner.progress import Bar

__all__ = [
    "DisjointSets",
    "Duplicates",
    "TextOf",
    "assign_clusters",
    "bands_for",
    "cluster_names",
    "find_exact",
    "join_listed",
    "join_similar",
    "join_within",
    "text_key",
]

TextOf = Callable[[int], str]
"""The cleaned text of a row by its place."""

_DETECTION = 0.999  # probability with which a pair just at the threshold must be proposed
_LARGE_BUCKET = 200  # rows; up to here all pairs of a bucket are proposed (19,900), beyond it a star and a chain
_PAIRS = 100_000  # pairs that are looked at together: their signatures take 50 MB
_CACHED_SETS = 4000  # sets of shingles kept: 32 MB where texts have 1,000 characters
_TOGETHER = 500  # pairs whose texts are read together
_MARGIN = 4.0  # standard deviations below the threshold at which an estimate rules a pair out: 1 pair in 30,000 at it


def text_key(normal: str) -> bytes:
    """16 bytes that are equal for texts with the same normal form (`shingles.normalise`), which is given."""
    return sha256(normal.encode("utf-8", "surrogatepass")).digest()[:16]


@dataclass(frozen=True, slots=True)
class Duplicates:
    """What `find_exact` found, by places of rows."""

    kept: list[int]
    duplicate_of: dict[int, int] = field(default_factory=dict)
    """A dropped row to the row that stays for it."""
    conflicts: dict[int, list[str]] = field(default_factory=dict)
    """A row to the labels, sorted, that its text has in the same language."""
    others: dict[int, list[str]] = field(default_factory=dict)
    """A kept row to the other labels, sorted, that its text has: where these are accepted instead."""


def find_exact(
    places: Iterable[int],
    keys: Sequence[bytes],
    languages: Sequence[str],
    ids: Sequence[str],
    labels: Sequence[str],
    *,
    accept: bool = False,
) -> Duplicates:
    """Sort out rows with the same normalised text in the same language.

    With one label, the row with the smallest id stays. With several labels all of them are conflicts: nobody can say
    which one is right. Where they are accepted, the row with the smallest id among those with the most frequent label
    stays.

    Args:
        places: the rows to look at.
        keys: `text_key` of each row's text.
        languages, ids, labels: of each row.
        accept: whether several labels of a text are all right.
    """
    first: dict[tuple[bytes, str], int] = {}
    others: dict[int, list[int]] = {}
    for place in places:
        before = first.setdefault((keys[place], languages[place]), place)
        if before != place:
            others.setdefault(before, [before]).append(place)
    found = Duplicates([])
    for place in first.values():
        same = others.get(place, [place])
        codes = sorted({labels[row] for row in same})
        if len(codes) > 1 and not accept:
            found.conflicts.update((row, codes) for row in same)
            continue
        count = Counter(labels[row] for row in same)
        stays, *dropped = sorted(same, key=lambda row: (-count[labels[row]], labels[row], ids[row]))
        if len(codes) > 1:
            found.others[stays] = [code for code in codes if code != labels[stays]]
        found.kept.append(stays)
        found.duplicate_of.update((row, stays) for row in dropped)
    return found


class DisjointSets:
    """Union-find with path halving; the root of a set is its smallest member."""

    def __init__(self, size: int) -> None:
        self._parents = list(range(size))

    def find(self, item: int) -> int:
        """The root of the set that holds the item."""
        parents = self._parents
        while parents[item] != item:
            parents[item] = parents[parents[item]]
            item = parents[item]
        return item

    def union(self, left: int, right: int) -> None:
        """Make one set of two."""
        low, high = sorted((self.find(left), self.find(right)))
        self._parents[high] = low

    def roots(self) -> NDArray[np.intp]:
        """The root of every item."""
        parents = np.array(self._parents, dtype=np.intp)
        while not np.array_equal(above := parents[parents], parents):
            parents = above
        return parents


def assign_clusters(
    texts: Sequence[str], groups: Sequence[str | None], config: DeduplicateConfig, seed: int, bar: Bar | None = None
) -> list[str]:
    """The cluster id of each text: equal for near-duplicates, for equal texts and for rows of the same group.

    Args:
        texts: cleaned texts.
        groups: beside each text, the source's own group or None.
        config: threshold, shingle length, number of hash functions.
        seed: chooses the hash functions.
        bar: advanced to one unit a distinct text.
    """
    normal = [normalise(text) for text in texts]
    keys = [text_key(text) for text in normal]
    sets = DisjointSets(len(texts))
    matrix = signatures(normal, config.shingle, config.permutations, seed)
    join_listed(keys, sets)
    join_similar(matrix, texts.__getitem__, config, sets, bar)
    join_listed(groups, sets)
    return cluster_names(keys, sets)


def cluster_names(keys: Sequence[bytes], sets: DisjointSets) -> list[str]:
    """A name for the set of each row: the smallest key in it, so that only its own texts decide."""
    roots = sets.roots().tolist()
    smallest: dict[int, bytes] = {}
    for root, key in zip(roots, keys, strict=True):
        smallest[root] = min(smallest.get(root, key), key)
    names = {root: key.hex()[:16] for root, key in smallest.items()}
    return [names[root] for root in roots]


def join_listed(values: Iterable[object | None], sets: DisjointSets) -> None:
    """Join rows with the same value; rows without one (None) stay alone."""
    first: dict[object, int] = {}
    for place, value in enumerate(values):
        if value is not None and (before := first.setdefault(value, place)) != place:
            sets.union(before, place)


def bands_for(threshold: float, permutations: int) -> tuple[int, int]:
    """Bands and rows a band, b · r ≤ permutations: the longest bands that still propose a pair at the threshold surely.

    A pair of similarity s shares a whole band with probability 1 - (1 - s^r)^b (Leskovec et al., Mining of Massive
    Datasets, section 3.4.2); longer bands propose fewer false pairs.
    """
    for rows in range(permutations, 1, -1):
        bands = permutations // rows
        if 1 - (1 - threshold**rows) ** bands >= _DETECTION:
            return bands, rows
    return permutations, 1


def join_similar(
    matrix: NDArray[np.uint32], text_of: TextOf, config: DeduplicateConfig, sets: DisjointSets, bar: Bar | None = None
) -> None:
    """Join rows whose texts have at least the similarity `config.threshold`.

    Rows that share a band of their signatures are looked at, band by band; a pair that is in one set already is not.

    Args:
        matrix: signatures, shape (rows, permutations).
        text_of: gives the text of a row; asked for only where the signatures leave a pair open.
        config: threshold and shingle length.
        sets: one item a row; joined here.
        bar: advanced to one unit a row.
    """
    check = _PairCheck(matrix, text_of, config.shingle)
    bands, rows = bands_for(config.threshold, matrix.shape[1])
    done = 0
    for band in range(bands):
        keys = _band_keys(matrix[:, band * rows : (band + 1) * rows])
        for pairs in _bucket_pairs(keys, sets.roots()):
            check.join(pairs, config.threshold, sets)
        if bar is not None:
            bar.advance(len(matrix) * (band + 1) // bands - done)
            done = len(matrix) * (band + 1) // bands


def join_within(
    values: Sequence[object | None],
    matrix: NDArray[np.uint32],
    text_of: TextOf,
    threshold: float,
    shingle: int,
    sets: DisjointSets,
) -> None:
    """Join rows that have the same value (not None) and at least the similarity `threshold`."""
    check = _PairCheck(matrix, text_of, shingle)
    codes: dict[object, int] = {}
    keys = np.array(
        [codes.setdefault(value if value is not None else place, len(codes)) for place, value in enumerate(values)],
        dtype=np.uint64,
    )
    for pairs in _bucket_pairs(keys, sets.roots()):
        check.join(pairs, threshold, sets)


class _PairCheck:
    """Decides pairs: by the signatures where they are clear, else by the exact similarity."""

    def __init__(self, matrix: NDArray[np.uint32], text_of: TextOf, shingle: int) -> None:
        self._matrix, self._text_of, self._shingle = matrix, text_of, shingle
        self._sets: dict[int, NDArray[np.uint64]] = {}
        self._refused: set[tuple[int, int]] = set()

    def join(self, pairs: NDArray[np.intp], threshold: float, sets: DisjointSets) -> None:
        deviation = (threshold * (1 - threshold) / self._matrix.shape[1]) ** 0.5  # of a binomial share
        estimates = (self._matrix[pairs[:, 0]] == self._matrix[pairs[:, 1]]).mean(axis=1)
        near = pairs[estimates >= threshold - _MARGIN * deviation].tolist()
        for start in range(0, len(near), _TOGETHER):
            some = [(left, right) for left, right in near[start : start + _TOGETHER] if self._open(left, right, sets)]
            self._read([place for pair in some for place in pair])
            for left, right in some:
                if self._open(left, right, sets):
                    if jaccard(self._sets[left], self._sets[right]) >= threshold:
                        sets.union(left, right)
                    else:
                        self._refused.add((left, right))

    def _open(self, left: int, right: int, sets: DisjointSets) -> bool:
        return sets.find(left) != sets.find(right) and (left, right) not in self._refused

    def _read(self, places: Sequence[int]) -> None:
        """Make the sets of shingles of these rows that are not there yet, together: one by one costs three times it."""
        if len(self._sets) + len(places) > _CACHED_SETS:
            self._sets = {place: self._sets[place] for place in places if place in self._sets}
        missing = sorted(set(places) - self._sets.keys())
        texts = [normalise(self._text_of(place)) for place in missing]
        self._sets.update(zip(missing, shingle_sets(texts, self._shingle), strict=True))


def _band_keys(columns: NDArray[np.uint32]) -> NDArray[np.uint64]:
    key = np.zeros(len(columns), dtype=np.uint64)
    for column in range(columns.shape[1]):
        key = mix(key + columns[:, column])
    return key


def _bucket_pairs(keys: NDArray[np.uint64], roots: NDArray[np.intp]) -> Iterator[NDArray[np.intp]]:
    """Pairs of rows with the same key and different roots, some at a time, each of shape (pairs, 2)."""
    order = np.argsort(keys, kind="stable")
    starts = np.flatnonzero(np.concatenate([[True], keys[order][1:] != keys[order][:-1]])) if len(keys) else order
    sizes = np.diff(np.concatenate([starts, [len(order)]]))
    for size in np.unique(sizes[sizes > 1]).tolist():
        left, right = _pairs_of_bucket(size)
        together = max(1, _PAIRS // len(left))
        of_size = starts[sizes == size]
        for first in range(0, len(of_size), together):
            begin = of_size[first : first + together, None]
            pairs = np.stack([order[begin + left].ravel(), order[begin + right].ravel()], axis=1)
            yield pairs[roots[pairs[:, 0]] != roots[pairs[:, 1]]]


def _pairs_of_bucket(size: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    if size <= _LARGE_BUCKET:
        left, right = np.triu_indices(size, k=1)
        return left, right
    chain = np.arange(1, size)
    return np.concatenate([np.zeros(size - 1, dtype=np.intp), chain - 1]), np.concatenate([chain, chain])
