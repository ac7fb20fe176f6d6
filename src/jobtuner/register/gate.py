"""The promotion gate: a pure decision on numbers, without files, network or registry."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from jobtuner.config import GateConfig
from jobtuner.statistics import Interval

__all__ = ["MIN_SLICE_EXAMPLES", "Challenger", "Comparison", "Decision", "Rival", "Unmeasured", "decide"]

MIN_SLICE_EXAMPLES = 20
"""Languages and hierarchy levels with fewer test examples are not judged: one answer more or less is 5 points."""

_ROUNDING = 1e-9  # far below one answer in any test set; keeps 0.90 - 0.85 from exceeding 0.05 by a rounding error


@dataclass(frozen=True)
class Challenger:
    """The model that is judged."""

    metrics: Mapping[str, Any]
    """As in `EvalReport.model`: accuracy, macro_f1, ece, per_language and per_level {slice: {n, accuracy}}."""
    examples: int
    """Test examples that the metrics were measured on."""
    prompt_hashes: Mapping[str, str | None]
    """Where the prompt was used (training, evaluation, export) to its hash; None: unknown."""
    label_agreement: float | None
    """Share of prompts on which the merged model answers as base and adapter do; None: unknown."""
    rolled_back: str = ""
    """Why and when this very model was taken back from being champion; empty: it was not."""
    text_metric: str = ""
    """Of a task that answers in text: the metric that is judged, over all examples and a language. Empty: the recipe's
    metric, accuracy a language and a level, and calibration."""


@dataclass(frozen=True)
class Rival:
    """The baseline or the champion, on the same test examples as the challenger."""

    metrics: Mapping[str, Any]
    gain: Interval | None
    """Challenger minus rival in the gate's metric, paired; None: it could not be computed."""
    p_value: float | None = None
    """Of McNemar's test on the same pairs; told, and no condition."""
    parameters: tuple[int, int] | None = None
    """Parameters of challenger and rival, where both are known."""
    note: str = ""
    """What a reader of the comparison must know, e.g. that it favours one side."""


@dataclass(frozen=True)
class Unmeasured:
    """A champion that could not be measured on the challenger's test examples."""

    version: str
    reason: str


@dataclass(frozen=True)
class Comparison:
    """One condition of the gate."""

    name: str
    challenger: float | None
    """The challenger's value; None where it is missing or not a number."""
    reference: float | None
    """What it is held against: the baseline's or the champion's value, or a limit of the recipe; None as above."""
    threshold: float
    """What is asked for: of the gain's lower end, of a difference to the reference, or of the value itself."""
    passed: bool
    sentence: str
    low: float | None = None
    """Lower end of the gain's 95 % interval, where the condition is about a gain."""
    high: float | None = None
    p_value: float | None = None


@dataclass(frozen=True)
class Decision:
    """Whether the challenger becomes champion, and every condition that was looked at."""

    promoted: bool
    comparisons: list[Comparison]

    def to_json(self) -> dict[str, Any]:
        """The decision as JSON values."""
        return asdict(self)


def decide(
    challenger: Challenger, baseline: Rival, champion: Rival | Unmeasured | None, config: GateConfig
) -> Decision:
    """Decide whether a challenger becomes champion.

    It must gain on the baseline, and on the champion where there is one, so that the lower end of the paired interval
    exceeds `config.min_gain`; lose no language and no hierarchy level by more than is allowed; keep its probabilities
    calibrated; and be the model that was evaluated, by prompt and by merged weights. A value that is missing, or not a
    finite number, fails its condition.

    Args:
        challenger: the model that is judged.
        baseline: the cheap model on the same test examples.
        champion: the champion on the same test examples; why it could not be measured; None where there is none.
        config: the gate's settings.
    """
    rivals = {"baseline": baseline}
    if isinstance(champion, Rival):
        rivals["champion"] = champion
    found = [_gain(name, challenger, rival, config) for name, rival in rivals.items()]
    if isinstance(champion, Unmeasured):
        found.append(_unmeasured(challenger, champion, config))
    for name, rival in rivals.items():
        found += _slices("language", name, challenger, rival, config.max_language_loss)
        if not challenger.text_metric:
            found += _slices("level", name, challenger, rival, config.max_level_loss)
    if not challenger.text_metric:
        found += _calibration(challenger, rivals.get("champion"), config)
    found += [_examples(challenger, config), _same_prompt(challenger), _merged(challenger, config)]
    if challenger.rolled_back:
        found.append(_taken_back(challenger))
    return Decision(all(item.passed for item in found), found)


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


def _examples(challenger: Challenger, config: GateConfig) -> Comparison:
    enough = challenger.examples >= config.min_examples
    sentence = f"Test examples: {challenger.examples}; at least {config.min_examples} are needed."
    return Comparison("test examples", float(challenger.examples), None, float(config.min_examples), enough, sentence)


def _gain(name: str, challenger: Challenger, rival: Rival, config: GateConfig) -> Comparison:
    metric = challenger.text_metric or config.metric
    title = f"{metric} against the {name}"
    ours, theirs = _number(challenger.metrics, metric), _number(rival.metrics, metric)
    gain = rival.gain
    if ours is None or theirs is None or gain is None or not math.isfinite(gain.low + gain.high):
        sentence = f"{metric}: challenger {_show(ours)}, {name} {_show(theirs)}; they cannot be compared."
        return Comparison(title, ours, theirs, config.min_gain, False, sentence)
    needed, passed, rule = config.min_gain, gain.low > config.min_gain + _ROUNDING, "the lower end must exceed"
    if not passed and name == "champion" and config.non_inferiority_margin is not None and _smaller(rival):
        needed, passed = -config.non_inferiority_margin, gain.low > -config.non_inferiority_margin + _ROUNDING
        rule = "it has fewer parameters, so the lower end must only exceed"
    p_value = "" if rival.p_value is None else f", McNemar p = {rival.p_value:.2g}"
    sentence = (
        f"{metric}: challenger {ours:.4f}, {name} {theirs:.4f}, gain {gain.estimate:+.4f} "
        f"[{gain.low:+.4f}, {gain.high:+.4f}]{p_value}; {rule} {needed:+.4f}."
    )
    told = f"{sentence} {rival.note}".strip()
    return Comparison(title, ours, theirs, needed, passed, told, gain.low, gain.high, rival.p_value)


def _smaller(rival: Rival) -> bool:
    return rival.parameters is not None and rival.parameters[0] < rival.parameters[1]


def _unmeasured(challenger: Challenger, champion: Unmeasured, config: GateConfig) -> Comparison:
    metric = challenger.text_metric or config.metric
    ours, title = _number(challenger.metrics, metric), f"{metric} against the champion"
    told = f"The champion, version {champion.version}, could not be measured on this test data: {champion.reason}"
    if config.ignore_unmeasurable_champion:
        sentence = f"{told} gate.ignore_unmeasurable_champion is set: the challenger stands against the baseline alone."
        return Comparison(title, ours, None, config.min_gain, True, sentence)
    sentence = (
        f"{told} It stays. Make another version champion (`jobtuner models` lists them, `jobtuner rollback` moves the "
        "alias), or let the challenger stand against the baseline alone: --set gate.ignore_unmeasurable_champion=true, "
        "which is recorded."
    )
    return Comparison(title, ours, None, config.min_gain, False, sentence)


def _slices(kind: str, name: str, challenger: Challenger, rival: Rival, allowed: float) -> Iterator[Comparison]:
    """One comparison a language or level, and one that names those with too few examples to judge."""
    ours, theirs = (metrics.get(f"per_{kind}") for metrics in (challenger.metrics, rival.metrics))
    if not isinstance(ours, Mapping) or not isinstance(theirs, Mapping) or not (ours or theirs):
        sentence = f"The metrics per {kind} are missing, of the challenger or of the {name}; none can be judged."
        yield Comparison(f"{kind}s against the {name}", None, None, -allowed, False, sentence)
        return
    few = []
    for key in sorted({*ours, *theirs}):
        mine, reference = _group(ours, key), _group(theirs, key)
        counts = [_number(mine, "n"), _number(reference, "n")]
        if all(count is not None and count < MIN_SLICE_EXAMPLES for count in counts):
            few.append(key)
        else:
            title, metric = key if kind == "language" else f"level {key}", challenger.text_metric or "accuracy"
            yield _slice(title, metric, name, mine, reference, -allowed)
    if few:
        sentence = f"Not judged against the {name}, fewer than {MIN_SLICE_EXAMPLES} test examples: {', '.join(few)}."
        yield Comparison(f"{kind}s with few examples, {name}", None, None, -allowed, True, sentence)


def _slice(
    title: str, metric: str, name: str, mine: Mapping[str, Any], reference: Mapping[str, Any], limit: float
) -> Comparison:
    ours, theirs = _number(mine, metric), _number(reference, metric)
    if _number(mine, "n") != _number(reference, "n") or _number(mine, "n") is None:
        passed = False
        counts = f"challenger on {_count(mine)}, {name} on {_count(reference)} examples"
        sentence = f"{title}: {counts}; they cannot be compared."
    elif ours is None or theirs is None:
        passed = False
        sentence = f"{title}: {metric} of challenger {_show(ours)}, {name} {_show(theirs)}; they cannot be compared."
    else:
        passed = ours - theirs >= limit - _ROUNDING
        sentence = (
            f"{title}: {metric} of challenger {ours:.4f}, {name} {theirs:.4f}, change {ours - theirs:+.4f}; "
            f"a loss of up to {-limit:.4f} is allowed."
        )
    return Comparison(f"{metric} in {title} against the {name}", ours, theirs, limit, passed, sentence)


def _count(metrics: Mapping[str, Any]) -> str:
    count = _number(metrics, "n")
    return "an unknown number of" if count is None else f"{count:g}"


def _calibration(challenger: Challenger, champion: Rival | None, config: GateConfig) -> Iterator[Comparison]:
    ours, limit = _number(challenger.metrics, "ece"), config.max_ece
    passed = ours is not None and ours <= limit + _ROUNDING
    sentence = f"Calibration error (ECE): challenger {_show(ours)}; up to {limit:.4f} is allowed."
    yield Comparison("ece", ours, None, limit, passed, sentence)
    if champion is None:
        return
    theirs, worse = _number(champion.metrics, "ece"), config.max_ece_increase
    passed = ours is not None and theirs is not None and ours - theirs <= worse + _ROUNDING
    sentence = (
        f"Calibration error (ECE): challenger {_show(ours)}, champion {_show(theirs)}; up to {worse:.4f} more is "
        "allowed."
    )
    yield Comparison("ece against the champion", ours, theirs, worse, passed, sentence)


def _same_prompt(challenger: Challenger) -> Comparison:
    hashes = challenger.prompt_hashes
    passed = len(set(hashes.values())) == 1 and all(hashes.values())
    told = ", ".join(f"{place} {value[:12] if value else 'unknown'}" for place, value in hashes.items())
    sentence = f"Prompt: {'the same' if passed else 'NOT the same'} in {told or 'no place at all'}."
    return Comparison("prompt", None, None, 1.0, passed, sentence)


def _merged(challenger: Challenger, config: GateConfig) -> Comparison:
    ours = _number({"agreement": challenger.label_agreement}, "agreement")
    passed = ours is not None and ours >= config.min_merge_agreement - _ROUNDING
    sentence = (
        f"Merged weights give the answer of base and adapter on a share of {_show(ours)} of the "
        f"{'answer tokens' if challenger.text_metric else 'prompts'}; at least "
        f"{config.min_merge_agreement:.4f} is needed."
    )
    return Comparison("merged weights", ours, None, config.min_merge_agreement, passed, sentence)


def _taken_back(challenger: Challenger) -> Comparison:
    sentence = (
        f"This very model was taken back: {challenger.rolled_back} A rerun does not bring it back; "
        "`jobtuner rollback --to` its version does."
    )
    return Comparison("taken back", None, None, 0.0, False, sentence)
