"""Claim: the watch fires when it should and keeps silent when it should not, on real titles and texts.

A baseline is fitted on German and French titles (MELO) and its answers to other such titles become the reference. Then
windows are fed: 200 drawn from the reference, 200 of titles that neither training nor reference saw, and windows with
Danish or American titles, in part or alone, with their language told or hidden. Long texts (application questionnaires
of US agencies, with dates) show weeks in their order and shuffled. A window alarms where any test in any language says
drift.

    .venv/bin/python benchmarks/drift_real.py DATA_DIR [--windows 200] [--rows 500]
"""

import argparse
import gzip
import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np

from jobtuner.config import load_config
from jobtuner.drift_reference.files import Reference, make_reference
from jobtuner.drift_reference.sample import Sample
from jobtuner.linear.classifier import BaselineClassifier
from jobtuner.monitor.drift import Finding, findings
from jobtuner.prediction_log.rows import Answer, to_table
from jobtuner.prediction_log.sketch import Vocabulary

SEED = 17
ABSTAIN_BELOW = 0.3
Row = tuple[str, str, str]
"""Text, label, language."""


@dataclass(frozen=True)
class Watched:
    """A fitted model, its reference, and rows that neither of them saw."""

    model: BaselineClassifier
    words: Vocabulary
    reference: Reference
    fresh: Sample


def read(path: Path) -> Iterator[dict[str, Any]]:
    """Rows of a gzipped JSONL file."""
    with gzip.open(path, "rt", encoding="utf-8") as stream:
        yield from map(json.loads, stream)


def answer(model: BaselineClassifier, words: Vocabulary, rows: Sequence[Row]) -> Sample:
    """The model's answers, as the log would hold them."""
    answers = []
    now = datetime.now(UTC)
    for start in range(0, len(rows), 500):
        block = rows[start : start + 500]
        scores = model.log_probabilities([text for text, _, _ in block])
        best = scores.argmax(axis=1)
        for number, ((text, _, language), column, line) in enumerate(
            zip(block, best, scores, strict=True), start=start
        ):
            label, probability = model.labels[column], float(np.exp(line[column]))
            fields = (text, language, label, probability, [(label, probability)], "baseline", "baseline", False, now)
            answers.append(Answer("bench", number, None, *fields))
    return Sample.of(to_table(answers, words, keep_text=False))


def watch(rows: Sequence[Row]) -> Watched:
    """Fit on half of the rows, make the reference of a quarter, keep a quarter."""
    order = np.random.default_rng(SEED).permutation(len(rows))
    parts = [[rows[place] for place in part] for part in np.split(order, [len(rows) // 2, 3 * len(rows) // 4])]
    config = load_config("smoke")
    texts, labels, languages = zip(*parts[0], strict=True)
    model = BaselineClassifier(config.baseline, SEED).fit(texts, labels, languages=languages)
    words = Vocabulary.of(texts)
    reference = reference_of(answer(model, words, parts[1]), words)
    return Watched(model, words, reference, answer(model, words, parts[2]))


def reference_of(rows: Sample, words: Vocabulary) -> Reference:
    """By way of the columns of the log, as in production."""
    import pyarrow as pa

    flat = pa.array(rows.sketch.ravel(), type=pa.float32())
    columns = {
        name: getattr(rows, name) for name in ("language", "label", "probability", "characters", "unknown_words")
    }
    table = pa.table({**columns, "sketch": pa.FixedSizeListArray.from_arrays(flat, rows.sketch.shape[1])})
    return make_reference(table, words, {"source": "benchmark"}, abstain_below=ABSTAIN_BELOW)


Draw = Callable[[np.random.Generator], Sample]


def alarms(reference: Reference, draw: Draw, windows: int) -> tuple[int, dict[str, int]]:
    """Windows that alarm, and how often each test was the farthest one of an alarm."""
    generator, count, first = np.random.default_rng(SEED), 0, dict[str, int]()
    for _ in range(windows):
        _, found = findings(reference, draw(generator).without_repeats(), SEED)
        if found and found[0].drifted:
            count += 1
            first[_name(found[0])] = first.get(_name(found[0]), 0) + 1
    return count, first


def _name(item: Finding) -> str:
    return f"{item.scope}/{item.test}"


def some(rows: Sample, count: int, *, replace: bool = False) -> Draw:
    """So many rows at random."""

    def draw(generator: np.random.Generator) -> Sample:
        return rows.take(generator.choice(len(rows), count, replace=replace))

    return draw


def mixed(ours: Sample, foreign: Sample, count: int, share: float) -> Draw:
    """A window in which a share of the rows is foreign."""
    alien = round(count * share)

    def draw(generator: np.random.Generator) -> Sample:
        part = foreign.take(generator.choice(len(foreign), alien, replace=False))
        return part if alien == count else part.joined(some(ours, count - alien)(generator))

    return draw


def tell(name: str, expected: str, reference: Reference, draw: Draw, windows: int) -> None:
    """One line of the table."""
    started = time.monotonic()
    count, first = alarms(reference, draw, windows)
    seconds = (time.monotonic() - started) / windows
    farthest = ", ".join(f"{test} {n}" for test, n in sorted(first.items(), key=lambda item: -item[1])[:3])
    share = f"{count}/{windows} = {100 * count / windows:.1f} %"
    print(f"| {name} | {expected} | {share} | {farthest or '–'} | {seconds:.2f} |", flush=True)


def titles(data: Path, windows: int, rows: int) -> None:
    """German and French titles, and what is foreign to them."""
    folder = data / "titles_esco_multilingual"
    melo: dict[str, list[Row]] = {}
    for row in read(folder / "melo_national_titles.dev.jsonl.gz"):
        if row["isco08"]:
            melo.setdefault(row["lang"], []).append((row["title"], row["isco08"], row["lang"]))
    known = watch([*melo["de"], *melo["fr"]])
    american = read(data / "onet_soc" / "onet_titles.dev.jsonl.gz")
    foreign: Mapping[str, list[Row]] = {
        "Danish": melo["da"],
        "Danish told as German": [(text, label, "de") for text, label, _ in melo["da"]],
        "American": [(row["title"], "", "en") for row in american],
    }
    few, fresh = max(20, windows // 4), known.fresh
    tell("the reference itself", "silent", known.reference, some(known.reference.rows, rows, replace=True), windows)
    tell("unseen German and French titles", "silent", known.reference, some(fresh, rows), windows)
    tell("the same, 100 rows", "silent", known.reference, some(fresh, 100), windows)
    for name, titles_ in foreign.items():
        theirs = answer(known.model, known.words, titles_)
        for share in (1.0, 0.2, 0.1, 0.05):
            if round(rows * share) <= len(theirs):
                draw = mixed(fresh, theirs, rows, share)
                tell(f"{name}, {100 * share:g} % of the window", "alarm", known.reference, draw, few)
    only_german = fresh.take(fresh.language == "de")
    tell("German alone", "alarm", known.reference, some(only_german, rows), few)
    managers = mixed(fresh, fresh.take(np.char.startswith(fresh.label, "1")), rows, 0.2)
    tell("one in five more is a manager", "alarm", known.reference, managers, few)


def week(day: str) -> str:
    """First day of a day's week."""
    opened = date.fromisoformat(day)
    return (opened - timedelta(days=opened.weekday())).isoformat()


def weeks(data: Path, windows: int) -> None:
    """Long texts with dates: weeks as they came, and as many rows of all weeks shuffled."""
    rows = [
        (row["text"], row["series"], "en", week(row["opened"]))
        for row in read(data / "usajobs_opm_series" / "usajobs_questionnaires.dev.jsonl.gz")
        if row["opened"]
    ]
    known = watch([(text, label, language) for text, label, language, _ in rows])
    order = np.random.default_rng(SEED).permutation(len(rows))[3 * len(rows) // 4 :]
    opened = np.array([rows[place][3] for place in order])
    fresh = known.fresh  # the last quarter of the same order
    for name in np.unique(opened):
        of_week = fresh.take(opened == name)
        if len(of_week) >= 100:
            shuffled = some(fresh, len(of_week))
            label = f"US questionnaires, {len(of_week)} shuffled"
            tell(label, "silent", known.reference, shuffled, windows // 4)
            tell(f"the week from {name} as it came", "?", known.reference, fixed(of_week), 1)


def fixed(rows: Sample) -> Draw:
    """Always these rows."""
    return lambda _: rows


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--windows", type=int, default=200)
    parser.add_argument("--rows", type=int, default=500)
    options = parser.parse_args()
    print("| window | should | alarms | farthest test of the alarms | s a window |\n|---|---|---|---|---|")
    titles(options.data, options.windows, options.rows)
    weeks(options.data, options.windows)


if __name__ == "__main__":
    main()
