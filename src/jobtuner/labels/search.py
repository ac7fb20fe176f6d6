"""The k best labels of each prompt, proven, without scoring all: best-first search with the model's cache kept.

Each pass looks into the best open nodes of all prompts that are not done. Keys and values of what was fed stay, so
nothing is computed twice; prompts that are done leave the batch when half of it is. What is kept grows with the nodes
looked into, for all layers: a search is for few labels of many.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jobtuner.labels.layout import TrieLayout
from jobtuner.labels.prefix import Prefix, causal_model, read_prompts, token_logits
from jobtuner.labels.walk import Branch, LabelWalk, OpenNode, Search, check_search

__all__ = ["branches", "search_labels"]

_WIDTH = 8
"""Nodes a prompt and pass. One would look into the fewest nodes, and run the model the most often."""

_Ints = NDArray[np.intp]


def search_labels(
    model: Any, prompts: Sequence[Sequence[int]], layout: TrieLayout, pad_id: int, search: Search, k: int
) -> NDArray[np.float32]:
    """Log-probabilities of all labels for each prompt, exact for the labels that the search reached.

    Args:
        model: a Qwen2 causal language model, with or without a PEFT adapter, in eval mode.
        prompts: token ids of each prompt, generation prompt included; lengths may differ.
        layout: the labels (branching nodes alone).
        pad_id: any token id; padding is masked.
        search: "top" proves the k best labels; "greedy" follows the best branch; "exact" looks into every node.
        k: labels to prove.

    Returns:
        float32, shape [len(prompts), labels]; each row's exponentials sum to 1. With "top", the k best and their
        log-probabilities are those of `label_log_probabilities`; labels that were not reached share what is left.

    Raises:
        ConfigError: the search is unknown, or k is less than 1.
    """
    import torch

    check_search(search, k)
    walks = [LabelWalk(layout.labels, 0, search, k) for _ in prompts]
    with torch.inference_mode():
        causal = causal_model(model)
        batch = _Batch(causal, read_prompts(causal, prompts, pad_id), layout)
        width = 1 if search == "greedy" else _WIDTH
        while chosen := {row: nodes for row, walk in enumerate(walks) if (nodes := walk.next(width))}:
            batch.open(chosen, walks)
    return np.stack([walk.scores() for walk in walks]).astype(np.float32)


def branches(layout: TrieLayout, node: int, steps: NDArray[np.float64]) -> list[Branch]:
    """The edges of a branching node with their log-probabilities, as a walk takes them."""
    first = layout.edge_starts[node]
    found = []
    for number, step in enumerate(steps.tolist()):
        target = int(layout.edge_targets[first + number])
        labels = np.array([~target]) if target < 0 else layout.label_order[slice(*layout.below[target])]
        found.append(Branch(step, labels, target))
    return found


class _Batch:
    """The prompts under way, and which nodes of the trie each has fed."""

    def __init__(self, causal: Any, prefix: Prefix, layout: TrieLayout) -> None:
        self._causal, self._prefix, self._layout = causal, prefix, layout
        self._rows = list(range(len(prefix)))
        self._slots = np.zeros((len(prefix), 0), dtype=np.intp)
        """Place in the layout of what stands in each slot behind the prompt; -1: nothing."""

    def open(self, chosen: dict[int, list[OpenNode]], walks: Sequence[LabelWalk]) -> None:
        """Look into the chosen nodes of each row."""
        if 2 * len(chosen) <= len(self._rows):
            self._keep(chosen)
        nodes = [(index, node) for index, row in enumerate(self._rows) for node in chosen.get(row, ())]
        hidden = self._states(nodes)
        numbers = np.array([node.place for _, node in nodes])
        for (index, node), steps in zip(nodes, self._steps(hidden, numbers), strict=True):
            walks[self._rows[index]].opened(node, branches(self._layout, node.place, steps))

    def _keep(self, chosen: dict[int, list[OpenNode]]) -> None:
        places = [index for index, row in enumerate(self._rows) if row in chosen]
        self._prefix, self._slots = self._prefix.select(places), self._slots[places]
        self._rows = [self._rows[index] for index in places]

    def _states(self, nodes: list[tuple[int, OpenNode]]) -> Any:
        """Feed the ways to the nodes, and give the model's state at each: shape [nodes, hidden size]."""
        ways = [self._layout.path(node.place) for _, node in nodes]
        used = np.zeros(len(self._rows), dtype=np.intp)
        ends = np.zeros(len(nodes), dtype=np.intp)
        for number, (index, _) in enumerate(nodes):
            used[index] += len(ways[number])
            ends[number] = used[index] - 1
        if not used.max():  # the root: its state is the prompt's
            return self._prefix.hidden[[index for index, _ in nodes]]
        new = np.full((len(self._rows), used.max()), -1, dtype=np.intp)
        for end, way, (index, _) in zip(ends, ways, nodes, strict=True):
            new[index, end + 1 - len(way) : end + 1] = way
        sees = self._layout.sees(new, np.concatenate([self._slots, new], axis=1))
        count = new.shape[1]
        sees[:, np.arange(count), self._slots.shape[1] + np.arange(count)] = True  # empty slots too: no NaN
        hidden = self._prefix.feed(self._layout.tokens[new], self._layout.depths[new], sees, keep=True)
        self._slots = np.concatenate([self._slots, new], axis=1)
        return hidden[[index for index, _ in nodes], ends]

    def _steps(self, hidden: Any, numbers: _Ints) -> list[NDArray[np.float64]]:
        """Log-probabilities of each node's edges, renormalised among them."""
        starts, ends = self._layout.edge_starts[numbers], self._layout.edge_starts[numbers + 1]
        edges = np.concatenate([np.arange(start, end) for start, end in zip(starts, ends, strict=True)])
        vocabulary, columns = np.unique(self._layout.edge_tokens[edges], return_inverse=True)
        logits = token_logits(self._causal, hidden, vocabulary).double().cpu().numpy()
        counts = ends - starts
        values = logits[np.repeat(np.arange(len(numbers)), counts), columns]
        borders = np.cumsum(counts)[:-1]
        top = np.repeat(np.maximum.reduceat(values, [0, *borders]), counts)
        total = top + np.log(np.repeat(np.add.reduceat(np.exp(values - top), [0, *borders]), counts))
        return np.split(values - total, borders)
