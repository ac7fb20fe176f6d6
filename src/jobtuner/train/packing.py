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

__all__ = ["PACKED", "best_fit", "grain", "pack", "packed_attention", "round_up", "shared_prefix"]

PACKED = "jobtuner_packed"
"""Name of the attention in transformers' registry."""

_Row = dict[str, list[int]]
_SHORT = 256  # keys: from there on SDPA's kernel is as fast, and holds no scores


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


def grain(tokens: int) -> int:
    """Sizes of packs are multiples of this, so that few different ones occur.

    On a CPU oneDNN builds a matrix product in bfloat16 anew for each shape that it has not seen lately, in 0.6 ms where
    the product takes 0.1: there it is an eighth of the power of two below, which is 4 % more tokens on average. On a
    GPU multiples of 8 fill the tensor cores.
    """
    import torch

    return 8 if torch.cuda.is_available() else max(8, (1 << (tokens.bit_length() - 1)) // 8)


def round_up(number: int, step: int) -> int:
    """The next multiple of `step`."""
    return -(-number // step) * step


def pack(rows: Sequence[_Row], prefix: int, size: int = 0, step: int = 1) -> dict[str, Any]:
    """One pack as the model takes it.

    Args:
        rows: `input_ids` and `labels`.
        prefix: tokens at the front that all rows share and that are computed once; 0: none.
        size: tokens that the pack is filled up to, behind all rows, where no row sees them.
        step: answers, and the longest row where attention is computed, are filled up to a multiple of this.

    Returns:
        input_ids and position_ids [1, tokens]; kept [answers], where in the sequence the answers are predicted,
        targets [answers], what they are (IGNORED where filled up), and owner [answers], whose they are; layout, which
        the attention reads: prefix (tokens), own [rows, longest] (where a row's tokens stand, 0 for padding), back
        [tokens of rows] (the way back from own, flattened), fill (tokens behind all rows), seen
        [rows, 1, longest, prefix + longest] (True where a token attends).
    """
    import torch

    own = [row["input_ids"][prefix:] for row in rows]
    lengths = torch.tensor([len(ids) for ids in own])
    longest = round_up(int(lengths.max()), step)
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
    tokens = rows[0]["input_ids"][:prefix] + [token for ids in own for token in ids]
    fill, more = max(0, size - len(tokens)), round_up(len(answers), step) - len(answers)
    places = [torch.arange(prefix), *(prefix + torch.arange(len(ids)) for ids in own), torch.zeros(fill).long()]
    return {
        "input_ids": torch.tensor([tokens + [0] * fill]),
        "position_ids": torch.cat(places)[None],
        "kept": _filled(answers - 1, more, 0),
        "targets": _filled(wanted[answers], more, IGNORED),
        "owner": _filled(torch.arange(len(rows)).repeat_interleave(lengths)[answers - prefix], more, 0),
        "layout": {
            "prefix": prefix,
            "own": torch.where(real, starts[:, None] + columns, 0),
            "back": real.flatten().nonzero()[:, 0],
            "fill": fill,
            "seen": seen[:, None],
        },
    }


def _filled(values: "torch.Tensor", more: int, value: int) -> "torch.Tensor":
    import torch

    return torch.nn.functional.pad(values, (0, more), value=value)


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
    prefix, own, scale = layout["prefix"], layout["own"], kwargs.get("scaling")
    rows, longest = own.shape
    key, value = (repeat_kv(states, module.num_key_value_groups) for states in (key, value))

    def of_rows(states: Any) -> Any:  # [1, heads, tokens, head size] → [rows, heads, longest, head size]
        return states[0].index_select(1, own.flatten()).unflatten(1, (rows, longest)).transpose(0, 1)

    keys, values = (
        torch.cat([states[:, :, :prefix].expand(rows, -1, -1, -1), of_rows(states)], dim=2) for states in (key, value)
    )
    out = _attention(of_rows(query), keys, values, layout["seen"], scale)
    parts = [out.transpose(1, 2).flatten(0, 1).index_select(0, layout["back"])[None]]
    if prefix:
        first = layout["seen"].new_ones(prefix, prefix).tril()
        front = _attention(query[:, :, :prefix], key[:, :, :prefix], value[:, :, :prefix], first, scale)
        parts.insert(0, front.transpose(1, 2))
    if layout["fill"]:
        parts.append(parts[0].new_zeros(1, layout["fill"], *parts[0].shape[2:]))
    return torch.cat(parts, dim=1), None


def _attention(query: Any, keys: Any, values: Any, seen: Any, scale: float | None) -> Any:
    """SDPA; but on a CPU the backward pass of its kernel takes three times as long as the plain products, if short."""
    import torch

    if query.device.type != "cpu" or keys.shape[2] > _SHORT:
        return torch.nn.functional.scaled_dot_product_attention(query, keys, values, attn_mask=seen, scale=scale)
    factor = query.shape[-1] ** -0.5 if scale is None else scale
    scores = (query @ keys.transpose(-1, -2)).float() * factor
    return scores.masked_fill(~seen, float("-inf")).softmax(dim=-1).to(values.dtype) @ values


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
