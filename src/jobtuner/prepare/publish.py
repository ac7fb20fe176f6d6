"""The result of prepare: splits, rejected rows, duplicates, data card, contract. Texts go from part to split singly."""

import hashlib
import multiprocessing
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from jobtuner.config import Config
from jobtuner.contracts import PreparedData
from jobtuner.errors import DataError
from jobtuner.prepare.card import write_card
from jobtuner.prepare.card_charts import draw_charts
from jobtuner.prepare.card_facts import CardFacts, Cluster, Pair, SplitFacts
from jobtuner.prepare.hostile import ForeignText
from jobtuner.prepare.leakage import Leakage, Neighbour, check_leakage, find_leakage
from jobtuner.prepare.merge import Decisions, MergedRows
from jobtuner.prepare.sources import Rejected
from jobtuner.prepare.split import SPLITS, Row, assign
from jobtuner.prepare.tokens import LEARNT_FROM, TokenLengths, count_tokens
from jobtuner.progress import track
from jobtuner.records import Example, write_jsonl
from jobtuner.taxonomy import Taxonomy

__all__ = ["publish"]

_TOP_REASONS = 5
_SHOWN = 10  # clusters and pairs in the card
_SHOWN_CHARS = 60  # of a text in the card
_WORDS_FROM = 1000  # ads, for foreign text
_BLOCK = 1 << 20
_MANY = 20_000  # rows from which writing them takes as long as starting a process that draws meanwhile

_Splits = Mapping[str, Sequence[int]]


def publish(
    rows: MergedRows, decisions: Decisions, config: Config, taxonomy: Taxonomy, source: str, out_dir: Path
) -> PreparedData:
    """Split the rows that remain and write everything; see `contracts.PreparedData` for the files.

    Raises:
        DataError: too many rejected rows, too few labels, an empty split, or test rows too near to training.
    """
    rejected = list(rows.rejected(decisions.rejected))
    _check_rejected(rejected, len(rows), config)
    kept = _Kept(rows, decisions)
    _check_labels(kept)
    splits = _split(kept, config)
    counts = {
        "read": len(rows),
        "rejected": len(rejected),
        "duplicates": len(decisions.duplicate_of),
        **{name: len(splits[name]) for name in SPLITS},
    }
    assert counts["read"] == sum(counts.values()) - counts["read"], f"rows vanished: {counts}"
    labels = sorted({kept.labels[place] for place in splits["train"]})
    _check_coverage(labels, taxonomy, config)
    leakage = _leakage(rows, splits, config)
    check_leakage(leakage, config.split.leakage, rows.ids)
    facts = CardFacts(
        source=source,
        counts=counts,
        splits={name: kept.facts(splits[name]) for name in SPLITS},
        rejected=Counter(row.kind for row in rejected),
        first_rejected={row.kind: row for row in reversed(rejected)},
        cleaning=rows.cleaning(),
        taxonomy=taxonomy,
        cluster_sizes=Counter(Counter(decisions.clusters).values()),
        largest=kept.largest_clusters(splits),
        near_duplicates=config.deduplicate.threshold,
        leakage=leakage,
        nearest=[_pair(kept, found) for found in leakage.neighbours[:_SHOWN]],
        tokens=_tokens(kept, splits, config, taxonomy),
    )
    with _charts(facts, out_dir, apart=len(rows) >= _MANY) as drawn:
        facts.cleaning.foreign = _write(kept, splits, rejected, decisions, out_dir, config)
        taxonomy.save(out_dir / "taxonomy.json")
        write_card(facts, out_dir, drawn())
    return PreparedData(
        folder=out_dir,
        fingerprint=_fingerprint(out_dir, taxonomy.version),
        task=config.task,
        source=source,
        languages=sorted(set().union(*(split.languages for split in facts.splits.values()))),
        labels=labels,
        taxonomy_version=taxonomy.version,
        counts=counts,
    ).save()


@contextmanager
def _charts(facts: CardFacts, folder: Path, *, apart: bool) -> Iterator[Callable[[], Sequence[str]]]:
    """Draw the pictures, in a process of their own while the block goes on; what is yielded waits and names them."""
    if not apart:
        yield lambda: draw_charts(facts, folder)
        return
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        yield pool.submit(draw_charts, facts, folder).result


class _Kept:
    """The rows that are neither rejected nor duplicates, by place."""

    def __init__(self, rows: MergedRows, decisions: Decisions) -> None:
        self.rows, self.places = rows, decisions.kept
        self.labels, self.languages = rows.column("label"), rows.column("language")
        self.clusters = [""] * len(rows)
        for place, cluster in zip(decisions.kept, decisions.clusters, strict=True):
            self.clusters[place] = cluster
        self.sources, self.accepted, self.others = rows.column("source"), rows.column("accepted"), decisions.others

    def examples(self, places: Sequence[int], told: Callable[[], None]) -> Iterator[Example]:
        for place in places:
            told()
            yield Example(
                self.rows.ids[place],
                self.rows.text(place),
                self.labels[place],
                self.languages[place],
                self.clusters[place],
                self._accepted(place),
                self.sources[place],
            )

    def _accepted(self, place: int) -> list[str]:
        """The other right codes of a row: its own, then those of rows with the same text."""
        if not self.accepted[place] and place not in self.others:
            return []
        codes = [code for code in self.accepted[place].split("|") if code]
        return [code for code in dict.fromkeys([*codes, *self.others.get(place, ())]) if code != self.labels[place]]

    def facts(self, places: Sequence[int]) -> SplitFacts:
        return SplitFacts(
            languages=Counter(self.languages[place] for place in places),
            labels=Counter(self.labels[place] for place in places),
            lengths=sorted(self.rows.lengths[list(places)].tolist()),
        )

    def largest_clusters(self, splits: _Splits) -> list[Cluster]:
        sizes = Counter(self.clusters[place] for place in self.places)
        largest = sorted((name for name in sizes if sizes[name] > 1), key=lambda name: (-sizes[name], name))[:_SHOWN]
        first: dict[str, int] = {}
        for split in SPLITS:
            for place in splits[split]:
                if self.clusters[place] in largest:
                    first.setdefault(self.clusters[place], place)
        return [Cluster(name, sizes[name], self.rows.text(first[name])[:_SHOWN_CHARS]) for name in largest]

    def shown(self, place: int) -> str:
        return f"{self.rows.ids[place]}: {self.rows.text(place)[:_SHOWN_CHARS]}"


def _pair(kept: _Kept, found: Neighbour) -> Pair:
    return Pair(found.similarity, kept.shown(found.test), kept.shown(found.train))


def _check_rejected(rejected: Sequence[Rejected], read: int, config: Config) -> None:
    limit = config.data.max_rejected
    if len(rejected) <= limit * read and len(rejected) < read:
        return
    samples: dict[str, Rejected] = {}
    for row in rejected:
        samples.setdefault(row.kind, row)
    lines = [
        f"  {count:,} × {kind}, e.g. {samples[kind].id}: {samples[kind].reason} (text: {samples[kind].text[:60]!r})"
        for kind, count in Counter(row.kind for row in rejected).most_common(_TOP_REASONS)
    ]
    raise DataError(
        f"{len(rejected):,} of {read:,} rows were rejected; at most {limit:.0%} may be (data.max_rejected):\n"
        + "\n".join(lines)
        + "\nCheck data.columns and taxonomy.path against the input."
    )


def _check_labels(kept: _Kept) -> None:
    labels = sorted({kept.labels[place] for place in kept.places})
    if len(labels) < 2:
        raise DataError(
            f"{len(kept.places)} usable rows have {len(labels)} labels ({', '.join(labels) or 'none'}); at least 2 are "
            "needed. Add rows of other labels, or lower split.min_label_rows."
        )


def _check_coverage(labels: Sequence[str], taxonomy: Taxonomy, config: Config) -> None:
    least = config.data.min_label_coverage
    if len(labels) >= least * len(taxonomy.labels):
        return
    missing = sorted(set(taxonomy.labels) - set(labels))
    raise DataError(
        f"Training holds {len(labels):,} of the taxonomy's {len(taxonomy.labels):,} labels, "
        f"{len(labels) / len(taxonomy.labels):.1%}; at least {least:.1%} are needed (data.min_label_coverage). Missing "
        f"are {', '.join(missing[:10])}{' …' if len(missing) > 10 else ''}. Add rows of them, or lower the share."
    )


def _split(kept: _Kept, config: Config) -> dict[str, list[int]]:
    dates = kept.rows.column("date") if config.split.by == "date" else None
    if dates is not None:
        _check_dates(kept, dates)
    rows = [
        Row(kept.labels[place], kept.languages[place], kept.clusters[place], dates[place] if dates else "")
        for place in kept.places
    ]
    splits: dict[str, list[int]] = {name: [] for name in SPLITS}
    for place, name in zip(kept.places, assign(rows, config.split, config.seed), strict=True):
        splits[name].append(place)
    for name in SPLITS:
        if not splits[name]:
            raise DataError(
                f"The split '{name}' is empty: {len(rows)} usable rows form {len({row.cluster for row in rows})} "
                "clusters of near-duplicates, and a label needs three clusters to be in every split. Add more "
                "different rows, or raise deduplicate.threshold."
            )
        splits[name].sort(key=lambda place: (kept.labels[place], kept.languages[place], kept.rows.ids[place]))
    return splits


def _check_dates(kept: _Kept, dates: Sequence[str]) -> None:
    missing = [place for place in kept.places if not dates[place]]
    if missing:
        raise DataError(
            f"{len(missing):,} of {len(kept.places):,} usable rows have no date, e.g. {kept.rows.ids[missing[0]]}; "
            "split.by = date needs one in every row. Set data.columns.date, or split by random."
        )


def _leakage(rows: MergedRows, splits: _Splits, config: Config) -> Leakage:
    train, test = splits["train"], splits["test"]
    settings = config.split.leakage
    if not settings.sample:
        return Leakage([], len(test))
    matrices = (rows.signatures(train), rows.signatures(test))
    return find_leakage(train, test, matrices, rows.text, settings, config.deduplicate.shingle, config.seed)


def _tokens(kept: _Kept, splits: _Splits, config: Config, taxonomy: Taxonomy) -> TokenLengths | None:
    most = config.data.count_tokens
    if not most:
        return None
    texts = {}
    for name, places in splits.items():
        step = -(-len(places) // most)  # every third, say: the places are ordered by label and language
        texts[name] = [kept.rows.text(place) for place in places[::step]]
    train = splits["train"][:: -(-len(splits["train"]) // LEARNT_FROM)]
    return count_tokens(config, texts, [kept.rows.text(place) for place in train], taxonomy)


def _write(
    kept: _Kept, splits: _Splits, rejected: Sequence[Rejected], decisions: Decisions, out_dir: Path, config: Config
) -> int:
    """Write the rows; return how many of training got foreign text."""
    put_into, count = _foreign_text(kept, splits["train"], config), 0

    def with_foreign(rows: Iterator[Example], foreign: ForeignText) -> Iterator[Example]:
        nonlocal count
        for row in rows:
            changed = foreign.put_into(row)
            count += changed is not row
            yield changed

    with track("Writing splits", total=len(kept.places)) as bar:
        for name in SPLITS:
            rows = kept.examples(splits[name], bar.advance)
            if name == "train" and put_into is not None:
                rows = with_foreign(rows, put_into)
            write_jsonl(out_dir / f"{name}.jsonl", rows)
    write_jsonl(out_dir / "rejected.jsonl", (row.to_row() for row in rejected))
    ids = kept.rows.ids
    pairs = sorted((ids[row], ids[stays]) for row, stays in decisions.duplicate_of.items())
    write_jsonl(out_dir / "duplicates.jsonl", ({"id": row, "kept": stays} for row, stays in pairs))
    return count


def _foreign_text(kept: _Kept, train: Sequence[int], config: Config) -> ForeignText | None:
    if not config.data.hostile:
        return None
    some = train[:: -(-len(train) // _WORDS_FROM)]  # every third, say: the places are ordered by label and language
    labels = sorted({kept.labels[place] for place in train})
    return ForeignText(labels, (kept.rows.text(place) for place in some), config.data.hostile, config.seed)


def _fingerprint(out_dir: Path, taxonomy_version: str) -> str:
    digest = hashlib.sha256(taxonomy_version.encode())
    for name in SPLITS:
        path = out_dir / f"{name}.jsonl"
        digest.update(f"\n{name} {path.stat().st_size}\n".encode())
        with path.open("rb") as stream:
            while block := stream.read(_BLOCK):
                digest.update(block)
    return digest.hexdigest()
