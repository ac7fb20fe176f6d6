"""What one stage hands the next.

A contract is a small JSON file beside the stage's files, written last: a folder without one is unfinished, and no stage
reads it.

    prepare → PreparedData → baseline → BaselineModel ┐
                           → train    → TrainedModel  ┴→ evaluate → EvalReport → export → ExportedModel
    → register → ModelVersion → deploy → Deployment

    monitor → MonitorReport, on a schedule of its own
"""

import json
import os
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, ClassVar, Self

from jobtuner.errors import ContractError

__all__ = [
    "CONTRACT_FILE",
    "PARITY_FILE",
    "BaselineModel",
    "Contract",
    "Deployment",
    "EvalReport",
    "ExportedModel",
    "ModelVersion",
    "MonitorReport",
    "PreparedData",
    "PreparedShard",
    "TrainedModel",
]

CONTRACT_FILE = "contract.json"
PARITY_FILE = "parity.jsonl"
"""Of an exported model: id, text, language, label and the merged model's answer of each prompt of the parity check."""


@dataclass(frozen=True, kw_only=True)
class Contract:
    """Base of the contracts: where the files are, and a fingerprint of what they hold."""

    schema: ClassVar[int] = 1
    """Raised when a field changes its meaning; a folder of another schema is refused."""

    folder: Path = field(compare=False)
    """The stage's output folder; not stored, so that folders can be moved and copied."""
    fingerprint: str
    """SHA-256 over what the stage made: equal fingerprints mean equal content."""

    def save(self) -> Self:
        """Write `contract.json` atomically (temporary file, fsync, rename) and return self."""
        data = asdict(self)
        del data["folder"]
        document = {"kind": type(self).__name__, "schema": self.schema, **data}
        target = self.folder / CONTRACT_FILE
        temporary = target.with_suffix(".tmp")
        with temporary.open("w", encoding="utf-8") as stream:
            json.dump(document, stream, ensure_ascii=False, indent=1)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(target)
        return self

    @classmethod
    def load(cls, folder: Path | str) -> Self:
        """Read the contract of a finished stage.

        Raises:
            ContractError: the folder has no contract, or one of another kind or schema.
        """
        folder = Path(folder)
        path = folder / CONTRACT_FILE
        try:
            document: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError as error:
            raise ContractError(
                f"{folder} holds no {CONTRACT_FILE}: it is no finished {cls.__name__}. Run the stage that makes it."
            ) from error
        except ValueError as error:
            raise ContractError(f"{path} is not readable JSON ({error}). Run the stage that makes it again.") from error
        kind, schema = document.pop("kind", None), document.pop("schema", None)
        if kind != cls.__name__:
            raise ContractError(f"{folder} holds a {kind}; a {cls.__name__} is needed here.")
        if schema != cls.schema:
            raise ContractError(
                f"{folder} holds a {kind} of schema {schema}; this version reads {cls.schema}. Run the stage again."
            )
        names = {item.name for item in fields(cls)} - {"folder"}
        if set(document) != names:
            raise ContractError(f"{path} has the fields {sorted(document)}; {kind} needs {sorted(names)}.")
        return cls(folder=folder, **document)


@dataclass(frozen=True, kw_only=True)
class PreparedData(Contract):
    """Cleaned, deduplicated, split examples.

    Files: train.jsonl, validation.jsonl, test.jsonl (`records.Example`), rejected.jsonl (row, reason),
    duplicates.jsonl (id, kept id), taxonomy.json, card.md, card.html and its pictures (card_*.png).
    """

    task: str
    source: str
    """Where the rows came from: "generated", or the input URI."""
    languages: list[str]
    labels: list[str]
    """Codes that occur in the training split, sorted."""
    taxonomy_version: str
    counts: dict[str, int]
    """Rows read = rejected + duplicates + train + validation + test."""


@dataclass(frozen=True, kw_only=True)
class PreparedShard(Contract):
    """Cleaned rows of one of several shards, from which `prepare` makes its result. Files: <settings>/part-*.arrow."""

    shard: int
    """From 0 to `shards` - 1."""
    shards: int
    rows: int
    """Rows of the input that belong to the shard, rejected ones too."""
    settings: str
    """Equal for shards that were cleaned in the same way."""


@dataclass(frozen=True, kw_only=True)
class BaselineModel(Contract):
    """The cheap model to beat. Files: weights.safetensors, baseline.json."""

    data_fingerprint: str
    labels: list[str]
    validation_accuracy: float
    train_seconds: float


@dataclass(frozen=True, kw_only=True)
class TrainedModel(Contract):
    """A base model and a (Q)LoRA adapter on it, or all weights of one that was fine-tuned whole.

    Files: adapter/ (PEFT, safetensors) or weights/ (all of them), tokenizer/, base/ (the stand-in, where used),
    inference.json (prompt, labels, fingerprints: what inference needs), history.jsonl (loss and rate per
    logged step).
    """

    base: str
    """Hub id or path of the base model; "base" for the stand-in in this folder."""
    base_is_standin: bool
    data_fingerprint: str
    prompt_hash: str
    labels: list[str]
    """Every code that the model can answer, in the order of the score columns."""
    settings: dict[str, Any]
    """What the built model reported of itself: quantised layers, LoRA settings, parameters."""
    metrics: dict[str, float]


@dataclass(frozen=True, kw_only=True)
class EvalReport(Contract):
    """Model and baseline on the same test split.

    Files: report.md, report.html, metrics.json, predictions.jsonl, baseline_predictions.jsonl (`records.Prediction`),
    calibration.json, the pictures of the report (*.png), and baseline/ (the baseline and `cascade.json`, for a server).
    """

    data_fingerprint: str
    model_fingerprint: str
    examples: int
    model: dict[str, Any]
    """Metrics of the model, as `evaluate.metrics.occupation_metrics` returns them."""
    baseline: dict[str, Any]
    """The same metrics of the baseline."""
    gain: dict[str, dict[str, float]]
    """Model minus baseline, "macro_f1" and "accuracy": {estimate, low, high}, 95 % by paired bootstrap over the
    near-duplicate clusters of the test split."""
    mcnemar_p: float
    """Two-sided probability of McNemar's exact test that so uneven a division of the errors is chance."""
    temperature: float
    """Divides the model's log-probabilities before they are renormalised; fitted on validation."""
    language_temperatures: dict[str, float] = field(default_factory=dict)
    """Language to the temperature that its ads have in place of `temperature`: those with enough validation rows."""


@dataclass(frozen=True, kw_only=True)
class ModelVersion(Contract):
    """The registry's entry.

    Files: decision.json, model_card.md, answers.json, settings.json, champion_answers.json (where there was a champion
    to compare with).
    """

    name: str
    version: str
    aliases: list[str]
    promoted: bool
    reasons: list[str]
    """Every comparison of the gate in words."""
    model_fingerprint: str
    tracking_uri: str


@dataclass(frozen=True, kw_only=True)
class ExportedModel(Contract):
    """Merged weights ready to serve.

    Files: model/ (config, safetensors, tokenizer, inference.json, taxonomy.json, known_answers.json, baseline/),
    adapter/ (PEFT, safetensors), parity.json, parity.jsonl (the prompts of the parity check with the merged answers).
    """

    model_fingerprint: str
    labels: list[str]
    parity: dict[str, float]
    """Against base + adapter: label_agreement in [0, 1], mean_log_difference in nats, max_abs_difference."""


@dataclass(frozen=True, kw_only=True)
class Deployment(Contract):
    """An endpoint that passed its smoke test. Files: smoke_test.json, and of a local one server.log."""

    target: str
    """local, kserve, or none: nothing was deployed, since the gate has not promoted the model."""
    url: str
    """Empty where nothing was deployed."""
    model_version: str
    checks: list[dict[str, Any]]
    """One entry an ad asked: language, expected, answered, probability, valid."""


@dataclass(frozen=True, kw_only=True)
class MonitorReport(Contract):
    """One look at a served model.

    Files: report.html, report.json, decision.json, metrics.prom (Prometheus text format).
    """

    since: str
    """Start of the window, ISO 8601."""
    until: str
    """End of the window, ISO 8601, not inside."""
    rows: int
    """Answers in the window."""
    drifted: bool | None
    """None: too few answers to say."""
    drifted_tests: list[str]
    """"scope/test" of each test that found drift, the farthest first."""
    accuracy: float | None
    """Of the corrected answers; None: too few."""
    action: str
    """"none", "watch", "wait", "ask" or "retrain"."""
    retrain: bool
    """Whether a training is to be started now."""
    reasons: list[str]
    """The decision in words."""
