"""The model card says what a reader must know, and nothing that was not measured."""

from pathlib import Path

import pytest

from jobtuner.config import load_config
from jobtuner.register.gate import Decision, decide
from jobtuner.register.model_card import base_licence, model_card
from tests.unit import contract_samples as samples

CONFIG = load_config("smoke", {"clean.personal_data": "true", "prompt.max_ad_tokens": "80"})


def card(folder: Path, standin: bool = True, personal_data: bool = True) -> str:
    report = samples.report(folder / "report")
    decision = decide(report.model, report.baseline, None, CONFIG.gate)
    config = CONFIG if personal_data else load_config("smoke", {"clean.personal_data": "false"})
    model = samples.trained(folder / "trained", standin=standin)
    return model_card(config, samples.prepared(folder / "prepared"), model, report, decision)


def test_data_and_results_are_quoted(tmp_path: Path) -> None:
    text = card(tmp_path)
    for line in (
        "| languages | da, en |",
        "| rows: train | 60 |",
        "| accuracy | 0.9000 | 0.8000 |",
        "| da | 30 | 0.8500 | 0.8000 | 0.8500 | 0.8000 |",
        "| en | 50 | 0.9500 | 0.8000 | 0.9500 | 0.8000 |",
    ):
        assert line in text.splitlines()
    assert "promoted to champion" in text
    assert "It reads the first 80 tokens of an ad." in text
    assert "Annex III, point 4(a)" in text
    assert "generated from templates" in text


def test_the_stand_in_is_called_so_and_nothing_else_is(tmp_path: Path) -> None:
    assert "This is the stand-in model" in card(tmp_path / "a")
    assert "stand-in" not in card(tmp_path / "b", standin=False)


def test_personal_data_that_was_left_in_is_a_limit(tmp_path: Path) -> None:
    sentence = "were left in the training texts"
    assert sentence not in card(tmp_path / "a")
    assert sentence in card(tmp_path / "b", personal_data=False)


def test_what_was_not_measured_is_said_so(tmp_path: Path) -> None:
    report = samples.report(tmp_path / "report", model={"accuracy": 0.9, "top_5_accuracy": 0.99, "per_language": {}})
    text = model_card(
        CONFIG, samples.prepared(tmp_path / "p"), samples.trained(tmp_path / "t"), report, Decision(False, [])
    )
    assert "| top_5_accuracy | 0.9900 | not measured |" in text
    assert "| da | not measured | not measured | 0.8000 | not measured | 0.8000 |" in text
    assert "not promoted" in text


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
    assert licence in base_licence(samples.trained(tmp_path, standin=False, base=base))
