"""The stage `evaluate`: model and baseline on the same test examples, and the report."""

import hashlib
import json
import shutil
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from jobtuner.cascade import BASELINE_FOLDER, CascadeSettings
from jobtuner.config import Config, EvaluateConfig
from jobtuner.contracts import BaselineModel, EvalReport, PreparedData, TrainedModel
from jobtuner.errors import ContractError, DataError
from jobtuner.evaluate.chat_stage import run_chat
from jobtuner.evaluate.predict import Predictor, load_predictor
from jobtuner.evaluate.report import write_report
from jobtuner.evaluate.results import Comparison, Evaluated, Settings, compare, evaluate_predictor
from jobtuner.linear.classifier import SETTINGS_FILE, WEIGHTS_FILE, BaselineClassifier
from jobtuner.records import Example, read_jsonl, write_jsonl
from jobtuner.router import BASELINE_ONLY, MODEL_ONLY, Point, Prices, cost_per_thousand, curve
from jobtuner.tasks import CHAT_TASKS
from jobtuner.taxonomy import Taxonomy

__all__ = ["evaluate", "run"]


def run(config: Config, inputs: Mapping[str, Path], out_dir: Path) -> EvalReport:
    """Score the test split with both models, compare, write predictions and report.

    Args:
        config: the section evaluate, and the seed.
        inputs: the folders of `prepare`, `baseline` and `train`.
        out_dir: gets the files named in `contracts.EvalReport`.

    Raises:
        ContractError: an input is not finished, or the models were trained on other data than this test split's.
        DataError: the test or validation split is empty.
        ModelError: a model cannot be loaded, or gives NaN.
    """
    if config.task in CHAT_TASKS:
        return run_chat(config, inputs, out_dir)
    prepared, trained = PreparedData.load(inputs["prepare"]), TrainedModel.load(inputs["train"])
    reference = BaselineModel.load(inputs["baseline"])
    _check_same_data(prepared, trained, reference)
    taxonomy = Taxonomy.load(prepared.folder / "taxonomy.json")
    baseline = BaselineClassifier.load(reference.folder)
    _keep_baseline(reference, out_dir)
    model = load_predictor(trained, config, taxonomy)
    return evaluate(config, prepared, trained, taxonomy, model=model, baseline=baseline, out_dir=out_dir)


def evaluate(
    config: Config,
    prepared: PreparedData,
    trained: TrainedModel,
    taxonomy: Taxonomy,
    *,
    model: Predictor,
    baseline: Predictor,
    out_dir: Path,
) -> EvalReport:
    """What `run` does once both models are loaded."""
    chosen = config.evaluate
    validation = _examples(prepared, "validation", chosen.max_validation)
    test = _examples(prepared, "test", chosen.max_examples)
    training_rows = Counter(row["label"] for row in read_jsonl(prepared.folder / "train.jsonl"))
    settings = Settings(
        chosen.batch_size, chosen.top_k, chosen.target_precision, config.seed, chosen.min_language_rows, _prices(chosen)
    )
    ours, theirs = (
        evaluate_predictor(name, predictor, validation, test, training_rows, settings)
        for name, predictor in (("model", model), ("baseline", baseline))
    )
    result = compare(
        test,
        ours,
        theirs,
        taxonomy,
        settings,
        base=trained.base,
        base_is_standin=trained.base_is_standin,
    )
    _write_results(result, len(validation), out_dir)
    write_report(result, out_dir)
    return EvalReport(
        folder=out_dir,
        fingerprint=_fingerprint(out_dir),
        data_fingerprint=prepared.fingerprint,
        model_fingerprint=trained.fingerprint,
        examples=len(test),
        model=ours.metrics,
        baseline=theirs.metrics,
        gain={name: asdict(interval) for name, interval in result.gain.items()},
        mcnemar_p=result.mcnemar.p_value,
        temperature=ours.temperatures.pooled,
        language_temperatures=dict(ours.temperatures.languages),
    ).save()


def _prices(chosen: EvaluateConfig) -> Prices | None:
    if chosen.baseline_price is None or chosen.model_price is None:
        return None
    return Prices(chosen.baseline_price / 1000.0, chosen.model_price / 1000.0)


def _check_same_data(prepared: PreparedData, *models: TrainedModel | BaselineModel) -> None:
    for model in models:
        if model.data_fingerprint != prepared.fingerprint:
            raise ContractError(
                f"The {type(model).__name__} in {model.folder} was trained on data {model.data_fingerprint[:12]}; the "
                f"test split in {prepared.folder} is of {prepared.fingerprint[:12]}. Its rows may have been seen in "
                "training: train again on this data."
            )


def _keep_baseline(reference: BaselineModel, out_dir: Path) -> None:
    """The baseline goes with its evaluation, so that a server finds beside the model what answers before it."""
    folder = out_dir / BASELINE_FOLDER
    folder.mkdir(exist_ok=True)
    for name in (SETTINGS_FILE, WEIGHTS_FILE):
        shutil.copyfile(reference.folder / name, folder / name)


def _examples(prepared: PreparedData, split: str, limit: int | None) -> list[Example]:
    """The examples of a split in file order; with a limit, those with the first SHA-256 of their id."""
    path = prepared.folder / f"{split}.jsonl"
    rows = [Example.from_json(row) for row in read_jsonl(path)]
    if not rows:
        raise DataError(f"{path} has no rows. Run prepare with more data or a larger split.{split}.")
    if limit is None or limit >= len(rows):
        return rows
    chosen = set(sorted(hashlib.sha256(row.id.encode()).hexdigest() for row in rows)[:limit])
    return [row for row in rows if hashlib.sha256(row.id.encode()).hexdigest() in chosen]


def _write_results(result: Comparison, validation_rows: int, out_dir: Path) -> None:
    sides = {"model": result.model, "baseline": result.baseline}
    write_jsonl(out_dir / "predictions.jsonl", result.model.predictions)
    write_jsonl(out_dir / "baseline_predictions.jsonl", result.baseline.predictions)
    document = {
        **{name: side.metrics for name, side in sides.items()},
        "gain": {name: asdict(interval) for name, interval in result.gain.items()},
        "mcnemar": asdict(result.mcnemar),
        "abstention": {name: side.abstention.to_json() for name, side in sides.items()},
        "cascade": {**result.cascade.to_json(), **_costs(result)},
        "cascade_precise": result.cascade_precise.to_json(),
        "prediction_sets": {name: [asdict(item) for item in side.sets] for name, side in sides.items()},
    }
    _write_json(out_dir / "metrics.json", document)
    calibration = {name: _calibration(side) for name, side in sides.items()}
    _write_json(out_dir / "calibration.json", {"validation_examples": validation_rows, **calibration})
    (out_dir / BASELINE_FOLDER).mkdir(exist_ok=True)
    _cascade_settings(result).save(out_dir / BASELINE_FOLDER)


def _costs(result: Comparison) -> dict[str, Any]:
    """What 1,000 ads cost by the cascade and by each model alone, and along the curve, where prices are known."""
    if result.prices is None:
        return {}
    ends = {"model": Point(MODEL_ONLY, 0.0, None, 0.0), "baseline": Point(BASELINE_ONLY, 1.0, None, 0.0)}
    told = {name: cost_per_thousand(point, result.prices) for name, point in ends.items()}
    told["cascade"] = cost_per_thousand(result.cascade.point, result.prices)
    along = [[point.coverage, cost_per_thousand(point, result.prices)] for point in result.cascade.curve]
    return {"cost_per_thousand": told, "cost_curve": along}


def _cascade_settings(result: Comparison) -> CascadeSettings:
    held, model = result.baseline.held, result.model.held
    points = curve(held.confidence, held.right, model.right)
    temperatures = result.baseline.temperatures
    return CascadeSettings(
        temperatures.pooled, result.cascade.point.threshold, len(held.right), points, dict(temperatures.languages)
    )


def _calibration(side: Evaluated) -> dict[str, Any]:
    return {
        "temperature": side.temperatures.pooled,
        "language_temperatures": dict(side.temperatures.languages),
        "ece_uncalibrated": side.ece_uncalibrated,
        "ece_pooled": side.ece_pooled,
        "ece": side.metrics["ece"],
        "bins": side.bins,
    }


def _write_json(path: Path, document: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(document, ensure_ascii=False, indent=1, allow_nan=False) + "\n", encoding="utf-8")


def _fingerprint(out_dir: Path) -> str:
    digest = hashlib.sha256()
    for name in ("metrics.json", "calibration.json", "predictions.jsonl", "baseline_predictions.jsonl"):
        digest.update(name.encode() + b"\0" + (out_dir / name).read_bytes())
    return digest.hexdigest()
