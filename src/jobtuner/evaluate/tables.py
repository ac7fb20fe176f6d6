"""The tables of the report: text cells that HTML and Markdown show alike."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from jobtuner.evaluate.cells import interval, percent, points, span, whole
from jobtuner.evaluate.results import Comparison
from jobtuner.evaluate.selective import Selection
from jobtuner.evaluate.slices import FREQUENCIES
from jobtuner.records import Prediction
from jobtuner.router import Point, cost_per_thousand
from jobtuner.statistics import SAMPLES

__all__ = ["Table", "cards", "report_tables", "verdict"]

_PAIRS = 15
_WRONG = 15
_MAX_TEXT = 300  # characters of an ad in the table of wrong answers
_SEVERAL = {"set_f1": "F1 of sets of codes (%)", "recall_at_k": "right codes among the top {top_k} (%)"}
_HEADLINE = {
    "accuracy": "accuracy (%)",
    "macro_f1": "macro-F1 (%)",
    "weighted_f1": "weighted F1 (%)",
    "top_k_accuracy": "right code among the top {top_k} (%)",
    "mrr": "mean reciprocal rank (%)",
    "hierarchical_f1": "hierarchical F1 (%)",
}
_SHARES = (1.0, 0.9, 0.8, 0.7, 0.5)  # of the ads, the surest first


@dataclass(frozen=True)
class Table:
    """A table of text cells, and the pictures that belong to it."""

    title: str
    note: str
    columns: list[str]
    rows: list[list[str]]
    text_columns: frozenset[int] = frozenset({0})
    """Indexes of the columns that hold words; the others hold numbers."""
    charts: tuple[str, ...] = ()
    """File names, keys of `charts.CHARTS`."""


def verdict(result: Comparison) -> str:
    """Whether the model beats the baseline, in two sentences, from the paired interval of macro-F1."""
    gain, test = result.gain["macro_f1"], result.mcnemar
    told = f"{points(gain.estimate)} points of macro-F1 ({interval(gain)})"
    chance = f"p = {test.p_value:.2g}" if test.p_value >= 0.0001 else "p < 0.0001"
    counts = (
        f"On {test.ours_only} ads only the model is right, on {test.theirs_only} only the baseline "
        f"(McNemar's exact test: {chance})."
    )
    if gain.low > 0:
        return f"The model is better than the baseline: {told}. {counts}"
    if gain.high < 0:
        return f"The model is worse than the baseline: {told}. {counts}"
    return f"These examples show no sure difference between model and baseline: {told}. {counts}"


def cards(result: Comparison) -> Iterator[tuple[str, str, str]]:
    """Name, value and a line below it, for the figures at the top of the page."""
    for side in (result.model, result.baseline):
        ends = span(side.metrics["accuracy_interval"])
        yield f"accuracy, {side.name}", f"{percent(side.metrics['accuracy'])} %", f"95 % interval {ends}"
    gain = result.gain["accuracy"]
    yield "difference", f"{points(gain.estimate)} points", interval(gain)
    yield "test ads", f"{len(result.examples):,}", f"{len(result.model.metrics['per_language'])} languages"


def report_tables(result: Comparison) -> list[Table]:
    """Every table of the report, in order."""
    tables = [_headline(result), _per_language(result), *_per_source(result)]
    tables += [_per_level(result), _per_frequency(result)]
    tables += [_calibration(result), _abstention(result), _cascade(result), _sets(result)]
    return [*tables, _confused_pairs(result), _wrong_answers(result)]


def _headline(result: Comparison) -> Table:
    ours, theirs = result.model.metrics, result.baseline.metrics
    rows = []
    for key, name in (_HEADLINE | _SEVERAL).items():
        if key not in ours:
            continue
        cells = [f"{percent(side[key])} ({span(side[f'{key}_interval'])})" for side in (ours, theirs)]
        gain = result.gain.get(key)
        paired = f" ({points(gain.low)} to {points(gain.high)})" if gain else ""
        rows.append([name.format(**ours), *cells, points(ours[key] - theirs[key]) + paired])
    several = (
        f" {ours['several_n']:,} ads have several right codes: any of them is a right answer; F1 of sets takes as many "
        "answers as an ad has right codes."
        if "several_n" in ours
        else ""
    )
    return Table(
        "Model and baseline",
        f"In brackets: 95 % intervals from {SAMPLES:,} bootstrap samples of the near-duplicate clusters of test ads; "
        "those of the difference are paired. F1 is averaged over the codes that occur among the ads. Hierarchical F1 "
        f"gives part of the credit to a wrong code in the right group.{several}",
        ["metric", "model", "baseline", "difference (points)"],
        rows,
    )


def _per_language(result: Comparison) -> Table:
    ours, theirs = (side.metrics["per_language"] for side in (result.model, result.baseline))
    rows = []
    for name in sorted(ours, key=lambda name: (-ours[name]["n"], name)):
        mine, other = ours[name], theirs[name]
        cells = [percent(side[key]) for key in ("macro_f1", "ece") for side in (mine, other)]
        rows.append([name, str(mine["n"]), *_accuracies(mine, other), *cells])
    columns = ["language", "ads", "accuracy (%)", "of the baseline", "macro-F1 (%)", "of the baseline"]
    columns += ["ECE (%)", "of the baseline"]
    note = (
        "Few ads make wide intervals, and a large ECE (expected calibration error) by chance. An interval without "
        "width means that all or none of the answers were right, not that this is certain."
    )
    return Table("Per language", note, columns, rows, charts=("languages.png",))


def _per_source(result: Comparison) -> list[Table]:
    """A table where the rows come from more than one source."""
    ours, theirs = (side.metrics["per_source"] for side in (result.model, result.baseline))
    rows = []
    for name in sorted(ours, key=lambda name: (-ours[name]["n"], name)):
        mine, other = ours[name], theirs[name]
        cells = [percent(side[key]) for key in ("macro_f1", "ece") for side in (mine, other)]
        rows.append([name, str(mine["n"]), *_accuracies(mine, other), *cells])
    columns = ["source", "ads", "accuracy (%)", "of the baseline", "macro-F1 (%)", "of the baseline"]
    columns += ["ECE (%)", "of the baseline"]
    note = "Where the ads came from (data.columns.source). A source that differs from the rest is worth a look."
    return [Table("Per source", note, columns, rows)] if rows else []


def _per_level(result: Comparison) -> Table:
    ours, theirs = (side.metrics["per_level"] for side in (result.model, result.baseline))
    rows = [[level, str(ours[level]["n"]), *_accuracies(ours[level], theirs[level])] for level in ours]
    note = "Level 1 is the major group (first digit). A wrong code in the right group counts as right at that level."
    return Table("Per level of the taxonomy", note, ["level", "ads", "accuracy (%)", "of the baseline"], rows)


def _per_frequency(result: Comparison) -> Table:
    ours, theirs = (side.metrics["per_frequency"] for side in (result.model, result.baseline))
    names = {}
    for band, (least, most) in FREQUENCIES.items():
        names[band] = f"{band} ({least} or more)" if most is None else f"{band} ({least} to {most})"
    rows = [
        [
            names[band],
            str(mine["codes"]),
            str(mine["n"]),
            *_accuracies(mine, theirs[band]),
            *(percent(side[band]["macro_f1"]) for side in (ours, theirs)),
        ]
        for band, mine in ours.items()
    ]
    note = "Codes by the number of their training ads. Rare codes are where a language model should help."
    columns = ["training ads", "codes", "ads", "accuracy (%)", "of the baseline", "macro-F1 (%)", "of the baseline"]
    return Table("Frequent and rare codes", note, columns, rows)


def _calibration(result: Comparison) -> Table:
    rows = [
        [
            side.name,
            f"{side.temperatures.pooled:.2f}",
            ", ".join(f"{name} {own:.2f}" for name, own in sorted(side.temperatures.languages.items())) or "none",
            percent(side.ece_uncalibrated),
            percent(side.ece_pooled),
            f"{percent(side.metrics['ece'])} ({span(side.metrics['ece_interval'])})",
            *(_bracketed(side.metrics, key) for key in ("brier", "log_loss")),
        ]
        for side in (result.model, result.baseline)
    ]
    note = (
        "Temperatures are fitted on validation ads: one for all, and one for each language with enough of them, which "
        "its ads have instead. ECE (expected calibration error, 15 bins of equal width): before, with the one for all, "
        "and with all of them. Brier score (0 to 2) and log loss (nats): lower is better."
    )
    columns = ["", "temperature", "by language", "ECE before (%)", "ECE, one (%)", "ECE after (%)"]
    columns += ["Brier score", "log loss"]
    return Table("Calibration", note, columns, rows, frozenset({0, 2}), ("calibration.png",))


def _bracketed(metrics: Mapping[str, Any], key: str) -> str:
    low, high = metrics[f"{key}_interval"]
    return f"{metrics[key]:.3f} ({low:.3f} to {high:.3f})"


def _abstention(result: Comparison) -> Table:
    sides = (result.model, result.baseline)
    target = whole(result.model.abstention.target)
    rows = []
    for share in _SHARES:
        found = [_at_share(side.abstention.curve, share) for side in sides]
        rows.append([f"the surest {whole(share)}", *(percent(point.precision or 0.0) for point in found)])
    rows.append([f"above the threshold for {target}", *(_kept(side.abstention) for side in sides)])
    rows.append(["share of the ads above it", *(percent(side.abstention.point.coverage) for side in sides)])
    note = (
        "Share of right answers (%) where a model leaves the ads that it is less sure of to a person. The threshold is "
        f"the lowest at which {target} were right on validation ads with some certainty (one-sided 95 % Wilson bound)."
    )
    columns = ["answers kept", "model", "baseline"]
    return Table("Answering only what is sure", note, columns, rows, charts=("abstention.png",))


def _cascade(result: Comparison) -> Table:
    chosen = result.cascade
    best = max(chosen.curve, key=lambda point: (point.accuracy, point.coverage))
    ours, theirs = (f"{percent(side['accuracy'])} ({span(side['accuracy_interval'])})" for side in _metrics(result))
    precise = f"cascade, {whole(result.cascade_precise.target)} of the baseline's answers right"
    rows = [
        ["model alone", "", "0.0", ours, *_cost(result, chosen.curve[0])],
        _chosen("cascade, chosen on validation", chosen, result),
        _chosen(precise, result.cascade_precise, result),
        [
            "cascade, best on test",
            _threshold(best),
            percent(best.coverage),
            percent(best.accuracy),
            *_cost(result, best),
        ],
        ["baseline alone", "", "100.0", theirs, *_cost(result, chosen.curve[-1])],
    ]
    note = (
        "The baseline answers where its probability reaches a threshold, the model answers the rest. The threshold "
        "saves the most model calls without a loss of accuracy on validation ads; on the test ads the difference to "
        f"the model alone is {points(chosen.gain.estimate)} points ({interval(chosen.gain)}). The second threshold, "
        "too, is of validation: the lowest at which that share of the baseline's answers was right with some certainty "
        "(evaluate.target_precision; `jobtuner serve --cascade-precision` takes any). The best point is "
        "picked on the test ads themselves: a hint, not a measurement."
    )
    columns = ["who answers", "threshold", "model calls saved (%)", "accuracy (%)"]
    columns += ["cost of 1,000 ads"] if result.prices else []
    return Table("Cascade: baseline first, then the model", note, columns, rows, charts=("cascade.png",))


def _chosen(name: str, found: Selection, result: Comparison) -> list[str]:
    accuracy = f"{percent(found.accuracy.estimate)} ({span((found.accuracy.low, found.accuracy.high))})"
    return [name, _threshold(found.point), percent(found.point.coverage), accuracy, *_cost(result, found.point)]


def _cost(result: Comparison, point: Point) -> list[str]:
    """One cell where prices are known."""
    return [] if result.prices is None else [f"{cost_per_thousand(point, result.prices):.4g}"]


def _sets(result: Comparison) -> Table:
    rows = []
    for mine, other in zip(result.model.sets, result.baseline.sets, strict=True):
        expected = f"{percent(mine.expected_low)} to {percent(mine.expected_high)}"
        cells = [percent(mine.coverage), expected, f"{mine.mean_size:.1f}", percent(mine.single)]
        rows.append([f"{mine.method}, {whole(mine.promised)}", *cells, f"{other.mean_size:.1f}"])
    note = (
        "Sets of codes that hold the right one with a promised probability (split conformal prediction on validation "
        "ads). By chance alone, 99 of 100 evaluations end within the expected range; a coverage below it says that the "
        "test ads are unlike the validation ads. LAC makes the smallest sets, APS larger ones where a model is unsure; "
        "where a model is surer than the promise, some sets are empty."
    )
    columns = ["promise", "right code in the set (%)", "expected", "codes in a set", "sets of one code (%)"]
    return Table("Prediction sets of the model", note, [*columns, "codes in a set, baseline"], rows)


def _confused_pairs(result: Comparison) -> Table:
    wrong = Counter((item.label, item.counted) for item in result.model.predictions if item.label != item.counted)
    totals = Counter(item.label for item in result.model.predictions)
    pairs = sorted(wrong.items(), key=lambda entry: (-entry[1], entry[0]))[:_PAIRS]
    rows = [
        [_named(result, right), _named(result, answered), str(count), percent(count / totals[right])]
        for (right, answered), count in pairs
    ]
    note = "Wrong answers of the model, counted by pair."
    columns = ["right", "answered", "ads", "share of the right code's ads (%)"]
    charts = ("groups.png", "confusion.png")
    return Table("Most confused pairs", note, columns, rows, frozenset({0, 1}), charts)


def _wrong_answers(result: Comparison) -> Table:
    wrong = [
        (item, example)
        for item, example in zip(result.model.predictions, result.examples, strict=True)
        if item.label != item.counted
    ]
    wrong.sort(key=lambda pair: (-pair[0].probability, pair[0].id))
    rows = [
        [example.language, _shortened(example.text), _named(result, item.label), _top(result, item)]
        for item, example in wrong[:_WRONG]
    ]
    note = f"The model's {len(rows)} surest wrong answers out of {len(wrong)}. Wrong labels in the data show up, too."
    columns = ["language", "ad", "right", "answered (probability)"]
    return Table("Wrong answers", note, columns, rows, frozenset(range(4)))


def _metrics(result: Comparison) -> tuple[dict[str, Any], dict[str, Any]]:
    return result.model.metrics, result.baseline.metrics


def _accuracies(*sides: Mapping[str, Any]) -> list[str]:
    return [f"{percent(side['accuracy'])} ({span(side['accuracy_interval'])})" for side in sides]


def _kept(found: Selection) -> str:
    if found.precision is None:
        return "none kept"
    return f"{percent(found.precision.estimate)} ({span((found.precision.low, found.precision.high))})"


def _at_share(curve: Sequence[Point], share: float) -> Point:
    """The last point that keeps no more than the share; where the first ones keep more, the first that keeps any."""
    kept = [point for point in curve if point.coverage > 0.0]
    return max((point for point in kept if point.coverage <= share), key=lambda point: point.coverage, default=kept[0])


def _threshold(point: Point) -> str:
    return "none" if point.coverage == 0.0 else f"{point.threshold:.3f}"


def _named(result: Comparison, code: str) -> str:
    title = result.taxonomy.title(code)
    return code if title == code else f"{code} {title}"


def _top(result: Comparison, item: Prediction) -> str:
    return "; ".join(f"{_named(result, code)} ({100 * probability:.0f} %)" for code, probability in item.top[:3])


def _shortened(text: str) -> str:
    plain = " ".join(text.split())
    return plain if len(plain) <= _MAX_TEXT else plain[:_MAX_TEXT] + " …"
