"""The export stage: merged weights with everything inference needs beside them, checked against what was evaluated."""

import hashlib
import json
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from jobtuner.cascade import BASELINE_FOLDER
from jobtuner.config import Config
from jobtuner.contracts import EvalReport, ExportedModel, PreparedData, TrainedModel
from jobtuner.errors import ModelError
from jobtuner.export.chat_parity import chat_parity
from jobtuner.export.merge import merge
from jobtuner.known_answers import write_known_answers
from jobtuner.progress import track
from jobtuner.records import Example, read_jsonl
from jobtuner.scoring import TAXONOMY_FILE, InferenceSettings, load_adapted, load_exported
from jobtuner.tasks import CHAT_TASKS
from jobtuner.taxonomy import Taxonomy

__all__ = ["parity", "run"]


def run(config: Config, inputs: Mapping[str, Path], out_dir: Path) -> ExportedModel:
    """Merge, write and compare.

    Raises:
        ModelError: the merged model answers otherwise than base and adapter on too many validation prompts.
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
    if config.task in CHAT_TASKS:
        found, of_what = chat_parity(trained, folder, prepared, config), "the answers' tokens"
    else:
        found, of_what = parity(trained, folder, prepared, config, report.temperature), "labels"
    (out_dir / "parity.json").write_text(json.dumps(found, indent=1), encoding="utf-8")
    if found["label_agreement"] < config.export.min_label_agreement:
        raise ModelError(
            f"The merged model agrees with base + adapter on {found['label_agreement']:.1%} of {of_what}, "
            f"{found['examples']:.0f} validation prompts; export.min_label_agreement asks for "
            f"{config.export.min_label_agreement:.1%}. "
            "Try export.dtype float32."
        )
    return ExportedModel(
        folder=out_dir,
        fingerprint=_fingerprint(folder),
        model_fingerprint=trained.fingerprint,
        labels=settings.labels,
        parity=found,
    ).save()


def _write_settings(settings: InferenceSettings, trained: TrainedModel, report: EvalReport, folder: Path) -> None:
    """What the evaluation found goes with the weights: temperature, abstention, and the baseline with its threshold."""
    settings = replace(settings, temperature=report.temperature, model_version=trained.fingerprint[:12])
    if settings.task not in CHAT_TASKS:
        measured = json.loads((report.folder / "metrics.json").read_text(encoding="utf-8"))
        settings = replace(settings, abstain_below=float(measured["abstention"]["model"]["point"]["threshold"]))
        shutil.copytree(report.folder / BASELINE_FOLDER, folder / BASELINE_FOLDER)
    settings.save(folder)


def parity(
    trained: TrainedModel, folder: Path, prepared: PreparedData, config: Config, temperature: float
) -> dict[str, float]:
    """Agreement of the merged model with base + adapter on the first validation prompts by id.

    Returns:
        examples, label_agreement in [0, 1], and max_abs_difference of the calibrated probabilities.
    """
    rows = [Example.from_json(row) for row in read_jsonl(prepared.folder / "validation.jsonl")]
    texts = [item.text for item in sorted(rows, key=lambda item: item.id)[: config.export.parity_examples]]
    taxonomy = Taxonomy.load(prepared.folder / "taxonomy.json")
    with track("Parity check", total=2, unit="models") as bar:
        before = load_adapted(trained, taxonomy).log_probabilities(texts).astype(np.float64) / temperature
        bar.advance()
        merged = load_exported(folder)
        after = merged.log_probabilities(texts).astype(np.float64)
        write_known_answers(merged, folder)
        bar.advance()
    before -= np.log(np.exp(before).sum(axis=1, keepdims=True))
    return {
        "examples": float(len(texts)),
        "label_agreement": float((before.argmax(axis=1) == after.argmax(axis=1)).mean()),
        "max_abs_difference": float(np.abs(np.exp(before) - np.exp(after)).max()),
    }


def _fingerprint(folder: Path) -> str:
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()
