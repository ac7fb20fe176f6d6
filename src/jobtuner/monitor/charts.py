"""The watch report's pictures, drawn without a display. Colours of Okabe and Ito, told apart by most eyes."""

from io import BytesIO
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from jobtuner.drift_reference.files import Reference
from jobtuner.monitor.drift import Drift, Shift
from jobtuner.monitor.quality import Quality
from jobtuner.monitor.window import Window

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["draw"]

_REFERENCE, _WINDOW, _ALARM, _GREY = "#0072B2", "#E69F00", "#D55E00", "#666666"
_DPI = 120
_SHOWN = 24  # findings that are drawn
_POINTS = 600  # of each side in the map of texts


def draw(reference: Reference, window: Window, drift: Drift, quality: Quality) -> dict[str, tuple[bytes, str]]:
    """Name to a PNG and what it shows; empty where there is nothing to draw."""
    figures: dict[str, tuple[Figure, str]] = {}
    if drift.findings:
        figures["scores"] = (_scores(drift), "Distance from the reference by what chance allows; right of 1 is drift")
    if len(window.sample):
        ours, theirs = reference.rows, window.sample
        figures["labels"] = (_shares(drift.labels, "occupation group"), "Shares of the occupations that changed most")
        figures["languages"] = (_shares(drift.languages, "language"), "Shares of the languages")
        confidence = _cumulative(ours.probability, theirs.probability, "probability of the answer", logarithmic=False)
        figures["confidence"] = (confidence, "Share of answers that are at most so sure")
        length = _cumulative(ours.characters, theirs.characters, "characters of the ad", logarithmic=True)
        figures["length"] = (length, "Share of ads that are at most so long")
        figures["map"] = (_map(ours.sketch, theirs.sketch), "Texts as points: near points are similar texts")
    if quality.weeks:
        figures["accuracy"] = (_accuracy(reference, quality), "Accuracy of the corrected answers by week")
    return {name: (_png(figure), text) for name, (figure, text) in figures.items()}


def _png(figure: "Figure") -> bytes:
    target = BytesIO()
    figure.savefig(target, format="png", dpi=_DPI, metadata={"Software": None})
    return target.getvalue()


def _figure(width: float, height: float) -> "tuple[Figure, Axes]":
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.subplots()
    axes.grid(alpha=0.3)
    axes.set_axisbelow(True)
    return figure, axes


def _scores(drift: Drift) -> "Figure":
    shown = drift.findings[:_SHOWN][::-1]
    figure, axes = _figure(7.5, 1.2 + 0.27 * len(shown))
    colors = [_ALARM if item.drifted else _REFERENCE for item in shown]
    axes.barh(range(len(shown)), [item.score for item in shown], color=colors)
    axes.axvline(1.0, color=_GREY, linestyle="--", linewidth=1.5)
    axes.set_yticks(range(len(shown)), [f"{item.scope} · {item.test}" for item in shown])
    axes.set(xlabel="distance by threshold", title="How far the window is from the reference")
    return figure


def _shares(shifts: list[Shift], kind: str) -> "Figure":
    shown = shifts[:12][::-1]
    figure, axes = _figure(7.5, 1.4 + 0.38 * len(shown))
    place = np.arange(len(shown))
    axes.barh(place + 0.2, [100 * item.reference for item in shown], 0.38, color=_REFERENCE, label="reference")
    axes.barh(place - 0.2, [100 * item.window for item in shown], 0.38, color=_WINDOW, label="window")
    axes.set_yticks(place, [item.name for item in shown])
    axes.set(xlabel="share of the ads (%)", ylabel=kind)
    figure.legend(loc="outside lower center", ncols=2, frameon=False)
    return figure


def _cumulative(ours: NDArray[np.float64], theirs: NDArray[np.float64], name: str, *, logarithmic: bool) -> "Figure":
    figure, axes = _figure(6.5, 4.0)
    for values, color, style, label in ((ours, _REFERENCE, "-", "reference"), (theirs, _WINDOW, "--", "window")):
        steps = np.sort(values)
        axes.plot(steps, 100 * np.arange(1, len(steps) + 1) / len(steps), color=color, linestyle=style, label=label)
    axes.set(xlabel=name, ylabel="share (%)", ylim=(0, 101))
    if logarithmic:
        axes.set_xscale("log")
    axes.legend(frameon=False)
    return figure


def _map(ours: NDArray[np.float32], theirs: NDArray[np.float32]) -> "Figure":
    """The two directions in which the texts of both sides differ most."""
    from sklearn.decomposition import PCA

    generator = np.random.default_rng(0)
    sides = [rows[generator.permutation(len(rows))[:_POINTS]] for rows in (ours, theirs)]
    places = PCA(2, random_state=0).fit_transform(np.concatenate(sides))
    figure, axes = _figure(6.5, 5.0)
    parts = (places[: len(sides[0])], places[len(sides[0]) :])
    for part, color, marker, label in zip(parts, (_REFERENCE, _WINDOW), "ox", ("reference", "window"), strict=True):
        axes.scatter(part[:, 0], part[:, 1], s=14, color=color, marker=marker, alpha=0.55, label=label, linewidths=0.8)
    axes.set(xlabel="first principal component", ylabel="second principal component")
    axes.legend(frameon=False)
    return figure


def _accuracy(reference: Reference, quality: Quality) -> "Figure":
    figure, axes = _figure(7.0, 3.8)
    place = np.arange(len(quality.weeks))
    axes.vlines(
        place,
        [100 * item.accuracy.low for item in quality.weeks],
        [100 * item.accuracy.high for item in quality.weeks],
        color=_REFERENCE,
        linewidth=3,
        alpha=0.45,
    )
    axes.plot(place, [100 * item.accuracy.estimate for item in quality.weeks], "o-", color=_REFERENCE)
    known = reference.about.get("accuracy")
    if known is not None:
        axes.axhline(100 * known, color=_GREY, linestyle="--", linewidth=1, label="reference")
        axes.legend(frameon=False)
    axes.set_xticks(place, [f"{item.name}\nn = {item.rows}" for item in quality.weeks])
    axes.set(xlabel="week from", ylabel="right answers (%)")
    return figure
