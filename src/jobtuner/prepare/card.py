"""The data card: what went in, what came out, and what happened to the rest, as Markdown and as one HTML file.

Ads are text from strangers: the HTML is rendered with autoescape and a policy that forbids scripts and outside content.
"""

import base64
import html
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from jobtuner.prepare.card_charts import CHARTS, draw_charts
from jobtuner.prepare.card_facts import CardFacts, Cleaning, SplitFacts, cleaned_rows
from jobtuner.prepare.split import SPLITS
from jobtuner.prepare.tokens import TokenLengths, quantiles
from jobtuner.taxonomy import Taxonomy

__all__ = ["LEVELS", "render_card", "write_card"]

LEVELS = (0.9, 0.8, 0.7, 0.6, 0.5, 0.3)
"""Similarities at which the shares of test rows are told."""
_SHOWN = 10  # entries of an open-ended list


@dataclass(frozen=True, slots=True)
class _Table:
    header: Sequence[str]
    rows: Sequence[Sequence[object]]
    before: str = ""


@dataclass(frozen=True, slots=True)
class _Section:
    title: str
    text: str
    tables: Sequence[_Table] = ()
    chart: str | None = None
    """Name of a picture in `card_charts.CHARTS`."""


def write_card(facts: CardFacts, folder: Path) -> None:
    """Write card.md, card.html and the pictures into the folder."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape

    drawn = draw_charts(facts, folder)
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=select_autoescape(["html"]),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["shown"] = _shown
    charts = {name: (CHARTS[name], _data_uri(folder / name)) for name in drawn}
    page = environment.get_template("card.html").render(
        source=facts.source,
        version=facts.taxonomy.version,
        counts=facts.counts,
        sections=_sections(facts),
        charts=charts,
    )
    (folder / "card.html").write_text(page, encoding="utf-8")
    (folder / "card.md").write_text(render_card(facts), encoding="utf-8")


def _data_uri(path: Path) -> str:
    return "data:image/png;base64," + base64.b64encode(path.read_bytes()).decode("ascii")


def _shown(value: object) -> str:
    return f"{value:,}" if isinstance(value, int) else str(value)


def render_card(facts: CardFacts) -> str:
    """The card as Markdown."""
    parts = [f"# Data card\n\nSource: {facts.source}. Taxonomy version: {facts.taxonomy.version}."]
    for section in _sections(facts):
        parts.append(f"## {section.title}")
        for table in section.tables[:1]:
            parts.append(f"{section.text} {table.before}".strip())
        if not section.tables:
            parts.append(section.text)
        for place, table in enumerate(section.tables):
            parts += [table.before] if place else []
            parts.append(_markdown(table))
    return "\n\n".join(part for part in parts if part) + "\n"


def _markdown(table: _Table) -> str:
    lines = [table.header, ["---"] + ["---:"] * (len(table.header) - 1), *table.rows]
    return "\n".join("| " + " | ".join(_cell(cell) for cell in line) + " |" for line in lines)


def _cell(value: object) -> str:
    return html.escape(_shown(value), quote=False).replace("|", "\\|").replace("\n", " ")


def _sections(facts: CardFacts) -> list[_Section]:
    return [
        _balance(facts.counts),
        _languages(facts.splits),
        _labels(facts.splits, facts.taxonomy),
        _lengths(facts.splits),
        *([_tokens(facts.tokens)] if facts.tokens else []),
        _rejects(facts),
        _cleaning(facts.cleaning),
        _clusters(facts),
        _leakage(facts),
    ]


def _balance(counts: Mapping[str, int]) -> _Section:
    parts = ("rejected", "duplicates", *SPLITS)
    rows = [("read", counts["read"])]
    rows += [(f"{'+' if place else '='} {part}", counts[part]) for place, part in enumerate(parts)]
    return _Section("Rows", "", [_Table(("rows", "number"), rows)], "card_rows.png")


def _languages(splits: Mapping[str, SplitFacts]) -> _Section:
    by_split = {name: splits[name].languages for name in SPLITS}
    languages = sorted(set().union(*by_split.values()))
    rows = [(language, *(by_split[name][language] for name in SPLITS)) for language in languages]
    return _Section("Languages", "", [_Table(("language", *SPLITS), rows)], "card_languages.png")


def _labels(splits: Mapping[str, SplitFacts], taxonomy: Taxonomy) -> _Section:
    by_split = {name: splits[name].labels for name in SPLITS}
    total = sum(by_split.values(), Counter[str]())
    ranked = sorted(total, key=lambda label: (-total[label], label))
    missing = len(taxonomy.labels) - len(total)
    text = f"{len(total):,} labels occur, {missing:,} labels of the taxonomy do not."
    shown = ranked if len(ranked) <= 2 * _SHOWN else [*ranked[:_SHOWN], *ranked[-_SHOWN:]]
    if len(shown) < len(ranked):
        text += f" The {_SHOWN} most frequent and the {_SHOWN} rarest:"
    rows = [(_named(label, taxonomy), *(by_split[name][label] for name in SPLITS)) for label in shown]
    return _Section("Labels", text, [_Table(("label", *SPLITS), rows)], "card_labels.png")


def _named(label: str, taxonomy: Taxonomy) -> str:
    title = taxonomy.title(label)
    return label if title == label else f"{label} {title}"


def _lengths(splits: Mapping[str, SplitFacts]) -> _Section:
    rows = []
    for name in SPLITS:
        rows.append((name, *quantiles(splits[name].lengths)))
    return _Section("Lengths in characters", "", [_Table(_QUANTILES, rows)], "card_lengths.png")


_QUANTILES = ("split", "shortest", "median", "95 %", "longest")


def _tokens(tokens: TokenLengths) -> _Section:
    title = "Lengths in tokens"
    if tokens.missing:
        return _Section(title, f"Not counted: {tokens.missing}")
    text = (
        f"By the tokenizer of {tokens.tokenizer}, prompt and answer not included. Ads of more than {tokens.limit:,} "
        "tokens are cut (prompt.max_ad_tokens); answers never are."
    )
    rows = [(name, *quantiles(tokens.lengths[name]), len(tokens.lengths[name]), tokens.cut(name)) for name in SPLITS]
    return _Section(title, text, [_Table((*_QUANTILES, "counted", "cut"), rows)], "card_tokens.png")


def _rejects(facts: CardFacts) -> _Section:
    if not facts.rejected:
        return _Section("Rejected rows", "None.")
    ranked = sorted(facts.rejected.items(), key=lambda item: (-item[1], item[0]))
    first = facts.first_rejected
    rows = [(kind, count, f"{first[kind].id}: {first[kind].reason}") for kind, count in ranked]
    return _Section("Rejected rows", "", [_Table(("reason", "rows", "first one"), rows)])


def _cleaning(cleaning: Cleaning) -> _Section:
    rows: list[tuple[str, int]] = [
        *cleaned_rows(cleaning),
        ("labels that got leading zeros back", cleaning.padded_labels),
        ("rows whose language was told from the text", cleaning.told),
        ("training rows that got a foreign sentence (data.hostile)", cleaning.foreign),
    ]
    return _Section("Cleaning and personal data", "", [_Table(("what", "number"), rows)], "card_personal_data.png")


def _clusters(facts: CardFacts) -> _Section:
    clusters = facts.cluster_sizes.total()
    larger = clusters - facts.cluster_sizes[1]
    rows_in = sum(size * count for size, count in facts.cluster_sizes.items() if size > 1)
    text = f"{clusters:,} clusters; {larger:,} of them hold more than one row, {rows_in:,} rows together."
    if not larger:
        return _Section("Near-duplicates", text)
    rows = [(cluster.name, cluster.rows, cluster.text) for cluster in facts.largest]
    table = _Table(("cluster", "rows", "one text"), rows, "The largest:")
    return _Section("Near-duplicates", text, [table], "card_clusters.png")


def _leakage(facts: CardFacts) -> _Section:
    found, title = facts.leakage, "Nearest training rows"
    if not found.neighbours:
        return _Section(title, "Not looked for (split.leakage.sample).")
    text = (
        f"For {len(found.neighbours):,} of {found.test_rows:,} test rows, the similarity of the nearest training row."
    )
    shares = [(f"{low:.1f} or more", f"{found.share(low):.1%}") for low in LEVELS]
    pairs = [(f"{pair.similarity:.2f}", pair.test, pair.train) for pair in facts.nearest]
    tables = [
        _Table(("similarity", "share of the rows"), shares),
        _Table(("similarity", "test", "training"), pairs, "The most similar pairs:"),
    ]
    return _Section(title, text, tables, "card_leakage.png")
