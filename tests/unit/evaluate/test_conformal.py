"""The promise of prediction sets is kept, on average and in its spread, and breaks where it must."""

import numpy as np
import pytest
from numpy.typing import NDArray

from jobtuner.evaluate.conformal import METHODS, PROMISES, PredictionSets, calibrated_sets

CLASSES = 12


def world(rows: int, seed: int, sharpness: float = 2.0) -> tuple[NDArray[np.float32], NDArray[np.intp]]:
    """Log-probabilities of a model that is too sure of itself, and right answers."""
    generator = np.random.default_rng(seed)
    logits = sharpness * generator.standard_normal((rows, CLASSES))
    gold = (logits + generator.gumbel(size=logits.shape)).argmax(axis=1)  # drawn from softmax(logits)
    bold = 1.7 * logits
    return (bold - np.log(np.exp(bold).sum(axis=1, keepdims=True))).astype(np.float32), gold


def measured(seed: int, calibration: int = 99, test: int = 400) -> dict[tuple[str, float], PredictionSets]:
    scores, gold = world(calibration + test, seed)
    found = calibrated_sets(scores[:calibration], gold[:calibration], scores[calibration:], gold[calibration:], seed)
    return {(item.method, item.promised): item for item in found}


@pytest.fixture(scope="module")
def experiments() -> list[dict[tuple[str, float], PredictionSets]]:
    return [measured(seed) for seed in range(200)]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("promised", PROMISES)
def test_coverage_is_within_the_finite_sample_bounds(
    experiments: list[dict[tuple[str, float], PredictionSets]], method: str, promised: float
) -> None:
    coverages = [found[method, promised].coverage for found in experiments]
    # Between 1 - α and 1 - α + 1 / (n + 1), n = 99. One experiment varies by at most sqrt(0.16 / 100 + 0.16 / 400) =
    # 0.045, the mean of 200 by 0.0032: 2.5 of those on either side.
    assert promised - 0.008 <= np.mean(coverages) <= promised + 0.01 + 0.008
    inside = [
        item.expected_low <= item.coverage <= item.expected_high for item in (f[method, promised] for f in experiments)
    ]
    assert np.mean(inside) >= 0.96  # 99 % ± 5 standard errors


def test_sets_hold_what_they_say_and_no_more(experiments: list[dict[tuple[str, float], PredictionSets]]) -> None:
    sizes = {key: np.mean([found[key].mean_size for found in experiments]) for key in experiments[0]}
    for method in METHODS:
        assert 0 < sizes[method, 0.8] < sizes[method, 0.9] < sizes[method, 0.95] < CLASSES
    assert all(sizes["LAC", promised] <= sizes["APS", promised] for promised in PROMISES)  # LAC is the smallest


def test_by_hand() -> None:
    held = np.log(np.array([[0.9, 0.1], [0.8, 0.2], [0.6, 0.4], [0.3, 0.7]])).astype(np.float32)
    test = np.log(np.array([[0.65, 0.35], [0.5, 0.5], [0.2, 0.8]])).astype(np.float32)
    found = calibrated_sets(held, np.zeros(4, dtype=np.intp), test, np.array([0, 1, 0]), seed=0)
    first = found[0]
    # ⌈5 · 0.8⌉ = 4th of the scores 0.1, 0.2, 0.4, 0.7: a code needs a probability of 0.3 or more.
    assert (first.method, first.promised) == ("LAC", 0.8)
    assert first.threshold == pytest.approx(0.7)
    assert first.mean_size == pytest.approx((2 + 2 + 1) / 3)
    assert first.coverage == pytest.approx(2 / 3)
    assert first.single == pytest.approx(1 / 3)
    # ⌈5 · 0.9⌉ = 5 of 4: too few examples to leave out anything.
    assert (found[1].threshold, found[1].coverage, found[1].mean_size) == (None, 1.0, 2.0)


def test_a_model_that_is_surer_than_the_promise_gets_empty_sets() -> None:
    """The random share of a code's own probability makes APS hold 80 % even where every answer is right and sure."""
    sure = np.log(np.tile([0.98, 0.01, 0.01], (900, 1))).astype(np.float32)
    gold = np.zeros(900, dtype=np.intp)
    found = calibrated_sets(sure[:400], gold[:400], sure[400:], gold[400:], seed=3)
    coverage = {item.promised: item.coverage for item in found if item.method == "APS"}
    assert coverage == pytest.approx({0.8: 0.8, 0.9: 0.9, 0.95: 0.95}, abs=0.06)


def test_codes_without_a_column_are_never_in_a_set_and_cost_the_others() -> None:
    scores, gold = world(600, seed=1)
    lost = gold.copy()
    lost[::10] = -1  # a tenth of the right codes, in calibration and test alike
    found = calibrated_sets(scores[:300], lost[:300], scores[300:], lost[300:], seed=1)
    assert all(item.coverage <= 0.9 for item in found)
    whole = calibrated_sets(scores[:300], gold[:300], scores[300:], gold[300:], seed=1)
    assert found[0].mean_size > whole[0].mean_size
    assert found[2].threshold is None  # 95 % cannot be had where a tenth has no column: the sets hold everything


def test_other_test_data_leaves_the_expected_range() -> None:
    scores, gold = world(1000, seed=2)
    shifted = np.random.default_rng(3).permutation(gold[500:])
    found = calibrated_sets(scores[:500], gold[:500], scores[500:], shifted, seed=1)
    assert all(item.coverage < item.expected_low for item in found)


def test_the_same_seed_gives_the_same_sets() -> None:
    assert measured(5) == measured(5)
