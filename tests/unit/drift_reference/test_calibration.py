from dataclasses import replace

import numpy as np
import pytest

from jobtuner.drift_reference.calibration import ALL, Calibration, calibrate, fitting
from jobtuner.drift_reference.files import Reference
from jobtuner.drift_reference.sample import Sample
from jobtuner.errors import DataError
from jobtuner.monitor.drift import findings
from tests.unit.drift_reference.samples import MEASURE, sample


def reference_of(rows: Sample, alpha: float = 0.025, most: int = 400) -> Reference:
    return Reference(rows, MEASURE, calibrate(rows, MEASURE, alpha, 5, most), None, alpha, {})


def test_windows_without_drift_keep_silent() -> None:
    """100 windows that are no part of the reference. At a true rate of 2.5 %, more than 7 come once in 250 times."""
    reference = reference_of(sample(500, 1))
    alarms = 0
    for seed in range(100):
        _, found = findings(reference, sample(250, 1000 + seed))
        assert len({item.scope for item in found}) == 3  # both languages are judged by themselves, too
        alarms += found[0].drifted
    assert alarms <= 7


def test_alpha_is_the_share_of_the_references_own_divisions_that_alarm() -> None:
    strict, loose = (calibrate(sample(300, 1), MEASURE, alpha, 5, 300)[0].critical for alpha in (0.01, 0.2))
    assert strict > loose > 0


def test_sizes_are_those_that_half_of_the_reference_fills() -> None:
    assert [item.rows for item in calibrate(sample(520, 1), MEASURE, 0.05, 5, 100)] == [100, 250]
    with pytest.raises(DataError, match="199 different ads; 200 are needed"):
        calibrate(sample(199, 1), MEASURE, 0.05, 5, 100)


def test_a_window_takes_the_largest_size_that_it_fills() -> None:
    sizes = [Calibration(rows, 3.0, {}) for rows in (100, 250)]
    assert [getattr(fitting(sizes, rows), "rows", None) for rows in (99, 100, 249, 5000)] == [None, 100, 100, 250]


def test_a_reference_without_variety_tolerates_a_single_stranger() -> None:
    """One language and no abstention: without a floor, one ad in another language would be infinitely far away."""
    known = sample(600, 1, danish=0.0)
    sure = replace(known, probability=0.5 + known.probability / 2)
    reference = reference_of(sure)
    assert set(reference.calibrations[0].spreads) == {ALL}
    window = sample(250, 2, danish=0.0)
    window = replace(window, probability=0.5 + window.probability / 2)
    for strangers, alarm in ((1, False), (25, True)):
        mixed = replace(window, language=np.where(np.arange(250) < strangers, "fr", "en"))
        _, found = findings(reference, mixed)
        assert found[0].drifted is alarm, strangers


def test_a_calibration_comes_back_from_json() -> None:
    (found, *_) = calibrate(sample(300, 1), MEASURE, 0.05, 5, 150)
    assert Calibration.from_json(found.to_json()) == found
