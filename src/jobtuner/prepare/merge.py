"""All parts together: repeated ids, duplicates, clusters. Of a text only hashes are held in memory.

What is decided depends on the rows and their numbers alone: not on how they were divided into parts or shards.
"""

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from jobtuner.config import Config, RuleConfig
from jobtuner.prepare.card_facts import Cleaning
from jobtuner.prepare.deduplicate import (
    DisjointSets,
    Duplicates,
    cluster_names,
    find_exact,
    join_listed,
    join_similar,
    join_within,
)
from jobtuner.prepare.labels import LabelResolver
from jobtuner.prepare.rules import rule_kind
from jobtuner.prepare.sources import Rejected
from jobtuner.progress import track
from jobtuner.taxonomy import Taxonomy

if TYPE_CHECKING:
    from pyarrow import Table

__all__ = ["Decisions", "MergedRows", "decide"]


class MergedRows:
    """The rows of all parts in the order of the input, by columns; a text is read when it is asked for."""

    def __init__(self, parts: Sequence["Table"]) -> None:
        import pyarrow as pa

        table = pa.concat_tables(parts)
        self._order: NDArray[np.int64] = np.argsort(table.column("number").to_numpy(), kind="stable")
        self._table = table
        self._texts = table.column("text")
        self._columns: dict[str, list[str]] = {}

    def __len__(self) -> int:
        return len(self._order)

    def text(self, place: int) -> str:
        """The text of a row; of a rejected one its beginning."""
        return str(self._texts[int(self._order[place])].as_py())

    def column(self, name: str) -> list[str]:
        """A column with one object a distinct value: 8 bytes a row where values repeat."""
        if name not in self._columns:
            self._columns[name] = [value or "" for value in self.optional(name)]
        return self._columns[name]

    def optional(self, name: str) -> list[str | None]:
        """A column whose values may be missing."""
        encoded = self._table.column(name).take(self._order).combine_chunks().dictionary_encode()
        values = [*encoded.dictionary.to_pylist(), None]
        return [values[code] for code in encoded.indices.fill_null(len(values) - 1).to_pylist()]

    @cached_property
    def ids(self) -> list[str]:
        """Every row's id."""
        found: list[str] = self._table.column("id").take(self._order).to_pylist()
        return found

    @cached_property
    def keys(self) -> list[bytes]:
        """Every row's `deduplicate.text_key`; empty for a row that was rejected when it was cleaned."""
        found: list[bytes] = self._table.column("key").take(self._order).to_pylist()
        return found

    def signatures(self, places: Sequence[int]) -> NDArray[np.uint32]:
        """MinHash signatures of usable rows, shape (rows, permutations)."""
        if not places:
            return np.empty((0, 1), np.uint32)
        chosen = self._table.column("signature").take(self._order[np.asarray(places, dtype=np.intp)])
        data = chosen.combine_chunks().buffers()[2]  # after validity and offsets: all values in a row, of one length
        return np.frombuffer(data, dtype="<u4").reshape(len(places), -1)

    @cached_property
    def lengths(self) -> NDArray[np.int64]:
        """Characters of every row's text."""
        import pyarrow.compute as pc

        found: NDArray[np.int64] = pc.utf8_length(self._texts).to_numpy()[self._order]
        return found

    def rejected(self, reasons: Mapping[int, tuple[str, str]]) -> Iterator[Rejected]:
        """Rows by place, with the kind and the reason of each, in the form of rejected.jsonl."""
        labels, languages = self.column("label"), self.column("language")
        for place, why in reasons.items():
            yield Rejected(self.ids[place], *why, self.text(place), labels[place], languages[place])

    def cleaning(self) -> Cleaning:
        """What cleaning changed, over all rows that it left usable."""
        import pyarrow.compute as pc

        found = Cleaning()
        for name in ("html", "cut", "padded", "repaired", "lines", "told", "orders"):
            setattr(found, "padded_labels" if name == "padded" else name, pc.sum(self._table.column(name)).as_py() or 0)
        for counted in self._table.column("masked").value_counts().to_pylist():
            if counted["values"]:
                found.rows_masked += counted["counts"]
                for kind, places in json.loads(counted["values"]).items():
                    found.masked[kind] += places * counted["counts"]
        return found


@dataclass(frozen=True, slots=True)
class Decisions:
    """What became of each row, by its place."""

    rejected: Mapping[int, tuple[str, str]]
    """Kind and reason."""
    duplicate_of: Mapping[int, int]
    """A dropped row to the row that stays for it."""
    kept: Sequence[int]
    clusters: Sequence[str]
    """Beside each kept row, the id of its cluster."""
    others: Mapping[int, Sequence[str]] = field(default_factory=dict)
    """A kept row to the other labels that its text has in other rows, where these are accepted."""


def decide(rows: MergedRows, config: Config, taxonomy: Taxonomy) -> Decisions:
    """Sort out what only all rows together show, and cluster what remains."""
    labels, languages = rows.column("label"), rows.column("language")
    rejected = _rejected_before(rows, LabelResolver(taxonomy, config.data.label_by), labels)
    usable = _first_of_their_kind(rows, config.data.rules, rejected)
    accept = config.deduplicate.conflicts == "accept"
    found = find_exact(usable, rows.keys, languages, rows.ids, labels, accept=accept)
    for place, codes in found.conflicts.items():
        rejected[place] = ("conflicting labels", f"conflicting labels {', '.join(codes)} for the same text")
    kept = _frequent_labels(sorted(found.kept), labels, config.split.min_label_rows, rejected)
    clusters = _cluster(rows, kept, found.duplicate_of, config)
    rejected, duplicate_of = dict(sorted(rejected.items())), dict(sorted(found.duplicate_of.items()))
    return Decisions(rejected, duplicate_of, kept, clusters, _others(rows, found))


def _others(rows: MergedRows, found: Duplicates) -> dict[int, list[str]]:
    """The other right codes that a kept row has from rows with the same text."""
    others, accepted = {place: list(codes) for place, codes in found.others.items()}, rows.column("accepted")
    for place, stays in found.duplicate_of.items():
        if codes := [code for code in accepted[place].split("|") if code]:
            others.setdefault(stays, []).extend(codes)
    return dict(sorted(others.items()))


def _rejected_before(rows: MergedRows, resolver: LabelResolver, labels: Sequence[str]) -> dict[int, tuple[str, str]]:
    """Rows that were rejected when they were read or cleaned; the first unknown labels get a suggestion here.

    A worker cannot: it does not know which labels were unknown before, and each suggestion takes a while.
    """
    rejected = {}
    reasons = rows.column("reason")
    for place, kind in enumerate(rows.column("kind")):
        if kind:
            told = resolver.resolve_all(labels[place])[2] if kind == "unknown label" else reasons[place]
            rejected[place] = (kind, told)
    return rejected


def _first_of_their_kind(
    rows: MergedRows, rules: Sequence[RuleConfig], rejected: dict[int, tuple[str, str]]
) -> list[int]:
    """The usable rows whose id, and whose value under each rule that asks for it, does not occur before."""
    seen: set[str] = set()
    for place, name in enumerate(rows.ids):
        if name in seen and place not in rejected:
            rejected[place] = ("id occurs before", f"id '{name}' occurs in an earlier row")
        seen.add(name)
    for rule in rules:
        if rule.unique:
            values = rows.keys if rule.column == "text" else rows.optional(rule.column)
            first: dict[object, int] = {}
            for place, value in enumerate(values):
                if value and place not in rejected and (before := first.setdefault(value, place)) != place:
                    reason = f"rule '{rule.name}': {rule.column} is that of {rows.ids[before]}"
                    rejected[place] = (rule_kind(rule), reason)
    return [place for place in range(len(rows)) if place not in rejected]


def _frequent_labels(
    kept: Sequence[int], labels: Sequence[str], least: int, rejected: dict[int, tuple[str, str]]
) -> list[int]:
    count = Counter(labels[place] for place in kept)
    for place in kept:
        label = labels[place]
        if count[label] < least:
            needed = f"at least {least} are needed (split.min_label_rows)"
            rejected[place] = ("rare label", f"label {label} has {count[label]} usable rows, {needed}")
    return [place for place in kept if count[labels[place]] >= least]


def _cluster(rows: MergedRows, kept: Sequence[int], duplicate_of: Mapping[int, int], config: Config) -> list[str]:
    """The cluster of each kept row: near-duplicates, re-posts, translations, and what the source keeps together."""
    keys = [rows.keys[place] for place in kept]
    sets = DisjointSets(len(kept))
    matrix = rows.signatures(kept)

    def text_of(index: int) -> str:
        return rows.text(kept[index])

    columns = {name: rows.optional(name) for name in ("group", "employer", "title", "translation_of")}
    group, employer, title, original = ([values[place] for place in kept] for values in columns.values())
    join_listed(keys, sets)
    join_listed(group, sets)
    _join_translations(rows, kept, duplicate_of, original, sets)
    if config.split.by == "employer":
        join_listed(employer, sets)
    with track("Finding near-duplicates", total=len(kept), unit="texts") as bar:
        join_similar(matrix, text_of, config.deduplicate, sets, bar)
        posts = [
            (who.casefold(), what.casefold()) if who and what else None
            for who, what in zip(employer, title, strict=True)
        ]
        join_within(posts, matrix, text_of, config.deduplicate.repost_threshold, config.deduplicate.shingle, sets)
    return cluster_names(keys, sets)


def _join_translations(
    rows: MergedRows,
    kept: Sequence[int],
    duplicate_of: Mapping[int, int],
    original: Sequence[str | None],
    sets: DisjointSets,
) -> None:
    """Join ads with the one that they are a translation of, and with each other where that one is not there."""
    wanted = set(original) - {None}
    if not wanted:
        return
    index = {place: position for position, place in enumerate(kept)}
    first = {rows.ids[place]: position for place, position in index.items() if rows.ids[place] in wanted}
    for place, stays in duplicate_of.items():
        if rows.ids[place] in wanted and stays in index:
            first.setdefault(rows.ids[place], index[stays])
    for position, name in enumerate(original):
        if name is not None:
            sets.union(first.setdefault(name, position), position)
