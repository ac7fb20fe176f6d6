"""Temperature scaling recovers a known temperature; the bins add up."""

import numpy as np
import pytest
from numpy.typing import NDArray

from jobtuner.errors import DataError
from jobtuner.evaluate.calibration import (
    BINS,
    calibration_error,
    expected_calibration_error,
    fit_temperature,
    fit_temperatures,
    reliability,
)
from jobtuner.probabilities import apply_temperature


def honest_world(rows: int, seed: int) -> tuple[NDArray[np.float64], NDArray[np.intp]]:
    """Log-probabilities, and right answers drawn from exactly these probabilities."""
    generator = np.random.default_rng(seed)
    logits = 2.0 * generator.standard_normal((rows, 8))
    honest = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    draws = generator.random((rows, 1))
    gold = (np.exp(honest).cumsum(axis=1) < draws).sum(axis=1).clip(max=7)
    return honest, gold.astype(np.intp)


@pytest.mark.parametrize("temperature", [0.4, 1.0, 2.5])
def test_recovers_a_known_temperature(temperature: float) -> None:
    honest, gold = honest_world(6000, seed=1)
    distorted = apply_temperature(honest.astype(np.float32), 1.0 / temperature)
    # The slope is estimated from 6,000 rows: its standard error is near 2 %.
    assert fit_temperature(distorted, gold) == pytest.approx(temperature, rel=0.06)


def test_temperature_repairs_overconfidence() -> None:
    honest, gold = honest_world(4000, seed=2)
    overconfident = apply_temperature(honest.astype(np.float32), 0.3)

    def ece(scores: NDArray[np.float32]) -> float:
        confidence = np.exp(scores.max(axis=1).astype(np.float64))
        return expected_calibration_error(reliability(confidence, scores.argmax(axis=1) == gold))

    repaired = apply_temperature(overconfident, fit_temperature(overconfident, gold))
    assert ece(overconfident) > 0.15
    assert ece(repaired) < 0.03


def test_the_error_of_a_sample_is_that_of_its_rows() -> None:
    generator = np.random.default_rng(4)
    confidence = np.concatenate([generator.random(300), [0.0, 1.0]])
    right, counts = generator.random(302) < confidence, generator.integers(0, 4, size=(5, 302))
    drawn = np.concatenate([np.ones((1, 302), dtype=np.intp), counts])
    wanted = [
        expected_calibration_error(reliability(np.repeat(confidence, times), np.repeat(right, times)))
        for times in drawn
    ]
    np.testing.assert_allclose(calibration_error(confidence, right)(drawn.astype(np.float64)), wanted, atol=1e-12)


def test_stays_within_its_bounds() -> None:
    always_right = np.log(np.array([[0.6, 0.4]] * 20)).astype(np.float32)
    assert fit_temperature(always_right, np.zeros(20, dtype=np.intp)) == pytest.approx(0.05, rel=0.01)
    assert fit_temperature(always_right, np.ones(20, dtype=np.intp)) == pytest.approx(20.0, rel=0.01)


def test_rows_without_a_column_do_not_count() -> None:
    honest, gold = honest_world(1000, seed=3)
    scores = honest.astype(np.float32)
    alone = fit_temperature(scores, gold)
    both = fit_temperature(np.concatenate([scores, scores]), np.concatenate([gold, np.full(1000, -1)]))
    assert both == pytest.approx(alone)
    with pytest.raises(DataError, match="None of the 1000"):
        fit_temperature(scores, np.full(1000, -1))


def test_zero_probability_of_the_right_code_does_not_break_the_fit() -> None:
    honest, gold = honest_world(500, seed=4)
    scores = honest.astype(np.float32)
    scores[0] = -np.inf
    scores[0, (gold[0] + 1) % 8] = 0.0
    assert 0.9 < fit_temperature(scores, gold) < 1.5  # near 1 without that row; an infinite loss would end at a bound


def test_applying_keeps_order_and_normalises() -> None:
    honest, _ = honest_world(50, seed=5)
    scores = apply_temperature(honest.astype(np.float32), 3.0)
    assert scores.dtype == np.float32
    np.testing.assert_allclose(np.exp(scores).sum(axis=1), 1.0, rtol=1e-5)
    np.testing.assert_array_equal(scores.argmax(axis=1), honest.argmax(axis=1))


def test_bins_by_hand() -> None:
    confidence = np.array([0.95, 0.99, 0.5, 1 / 15, 0.0, 1.0])
    right = np.array([True, False, True, False, False, True])
    bins = reliability(confidence, right)
    assert [item["n"] for item in bins] == [2, 1, 3]  # (0, 1/15] holds its upper edge and 0
    assert bins[2]["accuracy"] == pytest.approx(2 / 3)
    assert bins[2]["confidence"] == pytest.approx((0.95 + 0.99 + 1.0) / 3)
    assert (bins[2]["low"], bins[2]["high"]) == pytest.approx((14 / 15, 1.0))
    expected = (2 * abs(0 - 1 / 30) + 1 * 0.5 + 3 * abs(2 / 3 - 0.98)) / 6
    assert expected_calibration_error(bins) == pytest.approx(expected)
    assert sum(item["n"] for item in reliability(np.linspace(0, 1, 500), np.zeros(500, dtype=bool))) == 500
    assert len(reliability(np.linspace(0, 1, 500), np.zeros(500, dtype=bool))) == BINS


def test_a_language_has_its_own_temperature_from_enough_rows_on() -> None:
    honest, gold = honest_world(3000, seed=6)
    languages = ["de"] * 1500 + ["en"] * 1400 + ["da"] * 99 + ["und"]
    distortion = np.where(np.array(languages) == "de", 0.5, 2.0)
    scores = apply_temperature(honest.astype(np.float32), distortion)
    found = fit_temperatures(scores, gold, languages, least=100)
    assert set(found.languages) == {"de", "en"}
    # 1,400 rows: twice the standard error of 6,000, which is near 2 %.
    assert found.languages["de"] == pytest.approx(2.0, rel=0.12)
    assert found.languages["en"] == pytest.approx(0.5, rel=0.12)
    assert found.languages["en"] < found.pooled < found.languages["de"]
    assert found.of(["de", "da", None]).tolist() == [found.languages["de"], found.pooled, found.pooled]
    gold[:1450] = -1  # rows that no temperature helps do not count
    assert set(fit_temperatures(scores, gold, languages, least=100).languages) == {"en"}
