"""`jobtuner evaluate --on FILE` for the tasks that answer in text: any server, or an exported model."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoModelForCausalLM
from typer.testing import CliRunner, Result

from jobtuner.cli import app
from jobtuner.config import CleanConfig
from jobtuner.errors import ConfigError, DataError, DeployError
from jobtuner.models import load_tokenizer
from jobtuner.records import read_jsonl, write_jsonl
from jobtuner.scoring import InferenceSettings
from jobtuner.tasks import chat_prompt_hash, get_chat_task
from tests.conftest import ADS, Standin
from tests.unit.labels.openai_server import OpenAIServer

APPLICANT = {"name": "Eva Holm", "skills": ["triage"], "language": "en"}
LETTER = "Dear team, I would like to apply for the post. I bring triage. I am looking forward to your answer. Eva Holm"


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["evaluate", *map(str, arguments)])


def metrics(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
    return found


@pytest.fixture(scope="module")
def server(standin: Standin) -> OpenAIServer:
    model = AutoModelForCausalLM.from_pretrained(str(standin.folder)).eval()
    return OpenAIServer(model, load_tokenizer(str(standin.folder)))


@pytest.fixture
def replying(server: OpenAIServer) -> Callable[[Callable[[Any], str | None]], OpenAIServer]:
    """The server with answers of our own."""

    def with_reply(reply: Callable[[Any], str | None]) -> OpenAIServer:
        return OpenAIServer(server.model, server.tokenizer, reply=reply)

    return with_reply


@pytest.fixture
def exported(tmp_path: Path, server: OpenAIServer) -> Path:
    folder = tmp_path / "model"
    server.model.save_pretrained(folder)
    server.tokenizer.save_pretrained(folder)
    InferenceSettings(
        task="skills",
        labels=[],
        prompt_hash=chat_prompt_hash(get_chat_task("skills"), server.tokenizer),
        max_ad_tokens=40,
        taxonomy_version="",
        data_fingerprint="d",
        model_fingerprint="m",
        quantization={},
        clean=CleanConfig().model_dump(mode="json"),
        max_answer_tokens=12,
    ).save(folder)
    return folder


@pytest.fixture
def skill_rows(tmp_path: Path) -> Path:
    """One skill a row, as ESCO-linked sets have them."""
    path = tmp_path / "skills.jsonl"
    told = [
        (ADS[0], "dress wounds", "wound care", "en"),
        (ADS[0], "Give medicine", "urn:medicine", "en"),
        (ADS[1], "Wunden versorgen", "LABEL NOT PRESENT", "de"),
        (ADS[1], "not in the text", "wound care", "de"),
        (ADS[2], "juggling", "urn:medicine", "en"),
    ]
    write_jsonl(path, [dict(zip(("sentence", "span", "label", "lang"), row, strict=True)) for row in told])
    return path


def test_skills_of_any_server_with_gold_links(
    tmp_path: Path, skill_rows: Path, replying: Callable[[Callable[[Any], str | None]], OpenAIServer]
) -> None:
    """One ad answered wholly right, by one phrase whose link is another than the gold one; the other wrongly."""
    concepts = tmp_path / "concepts.jsonl"
    rows = [("urn:wounds", "wound care", ["dress wounds"]), ("urn:medicine", "hand out drugs", ["triage"])]
    write_jsonl(concepts, [dict(zip(("uri", "label", "alt"), row, strict=True)) for row in rows])
    answers = {ADS[0]: '["give medicine", "dress wounds"]', ADS[1]: '["Medikamente", "triage"]'}
    server = replying(lambda messages: answers[messages[-1]["content"]])
    out = tmp_path / "out"
    options = ["--text-column", "sentence", "--language-column", "lang", "--set", "chat.columns.skills=span"]
    links = ["--set", "chat.columns.links=label", "--set", f"chat.skills_taxonomy={concepts}"]
    with server.running() as url:
        done = run("--on", skill_rows, "--task", "skills", "--endpoint", url, "--out", out, *options, *links)
    assert done.exit_code == 0, done.output
    assert "2 rows evaluated, 1 rejected" in done.output and "linked_f1" in done.output
    found = metrics(out)
    assert found["span_precision"] == pytest.approx(2 / 3) and found["span_recall"] == pytest.approx(2 / 3)
    # Gold: wounds and medicine, then wounds (of the phrase that is not in the text); answered: wounds, then medicine.
    assert found["linked_f1"] == pytest.approx(2 * 1 / (2 + 3))
    assert found["links_unknown"] == pytest.approx(1 / 4)
    assert set(found["per_language"]) == {"de", "en"}
    (rejected,) = read_jsonl(out / "rejected.jsonl")
    assert "juggling" in rejected["reason"]
    assert server.requests[1][1]["temperature"] == 0.0


def test_letters_of_any_server_are_grounded_in_ad_and_facts(
    tmp_path: Path, replying: Callable[[Callable[[Any], str | None]], OpenAIServer]
) -> None:
    rows, out = tmp_path / "letters.jsonl", tmp_path / "out"
    invented = LETTER.replace("I bring triage.", "I hold a Master of Science and worked at Acme Hospital for 12 years.")
    write_jsonl(rows, [{"text": ad, "applicant": APPLICANT, "letter": LETTER, "lang": "en"} for ad in ADS[:4:2]])
    server = replying(lambda messages: LETTER if "Nurse" in messages[-1]["content"] else invented)
    with server.running() as url:
        done = run("--on", rows, "--task", "cover_letter", "--endpoint", url, "--out", out)
    assert done.exit_code == 0, done.output
    found = metrics(out)
    assert (found["grounded"], found["language"], found["exact_match"]) == (0.5, 1.0, 0.5)
    kinds = ("employers", "degrees", "numbers")
    assert [found[f"letters_with_invented_{kind}"] for kind in kinds] == [0.5, 0.5, 0.5]
    assert found["sound_rouge_l"] == 0.5 < found["rouge_l"] < 1.0


def test_instructions_to_any_server(
    tmp_path: Path, replying: Callable[[Callable[[Any], str | None]], OpenAIServer]
) -> None:
    rows, out = tmp_path / "chats.jsonl", tmp_path / "out"
    write_jsonl(rows, [{"instruction": ad, "output": "Yes, gladly."} for ad in ADS[:4]])
    replies = {ADS[0]: "yes, gladly. ", ADS[1]: "No.", ADS[2]: None, ADS[3]: "Yes, gladly."}
    with replying(lambda messages: replies[messages[-1]["content"]]).running() as url:
        done = run("--on", rows, "--task", "instruct", "--endpoint", url, "--out", out, "--max-rows", "3")
    assert done.exit_code == 0, done.output
    assert metrics(out)["exact_match"] == pytest.approx(1 / 3)
    assert [row["answer"] for row in read_jsonl(out / "predictions.jsonl")] == ["yes, gladly.", "No.", ""]


def test_an_exported_model_and_the_server_that_serves_it_answer_alike(
    tmp_path: Path, exported: Path, server: OpenAIServer
) -> None:
    rows = tmp_path / "rows.jsonl"
    write_jsonl(rows, [{"text": ad, "skills": [ad.split()[0]]} for ad in ADS])
    here = run("--on", rows, "--model", exported, "--out", tmp_path / "here")
    with server.running() as url:
        there = run("--on", rows, "--model", exported, "--endpoint", url, "--out", tmp_path / "there")
    assert (here.exit_code, there.exit_code) == (0, 0), here.output + there.output
    mine, theirs = (
        [row["answer"] for row in read_jsonl(tmp_path / name / "predictions.jsonl")] for name in ("here", "there")
    )
    assert mine == theirs and len(set(mine)) > 1
    assert metrics(tmp_path / "here")["loss"] > 1.0 and "loss" not in metrics(tmp_path / "there")


def test_servers_that_do_not_answer_as_they_should(tmp_path: Path, skill_rows: Path, server: OpenAIServer) -> None:
    wrong = OpenAIServer(server.model, server.tokenizer, raw=b'{"data": [{"id": "occ"}], "choices": [{"text": "x"}]}')
    options = ("--text-column", "sentence", "--set", "chat.columns.skills=span", "--out", tmp_path / "out")
    with wrong.running() as url:
        done = run("--on", skill_rows, "--task", "skills", "--endpoint", url, *options)
    assert done.exit_code == DeployError.exit_code
    assert "no chat completion" in done.stderr


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        (["--task", "skill"], ConfigError, "no task 'skill'; occupation, cover_letter, instruct, skills are accepted"),
        (["--task", "instruct", "--model", "MODEL"], ConfigError, "was trained for the task skills, not instruct"),
        (
            ["--model", "MODEL", "--label-column", "x"],
            ConfigError,
            "--label-column would have no effect with the task sk",
        ),
        (["--task", "skills", "--endpoint", "http://x", "--top-k", "3"], ConfigError, "--top-k would have no effect"),
        (
            ["--model", "MODEL", "--set", "training.epochs=2"],
            ConfigError,
            "accepted are data.columns., chat., clean., s",
        ),
        (["--model", "MODEL", "--set", "chat.columns.links=label"], ConfigError, "needs chat.skills_taxonomy"),
        (["--endpoint", "http://x", "--taxonomy", "t", "--set", "seed=1"], ConfigError, "--set would have no effect"),
        (["--model", "MODEL"], DataError, "None of the 5 rows"),
    ],
)
def test_what_would_be_ignored_or_cannot_be_used_is_refused(
    tmp_path: Path, exported: Path, skill_rows: Path, options: list[str], error: Any, words: str
) -> None:
    given = [str(exported) if option == "MODEL" else option for option in options]
    done = run("--on", skill_rows, *given, "--out", tmp_path / "out")
    assert done.exit_code == error.exit_code, done.output
    assert words in done.stderr
