"""The watch report: one HTML file that asks nothing from anywhere."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jobtuner.drift_reference.distances import TESTS
from jobtuner.drift_reference.files import Reference
from jobtuner.monitor.charts import draw
from jobtuner.monitor.decision import Decision
from jobtuner.monitor.drift import Drift
from jobtuner.monitor.quality import Quality, Slice
from jobtuner.monitor.window import Window
from jobtuner.pages import data_uri, page_templates
from jobtuner.statistics import Interval

__all__ = ["write_report"]

_ACTIONS = {
    "none": "All is well.",
    "watch": "Something was seen that does not count yet.",
    "wait": "A training is due; the last one is too young.",
    "ask": "A training is due and waits for approval.",
    "retrain": "A training is started.",
}


@dataclass(frozen=True)
class _Table:
    title: str
    note: str
    columns: list[str]
    rows: list[list[str]]


def write_report(
    reference: Reference, window: Window, drift: Drift, quality: Quality, decision: Decision, folder: Path
) -> None:
    """Write report.html into the folder."""
    charts = draw(reference, window, drift, quality)
    facts: Mapping[str, Any] = {
        "verdict": _verdict(drift),
        "action": _ACTIONS[decision.action],
        "alarm": bool(drift.drifted) or decision.action in {"wait", "ask", "retrain"},
        "since": f"{window.since:%Y-%m-%d %H:%M}",
        "until": f"{window.until:%Y-%m-%d %H:%M}",
        "source": reference.about.get("source", "unknown"),
        "model": reference.about.get("model_version", "unknown"),
        "cards": _cards(reference, window, drift, quality),
        "reasons": decision.reasons,
        "tables": [_findings(drift), *_quality_tables(quality), _versions(window)],
        "charts": [(data_uri(png), text) for png, text in charts.values()],
    }
    page = page_templates(Path(__file__).parent / "templates").get_template("report.html").render(facts)
    (folder / "report.html").write_text(page, encoding="utf-8")


def _verdict(drift: Drift) -> str:
    if drift.drifted is None:
        return f"Too few answers to judge drift: {drift.distinct} different ads, {drift.needed} are needed."
    if not drift.drifted:
        return "No drift: the window looks like the reference."
    first = drift.findings[0]
    where = "all languages" if first.scope == "all" else first.scope
    tests = len(drift.drifted_tests)
    others = f", and {tests - 1} more tests" if tests > 1 else ""
    return f"Drift: {TESTS[first.test]} in {where} is {first.score:.1f} times what chance allows{others}."


def _cards(reference: Reference, window: Window, drift: Drift, quality: Quality) -> list[tuple[str, str, str]]:
    unsure = window.sample.probability < reference.measure.abstain_below
    sure = f"{100 * unsure.mean():.1f} %" if len(unsure) else "–"
    before = f"{100 * (reference.rows.probability < reference.measure.abstain_below).mean():.1f} %"
    known = reference.about.get("accuracy")
    return [
        ("answers", f"{window.rows:,}", f"{drift.distinct:,} different texts among those compared"),
        ("below the abstention threshold", sure, f"{before} in the reference"),
        ("label stability index", _number(drift.label_stability), "below 0.1 stable, above 0.25 a large shift"),
        ("texts told apart (AUC)", _number(drift.separability), "0.5 not at all, 1 always"),
        (
            "accuracy",
            "–" if quality.accuracy is None else _percent(quality.accuracy),
            f"{quality.rows} corrected answers" + ("" if known is None else f"; {100 * known:.1f} % when evaluated"),
        ),
    ]


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"


def _percent(found: Interval) -> str:
    return f"{100 * found.estimate:.1f} %"


def _findings(drift: Drift) -> _Table:
    note = (
        "The thresholds come from dividing the reference itself a thousand times; they hold for all tests together. "
        "A score above 1 is drift."
    )
    rows = [
        [
            item.scope,
            TESTS[item.test],
            f"{item.rows}",
            f"{item.distance:.3f}",
            f"{item.threshold:.3f}",
            f"{item.score:.2f}",
            "drift" if item.drifted else "",
        ]
        for item in drift.findings
    ]
    columns = ["language", "what is compared", "ads", "distance", "threshold", "score", ""]
    return _Table("Tests", note, columns, rows)


def _quality_tables(quality: Quality) -> list[_Table]:
    if quality.accuracy is None or quality.macro_f1 is None or quality.calibration_error is None:
        return []
    note = (
        f"{quality.rows} answers that people corrected or confirmed, picked blindly; {quality.unsure} corrections of "
    )
    note += f"unsure answers and {quality.unmatched} without an answer in the log are left out. 95 % intervals."
    named = {
        "accuracy": quality.accuracy,
        "macro-F1": quality.macro_f1,
        "calibration error": quality.calibration_error,
    }
    rows = [[name, f"{quality.rows}", _percent(item), _span(item)] for name, item in named.items()]
    sliced: list[Slice] = [*quality.languages, *quality.weeks]
    rows += [
        [f"accuracy, {item.name}", f"{item.rows}", _percent(item.accuracy), _span(item.accuracy)] for item in sliced
    ]
    return [_Table("Quality", note, ["measure", "answers", "value", "interval"], rows)]


def _span(found: Interval) -> str:
    return f"{100 * found.low:.1f} to {100 * found.high:.1f} %"


def _versions(window: Window) -> _Table:
    rows = [[name, f"{count:,}"] for name, count in sorted(window.versions.items(), key=lambda item: -item[1])]
    note = "Only the answers of the reference's model are compared, where there are any."
    return _Table("Models that answered", note, ["version", "answers"], rows)
