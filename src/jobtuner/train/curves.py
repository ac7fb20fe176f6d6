"""A picture of the training: losses, validation scores and learning rate over the steps."""

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path

__all__ = ["CURVES_FILE", "draw_curves"]

CURVES_FILE = "curves.png"

# Okabe and Ito: told apart by the colour-blind too.
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
_PANELS = (
    ("loss, nats an answer token", ("loss", "validation_loss"), "_loss"),
    ("validation score", ("validation_accuracy", "validation_label_accuracy", "validation_macro_f1"), "_accuracy"),
    ("norm of the gradient", ("grad_norm",), None),
    ("learning rate", ("learning_rate",), None),
)
"""Title, names, and how the names end that mixed sets add."""


def draw_curves(history: Sequence[Mapping[str, float]], path: Path) -> None:
    """Draw a panel for each kind of value that the history holds; no file where it holds none.

    Args:
        history: one entry a logged step, each with `step`.
        path: PNG to write.
    """
    from matplotlib.figure import Figure

    held = {name for entry in history for name in entry}
    shown = []
    for heading, known, ending in _PANELS:
        more = sorted(name for name in held - {*known} if ending and name.endswith(ending))
        if there := [name for name in (*known, *more) if name in held]:
            shown.append((heading, there))
    if not shown:
        return
    figure = Figure(figsize=(7.5, 2.3 * len(shown)), layout="constrained")  # no pyplot: no display, no global state
    panels = figure.subplots(len(shown), 1, sharex=True, squeeze=False)[:, 0]
    for axes, (title, drawn) in zip(panels, shown, strict=True):
        for colour, name in zip(itertools.cycle(_COLOURS), drawn, strict=False):
            points = [(entry["step"], entry[name]) for entry in history if name in entry]
            axes.plot(*zip(*points, strict=True), color=colour, label=name.replace("_", " "), marker=".")
        axes.set_title(title, fontsize=9, loc="left")
        axes.grid(visible=True, alpha=0.3)
        if len(drawn) > 1:
            axes.legend(fontsize=8, frameon=False)
    panels[-1].set_xlabel("optimizer step")
    figure.savefig(path, dpi=110, metadata={"Software": None})  # no version: the same bytes from every one
