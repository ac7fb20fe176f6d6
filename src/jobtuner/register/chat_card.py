"""The model card of a version that answers in text."""

from collections.abc import Iterable, Mapping
from typing import Any

from jobtuner.config import Config
from jobtuner.contracts import EvalReport, PreparedData, TrainedModel
from jobtuner.register.gate import Decision
from jobtuner.register.model_card import base_licence

__all__ = ["chat_model_card"]

_USES = {
    "skills": "Quotes the skills that a job ad asks for, word for word and with their places.",
    "cover_letter": "Drafts a cover letter from a job ad and an applicant's own facts, for the applicant to correct.",
    "instruct": "Answers instructions in text.",
}
_OUT_OF_SCOPE = {
    "skills": "Deciding about people; text about a person, such as a CV: it was neither trained nor tested on any.",
    "cover_letter": "Letters that nobody reads before they are sent: what it writes may be wrong. Judging applicants.",
    "instruct": "Answers that nobody checks; advice on law, health or money. Deciding about people.",
}
_AI_ACT = (
    "Under Regulation (EU) 2024/1689 (AI Act), Annex III, point 4(a), systems that analyse and filter applications or "
    "evaluate candidates are high-risk. This model does neither; whoever builds it into such a system must meet what "
    "the Act demands of it. Article 50 asks that text written by a machine be recognisable as such where it is "
    "published."
)


def chat_model_card(
    config: Config, prepared: PreparedData, trained: TrainedModel, report: EvalReport, decision: Decision
) -> str:
    """The model card as Markdown; equal inputs give equal text."""
    standin = (
        "**This is the stand-in model**, a small network that was built and trained on the spot. Its scores show that "
        "the machine works, not what Qwen2.5 can do."
    )
    parts = [
        f"# {config.register_.model_name}",
        standin if trained.base_is_standin else "",
        f"QLoRA adapter on `{trained.base}` for the task `{config.task}`. Recipe `{config.name}`, seed {config.seed}.",
        f"Fingerprint of the model: `{trained.fingerprint}`.",
        "## Intended use",
        _USES[config.task],
        "## Out of scope",
        _OUT_OF_SCOPE[config.task],
        "## Training data",
        _data(prepared),
        "## Results on the test split",
        f"{report.examples} examples. In brackets: 95 % intervals of a bootstrap over near-duplicate clusters.",
        _results(report),
        "## Promotion",
        "The gate's answer: " + ("promoted to champion." if decision.promoted else "not promoted."),
        "\n".join(f"- {'pass' if item.passed else 'FAIL'}: {item.sentence}" for item in decision.comparisons),
        "## Limits",
        _limits(config, prepared),
        _generated(prepared),
        "## Licence of the base model",
        base_licence(trained),
        "## EU AI Act",
        _AI_ACT,
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _limits(config: Config, prepared: PreparedData) -> str:
    return (
        f"Languages other than {', '.join(prepared.languages)} were not tested. It reads the first "
        f"{config.prompt.max_ad_tokens} tokens of a text and writes up to {config.chat.max_answer_tokens}."
    )


def _generated(prepared: PreparedData) -> str:
    if prepared.source != "generated":
        return ""
    return "Its examples were generated from templates: real ones are more varied, and scores on them will be lower."


def _data(prepared: PreparedData) -> str:
    facts = [
        ("source", prepared.source),
        ("languages", ", ".join(prepared.languages)),
        *((f"rows: {name}", str(count)) for name, count in prepared.counts.items()),
        ("fingerprint", prepared.fingerprint),
    ]
    return _table(("", "value"), facts)


def _results(report: EvalReport) -> str:
    names = [name.removesuffix("_interval") for name in report.model if name.endswith("_interval")]
    return _table(
        ("metric", "model", "baseline"),
        [(name, _cell(report.model, name), _cell(report.baseline, name)) for name in names],
    )


def _cell(side: Mapping[str, Any], name: str) -> str:
    if name not in side:
        return "not measured"
    low, high = side[f"{name}_interval"]
    return f"{side[name]:.4f} [{low:.4f}, {high:.4f}]"


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)
