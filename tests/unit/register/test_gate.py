"""The promotion gate as a table."""

import math
from dataclasses import replace
from typing import Any

import pytest

from jobtuner.config import GateConfig
from jobtuner.register.gate import (
    MIN_SLICE_EXAMPLES,
    Challenger,
    Comparison,
    Decision,
    Rival,
    Unmeasured,
    decide,
)
from jobtuner.statistics import Interval
from tests.unit.contract_samples import metrics

GATE = GateConfig()
SURE, UNSURE, SAME, WORSE = (
    Interval(0.10, 0.05, 0.15),
    Interval(0.03, -0.01, 0.07),
    Interval(0.0, 0.0, 0.0),
    Interval(-0.1, -0.15, -0.05),
)


def side(accuracy: float, macro_f1: float, ece: float = 0.02, **languages: tuple[int, float]) -> dict[str, Any]:
    levels = {"1": {"n": 80, "accuracy": accuracy}, "2": {"n": 80, "accuracy": accuracy}}
    return {**metrics(accuracy, macro_f1, **languages), "ece": ece, "per_level": levels}


BASELINE = side(0.80, 0.70, da=(30, 0.80), en=(50, 0.80))
BETTER = side(0.90, 0.80, da=(30, 0.85), en=(50, 0.95))
BEST = side(0.95, 0.90, da=(30, 0.95), en=(50, 0.95))
HASHES = {"training": "p1", "evaluation": "p1", "export": "p1"}


def challenger(values: dict[str, Any], **changes: Any) -> Challenger:
    return replace(Challenger(values, 1000, HASHES, 1.0), **changes)


def failed(decision: Decision) -> list[str]:
    return [item.name for item in decision.comparisons if not item.passed]


def found(decision: Decision, name: str) -> Comparison:
    (one,) = [item for item in decision.comparisons if item.name == name]
    return one


@pytest.mark.parametrize(
    ("ours", "baseline", "champion", "expected"),
    [
        pytest.param(BETTER, Rival(BASELINE, SURE), None, [], id="better than the baseline, no champion"),
        pytest.param(BEST, Rival(BASELINE, SURE), Rival(BETTER, SURE), [], id="better than both"),
        pytest.param(
            BETTER, Rival(BASELINE, UNSURE), None, ["macro_f1 against the baseline"], id="better, perhaps by chance"
        ),
        pytest.param(
            BEST,
            Rival(BASELINE, SURE),
            Rival(BETTER, UNSURE),
            ["macro_f1 against the champion"],
            id="better than the champion, perhaps by chance",
        ),
        pytest.param(
            BETTER,
            Rival(BASELINE, SURE),
            Rival(BETTER, SAME),
            ["macro_f1 against the champion"],
            id="the champion itself",
        ),
        pytest.param(
            BASELINE, Rival(BASELINE, SAME), None, ["macro_f1 against the baseline"], id="the baseline itself"
        ),
        pytest.param(
            BEST, Rival(BASELINE, SURE), Rival(BETTER, WORSE), ["macro_f1 against the champion"], id="worse than it"
        ),
        pytest.param(
            BEST, Rival(BASELINE, None), None, ["macro_f1 against the baseline"], id="no interval of the gain"
        ),
        pytest.param(
            BEST,
            Rival(BASELINE, Interval(0.1, math.nan, 0.2)),
            None,
            ["macro_f1 against the baseline"],
            id="an interval without a lower end",
        ),
        pytest.param(
            BEST,
            Rival(BASELINE, SURE),
            Unmeasured("3", "its weights are gone."),
            ["macro_f1 against the champion"],
            id="champion that cannot be measured",
        ),
        pytest.param(
            side(0.9, 0.9, da=(30, 0.74), en=(50, 0.95)),
            Rival(BASELINE, SURE),
            None,
            ["accuracy in da against the baseline"],
            id="one language lost too much",
        ),
        pytest.param(
            side(0.9, 0.9, da=(30, 0.75), en=(50, 0.95)),
            Rival(BASELINE, SURE),
            None,
            [],
            id="one language lost as much as is allowed",
        ),
        pytest.param(
            side(0.9, 0.9, da=(30, 0.85), en=(50, 0.89)),
            Rival(BASELINE, SURE),
            Rival(BETTER, SURE),
            ["accuracy in en against the champion"],
            id="a language lost against the champion alone",
        ),
        pytest.param(
            side(0.9, 0.9, da=(30, 0.9)),
            Rival(BASELINE, SURE),
            None,
            ["accuracy in en against the baseline"],
            id="a language of the baseline is missing",
        ),
        pytest.param(
            side(0.9, 0.9, da=(29, 0.9), en=(50, 0.9)),
            Rival(BASELINE, SURE),
            None,
            ["accuracy in da against the baseline"],
            id="other numbers of examples",
        ),
        pytest.param(
            side(0.9, 0.9, da=(30, math.nan), en=(50, 0.9)),
            Rival(BASELINE, SURE),
            None,
            ["accuracy in da against the baseline"],
            id="a language is NaN",
        ),
        pytest.param(
            {**BETTER, "per_level": {"1": {"n": 80, "accuracy": 0.9}, "2": {"n": 80, "accuracy": 0.7}}},
            Rival(BASELINE, SURE),
            None,
            ["accuracy in level 2 against the baseline"],
            id="one level lost too much",
        ),
        pytest.param(
            {key: value for key, value in BETTER.items() if not key.startswith("per_")},
            Rival(BASELINE, SURE),
            None,
            ["languages against the baseline", "levels against the baseline"],
            id="no slices at all",
        ),
        pytest.param(
            {**BETTER, "per_language": {}},
            Rival({**BASELINE, "per_language": {}}, SURE),
            None,
            ["languages against the baseline"],
            id="no language",
        ),
        pytest.param({**BETTER, "ece": 0.11}, Rival(BASELINE, SURE), None, ["ece"], id="probabilities too far off"),
        pytest.param({**BETTER, "ece": 0.1}, Rival(BASELINE, SURE), None, [], id="as far off as is allowed"),
        pytest.param(
            {**BEST, "ece": 0.05},
            Rival(BASELINE, SURE),
            Rival(BETTER, SURE),
            ["ece against the champion"],
            id="further off than the champion",
        ),
    ],
)
def test_decisions(
    ours: dict[str, Any], baseline: Rival, champion: Rival | Unmeasured | None, expected: list[str]
) -> None:
    decision = decide(challenger(ours), baseline, champion, GATE)
    assert failed(decision) == expected
    assert decision.promoted is (not expected)
    assert all(item.sentence.endswith(".") for item in decision.comparisons)


@pytest.mark.parametrize("value", [None, math.nan, math.inf, -math.inf, "0.9", True])
@pytest.mark.parametrize("key", ["macro_f1", "ece"])
@pytest.mark.parametrize("which", ["challenger", "baseline", "champion"])
def test_what_is_no_number_never_passes(which: str, key: str, value: object) -> None:
    if (which, key) == ("baseline", "ece"):
        return  # the baseline's calibration is no condition
    sides: dict[str, dict[str, Any]] = {"challenger": BEST, "baseline": BASELINE, "champion": BETTER}
    sides[which] = {**sides[which], key: value}
    decision = decide(
        challenger(sides["challenger"]), Rival(sides["baseline"], SURE), Rival(sides["champion"], SURE), GATE
    )
    assert not decision.promoted
    assert "no number" in " ".join(item.sentence for item in decision.comparisons if not item.passed)


@pytest.mark.parametrize(
    ("low", "min_gain", "promoted"),
    [(0.0, 0.0, False), (0.0001, 0.0, True), (0.05 + 1e-12, 0.05, False), (0.0501, 0.05, True), (-0.01, -0.02, True)],
)
def test_the_lower_end_must_exceed_what_is_asked(low: float, min_gain: float, promoted: bool) -> None:
    decision = decide(challenger(BETTER), Rival(BASELINE, Interval(0.1, low, 0.2)), None, GateConfig(min_gain=min_gain))
    assert decision.promoted is promoted


@pytest.mark.parametrize(
    ("margin", "parameters", "low", "promoted"),
    [
        (None, (500, 1000), -0.005, False),
        (0.01, (500, 1000), -0.005, True),
        (0.01, (500, 1000), -0.02, False),
        (0.01, (1000, 1000), -0.005, False),  # no smaller: a model is not cheaper than itself
        (0.01, (2000, 1000), -0.005, False),
        (0.01, None, -0.005, False),
        (0.01, (2000, 1000), 0.005, True),
    ],
)
def test_a_smaller_model_may_be_as_good_where_the_recipe_says_so(
    margin: float | None, parameters: tuple[int, int] | None, low: float, promoted: bool
) -> None:
    champion = Rival(BETTER, Interval(low + 0.01, low, low + 0.02), parameters=parameters)
    config = GateConfig(non_inferiority_margin=margin)
    decision = decide(challenger(BEST), Rival(BASELINE, SURE), champion, config)
    assert decision.promoted is promoted
    # It never weakens the condition against the baseline.
    weak = Rival(BASELINE, Interval(low + 0.01, low, low + 0.02), parameters=parameters)
    assert decide(challenger(BEST), weak, None, config).promoted is (low > 0)


def test_the_metric_is_the_one_that_the_recipe_names() -> None:
    ours = side(0.90, math.nan, da=(30, 0.85), en=(50, 0.95))
    assert not decide(challenger(ours), Rival(BASELINE, SURE), None, GateConfig(metric="macro_f1")).promoted
    assert decide(challenger(ours), Rival(BASELINE, SURE), None, GateConfig(metric="accuracy")).promoted


@pytest.mark.parametrize(
    "changes",
    [
        {"max_language_loss": 0.15},
        {"max_level_loss": 0.25},
        {"max_ece": 0.3, "max_ece_increase": 0.3},
        {"min_examples": 50},
        {"min_merge_agreement": 0.5},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_every_limit_is_the_one_that_the_recipe_names(changes: dict[str, Any]) -> None:
    bad: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
        "max_language_loss": (side(0.9, 0.9, da=(30, 0.65), en=(50, 0.95)), {}),
        "max_level_loss": ({**BEST, "per_level": {key: {"n": 80, "accuracy": 0.55} for key in "12"}}, {}),
        "max_ece": ({**BEST, "ece": 0.25}, {}),
        "min_examples": (BEST, {"examples": 60}),
        "min_merge_agreement": (BEST, {"label_agreement": 0.6}),
    }
    ours, more = bad[next(iter(changes))]
    rivals = Rival(BASELINE, SURE), Rival(BASELINE, SURE)
    assert not decide(challenger(ours, **more), *rivals, GATE).promoted
    assert decide(challenger(ours, **more), *rivals, GateConfig(**changes)).promoted


@pytest.mark.parametrize(("count", "judged"), [(MIN_SLICE_EXAMPLES - 1, False), (MIN_SLICE_EXAMPLES, True)])
def test_languages_with_few_examples_are_named_and_not_judged(count: int, judged: bool) -> None:
    ours = side(0.9, 0.9, fr=(count, 0.1), en=(50, 0.95))
    baseline = side(0.8, 0.7, fr=(count, 0.9), en=(50, 0.80))
    decision = decide(challenger(ours), Rival(baseline, SURE), None, GATE)
    assert decision.promoted is not judged
    told = [item.sentence for item in decision.comparisons if item.name.startswith("languages with few")]
    assert told == ([] if judged else ["Not judged against the baseline, fewer than 20 test examples: fr."])


@pytest.mark.parametrize(
    "hashes", [{**HASHES, "export": "p2"}, {**HASHES, "evaluation": None}, {"training": None, "export": None}, {}]
)
def test_one_prompt_everywhere(hashes: dict[str, str | None]) -> None:
    decision = decide(challenger(BEST, prompt_hashes=hashes), Rival(BASELINE, SURE), None, GATE)
    assert failed(decision) == ["prompt"]


@pytest.mark.parametrize("agreement", [0.96, None, math.nan])
def test_merged_weights_must_be_the_model(agreement: float | None) -> None:
    decision = decide(challenger(BEST, label_agreement=agreement), Rival(BASELINE, SURE), None, GATE)
    assert failed(decision) == ["merged weights"]


def test_a_model_that_was_taken_back_does_not_come_back_by_itself() -> None:
    decision = decide(
        challenger(BEST, rolled_back="on Monday, in favour of version 1."), Rival(BASELINE, SURE), None, GATE
    )
    assert failed(decision) == ["taken back"]
    assert "on Monday, in favour of version 1." in found(decision, "taken back").sentence


def test_a_champion_that_cannot_be_measured_stays_and_the_sentence_says_what_to_do() -> None:
    gone = Unmeasured("3", "its weights are gone.")
    sentence = found(
        decide(challenger(BEST), Rival(BASELINE, SURE), gone, GATE), "macro_f1 against the champion"
    ).sentence
    for part in ("version 3", "its weights are gone.", "jobtuner rollback", "gate.ignore_unmeasurable_champion=true"):
        assert part in sentence
    override = GateConfig(ignore_unmeasurable_champion=True)
    decision = decide(challenger(BEST), Rival(BASELINE, SURE), gone, override)
    assert decision.promoted
    assert "gate.ignore_unmeasurable_champion is set" in found(decision, "macro_f1 against the champion").sentence


def test_the_decision_as_json_names_every_number() -> None:
    document = decide(challenger(BETTER), Rival(BASELINE, SURE, p_value=0.001), None, GATE).to_json()
    assert document["promoted"] is True
    assert document["comparisons"][0] == {
        "name": "macro_f1 against the baseline",
        "challenger": 0.8,
        "reference": 0.7,
        "threshold": 0.0,
        "passed": True,
        "sentence": "macro_f1: challenger 0.8000, baseline 0.7000, gain +0.1000 [+0.0500, +0.1500], "
        "McNemar p = 0.001; the lower end must exceed +0.0000.",
        "low": 0.05,
        "high": 0.15,
        "p_value": 0.001,
    }
