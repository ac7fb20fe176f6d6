"""Which nodes of a label trie to look into, for one prompt: all, the fewest that prove the k best labels, or one path.

A node's log-probability bounds that of every label below it, since no step adds to it. Opening the best node first, the
k best labels are therefore known as soon as the k-th best label found lies above the best node still open.
"""

import heapq
import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from jobtuner.errors import ConfigError

__all__ = ["SEARCHES", "Branch", "LabelWalk", "OpenNode", "Search", "check_search"]

Search = Literal["exact", "top", "greedy"]
"""exact: every label's log-probability. top: the k best labels, proven, theirs exact. greedy: the best branch at each
node; what is found need not be the best label."""

SEARCHES: tuple[Search, ...] = get_args(Search)


def check_search(search: str, k: int) -> None:
    """Refuse what is no search.

    Raises:
        ConfigError: the search is unknown, or k is less than 1.
    """
    if search not in SEARCHES:
        raise ConfigError(f"There is no search '{search}'; {', '.join(SEARCHES)} are accepted.")
    if k < 1:
        raise ConfigError(f"The number of labels to search is {k}; at least 1 is needed.")


@dataclass(frozen=True, slots=True)
class Branch:
    """What one step from a node leads to."""

    step: float
    """Log-probability of the step, renormalised over the node's branches."""
    labels: NDArray[np.intp]
    """Labels below; a branch with one label needs no further look."""
    place: Any
    """What the caller knows the node by; of no meaning where one label is left."""


@dataclass(frozen=True, slots=True)
class OpenNode:
    """A node that was reached and not looked into."""

    score: float
    """Its log-probability."""
    labels: NDArray[np.intp]
    place: Any


class LabelWalk:
    """The search for one prompt. Ask `next`, look into those nodes, report with `opened`, until `next` is empty.

    Args:
        labels: number of labels.
        root: the place of the trie's root.
        search: exact, top or greedy.
        k: labels that `top` must prove.

    Attributes:
        found: (log-probability, label) of the labels reached so far, in no order.
    """

    def __init__(self, labels: int, root: Any, search: Search, k: int) -> None:
        self._labels, self._search, self._k = labels, search, min(k, labels)
        self._order = itertools.count()
        self._open: list[tuple[float, int, OpenNode]] = []
        self._passed: list[OpenNode] = []
        self.found: list[tuple[float, int]] = []
        self._best: list[float] = []  # the k best scores found, worst first
        if labels == 1:
            self._find(0.0, 0)
        else:
            self._push(OpenNode(0.0, np.arange(labels), root))

    def next(self, width: int) -> list[OpenNode]:
        """Up to `width` nodes to look into now, best first; none: the search is over."""
        chosen: list[OpenNode] = []
        while self._open and len(chosen) < width and not self._proven():
            chosen.append(heapq.heappop(self._open)[-1])
        return chosen

    def opened(self, node: OpenNode, branches: Sequence[Branch]) -> None:
        """Report what lies below a node that `next` gave out."""
        best = max(range(len(branches)), key=lambda number: branches[number].step)
        for number, branch in enumerate(branches):
            score = node.score + branch.step
            if len(branch.labels) == 1:
                self._find(score, int(branch.labels[0]))
                continue
            child = OpenNode(score, branch.labels, branch.place)
            if self._search == "greedy" and number != best:
                self._passed.append(child)
            else:
                self._push(child)

    def scores(self) -> NDArray[np.float64]:
        """Log-probabilities of all labels, shape [labels]; the exponentials sum to 1.

        Those of the labels found are exact. Labels below a node that was not looked into share its probability evenly.
        """
        scores = np.full(self._labels, -np.inf)
        for node in (*self._passed, *(item for _, _, item in self._open)):
            scores[node.labels] = node.score - np.log(len(node.labels))
        for score, label in self.found:
            scores[label] = score
        return scores

    def _push(self, node: OpenNode) -> None:
        heapq.heappush(self._open, (-node.score, next(self._order), node))

    def _find(self, score: float, label: int) -> None:
        self.found.append((score, label))
        heapq.heappush(self._best, score)
        if len(self._best) > self._k:
            heapq.heappop(self._best)

    def _proven(self) -> bool:
        """Whether the k best labels are known: no open node may hold a better one."""
        if self._search != "top" or len(self._best) < self._k:
            return False
        return self._best[0] >= -self._open[0][0]
