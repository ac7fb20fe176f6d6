"""The model card: what a version is for, what it was made of, how good it is, and what it must not be used for."""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from jobtuner.config import Config
from jobtuner.contracts import EvalReport, PreparedData, TrainedModel
from jobtuner.register.gate import Decision

__all__ = ["base_licence", "model_card"]

_STANDIN = (
    "**This is the stand-in model.** Its base is a small network of Qwen2.5's architecture that was built and trained "
    "on the spot. Its scores show that the machine works, not what Qwen2.5 can do."
)

_INTENDED_USE = (
    "Gives a job ad or a job title its occupation code in the taxonomy below, with a probability: for search, "
    "statistics, routing and analysis of ads. A person should look at answers with a low probability. It is not made "
    "for any other text, and not for text about a person, such as a CV."
)

# Regulation (EU) 2024/1689, Article 6(2) with Annex III, point 4(a).
_AI_ACT = (
    "This model analyses job ads, not people. Under Regulation (EU) 2024/1689 (AI Act), Annex III, point 4(a), systems "
    "intended for recruitment or selection (to place targeted job ads, to analyse and filter applications, to evaluate "
    "or match candidates) are high-risk. Such a use of this model would need what the Act demands of such a system "
    "(risk management, data governance, human oversight, logging, registration); none of that comes with this model."
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
    config: Config, prepared: PreparedData, trained: TrainedModel, report: EvalReport, decision: Decision
) -> str:
    """The model card as Markdown; equal inputs give equal text."""
    parts = [
        f"# {config.register_.model_name}",
        _STANDIN if trained.base_is_standin else "",
        f"QLoRA adapter on `{trained.base}`. Recipe `{config.name}`, seed {config.seed}.",
        f"Fingerprint of the model: `{trained.fingerprint}`.",
        "## Intended use",
        _INTENDED_USE,
        "## Data",
        _data(prepared),
        "## Results on the test split",
        _results(report),
        "## Promotion",
        "The gate's answer: " + ("promoted to champion." if decision.promoted else "not promoted."),
        "\n".join(f"- {'pass' if item.passed else 'FAIL'}: {item.sentence}" for item in decision.comparisons),
        "## Limits",
        "\n".join(f"- {sentence}" for sentence in _limits(config, prepared, trained)),
        "## Licence of the base model",
        base_licence(trained),
        "## EU AI Act",
        _AI_ACT,
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def _cell(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.4f}"
    return "not measured" if value is None else str(value)


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


def _results(report: EvalReport) -> str:
    names = [name for name, value in report.model.items() if isinstance(value, int | float)]
    overall = _table(
        ["metric", "model", "baseline"],
        [(name, _cell(report.model[name]), _cell(report.baseline.get(name))) for name in names],
    )
    model, baseline = _languages(report.model), _languages(report.baseline)
    rows = []
    for language in sorted({*model, *baseline}):
        ours, theirs = model.get(language, {}), baseline.get(language, {})
        values = [ours.get("n"), *(side.get(key) for key in ("accuracy", "macro_f1") for side in (ours, theirs))]
        rows.append([language, *map(_cell, values)])
    head = ["language", "examples", "accuracy", "accuracy, baseline", "macro F1", "macro F1, baseline"]
    told = f"{report.examples} examples. Probabilities are calibrated with the temperature {report.temperature:.3f}."
    return "\n\n".join([told, overall, _table(head, rows)])


def _languages(metrics: Mapping[str, Any]) -> Mapping[str, Mapping[str, Any]]:
    found: Mapping[str, Mapping[str, Any]] = metrics.get("per_language", {})
    return found


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
