"""Moving the alias `champion`: forward by the gate, back by `jobtuner rollback`.

The marks are written before the alias. A kill between them leaves the alias where it was, and the same call again ends
where one call would have ended.
"""

import time
from dataclasses import dataclass

from jobtuner.errors import ConfigError
from jobtuner.register.registry import (
    CHAMPION,
    REPLACES,
    RESTORED,
    TAKEN_BACK,
    RegisteredModel,
    Registry,
    champion_of,
)

__all__ = ["Rollback", "promote", "roll_back"]


@dataclass(frozen=True)
class Rollback:
    """What a rollback did."""

    name: str
    champion: str
    """Version that has the alias now."""
    before: str | None
    """Version that it was taken from; None where nothing changed, or no version had it."""
    sentence: str


def promote(registry: Registry, name: str, version: str, expected: str | None) -> bool:
    """Make a version champion, unless another one has become champion since it was compared; return whether it is.

    Args:
        registry: where it lies.
        name: the model's name there.
        version: the new champion.
        expected: the champion that it was compared with; None: there was none.
    """
    with registry.lock():
        versions = registry.versions(name)
        champion = champion_of(versions)
        found = None if champion is None else champion.version
        if found == version:
            return True
        if found != expected:
            return False
        registry.mark(name, version, REPLACES, found or "")
        if any(item.version == version and item.marks.get(RESTORED) for item in versions):
            registry.mark(name, version, RESTORED, "")
        registry.set_alias(name, CHAMPION, version)
        return True


def roll_back(registry: Registry, name: str, to: str | None = None) -> Rollback:
    """Give the alias `champion` back to the version that had it before, or to one that is named.

    Once is enough: a second call without `to` finds the champion restored and changes nothing.

    Args:
        registry: where the versions lie.
        name: the model's name there.
        to: version that becomes champion; None: the one that the present champion replaced.

    Raises:
        ConfigError: no such model or version, or nothing to go back to.
    """
    with registry.lock():
        versions = registry.versions(name)
        if not versions:
            known = ", ".join(registry.names()) or "none"
            raise ConfigError(f"There is no model {name}. Registered models: {known}.")
        champion = champion_of(versions)
        if to is None and champion is not None and champion.marks.get(RESTORED):
            kept = f"Version {champion.version} of {name} is champion {champion.marks[RESTORED]} Nothing was changed."
            return Rollback(name, champion.version, None, kept)
        target = _target(name, versions, champion, to)
        if champion is not None and target.version == champion.version:
            same = f"Version {target.version} of {name} is champion already. Nothing was changed."
            return Rollback(name, target.version, None, same)
        return _move(registry, name, champion, target)


def _target(
    name: str, versions: list[RegisteredModel], champion: RegisteredModel | None, to: str | None
) -> RegisteredModel:
    known = {item.version: item for item in versions}
    choice = f"Versions: {', '.join(known)}. `jobtuner models` describes them, --to names one."
    if to is not None:
        if to not in known:
            raise ConfigError(f"{name} has no version {to}. {choice}")
        return known[to]
    if champion is None:
        raise ConfigError(f"{name} has no champion to roll back from. {choice}")
    before = champion.marks.get(REPLACES, "")
    if before not in known:
        gone = f"Version {before}, which it replaced, is gone." if before else "It replaced none."
        raise ConfigError(f"Version {champion.version} of {name} is champion. {gone} {choice}")
    return known[before]


def _move(registry: Registry, name: str, champion: RegisteredModel | None, target: RegisteredModel) -> Rollback:
    when = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime())
    if champion is not None:
        registry.mark(name, champion.version, TAKEN_BACK, f"on {when}, in favour of version {target.version}.")
        registry.mark(name, champion.version, RESTORED, "")
    source = "" if champion is None else f" from version {champion.version}"
    registry.mark(name, target.version, TAKEN_BACK, "")
    registry.mark(name, target.version, RESTORED, f"since a rollback{source} on {when}.")
    registry.set_alias(name, CHAMPION, target.version)
    before = None if champion is None else champion.version
    sentence = f"Version {target.version} of {name} is champion{', in place of version ' + before if before else ''}."
    return Rollback(name, target.version, before, sentence)
