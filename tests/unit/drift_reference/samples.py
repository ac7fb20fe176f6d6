"""Made-up answers whose distributions are known."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from jobtuner.drift_reference.distances import Measure
from jobtuner.drift_reference.sample import Sample
from jobtuner.prediction_log.sketch import DIMENSIONS

LABELS = ["2221", "2222", "2512", "5120", "8331"]
MEASURE = Measure(kernel_width=2.0, cells=tuple(LABELS), abstain_below=0.3)


def sample(rows: int, seed: int, **changes: Any) -> Sample:
    """Answers in two languages, whose wording, lengths and labels differ.

    Args:
        rows: how many.
        seed: of the numbers.
        changes: `danish` (share, 0.4), `labels` (shares), `sure` (shifts the probabilities), `longer` (factor),
            `wording` (shifts the sketches), `unknown` (mean share of unknown words).
    """
    generator = np.random.default_rng(seed)
    danish = generator.random(rows) < changes.get("danish", 0.4)
    probability = generator.beta(4.0 + changes.get("sure", 0.0), 2.0, rows)
    return Sample(
        language=np.where(danish, "da", "en"),
        label=generator.choice(LABELS, rows, p=changes.get("labels", (0.3, 0.1, 0.3, 0.2, 0.1))),
        probability=probability,
        characters=np.round(np.exp(generator.normal(6.0 + 0.3 * danish, 0.5, rows)) * changes.get("longer", 1.0)),
        unknown_words=generator.beta(1.0, 1.0 / changes.get("unknown", 0.1) - 1.0, rows).round(2),
        sketch=_sketches(generator, danish, changes.get("wording", 0.0)),
    )


def _sketches(generator: np.random.Generator, danish: NDArray[np.bool_], shift: float) -> NDArray[np.float32]:
    rows = generator.normal(0.0, 1.0, (len(danish), DIMENSIONS))
    rows[:, 0] += 3.0 * danish
    rows[:, 1] += shift
    unit: NDArray[np.float64] = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return unit.astype(np.float32)
