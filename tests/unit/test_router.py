"""The cascade's router: tables with known answers, and what must hold whatever the numbers are."""

import json
import math
from typing import Any

import numpy as np
import pytest

from jobtuner.errors import DataError
from jobtuner.router import (
    BASELINE_ONLY,
    MODEL_ONLY,
    Point,
    Prices,
    choose_threshold,
    cost_per_thousand,
    curve,
    point_at,
    price_per_call,
    route,
    wilson_low,
)

SURE = [0.9, 0.8, 0.8, 0.3]
CHEAP = [True, True, False, False]
DEAR = [True, False, True, True]


@pytest.mark.parametrize(
    ("confidence", "threshold", "expected"),
    [
        (0.9, 0.8, "baseline"),
        (0.8, 0.8, "baseline"),
        (math.nextafter(0.8, 0.0), 0.8, "model"),
        (0.0, BASELINE_ONLY, "baseline"),
        (1.0, 1.0, "baseline"),
        (1.0, MODEL_ONLY, "model"),
        (math.nan, BASELINE_ONLY, "model"),
    ],
)
def test_who_answers(confidence: float, threshold: float, expected: str) -> None:
    assert route(confidence, threshold) == expected


def test_the_curve_of_four_ads_by_hand() -> None:
    assert curve(SURE, CHEAP, DEAR) == [
        Point(MODEL_ONLY, 0.0, None, 0.75),
        Point(0.9, 0.25, 1.0, 0.75),
        Point(0.8, 0.75, 2 / 3, 0.75),  # the two of equal confidence enter together
        Point(BASELINE_ONLY, 1.0, 0.5, 0.5),
    ]


def _random(seed: int) -> tuple[Any, Any, Any]:
    generator = np.random.default_rng(seed)
    count = int(generator.integers(1, 60))
    sure = np.round(generator.random(count), int(generator.integers(1, 4)))  # few decimals: many ties
    return sure, generator.random(count) < sure, generator.random(count) < 0.8


@pytest.mark.parametrize("seed", range(30))
def test_every_point_says_what_routing_does(seed: int) -> None:
    sure, cheap, dear = _random(seed)
    points = curve(sure, cheap, dear)
    assert [points[0].threshold, points[-1].threshold] == [MODEL_ONLY, BASELINE_ONLY]
    assert (points[0].accuracy, points[-1].accuracy) == (dear.mean(), cheap.mean())
    for point in points:
        first = np.array([route(value, point.threshold) == "baseline" for value in sure])
        assert point.coverage == first.mean()
        assert point.accuracy == pytest.approx(np.where(first, cheap, dear).mean())
        assert point.precision == (pytest.approx(cheap[first].mean()) if first.any() else None)


@pytest.mark.parametrize("seed", range(30))
def test_a_lower_threshold_never_saves_fewer_calls(seed: int) -> None:
    points = curve(*_random(seed))
    thresholds, coverages = [item.threshold for item in points], [item.coverage for item in points]
    assert thresholds == sorted(thresholds, reverse=True)
    assert coverages == sorted(set(coverages))
    between = [point_at(points, threshold).coverage for threshold in np.linspace(0.0, 1.1, 45)]
    assert between == sorted(between, reverse=True)


@pytest.mark.parametrize("seed", range(30))
@pytest.mark.parametrize("target", [0.0, 0.5, 0.8, 1.0])
def test_the_choice_holds_its_target_and_no_choice_saves_more(seed: int, target: float) -> None:
    rows = _random(seed)
    for z in (0.0, 1.645):
        precise = choose_threshold(*rows, target_precision=target, z=z)
        assert precise.held
        count = precise.point.coverage * len(rows[0])
        assert precise.point.precision is None or wilson_low(precise.point.precision, count, z) >= target
        for point in curve(*rows):
            if point.coverage > precise.point.coverage:
                assert point.precision is not None
                assert wilson_low(point.precision, point.coverage * len(rows[0]), z) < target
        accurate = choose_threshold(*rows, target_accuracy=target, z=z)
        assert accurate.held is any(wilson_low(item.accuracy, len(rows[0]), z) >= target for item in curve(*rows))
        if not accurate.held:
            assert accurate.point.accuracy == max(item.accuracy for item in curve(*rows))


@pytest.mark.parametrize(
    ("targets", "threshold", "held"),
    [
        ({"target_precision": 1.0}, 0.9, True),
        ({"target_precision": 0.6}, 0.8, True),
        ({"target_precision": 0.5}, BASELINE_ONLY, True),
        ({"target_accuracy": 0.75}, 0.8, True),
        ({"target_accuracy": 0.5}, BASELINE_ONLY, True),
        ({"target_accuracy": 0.9}, 0.8, False),  # of the equally accurate ones the one that saves most
    ],
)
def test_choices_by_hand(targets: dict[str, float], threshold: float, held: bool) -> None:
    choice = choose_threshold(SURE, CHEAP, DEAR, z=0.0, **targets)
    assert (choice.point.threshold, choice.held) == (threshold, held)


def test_few_right_answers_are_not_taken_for_a_precision() -> None:
    assert choose_threshold([0.9], [True], [True], target_precision=0.9).point.threshold == MODEL_ONLY
    many = [0.9] * 200
    assert choose_threshold(many, [True] * 200, [True] * 200, target_precision=0.9).point.coverage == 1.0


@pytest.mark.parametrize(("hits", "count"), [(10, 10), (90, 100), (0, 7), (1, 2)])
def test_wilson_is_the_interval_that_scipy_computes(hits: int, count: int) -> None:
    from scipy.stats import binomtest

    expected = binomtest(hits, count).proportion_ci(0.9, "wilson").low
    assert wilson_low(hits / count, count, 1.6448536269514722) == pytest.approx(expected, abs=1e-12)
    assert wilson_low(hits / count, count, 0.0) == hits / count


def test_the_price_of_a_thousand_ads() -> None:
    prices = Prices(baseline_call=0.001, model_call=price_per_call(hour=3.6, ads_per_second=0.1))
    assert prices.model_call == pytest.approx(0.01)
    costs = [cost_per_thousand(point, prices) for point in curve(SURE, CHEAP, DEAR)]
    assert costs == pytest.approx([10.0, 1.0 + 7.5, 1.0 + 2.5, 1.0])


def test_points_survive_json() -> None:
    points = curve(SURE, CHEAP, DEAR)
    kept = [Point(**row) for row in json.loads(json.dumps([vars(point) for point in points], allow_nan=False))]
    assert kept == points


@pytest.mark.parametrize("value", [math.nan, -0.1, 1.1, math.inf])
def test_what_is_no_probability_is_refused(value: float) -> None:
    with pytest.raises(DataError, match="Confidence number 1 is"):
        curve([0.5, value], [True, True], [True, True])


@pytest.mark.parametrize(("sure", "cheap"), [([], []), ([0.5], [True, False])])
def test_lengths_must_fit(sure: list[float], cheap: list[bool]) -> None:
    with pytest.raises(DataError, match="one at least"):
        curve(sure, cheap, cheap)


@pytest.mark.parametrize(
    "targets",
    [{}, {"target_precision": 0.9, "target_accuracy": 0.9}, {"target_precision": 1.1}, {"target_accuracy": math.nan}],
)
def test_one_target_is_asked_for(targets: dict[str, float]) -> None:
    with pytest.raises(DataError, match="one of the two"):
        choose_threshold(SURE, CHEAP, DEAR, **targets)


@pytest.mark.parametrize(("hour", "speed"), [(-1.0, 1.0), (1.0, 0.0), (math.nan, 1.0)])
def test_prices_need_a_throughput(hour: float, speed: float) -> None:
    with pytest.raises(DataError, match="throughput above 0"):
        price_per_call(hour, speed)
