"""The labels of a taxonomy as token sequences, in one tree."""

from collections.abc import Sequence

from jobtuner.errors import TaxonomyError

__all__ = ["LabelTrie"]


class LabelTrie:
    """All label token sequences as one tree, in arrays.

    Node 0 is the root; node i > 0 has the token `tokens[i]`, the parent `parents[i]` (always a smaller number) and the
    depth `depths[i]` (root 0). `leaves[k]` is the node at which label k ends. A label may be a prefix of another only
    if both end with an end token; sequences must be distinct.

    Args:
        sequences: the token ids of each label.
        names: how error messages call the labels; None: by number.

    Raises:
        TaxonomyError: a label has no tokens, those of another, or is the beginning of another.
    """

    def __init__(self, sequences: Sequence[Sequence[int]], names: Sequence[str] | None = None) -> None:
        names = [f"number {number}" for number in range(len(sequences))] if names is None else names
        self.tokens, self.parents, self.depths, self.leaves = [-1], [-1], [0], list[int]()
        self.children: list[dict[int, int]] = [{}]
        ends: dict[int, str] = {}
        for name, sequence in zip(names, sequences, strict=True):
            if not sequence:
                raise TaxonomyError(f"The label '{name}' has no tokens. Give each label at least one character.")
            node = 0
            for token in sequence:
                if node in ends:
                    raise TaxonomyError(_begins(ends[node], f"'{name}'"))
                node = self.children[node].get(token) or self._add(node, token)
            if node in ends:
                raise TaxonomyError(
                    f"The labels '{name}' and '{ends[node]}' have the same tokens, so no answer could tell them apart. "
                    "Give them different texts, or answer with codes."
                )
            if self.children[node]:
                raise TaxonomyError(_begins(name, "another label"))
            ends[node] = name
            self.leaves.append(node)

    def _add(self, parent: int, token: int) -> int:
        node = len(self.tokens)
        self.children[parent][token] = node
        self.tokens.append(token)
        self.parents.append(parent)
        self.depths.append(self.depths[parent] + 1)
        self.children.append({})
        return node

    def __len__(self) -> int:
        return len(self.tokens)


def _begins(short: str, long: str) -> str:
    return f"The tokens of the label '{short}' are the beginning of those of {long}: end each label with an end token."
