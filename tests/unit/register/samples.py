"""Finished stages with real test ads and answers, so that the register stage has something to compare."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from jobtuner.contracts import EvalReport, ExportedModel, PreparedData, TrainedModel
from jobtuner.records import Example, Prediction, write_jsonl
from jobtuner.register.answers import Answer, Answers, measure
from jobtuner.scoring import InferenceSettings
from jobtuner.taxonomy import Occupation, Taxonomy
from tests.unit import contract_samples as samples

CODES = ["1111", "2221", "2512", "5120"]
TAXONOMY = Taxonomy([Occupation(code, {"en": f"Title of {code}"}) for code in CODES])
COUNT = 240

GOOD = 12
"""Answers every 12th ad wrong: 220 of 240 right."""
BETTER = 40
POOR = 3


def test_split(count: int = COUNT) -> list[Example]:
    """Every second ad is Danish; each is a cluster of its own."""
    return [
        Example(f"ad-{k}", f"ad {k} about {CODES[k % 4]}", CODES[k % 4], "da" if k % 2 else "en", f"c{k}")
        for k in range(count)
    ]


def answers(every: int, count: int = COUNT, probability: float = 0.95) -> list[Prediction]:
    """Answers to the test split, wrong for each `every`-th ad: another code of another major group."""
    found = []
    for number, row in enumerate(test_split(count)):
        wrong = number % every == every - 1
        code = CODES[(CODES.index(row.label) + 1) % 4] if wrong else row.label
        found.append(Prediction(row.id, row.label, row.language, code, probability, [(code, probability)], 1 + wrong))
    return found


def as_answers(found: Sequence[Prediction], data: str = "d" * 64) -> Answers:
    rows = [
        Answer(row.id, row.label, row.language, row.predicted, row.probability, f"c{row.id.removeprefix('ad-')}")
        for row in found
    ]
    return Answers.of(data, rows)


def prepared(folder: Path, data: str = "d" * 64, count: int = COUNT) -> PreparedData:
    made = samples.prepared(folder, data)
    write_jsonl(folder / "test.jsonl", test_split(count))
    TAXONOMY.save(folder / "taxonomy.json")
    return replace(made, taxonomy_version=TAXONOMY.version).save()


def trained(
    folder: Path, fingerprint: str = "a" * 64, data: str = "d" * 64, standin: bool = True, parameters: int = 1000
) -> TrainedModel:
    changes: dict[str, Any] = {"labels": CODES, "data_fingerprint": data, "settings": {"total_parameters": parameters}}
    made = samples.trained(folder, fingerprint, standin, **changes)
    inference(fingerprint, data).save(folder)
    return made


def inference(fingerprint: str, data: str = "d" * 64, prompt_hash: str = "p" * 64) -> InferenceSettings:
    return InferenceSettings(
        task="occupation",
        labels=CODES,
        prompt_hash=prompt_hash,
        max_ad_tokens=64,
        taxonomy_version=TAXONOMY.version,
        data_fingerprint=data,
        model_fingerprint=fingerprint,
        quantization={},
        clean={},
    )


def report(
    folder: Path,
    fingerprint: str = "a" * 64,
    data: str = "d" * 64,
    model: Sequence[Prediction] | None = None,
    baseline: Sequence[Prediction] | None = None,
    **changes: Any,
) -> EvalReport:
    ours, theirs = model or answers(GOOD), baseline or answers(POOR)
    made = samples.report(folder, None, fingerprint, data)
    write_jsonl(folder / "predictions.jsonl", ours)
    write_jsonl(folder / "baseline_predictions.jsonl", theirs)
    measured = {"model": measure(as_answers(ours)), "baseline": measure(as_answers(theirs))}
    return replace(made, examples=len(ours), **{**measured, **changes}).save()


def exported(
    folder: Path, fingerprint: str = "a" * 64, agreement: float = 1.0, prompt: str = "p" * 64
) -> ExportedModel:
    made = samples.exported(folder)
    (folder / "model").mkdir()
    inference(fingerprint, prompt_hash=prompt).save(folder / "model")
    parity = {"label_agreement": agreement, "examples": 64.0}
    (folder / "parity.json").write_text(json.dumps(parity), encoding="utf-8")
    return replace(made, model_fingerprint=fingerprint, parity=parity).save()


def inputs(
    folder: Path,
    fingerprint: str = "a" * 64,
    model: Sequence[Prediction] | None = None,
    data: str = "d" * 64,
    *,
    baseline: Sequence[Prediction] | None = None,
    standin: bool = True,
    parameters: int = 1000,
    agreement: float = 1.0,
    prompt: str = "p" * 64,
    **changes: Any,
) -> dict[str, Path]:
    """The four folders that the stage reads."""
    place = folder / f"{fingerprint[:8]}-{data[:8]}"
    return {
        "prepare": prepared(place / "prepare", data, len(model or answers(GOOD))).folder,
        "train": trained(place / "train", fingerprint, data, standin, parameters).folder,
        "evaluate": report(place / "evaluate", fingerprint, data, model, baseline, **changes).folder,
        "export": exported(place / "export", fingerprint, agreement, prompt).folder,
    }
