"""The export stage: merged weights with everything inference needs beside them, checked against what was evaluated."""

import hashlib
import json
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from jobtuner.cascade import BASELINE_FOLDER
from jobtuner.config import Config, ExportConfig
from jobtuner.contracts import PARITY_FILE, EvalReport, ExportedModel, PreparedData, TrainedModel
from jobtuner.drift_reference.build import reference_of_run
from jobtuner.drift_reference.files import FOLDER
from jobtuner.errors import DataError, ModelError
from jobtuner.export.chat_parity import chat_parity
from jobtuner.export.merge import merge
from jobtuner.known_answers import write_known_answers
from jobtuner.progress import notice, track
from jobtuner.records import Example, read_jsonl, write_jsonl
from jobtuner.scoring import TAXONOMY_FILE, InferenceSettings, load_adapted, load_exported
from jobtuner.tasks import CHAT_TASKS
from jobtuner.taxonomy import Taxonomy

__all__ = ["parity", "run"]


def run(config: Config, inputs: Mapping[str, Path], out_dir: Path) -> ExportedModel:
    """Merge, write and compare.

    Raises:
        ModelError: the merged model answers otherwise than base and adapter on too many validation prompts, or with
            other probabilities.
    """
    prepared, trained = PreparedData.load(inputs["prepare"]), TrainedModel.load(inputs["train"])
    report = EvalReport.load(inputs["evaluate"])
    if report.model_fingerprint != trained.fingerprint:
        raise ModelError(
            f"The evaluation is of model {report.model_fingerprint[:12]}, this one is "
            f"{trained.fingerprint[:12]}: evaluate it first."
        )
    folder = out_dir / "model"
    folder.mkdir()
    settings = InferenceSettings.load(trained.folder)
    with track("Merging adapter and base", total=2, unit="steps") as bar:
        merge(trained, settings, config.export.dtype, folder)
        bar.advance()
        shutil.copytree(trained.folder / "tokenizer", folder, dirs_exist_ok=True)
        if config.task not in CHAT_TASKS:
            shutil.copy2(prepared.folder / "taxonomy.json", folder / TAXONOMY_FILE)
        _write_settings(settings, trained, report, folder)
        bar.advance()
    if (trained.folder / "adapter").is_dir():  # full fine-tuning has none
        shutil.copytree(trained.folder / "adapter", out_dir / "adapter")
    if config.task in CHAT_TASKS:
        found, of_what = chat_parity(trained, folder, prepared, config), "the answers' tokens"
    else:
        found, answers = parity(trained, folder, prepared, config, report.temperature)
        of_what = "labels"
        write_jsonl(out_dir / PARITY_FILE, answers)
    (out_dir / "parity.json").write_text(json.dumps(found, indent=1), encoding="utf-8")
    _judge(found, of_what, config.export)
    exported = ExportedModel(
        folder=out_dir,
        fingerprint=_fingerprint(folder),
        model_fingerprint=trained.fingerprint,
        labels=settings.labels,
        parity=found,
    )
    if config.task not in CHAT_TASKS:
        _write_watch_reference(prepared, report, folder)  # after the fingerprint: it holds the time of its making
    return exported.save()


def _judge(found: Mapping[str, float], of_what: str, limits: ExportConfig) -> None:
    asked = f"{found['examples']:.0f} validation prompts"
    if found["label_agreement"] < limits.min_label_agreement:
        raise ModelError(
            f"The merged model agrees with base + adapter on {found['label_agreement']:.1%} of {of_what}, {asked}; "
            f"export.min_label_agreement asks for {limits.min_label_agreement:.1%}. Try export.dtype float32."
        )
    if found["mean_log_difference"] > limits.max_log_difference:
        raise ModelError(
            f"The merged model's log-probabilities differ from those of base + adapter by "
            f"{found['mean_log_difference']:.3g} nats on average, {asked}; export.max_log_difference allows "
            f"{limits.max_log_difference:g}. Try export.dtype float32."
        )


def _write_watch_reference(prepared: PreparedData, report: EvalReport, folder: Path) -> None:
    try:
        reference_of_run(prepared, report).save(folder / FOLDER)
    except DataError as error:
        notice(f"The model goes without a reference for the watch over drift. {error}")


def _write_settings(settings: InferenceSettings, trained: TrainedModel, report: EvalReport, folder: Path) -> None:
    """What the evaluation found goes with the weights: temperature, abstention, and the baseline with its threshold."""
    settings = replace(
        settings,
        temperature=report.temperature,
        language_temperatures=report.language_temperatures,
        model_version=trained.fingerprint[:12],
    )
    if settings.task not in CHAT_TASKS:
        measured = json.loads((report.folder / "metrics.json").read_text(encoding="utf-8"))
        settings = replace(settings, abstain_below=float(measured["abstention"]["model"]["point"]["threshold"]))
        shutil.copytree(report.folder / BASELINE_FOLDER, folder / BASELINE_FOLDER)
    settings.save(folder)


def parity(
    trained: TrainedModel, folder: Path, prepared: PreparedData, config: Config, temperature: float
) -> tuple[dict[str, float], list[dict[str, str]]]:
    """Agreement of the merged model with base + adapter on the first validation prompts by id.

    Returns:
        examples, label_agreement in [0, 1], mean_log_difference (nats, of the label that base + adapter find likeliest)
        and max_abs_difference of the calibrated probabilities; and a row a prompt: id, text, language, label, and what
        the merged model answered: a served copy of it must answer the same.
    """
    rows = [Example.from_json(row) for row in read_jsonl(prepared.folder / "validation.jsonl")]
    asked = sorted(rows, key=lambda item: item.id)[: config.export.parity_examples]
    texts = [item.text for item in asked]
    taxonomy = Taxonomy.load(prepared.folder / "taxonomy.json")
    with track("Parity check", total=2, unit="models") as bar:
        before = load_adapted(trained, taxonomy).log_probabilities(texts).astype(np.float64) / temperature
        bar.advance()
        merged = load_exported(folder)
        after = merged.log_probabilities(texts).astype(np.float64)
        write_known_answers(merged, folder)
        bar.advance()
    before -= np.log(np.exp(before).sum(axis=1, keepdims=True))
    rows_of, best = np.arange(len(texts)), before.argmax(axis=1)
    found = {
        "examples": float(len(texts)),
        "label_agreement": float((best == after.argmax(axis=1)).mean()),
        "mean_log_difference": float(np.abs(before[rows_of, best] - after[rows_of, best]).mean()),
        "max_abs_difference": float(np.abs(np.exp(before) - np.exp(after)).max()),
    }
    answers = [merged.labels[column] for column in after.argmax(axis=1)]
    return found, [
        {"id": item.id, "text": item.text, "language": item.language, "label": item.label, "answered": answer}
        for item, answer in zip(asked, answers, strict=True)
    ]


def _fingerprint(folder: Path) -> str:
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()
