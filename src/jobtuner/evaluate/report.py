"""The report: what a reader needs to judge the model, as one HTML file and as Markdown.

Ads are text from strangers: the HTML is rendered with autoescape and a policy that forbids scripts and outside content;
in Markdown every character with a meaning is escaped.
"""

import base64
import html
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jobtuner.evaluate.charts import CHARTS, draw_charts
from jobtuner.evaluate.results import Comparison, Evaluated
from jobtuner.records import Prediction

__all__ = ["STANDIN_NOTE", "Table", "report_tables", "verdict", "write_report"]

STANDIN_NOTE = "The base model is the stand-in: these scores show that the pipeline works, not what Qwen2.5 can do."

_PAIRS = 15
_WRONG = 15
_MAX_TEXT = 300  # characters of an ad in the table of wrong answers
_MARKDOWN = re.compile(r"([\\`*_{}\[\]#|~!])")


@dataclass(frozen=True)
class Table:
    """A table of text cells."""

    title: str
    note: str
    columns: list[str]
    rows: list[list[str]]
    text_columns: frozenset[int] = frozenset({0})
    """Indexes of the columns that hold words; the others hold numbers."""


def write_report(result: Comparison, folder: Path) -> None:
    """Write report.html, report.md and the pictures into the folder."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape

    draw_charts(result, folder)
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=select_autoescape(["html"]),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["markdown"] = _escape_markdown
    facts = {
        "base": "the stand-in" if result.base_is_standin else result.base,
        "cards": _cards(result),
        "charts": [(name, text, _data_uri(folder / name)) for name, text in CHARTS.items()],
        "examples": len(result.examples),
        "note": STANDIN_NOTE if result.base_is_standin else "",
        "tables": report_tables(result),
        "verdict": verdict(result.difference),
    }
    for name in ("report.html", "report.md"):
        (folder / name).write_text(environment.get_template(name).render(facts), encoding="utf-8")


def verdict(difference: dict[str, Any]) -> str:
    """Whether the model beats the baseline, in one sentence, from the paired interval of macro-F1."""
    low, high = difference["macro_f1_interval"]
    gain = f"{_points(difference['macro_f1'])} points of macro-F1 (95 % interval {_points(low)} to {_points(high)})"
    if low > 0:
        return f"The model is better than the baseline: {gain}."
    if high < 0:
        return f"The model is worse than the baseline: {gain}."
    return f"These examples show no sure difference between model and baseline: {gain}."


def report_tables(result: Comparison) -> list[Table]:
    """Every table of the report, in order."""
    return [
        _headline(result),
        _per_language(result),
        _per_level(result),
        _calibration(result.model, result.baseline),
        _confused_pairs(result),
        _wrong_answers(result),
    ]


def _headline(result: Comparison) -> Table:
    ours, theirs, gain = result.model.metrics, result.baseline.metrics, result.difference
    rows = []
    for key, name in (("accuracy", "accuracy (%)"), ("macro_f1", "macro-F1 (%)")):
        cells = [f"{_percent(side[key])} ({_range(side[f'{key}_interval'])})" for side in (ours, theirs)]
        low, high = (_points(value) for value in gain[f"{key}_interval"])  # type: ignore[union-attr]  # a list of two
        rows.append([name, *cells, f"{_points(gain[key])} ({low} to {high})"])
    for key, name in (
        ("weighted_f1", "weighted F1 (%)"),
        ("top_k_accuracy", f"right code among the top {ours['top_k']} (%)"),
        ("mrr", "mean reciprocal rank (%)"),
    ):
        rows.append([name, _percent(ours[key]), _percent(theirs[key]), _points(ours[key] - theirs[key])])
    return Table(
        "Model and baseline",
        "In brackets: 95 % intervals from 500 bootstrap samples of the examples; the difference is paired. F1 is "
        "averaged over the codes that occur among the examples.",
        ["metric", "model", "baseline", "difference (points)"],
        rows,
    )


def _per_language(result: Comparison) -> Table:
    ours, theirs = (side.metrics["per_language"] for side in (result.model, result.baseline))
    rows = []
    for name in sorted(ours, key=lambda name: (-ours[name]["n"], name)):
        cells = [_percent(side[name][key]) for key in ("accuracy", "macro_f1") for side in (ours, theirs)]
        rows.append([name, str(ours[name]["n"]), *cells])
    columns = ["language", "ads", "accuracy (%)", "of the baseline", "macro-F1 (%)", "of the baseline"]
    return Table("Per language", "Small numbers of ads make large steps: mind the second column.", columns, rows)


def _per_level(result: Comparison) -> Table:
    ours, theirs = (side.metrics["per_level"] for side in (result.model, result.baseline))
    rows = [
        [level, str(ours[level]["n"]), _percent(ours[level]["accuracy"]), _percent(theirs[level]["accuracy"])]
        for level in ours
    ]
    note = "Level 1 is the major group (first digit). A wrong code in the right group counts as right at that level."
    return Table("Per level of the taxonomy", note, ["level", "ads", "accuracy (%)", "of the baseline"], rows)


def _calibration(model: Evaluated, baseline: Evaluated) -> Table:
    rows = [
        [
            side.name,
            f"{side.temperature:.2f}",
            _percent(side.ece_uncalibrated),
            _percent(side.metrics["ece"]),
            f"{side.metrics['brier']:.3f}",
            f"{side.metrics['log_loss']:.3f}",
        ]
        for side in (model, baseline)
    ]
    note = (
        "The temperature is fitted on validation ads. ECE: expected calibration error, 15 bins of equal width. Brier "
        "score (0 to 2) and log loss (nats): lower is better."
    )
    columns = ["", "temperature", "ECE before (%)", "ECE after (%)", "Brier score", "log loss"]
    return Table("Calibration", note, columns, rows)


def _confused_pairs(result: Comparison) -> Table:
    wrong = Counter((item.label, item.predicted) for item in result.model.predictions if item.label != item.predicted)
    totals = Counter(item.label for item in result.model.predictions)
    pairs = sorted(wrong.items(), key=lambda entry: (-entry[1], entry[0]))[:_PAIRS]
    rows = [
        [_named(result, right), _named(result, answered), str(count), _percent(count / totals[right])]
        for (right, answered), count in pairs
    ]
    note = "Wrong answers of the model, counted by pair."
    columns = ["right", "answered", "ads", "share of the right code's ads (%)"]
    return Table("Most confused pairs", note, columns, rows, frozenset({0, 1}))


def _wrong_answers(result: Comparison) -> Table:
    wrong = [
        (item, example)
        for item, example in zip(result.model.predictions, result.examples, strict=True)
        if item.label != item.predicted
    ]
    wrong.sort(key=lambda pair: (-pair[0].probability, pair[0].id))
    rows = [
        [example.language, _shortened(example.text), _named(result, item.label), _top(result, item)]
        for item, example in wrong[:_WRONG]
    ]
    note = f"The model's {len(rows)} surest wrong answers out of {len(wrong)}. Wrong labels in the data show up, too."
    columns = ["language", "ad", "right", "answered (probability)"]
    return Table("Wrong answers", note, columns, rows, frozenset(range(4)))


def _cards(result: Comparison) -> Iterator[tuple[str, str, str]]:
    """Name, value and a line below it, for the figures at the top of the page."""
    for side in (result.model, result.baseline):
        interval = _range(side.metrics["accuracy_interval"])
        yield f"accuracy, {side.name}", f"{_percent(side.metrics['accuracy'])} %", f"95 % interval {interval}"
    low, high = (_points(value) for value in result.difference["accuracy_interval"])  # type: ignore[union-attr]
    yield "difference", f"{_points(result.difference['accuracy'])} points", f"95 % interval {low} to {high}"
    yield "test ads", f"{len(result.examples):,}", f"{len(result.model.metrics['per_language'])} languages"


def _named(result: Comparison, code: str) -> str:
    title = result.taxonomy.title(code)
    return code if title == code else f"{code} {title}"


def _top(result: Comparison, item: Prediction) -> str:
    return "; ".join(f"{_named(result, code)} ({100 * probability:.0f} %)" for code, probability in item.top[:3])


def _shortened(text: str) -> str:
    plain = " ".join(text.split())
    return plain if len(plain) <= _MAX_TEXT else plain[:_MAX_TEXT] + " …"


def _percent(share: float) -> str:
    return f"{100 * share:.1f}"


def _points(share: Any) -> str:
    return f"{100 * share:+.1f}"


def _range(interval: Sequence[float]) -> str:
    return " to ".join(_percent(value) for value in interval)


def _data_uri(path: Path) -> str:
    return "data:image/png;base64," + base64.b64encode(path.read_bytes()).decode("ascii")


def _escape_markdown(text: str) -> str:
    """The text as it is, on one line, in any Markdown: no markup, no HTML, no links, no table cells."""
    escaped = _MARKDOWN.sub(r"\\\1", " ".join(text.split()))
    return html.escape(escaped, quote=False).replace("://", "&#58;//")
