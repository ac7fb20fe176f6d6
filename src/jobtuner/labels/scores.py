"""Exact log-probabilities of all labels of a taxonomy for a batch of prompts.

The labels' tokens form a trie. The probability of a label is the chain of next-token probabilities along its path, each
renormalised over what the trie allows there, so all labels sum to 1 and no answer can leave the taxonomy.

Cost, for n prompts of L tokens (S of them shared by all) and a trie with F fed nodes (`TrieLayout`):

    tokens      S + n (L - S) for the prompts, read once (S once a process where it is given as `Start`), and n F for
                the trie; each label scored by itself takes n x labels x (L + label length)
    attention   each node sees L keys and its own piece of C <= 256 nodes
    memory      n L keys and values of all layers; of a piece, n (L + C) keys and values of *one* layer, n C activations
                and the n C (L + C) attention mask: nothing grows with the number of labels but the n x edges logits

F is 151 for ISCO-08's 436 unit groups and 1,412 for ESCO's 3,007 codes: a taxonomy's codes share their beginnings.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from jobtuner.labels.layout import Stretch, TrieLayout
from jobtuner.labels.prefix import Prefix, Start, causal_model, read_prompts, token_logits

if TYPE_CHECKING:
    import torch

__all__ = ["DEFAULT_MEMORY", "joint_log_probabilities", "label_log_probabilities", "piece_size"]

DEFAULT_MEMORY = 1 << 30
"""Working memory beside the weights, bytes: 1 GiB."""

_LARGEST, _SMALLEST = 256, 16
"""Nodes of a piece. More only add keys that few nodes see; fewer feed the ancestors of each piece too often."""


def label_log_probabilities(
    model: Any,
    prompts: Sequence[Sequence[int]],
    layout: TrieLayout,
    pad_id: int,
    memory_bytes: int = DEFAULT_MEMORY,
    start: Start | None = None,
) -> NDArray[np.float32]:
    """Log-probability of every label for each prompt, renormalised over the labels.

    Args:
        model: a Qwen2 causal language model, with or without a PEFT adapter, in eval mode.
        prompts: token ids of each prompt, generation prompt included; lengths may differ.
        layout: the labels.
        pad_id: any token id; padding is masked.
        memory_bytes: working memory beside the weights; less memory means more and smaller passes, and the same result.
        start: what all prompts of the task begin with, read before.

    Returns:
        float32, shape [len(prompts), labels]; each row's exponentials sum to 1.
    """
    logits = _edge_logits(model, prompts, layout, pad_id, memory_bytes, joint=False, start=start)
    return layout.label_scores(layout.renormalise(logits))


def joint_log_probabilities(
    model: Any,
    prompts: Sequence[Sequence[int]],
    layout: TrieLayout,
    pad_id: int,
    memory_bytes: int = DEFAULT_MEMORY,
) -> NDArray[np.float32]:
    """Log-probability that the model, unconstrained, answers exactly the label: a plain product over its tokens.

    Costs more than `label_log_probabilities`: tokens without an alternative count too, and the whole vocabulary is
    scored at every node.

    Args:
        model: as for `label_log_probabilities`, and so the other arguments.
        prompts: token ids of each prompt.
        layout: the labels, made with `every_node=True`.
        pad_id: any token id.
        memory_bytes: working memory beside the weights.

    Returns:
        float32, shape [len(prompts), labels]; each row's exponentials sum to at most 1.
    """
    return layout.label_scores(_edge_logits(model, prompts, layout, pad_id, memory_bytes, joint=True))


def piece_size(config: Any, itemsize: int, rows: int, columns: int, memory_bytes: int) -> int:
    """Nodes of one piece so that its pass takes at most so much memory, a power of two from 16 to 256; 0: none fits.

    Args:
        config: the model's.
        itemsize: bytes of a number.
        rows: prompts.
        columns: tokens of the longest prompt.
        memory_bytes: what there is, the prompts' own keys and values included.
    """
    heads = config.num_attention_heads
    head_dim = getattr(config, "head_dim", None) or config.hidden_size // heads
    kv = 2 * config.num_key_value_heads * head_dim
    prompt = columns * kv * config.num_hidden_layers
    # Residual, norm, attention and MLP output; queries and keys before and after rotation; gate, up and product.
    node = 4 * config.hidden_size + 2 * heads * head_dim + 2 * kv + 3 * config.intermediate_size
    key = kv + 2 * heads * head_dim  # one layer's keys and values, and their copy repeated for every head
    size = _LARGEST
    while size >= _SMALLEST:
        mask = size * (size + columns) * 2
        if rows * itemsize * (prompt + size * node + (columns + size) * key + mask) <= memory_bytes:
            return size
        size //= 2
    return 0


def _edge_logits(
    model: Any,
    prompts: Sequence[Sequence[int]],
    layout: TrieLayout,
    pad_id: int,
    memory_bytes: int,
    *,
    joint: bool,
    start: Start | None = None,
) -> NDArray[np.float64]:
    """Logits of the trie's edges, shape [n, edges]; joint: log-probabilities over the whole vocabulary."""
    import torch

    causal = causal_model(model)
    itemsize = causal.get_input_embeddings().weight.element_size()
    longest = max(len(prompt) for prompt in prompts)
    size = piece_size(causal.config, itemsize, len(prompts), longest, memory_bytes)
    if not size and len(prompts) > 1:
        half = len(prompts) // 2
        parts = (prompts[:half], prompts[half:])
        return np.concatenate(
            [_edge_logits(model, part, layout, pad_id, memory_bytes, joint=joint, start=start) for part in parts]
        )
    values = np.empty((len(prompts), len(layout.edge_tokens)))
    score = _Joint(causal, memory_bytes) if joint else _Plain(causal)
    with torch.inference_mode():
        prefix = read_prompts(causal, prompts, pad_id, start)
        if len(layout.branching) and layout.branching[0] < 0:
            root = slice(0, int(layout.edge_starts[1]))
            values[:, root] = score(prefix.hidden[:, None], layout.edge_tokens[root])[:, 0]
        for stretch in layout.stretches(size or _SMALLEST):
            values[:, stretch.edges] = _stretch_logits(prefix, stretch, score)
    return values


def _stretch_logits(prefix: Prefix, stretch: Stretch, score: "_Plain | _Joint") -> NDArray[np.float64]:
    hidden = prefix.feed(stretch.tokens, stretch.depths, stretch.sees)
    logits = score(hidden[:, stretch.branching], stretch.vocabulary)
    return logits[:, stretch.edge_rows, stretch.edge_columns]


class _Plain:
    """Logits of some tokens at some nodes, [n, nodes, tokens]."""

    def __init__(self, causal: Any) -> None:
        self._causal = causal

    def __call__(self, hidden: "torch.Tensor", vocabulary: NDArray[np.intp]) -> NDArray[np.float64]:
        logits: NDArray[np.float64] = token_logits(self._causal, hidden, vocabulary).double().cpu().numpy()
        return logits


class _Joint(_Plain):
    """Log-probabilities over the whole vocabulary of some tokens at some nodes, a few nodes at a time."""

    def __init__(self, causal: Any, memory_bytes: int) -> None:
        super().__init__(causal)
        width = causal.config.vocab_size
        self._nodes = max(1, memory_bytes // (3 * 4 * width))  # logits, their float32 copy and its exponentials

    def __call__(self, hidden: "torch.Tensor", vocabulary: NDArray[np.intp]) -> NDArray[np.float64]:
        import torch

        head = self._causal.get_output_embeddings()
        flat, columns = hidden.flatten(0, 1), torch.from_numpy(vocabulary).to(hidden.device)
        found = []
        for part in flat.split(self._nodes):
            logits = head(part).float()
            found.append(logits[:, columns] - torch.logsumexp(logits, dim=1, keepdim=True))
        scores: NDArray[np.float64] = torch.cat(found).unflatten(0, hidden.shape[:2]).double().cpu().numpy()
        return scores
