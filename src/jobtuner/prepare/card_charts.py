"""The data card's pictures, drawn without a display, in the colours of Okabe and Ito."""

from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from jobtuner.personal_data import KINDS
from jobtuner.prepare.card_facts import CardFacts, ChartFacts
from jobtuner.prepare.split import SPLITS

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["CHARTS", "draw_charts"]

CHARTS = {
    "card_rows.png": "What became of the rows that were read",
    "card_languages.png": "Rows per language, by split",
    "card_labels.png": "Rows per label, the most frequent label first, on a logarithmic scale",
    "card_lengths.png": "Lengths of the texts in characters",
    "card_tokens.png": "Lengths of the texts in tokens; longer ones than prompt.max_ad_tokens are cut",
    "card_personal_data.png": "Places where personal data was replaced, by kind",
    "card_clusters.png": "Clusters by the number of their rows, on a logarithmic scale",
    "card_leakage.png": "Similarity of test rows to their nearest training row",
}
"""File name to description. Labels are drawn of labelled ads, tokens where they were counted."""

_COLOURS = {"train": "#0072B2", "validation": "#56B4E9", "test": "#E69F00"}
_GREY, _RED = "#999999", "#D55E00"
_DPI = 110
_MOST_BARS = 20
_BINS = 30


def draw_charts(facts: ChartFacts, folder: Path) -> list[str]:
    """Write those files of `CHARTS` that the facts are known for; return their names."""
    draw: dict[str, Callable[[Axes], None]] = {name: partial(chart, facts=facts) for name, chart in _COMMON.items()}
    if isinstance(facts, CardFacts):
        draw |= {name: partial(chart, facts=facts) for name, chart in _LABELLED.items()}
        if not (facts.tokens and facts.tokens.lengths):
            del draw["card_tokens.png"]
    from matplotlib.figure import Figure

    for name, chart in draw.items():
        figure = Figure(figsize=(7.0, 2.8), layout="constrained")
        chart(figure.subplots())
        figure.savefig(folder / name, dpi=_DPI, metadata={"Software": None})
    return list(draw)


def _rows(axes: "Axes", facts: ChartFacts) -> None:
    parts = (*SPLITS, "duplicates", "rejected")
    colours = [_COLOURS.get(name, _GREY if name == "duplicates" else _RED) for name in parts]
    _bars(axes, parts, [facts.counts[name] for name in parts], colours)
    axes.set_xlabel("rows")


def _bars(axes: "Axes", names: Sequence[str], values: Sequence[int], colours: Sequence[str] | str) -> None:
    drawn = axes.barh(range(len(names)), values, color=colours)
    axes.bar_label(drawn, labels=[f"{value:,}" for value in values], padding=3, fontsize=8)
    axes.set_yticks(range(len(names)), names)
    axes.invert_yaxis()
    axes.margins(x=0.12)


def _languages(axes: "Axes", facts: ChartFacts) -> None:
    total = sum((facts.splits[name].languages for name in SPLITS), Counter[str]())
    names = [name for name, _ in total.most_common(_MOST_BARS)]
    base = [0] * len(names)
    for split in SPLITS:
        values = [facts.splits[split].languages[name] for name in names]
        axes.bar(names, values, bottom=base, color=_COLOURS[split], label=split)
        base = [low + value for low, value in zip(base, values, strict=True)]
    axes.set(
        ylabel="rows", xlabel="language" if len(names) == len(total) else f"the {_MOST_BARS} most frequent languages"
    )
    axes.margins(x=0.3 / len(names))
    axes.legend(frameon=False, loc="upper left", bbox_to_anchor=(1, 1))


def _labels(axes: "Axes", facts: CardFacts) -> None:
    total = sum((facts.splits[name].labels for name in SPLITS), Counter[str]())
    counts = sorted(total.values(), reverse=True)
    axes.plot(range(1, len(counts) + 1), counts, color=_COLOURS["train"], drawstyle="steps-mid")
    axes.fill_between(range(1, len(counts) + 1), counts, step="mid", color=_COLOURS["train"], alpha=0.25)
    axes.set(yscale="log", xlabel="label, by frequency", ylabel="rows")


def _lengths(axes: "Axes", facts: ChartFacts) -> None:
    _histogram(axes, [facts.splits[name].lengths for name in SPLITS], "characters")
    axes.legend(frameon=False, loc="upper right")


def _histogram(axes: "Axes", lengths: Sequence[Sequence[int]], unit: str) -> None:
    axes.hist(lengths, bins=_BINS, stacked=True, color=[_COLOURS[name] for name in SPLITS], label=SPLITS)
    axes.set(xlabel=unit, ylabel="rows")


def _tokens(axes: "Axes", facts: CardFacts) -> None:
    assert facts.tokens is not None
    _histogram(axes, [facts.tokens.lengths[name] for name in SPLITS], "tokens")
    axes.axvline(facts.tokens.limit, color=_RED, linestyle="--", linewidth=1, label="limit")
    axes.legend(frameon=False, loc="upper right")


def _personal_data(axes: "Axes", facts: ChartFacts) -> None:
    _bars(axes, KINDS, [facts.cleaning.masked[name] for name in KINDS], _COLOURS["train"])
    axes.set_xlabel("places")


def _clusters(axes: "Axes", facts: ChartFacts) -> None:
    sizes = sorted(facts.cluster_sizes)
    axes.bar(range(len(sizes)), [facts.cluster_sizes[size] for size in sizes], color=_COLOURS["train"])
    step = max(1, len(sizes) // _MOST_BARS)
    axes.set_xticks(range(0, len(sizes), step), [f"{size:,}" for size in sizes[::step]])
    axes.set(yscale="log", xlabel="rows in the cluster", ylabel="clusters")


def _leakage(axes: "Axes", facts: ChartFacts) -> None:
    values = [pair.similarity for pair in facts.leakage.neighbours]
    axes.hist(values, bins=_BINS, range=(0.0, 1.0), color=_COLOURS["test"])
    axes.axvline(facts.near_duplicates, color=_RED, linestyle="--", linewidth=1, label="near-duplicates")
    axes.set(xlabel="Jaccard similarity", ylabel="test rows")
    axes.legend(frameon=False, loc="upper right")


_COMMON = {
    "card_rows.png": _rows,
    "card_languages.png": _languages,
    "card_lengths.png": _lengths,
    "card_personal_data.png": _personal_data,
    "card_clusters.png": _clusters,
    "card_leakage.png": _leakage,
}
_LABELLED = {"card_labels.png": _labels, "card_tokens.png": _tokens}
