"""The promotion gate as a table."""

import math
from typing import Any

import pytest

from jobtuner.config import GateConfig
from jobtuner.register.gate import MIN_LANGUAGE_EXAMPLES, Decision, decide
from tests.unit.contract_samples import metrics

GATE = GateConfig()
BASELINE = metrics(0.80, 0.70, da=(30, 0.80), en=(50, 0.80))
BETTER = metrics(0.90, 0.80, da=(30, 0.85), en=(50, 0.95))
BEST = metrics(0.95, 0.90, da=(30, 0.95), en=(50, 0.95))


def failed(decision: Decision) -> list[str]:
    return [item.name for item in decision.comparisons if not item.passed]


@pytest.mark.parametrize(
    ("challenger", "baseline", "champion", "expected"),
    [
        pytest.param(BETTER, BASELINE, None, [], id="better than the baseline, no champion"),
        pytest.param(BEST, BASELINE, BETTER, [], id="better than both"),
        pytest.param(BETTER, BASELINE, BEST, ["macro_f1 against the champion"], id="worse than the champion"),
        pytest.param(BETTER, BASELINE, BETTER, ["macro_f1 against the champion"], id="the champion itself"),
        pytest.param(BASELINE, BASELINE, None, ["macro_f1 against the baseline"], id="the baseline itself"),
        pytest.param(BETTER, BASELINE, {}, ["macro_f1 against the champion"], id="champion measured on other data"),
        pytest.param(
            BETTER, BASELINE, {"accuracy": 0.1}, ["macro_f1 against the champion"], id="champion without macro F1"
        ),
        pytest.param(
            metrics(0.9, 0.9, da=(30, 0.74), en=(50, 0.95)),
            BASELINE,
            None,
            ["accuracy in da"],
            id="one language lost too much",
        ),
        pytest.param(
            metrics(0.9, 0.9, da=(30, 0.75), en=(50, 0.95)),
            BASELINE,
            None,
            [],
            id="one language lost as much as is allowed",
        ),
        pytest.param(
            metrics(0.9, 0.9, da=(30, 0.9)),
            BASELINE,
            None,
            ["accuracy in en"],
            id="a language of the baseline is missing",
        ),
        pytest.param(
            BETTER,
            metrics(0.8, 0.7, da=(30, 0.8)),
            None,
            ["accuracy in en"],
            id="a language is missing in the baseline",
        ),
        pytest.param(
            metrics(0.9, 0.9, da=(29, 0.9), en=(50, 0.9)),
            BASELINE,
            None,
            ["accuracy in da"],
            id="other numbers of examples",
        ),
        pytest.param(
            metrics(0.9, 0.9, da=(30, math.nan), en=(50, 0.9)),
            BASELINE,
            None,
            ["accuracy in da"],
            id="a language is NaN",
        ),
        pytest.param({"macro_f1": 0.9}, BASELINE, None, ["languages"], id="no metrics per language"),
        pytest.param(
            {**BETTER, "per_language": {}}, {**BASELINE, "per_language": {}}, None, ["languages"], id="no language"
        ),
        pytest.param(
            {**BETTER, "per_language": {**BETTER["per_language"], "da": "0.9"}},
            BASELINE,
            None,
            ["accuracy in da"],
            id="a language that is no mapping",
        ),
    ],
)
def test_decisions(
    challenger: dict[str, Any], baseline: dict[str, Any], champion: dict[str, Any] | None, expected: list[str]
) -> None:
    decision = decide(challenger, baseline, champion, GATE)
    assert failed(decision) == expected
    assert decision.promoted is (not expected)
    assert all(item.sentence for item in decision.comparisons)


@pytest.mark.parametrize("value", [None, math.nan, math.inf, -math.inf, "0.9", True])
@pytest.mark.parametrize("side", ["challenger", "baseline", "champion"])
def test_what_is_no_number_never_passes(side: str, value: object) -> None:
    sides: dict[str, dict[str, Any]] = {"challenger": BEST, "baseline": BASELINE, "champion": BETTER}
    sides[side] = {**sides[side], "macro_f1": value}
    decision = decide(sides["challenger"], sides["baseline"], sides["champion"], GATE)
    assert not decision.promoted
    assert "cannot be compared" in " ".join(item.sentence for item in decision.comparisons if not item.passed)


@pytest.mark.parametrize(
    ("gain", "min_gain", "promoted"),
    [
        (0.0, 0.0, False),
        (0.0001, 0.0, True),
        (0.05, 0.05, False),  # 0.75 - 0.70 is 0.05 and a rounding error
        (0.0501, 0.05, True),
        (-0.01, -0.02, True),
        (-0.02, -0.02, False),
    ],
)
def test_the_gain_must_exceed_what_is_asked(gain: float, min_gain: float, promoted: bool) -> None:
    challenger = {**BETTER, "macro_f1": 0.70 + gain}
    assert decide(challenger, BASELINE, None, GateConfig(min_gain=min_gain)).promoted is promoted


def test_the_metric_is_the_one_that_the_recipe_names() -> None:
    challenger = metrics(0.90, 0.60, da=(30, 0.85), en=(50, 0.95))
    assert not decide(challenger, BASELINE, None, GateConfig(metric="macro_f1")).promoted
    assert decide(challenger, BASELINE, None, GateConfig(metric="accuracy")).promoted


def test_the_allowed_loss_is_the_one_that_the_recipe_names() -> None:
    challenger = metrics(0.90, 0.90, da=(30, 0.65), en=(50, 0.95))
    assert not decide(challenger, BASELINE, None, GateConfig(max_language_loss=0.1)).promoted
    assert decide(challenger, BASELINE, None, GateConfig(max_language_loss=0.15)).promoted


@pytest.mark.parametrize(("count", "judged"), [(MIN_LANGUAGE_EXAMPLES - 1, False), (MIN_LANGUAGE_EXAMPLES, True)])
def test_languages_with_few_examples_are_named_and_not_judged(count: int, judged: bool) -> None:
    challenger = metrics(0.9, 0.9, fr=(count, 0.1), en=(50, 0.95))
    baseline = metrics(0.8, 0.7, fr=(count, 0.9), en=(50, 0.80))
    decision = decide(challenger, baseline, None, GATE)
    assert decision.promoted is not judged
    told = [item.sentence for item in decision.comparisons if item.name == "languages with few examples"]
    assert told == ([] if judged else ["Not judged, fewer than 20 test examples: fr."])


def test_a_champion_on_other_data_stays_and_the_sentence_says_what_to_do() -> None:
    (comparison,) = [item for item in decide(BEST, BASELINE, {}, GATE).comparisons if not item.passed]
    assert "not measured on this test data" in comparison.sentence
    assert "remove the alias" in comparison.sentence


def test_the_decision_as_json_names_every_number() -> None:
    document = decide(BETTER, BASELINE, None, GATE).to_json()
    assert document["promoted"] is True
    assert document["comparisons"][0] == {
        "name": "macro_f1 against the baseline",
        "challenger": 0.8,
        "reference": 0.7,
        "threshold": 0.0,
        "passed": True,
        "sentence": "macro_f1: challenger 0.8000, baseline 0.7000, gain +0.1000; more than 0.0000 is needed.",
    }
