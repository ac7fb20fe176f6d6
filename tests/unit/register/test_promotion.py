"""Moving the alias `champion` forward and back, on both registries, with a kill after any write."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from jobtuner.errors import ConfigError
from jobtuner.register.promotion import promote, roll_back
from jobtuner.register.registry import CHAMPION, RESTORED, TAKEN_BACK, Registry, champion_of, open_registry
from tests.unit.mlflow_template import fresh_tracker
from tests.unit.register.test_registry import NAME, candidate


@pytest.fixture(params=["memory", "mlflow"])
def registry(request: pytest.FixtureRequest, tmp_path: Path) -> Registry:
    uri = f"memory://{tmp_path}" if request.param == "memory" else fresh_tracker(tmp_path)
    found = open_registry(uri, "jobtuner")
    for fingerprint in ("a1", "a2", "a3"):
        found.register(NAME, candidate(tmp_path, fingerprint))
    return found


def champion(registry: Registry) -> str | None:
    found = champion_of(registry.versions(NAME))
    return None if found is None else found.version


def test_forward_and_back(registry: Registry) -> None:
    promote(registry, NAME, "1", None)
    promote(registry, NAME, "2", "1")
    assert promote(registry, NAME, "2", "1")  # a rerun
    assert not promote(registry, NAME, "3", "1")  # it was compared with 1, but 2 is champion now
    assert champion(registry) == "2"
    done = roll_back(registry, NAME)
    assert (done.champion, done.before, champion(registry)) == ("1", "2", "1")
    assert done.sentence == f"Version 1 of {NAME} is champion, in place of version 2."
    one, two, _ = registry.versions(NAME)
    assert "in favour of version 1." in two.marks[TAKEN_BACK]
    assert "since a rollback from version 2 on " in one.marks[RESTORED]


def test_once_is_enough(registry: Registry) -> None:
    for version, expected in (("1", None), ("2", "1"), ("3", "2")):
        promote(registry, NAME, version, expected)
    assert roll_back(registry, NAME).champion == "2"
    again = roll_back(registry, NAME)
    assert (again.champion, again.before, champion(registry)) == ("2", None, "2")
    assert "since a rollback from version 3" in again.sentence
    assert "Nothing was changed." in again.sentence
    assert roll_back(registry, NAME, to="2").before is None
    assert roll_back(registry, NAME, to="1").champion == champion(registry) == "1"


def test_a_promotion_after_a_rollback_can_be_rolled_back_again(registry: Registry) -> None:
    promote(registry, NAME, "1", None)
    promote(registry, NAME, "2", "1")
    roll_back(registry, NAME)
    promote(registry, NAME, "3", "1")
    assert roll_back(registry, NAME).champion == "1"
    promote(registry, NAME, "2", "1")
    promote(registry, NAME, "1", "2")  # restored once, now promoted: no longer "since a rollback"
    assert roll_back(registry, NAME).champion == "2"


@pytest.mark.parametrize(
    ("prepare", "to", "message"),
    [
        (lambda registry: None, None, "has no champion to roll back from"),
        (lambda registry: promote(registry, NAME, "1", None), None, "It replaced none"),
        (lambda registry: promote(registry, NAME, "1", None), "9", "has no version 9. Versions: 1, 2, 3"),
    ],
)
def test_nothing_to_go_back_to(
    registry: Registry, prepare: Callable[[Registry], None], to: str | None, message: str
) -> None:
    prepare(registry)
    before = champion(registry)
    with pytest.raises(ConfigError, match=message):
        roll_back(registry, NAME, to)
    assert champion(registry) == before


def test_a_model_that_is_not_there(registry: Registry) -> None:
    with pytest.raises(ConfigError, match=f"no model nobody. Registered models: {NAME}"):
        roll_back(registry, "nobody")


def test_without_a_champion_a_named_version_becomes_it(registry: Registry) -> None:
    done = roll_back(registry, NAME, to="2")
    assert (done.champion, done.before, champion(registry)) == ("2", None, "2")


class Killed(BaseException):
    """Stands for a kill: nothing but the test catches it."""


class Dying:
    """A registry that dies after so many writes."""

    def __init__(self, real: Registry, writes: int) -> None:
        self._real, self._left = real, writes

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._real, name)
        if name not in {"mark", "set_alias"}:
            return method

        def write(*arguments: Any) -> None:
            method(*arguments)
            self._left -= 1
            if self._left == 0:
                raise Killed

        return write


def test_a_kill_after_any_write_and_a_second_call_end_where_one_call_ends(tmp_path: Path) -> None:
    writes = 1
    while True:
        registry = open_registry(f"memory://{tmp_path}/{writes}", "jobtuner")
        for fingerprint in ("a1", "a2", "a3"):
            registry.register(NAME, candidate(tmp_path, fingerprint))
        for version, expected in (("1", None), ("2", "1"), ("3", "2")):
            promote(registry, NAME, version, expected)
        try:
            roll_back(Dying(registry, writes), NAME)
        except Killed:
            roll_back(registry, NAME)
            assert champion(registry) == "2"
            writes += 1
            continue
        break
    assert writes - 1 == 5  # two marks of each version, and the alias
    assert CHAMPION in registry.versions(NAME)[1].aliases
