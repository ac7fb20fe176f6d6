"""The data card of a task that answers in text."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from jobtuner.prepare.card_facts import ChartFacts, Cleaning, Pair, SplitFacts
from jobtuner.prepare.card_page import Section, Table, write_page
from jobtuner.prepare.card_parts import balance, cleaning, clusters_text, languages, rejects
from jobtuner.prepare.card_parts import leakage as nearest_rows
from jobtuner.prepare.leakage import Leakage, Neighbour
from jobtuner.prepare.sources import Rejected
from jobtuner.prepare.split import SPLITS
from jobtuner.prepare.tokens import quantiles
from jobtuner.records import ChatExample

__all__ = ["write_chat_card"]

_SHOWN = 10  # skills and pairs at the top of a list
_SHOWN_CHARS = 60  # of a text


def write_chat_card(
    folder: Path,
    *,
    task: str,
    source: str,
    counts: Mapping[str, int],
    splits: Mapping[str, Sequence[ChatExample]],
    rejected: Sequence[Rejected],
    changed: Cleaning,
    lost: int,
    near_duplicates: float,
    leakage: Leakage,
) -> None:
    """Write card.md, card.html and its pictures.

    Args:
        folder: gets the files.
        task: the task's name.
        source: "generated", or the input URI.
        counts: as in `contracts.PreparedData`.
        splits: the examples by split.
        rejected: every rejected row.
        changed: what cleaning changed.
        lost: annotated skills that the cleaned text does not hold.
        near_duplicates: similarity from which rows are in one cluster.
        leakage: places are those of the rows of training, then those of test.
    """
    clusters = Counter(example.cluster for name in SPLITS for example in splits[name])
    facts = ChartFacts(
        counts=counts,
        splits={
            name: SplitFacts(
                Counter(example.language for example in examples),
                Counter(),
                sorted(len(example.text) for example in examples),
            )
            for name, examples in splits.items()
        },
        cleaning=changed,
        cluster_sizes=Counter(clusters.values()),
        near_duplicates=near_duplicates,
        leakage=leakage,
        nearest=[_pair([*splits["train"], *splits["test"]], found) for found in leakage.neighbours[:_SHOWN]],
    )
    first = {row.kind: row for row in reversed(rejected)}
    sections = [
        balance(counts),
        languages(facts.splits),
        _lengths(splits),
        *([_skills(splits, lost)] if task == "skills" else []),
        rejects(Counter(row.kind for row in rejected), first),
        cleaning(changed),
        _clusters(facts.cluster_sizes),
        nearest_rows(facts),
    ]
    about = f"Task: {task}. Source: {source}. Token lengths stand in tokens.json beside the trained model."
    write_page(about, facts, sections, folder)


def _lengths(splits: Mapping[str, Sequence[ChatExample]]) -> Section:
    rows: list[tuple[object, ...]] = []
    for name in SPLITS:
        rows.append((f"{name}: text", *quantiles(sorted(len(example.text) for example in splits[name]))))
        rows.append((f"{name}: answer", *quantiles(sorted(len(example.answer) for example in splits[name]))))
    header = ("split", "shortest", "median", "95 %", "longest")
    return Section("Lengths in characters", "", [Table(header, rows)], "card_lengths.png")


def _skills(splits: Mapping[str, Sequence[ChatExample]], lost: int) -> Section:
    examples = [example for name in SPLITS for example in splits[name]]
    named = Counter(example.text[a:b].casefold() for example in examples for a, b in example.facts["spans"])
    without = sum(not example.facts["spans"] for example in examples)
    text = (
        f"{named.total():,} places of {len(named):,} different skills; {without:,} of {len(examples):,} texts have "
        "none. "
        f"Annotated skills that the cleaned text does not hold, left out: {lost:,}. The most frequent:"
    )
    return Section("Skills", text, [Table(("skill", "places"), named.most_common(_SHOWN))])


def _clusters(sizes: Counter[int]) -> Section:
    return Section("Near-duplicates", f"{clusters_text(sizes)} No cluster is in two splits.", chart="card_clusters.png")


def _pair(rows: Sequence[ChatExample], found: Neighbour) -> Pair:
    test, train = (f"{rows[place].id}: {rows[place].text[:_SHOWN_CHARS]}" for place in (found.test, found.train))
    return Pair(found.similarity, test, train)
