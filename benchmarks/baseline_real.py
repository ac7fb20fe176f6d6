"""Claim: the baseline is strong on real rows. Its accuracy and speed beside TF-IDF with five nearest neighbours.

Six sets of real titles and texts, each split by JobTuner's own splitter (whole clusters of near-duplicates, equal texts
merged to one row with all their codes); both models are fitted on training and validation rows and asked the test rows,
with the settings of the recipe `smoke` for all sets. An answer counts when it is one of the row's right codes. Sets
whose files are absent are skipped.

    .venv/bin/python benchmarks/baseline_real.py DATA_DIR [--only melo] [--set baseline.kind=embeddings]
"""

import argparse
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from jobtuner.baseline.rows import Columns, LabelledRow, merge_equal, read_labelled
from jobtuner.config import Config, load_config
from jobtuner.linear.classifier import BaselineClassifier
from jobtuner.linear.taxonomy_rows import taxonomy_rows, unseen_labels
from jobtuner.prepare.deduplicate import assign_clusters
from jobtuner.prepare.split import Row, assign
from jobtuner.taxonomy import Taxonomy, load_taxonomy

RESAMPLES = 1000


@dataclass(frozen=True)
class DataSet:
    """Where one set lies below DATA_DIR, and which columns it has."""

    rows: str
    columns: Columns
    taxonomy: str
    code: str = "code"
    title: str = "title"
    language: str | None = None
    """Language of all rows, where no column says it."""


_ESCO = "esco_isco_taxonomy/labels_multilingual_21.csv.gz"
_TITLES = "titles_esco_multilingual"
_OPM = "usajobs_opm_series/opm_series.jsonl"
SETS: Mapping[str, DataSet] = {
    "melo": DataSet(f"{_TITLES}/melo_national_titles.dev.jsonl.gz", Columns("title", "isco08", "lang"), _ESCO),
    "jobbert": DataSet(f"{_TITLES}/jobbert_vacancy_titles.dev.jsonl.gz", Columns("title", "esco_code", "lang"), _ESCO),
    "onet": DataSet(
        "onet_soc/onet_titles.dev.jsonl.gz",
        Columns("title", "soc2018"),
        "onet_soc/onet_occupations.jsonl.gz",
        language="en",
    ),
    "rome": DataSet(
        "rome_fr/rome_titles_fr.dev.jsonl.gz",
        Columns("title", "rome_parent", "lang"),
        "rome_fr/rome_codes_fr.jsonl",
        code="parent",
        title="label",
    ),
    "usajobs": DataSet(
        "usajobs_opm_series/usajobs_titles.dev.jsonl.gz", Columns("title", "series"), _OPM, "series", "name", "en"
    ),
    "duties": DataSet(
        "usajobs_opm_series/usajobs_questionnaires.dev.jsonl.gz",
        Columns("text", "series"),
        _OPM,
        "series",
        "name",
        "en",
    ),
}


@dataclass(frozen=True)
class Split:
    """Rows to fit on and rows to ask."""

    train: list[LabelledRow]
    test: list[LabelledRow]


def split(data: Path, spec: DataSet, config: Config) -> Split:
    """Training and validation rows, and test rows; no cluster of near-duplicates is on both sides."""
    read = [row for row in read_labelled(data / spec.rows, spec.columns) if row.text and row.labels]
    rows = sorted(merge_equal(read), key=lambda row: (row.text, row.language))
    clusters = assign_clusters([row.text for row in rows], [None] * len(rows), config.deduplicate, config.seed)
    sides = assign(
        [Row(min(row.labels), row.language, cluster) for row, cluster in zip(rows, clusters, strict=True)],
        config.split,
        config.seed,
    )
    pairs = list(zip(rows, sides, strict=True))
    return Split([row for row, side in pairs if side != "test"], [row for row, side in pairs if side == "test"])


def fitted(parts: Split, taxonomy: Taxonomy, spec: DataSet, config: Config) -> BaselineClassifier:
    """The baseline of the recipe."""
    labels = [row.labels for row in parts.train]
    seen: frozenset[str] = frozenset().union(*labels)
    unseen = unseen_labels([taxonomy], seen)
    return BaselineClassifier(config.baseline, config.seed).fit(
        [row.text for row in parts.train],
        labels,
        languages=[spec.language or row.language for row in parts.train],
        titles=taxonomy_rows([taxonomy], seen | unseen),
        unseen=unseen,
    )


def answers(classifier: BaselineClassifier, texts: list[str]) -> list[str]:
    """The likeliest code of each text."""
    found: list[str] = []
    for start in range(0, len(texts), 2048):
        best = classifier.log_probabilities(texts[start : start + 2048]).argmax(axis=1)
        found += [classifier.labels[int(column)] for column in best]
    return found


def yardstick(parts: Split) -> list[str]:
    """TF-IDF of words and characters, five nearest neighbours by cosine; of several codes a row carries the first."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.neighbors import KNeighborsClassifier
    from sklearn.pipeline import make_pipeline, make_union

    features = make_union(
        TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, dtype=np.float32),
        TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 4), sublinear_tf=True, dtype=np.float32),
    )
    model = make_pipeline(features, KNeighborsClassifier(5, metric="cosine", weights="distance"))
    model.fit([row.text for row in parts.train], [min(row.labels) for row in parts.train])
    return [str(code) for code in model.predict([row.text for row in parts.test])]


def hits(found: list[str], rows: list[LabelledRow]) -> NDArray[np.bool_]:
    """Whether each answer is among the row's right codes."""
    return np.array([answer in row.labels for answer, row in zip(found, rows, strict=True)])


def interval(right: NDArray[np.bool_]) -> str:
    """Mean and 95 % bootstrap interval."""
    draws = np.random.default_rng(0).integers(0, len(right), size=(RESAMPLES, len(right)))
    low, high = np.quantile(right[draws].mean(axis=1), [0.025, 0.975])
    return f"{right.mean():.3f} ({low:.3f} to {high:.3f})"


def measure(name: str, data: Path, config: Config) -> str:
    """One line of the table."""
    spec = SETS[name]
    parts = split(data, spec, config)
    taxonomy = load_taxonomy(data / spec.taxonomy, code_column=spec.code, title_column=spec.title)
    started = time.perf_counter()
    classifier = fitted(parts, taxonomy, spec, config)
    trained = time.perf_counter() - started
    started = time.perf_counter()
    ours = hits(answers(classifier, [row.text for row in parts.test]), parts.test)
    speed = len(parts.test) / (time.perf_counter() - started)
    theirs = hits(yardstick(parts), parts.test)
    return (
        f"| {name} | {len(parts.train):,} / {len(parts.test):,} | {len(classifier.labels)} | {interval(theirs)} | "
        f"{interval(ours)} | {trained:.0f} | {speed:,.0f} |"
    )


def main() -> None:
    """Print one line a set."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--only", choices=sorted(SETS))
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    options = parser.parse_args()
    config = load_config("smoke", dict(setting.split("=", 1) for setting in options.set))
    print("| set | rows: fitted / asked | labels | TF-IDF, 5 nearest | baseline | fit, s | texts/s |")
    print("|---|---|---|---|---|---|---|")
    for name, spec in SETS.items():
        if options.only not in (None, name):
            continue
        if not all((options.data / path).exists() for path in (spec.rows, spec.taxonomy)):
            print(f"{name}: skipped, {spec.rows} or {spec.taxonomy} is absent", flush=True)
            continue
        print(measure(name, options.data, config), flush=True)


if __name__ == "__main__":
    main()
