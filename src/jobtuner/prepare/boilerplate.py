"""Lines that recur across many ads: what an employer or a job board puts under everything.

Two passes in memory that does not grow with the input: the first counts all lines in a table of small counters, where
lines may share one; the second counts those exactly that may be frequent enough.
"""

import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator

import numpy as np

from jobtuner.clean import line_key, normalise_space, repair_encoding
from jobtuner.markup import html_to_text

__all__ = ["find_boilerplate"]

_COUNTERS = 1 << 24  # 64 MB; a million ads have some 8 million lines, so few share a counter
_SHORTEST = 30  # characters: shorter lines are headings ("Your tasks") and facts, which help to read an ad


def find_boilerplate(texts: Callable[[], Iterable[str]], least: int) -> list[tuple[str, int]]:
    """Lines that stand in at least so many ads, with the number of ads, most frequent first.

    Args:
        texts: gives the ads from the start, each time it is called: they are read twice.
        least: number of ads.
    """
    counters = np.zeros(_COUNTERS, dtype=np.uint32)
    for text in texts():
        for key in {key for _, key in _lines(text)}:
            counters[zlib.crc32(key.encode()) % _COUNTERS] += 1
    counts: Counter[str] = Counter()
    shown: dict[str, str] = {}
    for text in texts():
        found = {key: line for line, key in _lines(text) if counters[zlib.crc32(key.encode()) % _COUNTERS] >= least}
        counts.update(found.keys())
        for key, line in found.items():
            shown.setdefault(key, line)
    return [(shown[key], count) for key, count in counts.most_common() if count >= least]


def _lines(text: str) -> Iterator[tuple[str, str]]:
    """The lines of an ad as cleaning would leave them, with their keys."""
    for line in normalise_space(html_to_text(repair_encoding(text))).split("\n"):
        if len(line) >= _SHORTEST:
            yield line, line_key(line)
