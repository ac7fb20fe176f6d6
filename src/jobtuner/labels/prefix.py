"""Prompts that a model has read, and any tree of tokens laid behind them.

The keys and values of a prompt are computed once; nodes of a tree then attend to them, to their ancestors and to
themselves (a tree attention mask), at the positions of their depths. The model computes for each node exactly what it
would had only that node's path been fed.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import torch

__all__ = ["Prefix", "causal_model", "read_prompts", "token_logits"]

_Ints = NDArray[np.intp]


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
        hidden: the last token's state after the last layer, shape [n, hidden size].
    """

    def __init__(
        self,
        model: Any,
        past: "list[tuple[torch.Tensor, torch.Tensor]]",
        lengths: "torch.Tensor",
        visible: "torch.Tensor",
        hidden: "torch.Tensor",
    ) -> None:
        self._model, self._past, self._lengths, self._visible, self.hidden = model, past, lengths, visible, hidden

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
        return Prefix(self._model, past, self._lengths[index], self._visible[index], self.hidden[index])


def causal_model(model: Any) -> Any:
    """The causal language model itself; an adapter's layers stay in it."""
    return model.get_base_model() if hasattr(model, "get_base_model") else model


def read_prompts(causal: Any, prompts: Sequence[Sequence[int]], pad_id: int) -> Prefix:
    """Run the prompts through the model once. The tokens that all of them begin with are computed for one alone.

    Args:
        causal: a Qwen2 causal language model (`causal_model`) in eval mode, under `inference_mode`.
        prompts: token ids of each, at least one a prompt; lengths may differ.
        pad_id: any token id; padding is masked.
    """
    import torch

    device = next(causal.parameters()).device
    shared = _common_prefix(prompts)
    keys = _Keys([], keep=True)
    if shared:
        ids = torch.tensor([list(prompts[0][:shared])], device=device)
        causal_mask = torch.ones((1, shared, shared), dtype=torch.bool, device=device).tril()
        _forward(causal, ids, torch.arange(shared, device=device)[None], causal_mask, keys)
    width = max(len(prompt) for prompt in prompts) - shared
    ids = torch.full((len(prompts), width), pad_id)
    visible = torch.ones((len(prompts), shared + width), dtype=torch.bool)
    for row, prompt in enumerate(prompts):  # padding stands between what is shared and what is not
        pad = width - (len(prompt) - shared)
        ids[row, pad:] = torch.tensor(prompt[shared:])
        visible[row, shared : shared + pad] = False
    ids, visible = ids.to(device), visible.to(device)
    positions = (visible.long().cumsum(dim=1) - 1)[:, shared:].clamp(min=0)
    order = torch.arange(shared + width, device=device)
    before = order[None, :] <= order[shared:, None]
    mask = (visible[:, None, :] & before) | (order[None, :] == order[shared:, None])  # padding sees itself: no NaN
    keys = _Keys(keys.kept, keep=True)
    hidden = _forward(causal, ids, positions, mask, keys)[:, -1]
    return Prefix(causal, keys.kept, visible.sum(dim=1), visible, hidden)


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
