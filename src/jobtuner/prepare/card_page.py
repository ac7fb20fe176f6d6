"""The form of a data card: sections of text, tables and a picture, as Markdown and as one HTML file.

Ads are text from strangers: the HTML is rendered with autoescape and a policy that forbids scripts and outside content.
"""

import html
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from jobtuner.pages import data_uri, page_templates
from jobtuner.prepare.card_charts import CHARTS, draw_charts
from jobtuner.prepare.card_facts import ChartFacts

__all__ = ["Section", "Table", "cell", "render_markdown", "write_page"]


@dataclass(frozen=True, slots=True)
class Table:
    """A table of a section."""

    header: Sequence[str]
    rows: Sequence[Sequence[object]]
    before: str = ""
    """A sentence that leads to it."""


@dataclass(frozen=True, slots=True)
class Section:
    """A part of the card under its own title."""

    title: str
    text: str
    tables: Sequence[Table] = ()
    chart: str | None = None
    """Name of a picture in `card_charts.CHARTS`."""


def write_page(
    about: str, facts: ChartFacts, sections: Sequence[Section], folder: Path, drawn: Sequence[str] | None = None
) -> None:
    """Write card.md, card.html and the pictures into the folder.

    Args:
        about: one or two sentences for the head.
        facts: what the pictures show.
        sections: in their order.
        folder: gets the files.
        drawn: the pictures that lie in the folder; None: they are drawn now.
    """
    drawn = draw_charts(facts, folder) if drawn is None else drawn
    environment = page_templates(Path(__file__).parent / "templates")
    environment.filters["shown"] = _shown
    charts = {name: (CHARTS[name], data_uri((folder / name).read_bytes())) for name in drawn}
    page = environment.get_template("card.html").render(
        about=about, counts=facts.counts, sections=sections, charts=charts
    )
    (folder / "card.html").write_text(page, encoding="utf-8")
    (folder / "card.md").write_text(render_markdown(about, sections), encoding="utf-8")


def _shown(value: object) -> str:
    return f"{value:,}" if isinstance(value, int) else str(value)


def render_markdown(about: str, sections: Sequence[Section]) -> str:
    """The card as Markdown."""
    parts = [f"# Data card\n\n{about}"]
    for section in sections:
        parts.append(f"## {section.title}")
        for table in section.tables[:1]:
            parts.append(f"{section.text} {table.before}".strip())
        if not section.tables:
            parts.append(section.text)
        for place, table in enumerate(section.tables):
            parts += [table.before] if place else []
            parts.append(_markdown(table))
    return "\n\n".join(part for part in parts if part) + "\n"


def _markdown(table: Table) -> str:
    lines = [table.header, ["---"] + ["---:"] * (len(table.header) - 1), *table.rows]
    return "\n".join("| " + " | ".join(cell(value) for value in line) + " |" for line in lines)


def cell(value: object) -> str:
    """A value as it stands in a cell of Markdown."""
    return html.escape(_shown(value), quote=False).replace("|", "\\|").replace("\n", " ")
