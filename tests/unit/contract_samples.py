"""Small finished stages on disk, with every file that their contracts name."""

import json
from pathlib import Path
from typing import Any

from jobtuner.contracts import (
    BaselineModel,
    Deployment,
    EvalReport,
    ExportedModel,
    ModelVersion,
    MonitorReport,
    PreparedData,
    TrainedModel,
)
from jobtuner.records import write_jsonl


def _folder(path: Path, *files: str) -> Path:
    for name in files:
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_text(f"content of {name}", encoding="utf-8")
    path.mkdir(parents=True, exist_ok=True)
    return path


def prepared(path: Path, fingerprint: str = "d" * 64) -> PreparedData:
    return PreparedData(
        folder=_folder(path, "card.md", "test.jsonl"),
        fingerprint=fingerprint,
        task="occupation",
        source="generated",
        languages=["da", "en"],
        labels=["2221", "2512"],
        taxonomy_version="t1",
        counts={"read": 100, "rejected": 5, "duplicates": 10, "train": 60, "validation": 10, "test": 15},
    ).save()


def baseline(path: Path) -> BaselineModel:
    return BaselineModel(
        folder=_folder(path, "weights.safetensors", "baseline.json"),
        fingerprint="b" * 64,
        data_fingerprint="d" * 64,
        labels=["2221", "2512"],
        validation_accuracy=0.75,
        train_seconds=1.5,
    ).save()


def trained(path: Path, fingerprint: str = "a" * 64, standin: bool = True, **changes: Any) -> TrainedModel:
    adapter = ("adapter/adapter_config.json", "adapter/adapter_model.safetensors")
    base = ("base/config.json", "base/model.safetensors") if standin else ()
    folder = _folder(path, *adapter, *base, "tokenizer/tokenizer.json", "inference.json")
    history = [{"step": step, "loss": 2.0 / step, "learning_rate": 1e-4, "note": "text"} for step in (1, 2, 4)]
    write_jsonl(folder / "history.jsonl", history)
    fields: dict[str, Any] = {
        "base": "base" if standin else "Qwen/Qwen2.5-7B-Instruct",
        "base_is_standin": standin,
        "data_fingerprint": "d" * 64,
        "prompt_hash": "p" * 64,
        "labels": ["2221", "2512"],
        "settings": {"lora": {"r": 16}, "quantized_layers": 14},
        "metrics": {"train_loss": 0.5, "tokens_per_second": 1000.0},
    }
    return TrainedModel(folder=folder, fingerprint=fingerprint, **(fields | changes)).save()


def metrics(accuracy: float, macro_f1: float, **languages: tuple[int, float]) -> dict[str, Any]:
    return {
        "accuracy": accuracy,
        "macro_f1": macro_f1,
        "per_language": {
            language: {"n": count, "accuracy": value, "macro_f1": value}
            for language, (count, value) in languages.items()
        },
        "per_label": {"2512": {"n": 5, "f1": 0.5}},
    }


def report(
    path: Path, model: dict[str, Any] | None = None, model_fingerprint: str = "a" * 64, data_fingerprint: str = "d" * 64
) -> EvalReport:
    names = ("report.md", "report.html", "metrics.json", "calibration.json", "confusion.png", "languages.png")
    return EvalReport(
        folder=_folder(path, *names),
        fingerprint="e" * 64,
        data_fingerprint=data_fingerprint,
        model_fingerprint=model_fingerprint,
        examples=80,
        model=model or metrics(0.9, 0.8, da=(30, 0.85), en=(50, 0.95)),
        baseline=metrics(0.8, 0.7, da=(30, 0.8), en=(50, 0.8)),
        gain={
            "macro_f1": {"estimate": 0.1, "low": 0.02, "high": 0.18},
            "accuracy": {"estimate": 0.1, "low": 0.03, "high": 0.17},
        },
        mcnemar_p=0.01,
        temperature=1.25,
    ).save()


def evaluation_files(path: Path, abstain_below: float = 0.4) -> None:
    """What the export stage reads of an evaluation beside its contract."""
    document = {"abstention": {"model": {"point": {"threshold": abstain_below}}}}
    (path / "metrics.json").write_text(json.dumps(document), encoding="utf-8")
    (path / "predictions.jsonl").write_text("", encoding="utf-8")
    _folder(path, "baseline/weights.safetensors", "baseline/baseline.json", "baseline/cascade.json")


def version(path: Path) -> ModelVersion:
    folder = _folder(path, "decision.json", "model_card.md")
    compared = {"name": "accuracy in da", "challenger": 0.8, "reference": None, "passed": False}
    (folder / "decision.json").write_text(json.dumps({"comparisons": [compared]}), encoding="utf-8")
    return ModelVersion(
        folder=folder,
        fingerprint="f" * 64,
        name="jobtuner-occupation",
        version="3",
        aliases=["challenger"],
        promoted=False,
        reasons=["too small a gain"],
        model_fingerprint="a" * 64,
        tracking_uri="memory://",
    ).save()


def exported(path: Path) -> ExportedModel:
    return ExportedModel(
        folder=_folder(path, "parity.json"),
        fingerprint="9" * 64,
        model_fingerprint="a" * 64,
        labels=["2221", "2512"],
        parity={"label_agreement": 0.99, "max_abs_difference": 0.01},
    ).save()


def deployment(path: Path) -> Deployment:
    (_folder(path) / "smoke_test.json").write_text(json.dumps({"ok": True}), encoding="utf-8")
    return Deployment(
        folder=path,
        fingerprint="8" * 64,
        target="local",
        url="http://127.0.0.1:9",
        model_version="jobtuner-occupation/3",
        checks=[{"language": "da", "valid": True}, {"language": "en", "valid": False}],
    ).save()


def monitored(path: Path) -> MonitorReport:
    return MonitorReport(
        folder=_folder(path, "report.html", "report.json", "decision.json", "metrics.prom"),
        fingerprint="7" * 64,
        since="2026-11-13T00:00:00+00:00",
        until="2026-11-20T00:00:00+00:00",
        rows=500,
        drifted=True,
        drifted_tests=["all/wording"],
        accuracy=None,
        action="watch",
        retrain=False,
        reasons=["1 of 2 windows drifted."],
    ).save()
