"""The confusion matrix, twice: between major groups with numbers, and between all codes in their order.

One hue from light to dark; white means that it never happened. With hundreds of codes the big matrix shows where the
errors lie (near the diagonal, in one block, in one column); the table of pairs beside it names them.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from jobtuner.records import Prediction
from jobtuner.taxonomy import Taxonomy

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["draw_codes", "draw_groups"]

_MAX_TICKS = 60  # more codes than this are unreadable beside the matrix
_MAX_NUMBERS = 12  # up to so many codes the shares are written into the cells
_MAX_TITLE = 34  # characters of a group's title
_LEAST_SHARE = 0.01  # lower end of the colour scale; what is rarer takes its colour
_FRAME, _GREY = "#E69F00", "#666666"
_CELL_INCHES = 3 / 130  # three whole pixels at the charts' 130 dots an inch: no code is swallowed by rounding

_NewFigure = Callable[[float, float], "Figure"]


def draw_groups(new_figure: _NewFigure, predictions: Sequence[Prediction], taxonomy: Taxonomy) -> "Figure":
    """Major groups (first digits) against each other, with the share of each cell written into it."""
    pairs = [(item.label[0], item.counted[0]) for item in predictions]
    groups = sorted({group for pair in pairs for group in pair})
    shares = _row_shares(pairs, groups)
    counts = Counter(right for right, _ in pairs)
    size = 2.0 + 0.55 * len(groups)
    figure = new_figure(size + 3.6, size)
    axes = figure.subplots()
    _draw_matrix(axes, shares)
    _write_shares(axes, shares)
    axes.set_xticks(range(len(groups)), groups)
    axes.set_yticks(
        range(len(groups)), [f"{group} {_short(taxonomy.title(group), group)} ({counts[group]})" for group in groups]
    )
    axes.set(
        xlabel="major group that the model answered",
        ylabel="right major group (ads)",
        title="Confusion between major groups (% of the row's ads)",
    )
    return figure


def draw_codes(new_figure: _NewFigure, predictions: Sequence[Prediction]) -> "Figure":
    """All codes in their order, so that the groups of the taxonomy are blocks along the diagonal."""
    codes = sorted({code for item in predictions for code in (item.label, item.counted)})
    shares = _row_shares([(item.label, item.counted) for item in predictions], codes)
    side = max(min(9.5, 3.5 + 0.5 * len(codes)), len(codes) * _CELL_INCHES + 2.5)
    figure = new_figure(side, side * 0.9)
    axes = figure.subplots()
    image = _draw_matrix(axes, shares)
    bar = figure.colorbar(image, ax=axes, shrink=0.8, ticks=[0.01, 0.03, 0.1, 0.3, 1.0], extend="min")
    bar.ax.set_yticklabels(["1 %", "3 %", "10 %", "30 %", "100 %"])
    bar.set_label("share of the ads with the right code (log scale; white: none)")
    if len(codes) <= _MAX_NUMBERS:
        _write_shares(axes, shares)
    _draw_blocks(axes, codes)
    axes.set(
        xlabel="code that the model answered",
        ylabel="right code",
        title=f"Confusion matrix of the model: {len(codes)} codes in order, major groups framed",
    )
    return figure


def _draw_matrix(axes: "Axes", shares: NDArray[np.float64]) -> Any:
    from matplotlib import colormaps
    from matplotlib.colors import ListedColormap, LogNorm

    return axes.imshow(
        np.ma.masked_equal(shares, 0.0),
        norm=LogNorm(_LEAST_SHARE, 1.0),
        cmap=ListedColormap(colormaps["Blues"](np.linspace(0.25, 1.0, 256))),  # the lightest blue is not white
        interpolation="nearest",
        aspect="equal",
    )


def _write_shares(axes: "Axes", shares: NDArray[np.float64]) -> None:
    for row, column in zip(*np.nonzero(shares), strict=True):
        share = shares[row, column]
        told = "<1" if share < 0.005 else f"{100 * share:.0f}"
        axes.text(column, row, told, ha="center", va="center", fontsize=9, color="white" if share > 0.2 else "black")


def _row_shares(pairs: Sequence[tuple[str, str]], names: Sequence[str]) -> NDArray[np.float64]:
    """Shape [names, names]: of the ads with the row's name, the share that got the column's."""
    column = {name: index for index, name in enumerate(names)}
    counts = np.zeros((len(names), len(names)))
    for (right, answered), count in Counter(pairs).items():
        counts[column[right], column[answered]] = count
    shares: NDArray[np.float64] = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1.0)
    return shares


def _draw_blocks(axes: "Axes", codes: Sequence[str]) -> None:
    """Frame the diagonal blocks of the major groups and rule off the groups of two digits; label the codes, or the
    major groups where the codes are too many."""
    from matplotlib.patches import Rectangle

    for digits, width, strength in ((1, 0.6, 0.7), (2, 0.3, 0.3)):
        for edge in _edges(codes, digits):
            for draw in (axes.axhline, axes.axvline):
                draw(edge, color=_GREY, linewidth=width, alpha=strength)
    groups, starts = sorted({code[0] for code in codes}), [-0.5, *_edges(codes, 1), len(codes) - 0.5]
    for start, end in pairwise(starts):
        axes.add_patch(Rectangle((start, start), end - start, end - start, fill=False, edgecolor=_FRAME, linewidth=1.4))
    if len(codes) <= _MAX_TICKS:
        size = 7 if len(codes) > _MAX_NUMBERS else 10
        axes.set_xticks(range(len(codes)), codes, rotation=90, fontsize=size)
        axes.set_yticks(range(len(codes)), codes, fontsize=size)
    else:
        middles, names = [(start + end) / 2 for start, end in pairwise(starts)], [f"{group}…" for group in groups]
        axes.set_xticks(middles, names)
        axes.set_yticks(middles, names)


def _edges(codes: Sequence[str], digits: int) -> list[float]:
    """Between which of the sorted codes the first digits change."""
    return [place - 0.5 for place in range(1, len(codes)) if codes[place][:digits] != codes[place - 1][:digits]]


def _short(title: str, code: str) -> str:
    if title == code:
        return ""
    return title if len(title) <= _MAX_TITLE else title[: _MAX_TITLE - 1] + "…"
