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
from jobtuner.drift_reference.build import reference_of_run
from jobtuner.drift_reference.files import FOLDER
from jobtuner.errors import DataError, ModelError
from jobtuner.export.merge import merge
from jobtuner.progress import notice, track
from jobtuner.records import Example, read_jsonl
from jobtuner.reference import write_reference
from jobtuner.scoring import TAXONOMY_FILE, InferenceSettings, load_adapted, load_exported
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
        shutil.copy2(prepared.folder / "taxonomy.json", folder / TAXONOMY_FILE)
        _write_settings(settings, trained, report, folder)
        bar.advance()
    found = parity(trained, folder, prepared, config, report.temperature)
    (out_dir / "parity.json").write_text(json.dumps(found, indent=1), encoding="utf-8")
    if found["label_agreement"] < config.export.min_label_agreement:
        raise ModelError(
            f"The merged model agrees with base + adapter on {found['label_agreement']:.1%} of {found['examples']:.0f} "
            f"validation prompts; export.min_label_agreement asks for {config.export.min_label_agreement:.1%}. "
            "Try export.dtype float32."
        )
    exported = ExportedModel(
        folder=out_dir,
        fingerprint=_fingerprint(folder),
        model_fingerprint=trained.fingerprint,
        labels=settings.labels,
        parity=found,
    )
    _write_watch_reference(prepared, report, folder)  # after the fingerprint: it holds the time at which it was made
    return exported.save()


def _write_watch_reference(prepared: PreparedData, report: EvalReport, folder: Path) -> None:
    try:
        reference_of_run(prepared, report).save(folder / FOLDER)
    except DataError as error:
        notice(f"The model goes without a reference for the watch over drift. {error}")


def _write_settings(settings: InferenceSettings, trained: TrainedModel, report: EvalReport, folder: Path) -> None:
    """What the evaluation found goes with the weights: temperature, abstention, and the baseline with its threshold."""
    measured = json.loads((report.folder / "metrics.json").read_text(encoding="utf-8"))
    replace(
        settings,
        temperature=report.temperature,
        model_version=trained.fingerprint[:12],
        abstain_below=float(measured["abstention"]["model"]["point"]["threshold"]),
    ).save(folder)
    shutil.copytree(report.folder / BASELINE_FOLDER, folder / BASELINE_FOLDER)


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
        write_reference(merged, folder)
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
