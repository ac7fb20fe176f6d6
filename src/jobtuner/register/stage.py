"""The register stage: put the trained model into the registry, and make it champion if the gate says so."""

import hashlib
import json
import math
from collections.abc import Mapping
from pathlib import Path

from jobtuner.config import Config
from jobtuner.contracts import CONTRACT_FILE, EvalReport, ModelVersion, PreparedData, TrainedModel
from jobtuner.errors import ContractError
from jobtuner.register.gate import Decision, decide
from jobtuner.register.model_card import model_card
from jobtuner.register.registry import (
    CHALLENGER,
    CHAMPION,
    Candidate,
    RegisteredModel,
    Registry,
    open_registry,
    published_files,
)
from jobtuner.run import local_tracking_uri
from jobtuner.tracking import current_run_id
from jobtuner.tracking_entries import without_credentials

__all__ = ["register", "run"]

_EXAMPLES = "examples"


def run(config: Config, inputs: Mapping[str, Path], out_dir: Path) -> ModelVersion:
    """Judge the trained model and register it, with the registry that the environment names.

    Args:
        config: `gate` and `register` are used; the model card quotes the rest.
        inputs: folders of `prepare`, `train`, `evaluate`.
        out_dir: gets decision.json, model_card.md and the contract.

    Raises:
        ContractError: the three inputs do not belong together, or the model holds a file that may not be published.
        TrackingError: the registry cannot be reached or refuses.
    """
    uri = local_tracking_uri()
    return register(config, inputs, out_dir, open_registry(uri, config.register_.experiment), uri)


def register(
    config: Config, inputs: Mapping[str, Path], out_dir: Path, registry: Registry, tracking_uri: str
) -> ModelVersion:
    """As `run`, with a registry at hand.

    The alias `challenger` moves to the version always, the alias `champion` only when the gate promotes it. Both come
    after the version: a run that is killed and repeated ends with one version and the same aliases.
    """
    prepared, trained = PreparedData.load(inputs["prepare"]), TrainedModel.load(inputs["train"])
    report = EvalReport.load(inputs["evaluate"])
    _check(prepared, trained, report)
    name = config.register_.model_name
    champion = registry.champion(name)
    decision = decide(report.model, report.baseline, _champion_metrics(champion, trained, report), config.gate)
    text = _decision_json(decision, champion, trained)
    (out_dir / "decision.json").write_text(text, encoding="utf-8")
    card = model_card(config, prepared, trained, report, decision)
    (out_dir / "model_card.md").write_text(card, encoding="utf-8")
    version = registry.register(name, _candidate(trained, report, out_dir))
    registry.set_alias(name, CHALLENGER, version)
    if decision.promoted:
        registry.set_alias(name, CHAMPION, version)
    return ModelVersion(
        folder=out_dir,
        fingerprint=hashlib.sha256("\n".join((name, version, trained.fingerprint, text)).encode()).hexdigest(),
        name=name,
        version=version,
        aliases=registry.aliases(name, version),
        promoted=decision.promoted,
        reasons=[item.sentence for item in decision.comparisons],
        model_fingerprint=trained.fingerprint,
        tracking_uri=without_credentials(tracking_uri),
    ).save()


def _check(prepared: PreparedData, trained: TrainedModel, report: EvalReport) -> None:
    if report.model_fingerprint != trained.fingerprint:
        raise ContractError(
            f"The report in {report.folder} is about the model {report.model_fingerprint}; {trained.folder} holds "
            f"{trained.fingerprint}. Evaluate the model that is to be registered."
        )
    if report.data_fingerprint != prepared.fingerprint:
        raise ContractError(
            f"The report in {report.folder} was made on the data {report.data_fingerprint}; {prepared.folder} holds "
            f"{prepared.fingerprint}. Evaluate the model on the data that you name here."
        )


def _champion_metrics(
    champion: RegisteredModel | None, trained: TrainedModel, report: EvalReport
) -> Mapping[str, float] | None:
    if champion is None or champion.fingerprint == trained.fingerprint:  # a model does not compete with itself
        return None
    # The same number of examples of the same data are the same examples: the first by id hash are taken.
    same = champion.data_fingerprint == report.data_fingerprint and champion.metrics.get(_EXAMPLES) == report.examples
    return champion.metrics if same else {}


def _decision_json(decision: Decision, champion: RegisteredModel | None, trained: TrainedModel) -> str:
    rival = None if champion is None or champion.fingerprint == trained.fingerprint else champion.version
    document = {"model_fingerprint": trained.fingerprint, "champion_version": rival, **decision.to_json()}
    return json.dumps(document, ensure_ascii=False, indent=1)


def _candidate(trained: TrainedModel, report: EvalReport, out_dir: Path) -> Candidate:
    names = ["adapter", "tokenizer", "inference.json", CONTRACT_FILE]
    if trained.base_is_standin:  # nowhere else to be had
        names.append(trained.base)
    overall = {key: float(value) for key, value in report.model.items() if _finite(value)}
    return Candidate(
        fingerprint=trained.fingerprint,
        data_fingerprint=report.data_fingerprint,
        files=published_files(*(trained.folder / name for name in names), out_dir / "model_card.md"),
        metrics={**overall, _EXAMPLES: report.examples},
        run_id=current_run_id(),
    )


def _finite(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
