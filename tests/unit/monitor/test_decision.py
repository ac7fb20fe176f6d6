from dataclasses import replace
from datetime import date, timedelta

import pytest

from jobtuner.config import RetrainConfig
from jobtuner.errors import ContractError
from jobtuner.monitor.decision import Evidence, Memory, decide

DAY = date(2026, 11, 20)
RULES = RetrainConfig()
CALM = Evidence(
    day=DAY,
    drifted=False,
    drifted_tests=[],
    labelled=0,
    accuracy=None,
    reference_accuracy=0.9,
    model_made=DAY - timedelta(days=30),
)
DRIFT = replace(CALM, drifted=True, drifted_tests=["all/wording"])
UNKNOWN = replace(CALM, drifted=None)
WORSE = replace(CALM, labelled=200, accuracy=(0.70, 0.84))
GOOD = replace(CALM, labelled=200, accuracy=(0.86, 0.94))
UNCLEAR = replace(CALM, labelled=200, accuracy=(0.80, 0.90))
OLD = replace(CALM, model_made=DAY - timedelta(days=181))
ONCE = Memory(level=1)
RAISED = Memory(level=2, raised=True)


def days_ago(days: int) -> date:
    return DAY - timedelta(days=days)


@pytest.mark.parametrize(
    ("evidence", "memory", "action"),
    [
        (CALM, Memory(), "none"),
        (DRIFT, Memory(), "watch"),
        (DRIFT, ONCE, "retrain"),
        (CALM, ONCE, "none"),
        (UNKNOWN, ONCE, "watch"),
        (UNKNOWN, RAISED, "retrain"),
        (CALM, RAISED, "retrain"),  # hysteresis: one quiet window does not end it
        (CALM, Memory(level=1, raised=True), "none"),  # two do
        (WORSE, Memory(), "retrain"),
        (UNCLEAR, Memory(), "watch"),
        (GOOD, Memory(), "none"),
        (replace(DRIFT, labelled=200, accuracy=(0.86, 0.94)), ONCE, "watch"),  # drift that does no harm
        (replace(DRIFT, labelled=200, accuracy=(0.80, 0.90)), ONCE, "retrain"),
        (replace(WORSE, labelled=99), Memory(), "none"),  # too few corrections to say
        (replace(WORSE, reference_accuracy=None), Memory(), "none"),
        (OLD, Memory(), "retrain"),
        (replace(OLD, model_made=days_ago(180)), Memory(), "none"),
        (replace(OLD, model_made=None), Memory(), "none"),
        (WORSE, Memory(asked=days_ago(13)), "wait"),
        (WORSE, Memory(asked=days_ago(14)), "retrain"),
    ],
)
def test_what_is_done(evidence: Evidence, memory: Memory, action: str) -> None:
    found = decide(evidence, memory, RULES)
    assert found.action == action, found.reasons
    assert found.retrain is (action == "retrain")
    assert all(found.reasons)


def test_a_training_that_was_started_begins_the_count_anew() -> None:
    found = decide(DRIFT, ONCE, RULES)
    assert found.memory == Memory(asked=DAY)
    again = decide(replace(DRIFT, day=DAY + timedelta(days=7)), found.memory, RULES)
    assert (again.action, again.memory.level) == ("watch", 1)
    third = decide(replace(DRIFT, day=DAY + timedelta(days=8)), again.memory, RULES)
    assert third.action == "wait"
    assert "8 days ago; 14 must pass" in third.reasons[-1]


def test_a_flapping_window_is_watched_and_no_more() -> None:
    memory = Memory()
    for turn in range(8):
        found = decide(DRIFT if turn % 2 == 0 else CALM, memory, RULES)
        assert found.action in {"watch", "none"}
        memory = found.memory


def test_a_human_can_say_no() -> None:
    manual = RetrainConfig(approval="manual")
    asked = decide(DRIFT, ONCE, manual)
    assert (asked.action, asked.retrain) == ("ask", False)
    assert "jobtuner monitor approve" in asked.reasons[-1]
    still = decide(DRIFT, asked.memory, manual)
    assert still.action == "ask"
    started = decide(DRIFT, replace(still.memory, approved=True), manual)
    assert (started.action, started.memory) == ("retrain", Memory(asked=DAY))


def test_an_approval_does_not_outlive_what_it_was_for() -> None:
    manual = RetrainConfig(approval="manual")
    calm = decide(CALM, Memory(approved=True), manual)
    assert (calm.action, calm.memory.approved) == ("none", False)


def test_limits_are_the_configs() -> None:
    assert decide(DRIFT, Memory(), RetrainConfig(drifted_windows=1)).action == "retrain"
    assert decide(WORSE, Memory(), RetrainConfig(max_accuracy_loss=0.15)).action == "watch"
    assert decide(OLD, Memory(), RetrainConfig(max_age_days=None)).action == "none"
    assert decide(WORSE, Memory(asked=DAY), RetrainConfig(cool_down_days=0)).action == "retrain"


def test_memory_comes_back_and_nonsense_does_not() -> None:
    memory = Memory(level=1, raised=True, asked=DAY, approved=True)
    assert Memory.from_json(memory.to_json()) == memory
    assert Memory.from_json(Memory().to_json()) == Memory()
    nonsenses: list[object] = [{}, [], {"asked": "soon"}, {"asked": None, "mood": 1}]
    for nonsense in nonsenses:
        with pytest.raises(ContractError, match="no state of the watch"):
            Memory.from_json(nonsense)
