"""The promotion gate: a pure decision on metrics, without files, network or registry."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from jobtuner.config import GateConfig

__all__ = ["MIN_LANGUAGE_EXAMPLES", "Comparison", "Decision", "decide"]

MIN_LANGUAGE_EXAMPLES = 20
"""Languages with fewer test examples are not judged: one answer more or less would be 5 points of accuracy."""

_ROUNDING = 1e-9  # far below one answer in any test set; keeps 0.90 - 0.85 from exceeding 0.05 by a rounding error


@dataclass(frozen=True)
class Comparison:
    """One condition of the gate."""

    name: str
    challenger: float | None
    """The challenger's value; None where it is missing or not a number."""
    reference: float | None
    """The value of the baseline or the champion; None as above."""
    threshold: float
    """Difference challenger - reference that is asked for: to be exceeded as a gain, to be reached in a language."""
    passed: bool
    sentence: str


@dataclass(frozen=True)
class Decision:
    """Whether the challenger becomes champion, and every condition that was looked at."""

    promoted: bool
    comparisons: list[Comparison]

    def to_json(self) -> dict[str, Any]:
        """The decision as JSON values."""
        return asdict(self)


def decide(
    challenger: Mapping[str, Any],
    baseline: Mapping[str, Any],
    champion: Mapping[str, Any] | None,
    config: GateConfig,
) -> Decision:
    """Decide whether a challenger becomes champion.

    It must exceed the baseline, and the champion where there is one, by more than `config.min_gain` in `config.metric`,
    and may not lose more than `config.max_language_loss` accuracy against the baseline in any language with at least
    `MIN_LANGUAGE_EXAMPLES` test examples. A value that is missing, or not a finite number, fails its condition.

    Args:
        challenger: metrics as in `EvalReport.model`: accuracy, macro_f1, per_language {language: {n, accuracy}}.
        baseline: the same of the baseline, on the same test examples.
        champion: the champion's metrics on the same test examples; empty where it was measured on other data; None
            where there is no champion.
        config: the gate's settings.
    """
    comparisons = [_gain("baseline", challenger, baseline, config)]
    if champion is not None:
        comparisons.append(
            _gain("champion", challenger, champion, config) if champion else _no_match(challenger, config)
        )
    comparisons += _languages(challenger, baseline, config)
    return Decision(all(item.passed for item in comparisons), comparisons)


def _number(metrics: Mapping[str, Any], key: str) -> float | None:
    value = metrics.get(key)
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)


def _group(metrics: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = metrics.get(key)
    return value if isinstance(value, Mapping) else {}


def _show(value: float | None) -> str:
    return "no number" if value is None else f"{value:.4f}"


def _gain(name: str, challenger: Mapping[str, Any], reference: Mapping[str, Any], config: GateConfig) -> Comparison:
    ours, theirs = _number(challenger, config.metric), _number(reference, config.metric)
    needed = f"more than {config.min_gain:.4f} is needed"
    if ours is None or theirs is None:
        passed = False
        sentence = f"{config.metric}: challenger {_show(ours)}, {name} {_show(theirs)}; they cannot be compared."
    else:
        passed = ours - theirs > config.min_gain + _ROUNDING
        sentence = f"{config.metric}: challenger {ours:.4f}, {name} {theirs:.4f}, gain {ours - theirs:+.4f}; {needed}."
    return Comparison(f"{config.metric} against the {name}", ours, theirs, config.min_gain, passed, sentence)


def _no_match(challenger: Mapping[str, Any], config: GateConfig) -> Comparison:
    sentence = (
        "The champion was not measured on this test data, so it cannot be compared and stays. Evaluate both on the "
        "same data, or remove the alias `champion` to let the challenger stand against the baseline alone."
    )
    ours = _number(challenger, config.metric)
    return Comparison(f"{config.metric} against the champion", ours, None, config.min_gain, False, sentence)


def _languages(challenger: Mapping[str, Any], baseline: Mapping[str, Any], config: GateConfig) -> Iterator[Comparison]:
    ours, theirs = challenger.get("per_language"), baseline.get("per_language")
    limit = -config.max_language_loss
    if not isinstance(ours, Mapping) or not isinstance(theirs, Mapping) or not (ours or theirs):
        sentence = "The metrics per language are missing, of the challenger or of the baseline; none can be judged."
        yield Comparison("languages", None, None, limit, False, sentence)
        return
    few = []
    for language in sorted({*ours, *theirs}):
        mine, reference = _group(ours, language), _group(theirs, language)
        counts = [_number(mine, "n"), _number(reference, "n")]
        if all(count is not None and count < MIN_LANGUAGE_EXAMPLES for count in counts):
            few.append(language)
        else:
            yield _language(language, mine, reference, limit)
    if few:
        sentence = f"Not judged, fewer than {MIN_LANGUAGE_EXAMPLES} test examples: {', '.join(few)}."
        yield Comparison("languages with few examples", None, None, limit, True, sentence)


def _language(language: str, mine: Mapping[str, Any], reference: Mapping[str, Any], limit: float) -> Comparison:
    ours, theirs = _number(mine, "accuracy"), _number(reference, "accuracy")
    if _number(mine, "n") != _number(reference, "n") or _number(mine, "n") is None:
        passed = False
        counts = f"challenger on {_count(mine)}, baseline on {_count(reference)} examples"
        sentence = f"{language}: {counts}; they cannot be compared."
    elif ours is None or theirs is None:
        passed = False
        sentence = (
            f"{language}: accuracy of challenger {_show(ours)}, baseline {_show(theirs)}; they cannot be compared."
        )
    else:
        passed = ours - theirs >= limit - _ROUNDING
        sentence = (
            f"{language}: accuracy of challenger {ours:.4f}, baseline {theirs:.4f}, change {ours - theirs:+.4f}; "
            f"a loss of up to {-limit:.4f} is allowed."
        )
    return Comparison(f"accuracy in {language}", ours, theirs, limit, passed, sentence)


def _count(metrics: Mapping[str, Any]) -> str:
    count = _number(metrics, "n")
    return "an unknown number of" if count is None else f"{count:g}"
