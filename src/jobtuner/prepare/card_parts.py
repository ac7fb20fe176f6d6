"""Sections that every data card has, whatever its task."""

from collections import Counter
from collections.abc import Mapping

from jobtuner.prepare.card_facts import ChartFacts, Cleaning, SplitFacts, cleaned_rows
from jobtuner.prepare.card_page import Section, Table
from jobtuner.prepare.sources import Rejected
from jobtuner.prepare.split import SPLITS

__all__ = ["LEVELS", "balance", "cleaning", "clusters_text", "languages", "leakage", "rejects"]

LEVELS = (0.9, 0.8, 0.7, 0.6, 0.5, 0.3)
"""Similarities at which the shares of test rows are told."""


def balance(counts: Mapping[str, int]) -> Section:
    """Rows that were read, and what became of them."""
    parts = ("rejected", "duplicates", *SPLITS)
    rows = [("read", counts["read"])]
    rows += [(f"{'+' if place else '='} {part}", counts[part]) for place, part in enumerate(parts)]
    return Section("Rows", "", [Table(("rows", "number"), rows)], "card_rows.png")


def languages(splits: Mapping[str, SplitFacts]) -> Section:
    """Rows of each language, by split."""
    by_split = {name: splits[name].languages for name in SPLITS}
    known = sorted(set().union(*by_split.values()))
    rows = [(language, *(by_split[name][language] for name in SPLITS)) for language in known]
    return Section("Languages", "", [Table(("language", *SPLITS), rows)], "card_languages.png")


def rejects(kinds: Counter[str], first: Mapping[str, Rejected]) -> Section:
    """Rejected rows by kind of the reason, with the first one of each kind."""
    if not kinds:
        return Section("Rejected rows", "None.")
    ranked = sorted(kinds.items(), key=lambda item: (-item[1], item[0]))
    rows = [(kind, count, f"{first[kind].id}: {first[kind].reason}") for kind, count in ranked]
    return Section("Rejected rows", "", [Table(("reason", "rows", "first one"), rows)])


def cleaning(found: Cleaning, *others: tuple[str, int]) -> Section:
    """What happened to texts, and what a task counts besides."""
    rows = [*cleaned_rows(found), *others]
    return Section("Cleaning and personal data", "", [Table(("what", "number"), rows)], "card_personal_data.png")


def clusters_text(sizes: Counter[int]) -> str:
    """How many clusters there are; `sizes`: rows in a cluster to the number of such clusters."""
    larger = sizes.total() - sizes[1]
    rows = sum(size * count for size, count in sizes.items() if size > 1)
    return f"{sizes.total():,} clusters; {larger:,} of them hold more than one row, {rows:,} rows together."


def leakage(facts: ChartFacts) -> Section:
    """How near test rows are to training."""
    found, title = facts.leakage, "Nearest training rows"
    if not found.neighbours:
        return Section(title, "Not looked for (split.leakage.sample).")
    text = (
        f"For {len(found.neighbours):,} of {found.test_rows:,} test rows, the similarity of the nearest training row."
    )
    shares = [(f"{low:.1f} or more", f"{found.share(low):.1%}") for low in LEVELS]
    pairs = [(f"{pair.similarity:.2f}", pair.test, pair.train) for pair in facts.nearest]
    tables = [
        Table(("similarity", "share of the rows"), shares),
        Table(("similarity", "test", "training"), pairs, "The most similar pairs:"),
    ]
    return Section(title, text, tables, "card_leakage.png")
