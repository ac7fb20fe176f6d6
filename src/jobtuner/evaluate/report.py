"""The report: what a reader needs to judge the model, as one HTML file and as Markdown.

Ads are text from strangers: the HTML is rendered with autoescape and a policy that forbids scripts and outside content;
in Markdown every character with a meaning is escaped.
"""

import html
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jobtuner.evaluate.charts import CHARTS, draw_charts
from jobtuner.evaluate.results import Comparison
from jobtuner.evaluate.tables import cards, report_tables, verdict
from jobtuner.pages import data_uri, page_templates

__all__ = ["STANDIN_NOTE", "render", "write_report"]

STANDIN_NOTE = "The base model is the stand-in: these scores show that the pipeline works, not what Qwen2.5 can do."

_MARKDOWN = re.compile(r"([\\`*_{}\[\]#|~!])")


def write_report(result: Comparison, folder: Path) -> None:
    """Write report.html, report.md and the pictures into the folder."""
    draw_charts(result, folder)
    facts = {
        "base": "the stand-in" if result.base_is_standin else result.base,
        "cards": cards(result),
        "charts": {name: (text, data_uri((folder / name).read_bytes())) for name, text in CHARTS.items()},
        "examples": len(result.examples),
        "note": STANDIN_NOTE if result.base_is_standin else "",
        "tables": report_tables(result),
        "verdict": verdict(result),
    }
    render(facts, folder)


def render(facts: Mapping[str, Any], folder: Path) -> None:
    """Write report.html and report.md from the facts that the templates name."""
    environment = page_templates(Path(__file__).parent / "templates")
    environment.filters["markdown"] = _escape_markdown
    for name in ("report.html", "report.md"):
        (folder / name).write_text(environment.get_template(name).render(facts), encoding="utf-8")


def _escape_markdown(text: str) -> str:
    """The text as it is, on one line, in any Markdown: no markup, no HTML, no links, no table cells."""
    escaped = _MARKDOWN.sub(r"\\\1", " ".join(text.split()))
    return html.escape(escaped, quote=False).replace("://", "&#58;//")
