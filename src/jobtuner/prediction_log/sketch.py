"""What is kept of an ad's text where the text itself is not: a short vector, and how many of its words are new.

The vector is a random projection (Achlioptas 2003) of the ad's hashed character n-grams: near texts have near vectors,
so a change of wording or language shows in them, while 64 numbers say too little to write the text down again. They do
say whether a guessed text is the right one: treat the log as pseudonymous, not as anonymous.
"""

import re
import zlib
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from jobtuner.errors import ContractError

__all__ = ["DIMENSIONS", "Vocabulary", "sketch"]

DIMENSIONS = 64
"""Numbers a sketch: distances between texts are kept to about 1 / √64 = 12 % (Johnson and Lindenstrauss 1984)."""

_HEAD = 1000  # characters that are looked at: the part of an ad that names the job, and a bounded time
_LENGTHS = (3, 4)  # characters an n-gram
_BUCKETS_LOG2 = 12  # 4,096 buckets: more than the different n-grams of an ad's head
_MIX = (np.uint64(0x9E3779B97F4A7C15), np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB))  # SplitMix64's
_WORD = re.compile(r"[^\W\d_]{2,}")  # no numbers: each salary would be a new word
_MOST_WORDS = 200_000
_VOCABULARY_KEY = "word_hashes"


def sketch(texts: Sequence[str]) -> NDArray[np.float32]:
    """Vectors of length 1 (0 for an empty text), shape [len(texts), DIMENSIONS]; equal texts have equal vectors.

    Case and white space do not count. The numbers are the same on every machine: nothing in them is drawn at random.
    """
    counts = np.stack([_counts(text) for text in texts]) if texts else np.zeros((0, 1 << _BUCKETS_LOG2))
    vectors = np.log1p(counts) @ _projection()
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    found: NDArray[np.float64] = np.divide(vectors, lengths, out=np.zeros_like(vectors), where=lengths > 0)
    return found.astype(np.float32)


def _counts(text: str) -> NDArray[np.float64]:
    """How many n-grams of the text fall into each bucket, shape [buckets]."""
    folded = " ".join(text[:_HEAD].casefold().split())
    if not folded:
        return np.zeros(1 << _BUCKETS_LOG2)
    codes = np.frombuffer(f" {folded} ".encode("utf-32-le", "surrogatepass"), dtype=np.uint32).astype(np.uint64)
    found = []
    for length in _LENGTHS:
        value = np.full(max(len(codes) - length + 1, 0), length, dtype=np.uint64)
        for place in range(length):
            value = _mixed(value + codes[place : place + len(value)])
        found.append(value >> np.uint64(64 - _BUCKETS_LOG2))
    return np.bincount(np.concatenate(found).astype(np.intp), minlength=1 << _BUCKETS_LOG2).astype(np.float64)


def _mixed(value: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """SplitMix64 (Steele, Lea and Flood 2014): every bit of the input moves every bit of the output."""
    value = value + _MIX[0]
    value = (value ^ (value >> np.uint64(30))) * _MIX[1]
    value = (value ^ (value >> np.uint64(27))) * _MIX[2]
    return value ^ (value >> np.uint64(31))


@cache
def _projection() -> NDArray[np.float64]:
    """Signs, shape [buckets, DIMENSIONS]: hashed and not drawn, so that no other generator changes them."""
    cells = np.arange((1 << _BUCKETS_LOG2) * DIMENSIONS, dtype=np.uint64)
    signs = np.where(_mixed(cells) >> np.uint64(63), 1.0, -1.0)
    return signs.reshape(-1, DIMENSIONS)


class Vocabulary:
    """The words that a model has seen in training, as hashes.

    Args:
        hashes: CRC-32 of each word in lower case. Of 200,000 words, 1 in 20,000 unknown ones passes for known.
    """

    def __init__(self, hashes: Iterable[int]) -> None:
        self._hashes = frozenset(hashes)

    @classmethod
    def of(cls, texts: Iterable[str]) -> "Vocabulary":
        """The words of training texts; of more than 200,000 the most frequent ones."""
        counts = Counter(word for text in texts for word in _words(text))
        return cls(word for word, _ in counts.most_common(_MOST_WORDS))

    def unknown_share(self, text: str) -> float:
        """Share of the text's different words that training never saw, in [0, 1]; 0 for a text without words."""
        words = _words(text)
        return sum(word not in self._hashes for word in words) / len(words) if words else 0.0

    def save(self, path: Path) -> None:
        """Write the hashes as safetensors."""
        from safetensors.numpy import save

        path.write_bytes(save({_VOCABULARY_KEY: np.array(sorted(self._hashes), dtype=np.uint32)}))

    @classmethod
    def load(cls, path: Path) -> "Vocabulary":
        """Read what `save` wrote.

        Raises:
            ContractError: the file is missing or holds something else.
        """
        from safetensors import SafetensorError
        from safetensors.numpy import load_file

        try:
            return cls(load_file(path)[_VOCABULARY_KEY].tolist())
        except (OSError, KeyError, SafetensorError) as error:
            raise ContractError(
                f"{path} holds no vocabulary ({error}). `jobtuner monitor reference` makes one."
            ) from error


def _words(text: str) -> set[int]:
    return {zlib.crc32(word.encode("utf-8", "surrogatepass")) for word in _WORD.findall(text.casefold())}
