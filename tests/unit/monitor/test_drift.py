from typing import Any

import numpy as np
import pytest

from jobtuner.drift_reference.calibration import calibrate
from jobtuner.drift_reference.files import Reference
from jobtuner.monitor.drift import Shift, compare, population_stability, separability
from tests.unit.drift_reference.samples import MEASURE, sample


@pytest.fixture(scope="module")
def reference() -> Reference:
    rows = sample(600, 1)
    return Reference(rows, MEASURE, calibrate(rows, MEASURE, 0.025, 5, 400), None, 0.025, {})


def test_a_window_like_the_reference_is_no_drift(reference: Reference) -> None:
    found = compare(reference, sample(400, 2))
    assert found.drifted is False
    assert found.drifted_tests == []
    assert (found.rows, found.distinct, found.compared) == (400, 400, 250)
    assert found.label_stability is not None and found.label_stability < 0.1
    assert found.separability is not None and 0.4 < found.separability < 0.6


@pytest.mark.parametrize(
    ("changes", "farthest"),
    [
        ({"longer": 1.5}, "length"),
        ({"unknown": 0.25}, "unknown_words"),
        ({"danish": 0.8}, "languages"),
        ({"wording": 2.0}, "wording"),
        ({"labels": (0.05, 0.1, 0.3, 0.2, 0.35)}, "labels"),
        ({"sure": 3.0}, "confidence"),
        ({"sure": -2.5}, "abstention"),
    ],
)
def test_each_kind_of_drift_is_found_by_its_test(reference: Reference, changes: dict[str, Any], farthest: str) -> None:
    found = compare(reference, sample(300, 3, **changes))
    assert found.drifted is True
    assert found.findings[0].test == farthest
    assert found.drifted_tests[0].endswith(f"/{farthest}")
    assert [item.score for item in found.findings] == sorted((item.score for item in found.findings), reverse=True)


def test_drift_in_one_language_is_told_as_such(reference: Reference) -> None:
    plain, odd = sample(400, 4, danish=0.0), sample(150, 5, danish=1.0, unknown=0.3)
    window = plain.joined(odd)
    tests = compare(reference, window).drifted_tests
    assert "da/unknown_words" in tests
    assert not [name for name in tests if name.startswith("en/")]


def test_too_few_answers_are_no_verdict(reference: Reference) -> None:
    found = compare(reference, sample(99, 6))
    assert (found.drifted, found.compared, found.needed) == (None, 0, 100)
    assert found.findings == []
    assert found.separability is None
    assert compare(reference, sample(0, 6)).drifted is None


def test_one_ad_sent_a_thousand_times_is_one_ad(reference: Reference) -> None:
    window = sample(300, 2)
    again = window.take(np.zeros(1000, dtype=np.intp))
    found = compare(reference, window.joined(again))
    assert (found.rows, found.distinct, found.drifted) == (1300, 300, False)


def test_the_stability_index() -> None:
    shifts = [Shift("a", 0.5, 0.6), Shift("b", 0.5, 0.4)]
    assert population_stability(shifts) == pytest.approx(0.1 * np.log(1.2) - 0.1 * np.log(0.8))
    assert population_stability([Shift("a", 1.0, 0.5), Shift("b", 0.0, 0.5)]) > 1
    assert population_stability([Shift("a", 1.0, 1.0)]) == 0.0


def test_separability_is_one_for_texts_that_share_nothing() -> None:
    ours, theirs = sample(200, 1, danish=0.0), sample(150, 2, danish=0.0, wording=20.0)
    assert separability(ours.sketch, theirs.sketch) > 0.99


def test_the_verdict_as_json(reference: Reference) -> None:
    document = compare(reference, sample(300, 3, longer=1.5)).to_json()
    assert document["drifted"] is True
    assert document["findings"][0]["drifted"] is True
    shares = {item["name"]: item for item in document["languages"]}
    assert shares["da"]["reference"] + shares["en"]["reference"] == pytest.approx(1.0)
