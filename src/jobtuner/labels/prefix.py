"""Prompts that a model has read, and any tree of tokens laid behind them.

The keys and values of a prompt are computed once; nodes of a tree then attend to them, to their ancestors and to
themselves (a tree attention mask), at the positions of their depths. The model computes for each node exactly what it
would had only that node's path been fed.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import torch

__all__ = ["Prefix", "Start", "Tree", "causal_model", "read_prompts", "read_start", "token_logits"]

_Ints = NDArray[np.intp]


@dataclass(frozen=True)
class Start:
    """Tokens that every prompt of a task begins with, read once for all batches (`read_start`)."""

    tokens: list[int]
    past: "list[tuple[torch.Tensor, torch.Tensor]]"
    """Keys and values of each layer."""


@dataclass(frozen=True)
class Tree:
    """C nodes behind a prompt, the same for every prompt."""

    tokens: _Ints
    """Shape [C]."""
    depths: _Ints
    """Tokens from the prompt's end to the node (1: right behind it), shape [C]."""
    sees: NDArray[np.bool_]
    """[i, j]: node i attends to node j, and to itself; shape [C, C]."""


_NO_TREE = Tree(np.zeros(0, dtype=np.intp), np.zeros(0, dtype=np.intp), np.zeros((0, 0), dtype=np.bool_))


class _Keys:
    """What Qwen2's attention asks of a cache: hand out the keys and values of the past with the new ones behind them.

    The new ones are kept only where asked: a tree that is scored and forgotten holds those of one layer at a time.
    """

    def __init__(self, past: "list[tuple[torch.Tensor, torch.Tensor]]", keep: bool) -> None:
        self._past, self._keep = past, keep
        self.kept: list[tuple[torch.Tensor, torch.Tensor]] = []

    def update(
        self, keys: "torch.Tensor", values: "torch.Tensor", layer: int, *_: Any, **__: Any
    ) -> "tuple[torch.Tensor, torch.Tensor]":
        import torch

        if self._past:
            rows = keys.shape[0]
            old_keys, old_values = (part.expand(rows, -1, -1, -1) for part in self._past[layer])
            keys, values = torch.cat([old_keys, keys], dim=2), torch.cat([old_values, values], dim=2)
        if self._keep:
            self.kept.append((keys, values))
        return keys, values

    def get_seq_length(self, *_: Any) -> int:
        return self._past[0][0].shape[2] if self._past else 0


class Prefix:
    """n prompts that the model has read.

    Attributes:
        states: after the last layer, of the prompt's last token and of the nodes fed with it; shape
            [n, 1 + C, hidden size].
        hidden: the first of them, shape [n, hidden size].
    """

    def __init__(
        self,
        model: Any,
        past: "list[tuple[torch.Tensor, torch.Tensor]]",
        lengths: "torch.Tensor",
        visible: "torch.Tensor",
        states: "torch.Tensor",
    ) -> None:
        self._model, self._past, self._lengths, self._visible, self.states = model, past, lengths, visible, states
        self.hidden = states[:, 0]

    def __len__(self) -> int:
        return len(self.hidden)

    def feed(self, tokens: _Ints, depths: _Ints, sees: NDArray[np.bool_], keep: bool = False) -> "torch.Tensor":
        """States of the fed nodes after the last layer, shape [n, C, hidden size].

        Args:
            tokens: shape [C], the same for every prompt, or [n, C].
            depths: tokens from the prompt's end to the node (1: right behind it); shape as `tokens`.
            sees: [..., i, j]: fed node i attends to node j of those kept so far and of the new ones, in this order;
                shape [C, kept + C], or [n, C, kept + C]. Every node sees itself.
            keep: later calls may attend to these nodes.
        """
        import torch

        rows, device = len(self), self.hidden.device
        ids = torch.from_numpy(np.atleast_2d(tokens)).to(device).expand(rows, -1)
        positions = self._lengths[:, None] - 1 + torch.from_numpy(np.atleast_2d(depths)).to(device)
        count, seen = ids.shape[1], torch.from_numpy(sees).to(device)
        seen = seen if seen.dim() == 3 else seen[None]
        prompt = self._visible[:, None, :].expand(rows, count, -1)
        mask = torch.cat([prompt, seen.expand(rows, -1, -1)], dim=2)
        keys = _Keys(self._past, keep)
        hidden = _forward(self._model, ids, positions, mask, keys)
        self._past = keys.kept if keep else self._past
        return hidden

    def select(self, rows: Sequence[int]) -> "Prefix":
        """The prompts at these places alone."""
        import torch

        index = torch.tensor(rows, device=self.hidden.device)
        past = [(keys[index], values[index]) for keys, values in self._past]
        return Prefix(self._model, past, self._lengths[index], self._visible[index], self.states[index])


def causal_model(model: Any) -> Any:
    """The causal language model itself; an adapter's layers stay in it."""
    return model.get_base_model() if hasattr(model, "get_base_model") else model


def read_start(model: Any, tokens: Sequence[int]) -> Start:
    """Read what every prompt of a task begins with.

    Args:
        model: as for `read_prompts`, with or without its adapter's wrapper; its weights must not change later.
        tokens: at least one.
    """
    import torch

    causal = causal_model(model)
    with torch.inference_mode():
        return Start(list(tokens), _read_once(causal, tokens))


def read_prompts(
    causal: Any, prompts: Sequence[Sequence[int]], pad_id: int, start: Start | None = None, tree: Tree | None = None
) -> Prefix:
    """Run the prompts through the model once. The tokens that all of them begin with are computed for one alone.

    Args:
        causal: a Qwen2 causal language model (`causal_model`) in eval mode, under `inference_mode`.
        prompts: token ids of each, at least one a prompt; lengths may differ.
        pad_id: any token id; padding is masked.
        start: what was read before; used where all prompts begin with it and go on.
        tree: nodes to feed in the same pass, and to keep.
    """
    import torch

    device = next(causal.parameters()).device
    if start is not None and all(_goes_on(prompt, start.tokens) for prompt in prompts):
        shared, past = len(start.tokens), start.past
    else:
        shared = _common_prefix(prompts)
        past = _read_once(causal, prompts[0][:shared]) if shared else []
    tree = tree or _NO_TREE
    width, nodes = max(len(prompt) for prompt in prompts) - shared, len(tree.tokens)
    ids = torch.full((len(prompts), width + nodes), pad_id)
    visible = torch.ones((len(prompts), shared + width), dtype=torch.bool)
    for row, prompt in enumerate(prompts):  # padding stands between what is shared and what is not
        pad = width - (len(prompt) - shared)
        ids[row, pad:width] = torch.tensor(prompt[shared:])
        visible[row, shared : shared + pad] = False
    ids[:, width:] = torch.from_numpy(tree.tokens)
    ids, visible = ids.to(device), visible.to(device)
    lengths = visible.sum(dim=1)
    depths = torch.from_numpy(tree.depths).to(device)
    positions = (visible.long().cumsum(dim=1) - 1)[:, shared:].clamp(min=0)
    positions = torch.cat([positions, lengths[:, None] - 1 + depths], dim=1)
    keys = _Keys(past, keep=True)
    states = _forward(causal, ids, positions, _prompt_mask(visible, shared, tree), keys)[:, width - 1 :]
    return Prefix(causal, keys.kept, lengths, visible, states)


def _prompt_mask(visible: "torch.Tensor", shared: int, tree: Tree) -> "torch.Tensor":
    """Who sees whom, [rows, own tokens + nodes, all tokens + nodes]: a token what stands before it, a node all of the
    prompt and its ancestors."""
    import torch

    rows, length = visible.shape
    device, nodes = visible.device, len(tree.tokens)
    order = torch.arange(length, device=device)
    mask = torch.zeros((rows, length - shared + nodes, length + nodes), dtype=torch.bool, device=device)
    own = visible[:, None, :] & (order[None, :] <= order[shared:, None])
    mask[:, : length - shared, :length] = own | (order[None, :] == order[shared:, None])  # padding sees itself: no NaN
    mask[:, length - shared :, :length] = visible[:, None, :]
    mask[:, length - shared :, length:] = torch.from_numpy(tree.sees).to(device)
    return mask


def _read_once(causal: Any, tokens: Sequence[int]) -> "list[tuple[torch.Tensor, torch.Tensor]]":
    """Keys and values of one row of tokens."""
    import torch

    device, count = next(causal.parameters()).device, len(tokens)
    mask = torch.ones((1, count, count), dtype=torch.bool, device=device).tril()
    keys = _Keys([], keep=True)
    ids = torch.tensor([list(tokens)], device=device)
    _forward(causal, ids, torch.arange(count, device=device)[None], mask, keys)
    return keys.kept


def _goes_on(prompt: Sequence[int], start: Sequence[int]) -> bool:
    return len(prompt) > len(start) and list(prompt[: len(start)]) == list(start)


def token_logits(causal: Any, hidden: "torch.Tensor", vocabulary: _Ints) -> "torch.Tensor":
    """Logits of the given tokens alone, float32: the rows of a plain output layer, else a full pass and a selection."""
    import torch

    head: Any = causal.get_output_embeddings()
    columns = torch.from_numpy(vocabulary).to(hidden.device)
    plain = type(head) is torch.nn.Linear and head.bias is None  # neither quantised nor adapted
    logits: torch.Tensor = hidden.float() @ head.weight[columns].float().T if plain else head(hidden)[..., columns]
    return logits.float()


def _common_prefix(prompts: Sequence[Sequence[int]]) -> int:
    """Tokens that all prompts begin with; each keeps one of its own, and a single prompt shares with nobody."""
    if len(prompts) < 2:
        return 0
    shortest = min(len(prompt) for prompt in prompts) - 1
    head = np.array([prompt[:shortest] for prompt in prompts])
    differs = (head != head[:1]).any(axis=0)
    return int(differs.argmax()) if differs.any() else shortest


def _forward(
    causal: Any, ids: "torch.Tensor", positions: "torch.Tensor", mask: "torch.Tensor", keys: _Keys
) -> "torch.Tensor":
    """One pass of the model without its output layer; `mask` [rows, queries, keys] says who sees whom."""
    import torch

    dtype = causal.get_input_embeddings().weight.dtype
    # Additive, made once: given True and False, attention on a CPU would convert them in every layer.
    additive = torch.zeros(mask.shape, dtype=dtype, device=mask.device).masked_fill_(~mask, float("-inf"))[:, None]
    hidden: torch.Tensor = causal.model(
        input_ids=ids, position_ids=positions, attention_mask=additive, past_key_values=keys, use_cache=False
    ).last_hidden_state
    return hidden
