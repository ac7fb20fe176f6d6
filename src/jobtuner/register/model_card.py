"""The model card: what a version is for, what it was made of, how good it is, and what it must not be used for."""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeGuard

from jobtuner.config import Config
from jobtuner.contracts import EvalReport, PreparedData, TrainedModel
from jobtuner.register.answers import Answers, intervals, measure
from jobtuner.register.gate import Decision
from jobtuner.statistics import Interval

__all__ = ["base_licence", "model_card"]

_STANDIN = (
    "**This is the stand-in model.** Its base is a small network of Qwen2.5's architecture that was built and trained "
    "on the spot. Its scores show that the machine works, not what Qwen2.5 can do."
)

_NO_METRICS = frozenset({"n", "top_k", "several_n", "codes_n"})
_INTENDED_USE = (
    "Gives a job ad or a job title its occupation code in the taxonomy below, with a probability: for search, "
    "statistics, routing and analysis of ads. A person should look at answers with a low probability."
)

_OUT_OF_SCOPE = (
    "Text about a person, such as a CV, an application or a profile: it was neither trained nor tested on any.",
    "Deciding about people: whom to invite, to reject, to rank, or to show an ad to.",
    "Codes of another taxonomy, or of another version of this one.",
    "Text that is no job ad: it answers with a code all the same.",
)

# Regulation (EU) 2024/1689, Article 6(2) with Annex III, point 4(a).
_AI_ACT = (
    "This model analyses job ads, not people. Under Regulation (EU) 2024/1689 (AI Act), Annex III, point 4(a), systems "
    "intended for recruitment or selection (to place targeted job ads, to analyse and filter applications, to evaluate "
    "candidates) are high-risk; naming the occupation of an ad is not the same. Whoever builds this model into such a "
    "system must meet what the Act demands of it (risk management, data governance, human oversight, logging, "
    "registration); none of that comes with this model."
)

_LICENCES = {  # of the Qwen2.5 text models, base and Instruct, from their model pages
    r"(0\.5B|1\.5B|7B|14B|32B)": "Apache-2.0",
    r"3B": "Qwen Research License, no commercial use",
    r"72B": "Qwen License; above 100 million monthly users a commercial licence must be asked for",
}


def base_licence(trained: TrainedModel) -> str:
    """The licence of the base model's weights, as far as it is known."""
    if trained.base_is_standin:
        return (
            "The stand-in's weights were built in this run. The texts they were trained on may have terms of their own."
        )
    for size, licence in _LICENCES.items():
        if re.fullmatch(rf"Qwen/Qwen2\.5-{size}(-Instruct)?", trained.base):
            return f"{trained.base}: {licence}."
    return f"{trained.base}: see the licence that comes with those weights; it binds this adapter's use too."


def model_card(
    config: Config,
    prepared: PreparedData,
    trained: TrainedModel,
    report: EvalReport,
    decision: Decision,
    ours: Answers,
    baseline: Answers,
) -> str:
    """The model card as Markdown; equal inputs give equal text.

    Args:
        config: the recipe.
        prepared: the data.
        trained: the model.
        report: its evaluation.
        decision: of the gate.
        ours: the model's answers to the test split.
        baseline: the baseline's answers to it.
    """
    parts = [
        f"# {config.register_.model_name}",
        _STANDIN if trained.base_is_standin else "",
        f"{_kind(config)} `{trained.base}`. Recipe `{config.name}`, seed {config.seed}.",
        f"Fingerprint of the model: `{trained.fingerprint}`.",
        "## Intended use",
        _INTENDED_USE,
        "## Out of scope",
        _listed(_OUT_OF_SCOPE),
        "## Training data and taxonomy",
        _data(prepared),
        "## Results on the test split",
        _results(config, report, ours, baseline),
        "## Calibration",
        _calibration(report),
        "## Promotion",
        "The gate's answer: " + ("promoted to champion." if decision.promoted else "not promoted."),
        _listed(f"{'pass' if item.passed else 'FAIL'}: {item.sentence}" for item in decision.comparisons),
        "## Limits",
        _listed(_limits(config, prepared, trained)),
        "## Training time and energy",
        _energy(config, trained),
        "## Licence of the base model",
        base_licence(trained),
        "## EU AI Act",
        _AI_ACT,
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _listed(sentences: Iterable[str]) -> str:
    return "\n".join(f"- {sentence}" for sentence in sentences)


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def _cell(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.4f}"
    return "not measured" if value is None else str(value)


def _kind(config: Config) -> str:
    if config.training.method == "full":
        return "All weights fine-tuned, from"
    return "LoRA adapter on" if config.quantization.type == "none" else "QLoRA adapter on"


def _data(prepared: PreparedData) -> str:
    facts = [
        ("source", prepared.source),
        ("languages", ", ".join(prepared.languages)),
        ("labels in the training split", str(len(prepared.labels))),
        ("taxonomy version", prepared.taxonomy_version),
        *((f"rows: {name}", str(count)) for name, count in prepared.counts.items()),
        ("fingerprint", prepared.fingerprint),
    ]
    return _table(["", "value"], facts)


def _results(config: Config, report: EvalReport, ours: Answers, baseline: Answers) -> str:
    names = [name for name, value in report.model.items() if _is_number(value) and name not in _NO_METRICS]
    overall = _table(
        ["metric", "model", "baseline"],
        [(name, _cell(report.model[name]), _cell(report.baseline.get(name))) for name in names],
    )
    mine, reference = intervals(ours, config.seed), intervals(baseline, config.seed)
    counts = measure(ours)
    rows = [[title, str(_count(counts, key)), _span(mine[key]), _span(reference[key])] for key, title in _titles(mine)]
    told = f"{report.examples} examples. In brackets: 95 % intervals of a bootstrap over near-duplicate clusters."
    return "\n\n".join([told, overall, _table(["slice", "examples", "model", "baseline"], rows)])


def _titles(found: Mapping[str, Interval]) -> list[tuple[str, str]]:
    """Key and title of every interval: the overall ones first, then languages, then levels."""
    titles = {"per_language": "accuracy in", "per_level": "accuracy at level"}
    listed = []
    for key in found:
        kind, _, value = key.partition("/")
        listed.append((key, f"{titles[kind]} {value}" if value else key))
    return listed


def _count(metrics: Mapping[str, Any], key: str) -> int:
    kind, _, value = key.partition("/")
    return int(metrics[kind][value]["n"] if value else metrics["n"])


def _span(value: Interval) -> str:
    return f"{value.estimate:.4f} [{value.low:.4f}, {value.high:.4f}]"


def _calibration(report: EvalReport) -> str:
    error, brier = (_cell(report.model.get(key)) for key in ("ece", "brier"))
    return (
        f"Log-probabilities are divided by the temperature {report.temperature:.3f}, fitted on validation ads. On the "
        f"test ads the expected calibration error is {error}, the Brier score {brier}. Where the ads differ from these "
        "in language, length or occupation, the probabilities may say less."
    )


def _energy(config: Config, trained: TrainedModel) -> str:
    seconds, watts = trained.metrics.get("seconds"), config.register_.training_watts
    if not _is_number(seconds):
        return "Training time was not measured."
    told = f"Fine-tuning took {seconds:.0f} s"
    if watts is None:
        return f"{told}. The power was not measured, so no energy is estimated (`register.training_watts` states it)."
    energy = seconds * watts / 3.6e6  # 1 kWh = 3.6e6 Ws
    return (
        f"{told}. Energy: {seconds:.0f} s × {watts:g} W / 3,600,000 = {energy:.3g} kWh, an estimate from measured time "
        "and stated power; the building of the base model, evaluation and cooling are not in it."
    )


def _is_number(value: Any) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _limits(config: Config, prepared: PreparedData, trained: TrainedModel) -> list[str]:
    limits = [
        f"It answers with one of {len(trained.labels)} codes, also where none of them fits the ad.",
        f"Languages other than {', '.join(prepared.languages)} were not tested.",
        f"It reads the first {config.prompt.max_ad_tokens} tokens of an ad.",
    ]
    if prepared.source == "generated":
        limits.append(
            "Its ads were generated from templates: real ads are more varied, and scores on them will be lower."
        )
    if not config.clean.personal_data:
        limits.append("E-mail addresses, phone numbers and URLs were left in the training texts.")
    return limits
