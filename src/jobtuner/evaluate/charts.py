"""The report's pictures, drawn without a display.

Colours are those of Okabe and Ito, which the common kinds of colour blindness tell apart.
"""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from jobtuner.evaluate.confusion import draw_codes, draw_groups
from jobtuner.evaluate.results import Comparison, Evaluated
from jobtuner.evaluate.selective import Selection
from jobtuner.router import wilson_low

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["CHARTS", "draw_charts"]

CHARTS = {
    "languages.png": "Accuracy per language of model and baseline, with 95 % intervals",
    "calibration.png": "Reliability of the probabilities of model and baseline",
    "abstention.png": "Share of right answers against the share of ads that are answered, surest first",
    "cascade.png": "Accuracy of the cascade against the share of model calls that it saves",
    "groups.png": "Confusion matrix of the model between major groups",
    "confusion.png": "Confusion matrix of the model between all codes",
}
"""File name to description."""

_MODEL, _BASELINE, _GREY = "#0072B2", "#E69F00", "#666666"
_DPI = 130


def draw_charts(result: Comparison, folder: Path) -> None:
    """Write the files of `CHARTS`."""
    figures = {
        "languages.png": _languages(result),
        "calibration.png": _calibration(result.model, result.baseline),
        "abstention.png": _abstention(result.model, result.baseline),
        "cascade.png": _cascade(result),
        "groups.png": draw_groups(_figure, result.model.predictions, result.taxonomy),
        "confusion.png": draw_codes(_figure, result.model.predictions),
    }
    for name, figure in figures.items():
        # Tight: long group titles are not cut off. No software version: the same bytes from every one.
        figure.savefig(folder / name, dpi=_DPI, bbox_inches="tight", metadata={"Software": None})


def _figure(width: float, height: float) -> "Figure":
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")  # no pyplot: no global state, no display


def _languages(result: Comparison) -> "Figure":
    ours, theirs = (side.metrics["per_language"] for side in (result.model, result.baseline))
    names = sorted(ours, key=lambda name: (-ours[name]["n"], name))
    figure = _figure(7.5, 1.8 + 0.36 * len(names))
    axes = figure.subplots()
    place = np.arange(len(names))
    for label, side, offset, color, marker in (
        ("model", ours, -0.14, _MODEL, "o"),
        ("baseline", theirs, 0.14, _BASELINE, "s"),
    ):
        values = np.array([100 * side[name]["accuracy"] for name in names])
        ends = 100 * np.array([side[name]["accuracy_interval"] for name in names]).T
        axes.hlines(place + offset, *ends, color=color, linewidth=2.5, alpha=0.45)
        axes.plot(values, place + offset, color=color, marker=marker, linestyle="", label=label)
    axes.set_yticks(place, [f"{name} (n = {ours[name]['n']})" for name in names])
    axes.set(
        ylim=(len(names) - 0.4, -0.6),
        xlabel="accuracy (% of the ads)",
        ylabel="language",
        title="Accuracy per language, with 95 % intervals",
    )
    axes.margins(x=0.03)
    axes.grid(alpha=0.3)
    axes.set_axisbelow(True)
    figure.legend(loc="outside lower center", ncols=2, frameon=False)
    return figure


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
        upper.vlines(confidence, *_wilson(side), color=color, linewidth=2.5, alpha=0.35)
        middles = [50 * (item["low"] + item["high"]) + shift * width for item in side.bins]
        lower.bar(middles, [100 * item["n"] / total for item in side.bins], width=width, color=color)
    upper.set(
        ylim=(0, 102),
        ylabel="accuracy (% of the ads in the bin)",
        title="Reliability on the test ads, with 95 % intervals",
    )
    upper.grid(alpha=0.3)
    upper.legend(frameon=False, loc="upper left")
    lower.set(xlim=(0, 102), xlabel="probability of the answer (%)", ylabel="share of ads (%)")
    lower.grid(axis="y", alpha=0.3)
    lower.set_axisbelow(True)
    return figure


def _wilson(side: Evaluated) -> tuple[list[float], list[float]]:
    """Ends of the 95 % Wilson interval of each bin's accuracy, in percent."""
    lows = [100 * wilson_low(item["accuracy"], item["n"], 1.96) for item in side.bins]
    highs = [100 - 100 * wilson_low(1 - item["accuracy"], item["n"], 1.96) for item in side.bins]
    return lows, highs


def _abstention(model: Evaluated, baseline: Evaluated) -> "Figure":
    figure = _figure(6.5, 4.6)
    axes = figure.subplots()
    for side, color, marker in ((model, _MODEL, "o"), (baseline, _BASELINE, "s")):
        found = side.abstention
        kept = [point for point in found.curve if point.precision is not None]
        axes.plot(
            [100 * point.coverage for point in kept],
            [100 * (point.precision or 0.0) for point in kept],
            color=color,
            label=side.name,
        )
        _mark(axes, found, None if found.precision is None else found.precision.estimate, color, marker)
    target = 100 * model.abstention.target
    axes.axhline(target, color=_GREY, linestyle="--", linewidth=1, label=f"wanted: {target:g} % right")
    axes.set(
        xlim=(0, 102),
        ylim=_range_of(axes),
        xlabel="ads that are answered, the surest first (%)",
        ylabel="right answers among them (%)",
        title="Answering only what is sure",
    )
    axes.grid(alpha=0.3)
    axes.legend(frameon=False, loc="lower left")
    return figure


def _cascade(result: Comparison) -> "Figure":
    found = result.cascade
    figure = _figure(6.5, 4.6)
    axes = figure.subplots()
    saved, accuracy = (
        [100 * value for value in values]
        for values in zip(*((point.coverage, point.accuracy) for point in found.curve), strict=True)
    )
    axes.plot(saved, accuracy, color=_MODEL, label="cascade")
    for place, side, color in ((0, result.model, _MODEL), (100, result.baseline, _BASELINE)):
        value = 100 * side.metrics["accuracy"]
        axes.axhline(value, color=color, linestyle=":", linewidth=1)
        axes.plot([place], [value], color=color, marker="s", linestyle="", label=f"{side.name} alone")
    _mark(axes, found, found.accuracy.estimate, "black", "o", label="chosen on validation ads")
    axes.set(
        xlim=(-2, 102),
        ylim=_range_of(axes),
        xlabel="model calls saved: ads that the baseline answers (%)",
        ylabel="accuracy (% of all ads)",
        title="Cascade: the baseline answers what it is sure of, the model the rest",
    )
    axes.grid(alpha=0.3)
    axes.legend(frameon=False, loc="best")
    return figure


def _mark(
    axes: "Axes", found: Selection, value: float | None, color: str, marker: str, label: str | None = None
) -> None:
    """The chosen threshold as a point on its curve."""
    if value is not None:
        axes.plot(
            [100 * found.point.coverage],
            [100 * value],
            color=color,
            marker=marker,
            markersize=8,
            markeredgecolor="white",
            linestyle="",
            label=label,
            zorder=3,
            clip_on=False,
        )


def _range_of(axes: "Axes") -> tuple[float, float]:
    """From a little below the lowest value drawn up to 101 %: small differences near the top must be seen."""
    lowest = min(float(np.min(line.get_ydata())) for line in axes.get_lines())
    return max(0.0, lowest - 0.15 * (101.0 - lowest)), 101.0
