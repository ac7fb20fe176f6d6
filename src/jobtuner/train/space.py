"""The search space of `jobtuner tune`: which settings vary, and over what.

    training.learning_rate: {low: 1.0e-4, high: 3.0e-3, log: true}
    lora.r: [8, 16, 32]
    lora.dropout: {low: 0.0, high: 0.2, step: 0.05}
    training.batch_size: {low: 8, high: 32, step: 8}

A list is a choice; bounds that are both whole numbers give whole numbers.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from jobtuner.config import load_config
from jobtuner.errors import ConfigError

__all__ = ["Choice", "Range", "Space", "load_space"]

_FREE = ("data", "taxonomy", "deduplicate", "split", "seed", "name", "task", "clean", "register", "deploy")
"""Sections that a search must not vary: all trials learn and are judged by the same data."""


@dataclass(frozen=True)
class Choice:
    """One of several values."""

    values: tuple[Any, ...]

    def suggest(self, trial: Any, key: str) -> Any:
        """The trial's value."""
        return json.loads(trial.suggest_categorical(key, [json.dumps(each) for each in self.values]))

    @property
    def samples(self) -> tuple[Any, ...]:
        """Values that show whether the recipe accepts them."""
        return self.values


@dataclass(frozen=True)
class Range:
    """Numbers between two bounds, which belong to it."""

    low: float
    high: float
    step: float | None = None
    log: bool = False

    def suggest(self, trial: Any, key: str) -> Any:
        """The trial's value."""
        if self.whole:
            return trial.suggest_int(key, int(self.low), int(self.high), step=int(self.step or 1), log=self.log)
        return trial.suggest_float(key, self.low, self.high, step=self.step, log=self.log)

    @property
    def whole(self) -> bool:
        """Whole numbers alone."""
        return isinstance(self.low, int) and isinstance(self.high, int)

    @property
    def samples(self) -> tuple[Any, ...]:
        """Values that show whether the recipe accepts them."""
        return (self.low, self.high)


@dataclass(frozen=True)
class Space:
    """Dotted key of a setting → what it may be."""

    settings: Mapping[str, Choice | Range]

    def suggest(self, trial: Any) -> dict[str, str]:
        """The trial's overrides: dotted key → YAML text."""
        return {key: _text(each.suggest(trial, key)) for key, each in self.settings.items()}


def load_space(path: Path, recipe: str, overrides: Mapping[str, str]) -> Space:
    """Read a space, and try every choice and bound on the recipe before anything is trained.

    Args:
        path: YAML file.
        recipe: name or path of the recipe that it belongs to.
        overrides: of the recipe.

    Raises:
        ConfigError: the file cannot be read, or settings in it are unknown or not accepted; lists every mistake.
    """
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"The search space {path} cannot be read: {error}.") from error
    if not isinstance(document, dict) or not document:
        raise ConfigError(f"The search space {path} is empty or no mapping. {_FORM}")
    settings, mistakes = {}, []
    for key, value in document.items():
        try:
            settings[str(key)] = _parse(str(key), value)
        except ValueError as error:
            mistakes.append(f"  {key}: {error}")
    for key, setting in settings.items():
        for sample in setting.samples:
            try:
                load_config(recipe, {**overrides, key: _text(sample)})
            except ConfigError as error:
                mistakes += [line for line in str(error).splitlines()[1:] if line not in mistakes]
    if mistakes:
        raise ConfigError(f"The search space {path} cannot be used:\n" + "\n".join(mistakes))
    return Space(settings)


def _text(value: Any) -> str:
    """The value as YAML text on one line. Not JSON: its 1e-05 is a word in YAML, which writes 1.0e-05."""
    return yaml.safe_dump([value], default_flow_style=True, width=10**6).strip()[1:-1]


_FORM = "Accepted: a dotted setting with a list of values, or with {low: …, high: …} and step or log: true."


def _parse(key: str, value: object) -> Choice | Range:
    if key.split(".", 1)[0] in _FREE:
        raise ValueError("all trials must learn from the same data and seed; vary model, lora, quantization, training.")
    if isinstance(value, list) and value:
        return Choice(tuple(value))
    if not isinstance(value, dict) or not {"low", "high"} <= set(value) <= {"low", "high", "step", "log"}:
        raise ValueError(f"got {value!r}. {_FORM}")
    low, high, step = value["low"], value["high"], value.get("step")
    numbers = [each for each in (low, high, step) if each is not None]
    if any(isinstance(each, bool) or not isinstance(each, int | float) for each in numbers):
        raise ValueError(f"low, high and step are numbers; got {value!r} (YAML reads 1e-4 as text: write 1.0e-4).")
    log = value.get("log", False) is True
    if not low < high or (log and (low <= 0 or step is not None)) or (step is not None and step <= 0):
        raise ValueError(f"got {value!r}; low is below high, step is above 0, log needs low above 0 and no step.")
    if isinstance(low, int) != isinstance(high, int):
        low, high = float(low), float(high)
    return Range(low, high, step, log)
