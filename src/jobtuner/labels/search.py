"""The k best labels of each prompt, proven, without scoring all: best-first search with the model's cache kept.

Each pass looks into the best open nodes of all prompts that are not done. Keys and values of what was fed stay, so
nothing is computed twice; prompts that are done leave the batch when half of it is. What is kept grows with the nodes
looked into, for all layers: a search is for few labels of many.

A pass over few tokens takes as long as reading the weights from memory. What is left of that time is spent on the nodes
below those chosen, whole levels of the trie at once: they are likely to be asked for next, and then cost no pass.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jobtuner.labels.layout import TrieLayout
from jobtuner.labels.prefix import Start, Tree, causal_model, read_prompts, token_logits
from jobtuner.labels.walk import Branch, LabelWalk, OpenNode, Search, check_search

__all__ = ["branches", "search_labels"]

_WIDTH = 8
"""Nodes a prompt and pass. One would look into the fewest nodes, and run the model the most often."""

_FREE_TOKENS = {"cpu": 16, "cuda": 256}
"""Tokens of a pass, over all prompts, up to which looking ahead costs less than the passes that it saves. CPU: measured
with Qwen2.5-0.5B in bfloat16 on one core, where a pass takes 94 ms for one token and 5 ms for each one more. GPU: by
arithmetic alone, a token needs one operation a byte of bfloat16 weights, and an H100 does some 295 in the time that it
takes to read the byte (990 TFLOPS, 3.35 TB/s); not measured."""

_Ints = NDArray[np.intp]


def search_labels(
    model: Any,
    prompts: Sequence[Sequence[int]],
    layout: TrieLayout,
    pad_id: int,
    search: Search,
    k: int,
    start: Start | None = None,
) -> NDArray[np.float32]:
    """Log-probabilities of all labels for each prompt, exact for the labels that the search reached.

    Args:
        model: a Qwen2 causal language model, with or without a PEFT adapter, in eval mode.
        prompts: token ids of each prompt, generation prompt included; lengths may differ.
        layout: the labels (branching nodes alone).
        pad_id: any token id; padding is masked.
        search: "top" proves the k best labels; "greedy" follows the best branch; "exact" looks into every node.
        k: labels to prove.
        start: what all prompts of the task begin with, read before.

    Returns:
        float32, shape [len(prompts), labels]; each row's exponentials sum to 1. With "top", the k best and their
        log-probabilities are those of `label_log_probabilities`; labels that were not reached share what is left.

    Raises:
        ConfigError: the search is unknown, or k is less than 1.
    """
    import torch

    check_search(search, k)
    walks = [LabelWalk(layout.labels, 0, search, k) for _ in prompts]
    width = 1 if search == "greedy" else _WIDTH
    if layout.labels > 1:
        with torch.inference_mode():
            batch = _Batch(causal_model(model), prompts, walks, layout, pad_id, start)
            while chosen := batch.advance(width):
                batch.open(chosen)
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

    def __init__(
        self,
        causal: Any,
        prompts: Sequence[Sequence[int]],
        walks: Sequence[LabelWalk],
        layout: TrieLayout,
        pad_id: int,
        start: Start | None,
    ) -> None:
        self._causal, self._walks, self._layout = causal, walks, layout
        self._free = _FREE_TOKENS.get(next(causal.parameters()).device.type, 0)
        self._rows = list(range(len(prompts)))
        self._known: list[dict[int, NDArray[np.float64]]] = [{} for _ in prompts]
        """Of each prompt: node to the log-probabilities of its edges, until its walk asks for them."""
        nodes = self._with_those_below([0])
        ways = [layout.path(node) for node in nodes]
        tree = np.concatenate(ways)
        self._prefix = read_prompts(
            causal, prompts, pad_id, start, Tree(layout.tokens[tree], layout.depths[tree], layout.sees(tree, tree))
        )
        self._slots = np.tile(tree, (len(prompts), 1))
        """Place in the layout of what stands in each slot behind the prompt; -1: nothing."""
        ends = np.cumsum([len(way) for way in ways])  # state 0 is the prompt's, and that of a root that branches
        self._learn([(row, node) for row in self._rows for node in nodes], self._prefix.states[:, ends].flatten(0, 1))

    def advance(self, width: int) -> dict[int, list[OpenNode]]:
        """Let the walks go on with what is known; what they ask for next, for each prompt that is not done."""
        return {row: nodes for row, walk in enumerate(self._walks) if (nodes := self._asked(row, walk, width))}

    def open(self, chosen: dict[int, list[OpenNode]]) -> None:
        """Look into the chosen nodes of each prompt."""
        if 2 * len(chosen) <= len(self._rows):
            self._keep(chosen)
        asked = {row: self._with_those_below([node.place for node in nodes]) for row, nodes in chosen.items()}
        nodes = [(index, node) for index, row in enumerate(self._rows) for node in asked.get(row, ())]
        self._learn([(self._rows[index], node) for index, node in nodes], self._states(nodes))
        for row, opened in chosen.items():
            for node in opened:
                self._tell(row, node)

    def _asked(self, row: int, walk: LabelWalk, width: int) -> list[OpenNode]:
        while nodes := walk.next(width):
            waiting = [node for node in nodes if node.place not in self._known[row]]
            for node in nodes:
                if node.place in self._known[row]:
                    self._tell(row, node)
            if waiting:
                return waiting
        return []

    def _tell(self, row: int, node: OpenNode) -> None:
        self._walks[row].opened(node, branches(self._layout, node.place, self._known[row].pop(node.place)))

    def _with_those_below(self, nodes: list[int]) -> list[int]:
        """The nodes, and whole levels of branching nodes below them as far as a pass has room."""
        found, level = list(nodes), list(nodes)
        room = self._free // len(self._rows) - self._price(nodes)
        while level := [target for node in level for target in self._layout.branching_below(node)]:
            room -= self._price(level)
            if room < 0:
                break
            found += level
        return found

    def _price(self, nodes: list[int]) -> int:
        return sum(len(self._layout.path(node)) for node in nodes)

    def _keep(self, chosen: dict[int, list[OpenNode]]) -> None:
        places = [index for index, row in enumerate(self._rows) if row in chosen]
        self._prefix, self._slots = self._prefix.select(places), self._slots[places]
        self._rows = [self._rows[index] for index in places]

    def _states(self, nodes: list[tuple[int, int]]) -> Any:
        """Feed the ways to the nodes, given as (prompt's place, node), and give the model's state at each: shape
        [nodes, hidden size]."""
        ways = [self._layout.path(node) for _, node in nodes]
        used = np.zeros(len(self._rows), dtype=np.intp)
        ends = np.zeros(len(nodes), dtype=np.intp)
        for number, (index, _) in enumerate(nodes):
            used[index] += len(ways[number])
            ends[number] = used[index] - 1
        new = np.full((len(self._rows), used.max()), -1, dtype=np.intp)
        for end, way, (index, _) in zip(ends, ways, nodes, strict=True):
            new[index, end + 1 - len(way) : end + 1] = way
        sees = self._layout.sees(new, np.concatenate([self._slots, new], axis=1))
        count = new.shape[1]
        sees[:, np.arange(count), self._slots.shape[1] + np.arange(count)] = True  # empty slots too: no NaN
        hidden = self._prefix.feed(self._layout.tokens[new], self._layout.depths[new], sees, keep=True)
        self._slots = np.concatenate([self._slots, new], axis=1)
        return hidden[[index for index, _ in nodes], ends]

    def _learn(self, nodes: list[tuple[int, int]], hidden: Any) -> None:
        """Log-probabilities of each node's edges, renormalised among them; nodes are given as (prompt, node)."""
        numbers = np.array([node for _, node in nodes])
        starts, ends = self._layout.edge_starts[numbers], self._layout.edge_starts[numbers + 1]
        edges = np.concatenate([np.arange(start, end) for start, end in zip(starts, ends, strict=True)])
        vocabulary, columns = np.unique(self._layout.edge_tokens[edges], return_inverse=True)
        logits = token_logits(self._causal, hidden, vocabulary).double().cpu().numpy()
        counts = ends - starts
        values = logits[np.repeat(np.arange(len(numbers)), counts), columns]
        borders = np.cumsum(counts)[:-1]
        top = np.repeat(np.maximum.reduceat(values, [0, *borders]), counts)
        total = top + np.log(np.repeat(np.add.reduceat(np.exp(values - top), [0, *borders]), counts))
        for (row, node), steps in zip(nodes, np.split(values - total, borders), strict=True):
            self._known[row][node] = steps
