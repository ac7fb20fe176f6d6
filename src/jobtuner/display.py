"""What a person sees on a terminal: the result of a run, a prediction, the state of the machine."""

import os
import re
import shlex
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from jobtuner.contracts import EvalReport, ModelVersion
from jobtuner.doctor import Check
from jobtuner.run import HOME_VARIABLE
from jobtuner.tracking_entries import without_credentials

__all__ = [
    "StageTime",
    "Summary",
    "duration",
    "guess_language",
    "next_commands",
    "show_checks",
    "show_prediction",
    "show_summary",
    "typed_path",
]


@dataclass(frozen=True)
class StageTime:
    """A finished stage of a run."""

    stage: str
    seconds: float
    reused: bool
    """True where the result came from the cache."""
    out: Path


@dataclass(frozen=True)
class Summary:
    """A finished local run: `folder` holds one output folder a stage, under the stage's name."""

    folder: Path
    stages: list[StageTime]
    tracking_uri: str
    seconds: float


def duration(seconds: float) -> str:
    """Seconds as a person reads them: 0.3 s, 12.4 s, 3 min 05 s."""
    if seconds < 59.95:  # from there on the one decimal would round to 60.0
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s"


def typed_path(path: Path) -> str:
    """A path as one would type it in the current folder, quoted for the shell."""
    short = path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
    return shlex.quote(str(short))


def show_summary(console: Console, summary: Summary) -> None:
    """Print scores, the gate's decision, seconds a stage, where everything lies and what to type next."""
    report = EvalReport.load(summary.folder / "evaluate")
    version = ModelVersion.load(summary.folder / "register")
    console.print()
    console.print(_score_table(report))
    verdict = "[green]promoted to champion[/green]" if version.promoted else "[yellow]not promoted[/yellow]"
    _line(console, f"[bold]{escape(version.name)} version {escape(version.version)}[/bold]: {verdict}")
    for reason in version.reasons:
        _line(console, f"  {escape(reason)}")
    times = ", ".join(f"{item.stage} {'reused' if item.reused else duration(item.seconds)}" for item in summary.stages)
    _line(console, f"\n[bold]{duration(summary.seconds)}[/bold]: {times}")
    for name, value in _places(summary):
        _line(console, f"  {name:<8}{escape(value)}")
    _line(console, "\nNext:")
    for command in next_commands(summary, str(report.model.get("headline", ""))):
        _line(console, f"  {escape(command)}")


def _line(console: Console, text: str) -> None:
    console.print(text, soft_wrap=True, highlight=False)  # paths and commands are copied: never broken by us


def _places(summary: Summary) -> list[tuple[str, str]]:
    return [
        ("report", typed_path(summary.folder / "evaluate" / "report.html")),
        ("model", typed_path(summary.folder / "export" / "model")),
        ("MLflow", without_credentials(summary.tracking_uri)),
        ("log", typed_path(summary.folder / "pipeline.log")),
    ]


def _command(name: str) -> str:
    """How to type one of our environment's commands here: by name where the PATH finds it, else by its path."""
    return name if shutil.which(name) else typed_path(Path(sys.executable).parent / name)


def next_commands(summary: Summary, headline: str = "") -> list[str]:
    """The commands that follow a run, right for where it lies.

    Args:
        summary: the run.
        headline: the headline metric of a task that answers in text; empty: the task answers with labels.
    """
    # Outside the default work folder a command would look elsewhere unless JOBTUNER_HOME is still set: name the model.
    model = f" --model {typed_path(summary.folder / 'export' / 'model')}" if os.environ.get(HOME_VARIABLE) else ""
    uri = summary.tracking_uri
    tool, tracker = _command("jobtuner"), _command("mlflow")
    look = f"open {without_credentials(uri)}"
    if not uri.startswith(("http://", "https://")):
        look = f"{tracker} ui --backend-store-uri {shlex.quote(uri)}"
    if headline in _ASK:
        return [f"{tool} {_ASK[headline].format(model=model)}", look]
    return [f'{tool} predict{model} "Night nurse for our emergency ward"', f"{tool} serve{model}", look]


_ASK = {
    "span_f1": 'skills{model} "We ask for triage, wound care and SQL."',
    "sound_rouge_l": 'letter{model} --name "Eva Holm" --skill triage "Night nurse for our emergency ward"',
    "rouge_l": 'chat{model} "What does a night nurse do?"',
}
"""Headline metric of a task that answers in text to the command that asks its model."""


def _score_table(report: EvalReport) -> Table:
    return _text_table(report) if "headline" in report.model else _label_table(report)


def _text_table(report: EvalReport) -> Table:
    """Of a task that answers in text: every metric over all languages, and the first one a language."""
    table = Table(title=f"{report.examples} test examples", title_justify="left", box=box.SIMPLE_HEAD)
    for name in ("metric", "baseline", "model"):
        table.add_column(name, justify="left" if name == "metric" else "right")
    names = [key.removesuffix("_interval") for key in report.model if key.endswith("_interval")]
    for name in names:
        table.add_row(name, *(f"{side[name]:.3f}" if name in side else "" for side in (report.baseline, report.model)))
    headline = report.model["headline"]
    table.add_section()
    for language, ours in sorted(report.model["per_language"].items()):
        theirs = report.baseline["per_language"][language]
        table.add_row(f"{headline}, {language}", f"{theirs[headline]:.3f}", f"{ours[headline]:.3f}")
    return table


def _label_table(report: EvalReport) -> Table:
    title = f"{report.examples} test ads: baseline → model"
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD)
    table.add_column("language")
    for name, _, _ in _COLUMNS:
        table.add_column(name.format(**report.model), justify="right")
    rows: list[tuple[str, Mapping[str, Any], Mapping[str, Any]]] = [("all", report.baseline, report.model)]
    rows += [
        (language, report.baseline["per_language"][language], scores)
        for language, scores in sorted(report.model["per_language"].items())
    ]
    for name, baseline, model in rows:
        # Of one language there is no top-k accuracy: it says little on so few ads.
        cells = [_pair(float(baseline[key]), float(model[key]), up) if key in model else "" for _, key, up in _COLUMNS]
        table.add_row(name, *cells, end_section=name == "all")
    return table


_COLUMNS = (
    ("accuracy", "accuracy", True),
    ("macro-F1", "macro_f1", True),
    ("top {top_k}", "top_k_accuracy", True),
    ("ECE", "ece", False),
)
"""Heading, key of the metric, and whether more is better."""


def _pair(baseline: float, model: float, more_is_better: bool) -> str:
    better = model > baseline if more_is_better else model < baseline
    return f"{baseline:.3f} → " + (f"[green]{model:.3f}[/green]" if better else f"{model:.3f}")


def show_prediction(console: Console, text: str, answers: Sequence[tuple[str, str, float]]) -> None:
    """Print the likeliest codes of an ad as (code, title, probability), best first."""
    table = Table(title=escape(text if len(text) <= 72 else text[:71] + "…"), title_justify="left", box=None)
    for name in ("code", "occupation"):
        table.add_column(name)
    table.add_column("probability", justify="right")
    for place, (code, title, probability) in enumerate(answers):
        style = "bold" if place == 0 else "dim"
        table.add_row(escape(code), escape(title), f"{probability:.1%}", style=style)
    console.print(table)


def show_checks(console: Console, checks: Sequence[Check]) -> None:
    """Print the findings of `jobtuner doctor`."""
    colours = {"ok": "green", "missing": "yellow", "broken": "red"}
    table = Table(box=None)
    for name in ("check", "state", "finding", "next step"):
        table.add_column(name, overflow="fold")
    for check in checks:
        state = f"[{colours[check.state]}]{check.state}[/{colours[check.state]}]"
        table.add_row(check.name, state, escape(check.detail), escape(check.next_step))
    console.print(table)


_FREQUENT_WORDS = {
    "da": "og til at med af for som på vi en er du søger vores hos har ikke eller",
    "de": "und für mit der die das wir sie ein eine zu im als suchen sind ihre unser oder",
    "en": "and for the with to of in you we our is are as looking your an on or",
    "es": "y para con de la el en los las un una se del por buscamos su que nuestro",
    "fr": "et pour avec de la le les des un une du en vous nous à notre votre recherchons",
}
"""The words by which the five languages of the generated ads are told apart: articles, prepositions, pronouns."""


def guess_language(text: str) -> str:
    """The language whose frequent words a text holds most often; English where none stands out."""
    words = re.findall(r"[^\W\d_]+", text.casefold())
    counts = {
        language: sum(word in frequent.split() for word in words) for language, frequent in _FREQUENT_WORDS.items()
    }
    best = max(counts.values())
    winners = [language for language, count in counts.items() if count == best]
    return winners[0] if len(winners) == 1 else "en"
