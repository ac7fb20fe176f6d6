"""Exact probabilities of all labels of a taxonomy, in one forward pass a prompt.

The labels' tokens form a trie. The probability of a label is the chain of next-token probabilities along its path, each
renormalised over what the trie allows there, so all labels sum to 1 and no answer can leave the taxonomy.

All nodes of the trie are laid behind the prompt in one sequence. A node attends to the prompt, its ancestors and itself
(a tree attention mask), and its position is that of its depth; so one pass gives at every node exactly what the model
would compute had only that path been fed. The cost grows with the number of nodes, not with labels × length. A node
with a single child needs no computation: the child's renormalised probability is 1.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from jobtuner.taxonomy import LabelTrie

if TYPE_CHECKING:
    import torch

__all__ = ["TrieLayout", "label_log_probabilities"]


class TrieLayout:
    """The arrays that scoring needs of a trie, made once.

    Attributes:
        fed: nodes laid behind the prompt, parents first: those with a branching node at or below them (root excluded).
        branching: nodes with two or more children; the root first where it branches.
        vocabulary: distinct tokens that follow a branching node, ascending.
    """

    def __init__(self, trie: LabelTrie) -> None:
        self.trie = trie
        count = len(trie)
        needed = [len(children) > 1 for children in trie.children]
        for node in range(count - 1, 0, -1):  # children have larger numbers than their parents
            needed[trie.parents[node]] = needed[trie.parents[node]] or needed[node]
        self.fed = [node for node in range(1, count) if needed[node]]
        self.branching = [node for node in range(count) if len(trie.children[node]) > 1]
        place = {node: index for index, node in enumerate(self.fed)}
        self.branching_places = [place.get(node, -1) for node in self.branching]
        """Index in `fed` of each branching node; -1 is the root, whose logits stand at the prompt's last token."""
        self.fed_tokens = [trie.tokens[node] for node in self.fed]
        self.fed_depths = [trie.depths[node] for node in self.fed]
        self.ancestry = np.zeros((len(self.fed), len(self.fed)), dtype=bool)
        """[i, j]: fed node i sees fed node j, that is, j is i or an ancestor of i."""
        for index, node in enumerate(self.fed):
            parent = trie.parents[node]
            if parent:
                self.ancestry[index] = self.ancestry[place[parent]]
            self.ancestry[index, index] = True
        self.vocabulary = sorted({token for node in self.branching for token in trie.children[node]})
        column = {token: index for index, token in enumerate(self.vocabulary)}
        self._children = [
            (list(trie.children[node].values()), [column[token] for token in trie.children[node]])
            for node in self.branching
        ]

    def label_scores(self, logits: NDArray[np.float64]) -> NDArray[np.float32]:
        """Log-probabilities of the labels, shape [n, labels], from logits of shape [n, branching, vocabulary]."""
        step = np.zeros((len(logits), len(self.trie)))
        for index, (children, columns) in enumerate(self._children):
            values = logits[:, index, columns]
            top = values.max(axis=1, keepdims=True)
            total = top + np.log(np.exp(values - top).sum(axis=1, keepdims=True))
            step[:, children] = values - total
        for node in range(1, len(self.trie)):  # parents come first, so one sweep sums the path
            step[:, node] += step[:, self.trie.parents[node]]
        return step[:, self.trie.leaves].astype(np.float32)


def label_log_probabilities(
    model: Any, prompts: Sequence[Sequence[int]], layout: TrieLayout, pad_id: int
) -> NDArray[np.float32]:
    """Log-probability of every label for each prompt of one batch.

    Args:
        model: a Qwen2 causal language model, with or without a PEFT adapter, in eval mode.
        prompts: token ids of each prompt, generation prompt included; lengths may differ.
        layout: the labels.
        pad_id: any token id; padding is masked.

    Returns:
        float32, shape [len(prompts), labels]; each row's exponentials sum to 1.
    """
    import torch

    device = next(model.parameters()).device
    length = max(len(prompt) for prompt in prompts)
    tokens, positions, mask = _inputs(prompts, layout, pad_id, length)
    causal = model.get_base_model() if hasattr(model, "get_base_model") else model
    with torch.inference_mode():
        hidden = causal.model(
            input_ids=tokens.to(device),
            position_ids=positions.to(device),
            attention_mask=mask.to(device),
            use_cache=False,
        ).last_hidden_state
        places = torch.tensor([length + place for place in layout.branching_places], device=device)
        logits = _logits(causal, hidden[:, places], layout.vocabulary)
    return layout.label_scores(logits.double().cpu().numpy())


def _inputs(
    prompts: Sequence[Sequence[int]], layout: TrieLayout, pad_id: int, length: int
) -> "tuple[torch.Tensor, torch.Tensor, torch.Tensor]":
    """Left-padded prompts with the trie behind them: ids and positions [n, t], and who sees whom [n, 1, t, t]."""
    import torch

    nodes = len(layout.fed)
    total = length + nodes
    tokens = np.full((len(prompts), total), pad_id, dtype=np.int64)
    positions = np.zeros((len(prompts), total), dtype=np.int64)
    mask = np.zeros((len(prompts), 1, total, total), dtype=bool)
    mask[:, 0, :length, :length] = np.tril(np.ones((length, length), dtype=bool))
    mask[:, 0, length:, :length] = True
    mask[:, 0, length:, length:] = layout.ancestry
    for row, prompt in enumerate(prompts):
        start = length - len(prompt)
        tokens[row, start:length] = prompt
        positions[row, start:length] = np.arange(len(prompt))
        mask[row, 0, :, :start] = False
        mask[row, 0, np.arange(start), np.arange(start)] = True  # a row that sees nothing would be NaN in softmax
        positions[row, length:] = len(prompt) - 1 + np.array(layout.fed_depths, dtype=np.int64)
    tokens[:, length:] = layout.fed_tokens
    return torch.from_numpy(tokens), torch.from_numpy(positions), torch.from_numpy(mask)


def _logits(causal: Any, hidden: "torch.Tensor", vocabulary: Sequence[int]) -> "torch.Tensor":
    """Logits of the given tokens alone: the rows of a plain output layer, else a full pass and a selection."""
    import torch

    head: Any = causal.get_output_embeddings()
    columns = torch.tensor(vocabulary, device=hidden.device)
    plain = type(head) is torch.nn.Linear and head.bias is None  # neither quantised nor adapted
    logits: torch.Tensor = hidden.float() @ head.weight[columns].float().T if plain else head(hidden)[..., columns]
    return logits.float()
