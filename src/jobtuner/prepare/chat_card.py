"""The data card of a task that answers in text."""

from collections import Counter
from collections.abc import Mapping, Sequence

from jobtuner.prepare.card_facts import Cleaning, cleaned_rows
from jobtuner.prepare.sources import Rejected
from jobtuner.prepare.split import SPLITS
from jobtuner.records import ChatExample

__all__ = ["render_chat_card"]

_SHOWN = 10  # skills at the top of the list


def render_chat_card(
    *,
    task: str,
    source: str,
    counts: Mapping[str, int],
    splits: Mapping[str, Sequence[ChatExample]],
    rejected: Sequence[Rejected],
    cleaning: Cleaning,
    lost: int,
) -> str:
    """The card as Markdown.

    Args:
        task: the task's name.
        source: "generated", or the input URI.
        counts: as in `contracts.PreparedData`.
        splits: the examples by split.
        rejected: every rejected row.
        cleaning: what cleaning changed.
        lost: annotated skills that the cleaned text does not hold.
    """
    sections = [
        f"# Data card\n\nTask: {task}. Source: {source}. Token lengths stand in tokens.json beside the trained model.",
        _balance(counts),
        _languages(splits),
        _lengths(splits),
        _skills(splits, lost) if task == "skills" else "",
        _rejects(rejected),
        _cleaning(cleaning),
        _clusters(splits),
    ]
    return "\n\n".join(section for section in sections if section) + "\n"


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


def _languages(splits: Mapping[str, Sequence[ChatExample]]) -> str:
    by_split = {name: Counter(example.language for example in splits[name]) for name in SPLITS}
    rows = [(key, *(by_split[name][key] for name in SPLITS)) for key in sorted(set().union(*by_split.values()))]
    return "## Languages\n\n" + _table(("language", *SPLITS), rows)


def _lengths(splits: Mapping[str, Sequence[ChatExample]]) -> str:
    rows = []
    for name in SPLITS:
        for what, sizes in (
            ("text", sorted(len(example.text) for example in splits[name])),
            ("answer", sorted(len(example.answer) for example in splits[name])),
        ):
            middle, late = sizes[len(sizes) // 2], sizes[int(0.95 * (len(sizes) - 1))]
            rows.append((f"{name}: {what}", sizes[0], middle, late, sizes[-1]))
    return "## Lengths in characters\n\n" + _table(("split", "shortest", "median", "95 %", "longest"), rows)


def _skills(splits: Mapping[str, Sequence[ChatExample]], lost: int) -> str:
    examples = [example for name in SPLITS for example in splits[name]]
    named = Counter(example.text[a:b].casefold() for example in examples for a, b in example.facts["spans"])
    without = sum(not example.facts["spans"] for example in examples)
    text = (
        f"{named.total():,} places of {len(named):,} different skills; {without:,} of {len(examples):,} texts have "
        "none. "
        f"Annotated skills that the cleaned text does not hold, left out: {lost:,}. The most frequent:"
    )
    return f"## Skills\n\n{text}\n\n" + _table(("skill", "places"), named.most_common(_SHOWN))


def _rejects(rejected: Sequence[Rejected]) -> str:
    if not rejected:
        return "## Rejected rows\n\nNone."
    kinds = Counter(row.kind for row in rejected)
    first = {row.kind: row for row in reversed(rejected)}
    ranked = sorted(kinds, key=lambda kind: (-kinds[kind], kind))
    rows = [(kind, kinds[kind], f"{first[kind].id}: {first[kind].reason}") for kind in ranked]
    return "## Rejected rows\n\n" + _table(("reason", "rows", "first one"), rows)


def _cleaning(cleaning: Cleaning) -> str:
    return "## Cleaning and personal data\n\n" + _table(("what", "number"), cleaned_rows(cleaning))


def _clusters(splits: Mapping[str, Sequence[ChatExample]]) -> str:
    sizes = Counter(example.cluster for name in SPLITS for example in splits[name])
    larger = [size for size in sizes.values() if size > 1]
    return (
        f"## Near-duplicates\n\n{len(sizes):,} clusters; {len(larger):,} of them hold more than one row, "
        f"{sum(larger):,} rows together. No cluster is in two splits."
    )
