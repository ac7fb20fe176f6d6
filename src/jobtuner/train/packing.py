"""Rows packed into one sequence in which their common beginning stands once.

All rows of a task open with the same system prompt. A causal prefix sees only itself, so its hidden states are the same
in every row: a pack computes them once, and every row attends to them as if they were its own. No row sees another, the
positions are those of the row by itself, and nothing is padded in the linear layers. Loss and gradients equal those of
the rows one by one, up to the order of sums; with dropout in the adapter, all rows share the mask drawn for the prefix.

    sequence   prefix | own tokens of row 0 | own tokens of row 1 | …          shape [1, tokens]
    attention  prefix → prefix;  row i → prefix and row i, never row j
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from jobtuner.tasks.base import IGNORED

if TYPE_CHECKING:
    import torch

__all__ = ["PACKED", "best_fit", "pack", "packed_attention", "shared_prefix"]

PACKED = "jobtuner_packed"
"""Name of the attention in transformers' registry."""

_Row = dict[str, list[int]]


def shared_prefix(rows: Sequence[_Row]) -> int:
    """Tokens with which all rows begin, short of the one that predicts a row's first answer token.

    That token stays with its row, since each row predicts an answer of its own from it.
    """
    shortest, longest = min(row["input_ids"] for row in rows), max(row["input_ids"] for row in rows)
    common = next((i for i, (a, b) in enumerate(zip(shortest, longest, strict=False)) if a != b), len(shortest))
    return max(0, min(common, *(_first_answer(row) - 1 for row in rows)))


def _first_answer(row: _Row) -> int:
    return next((i for i, label in enumerate(row["labels"]) if label != IGNORED), len(row["labels"]))


def best_fit(sizes: Sequence[int], room: int) -> list[list[int]]:
    """Indices in as few groups of at most `room` as best-fit-decreasing finds; what is larger stays alone.

    At most 11/9 of the fewest groups possible, and 6/9 of a group (Johnson 1973; Dósa 2007).
    """
    groups: list[list[int]] = []
    left: list[int] = []
    for index in sorted(range(len(sizes)), key=lambda i: -sizes[i]):
        fitting = [group for group, free in enumerate(left) if free >= sizes[index]]
        if fitting:
            tightest = min(fitting, key=lambda group: left[group])
            groups[tightest].append(index)
            left[tightest] -= sizes[index]
        else:
            groups.append([index])
            left.append(room - sizes[index])
    return groups


def pack(rows: Sequence[_Row], prefix: int) -> dict[str, Any]:
    """One pack as the model takes it.

    Args:
        rows: `input_ids` and `labels`.
        prefix: tokens at the front that all rows share and that are computed once; 0: none.

    Returns:
        input_ids and position_ids [1, tokens]; kept [answers], where in the sequence the answers are predicted,
        targets [answers], what they are, and owner [answers], whose they are; layout, which the attention reads: prefix
        (tokens), own [rows, longest] (where a row's tokens stand, 0 for padding), back [tokens - prefix] (the way back
        from own, flattened), seen [rows, 1, longest, prefix + longest] (True where a token attends).
    """
    import torch

    own = [row["input_ids"][prefix:] for row in rows]
    lengths = torch.tensor([len(ids) for ids in own])
    longest = int(lengths.max())
    starts = prefix + lengths.cumsum(0) - lengths
    columns = torch.arange(longest)
    real = columns < lengths[:, None]
    seen = torch.cat(
        [
            torch.ones(len(rows), longest, prefix, dtype=torch.bool),
            (columns[:, None] >= columns).expand(len(rows), -1, -1),  # padding stands behind: causality hides it
        ],
        dim=2,
    )
    labels = [label for row in rows for label in row["labels"][prefix:]]
    wanted = torch.tensor([IGNORED] * prefix + labels)
    wanted[starts] = IGNORED  # a row's first own token is predicted by nothing in it, or is no answer
    answers = (wanted != IGNORED).nonzero()[:, 0]
    return {
        "input_ids": torch.tensor([rows[0]["input_ids"][:prefix] + [token for ids in own for token in ids]]),
        "position_ids": torch.cat([torch.arange(prefix), *(prefix + torch.arange(len(ids)) for ids in own)])[None],
        "kept": answers - 1,
        "targets": wanted[answers],
        "owner": torch.arange(len(rows)).repeat_interleave(lengths)[answers - prefix],
        "layout": {
            "prefix": prefix,
            "own": torch.where(real, starts[:, None] + columns, 0),
            "back": real.flatten().nonzero()[:, 0],
            "seen": seen[:, None],
        },
    }


def _attend(
    module: Any,
    query: "torch.Tensor",
    key: "torch.Tensor",
    value: "torch.Tensor",
    attention_mask: "torch.Tensor | None",
    layout: dict[str, Any] | None = None,
    **kwargs: Any,
) -> "tuple[torch.Tensor, None]":
    """Attention of a pack; without a layout transformers' own SDPA, so that the model still takes ordinary batches.

    Args:
        module: the attention layer.
        query: shape [1, heads, tokens, head size].
        key: shape [1, key-value heads, tokens, head size].
        value: as `key`.
        attention_mask: unused in a pack.
        layout: what `pack` made.
        kwargs: scaling, and what other attentions take.

    Returns:
        [1, tokens, heads, head size], and no attention weights.
    """
    import torch
    from transformers.integrations.sdpa_attention import repeat_kv, sdpa_attention_forward

    if layout is None:
        return sdpa_attention_forward(module, query, key, value, attention_mask, **kwargs)
    attention = torch.nn.functional.scaled_dot_product_attention
    prefix, own, scale = layout["prefix"], layout["own"], kwargs.get("scaling")
    rows, longest = own.shape
    key, value = (repeat_kv(states, module.num_key_value_groups) for states in (key, value))

    def of_rows(states: Any) -> Any:  # [1, heads, tokens, head size] → [rows, heads, longest, head size]
        return states[0].index_select(1, own.flatten()).unflatten(1, (rows, longest)).transpose(0, 1)

    keys, values = (
        torch.cat([states[:, :, :prefix].expand(rows, -1, -1, -1), of_rows(states)], dim=2) for states in (key, value)
    )
    out = attention(of_rows(query), keys, values, attn_mask=layout["seen"], scale=scale)
    out = out.transpose(1, 2).flatten(0, 1).index_select(0, layout["back"])[None]
    if prefix:
        front = attention(query[:, :, :prefix], key[:, :, :prefix], value[:, :, :prefix], is_causal=True, scale=scale)
        out = torch.cat([front.transpose(1, 2), out], dim=1)
    return out, None


@contextmanager
def packed_attention(model: Any) -> Iterator[None]:
    """Let a model take packs; afterwards it has the attention it had."""
    from transformers import AttentionInterface, AttentionMaskInterface
    from transformers.masking_utils import sdpa_mask

    AttentionInterface.register(PACKED, _attend)
    AttentionMaskInterface.register(PACKED, sdpa_mask)
    before = model.config._attn_implementation
    model.set_attn_implementation(PACKED)
    try:
        yield
    finally:
        model.set_attn_implementation(before)
