"""The label trie as arrays: what must be fed to the model, in which order, and what follows from its logits.

A node with one child needs no computation of its own where probabilities are renormalised over the trie: the child's is
1. What is fed are the *branching* nodes and what leads to them, in preorder (a node stands before everything below it,
and its subtree is one stretch). So any stretch of the order can be fed by itself once the ancestors of its first node
stand before it, and "j is an ancestor of i" is `j <= i < end[j]`.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from jobtuner.taxonomy import LabelTrie

__all__ = ["Stretch", "TrieLayout"]

_Ints = NDArray[np.intp]


@dataclass(frozen=True)
class Stretch:
    """Some fed nodes with the ancestors of the first, as one piece of work.

    C nodes are fed; b of them branch; e edges leave those.
    """

    tokens: _Ints
    """Shape [C]."""
    depths: _Ints
    """Tokens from the prompt's end to the node, 1 for the root's children; shape [C]."""
    sees: NDArray[np.bool_]
    """[i, j]: node i attends to node j (itself or an ancestor); shape [C, C]."""
    branching: _Ints
    """Places of the branching nodes among the C; shape [b]."""
    nodes: slice
    """The same nodes in the layout's order of branching nodes."""
    edges: slice
    """Their edges in the layout's order of edges."""
    edge_rows: _Ints
    """Which of the b nodes each edge leaves; shape [e]."""
    edge_columns: _Ints
    """Place of each edge's token in `vocabulary`; shape [e]."""
    vocabulary: _Ints
    """Distinct tokens of the edges, ascending."""


class TrieLayout:
    """The arrays that scoring needs of a trie, made once.

    Args:
        trie: the labels' tokens.
        every_node: feed every inner node, not only branching ones and what leads to them: for joint probabilities,
            where a forced token counts too.

    Attributes:
        labels: number of labels.
        tokens, depths, ends: of the fed nodes in preorder (root excluded): token, depth, and the place behind the
            node's subtree.
        branching: places in that order of the nodes whose edges are scored; -1 is the root.
        edge_starts: first edge of each such node; its edges stand together. One more entry holds the number of edges.
        edge_tokens: token of each edge.
        edge_targets: index (into `branching`) of the next such node below each edge, or ~label where one label is left.
        below: [start, end) into `label_order` of the labels below each such node.
        label_order: labels in preorder.
    """

    def __init__(self, trie: LabelTrie, every_node: bool = False) -> None:
        self.labels = len(trie.leaves)
        scored = [bool(kids) if every_node else len(kids) > 1 for kids in trie.children]
        needed = _with_ancestors(scored, trie.parents)
        order = _preorder(trie)
        fed = [node for node in order if node and needed[node]]
        place = {0: -1, **{node: index for index, node in enumerate(fed)}}
        self.tokens = np.array([trie.tokens[node] for node in fed], dtype=np.intp)
        self.depths = np.array([trie.depths[node] for node in fed], dtype=np.intp)
        self._parents = np.array([place[trie.parents[node]] for node in fed], dtype=np.intp)
        self.ends = _subtree_ends(self._parents)
        chosen = [node for node in order if scored[node]]
        self.branching = np.array([place[node] for node in chosen], dtype=np.intp)
        self._branches = np.isin(np.arange(len(fed)), self.branching)
        self.edge_starts = np.cumsum([0, *(len(trie.children[node]) for node in chosen)])
        edges = [child for node in chosen for child in trie.children[node].values()]
        self.edge_tokens = np.array([trie.tokens[child] for child in edges], dtype=np.intp)
        self._read_labels(trie, order, chosen, edges)
        self._stretches: dict[int, list[Stretch]] = {}

    def _read_labels(self, trie: LabelTrie, order: list[int], chosen: list[int], edges: list[int]) -> None:
        """Labels in preorder, the stretch of them below each node, and the edges on the way to each label."""
        label_at = {node: label for label, node in enumerate(trie.leaves)}
        self.label_order = np.array([label_at[node] for node in order if node in label_at], dtype=np.intp)
        first, last = _leaf_ranges(trie, order)
        self.below = np.array([(first[node], last[node]) for node in chosen], dtype=np.intp).reshape(-1, 2)
        index = {node: number for number, node in enumerate(chosen)}
        targets = []
        for child in edges:
            node = child
            while node not in index and node not in label_at:
                (node,) = trie.children[node].values()
            targets.append(index[node] if node in index else ~label_at[node])
        self.edge_targets = np.array(targets, dtype=np.intp)
        edge_of = {child: number for number, child in enumerate(edges)}
        paths = []
        for leaf in trie.leaves:
            node, path = leaf, []
            while node:
                path += [edge_of[node]] if node in edge_of else []
                node = trie.parents[node]
            paths.append(path)
        width = max(map(len, paths), default=0)
        self._paths = np.full((len(paths), width), len(edges), dtype=np.intp)  # the last column of the steps is 0
        for label, path in enumerate(paths):
            self._paths[label, : len(path)] = path

    def stretches(self, size: int) -> list[Stretch]:
        """The fed nodes in pieces of up to `size`, ancestors not counted; together they hold every edge once.

        The root's edges belong to no piece: its logits stand at the prompt's last token. Made once a size.
        """
        if size not in self._stretches:
            count = len(self.tokens)
            self._stretches[size] = [self._stretch(start, min(start + size, count)) for start in range(0, count, size)]
        return self._stretches[size]

    def _stretch(self, start: int, end: int) -> Stretch:
        ancestors = []
        node = self._parents[start]
        while node >= 0:
            ancestors.append(node)
            node = self._parents[node]
        places = np.array([*reversed(ancestors), *range(start, end)], dtype=np.intp)
        low, high = np.searchsorted(self.branching, (start, end))  # preorder: their places ascend
        first, last = self.edge_starts[low], self.edge_starts[high]
        vocabulary, columns = np.unique(self.edge_tokens[first:last], return_inverse=True)
        counts = np.diff(self.edge_starts[low : high + 1])
        return Stretch(
            tokens=self.tokens[places],
            depths=self.depths[places],
            sees=self.sees(places, places),
            branching=self.branching[low:high] - start + len(ancestors),
            nodes=slice(int(low), int(high)),
            edges=slice(int(first), int(last)),
            edge_rows=np.repeat(np.arange(high - low), counts),
            edge_columns=columns,
            vocabulary=vocabulary,
        )

    def sees(self, readers: _Ints, read: _Ints) -> NDArray[np.bool_]:
        """Whether each fed node attends to each other one, shape [..., readers, read]; place -1 is seen by none."""
        reader, other = readers[..., :, None], read[..., None, :]
        return (other >= 0) & (other <= reader) & (reader < self.ends[other])

    def path(self, node: int, whole: bool = False) -> _Ints:
        """Places of the fed nodes on the way to a branching node, down from its nearest branching ancestor, or (whole)
        from the root."""
        places: list[int] = []
        place = int(self.branching[node])
        while place >= 0 and (whole or not places or not self._branches[place]):
            places.append(place)
            place = int(self._parents[place])
        return np.array(places[::-1], dtype=np.intp)

    def branching_below(self, node: int) -> list[int]:
        """The next branching nodes below a branching node."""
        targets: list[int] = self.edge_targets[self.edge_starts[node] : self.edge_starts[node + 1]].tolist()
        return [target for target in targets if target >= 0]

    def label_scores(self, steps: NDArray[np.float64]) -> NDArray[np.float32]:
        """Sum the edges' log-probabilities, shape [n, edges], along the way to each label: shape [n, labels]."""
        padded = np.concatenate([steps, np.zeros((len(steps), 1))], axis=1)
        total = np.zeros((len(steps), self.labels))
        for edge in self._paths.T:
            total += padded[:, edge]
        return total.astype(np.float32)

    def renormalise(self, logits: NDArray[np.float64]) -> NDArray[np.float64]:
        """Log-probability of each edge among those that leave the same node, shape [n, edges]."""
        if not logits.shape[1]:
            return logits
        starts, counts = self.edge_starts[:-1], np.diff(self.edge_starts)
        top = np.repeat(np.maximum.reduceat(logits, starts, axis=1), counts, axis=1)
        shifted = logits - top
        sums = np.add.reduceat(np.exp(shifted), starts, axis=1)
        steps: NDArray[np.float64] = shifted - np.repeat(np.log(sums), counts, axis=1)
        return steps


def _with_ancestors(chosen: list[bool], parents: list[int]) -> list[bool]:
    needed = list(chosen)
    for node in range(len(parents) - 1, 0, -1):  # children have larger numbers than their parents
        needed[parents[node]] = needed[parents[node]] or needed[node]
    return needed


def _preorder(trie: LabelTrie) -> list[int]:
    order, waiting = [], [0]
    while waiting:
        node = waiting.pop()
        order.append(node)
        waiting.extend(reversed(trie.children[node].values()))
    return order


def _subtree_ends(parents: _Ints) -> _Ints:
    sizes = np.ones(len(parents), dtype=np.intp)
    for place in range(len(parents) - 1, -1, -1):
        if parents[place] >= 0:
            sizes[parents[place]] += sizes[place]
    return np.arange(len(parents), dtype=np.intp) + sizes


def _leaf_ranges(trie: LabelTrie, order: list[int]) -> tuple[list[int], list[int]]:
    """[first, last) of the leaves below each node, counted in preorder."""
    first, last, seen = [0] * len(trie), [0] * len(trie), 0
    for node in order:
        first[node] = seen
        seen += not trie.children[node]
        last[node] = seen
    for node in reversed(order):
        parent = trie.parents[node]
        last[parent] = max(last[parent], last[node])
    return first, last
