"""What happens to the rows of a part before they meet the other parts: each step changes the rows it is given.

A step knows nothing but its rows and its settings, so that parts can be worked on in any order, process or pod.
"""

import json
from collections.abc import Sequence, Set

from jobtuner.clean import clean_text
from jobtuner.config import CleanConfig, Config, DeduplicateConfig
from jobtuner.languages import LanguageFinder, language_finder
from jobtuner.prepare.deduplicate import text_key
from jobtuner.prepare.labels import LabelResolver
from jobtuner.prepare.parts import PartRow, reject
from jobtuner.prepare.rules import check_rules
from jobtuner.prepare.shingles import normalise, signatures
from jobtuner.progress import Bar
from jobtuner.records import UNKNOWN_LANGUAGE
from jobtuner.taxonomy import Taxonomy

__all__ = ["preprocess", "sign", "validate", "work"]


def work(rows: Sequence[PartRow], config: Config, taxonomy: Taxonomy, bar: Bar | None = None) -> None:
    """All steps of a part, one after the other."""
    preprocess(rows, config, taxonomy, bar)
    validate(rows, config)
    sign(rows, config.deduplicate, config.seed)


def preprocess(rows: Sequence[PartRow], config: Config, taxonomy: Taxonomy, bar: Bar | None = None) -> None:
    """Give every usable row clean text and the taxonomy's code as label; reject rows with neither."""
    # `merge` gives the hints: here they would depend on the part.
    resolver = LabelResolver(taxonomy, config.data.label_by, hints=0)
    mode = config.data.detect_language
    finder = None if mode == "never" else language_finder(tuple(config.data.languages))
    labels = frozenset(taxonomy.labels)
    for row in rows:
        if not row["kind"]:
            unsaid = mode == "always" or row["language"] == UNKNOWN_LANGUAGE
            _preprocess_row(row, config.clean, labels, resolver, finder if unsaid else None)
        if bar is not None:
            bar.advance()


def _preprocess_row(
    row: PartRow, config: CleanConfig, labels: Set[str], resolver: LabelResolver, finder: LanguageFinder | None
) -> None:
    padded = resolver.padded
    codes, kind, reason = resolver.resolve_all(row["label"], row["language"])
    undecided = kind == "ambiguous label" and finder is not None  # the language may tell which code is meant
    if not codes and not undecided:
        reject(row, kind, reason)
        return
    result = clean_text(row["text"], config, labels)
    if len(result.text) < config.min_chars:
        short = f"{len(result.text)} characters after cleaning, at least {config.min_chars} are needed"
        reject(row, "text too short", f"text too short: {short}")
        return
    if finder is not None:
        row["language"] = finder.find(result.text)
    if not codes:
        codes, kind, reason = resolver.resolve_all(row["label"], row["language"])
    if not codes:
        reject(row, kind, reason)
        return
    row["text"], row["label"], row["accepted"] = result.text, codes[0], "|".join(codes[1:])
    row["html"], row["cut"], row["padded"] = result.was_html, result.was_cut, resolver.padded > padded
    row["masked"] = json.dumps(result.masked, sort_keys=True) if result.masked else ""


def validate(rows: Sequence[PartRow], config: Config) -> None:
    """Reject rows that break one of `data.rules` that can be told from the row alone."""
    check_rules([row for row in rows if not row["kind"]], config.data.rules)


def sign(rows: Sequence[PartRow], config: DeduplicateConfig, seed: int) -> None:
    """Give every usable row what duplicates are found by: the key and the MinHash signature of its text."""
    usable = [row for row in rows if not row["kind"]]
    texts = [normalise(row["text"]) for row in usable]
    matrix = signatures(texts, config.shingle, config.permutations, seed).astype("<u4")
    for row, text, signature in zip(usable, texts, matrix, strict=True):
        row["key"], row["signature"] = text_key(text), signature.tobytes()
