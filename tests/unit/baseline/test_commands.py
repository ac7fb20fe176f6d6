"""`jobtuner baseline fit` and `predict`: a file in, a model and answers out, without a pipeline."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from jobtuner.cli import app

SMALL = ["--set", "baseline.min_count=1"]
WORDS = {"2221": "nurse ward", "2512": "developer software", "5120": "cook kitchen"}


def jobtuner(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["baseline", *arguments])


def write(path: Path, rows: list[dict[str, object]]) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return str(path)


@pytest.fixture
def rows(tmp_path: Path) -> str:
    codes = sorted(WORDS)
    labelled: list[dict[str, object]] = [
        {"title": f"{WORDS[codes[k % 3]]} {k}", "codes": [codes[k % 3]]} for k in range(60)
    ]
    return write(tmp_path / "rows.jsonl", [*labelled, {"title": "chef nurse", "codes": []}])


COLUMNS = ["--text-column", "title", "--label-column", "codes"]


def test_fits_on_all_rows_and_reports_accuracy_against_sets(rows: str, tmp_path: Path) -> None:
    test = write(
        tmp_path / "test.jsonl",
        [
            {"title": "nurse", "codes": "9999"},
            {"title": "Nurse", "codes": "2221"},  # the same text: either code is right
            {"title": "software developer", "codes": "5120"},
            {"title": "unheard of", "codes": "0001|0002"},
        ],
    )
    out = tmp_path / "model"
    result = jobtuner("fit", rows, "--output", str(out), "--test", test, *COLUMNS, *SMALL)
    assert result.exit_code == 0, result.output
    report = json.loads((out / "fit.json").read_text(encoding="utf-8"))
    assert (report["rows"], report["skipped"], report["labels"]) == (60, 1, 3)
    score = report["test"]
    assert score["texts"] == 3 and score["unknown"] == 1 and score["skipped"] == 0
    assert score["accuracy"] == pytest.approx(1 / 3) and score["row_accuracy"] == pytest.approx(1 / 4)
    assert "accuracy 0.3333 on 3 texts" in result.output


def test_learns_from_taxonomies_of_any_columns(rows: str, tmp_path: Path) -> None:
    first = write(tmp_path / "a.jsonl", [{"code": code, "alt_da": [f"{code}mand"], "title_da": "x"} for code in WORDS])
    second = write(tmp_path / "b.jsonl", [{"code": f"{code}.7", "title": f"{code}ja"} for code in WORDS])
    out = str(tmp_path / "model")
    taxonomies = ["--taxonomy", first, "--taxonomy", second]
    assert jobtuner("fit", rows, "--output", out, *taxonomies, *COLUMNS, *SMALL).exit_code == 0
    asked = write(tmp_path / "ask.jsonl", [{"text": "5120mand"}, {"text": "2512ja"}])
    answers = [json.loads(line) for line in jobtuner("predict", out, asked).output.splitlines()]
    assert [answer["top"][0]["code"] for answer in answers] == ["5120", "2512"]
    other = write(tmp_path / "c.jsonl", [{"parent": code, "label": f"{code}kraft"} for code in WORDS])
    named = ["--taxonomy", other, "--taxonomy-code-column", "parent", "--taxonomy-title-column", "label"]
    result = jobtuner("fit", rows, "--output", out, *named, *COLUMNS, *SMALL)
    assert result.exit_code == 0 and "3 taxonomy titles" in result.output


def test_predict_answers_every_row_in_order(rows: str, tmp_path: Path) -> None:
    out = str(tmp_path / "model")
    assert jobtuner("fit", rows, "--output", out, *COLUMNS, *SMALL).exit_code == 0
    asked = write(tmp_path / "ask.jsonl", [{"text": "cook"}, {"text": None}, {"text": "nurse"}])
    file = tmp_path / "answers.jsonl"
    assert jobtuner("predict", out, asked, "--top", "2", "--output", str(file)).exit_code == 0
    answers = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    assert [answer["row"] for answer in answers] == [1, 2, 3]
    assert [answer["top"][0]["code"] for answer in (answers[0], answers[2])] == ["5120", "2221"]
    assert answers[1]["top"] == [] and "no text" in answers[1]["error"]
    probabilities = [item["probability"] for item in answers[0]["top"]]
    assert len(probabilities) == 2 and 1.0 >= probabilities[0] > probabilities[1] >= 0.0


def test_settings_have_effect_and_foreign_ones_are_refused(rows: str, tmp_path: Path) -> None:
    out = tmp_path / "model"
    variant = ["--set", "baseline.weights=int8", "--set", "seed=4"]
    assert jobtuner("fit", rows, "--output", str(out), *COLUMNS, *SMALL, *variant).exit_code == 0
    saved = json.loads((out / "baseline.json").read_text(encoding="utf-8"))
    assert saved["settings"]["weights"] == "int8" and saved["seed"] == 4
    result = jobtuner("fit", rows, "--output", str(out), *COLUMNS, "--set", "training.epochs=1")
    assert result.exit_code == 2 and "training.epochs has no effect here" in result.output


def test_refuses_a_folder_with_other_files_and_unusable_rows(rows: str, tmp_path: Path) -> None:
    result = jobtuner("fit", rows, "--output", str(tmp_path), *COLUMNS)
    assert result.exit_code == 3 and "holds other files" in result.output
    empty = write(tmp_path / "empty.jsonl", [{"title": "", "codes": "1"}])
    result = jobtuner("fit", empty, "--output", str(tmp_path / "m"), *COLUMNS)
    assert result.exit_code == 3 and "None of the 1 rows" in result.output
    result = jobtuner("predict", str(tmp_path / "nothing"), rows, "--text-column", "title")
    assert result.exit_code == 5 and "no readable baseline" in result.output


def test_the_stage_may_be_named_or_not() -> None:
    for arguments in (["--help"], ["fit", "--help"], ["predict", "--help"], ["stage", "--help"]):
        assert jobtuner(*arguments).exit_code == 0
    named, bare = jobtuner("stage", "--out", "x", "--set", "seed=1"), jobtuner("--out", "x", "--set", "seed=1")
    assert named.exit_code == bare.exit_code == 2
    assert "--set changes the settings of a new run" in bare.output == named.output
