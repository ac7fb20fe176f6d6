"""A comparison as tables on a terminal, and as a picture."""

from collections.abc import Iterator
from pathlib import Path

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from jobtuner.errors import StorageError
from jobtuner.register.compare import Comparison
from jobtuner.statistics import Interval

__all__ = ["draw", "show"]

_TITLES = {"accuracy": "accuracy", "macro_f1": "macro-F1"}
_ROW_INCHES = 0.42
_WIDTH_INCHES = 8.0
_COLOURS = ("#7a8a99", "#1f6fb2")


def show(console: Console, found: Comparison) -> None:
    """Print what differs, the metrics with their intervals, and the paired test."""
    _say(console, f"A  {found.first.title}\nB  {found.second.title}\n")
    for sentence in _about_the_split(found):
        _say(console, sentence)
    console.print(_settings(found) if found.settings else "All settings are the same.")
    console.print(_metrics(found))
    for name, gain in found.gains.items():
        verdict = "a sure difference" if gain.low > 0 or gain.high < 0 else "no sure difference"
        _say(console, f"{_label(name)}: B - A = {gain.estimate:+.4f} [{gain.low:+.4f}, {gain.high:+.4f}], {verdict}.")
    test = found.test
    _say(
        console,
        f"Right in B alone: {test.ours_only} ads, in A alone: {test.theirs_only}; McNemar p = {test.p_value:.2g}.",
    )


def _say(console: Console, text: str) -> None:
    console.print(escape(text), soft_wrap=True, highlight=False)


def _about_the_split(found: Comparison) -> Iterator[str]:
    if found.same_split:
        yield f"Both were tested on the same {found.common} ads."
        return
    for letter, side in (("A", found.first), ("B", found.second)):
        yield f"{letter} was tested on {len(side.answers.rows)} ads of the data {side.answers.data_fingerprint[:12]}."
    yield f"The test splits differ: only the {found.common} ads that are in both are compared."
    yield "Either model may have been trained on ads of the other's test split, which would favour it."


def _settings(found: Comparison) -> Table:
    table = Table(title="Settings that differ", title_justify="left", box=box.SIMPLE_HEAD)
    for name in ("setting", "A", "B"):
        table.add_column(name, overflow="fold")
    for key, (one, two) in found.settings.items():
        table.add_row(escape(key), escape(one), escape(two))
    return table


def _label(key: str) -> str:
    kind, _, value = key.partition("/")
    return {"per_language": value, "per_level": f"level {value}"}.get(kind, _TITLES.get(kind, kind.replace("_", " ")))


def _metrics(found: Comparison) -> Table:
    table = Table(title="On the common ads, with 95 % intervals", title_justify="left", box=box.SIMPLE_HEAD)
    table.add_column("")
    for name in ("A", "B"):
        table.add_column(name, justify="right")
    one, two = found.intervals[0], found.intervals[1]
    last = sum("/" not in key for key in one) - 1  # of the metrics; slices follow
    for place, key in enumerate(key for key in one if key in two):
        table.add_row(escape(_label(key)), _span(one[key]), _span(two[key]), end_section=place == last)
    return table


def _span(value: Interval) -> str:
    return f"{value.estimate:.3f} \\[{value.low:.3f}, {value.high:.3f}]"  # the backslash is rich's: no markup


def draw(found: Comparison, path: Path) -> None:
    """Write the metrics of both sides with their intervals as a picture.

    Raises:
        StorageError: the file cannot be written.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    one, two = found.intervals
    # Words of an answer and losses are no shares: they would squeeze the rest of the picture.
    keys = [key for key in one if key in two and key not in {"words", "loss"}]
    figure = Figure(figsize=(_WIDTH_INCHES, 1.6 + _ROW_INCHES * len(keys)), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    for side, offset, colour, title in (
        (one, -0.15, _COLOURS[0], f"A: {found.first.title}"),
        (two, 0.15, _COLOURS[1], f"B: {found.second.title}"),
    ):
        places = [place + offset for place in range(len(keys))]
        # Not as error bars: a percentile interval of macro-F1 over many rare codes may lie beside the value itself.
        axes.hlines(places, [side[key].low for key in keys], [side[key].high for key in keys], color=colour)
        label = title.replace("$", r"\$")
        axes.plot([side[key].estimate for key in keys], places, "o", color=colour, label=label)
    axes.set_yticks(range(len(keys)), [_label(key).replace("$", r"\$") for key in keys])
    axes.invert_yaxis()
    shown = "accuracy" if "accuracy" in found.gains else _label(next(iter(found.gains)))
    axes.set_xlabel(f"95 % intervals; slices show {shown}")
    axes.grid(axis="x", alpha=0.3)
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=1, frameon=False)
    axes.set_title(f"{found.common} common test ads", loc="left", pad=40)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, format="png", dpi=150)
    except OSError as error:
        raise StorageError(f"The picture {path} cannot be written: {error}. Give another --output.") from error
