"""Claim: a bootstrap interval of macro-F1 over hundreds of classes costs a second, not half a minute.

10,000 rows in 434 classes, as many as the MELO benchmark has of ISCO-08: `jobtuner.statistics.bootstrap` against
scikit-learn's `f1_score` on each drawn sample, both in this process and on the same answers. scikit-learn scores fewer
samples; its time a sample is what counts. The values of the two are compared first.

    .venv/bin/python benchmarks/bootstrap.py
"""

import time

import numpy as np
from sklearn.metrics import f1_score

from jobtuner.statistics import bootstrap, macro_f1

ROWS, CLASSES, SAMPLES, THEIR_SAMPLES = 10_000, 434, 1000, 20


def main() -> None:
    """Print milliseconds a sample of both, and the ratio."""
    generator = np.random.default_rng(17)
    truth = generator.integers(0, CLASSES, size=ROWS)
    guess = np.where(generator.random(ROWS) < 0.6, truth, generator.integers(0, CLASSES, size=ROWS))
    gold, predicted = [str(code) for code in truth], [str(code) for code in guess]

    started = time.perf_counter()
    ours = bootstrap({"macro_f1": macro_f1(gold, predicted)}, ROWS, seed=17, samples=SAMPLES)["macro_f1"]
    mine = (time.perf_counter() - started) / SAMPLES

    started = time.perf_counter()
    for _ in range(THEIR_SAMPLES):
        drawn = generator.integers(0, ROWS, size=ROWS)
        f1_score(truth[drawn], guess[drawn], average="macro", zero_division=0.0)  # integers: its fastest input
    theirs = (time.perf_counter() - started) / THEIR_SAMPLES

    expected = float(f1_score(truth, guess, labels=np.unique(truth), average="macro"))
    assert abs(ours.estimate - expected) < 1e-9, f"{ours.estimate} is not scikit-learn's {expected}"
    print(f"macro-F1 {ours.estimate:.4f}, 95 % interval {ours.low:.4f} to {ours.high:.4f}")
    print(
        f"a sample of {ROWS:,} rows, {CLASSES} classes: ours {1000 * mine:.2f} ms, scikit-learn {1000 * theirs:.2f} ms"
    )
    print(f"ratio: {theirs / mine:.1f}")


if __name__ == "__main__":
    main()
