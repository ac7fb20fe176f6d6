"""The model card says what a reader must know, and nothing that was not measured."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from jobtuner.config import Config, load_config
from jobtuner.register.gate import Challenger, Decision, Rival, decide
from jobtuner.register.model_card import base_licence, model_card
from jobtuner.statistics import Interval
from tests.unit import contract_samples
from tests.unit.register import samples
from tests.unit.register.samples import GOOD, POOR

SETTINGS = {"clean.personal_data": "true", "prompt.max_ad_tokens": "80", "register.training_watts": "300.0"}
CONFIG = load_config("smoke", SETTINGS)


def card(folder: Path, config: Config = CONFIG, **changes: Any) -> str:
    prepared, trained = samples.prepared(folder / "p"), samples.trained(folder / "t", **changes)
    report = samples.report(folder / "r")
    ours, theirs = samples.as_answers(samples.answers(GOOD)), samples.as_answers(samples.answers(POOR))
    hashes = {"training": "p1", "export": "p1"}
    challenger, baseline = Challenger(report.model, 240, hashes, 1.0), Rival(report.baseline, Interval(0.2, 0.1, 0.3))
    decision = decide(challenger, baseline, None, config.gate)
    return model_card(config, prepared, trained, report, decision, ours, theirs)


def test_every_part_is_there(tmp_path: Path) -> None:
    headings = [line[3:] for line in card(tmp_path).splitlines() if line.startswith("## ")]
    assert headings == [
        "Intended use",
        "Out of scope",
        "Training data and taxonomy",
        "Results on the test split",
        "Calibration",
        "Promotion",
        "Limits",
        "Training time and energy",
        "Licence of the base model",
        "EU AI Act",
    ]


def test_data_and_results_are_quoted(tmp_path: Path) -> None:
    text = card(tmp_path)
    lines = text.splitlines()
    for line in ("| languages | da, en |", "| rows: train | 60 |", "| accuracy | 0.9167 | 0.6667 |"):
        assert line in lines
    (danish,) = [line for line in lines if line.startswith("| accuracy in da | 120 | 0.8333 [0.7")]
    assert "| 0.6667 [0.5" in danish
    assert any(line.startswith("| accuracy at level 4 | 240 | 0.9167 [0.8") for line in lines)
    assert "promoted to champion" in text
    assert "It reads the first 80 tokens of an ad." in text
    assert "temperature 1.250" in text
    assert "Regulation (EU) 2024/1689 (AI Act), Annex III, point 4(a)" in text
    assert "naming the occupation of an ad is not the same" in text
    assert "generated from templates" in text


@pytest.mark.parametrize(
    ("metrics", "watts", "sentence"),
    [
        # 3,600 s at 300 W are 0.3 kWh.
        ({"seconds": 3600.0}, "300.0", "Energy: 3600 s × 300 W / 3,600,000 = 0.3 kWh"),
        ({"seconds": 3600.0}, "null", "The power was not measured, so no energy is estimated"),
        ({}, "300.0", "Training time was not measured."),
    ],
)
def test_energy_is_estimated_only_from_what_is_known(
    tmp_path: Path, metrics: dict[str, float], watts: str, sentence: str
) -> None:
    trained = samples.trained(tmp_path / "t")
    config = load_config("smoke", {**SETTINGS, "register.training_watts": watts})
    text = model_card(
        config,
        samples.prepared(tmp_path / "p"),
        replace(trained, metrics=metrics),
        samples.report(tmp_path / "r"),
        Decision(False, []),
        samples.as_answers(samples.answers(GOOD)),
        samples.as_answers(samples.answers(POOR)),
    )
    assert sentence in text
    assert "not promoted" in text


def test_the_stand_in_is_called_so_and_nothing_else_is(tmp_path: Path) -> None:
    assert "This is the stand-in model" in card(tmp_path / "a")
    assert "stand-in" not in card(tmp_path / "b", standin=False)


def test_personal_data_that_was_left_in_is_a_limit(tmp_path: Path) -> None:
    sentence = "were left in the training texts"
    assert sentence not in card(tmp_path / "a")
    assert sentence in card(tmp_path / "b", load_config("smoke", {**SETTINGS, "clean.personal_data": "false"}))


def test_what_was_not_measured_is_said_so(tmp_path: Path) -> None:
    report = replace(samples.report(tmp_path / "r"), model={"accuracy": 0.9, "top_5_accuracy": 0.99})
    text = model_card(
        CONFIG,
        samples.prepared(tmp_path / "p"),
        samples.trained(tmp_path / "t"),
        report,
        Decision(False, []),
        samples.as_answers(samples.answers(GOOD)),
        samples.as_answers(samples.answers(POOR)),
    )
    assert "| top_5_accuracy | 0.9900 | not measured |" in text
    assert "expected calibration error is not measured" in text


@pytest.mark.parametrize(
    ("base", "licence"),
    [
        ("Qwen/Qwen2.5-0.5B", "Apache-2.0"),
        ("Qwen/Qwen2.5-7B-Instruct", "Apache-2.0"),
        ("Qwen/Qwen2.5-3B-Instruct", "Qwen Research License"),
        ("Qwen/Qwen2.5-72B", "Qwen License"),
        ("Qwen/Qwen2.5-Coder-3B", "see the licence"),
        ("/models/own", "see the licence"),
    ],
)
def test_the_licence_of_the_base_is_named(tmp_path: Path, base: str, licence: str) -> None:
    assert licence in base_licence(contract_samples.trained(tmp_path, standin=False, base=base))
