"""Work on pieces by as many threads as there are cores; each keeps to its own core."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from itertools import pairwise
from typing import Any, TypeVar

from jobtuner.cores import usable_cores

__all__ = ["in_threads"]

_WORTH_IT = 64  # texts that a thread is started for

_Part = TypeVar("_Part")
_Result = TypeVar("_Result")


def in_threads(work: Callable[[Sequence[_Part]], _Result], parts: Sequence[_Part], most: int) -> list[_Result]:
    """`work` of consecutive pieces of `parts`, at most so long and about equally long, in their order.

    NumPy, SciPy and Torch compute without Python's lock. Two threads whose matrix products took two threads each would
    wait for one another, so each gets one.
    """
    threads = max(1, min(usable_cores(), len(parts) // _WORTH_IT))
    count = max(1, -(-len(parts) // (most * threads)) * threads)
    ends = [len(parts) * number // count for number in range(count + 1)]
    pieces = [parts[start:end] for start, end in pairwise(ends)]
    if threads == 1:
        return [work(piece) for piece in pieces]
    with ThreadPoolExecutor(threads, initializer=_alone) as pool:
        return list(pool.map(work, pieces))


def _alone() -> None:
    _libraries().limit(limits=1, user_api="openmp")  # OpenMP keeps the number by thread: others do not see this


@cache
def _libraries() -> Any:
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()
