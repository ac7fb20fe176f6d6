"""The same distribution over labels from an OpenAI-compatible server, such as vLLM with the adapter loaded.

The labels' trie is walked as `walk` says; what is asked at each node is up to the questions: `endpoint_tokens`
sends token ids and is exact for any labels, `endpoint_chat` sends messages and needs no tokenizer. Neither trusts the
server to have understood: what is missing or not allowed in an answer is an error, since servers ignore fields that
they do not know.
"""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from jobtuner.labels.walk import Branch, LabelWalk, OpenNode, Search, check_search
from jobtuner.probabilities import apply_temperature

__all__ = ["EndpointPredictor", "Questions"]


class Questions(Protocol):
    """What may be asked about one ad."""

    root: Any
    """Place of the trie's root."""

    widths: Mapping[Search, int]
    """Nodes asked for at once."""

    def open(self, nodes: Sequence[OpenNode]) -> list[list[Branch]]:
        """The branches of each node."""


class EndpointPredictor:
    """A classifier over a fixed list of labels, by way of a server.

    Args:
        labels: the codes, in the order of the score columns.
        ask: from an ad's text to the questions about it.
        search: as in `scoring.LabelScorer`; "exact" asks for every branching node of the trie.
        k: labels that "top" proves.
        concurrency: ads under way at once, over all callers.
        temperature: divides the log-probabilities before they are renormalised.

    Raises:
        ConfigError: the search is unknown, or k is less than 1.
    """

    def __init__(
        self,
        labels: Sequence[str],
        ask: Callable[[str], Questions],
        *,
        search: Search = "exact",
        k: int = 5,
        concurrency: int = 8,
        temperature: float = 1.0,
    ) -> None:
        check_search(search, k)
        self.labels = list(labels)
        self._ask, self._search, self._k = ask, search, k
        self._temperature = temperature
        self._pool = ThreadPoolExecutor(concurrency, thread_name_prefix="asking")  # its threads start when needed

    def log_probabilities(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Log-probabilities, shape [len(texts), labels]; the exponentials of a row sum to 1.

        Raises:
            DeployError: the server cannot be reached, stays busy, or does not answer what was asked.
        """
        if not texts:
            return np.zeros((0, len(self.labels)), dtype=np.float32)
        rows = list(self._pool.map(self._one, texts))
        return apply_temperature(np.stack(rows).astype(np.float32), self._temperature)

    def _one(self, text: str) -> NDArray[np.float64]:
        questions = self._ask(text)
        walk = LabelWalk(len(self.labels), questions.root, self._search, self._k)
        while nodes := walk.next(questions.widths[self._search]):
            for node, found in zip(nodes, questions.open(nodes), strict=True):
                walk.opened(node, found)
        return walk.scores()
