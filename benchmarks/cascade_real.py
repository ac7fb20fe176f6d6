"""Claim: on real titles the cascade saves model calls and answers no worse than the model alone.

Reads what `evaluate` wrote about a model and its baseline: predictions on the same rows. Half of the rows chooses the
threshold (most calls saved while the lower end of the accuracy's interval reaches the model's own accuracy); the other
half says what it saves. Twenty such halves. Then the curve on all rows: what can be had at other thresholds.

The stand-in answers real titles worse than the baseline does, so that a cascade before it saves all calls. --assume
0.7 asks what it would save before a model of that accuracy whose mistakes have nothing to do with the baseline's: a
thought, no measurement.

    .venv/bin/jobtuner run --recipe melo_isco08 --set data.input=MELO.jsonl.gz --set taxonomy.path=isco08_groups.jsonl
    .venv/bin/python benchmarks/cascade_real.py outputs/latest/evaluate
"""

import argparse
import json
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from jobtuner.router import BASELINE_ONLY, MODEL_ONLY, choose_threshold, curve, point_at

HALVES = 20


def _read(path: Path) -> dict[str, tuple[float, bool]]:
    rows = map(json.loads, path.read_text(encoding="utf-8").splitlines())
    return {row["id"]: (row["probability"], row["predicted"] == row["label"]) for row in rows}


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="result of the stage evaluate")
    parser.add_argument("--assume", type=float, nargs="*", default=[], help="accuracies of imagined models")
    options = parser.parse_args()
    cheap, dear = (_read(options.folder / f"{name}predictions.jsonl") for name in ("baseline_", ""))
    ids = sorted(cheap.keys() & dear.keys())
    sure = np.array([cheap[name][0] for name in ids])
    baseline, model = (np.array([of[name][1] for name in ids]) for of in (cheap, dear))
    print(f"{len(ids):,} rows: model {model.mean():.4f}, baseline {baseline.mean():.4f}")
    _held(sure, baseline, model)
    _curve(sure, baseline, model)
    for accuracy in options.assume:
        print(f"\nimagined model of accuracy {accuracy:g}")
        _held(sure, baseline, np.random.default_rng(0).random(len(ids)) < accuracy)


def _held(sure: NDArray[np.float64], baseline: NDArray[np.bool_], model: NDArray[np.bool_]) -> None:
    saved, gained = [], []
    for seed in range(HALVES):
        first = np.random.default_rng(seed).permutation(len(sure)) < len(sure) // 2
        target = float(model[first].mean())
        choice = choose_threshold(sure[first], baseline[first], model[first], target_accuracy=target)
        points = curve(sure[~first], baseline[~first], model[~first])
        point = point_at(points, choice.point.threshold if choice.held else MODEL_ONLY)
        saved.append(point.coverage)
        gained.append(point.accuracy - float(model[~first].mean()))
    low, middle, high = np.quantile(saved, [0.025, 0.5, 0.975])
    print(f"threshold chosen on one half, asked on the other, {HALVES} times:")
    print(f"  model calls saved {middle:.1%} ({low:.1%} to {high:.1%})")
    low, middle, high = np.quantile(gained, [0.025, 0.5, 0.975])
    print(f"  accuracy against the model alone {middle:+.4f} ({low:+.4f} to {high:+.4f})")


def _curve(sure: NDArray[np.float64], baseline: NDArray[np.bool_], model: NDArray[np.bool_]) -> None:
    points = curve(sure, baseline, model)
    best = max(points, key=lambda point: point.accuracy)
    print("calls saved  threshold  accuracy  right of the baseline's answers")
    for share in (0.0, 0.25, 0.5, 0.75, 0.9, 1.0):
        point = min(points, key=lambda point: abs(point.coverage - share))
        threshold = {MODEL_ONLY: "none", BASELINE_ONLY: "all"}.get(point.threshold, f"{point.threshold:.3f}")
        precision = "" if point.precision is None else f"{point.precision:.4f}"
        print(f"{point.coverage:11.1%} {threshold:>10s} {point.accuracy:9.4f}  {precision}")
    print(f"most accurate: {best.accuracy:.4f}, {best.coverage:.1%} of the calls saved")


if __name__ == "__main__":
    main()
