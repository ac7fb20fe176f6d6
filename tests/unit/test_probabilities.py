"""Temperature and normalisation."""

import numpy as np
import pytest

from jobtuner.probabilities import Temperatures, apply_temperature, log_normalise


def test_rows_sum_to_one_however_large_the_scores() -> None:
    scores = np.array([[1000.0, 999.0, -np.inf], [-5000.0, -5000.0, -5000.0]])
    np.testing.assert_allclose(np.exp(log_normalise(scores)).sum(axis=1), 1.0)
    np.testing.assert_allclose(log_normalise(scores)[1], np.log(1 / 3))


@pytest.mark.parametrize("temperature", [0.3, 1.0, 4.0])
def test_temperature_is_a_power_of_the_probabilities(temperature: float) -> None:
    probabilities = np.array([[0.7, 0.2, 0.1], [0.3, 0.3, 0.4]])
    powers = probabilities ** (1.0 / temperature)
    expected = powers / powers.sum(axis=1, keepdims=True)
    tempered = apply_temperature(np.log(probabilities).astype(np.float32), temperature)
    assert tempered.dtype == np.float32
    np.testing.assert_allclose(np.exp(tempered), expected, atol=1e-6)


def test_from_the_pooled_temperature_to_each_languages_own() -> None:
    raw = np.log(np.array([[0.7, 0.2, 0.1], [0.3, 0.3, 0.4], [0.5, 0.5, 0.0]]) + 1e-12).astype(np.float32)
    temperatures = Temperatures(2.0, {"de": 0.5})
    pooled = np.exp(apply_temperature(raw, temperatures.pooled).astype(np.float64))
    found = temperatures.corrected(pooled, ["de", None, "de"])
    expected = np.exp(apply_temperature(raw, temperatures.of(["de", None, "de"])))
    np.testing.assert_allclose(found, expected, atol=1e-6)
    assert temperatures.corrected(pooled, ["en", None, "und"]) is pooled
    certain = np.array([[1.0, 0.0]])
    np.testing.assert_allclose(temperatures.corrected(certain, ["de"]), certain)
