"""The data card: what went in, what came out, and what happened to the rest, as Markdown."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from jobtuner.personal_data import KINDS
from jobtuner.prepare.leakage import Leakage
from jobtuner.prepare.sources import Rejected
from jobtuner.prepare.split import SPLITS
from jobtuner.taxonomy import Taxonomy

__all__ = ["LEVELS", "CardFacts", "Cleaning", "Cluster", "Pair", "SplitFacts", "render_card"]

LEVELS = (0.9, 0.8, 0.7, 0.6, 0.5, 0.3)
"""Similarities at which the shares of test rows are told."""
_SHOWN = 10  # entries of an open-ended list


@dataclass(slots=True)
class Cleaning:
    """What cleaning and label resolution changed, over all rows."""

    masked: Counter[str] = field(default_factory=Counter)
    """Kind of personal data to the places that were replaced."""
    rows_masked: int = 0
    html: int = 0
    cut: int = 0
    padded_labels: int = 0


@dataclass(frozen=True, slots=True)
class SplitFacts:
    """One split in numbers."""

    languages: Counter[str]
    labels: Counter[str]
    lengths: Sequence[int]
    """Characters of each text, in ascending order."""


@dataclass(frozen=True, slots=True)
class Cluster:
    """A cluster of more than one row."""

    name: str
    rows: int
    text: str
    """One of its texts."""


@dataclass(frozen=True, slots=True)
class Pair:
    """A test row and the most similar training row."""

    similarity: float
    test: str
    """Id and beginning of the text."""
    train: str


@dataclass(frozen=True, kw_only=True, slots=True)
class CardFacts:
    """All that the card tells."""

    source: str
    """"generated", or the input URI."""
    counts: Mapping[str, int]
    """As in `contracts.PreparedData`."""
    splits: Mapping[str, SplitFacts]
    rejected: Counter[str]
    """Rows by kind of the reason."""
    first_rejected: Mapping[str, Rejected]
    """The first row of each kind."""
    cleaning: Cleaning
    taxonomy: Taxonomy
    cluster_sizes: Counter[int]
    """Rows in a cluster to the number of such clusters."""
    largest: Sequence[Cluster]
    leakage: Leakage
    nearest: Sequence[Pair]
    """The most similar pairs of test and training."""


def render_card(facts: CardFacts) -> str:
    """The card as Markdown."""
    sections = [
        f"# Data card\n\nSource: {facts.source}. Taxonomy version: {facts.taxonomy.version}.",
        _balance(facts.counts),
        _languages(facts.splits),
        _labels(facts.splits, facts.taxonomy),
        _lengths(facts.splits),
        _rejects(facts),
        _cleaning(facts.cleaning),
        _clusters(facts),
        _leakage(facts),
    ]
    return "\n\n".join(sections) + "\n"


def _table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    lines = [header, ["---"] + ["---:"] * (len(header) - 1), *rows]
    return "\n".join("| " + " | ".join(_cell(cell) for cell in line) + " |" for line in lines)


def _cell(value: object) -> str:
    text = f"{value:,}" if isinstance(value, int) else str(value)
    return text.replace("|", "\\|").replace("\n", " ")


def _balance(counts: Mapping[str, int]) -> str:
    parts = ("rejected", "duplicates", *SPLITS)
    rows = [("read", counts["read"])]
    rows += [(f"{'+' if place else '='} {part}", counts[part]) for place, part in enumerate(parts)]
    return "## Rows\n\n" + _table(("rows", "number"), rows)


def _languages(splits: Mapping[str, SplitFacts]) -> str:
    by_split = {name: splits[name].languages for name in SPLITS}
    languages = sorted(set().union(*by_split.values()))
    rows = [(language, *(by_split[name][language] for name in SPLITS)) for language in languages]
    return "## Languages\n\n" + _table(("language", *SPLITS), rows)


def _labels(splits: Mapping[str, SplitFacts], taxonomy: Taxonomy) -> str:
    by_split = {name: splits[name].labels for name in SPLITS}
    total = sum(by_split.values(), Counter[str]())
    ranked = sorted(total, key=lambda label: (-total[label], label))
    missing = len(taxonomy.labels) - len(total)
    text = f"{len(total)} labels occur, {missing} labels of the taxonomy do not."
    shown = ranked if len(ranked) <= 2 * _SHOWN else [*ranked[:_SHOWN], *ranked[-_SHOWN:]]
    if len(shown) < len(ranked):
        text += f" The {_SHOWN} most frequent and the {_SHOWN} rarest:"
    rows = [(_named(label, taxonomy), *(by_split[name][label] for name in SPLITS)) for label in shown]
    return f"## Labels\n\n{text}\n\n" + _table(("label", *SPLITS), rows)


def _named(label: str, taxonomy: Taxonomy) -> str:
    title = taxonomy.title(label)
    return label if title == label else f"{label} {title}"


def _lengths(splits: Mapping[str, SplitFacts]) -> str:
    rows = []
    for name in SPLITS:
        sizes = splits[name].lengths
        middle, late = sizes[len(sizes) // 2], sizes[int(0.95 * (len(sizes) - 1))]
        rows.append((name, sizes[0], middle, late, sizes[-1]))
    return "## Lengths in characters\n\n" + _table(("split", "shortest", "median", "95 %", "longest"), rows)


def _rejects(facts: CardFacts) -> str:
    if not facts.rejected:
        return "## Rejected rows\n\nNone."
    ranked = sorted(facts.rejected.items(), key=lambda item: (-item[1], item[0]))
    first = facts.first_rejected
    rows = [(kind, count, f"{first[kind].id}: {first[kind].reason}") for kind, count in ranked]
    return "## Rejected rows\n\n" + _table(("reason", "rows", "first one"), rows)


def _cleaning(cleaning: Cleaning) -> str:
    rows: list[tuple[str, int]] = [
        ("rows with HTML", cleaning.html),
        ("rows cut to the longest length", cleaning.cut),
        ("labels that got leading zeros back", cleaning.padded_labels),
        ("rows with personal data", cleaning.rows_masked),
    ]
    rows += [(f"places replaced by [{name}]", cleaning.masked[name]) for name in (*KINDS, "NAME")]
    return "## Cleaning and personal data\n\n" + _table(("what", "number"), rows)


def _clusters(facts: CardFacts) -> str:
    clusters = facts.cluster_sizes.total()
    larger = clusters - facts.cluster_sizes[1]
    rows_in = sum(size * count for size, count in facts.cluster_sizes.items() if size > 1)
    text = f"{clusters:,} clusters; {larger:,} of them hold more than one row, {rows_in:,} rows together."
    if not larger:
        return f"## Near-duplicates\n\n{text}"
    rows = [(cluster.name, cluster.rows, cluster.text) for cluster in facts.largest]
    return f"## Near-duplicates\n\n{text} The largest:\n\n" + _table(("cluster", "rows", "one text"), rows)


def _leakage(facts: CardFacts) -> str:
    found = facts.leakage
    if not found.neighbours:
        return "## Nearest training rows\n\nNot looked for (split.leakage.sample)."
    text = (
        f"For {len(found.neighbours):,} of {found.test_rows:,} test rows, the similarity of the nearest training row."
    )
    shares = [(f"{low:.1f} or more", f"{found.share(low):.1%}") for low in LEVELS]
    pairs = [(f"{pair.similarity:.2f}", pair.test, pair.train) for pair in facts.nearest]
    return (
        f"## Nearest training rows\n\n{text}\n\n"
        + _table(("similarity", "share of the rows"), shares)
        + "\n\nThe most similar pairs:\n\n"
        + _table(("similarity", "test", "training"), pairs)
    )
