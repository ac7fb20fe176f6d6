"""The report's pictures, drawn without a display.

Colours are those of Okabe and Ito, which the common kinds of colour blindness tell apart; the matrix uses one hue from
light to dark.
"""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from jobtuner.evaluate.results import Comparison, Evaluated
from jobtuner.records import Prediction

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["CHARTS", "draw_charts"]

CHARTS = {
    "languages.png": "Accuracy per language of model and baseline",
    "confusion.png": "Confusion matrix of the model",
    "calibration.png": "Reliability of the probabilities of model and baseline",
}
"""File name to description."""

_MODEL, _BASELINE, _GREY = "#0072B2", "#E69F00", "#666666"
_DPI = 130
_MAX_TICKS = 60  # more codes than this are unreadable beside the matrix
_LEAST_SHARE = 0.01  # lower end of the colour scale; what is rarer takes its colour


def draw_charts(result: Comparison, folder: Path) -> None:
    """Write the files of `CHARTS`."""
    figures = (_languages(result), _confusion(result.model.predictions), _calibration(result.model, result.baseline))
    for name, figure in zip(CHARTS, figures, strict=True):
        figure.savefig(folder / name, dpi=_DPI, metadata={"Software": None})  # the same bytes from every version


def _figure(width: float, height: float) -> "Figure":
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")  # no pyplot: no global state, no display


def _languages(result: Comparison) -> "Figure":
    ours, theirs = (side.metrics["per_language"] for side in (result.model, result.baseline))
    names = sorted(ours, key=lambda name: (-ours[name]["n"], name))
    figure = _figure(7.5, 1.7 + 0.42 * len(names))
    axes = figure.subplots()
    place = np.arange(len(names))
    for label, side, offset, color in (("model", ours, -0.2, _MODEL), ("baseline", theirs, 0.2, _BASELINE)):
        values = [100 * side[name]["accuracy"] for name in names]
        bars = axes.barh(place + offset, values, height=0.38, color=color, label=label)
        axes.bar_label(bars, fmt="%.0f", padding=2, fontsize=8)
    axes.set_yticks(place, [f"{name} (n = {ours[name]['n']})" for name in names])
    axes.set(
        ylim=(len(names) - 0.4, -0.6),
        xlim=(0, 108),
        xlabel="accuracy (% of the ads)",
        ylabel="language",
        title="Accuracy per language",
    )
    axes.grid(axis="x", alpha=0.3)
    axes.set_axisbelow(True)
    figure.legend(loc="outside lower center", ncols=2, frameon=False)
    return figure


def _confusion(predictions: Sequence[Prediction]) -> "Figure":
    from matplotlib import colormaps
    from matplotlib.colors import ListedColormap, LogNorm

    codes = sorted({code for item in predictions for code in (item.label, item.predicted)})
    shares = _row_shares(predictions, codes)
    side = 9.5 if len(codes) <= _MAX_TICKS else 11.0
    figure = _figure(side, side * 0.9)
    axes = figure.subplots()
    image = axes.imshow(
        np.ma.masked_equal(shares, 0.0),
        norm=LogNorm(_LEAST_SHARE, 1.0),
        cmap=ListedColormap(colormaps["Blues"](np.linspace(0.25, 1.0, 256))),  # the lightest blue is not white
        interpolation="nearest",
        aspect="equal",
    )
    bar = figure.colorbar(image, ax=axes, shrink=0.8, ticks=[0.01, 0.03, 0.1, 0.3, 1.0], extend="min")
    bar.ax.set_yticklabels(["1 %", "3 %", "10 %", "30 %", "100 %"])
    bar.set_label("share of the ads with the right code (log scale; white: none)")
    _draw_groups(axes, codes)
    axes.set(
        xlabel="code that the model answered",
        ylabel="right code",
        title=f"Confusion matrix of the model: {len(codes)} codes in order, major groups framed",
    )
    return figure


def _row_shares(predictions: Sequence[Prediction], codes: Sequence[str]) -> NDArray[np.float64]:
    """Shape [codes, codes]: of the ads with the row's code, the share that got the column's code."""
    column = {code: index for index, code in enumerate(codes)}
    counts = np.zeros((len(codes), len(codes)))
    for (right, answered), count in Counter((item.label, item.predicted) for item in predictions).items():
        counts[column[right], column[answered]] = count
    shares: NDArray[np.float64] = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1.0)
    return shares


def _draw_groups(axes: "Axes", codes: Sequence[str]) -> None:
    """Frame the diagonal blocks of the major groups; label the codes, or the groups where the codes are too many."""
    from matplotlib.patches import Rectangle

    groups = Counter(code[0] for code in codes)
    start, middles = 0, []
    for size in groups.values():  # the codes are sorted, so groups come in order
        for draw in (axes.axhline, axes.axvline):
            draw(start - 0.5, color=_GREY, linewidth=0.4, alpha=0.6)
        corner = (start - 0.5, start - 0.5)
        axes.add_patch(Rectangle(corner, size, size, fill=False, edgecolor=_BASELINE, linewidth=1.4))
        middles.append(start + (size - 1) / 2)
        start += size
    if len(codes) <= _MAX_TICKS:
        axes.set_xticks(range(len(codes)), codes, rotation=90, fontsize=7)
        axes.set_yticks(range(len(codes)), codes, fontsize=7)
    else:
        names = [f"{group}…" for group in groups]
        axes.set_xticks(middles, names)
        axes.set_yticks(middles, names)


def _calibration(model: Evaluated, baseline: Evaluated) -> "Figure":
    figure = _figure(6.5, 7.0)
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1])
    upper.plot([0, 100], [0, 100], color=_GREY, linestyle="--", linewidth=1, label="perfectly calibrated")
    width = 100 / 15 * 0.42
    for side, color, marker, shift in ((model, _MODEL, "o", -0.5), (baseline, _BASELINE, "s", 0.5)):
        total = sum(item["n"] for item in side.bins)
        confidence = [100 * item["confidence"] for item in side.bins]
        accuracy = [100 * item["accuracy"] for item in side.bins]
        label = f"{side.name} (ECE {100 * side.metrics['ece']:.1f} points)"
        upper.plot(confidence, accuracy, color=color, marker=marker, label=label)
        middles = [50 * (item["low"] + item["high"]) + shift * width for item in side.bins]
        lower.bar(middles, [100 * item["n"] / total for item in side.bins], width=width, color=color)
    upper.set(
        ylim=(0, 102),
        ylabel="accuracy (% of the ads in the bin)",
        title="Reliability of the probabilities on the test ads",
    )
    upper.grid(alpha=0.3)
    upper.legend(frameon=False, loc="upper left")
    lower.set(xlim=(0, 102), xlabel="probability of the answer (%)", ylabel="share of ads (%)")
    lower.grid(axis="y", alpha=0.3)
    lower.set_axisbelow(True)
    return figure
