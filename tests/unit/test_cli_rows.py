"""`jobtuner evaluate --on FILE`: any server, or an exported model, on rows of one's own."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from transformers import AutoModelForCausalLM
from typer.testing import CliRunner, Result

from jobtuner.cli import app
from jobtuner.config import CleanConfig
from jobtuner.errors import ConfigError, DataError
from jobtuner.models import load_tokenizer
from jobtuner.records import Prediction, read_jsonl, write_jsonl
from jobtuner.scoring import TAXONOMY_FILE, InferenceSettings, load_exported
from jobtuner.tasks import get_task, prompt_hash
from jobtuner.taxonomy import Taxonomy
from tests.conftest import ADS, Standin
from tests.unit.labels.openai_server import OpenAIServer

LABELS = ["2221", "2221", "5120", "5120", "8331"]


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["evaluate", *map(str, arguments)])


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    path = tmp_path / "rows.jsonl"
    ads = [
        {"text": text, "label": label, "lang": "en" if text.isascii() else "de"}
        for text, label in zip(ADS, LABELS, strict=True)
    ]
    write_jsonl(path, [*ads, {"text": "Unknown", "label": "9999", "lang": "en"}])
    return path


@pytest.fixture
def exported(tmp_path: Path, standin: Standin, taxonomy: Taxonomy) -> Path:
    """The stand-in as the export stage would leave it, with a temperature."""
    folder = tmp_path / "model"
    model: Any = AutoModelForCausalLM.from_pretrained(str(standin.folder))
    tokenizer = load_tokenizer(str(standin.folder))
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    taxonomy.save(folder / TAXONOMY_FILE)
    InferenceSettings(
        task="occupation",
        labels=taxonomy.labels,
        prompt_hash=prompt_hash(get_task("occupation"), tokenizer),
        max_ad_tokens=64,
        taxonomy_version=taxonomy.version,
        data_fingerprint="d",
        model_fingerprint="m",
        quantization={},
        clean=CleanConfig().model_dump(mode="json"),
        temperature=1.5,
    ).save(folder)
    return folder


@pytest.fixture
def server(standin: Standin) -> OpenAIServer:
    model = AutoModelForCausalLM.from_pretrained(str(standin.folder)).eval()
    return OpenAIServer(model, load_tokenizer(str(standin.folder)))


def predictions(folder: Path) -> list[Prediction]:
    return [Prediction.from_json(row) for row in read_jsonl(folder / "predictions.jsonl")]


def test_a_server_that_serves_the_model_predicts_as_the_model(
    tmp_path: Path, rows: Path, exported: Path, server: OpenAIServer
) -> None:
    here = run("--on", rows, "--model", exported, "--out", tmp_path / "here", "--language-column", "lang")
    assert here.exit_code == 0, here.output
    with server.running() as url:
        there = run("--on", rows, "--model", exported, "--endpoint", url, "--out", tmp_path / "there")
    assert there.exit_code == 0, there.output
    assert "5 rows evaluated, 1 rejected" in there.output
    scores = load_exported(exported).log_probabilities(ADS)
    for mine, theirs, row in zip(predictions(tmp_path / "here"), predictions(tmp_path / "there"), scores, strict=True):
        assert mine.predicted == theirs.predicted
        assert mine.probability == pytest.approx(float(np.exp(row.max())), abs=1e-4)
        assert theirs.probability == pytest.approx(mine.probability, abs=1e-4)
    metrics = json.loads((tmp_path / "here" / "metrics.json").read_text(encoding="utf-8"))
    assert set(metrics["per_language"]) == {"de", "en"}
    (rejected,) = read_jsonl(tmp_path / "there" / "rejected.jsonl")
    assert "9999" in rejected["reason"]


@pytest.mark.parametrize("column", [True, False])
def test_each_row_has_the_temperature_of_its_language(
    tmp_path: Path, rows: Path, exported: Path, server: OpenAIServer, column: bool
) -> None:
    """Said by the column, or found by lingua among the languages of titles and temperatures."""
    settings = replace(InferenceSettings.load(exported), language_temperatures={"de": 0.5, "da": 3.0})
    settings.save(exported)
    model = load_exported(exported)
    pooled, languages = model.log_probabilities(ADS), ["en" if text.isascii() else "de" for text in ADS]
    expected = model.temperatures.corrected_scores(pooled, languages)
    assert np.abs(expected - pooled).max() > 0.01
    options = ["--language-column", "lang"] if column else []
    common = ("--on", rows, "--model", exported, *options)
    with server.running() as url:
        done = [run(*common, "--out", tmp_path / "here"), run(*common, "--out", tmp_path / "there", "--endpoint", url)]
    assert [item.exit_code for item in done] == [0, 0], done[0].output + done[1].output
    for place in ("here", "there"):
        for found, row in zip(predictions(tmp_path / place), expected, strict=True):
            assert found.probability == pytest.approx(float(np.exp(row.max())), abs=1e-4)


def test_a_taxonomy_is_all_that_a_chat_server_needs(tmp_path: Path, rows: Path, server: OpenAIServer) -> None:
    codes = tmp_path / "codes.csv"
    codes.write_text("code,title\n2221,Nurses\n2222,Midwives\n5120,Cooks\n8331,Bus drivers\n", encoding="utf-8")
    common = ("--on", rows, "--taxonomy", codes, "--top-k", 2, "--max-rows", 3)
    with server.running() as url:
        exact = run(*common, "--endpoint", url, "--out", tmp_path / "exact")
        top = run(*common, "--endpoint", url, "--out", tmp_path / "top", "--search", "top", "--served-model", "occ")
    assert (exact.exit_code, top.exit_code) == (0, 0), exact.output + top.output
    assert len(predictions(tmp_path / "exact")) == 3
    for whole, proven in zip(predictions(tmp_path / "exact"), predictions(tmp_path / "top"), strict=True):
        assert [code for code, _ in whole.top] == [code for code, _ in proven.top]
        assert dict(whole.top) == pytest.approx(dict(proven.top), abs=1e-4)


def test_no_usable_row_is_an_error_that_keeps_the_reasons(tmp_path: Path, exported: Path) -> None:
    rows = tmp_path / "rows.csv"
    rows.write_text("text,label\nNurse,0001\n", encoding="utf-8")
    done = run("--on", rows, "--model", exported, "--out", tmp_path / "out")
    assert done.exit_code == DataError.exit_code
    assert "None of the 1 rows" in done.stderr
    assert len(list(read_jsonl(tmp_path / "out" / "rejected.jsonl"))) == 1


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--endpoint", "http://x"], "--endpoint would have no effect without --on FILE"),
        (["--on", "rows.csv", "--prepare", "x"], "--prepare would have no effect with --on FILE"),
        (["--on", "rows.csv", "--concurrency", "2"], "--concurrency would have no effect without --endpoint URL"),
        (["--on", "rows.csv", "--taxonomy", "x"], "--taxonomy would have no effect without --endpoint URL"),
        (["--on", "rows.csv", "--endpoint", "http://x", "--level", "4"], "--level would have no effect without --tax"),
        (["--on", "rows.csv", "--endpoint", "http://x", "--model", "m", "--taxonomy", "t"], "exclude each other"),
        (["--on", "rows.csv", "--endpoint", "x", "--taxonomy", "t"], "--endpoint x is no address"),
        (["--on", "rows.csv", "--search", "beam"], "There is no search 'beam'"),
    ],
)
def test_options_that_would_be_ignored_are_refused(tmp_path: Path, options: list[str], words: str) -> None:
    done = run(*options, "--out", tmp_path / "out")
    assert done.exit_code == ConfigError.exit_code
    assert words in done.stderr


def test_a_folder_with_other_files_is_left_alone(tmp_path: Path, rows: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "thesis.tex").write_text("years of work", encoding="utf-8")
    done = run("--on", rows, "--out", out)
    assert done.exit_code == ConfigError.exit_code
    assert "holds other files" in done.stderr


def test_several_right_codes_and_sources(exported: Path, tmp_path: Path) -> None:
    rows, every = tmp_path / "gold.jsonl", ["2221", "5120", "8331"]
    write_jsonl(
        rows,
        [
            {"text": ADS[0], "label": every, "board": "a"},
            {"text": ADS[1], "label": "|".join(every), "board": "a"},
            {"text": ADS[2], "label": "9999|2221", "board": "b"},
            {"text": ADS[3], "label": "5120", "board": "b"},
        ],
    )
    out = tmp_path / "out"
    result = run("--on", rows, "--model", exported, "--source-column", "board", "--out", out)
    assert result.exit_code == 0, result.output
    metrics = json.loads((out / "metrics.json").read_text())
    assert (metrics["n"], metrics["several_n"], metrics["codes_n"]) == (3, 2, 7)
    assert {name: part["n"] for name, part in metrics["per_source"].items()} == {"a": 2, "b": 1}
    answers = [Prediction.from_json(row) for row in read_jsonl(out / "predictions.jsonl")]
    assert [row.label for row in answers] == ["2221", "2221", "5120"]
    right = [row.predicted in {row.label, *row.accepted} for row in answers]
    assert metrics["per_source"]["a"]["accuracy"] == sum(right[:2]) / 2
    assert [row.counted == row.label for row in answers] == right
    assert "set F1" in result.output
    (rejected,) = read_jsonl(out / "rejected.jsonl")
    assert "9999" in rejected["reason"]
