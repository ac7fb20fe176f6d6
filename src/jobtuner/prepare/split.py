"""Train, validation, test: whole clusters, the same for any order of the rows.

By chance, stratified by label and language; or by date, so that a model is tested on later ads than it was trained on.
"""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from jobtuner.config import SplitConfig

__all__ = ["SPLITS", "Row", "assign"]

SPLITS = ("train", "validation", "test")


@dataclass(frozen=True, slots=True)
class Row:
    """What the split must know of an example."""

    label: str
    language: str
    cluster: str
    date: str = ""
    """ISO 8601; needed where the split is by date."""


@dataclass(frozen=True, slots=True)
class _Cluster:
    name: str
    label: str
    """The label of most of its rows."""
    language: str
    """The language of most of its rows."""
    size: int
    chance: float
    """A number in [0, 1) from the seed and the cluster's name."""
    date: str
    """Of its first ad."""


def assign(rows: Sequence[Row], config: SplitConfig, seed: int) -> list[str]:
    """The split of each row.

    A label with three clusters or more has at least one in each split, one with two always has one in training, and one
    whose rows are all in one cluster is in training only. No label of validation or test is missing from training.

    Args:
        rows: label, language and cluster of each example.
        config: shares of validation and test.
        seed: another seed gives another split.
    """
    clusters = _clusters(rows, seed)
    sides = _by_date(clusters, config) if config.by == "date" else _by_label(clusters, config, seed)
    _complete_training(rows, sides)
    return [sides[row.cluster] for row in rows]


def _by_label(clusters: Sequence[_Cluster], config: SplitConfig, seed: int) -> dict[str, str]:
    """Each label by itself: new rows of one label move nothing of the others."""
    by_label: dict[str, list[_Cluster]] = defaultdict(list)
    for cluster in clusters:
        by_label[cluster.label].append(cluster)
    sides: dict[str, str] = {}
    for label, members in by_label.items():
        sides.update(_assign_label(members, config, _chance(seed, f"label {label}")))
    return sides


def _by_date(clusters: Sequence[_Cluster], config: SplitConfig) -> dict[str, str]:
    """The latest clusters to test, those before to validation; clusters of one date stay on one side.

    A cluster counts by its first ad: a later re-post of an ad that training knows is nothing new.
    """
    rows_of: Counter[str] = Counter()
    for cluster in clusters:
        rows_of[cluster.date] += cluster.size
    total, later = rows_of.total(), 0
    side_of = {}
    for date in sorted(rows_of, reverse=True):
        middle = later + rows_of[date] / 2
        if middle < config.test * total:
            side_of[date] = "test"
        elif middle < (config.test + config.validation) * total:
            side_of[date] = "validation"
        else:
            side_of[date] = "train"
        later += rows_of[date]
    return {cluster.name: side_of[cluster.date] for cluster in clusters}


def _clusters(rows: Sequence[Row], seed: int) -> list[_Cluster]:
    members: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        members[row.cluster].append(row)
    return [_cluster(name, _chance(seed, name), members[name]) for name in members]


def _cluster(name: str, chance: float, members: Sequence[Row]) -> _Cluster:
    first = members[0]
    if len(members) == 1:  # so it is for most clusters
        return _Cluster(name, first.label, first.language, 1, chance, first.date)
    label = _most_common([row.label for row in members])
    language = _most_common([row.language for row in members])
    return _Cluster(name, label, language, len(members), chance, min(row.date for row in members))


def _most_common(values: Sequence[str]) -> str:
    counts = Counter(values)
    return min(counts, key=lambda value: (-counts[value], value))


def _chance(seed: int, name: str) -> float:
    digest = hashlib.sha256(f"{seed}/{name}".encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


def _assign_label(clusters: list[_Cluster], config: SplitConfig, luck: float) -> dict[str, str]:
    """Split the clusters of one label; `luck` in [0, 1) decides where rounding goes, so that over labels it is fair."""
    order = _interleave(clusters)
    sides = dict.fromkeys((cluster.name for cluster in clusters), "train")
    if len(order) < 3:
        if len(order) == 2:  # chance decides, so that over many such labels the shares come out right
            smaller = min(order, key=lambda item: (item.size, item.name))
            sides[smaller.name] = _drawn(smaller.chance, config)
        return sides
    rows = sum(cluster.size for cluster in order)
    largest = max(order, key=lambda item: (item.size, item.chance))
    free = [cluster for cluster in order if cluster is not largest]
    for side, share, reserve in (("test", config.test, 1), ("validation", config.validation, 0)):
        chosen = _fill(free, share * rows, len(free) - reserve, luck)
        names = {cluster.name for cluster in chosen}
        free = [cluster for cluster in free if cluster.name not in names]
        sides.update((cluster.name, side) for cluster in chosen)
    return sides


def _drawn(chance: float, config: SplitConfig) -> str:
    if chance < 2 * config.test:  # twice, since the other of the two clusters is always in training
        return "test"
    return "validation" if chance < 2 * (config.test + config.validation) else "train"


def _interleave(clusters: Sequence[_Cluster]) -> list[_Cluster]:
    """An order in which every beginning has about the same share of each language."""
    by_language: dict[str, list[_Cluster]] = defaultdict(list)
    for cluster in sorted(clusters, key=lambda item: (item.chance, item.name)):
        by_language[cluster.language].append(cluster)
    places = {
        cluster.name: (rank + cluster.chance) / len(members)
        for members in by_language.values()
        for rank, cluster in enumerate(members)
    }
    return sorted(clusters, key=lambda item: (places[item.name], item.name))


def _fill(free: Sequence[_Cluster], target: float, most: int, luck: float) -> list[_Cluster]:
    """The first clusters that fit into `target` rows, at least one and at most `most`.

    The share `luck` of a cluster must fit: over all values of it, clusters of one row fill the target exactly.
    """
    chosen: list[_Cluster] = []
    filled = 0
    for cluster in free:
        if len(chosen) < most and filled + luck * cluster.size <= target:
            chosen.append(cluster)
            filled += cluster.size
    return chosen or [min(free, key=lambda item: (item.size, item.chance, item.name))]


def _complete_training(rows: Sequence[Row], sides: dict[str, str]) -> None:
    """Move a cluster to training for each label that is otherwise not in it.

    This happens to labels that occur only in clusters where another label has the majority.
    """
    held: dict[str, Counter[str]] = defaultdict(Counter)
    for row in rows:
        held[row.label][row.cluster] += 1
    for label in sorted(held):
        counts = held[label]
        if all(sides[cluster] != "train" for cluster in counts):
            sides[min(counts, key=lambda cluster: (-counts[cluster], cluster))] = "train"
