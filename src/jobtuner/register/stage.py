"""The register stage: put the trained model into the registry, and make it champion if the gate says so."""

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from jobtuner.chat_metrics import HEADLINES, measure_chats, pair_chats
from jobtuner.config import Config
from jobtuner.contracts import CONTRACT_FILE, EvalReport, ExportedModel, ModelVersion, PreparedData, TrainedModel
from jobtuner.errors import ContractError, ModelError, TrackingError
from jobtuner.models import WEIGHTS_FOLDER
from jobtuner.records import ChatAnswer, read_jsonl
from jobtuner.register.answers import ANSWERS_FILE, Answers, measure, paired
from jobtuner.register.champion import Load, champion_answers, champion_parameters
from jobtuner.register.chat_answers import ChatAnswers, champion_chats
from jobtuner.register.chat_card import chat_model_card
from jobtuner.register.gate import Challenger, Decision, Rival, Unmeasured, decide
from jobtuner.register.model_card import model_card
from jobtuner.register.promotion import promote
from jobtuner.register.registry import (
    CHALLENGER,
    REPLACES,
    TAKEN_BACK,
    Candidate,
    RegisteredModel,
    Registry,
    champion_of,
    open_registry,
    published_files,
)
from jobtuner.run import local_tracking_uri
from jobtuner.scoring import InferenceSettings, load_adapted
from jobtuner.tasks import CHAT_TASKS
from jobtuner.tracking import current_run_id
from jobtuner.tracking_entries import recipe_parameters, without_credentials

__all__ = ["SETTINGS_FILE", "register", "run"]

SETTINGS_FILE = "settings.json"
"""The recipe of a version as dotted keys, as the tracker has it; `jobtuner compare` tells versions apart by it."""

_ATTEMPTS = 5  # comparisons with a champion that keeps changing: as many runs would have to end at the same moment
_EXAMPLES = "examples"
_CARD = "model_card.md"


@dataclass(frozen=True)
class _Inputs:
    """The contracts that the stage reads."""

    prepared: PreparedData
    trained: TrainedModel
    report: EvalReport
    exported: ExportedModel

    @classmethod
    def load(cls, inputs: Mapping[str, Path]) -> "_Inputs":
        found = cls(
            PreparedData.load(inputs["prepare"]),
            TrainedModel.load(inputs["train"]),
            EvalReport.load(inputs["evaluate"]),
            ExportedModel.load(inputs["export"]),
        )
        found.check()
        return found

    def check(self) -> None:
        for made, place in ((self.report, "The report in"), (self.exported, "The merged model in")):
            if made.model_fingerprint != self.trained.fingerprint:
                raise ContractError(
                    f"{place} {made.folder} is about the model {made.model_fingerprint}; {self.trained.folder} holds "
                    f"{self.trained.fingerprint}. Evaluate and export the model that is to be registered."
                )
        if self.report.data_fingerprint != self.prepared.fingerprint:
            raise ContractError(
                f"The report in {self.report.folder} was made on the data {self.report.data_fingerprint}; "
                f"{self.prepared.folder} holds {self.prepared.fingerprint}. Evaluate the model on the data that you "
                "name here."
            )


def run(config: Config, inputs: Mapping[str, Path], out_dir: Path) -> ModelVersion:
    """Judge the trained model and register it, with the registry that the environment names.

    Args:
        config: `gate` and `register` are used, and `evaluate.batch_size` for a champion that is asked anew; the model
            card quotes the rest.
        inputs: folders of `prepare`, `train`, `evaluate`, `export`.
        out_dir: gets decision.json, model_card.md, answers.json, settings.json, champion_answers.json where there is a
            champion that could be measured, and the contract.

    Raises:
        ContractError: the inputs do not belong together, or the model holds a file that may not be published.
        TrackingError: the registry cannot be reached or refuses.
    """
    uri = local_tracking_uri()
    return register(config, inputs, out_dir, open_registry(uri, config.register_.experiment), uri)


def register(
    config: Config,
    inputs: Mapping[str, Path],
    out_dir: Path,
    registry: Registry,
    tracking_uri: str,
    load: Load = load_adapted,
) -> ModelVersion:
    """As `run`, with a registry at hand.

    The alias `challenger` moves to the version always, the alias `champion` only when the gate promotes it. Both come
    after the version: a run that is killed and repeated ends with one version and the same aliases.
    """
    given, name = _Inputs.load(inputs), config.register_.model_name
    for _ in range(_ATTEMPTS):
        decision, champion, text = _judge(config, given, registry, out_dir, load)
        version = registry.register(name, _candidate(given.trained, given.report, out_dir))
        registry.set_alias(name, CHALLENGER, version)
        if not decision.promoted or promote(registry, name, version, champion):
            break
    else:
        raise TrackingError(
            f"The champion of {name} changed {_ATTEMPTS} times while version {version} was compared with it. Run the "
            "stage register again when the other runs are done."
        )
    return ModelVersion(
        folder=out_dir,
        fingerprint=hashlib.sha256("\n".join((name, version, given.trained.fingerprint, text)).encode()).hexdigest(),
        name=name,
        version=version,
        aliases=next(item.aliases for item in registry.versions(name) if item.version == version),
        promoted=decision.promoted,
        reasons=[item.sentence for item in decision.comparisons],
        model_fingerprint=given.trained.fingerprint,
        tracking_uri=without_credentials(tracking_uri),
    ).save()


def _judge(
    config: Config, given: _Inputs, registry: Registry, out_dir: Path, load: Load
) -> tuple[Decision, str | None, str]:
    """Compare, decide, and write everything about it; the decision, the version of the champion, and decision.json."""
    versions = registry.versions(config.register_.model_name)
    champion = _champion(versions, given.trained)
    if config.task in CHAT_TASKS:
        decision, card = _judge_chats(config, given, registry, versions, champion, out_dir)
    else:
        decision, card = _judge_labels(config, given, registry, versions, champion, out_dir, load)
    text = _decision_json(config, decision, champion, given)
    (out_dir / "decision.json").write_text(text, encoding="utf-8")
    (out_dir / _CARD).write_text(card, encoding="utf-8")
    settings = json.dumps(recipe_parameters(config), ensure_ascii=False, indent=1, sort_keys=True)
    (out_dir / SETTINGS_FILE).write_text(settings, encoding="utf-8")
    return decision, None if champion is None else champion.version, text


def _judge_labels(
    config: Config,
    given: _Inputs,
    registry: Registry,
    versions: list[RegisteredModel],
    champion: RegisteredModel | None,
    out_dir: Path,
    load: Load,
) -> tuple[Decision, str]:
    """The decision and the model card; the answers are written."""
    report = given.report
    ours = Answers.of_report(report, given.prepared)
    theirs = Answers.of_report(report, given.prepared, "baseline_predictions.jsonl")
    _check_count(report, len(ours.rows))
    baseline = _rival(config, ours, theirs, report.baseline)
    rival = None if champion is None else _champion_rival(config, given, ours, registry, champion, out_dir, load)
    decision = decide(_challenger(given, len(ours.rows), versions), baseline, rival, config.gate)
    ours.save(out_dir / ANSWERS_FILE)
    return decision, model_card(config, given.prepared, given.trained, report, decision, ours, theirs)


def _judge_chats(
    config: Config,
    given: _Inputs,
    registry: Registry,
    versions: list[RegisteredModel],
    champion: RegisteredModel | None,
    out_dir: Path,
) -> tuple[Decision, str]:
    """As `_judge_labels`, for tasks that answer in text."""
    report, task = given.report, config.task
    ours, theirs = (
        ChatAnswers(task, report.data_fingerprint, [ChatAnswer.from_json(row) for row in read_jsonl(path)])
        for path in (report.folder / "predictions.jsonl", report.folder / "baseline_predictions.jsonl")
    )
    _check_count(report, len(ours.rows))
    baseline = _chat_rival(config, ours, theirs.rows, report.baseline)
    rival: Rival | Unmeasured | None = None
    if champion is not None:
        name, size = config.register_.model_name, config.chat.batch_size
        found = champion_chats(registry, name, champion, given.prepared, ours, size)
        if isinstance(found, Unmeasured):
            rival = found
        else:
            ChatAnswers(task, report.data_fingerprint, found).save(out_dir / "champion_answers.json")
            note = _other_data(champion, given)
            rival = _chat_rival(config, ours, found, measure_chats(task, found, config.seed), note)
    challenger = replace(_challenger(given, len(ours.rows), versions), text_metric=HEADLINES[task])
    decision = decide(challenger, baseline, rival, config.gate)
    ours.save(out_dir / ANSWERS_FILE)
    return decision, chat_model_card(config, given.prepared, given.trained, report, decision)


def _chat_rival(
    config: Config, ours: ChatAnswers, theirs: list[ChatAnswer], metrics: Mapping[str, object], note: str = ""
) -> Rival:
    gain, test = pair_chats(config.task, ours.rows, theirs, config.seed)
    return Rival(metrics, gain, test.p_value, None, note)


def _check_count(report: EvalReport, answers: int) -> None:
    if answers != report.examples:
        raise ContractError(
            f"The report in {report.folder} counts {report.examples} test ads, its predictions answer {answers}. Run "
            "the stage evaluate again."
        )


def _champion(versions: list[RegisteredModel], trained: TrainedModel) -> RegisteredModel | None:
    """The version to beat: the champion; where that is this very model, the one that it replaced.

    A model never competes with itself, and a repeated run judges it as the first one did.
    """
    champion = champion_of(versions)
    if champion is None or champion.fingerprint != trained.fingerprint:
        return champion
    before = champion.marks.get(REPLACES, "")
    return next((item for item in versions if item.version == before), None)


def _challenger(given: _Inputs, examples: int, versions: list[RegisteredModel]) -> Challenger:
    known = next((item for item in versions if item.fingerprint == given.trained.fingerprint), None)
    return Challenger(
        metrics=given.report.model,
        examples=examples,
        prompt_hashes={
            "training": given.trained.prompt_hash,
            # Evaluation asks as the file beside the adapter says, and refuses where its own prompt differs.
            "evaluation": _prompt_hash(given.trained.folder),
            "export": _prompt_hash(given.exported.folder / "model"),
        },
        label_agreement=given.exported.parity.get("label_agreement"),
        rolled_back="" if known is None else known.marks.get(TAKEN_BACK, ""),
    )


def _prompt_hash(folder: Path) -> str | None:
    try:
        return InferenceSettings.load(folder).prompt_hash
    except ModelError:
        return None


def _rival(
    config: Config,
    ours: Answers,
    theirs: Answers,
    metrics: Mapping[str, object],
    parameters: tuple[int, int] | None = None,
    note: str = "",
) -> Rival:
    gain, test = paired(ours, theirs, config.gate.metric, config.seed)
    return Rival(metrics, gain, test.p_value, parameters, note)


def _champion_rival(
    config: Config,
    given: _Inputs,
    ours: Answers,
    registry: Registry,
    champion: RegisteredModel,
    out_dir: Path,
    load: Load,
) -> Rival | Unmeasured:
    name = config.register_.model_name
    theirs = champion_answers(registry, name, champion, given.prepared, ours, config.evaluate.batch_size, load)
    if isinstance(theirs, Unmeasured):
        return theirs
    theirs.save(out_dir / "champion_answers.json")
    sizes = None
    if config.gate.non_inferiority_margin is not None:
        own, other = given.trained.settings.get("total_parameters"), champion_parameters(registry, name, champion)
        sizes = (own, other) if isinstance(own, int) and other is not None else None
    return _rival(config, ours, theirs, measure(theirs), sizes, _other_data(champion, given))


def _other_data(champion: RegisteredModel, given: _Inputs) -> str:
    if champion.data_fingerprint == given.prepared.fingerprint:
        return ""
    return (
        "The champion was trained on other data, which may hold some of these test ads: that would favour the champion."
    )


def _decision_json(config: Config, decision: Decision, champion: RegisteredModel | None, given: _Inputs) -> str:
    document = {
        "model_fingerprint": given.trained.fingerprint,
        "data_fingerprint": given.report.data_fingerprint,
        "champion_version": None if champion is None else champion.version,
        "settings": config.gate.model_dump(mode="json"),
        **decision.to_json(),
    }
    return json.dumps(document, ensure_ascii=False, indent=1)


def _candidate(trained: TrainedModel, report: EvalReport, out_dir: Path) -> Candidate:
    whole = (trained.folder / WEIGHTS_FOLDER).is_dir()
    names = [WEIGHTS_FOLDER if whole else "adapter", "tokenizer", "inference.json", CONTRACT_FILE]
    if trained.base_is_standin and not whole:  # nowhere else to be had
        names.append(trained.base)
    results = [_CARD, ANSWERS_FILE, SETTINGS_FILE]
    overall = {key: float(value) for key, value in report.model.items() if _finite(value)}
    return Candidate(
        fingerprint=trained.fingerprint,
        data_fingerprint=report.data_fingerprint,
        files=published_files(*(trained.folder / name for name in names), *(out_dir / name for name in results)),
        metrics={**overall, _EXAMPLES: report.examples},
        temperature=report.temperature,
        language_temperatures=report.language_temperatures,
        run_id=current_run_id(),
        measured=frozenset(results),
    )


def _finite(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
