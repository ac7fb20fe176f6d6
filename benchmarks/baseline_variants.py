"""Claim: int8 weights make the baseline's file several times smaller at the same accuracy; pruning saves a little more.

One set is split as in `baseline_real.py` and fitted once a variant: standard, int8, the smallest 20 % of the weights
pruned, and both. Each is saved and loaded; size of its files, milliseconds for one title alone, titles a second in
batches of 2,048, accuracy.

    .venv/bin/python benchmarks/baseline_variants.py DATA_DIR [--only rome]
"""

import argparse
import statistics
import tempfile
import time
from pathlib import Path

from baseline_real import SETS, answers, fitted, hits, split

from jobtuner.config import load_config
from jobtuner.linear.classifier import WEIGHTS_FILE, BaselineClassifier
from jobtuner.taxonomy import load_taxonomy

VARIANTS = {
    "standard": {},
    "int8": {"baseline.weights": "int8"},
    "pruned": {"baseline.prune": "0.2"},
    "int8, pruned": {"baseline.weights": "int8", "baseline.prune": "0.2"},
}
SINGLES = 200


def _line(label: str, classifier: BaselineClassifier, folder: Path, texts: list[str], rows: list) -> str:  # type: ignore[type-arg]
    classifier.save(folder)
    loaded = BaselineClassifier.load(folder)
    started = time.perf_counter()
    found = answers(loaded, texts)
    speed = len(texts) / (time.perf_counter() - started)
    single = []
    for text in texts[:SINGLES]:
        started = time.perf_counter()
        loaded.log_probabilities([text])
        single.append((time.perf_counter() - started) * 1000)
    total = sum(path.stat().st_size for path in folder.iterdir()) / 1e6
    weights = (folder / WEIGHTS_FILE).stat().st_size / 1e6
    accuracy = hits(found, rows).mean()
    return (
        f"| {label} | {total:.1f} | {weights:.1f} | {statistics.median(single):.2f} | {speed:,.0f} | {accuracy:.4f} |"
    )


def main() -> None:
    """Print one line a variant."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--only", choices=sorted(SETS), default="rome")
    options = parser.parse_args()
    spec = SETS[options.only]
    parts = split(options.data, spec, load_config("smoke"))
    taxonomy = load_taxonomy(options.data / spec.taxonomy, code_column=spec.code, title_column=spec.title)
    print(f"{options.only}: {len(parts.train):,} rows fitted, {len(parts.test):,} asked")
    print("| variant | files, MB | of these weights, MB | one title, ms (median) | titles/s | accuracy |")
    print("|---|---|---|---|---|---|")
    for label, overrides in VARIANTS.items():
        classifier = fitted(parts, taxonomy, spec, load_config("smoke", overrides))
        with tempfile.TemporaryDirectory() as folder:
            print(_line(label, classifier, Path(folder), [row.text for row in parts.test], parts.test), flush=True)


if __name__ == "__main__":
    main()
