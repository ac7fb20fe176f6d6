"""Texts as sets of character shingles: normal form, hashes, MinHash signatures, Jaccard similarity. Pure functions.

MinHash (Broder, 1997): the share of equal places of two signatures estimates the Jaccard similarity of the two sets of
shingles. Signatures are made for many texts at once with numpy, in pieces that fit into a processor's cache.
"""

from collections.abc import Iterator, Sequence
from functools import cache

import numpy as np
from numpy.typing import NDArray

__all__ = ["jaccard", "mix", "normalise", "shingle_sets", "signatures"]

_CHUNK = 65_536  # characters whose shingles are hashed at once: 512 kB an array of 64 bits
_STEP = np.uint64(0x9E3779B97F4A7C15)  # the golden ratio, as in splitmix64


def normalise(text: str) -> str:
    """The form in which texts are compared: case folded, one space between words."""
    return " ".join(text.casefold().split())


def jaccard(left: NDArray[np.uint64], right: NDArray[np.uint64]) -> float:
    """Size of the intersection over size of the union of two sets, each as its sorted members."""
    both = np.concatenate([left, right])
    both.sort(kind="stable")  # finds the two sorted halves and merges them
    shared = int((both[1:] == both[:-1]).sum())
    return shared / (len(both) - shared)


def shingle_sets(texts: Sequence[str], length: int) -> list[NDArray[np.uint64]]:
    """The set of each text's runs of `length` characters, as sorted 64-bit hashes; a shorter text is its only run.

    Two different shingles of a million have the same hash with a probability of 3 in 10^8: similarities are exact.
    """
    found = []
    for start, end in _chunks(texts):
        hashes, starts = _shingle_hashes(texts[start:end], length)
        found += [_unique(part) for part in np.split(hashes, starts[1:])]
    return found


def _unique(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """As `np.unique`, which is slower on a thousand values."""
    ordered: NDArray[np.uint64] = np.sort(values)
    return np.asarray(ordered[np.concatenate([[True], ordered[1:] != ordered[:-1]])])


def signatures(texts: Sequence[str], length: int, permutations: int, seed: int) -> NDArray[np.uint32]:
    """MinHash signatures, shape (texts, permutations)."""
    factors, offsets = _permutations(permutations, seed)
    result = np.empty((len(texts), permutations), dtype=np.uint32)
    for start, end in _chunks(texts):
        hashes, starts = _shingle_hashes(texts[start:end], length)
        short = (hashes >> np.uint64(32)).astype(np.uint32)
        values = np.empty_like(short)
        for column in range(permutations):  # a·x + b modulo 2^32 with an odd a orders the 2^32 hashes anew
            np.multiply(short, factors[column], out=values)
            np.add(values, offsets[column], out=values)
            result[start:end, column] = np.minimum.reduceat(values, starts)
    return result


@cache
def _permutations(count: int, seed: int) -> tuple[NDArray[np.uint32], NDArray[np.uint32]]:
    generator = np.random.default_rng(seed)
    factors = generator.integers(0, 2**31, size=count, dtype=np.uint32) * np.uint32(2) + np.uint32(1)
    return factors, generator.integers(0, 2**32, size=count, dtype=np.uint32)


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
    codes = np.frombuffer("".join(padded).encode("utf-32-le", "surrogatepass"), dtype=np.uint32).astype(np.uint64)
    sizes = np.array([len(text) for text in padded], dtype=np.intp)
    hashes = np.zeros(len(codes) - length + 1, dtype=np.uint64)
    for offset, factor in enumerate(_factors(length)):  # a sum of products with large odd numbers, then one mixing
        hashes += codes[offset : offset + len(hashes)] * factor
    ends = np.cumsum(sizes)
    inside = np.ones(len(codes), dtype=bool)
    for back in range(1, length):
        inside[ends - back] = False  # a shingle that starts here would run into the next text
    counts = sizes - length + 1
    return mix(hashes[inside[: len(hashes)]]), np.cumsum(counts) - counts


@cache
def _factors(length: int) -> NDArray[np.uint64]:
    return mix(np.arange(1, length + 1, dtype=np.uint64) * _STEP) | np.uint64(1)


def mix(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """The finaliser of splitmix64 (Steele et al., 2014): an input bit changes each output bit half of the time."""
    values = values + _STEP
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))
