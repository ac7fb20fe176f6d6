"""The stage `prepare`: labelled rows in, cleaned, deduplicated and split examples out."""

import hashlib
import itertools
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from jobtuner.clean import clean_text
from jobtuner.config import Config
from jobtuner.contracts import PreparedData
from jobtuner.errors import DataError
from jobtuner.prepare.card import Cleaning, render_card
from jobtuner.prepare.chat_stage import run_chat
from jobtuner.prepare.deduplicate import assign_clusters, find_exact
from jobtuner.prepare.labels import LabelResolver
from jobtuner.prepare.sources import Rejected, read_rows
from jobtuner.prepare.split import SPLITS, Row, assign
from jobtuner.prepare.synthesize import generate_ads, generated_count
from jobtuner.progress import track
from jobtuner.records import Example, JobAd, write_jsonl
from jobtuner.storage import fetch
from jobtuner.tasks import CHAT_TASKS
from jobtuner.taxonomy import Taxonomy, builtin_taxonomy, load_taxonomy

__all__ = ["GENERATED", "run"]

GENERATED = "generated"
"""Source of the data where the recipe names no input."""

_TOP_REASONS = 5


def run(config: Config, inputs: Mapping[str, Path], out_dir: Path) -> PreparedData:
    """Read or generate rows, clean them, drop duplicates, split by cluster, write the splits and the data card.

    Args:
        config: the sections data, taxonomy, clean, deduplicate and split, and the seed.
        inputs: empty; this is the first stage.
        out_dir: gets the files named in `contracts.PreparedData`.

    Raises:
        DataError: the input cannot be read, more than data.max_rejected of it is unusable, or what remains cannot be
            split: fewer than two labels, or an empty split.
    """
    if inputs:
        raise DataError(f"prepare reads no other stage; it got {sorted(inputs)}.")
    if config.task in CHAT_TASKS:
        return run_chat(config, out_dir)
    with tempfile.TemporaryDirectory() as downloads:
        taxonomy = _taxonomy(config, Path(downloads))
        rows = list(_read(config, Path(downloads)))
    if not rows:
        raise DataError("There are no rows: data.generate.languages is empty. Name at least one language.")
    rejected = [row for row in rows if isinstance(row, Rejected)]
    cleaning = Cleaning()
    ads = list(_clean(rows, config, taxonomy, cleaning, rejected))
    found = find_exact(ads)
    rejected += _conflicting(ads, found.conflicts)
    kept = _frequent_labels(found.kept, config.split.min_label_rows, rejected)
    _check_rejected(rejected, len(rows), config)
    _check_labels(kept)
    splits = _split(kept, config)
    counts = {
        "read": len(rows),
        "rejected": len(rejected),
        "duplicates": len(found.duplicate_of),
        **{name: len(splits[name]) for name in SPLITS},
    }
    assert counts["read"] == sum(counts.values()) - counts["read"], f"rows vanished: {counts}"
    _write(out_dir, splits, rejected, found.duplicate_of)
    taxonomy.save(out_dir / "taxonomy.json")
    source = config.data.input or GENERATED
    card = render_card(
        source=source, counts=counts, splits=splits, rejected=rejected, cleaning=cleaning, taxonomy=taxonomy
    )
    (out_dir / "card.md").write_text(card, encoding="utf-8")
    return PreparedData(
        folder=out_dir,
        fingerprint=_fingerprint(out_dir, taxonomy.version),
        task=config.task,
        source=source,
        languages=sorted({example.language for name in SPLITS for example in splits[name]}),
        labels=sorted({example.label for example in splits["train"]}),
        taxonomy_version=taxonomy.version,
        counts=counts,
    ).save()


def _taxonomy(config: Config, downloads: Path) -> Taxonomy:
    if config.taxonomy.path is None:
        builtin = builtin_taxonomy()
        level = config.taxonomy.level
        return builtin if level is None else Taxonomy(builtin.occupations.values(), level=level)
    return load_taxonomy(fetch(config.taxonomy.path, downloads), config.taxonomy.level)


def _read(config: Config, downloads: Path) -> Iterator[JobAd | Rejected]:
    data = config.data
    rows: Iterable[JobAd | Rejected]
    if data.input is None:
        label, total = "Generating ads", generated_count(data.generate)
        rows = generate_ads(data.generate, config.seed)
    else:
        label, total = "Reading rows", None
        rows = read_rows(fetch(data.input, downloads), data.columns)
    seen: set[str] = set()
    with track(label, total=min(total, data.max_rows or total) if total else data.max_rows) as bar:
        for row in itertools.islice(rows, data.max_rows):
            bar.advance()
            if isinstance(row, JobAd) and row.id in seen:
                yield _reject(row, "id occurs before", f"id '{row.id}' occurs in an earlier row")
            else:
                seen.add(row.id)
                yield row


def _reject(ad: JobAd, kind: str, reason: str) -> Rejected:
    return Rejected(ad.id, kind, reason, ad.text, ad.label or "", ad.language)


def _clean(
    rows: Sequence[JobAd | Rejected], config: Config, taxonomy: Taxonomy, cleaning: Cleaning, rejected: list[Rejected]
) -> Iterator[JobAd]:
    """Yield the usable ads with clean text and the taxonomy's code as label; put the others into `rejected`."""
    resolver = LabelResolver(taxonomy)
    with track("Cleaning text", total=len(rows)) as bar:
        for row in rows:
            bar.advance()
            if isinstance(row, Rejected):
                continue
            code, kind, reason = resolver.resolve(row.label or "")
            if code is None:
                rejected.append(_reject(row, kind, reason))
                continue
            result = clean_text(row.text, config.clean)
            if len(result.text) < config.clean.min_chars:
                short = f"{len(result.text)} characters after cleaning, at least {config.clean.min_chars} are needed"
                rejected.append(_reject(row, "text too short", f"text too short: {short}"))
                continue
            cleaning.masked.update(result.masked)
            cleaning.rows_masked += bool(result.masked)
            cleaning.html += result.was_html
            cleaning.cut += result.was_cut
            yield replace(row, text=result.text, label=code)
    cleaning.padded_labels = resolver.padded


def _conflicting(ads: Sequence[JobAd], conflicts: Mapping[str, Sequence[str]]) -> list[Rejected]:
    return [
        _reject(ad, "conflicting labels", f"conflicting labels {', '.join(conflicts[ad.id])} for the same text")
        for ad in ads
        if ad.id in conflicts
    ]


def _frequent_labels(ads: Sequence[JobAd], least: int, rejected: list[Rejected]) -> list[JobAd]:
    rows = Counter(ad.label for ad in ads)
    for ad in ads:
        if rows[ad.label] < least:
            needed = f"at least {least} are needed (split.min_label_rows)"
            rejected.append(_reject(ad, "rare label", f"label {ad.label} has {rows[ad.label]} usable rows, {needed}"))
    return [ad for ad in ads if rows[ad.label] >= least]


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


def _check_labels(ads: Sequence[JobAd]) -> None:
    labels = sorted({ad.label or "" for ad in ads})
    if len(labels) < 2:
        raise DataError(
            f"{len(ads)} usable rows have {len(labels)} labels ({', '.join(labels) or 'none'}); at least 2 are needed. "
            "Add rows of other labels, or lower split.min_label_rows."
        )


def _split(ads: Sequence[JobAd], config: Config) -> dict[str, list[Example]]:
    with track("Finding near-duplicates", unit="texts") as bar:
        texts, groups = [ad.text for ad in ads], [ad.group for ad in ads]
        clusters = assign_clusters(texts, groups, config.deduplicate, config.seed, bar)
    rows = [Row(ad.label or "", ad.language, cluster) for ad, cluster in zip(ads, clusters, strict=True)]
    splits: dict[str, list[Example]] = {name: [] for name in SPLITS}
    for ad, row, name in zip(ads, rows, assign(rows, config.split, config.seed), strict=True):
        splits[name].append(Example(ad.id, ad.text, row.label, row.language, row.cluster))
    for name in SPLITS:
        if not splits[name]:
            raise DataError(
                f"The split '{name}' is empty: {len(ads)} usable rows form {len(set(clusters))} clusters of "
                "near-duplicates, and a label needs three clusters to be in every split. Add more different rows, or "
                "raise deduplicate.threshold."
            )
        splits[name].sort(key=lambda example: (example.label, example.language, example.id))
    return splits


def _write(
    out_dir: Path,
    splits: Mapping[str, Sequence[Example]],
    rejected: Sequence[Rejected],
    duplicate_of: Mapping[str, str],
) -> None:
    for name in SPLITS:
        write_jsonl(out_dir / f"{name}.jsonl", splits[name])
    write_jsonl(out_dir / "rejected.jsonl", (row.to_row() for row in rejected))
    write_jsonl(out_dir / "duplicates.jsonl", ({"id": row, "kept": kept} for row, kept in sorted(duplicate_of.items())))


def _fingerprint(out_dir: Path, taxonomy_version: str) -> str:
    digest = hashlib.sha256(taxonomy_version.encode())
    for name in SPLITS:
        content = (out_dir / f"{name}.jsonl").read_bytes()
        digest.update(f"\n{name} {len(content)}\n".encode() + content)
    return digest.hexdigest()
