"""Exact duplicates, and clusters of near-duplicates by MinHash and locality-sensitive hashing.

MinHash (Broder, 1997) over character shingles proposes pairs, the exact Jaccard similarity decides, and union-find
makes clusters of the pairs. Signatures are made for all texts at once with numpy; the order of rows changes nothing.
"""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from jobtuner.config import DeduplicateConfig
from jobtuner.progress import Bar
from jobtuner.records import JobAd

__all__ = ["Duplicates", "assign_clusters", "bands_for", "find_exact", "jaccard", "normalise", "shingles", "signatures"]

_CHUNK = 2_000_000  # characters whose shingles are hashed at once: some 100 MB of working memory
_DETECTION = 0.995  # probability with which a pair just at the threshold must be proposed
_LARGE_BUCKET = 200  # rows; up to here all pairs of a bucket are proposed (19,900), beyond it a star and a chain
_PAIRS = 100_000  # pairs whose similarity is estimated at once: 64 hash functions × 2 × 4 bytes a pair = 50 MB
_CACHED_SETS = 2000  # shingle sets kept: some 200 MB where texts have 2,000 characters
_MARGIN = 3.0  # standard deviations below the threshold at which an estimate rules a pair out: 1 pair in 700 at it


def normalise(text: str) -> str:
    """The form in which texts are compared: case folded, one space between words."""
    return " ".join(text.casefold().split())


@dataclass(frozen=True, slots=True)
class Duplicates:
    """What `find_exact` found."""

    kept: list[JobAd]
    duplicate_of: dict[str, str]
    """Id of a dropped row to the id of the row that stays for it."""
    conflicts: dict[str, list[str]]
    """Id of a row to the labels, sorted, that its text has in the same language."""


def find_exact(ads: Sequence[JobAd]) -> Duplicates:
    """Sort out rows with the same normalised text in the same language.

    With one label, the row with the smallest id stays. With several labels all of them are conflicts: nobody can say
    which one is right.
    """
    rows: dict[tuple[str, str], list[JobAd]] = {}
    for ad in ads:
        rows.setdefault((ad.language, normalise(ad.text)), []).append(ad)
    kept: list[JobAd] = []
    duplicate_of: dict[str, str] = {}
    conflicts: dict[str, list[str]] = {}
    for same in rows.values():
        labels = sorted({ad.label or "" for ad in same})
        if len(labels) > 1:
            conflicts.update((ad.id, labels) for ad in same)
            continue
        first, *others = sorted(same, key=lambda ad: ad.id)
        kept.append(first)
        duplicate_of.update((ad.id, first.id) for ad in others)
    return Duplicates(kept, duplicate_of, conflicts)


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
    keys = [normalise(text) for text in texts]
    distinct = sorted(set(keys))
    place = {key: index for index, key in enumerate(distinct)}
    sets = _DisjointSets(len(distinct))
    for left, right in _similar_pairs(distinct, config, seed, sets, bar):
        sets.union(left, right)
    first_of_group: dict[str, int] = {}
    for key, group in zip(keys, groups, strict=True):
        if group is not None:
            sets.union(place[key], first_of_group.setdefault(group, place[key]))
    names = {root: _name(distinct[root]) for root in {sets.find(index) for index in range(len(distinct))}}
    return [names[sets.find(place[key])] for key in keys]


def _name(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()[:16]


def shingles(text: str, length: int) -> frozenset[str]:
    """All runs of `length` characters; a shorter text is its own only shingle."""
    return frozenset(text[start : start + length] for start in range(max(1, len(text) - length + 1)))


def jaccard(left: frozenset[str], right: frozenset[str]) -> float:
    """Size of the intersection over size of the union."""
    shared = len(left & right)
    return shared / (len(left) + len(right) - shared)


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


def signatures(texts: Sequence[str], length: int, permutations: int, seed: int) -> NDArray[np.uint32]:
    """MinHash signatures, shape (texts, permutations)."""
    generator = np.random.default_rng(seed)
    factors = generator.integers(0, 2**63, size=permutations, dtype=np.uint64) * np.uint64(2) + np.uint64(1)
    offsets = generator.integers(0, 2**63, size=permutations, dtype=np.uint64)
    result = np.empty((len(texts), permutations), dtype=np.uint32)
    for start, end in _chunks(texts):
        hashes, starts = _shingle_hashes(texts[start:end], length)
        for column in range(permutations):  # multiply-shift hashing: the upper half of a·x + b modulo 2^64
            values = ((hashes * factors[column] + offsets[column]) >> np.uint64(32)).astype(np.uint32)
            result[start:end, column] = np.minimum.reduceat(values, starts)
    return result


def _chunks(texts: Sequence[str]) -> Iterator[tuple[int, int]]:
    start, characters = 0, 0
    for index, text in enumerate(texts):
        characters += len(text)
        if characters >= _CHUNK:
            yield start, index + 1
            start, characters = index + 1, 0
    if start < len(texts):
        yield start, len(texts)


def _shingle_hashes(texts: Sequence[str], length: int) -> tuple[NDArray[np.uint64], NDArray[np.intp]]:
    """64-bit hashes of all shingles of all texts in a row, and where each text's shingles start."""
    padded = [text.ljust(length, "\0") for text in texts]
    codes = np.frombuffer("".join(padded).encode("utf-32-le"), dtype=np.uint32).astype(np.uint64)
    sizes = np.array([len(text) for text in padded], dtype=np.intp)
    hashes = np.zeros(len(codes) - length + 1, dtype=np.uint64)
    for offset in range(length):
        hashes = _mix(hashes + codes[offset : offset + len(hashes)] + np.uint64(0x9E3779B97F4A7C15))
    ends = np.cumsum(sizes)
    inside = np.ones(len(codes), dtype=bool)
    for back in range(1, length):
        inside[ends - back] = False  # a shingle that starts here would run into the next text
    counts = sizes - length + 1
    return hashes[inside[: len(hashes)]], np.cumsum(counts) - counts


def _mix(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """The finaliser of splitmix64 (Steele et al., 2014): an input bit changes each output bit half of the time."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


def _similar_pairs(
    texts: Sequence[str], config: DeduplicateConfig, seed: int, sets: "_DisjointSets", bar: Bar | None
) -> Iterator[tuple[int, int]]:
    """Pairs whose exact similarity reaches the threshold; those that `sets` already holds together are left out."""
    matrix = signatures(texts, config.shingle, config.permutations, seed)
    if bar is not None:
        bar.advance(len(texts))

    @lru_cache(maxsize=_CACHED_SETS)
    def shingles_of(index: int) -> frozenset[str]:
        return shingles(texts[index], config.shingle)

    for left, right in _candidates(matrix, config).tolist():
        if sets.find(left) != sets.find(right) and jaccard(shingles_of(left), shingles_of(right)) >= config.threshold:
            yield left, right


def _candidates(matrix: NDArray[np.uint32], config: DeduplicateConfig) -> NDArray[np.intp]:
    """Pairs that share a band and whose estimated similarity is not far below the threshold, each once, (pairs, 2)."""
    deviation = (config.threshold * (1 - config.threshold) / config.permutations) ** 0.5  # of a binomial share
    lowest = config.threshold - _MARGIN * deviation
    found = [np.empty((0, 2), dtype=np.intp)]
    for keys in _band_keys(matrix, *bands_for(config.threshold, config.permutations)):
        pairs = _bucket_pairs(keys)
        for start in range(0, len(pairs), _PAIRS):
            part = pairs[start : start + _PAIRS]
            estimates = (matrix[part[:, 0]] == matrix[part[:, 1]]).mean(axis=1)
            found.append(part[estimates >= lowest])
    return np.unique(np.concatenate(found), axis=0)


def _band_keys(matrix: NDArray[np.uint32], bands: int, rows: int) -> Iterator[NDArray[np.uint64]]:
    for band in range(bands):
        key = np.zeros(len(matrix), dtype=np.uint64)
        for column in range(band * rows, (band + 1) * rows):
            key = _mix(key + matrix[:, column] + np.uint64(0x9E3779B97F4A7C15))
        yield key


def _bucket_pairs(keys: NDArray[np.uint64]) -> NDArray[np.intp]:
    """Pairs of rows with the same key, shape (pairs, 2)."""
    order = np.argsort(keys, kind="stable")
    edges = np.flatnonzero(np.diff(keys[order])) + 1
    found = [np.empty((0, 2), dtype=np.intp)]
    for bucket in np.split(order, edges):
        size = len(bucket)
        if size == 1:
            continue
        if size <= _LARGE_BUCKET:
            left, right = np.triu_indices(size, k=1)
        else:
            left = np.concatenate([np.zeros(size - 1, dtype=np.intp), np.arange(size - 1)])
            right = np.concatenate([np.arange(1, size), np.arange(1, size)])
        found.append(np.stack([bucket[left], bucket[right]], axis=1))
    return np.concatenate(found)


class _DisjointSets:
    """Union-find with path halving; the root of a set is its smallest member."""

    def __init__(self, size: int) -> None:
        self._parents = list(range(size))

    def find(self, item: int) -> int:
        parents = self._parents
        while parents[item] != item:
            parents[item] = parents[parents[item]]
            item = parents[item]
        return item

    def union(self, left: int, right: int) -> None:
        low, high = sorted((self.find(left), self.find(right)))
        self._parents[high] = low
