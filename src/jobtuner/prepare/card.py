"""The data card: what went in, what came out, and what happened to the rest, as Markdown."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from jobtuner.personal_data import KINDS
from jobtuner.prepare.sources import Rejected
from jobtuner.prepare.split import SPLITS
from jobtuner.records import Example
from jobtuner.taxonomy import Taxonomy

__all__ = ["Cleaning", "render_card"]

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


def render_card(
    *,
    source: str,
    counts: Mapping[str, int],
    splits: Mapping[str, Sequence[Example]],
    rejected: Sequence[Rejected],
    cleaning: Cleaning,
    taxonomy: Taxonomy,
) -> str:
    """The card as Markdown.

    Args:
        source: "generated", or the input URI.
        counts: as in `contracts.PreparedData`.
        splits: the examples by split.
        rejected: every rejected row.
        cleaning: what cleaning changed.
        taxonomy: gives the titles of the labels.
    """
    sections = [
        f"# Data card\n\nSource: {source}. Taxonomy version: {taxonomy.version}.",
        _balance(counts),
        _languages(splits),
        _labels(splits, taxonomy),
        _lengths(splits),
        _rejects(rejected),
        _cleaning(cleaning),
        _clusters(splits),
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


def _languages(splits: Mapping[str, Sequence[Example]]) -> str:
    by_split = {name: Counter(example.language for example in splits[name]) for name in SPLITS}
    languages = sorted(set().union(*by_split.values()))
    rows = [(language, *(by_split[name][language] for name in SPLITS)) for language in languages]
    return "## Languages\n\n" + _table(("language", *SPLITS), rows)


def _labels(splits: Mapping[str, Sequence[Example]], taxonomy: Taxonomy) -> str:
    by_split = {name: Counter(example.label for example in splits[name]) for name in SPLITS}
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


def _lengths(splits: Mapping[str, Sequence[Example]]) -> str:
    rows = []
    for name in SPLITS:
        sizes = sorted(len(example.text) for example in splits[name])
        middle, late = sizes[len(sizes) // 2], sizes[int(0.95 * (len(sizes) - 1))]
        rows.append((name, sizes[0], middle, late, sizes[-1]))
    return "## Lengths in characters\n\n" + _table(("split", "shortest", "median", "95 %", "longest"), rows)


def _rejects(rejected: Sequence[Rejected]) -> str:
    if not rejected:
        return "## Rejected rows\n\nNone."
    kinds = Counter(row.kind for row in rejected)
    first: dict[str, Rejected] = {}
    for row in rejected:
        first.setdefault(row.kind, row)
    ranked = sorted(kinds, key=lambda kind: (-kinds[kind], kind))
    rows = [(kind, kinds[kind], f"{first[kind].id}: {first[kind].reason}") for kind in ranked]
    return "## Rejected rows\n\n" + _table(("reason", "rows", "first one"), rows)


def _cleaning(cleaning: Cleaning) -> str:
    rows: list[tuple[str, int]] = [
        ("rows with HTML", cleaning.html),
        ("rows cut to the longest length", cleaning.cut),
        ("labels that got leading zeros back", cleaning.padded_labels),
        ("rows with personal data", cleaning.rows_masked),
    ]
    rows += [(f"places replaced by [{name}]", cleaning.masked[name]) for name in KINDS]
    return "## Cleaning and personal data\n\n" + _table(("what", "number"), rows)


def _clusters(splits: Mapping[str, Sequence[Example]]) -> str:
    members: dict[str, list[Example]] = {}
    for name in SPLITS:
        for example in splits[name]:
            members.setdefault(example.cluster, []).append(example)
    larger = sorted(
        (cluster for cluster in members if len(members[cluster]) > 1), key=lambda item: (-len(members[item]), item)
    )
    rows_in = sum(len(members[cluster]) for cluster in larger)
    text = f"{len(members):,} clusters; {len(larger):,} of them hold more than one row, {rows_in:,} rows together."
    if not larger:
        return f"## Near-duplicates\n\n{text}"
    rows = [(cluster, len(members[cluster]), members[cluster][0].text[:60]) for cluster in larger[:_SHOWN]]
    return f"## Near-duplicates\n\n{text} The largest:\n\n" + _table(("cluster", "rows", "one text"), rows)
