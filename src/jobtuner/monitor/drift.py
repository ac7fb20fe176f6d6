"""Whether a window of answers still looks like the reference, test by test and language by language.

Pure functions of a reference and a window. The verdict is calibrated (`drift_reference.calibration`). Two numbers more,
the population stability index and the domain classifier's AUC, say how large a drift is in known units.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jobtuner.drift_reference.calibration import ALL, Spread, fitting
from jobtuner.drift_reference.distances import Pool, group_of
from jobtuner.drift_reference.files import Reference
from jobtuner.drift_reference.sample import Sample

__all__ = ["Drift", "Finding", "Shift", "compare", "findings", "population_stability", "separability"]

_SHIFTS = 12  # label groups that are named
_FLOOR = 1e-4  # share that an empty group counts as in the stability index, as is customary
_FOLDS = 5


@dataclass(frozen=True)
class Finding:
    """One test in one scope."""

    scope: str
    """"all", or a language."""
    test: str
    """Key of `drift_reference.distances.TESTS`."""
    distance: float
    """Kolmogorov-Smirnov statistic, Jensen-Shannon distance, maximum mean discrepancy, or a difference of shares."""
    threshold: float
    """What the distance may be."""
    score: float
    """Distance by threshold: above 1 is drift."""
    rows: int
    """Rows of the window that were compared."""

    @property
    def drifted(self) -> bool:
        """Whether the distance is more than chance."""
        return self.score > 1.0


@dataclass(frozen=True)
class Shift:
    """Shares of one group of labels, or of one language."""

    name: str
    reference: float
    window: float


@dataclass(frozen=True)
class Drift:
    """What a window was found to be."""

    rows: int
    """Answers in the window."""
    distinct: int
    """Answers with different texts."""
    compared: int
    """Rows that the tests looked at; 0: too few for any."""
    needed: int
    """Different texts that the smallest calibrated window has."""
    findings: list[Finding]
    """All tests, the farthest first."""
    label_stability: float | None
    """Population stability index of the labels; below 0.1 is usually called stable, above 0.25 a large shift."""
    separability: float | None
    """AUC of a classifier that tells the window's texts from the reference's, cross-validated; 0.5: it cannot."""
    labels: list[Shift]
    """The label groups whose share changed most."""
    languages: list[Shift]

    @property
    def drifted(self) -> bool | None:
        """Whether any test found drift; None where there were too few rows."""
        return any(item.drifted for item in self.findings) if self.compared else None

    @property
    def drifted_tests(self) -> list[str]:
        """ "scope/test" of the findings above 1, the farthest first."""
        return [f"{item.scope}/{item.test}" for item in self.findings if item.drifted]

    def to_json(self) -> dict[str, Any]:
        """JSON values, the verdict among them."""
        findings = [{**asdict(item), "drifted": item.drifted} for item in self.findings]
        return {"drifted": self.drifted, **asdict(self), "findings": findings}


def compare(reference: Reference, window: Sample, seed: int = 0) -> Drift:
    """Compare a window with its reference.

    Args:
        reference: of the model that answered.
        window: the answers, repeats among them.
        seed: of the choice among more rows than the largest calibrated window has.
    """
    distinct = window.without_repeats()
    looked_at, found = findings(reference, distinct, seed)
    labels, languages = _label_shifts(reference, window), _shifts(reference.rows.language, window.language)
    enough = len(looked_at) > 0
    return Drift(
        rows=len(window),
        distinct=len(distinct),
        compared=len(looked_at),
        needed=min(item.rows for item in reference.calibrations),
        findings=found,
        label_stability=population_stability(labels) if enough else None,
        separability=separability(reference.rows.sketch, looked_at.sketch, seed) if enough else None,
        labels=labels[:_SHIFTS],
        languages=languages,
    )


def findings(reference: Reference, window: Sample, seed: int = 0) -> tuple[Sample, list[Finding]]:
    """The tests alone.

    Args:
        reference: of the model that answered.
        window: answers to different texts.
        seed: of the choice among more rows than the largest calibrated window has.

    Returns:
        The rows that were compared, none where there are too few; and every test, the farthest first.
    """
    calibration = fitting(reference.calibrations, len(window))
    if calibration is None:
        return window.at_most(0, seed), []
    looked_at, found = window.at_most(calibration.rows, seed), []
    for scope, spreads in calibration.spreads.items():
        ours, theirs = reference.rows, looked_at
        if scope != ALL:
            ours, theirs = ours.take(ours.language == scope), theirs.take(theirs.language == scope)
        if len(theirs) >= reference.measure.smallest:
            found += _in_scope(reference, ours, theirs, scope, spreads, calibration.critical)
    return looked_at, sorted(found, key=lambda item: -item.score)


def _in_scope(
    reference: Reference, ours: Sample, theirs: Sample, scope: str, spreads: Mapping[str, Spread], critical: float
) -> list[Finding]:
    rows = ours.joined(theirs)
    inside = np.arange(len(rows))[None, :] >= len(ours)
    distances = Pool(rows, reference.measure).distances(inside)
    scale = float(np.sqrt(1.0 / len(ours) + 1.0 / len(theirs)))
    found = []
    for test, spread in spreads.items():
        if test in distances:  # unknown words are measured only where the gateway has the vocabulary
            limit = spread.mean + critical * spread.deviation
            value = float(distances[test][0])
            found.append(Finding(scope, test, value * scale, limit * scale, value / limit, len(theirs)))
    return found


def _label_shifts(reference: Reference, window: Sample) -> list[Shift]:
    cells = set(reference.measure.cells)
    return _shifts(*(_grouped(rows.label, cells) for rows in (reference.rows, window)))


def _grouped(labels: NDArray[np.str_], cells: set[str]) -> NDArray[np.str_]:
    return np.array([group_of(label, cells) for label in labels], dtype=str)


def _shifts(reference: NDArray[np.str_], window: NDArray[np.str_]) -> list[Shift]:
    """Shares of every name on either side, the largest change first."""
    names = np.union1d(reference, window)
    shares = [
        Shift(str(name), float(np.mean(reference == name)), float(np.mean(window == name)) if len(window) else 0.0)
        for name in names
    ]
    return sorted(shares, key=lambda item: (-abs(item.window - item.reference), item.name))


def population_stability(shifts: list[Shift]) -> float:
    """Σ (p − q) ln(p / q) over the groups, p and q being the shares of window and reference; at least 0."""
    ours = np.maximum([item.reference for item in shifts], _FLOOR)
    theirs = np.maximum([item.window for item in shifts], _FLOOR)
    return float(((theirs - ours) * np.log(theirs / ours)).sum())


def separability(reference: NDArray[np.float32], window: NDArray[np.float32], seed: int = 0) -> float:
    """AUC with which a logistic regression tells the two sides' sketches apart on rows that it was not fitted to."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import roc_auc_score
    from sklearn.model_selection import StratifiedKFold, cross_val_predict

    rows = np.concatenate([reference, window])
    side = np.repeat([0, 1], [len(reference), len(window)])
    folds = StratifiedKFold(_FOLDS, shuffle=True, random_state=seed)
    classifier = LogisticRegression(max_iter=500, class_weight="balanced")
    scores = cross_val_predict(classifier, rows, side, cv=folds, method="decision_function")
    return float(roc_auc_score(side, scores))
