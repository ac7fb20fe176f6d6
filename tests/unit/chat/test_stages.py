"""The stages behind training, on a tiny model; and, slowly, all of them for every task."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from jobtuner.chat_metrics import measure_chats
from jobtuner.chat_scores import score_answers
from jobtuner.contracts import BaselineModel, EvalReport, ExportedModel
from jobtuner.deploy.chat_stage import _is_list
from jobtuner.deploy.stage import run as deploy
from jobtuner.errors import ContractError, DeployError, ModelError
from jobtuner.evaluate.stage import run as evaluate
from jobtuner.export.stage import run as export
from jobtuner.records import ChatAnswer, ChatExample, read_jsonl
from jobtuner.register.registry_memory import MemoryRegistry
from jobtuner.register.stage import register
from tests.unit.chat.samples import Made, make


@pytest.fixture(scope="module")
def released(skills: Made) -> tuple[Made, EvalReport, ExportedModel]:
    for name in ("evaluate", "export"):
        (skills.root / name).mkdir()
    report = evaluate(skills.config, skills.inputs(), skills.root / "evaluate")
    return skills, report, export(skills.config, skills.inputs("evaluate"), skills.root / "export")


def test_the_report_measures_the_answers_that_it_stores(released: tuple[Made, EvalReport, ExportedModel]) -> None:
    made, report, _ = released
    rows = [ChatExample.from_json(row) for row in read_jsonl(made.prepared.folder / "test.jsonl")]
    for name, metrics in (("predictions", report.model), ("baseline_predictions", report.baseline)):
        stored = [ChatAnswer.from_json(row) for row in read_jsonl(report.folder / f"{name}.jsonl")]
        again = score_answers("skills", rows, [row.answer for row in stored])
        kept = [replace(row, scores={key: row.scores[key] for key in again[0].scores}) for row in stored]
        assert kept == again
        assert metrics["span_f1"] == measure_chats("skills", again, made.config.seed)["span_f1"]
    assert report.examples == len(rows)
    assert 2 < report.model["loss"] < 12  # nats a token; log 700 = 6.6 is a guess among the vocabulary
    gain = report.gain["span_f1"]
    assert gain["estimate"] == pytest.approx(report.model["span_f1"] - report.baseline["span_f1"])
    text = (report.folder / "report.md").read_text(encoding="utf-8")
    assert "stand-in" in text and "F1 of skills at their exact places" in text and "Per language" in text
    assert "<script" not in (report.folder / "report.html").read_text(encoding="utf-8")


def test_the_merged_model_agrees_and_stands_alone(released: tuple[Made, EvalReport, ExportedModel]) -> None:
    _, _, exported = released
    assert exported.parity["label_agreement"] == 1.0
    assert 0 < exported.parity["max_abs_difference"] < 1e-3  # float32, other sums
    assert 0 < exported.parity["mean_log_difference"] < 1e-3
    assert not (exported.folder / "model" / "taxonomy.json").exists()


@pytest.mark.parametrize(
    ("lost", "told"),
    [
        ({"label_agreement": 0.5}, r"50\.0% of the answers' tokens, 3 validation prompts"),
        ({"mean_log_difference": 0.25}, r"0\.25 nats on average, 3 validation prompts; .* allows 0\.1"),
    ],
)
def test_parity_that_is_lost_stops_the_export(
    released: tuple[Made, EvalReport, ExportedModel],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    lost: dict[str, float],
    told: str,
) -> None:
    made, _, _ = released
    found = {"examples": 3.0, "label_agreement": 1.0, "mean_log_difference": 0.01, **lost}
    monkeypatch.setattr("jobtuner.export.stage.chat_parity", lambda *_: found)
    with pytest.raises(ModelError, match=told):
        export(made.config, made.inputs("evaluate"), tmp_path)


def test_the_gate_judges_the_task_by_its_own_metric(
    released: tuple[Made, EvalReport, ExportedModel], tmp_path: Path
) -> None:
    made, report, _ = released
    registry, inputs = MemoryRegistry(), made.inputs("evaluate", "export")
    version = register(made.config, inputs, tmp_path, registry, "memory")
    names = [
        item["name"] for item in json.loads((tmp_path / "decision.json").read_text(encoding="utf-8"))["comparisons"]
    ]
    assert names[0] == "span_f1 against the baseline"
    assert not any("ece" in name or "level" in name or "accuracy" in name for name in names)
    assert not version.promoted and report.baseline["span_f1"] > report.model["span_f1"]
    card = (tmp_path / "model_card.md").read_text(encoding="utf-8")
    assert "for the task `skills`" in card and "occupation code" not in card
    assert json.loads((tmp_path / "answers.json").read_text(encoding="utf-8"))["task"] == "skills"


def test_a_champion_is_compared_by_its_stored_answers(
    released: tuple[Made, EvalReport, ExportedModel], tmp_path: Path
) -> None:
    made, _, _ = released
    registry, inputs = MemoryRegistry(), made.inputs("evaluate", "export")
    first, second = tmp_path / "first", tmp_path / "second"
    for folder in (first, second):
        folder.mkdir()
    version = register(made.config, inputs, first, registry, "memory")
    registry.set_alias("tiny", "champion", version.version)
    other = tmp_path / "train"
    _copy_with(made.trained.folder, other, "fingerprint", "other")
    for name, key in (("evaluate", "model_fingerprint"), ("export", "model_fingerprint")):
        _copy_with(made.root / name, tmp_path / name, key, "other")
    again = {**inputs, "train": other, "evaluate": tmp_path / "evaluate", "export": tmp_path / "export"}
    judged = register(made.config, again, second, registry, "memory")
    [told] = [reason for reason in judged.reasons if "champion" in reason and reason.startswith("span_f1")]
    assert "gain +0.0000 [+0.0000, +0.0000]" in told
    assert not judged.promoted


def _copy_with(source: Path, target: Path, key: str, value: str) -> None:
    import shutil

    shutil.copytree(source, target)
    path = target / "contract.json"
    path.write_text(json.dumps({**json.loads(path.read_text(encoding="utf-8")), key: value}), encoding="utf-8")


def test_a_model_whose_answers_have_no_form_is_not_deployed(
    released: tuple[Made, EvalReport, ExportedModel], tmp_path: Path
) -> None:
    made, _, _ = released
    inputs = made.inputs("evaluate", "export")
    register(made.config, inputs, made_folder(made.root / "register"), MemoryRegistry(), "memory")
    with pytest.raises(DeployError, match="None of the exported model's answers has the form"):
        deploy(made.config, {**inputs, "register": made.root / "register"}, tmp_path)


def made_folder(path: Path) -> Path:
    """The folder, made where it is missing."""
    path.mkdir(exist_ok=True)
    return path


def test_models_of_other_data_are_not_compared(skills: Made, tmp_path: Path) -> None:
    other = replace(BaselineModel.load(skills.root / "baseline"), folder=tmp_path, data_fingerprint="other")
    other.save()
    with pytest.raises(ContractError, match="trained on data other"):
        evaluate(skills.config, {**skills.inputs(), "baseline": tmp_path}, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("task", ["skills", "cover_letter", "instruct"])
def test_every_stage_runs_for_every_task(task: str, tmp_path: Path) -> None:
    made = make(task, tmp_path, by_trainer=True)
    assert made.trained.metrics["steps"] == 2
    told = json.loads((made.trained.folder / "tokens.json").read_text(encoding="utf-8"))
    skipped = list(read_jsonl(made.trained.folder / "skipped.jsonl"))
    assert told["rows"] + told["skipped"] == made.prepared.counts["train"]
    assert all("chat.max_answer_tokens" in row["reason"] for row in skipped)
    for name, stage in (("evaluate", evaluate), ("export", export)):
        stage(made.config, made.inputs("evaluate") if name == "export" else made.inputs(), made_folder(tmp_path / name))
    inputs = made.inputs("evaluate", "export")
    assert not register(made.config, inputs, made_folder(tmp_path / "register"), MemoryRegistry(), "memory").promoted


@pytest.mark.parametrize(
    ("answer", "valid"),
    [('["a", "b"]', True), ("[]", True), ('["a"', False), ("[1]", False), ('"a"', False), ("", False)],
)
def test_skills_are_deployed_where_they_come_as_a_list(answer: str, valid: bool) -> None:
    assert _is_list(answer) is valid
