"""`jobtuner data …` step by step gives what the stage gives in one go; DVC runs the steps, for real."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from minio import Minio
from moto.server import ThreadedMotoServer
from pyarrow import parquet
from typer.testing import CliRunner

from jobtuner.cli import app
from jobtuner.cli import data as commands
from jobtuner.config import load_config
from jobtuner.contracts import PreparedData
from jobtuner.errors import ModelError
from jobtuner.prepare.by_steps import STEPS, run_step
from jobtuner.prepare.stage import run
from jobtuner.prepare.tokens import count_tokens, tokenize
from jobtuner.records import read_jsonl
from jobtuner.standin_tokenizer import label_texts, titles_with_codes, train_tokenizer
from jobtuner.tasks import PromptEncoder, get_label_task
from jobtuner.tasks.base import IGNORED
from jobtuner.taxonomy import Taxonomy, builtin_taxonomy
from tests.unit.prepare.test_shards import FILES, content, write_rows

ROOT = Path(__file__).parents[3]
TOKENS = {"data.count_tokens": "40", "model.standin.vocab_size": "600"}


def jobtuner(*words: str) -> str:
    result = CliRunner().invoke(app, ["data", *words])
    assert result.exit_code == 0, f"{result.output}{result.exception}"
    return result.output


def recipe(folder: Path) -> Path:
    source = write_rows(folder / "rows.jsonl", 150)
    rule = {"name": "one of each", "column": "text", "unique": True}
    long = {"name": "long", "column": "text", "max_length": 1500}
    path = folder / "params.yaml"
    data = {"input": str(source), "columns": {"id": "key"}, "part_rows": 60, "rules": [rule, long]}
    path.write_text(yaml.safe_dump({"data": data}), encoding="utf-8")
    return path


def test_the_steps_up_to_split_make_what_the_stage_makes(tmp_path: Path) -> None:
    params = str(recipe(tmp_path))
    before: list[str] = []
    for name in list(STEPS)[:-1]:
        out = str(tmp_path / name)
        jobtuner(name, "--recipe", params, *before, "--out", out)
        before = ["--from", out]
    (tmp_path / "whole").mkdir()
    config = load_config(params, {"data.part_rows": "10000"})
    whole = run(config, {}, tmp_path / "whole")
    assert content(tmp_path / "split") == content(whole.folder)
    assert PreparedData.load(tmp_path / "split").fingerprint == whole.fingerprint
    jobtuner("split", "--recipe", params, "--from", str(tmp_path / "deduplicate"), "--out", str(tmp_path / "split"))


def test_tokenize_writes_what_training_sees(tmp_path: Path) -> None:
    config = load_config(str(recipe(tmp_path)), {**TOKENS, "prompt.max_ad_tokens": "12"})
    (tmp_path / "split").mkdir()
    data = run(config, {}, tmp_path / "split")
    run_step("tokenize", config, data.folder, tmp_path / "tokens")
    texts = [row["text"] for row in read_jsonl(data.folder / "train.jsonl")]
    titles = [title for title, _ in titles_with_codes(Taxonomy.load(data.folder / "taxonomy.json"))]
    task = get_label_task("occupation")
    tokenizer = train_tokenizer(label_texts(task, texts, titles), config.model.standin.vocab_size)
    encoder = PromptEncoder(task, tokenizer, 12)
    found = json.loads((tmp_path / "tokens" / "tokens.json").read_text(encoding="utf-8"))
    for name in ("train", "validation", "test"):
        rows = list(read_jsonl(data.folder / f"{name}.jsonl"))
        table = parquet.read_table(tmp_path / "tokens" / f"{name}.parquet").to_pylist()
        expected = encoder.examples([row["text"] for row in rows], [row["label"] for row in rows])
        assert [row["id"] for row in table] == [row["id"] for row in rows]
        assert [row["input_ids"] for row in table] == [row["input_ids"] for row in expected]
        for row, right in zip(table, expected, strict=True):
            assert right["labels"][-row["answer_tokens"] :] == row["input_ids"][-row["answer_tokens"] :]
            assert set(right["labels"][: -row["answer_tokens"]]) == {IGNORED}
        assert found["tokens"][name]["longest"] == max(len(row["input_ids"]) for row in table)
    card = (data.folder / "card.md").read_text(encoding="utf-8").split("## Lengths in tokens")[1]
    lengths = sorted(len(tokenizer.encode(text, add_special_tokens=False)) for text in texts)
    line = next(line for line in card.splitlines() if line.startswith("| train |"))
    cells = [int(cell.replace(",", "")) for cell in line.strip("| ").split(" | ")[1:]]
    assert cells[4] <= 40
    assert lengths[0] <= cells[0] <= cells[1] <= cells[3] <= lengths[-1]
    assert cells[5] > 0  # the limit of 12 cuts
    assert "card_tokens.png" in (data.folder / "card.html").read_text(encoding="utf-8")


def test_tokens_that_cannot_be_counted_do_not_stop_the_data(tmp_path: Path) -> None:
    config = load_config("smoke", {"model.base": str(tmp_path / "gone")})
    found = count_tokens(config, {"train": ["a cook"]}, ["a cook"], builtin_taxonomy())
    assert not found.lengths
    assert found.missing.startswith("The tokenizer of")
    builtin_taxonomy().save(tmp_path / "taxonomy.json")
    (tmp_path / "train.jsonl").touch()
    with pytest.raises(ModelError, match=r"model\.base"):
        tokenize(config, tmp_path, tmp_path / "tokens")


def test_a_step_wants_the_one_before_and_a_folder_of_its_own(tmp_path: Path) -> None:
    params = str(recipe(tmp_path))
    runner = CliRunner()
    words = ["data", "validate", "--recipe", params, "--from", str(tmp_path), "--out"]
    lost = runner.invoke(app, [*words, str(tmp_path / "out")])
    assert lost.exit_code == 3
    assert "reads the result of preprocess" in " ".join(lost.output.split())
    assert runner.invoke(app, [*words, str(tmp_path)]).exit_code == 2
    (tmp_path / "rows.jsonl").rename(tmp_path / "taxonomy.json")
    assert "Give the result a folder of its own" in runner.invoke(app, [*words, str(tmp_path)]).output


def test_commands_are_the_steps_and_so_are_the_stages_of_dvc() -> None:
    stages = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
    assert list(commands._STEPS) == list(STEPS) == list(stages)
    assert [before for before, _ in commands._STEPS.values()] == [None, *list(STEPS)[:-1]]
    params = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    for stage in stages.values():
        assert stage["cmd"].startswith("jobtuner data ")
        for key in stage["params"]:
            section: object = params
            for part in key.split("."):
                assert isinstance(section, dict)
                section = section[part]  # DVC fails for a parameter that is not there
    load_config(str(ROOT / "params.yaml"))


@pytest.fixture
def remote(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    moto = ThreadedMotoServer("127.0.0.1", port=0)
    moto.start()
    host, port = moto.get_host_and_port()
    Minio(f"{host}:{port}", access_key="key", secret_key="secret", secure=False, region="us-east-1").make_bucket("dvc")
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    yield "s3://dvc/jobtuner"
    moto.stop()


@pytest.mark.slow
def test_dvc_runs_the_steps_without_git_and_keeps_them_in_an_object_store(
    tmp_path: Path, remote: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "copy"
    (place / "bin").mkdir(parents=True)
    for name in ("dvc.yaml", "params.yaml"):
        shutil.copyfile(ROOT / name, place / name)
    stages = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"].values()
    for name in sorted({name for stage in stages for name in stage["deps"] if name.startswith("src/")}):
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        if (place / name).exists():
            continue
        (shutil.copytree if (ROOT / name).is_dir() else shutil.copyfile)(ROOT / name, place / name)
    program = place / "bin" / "jobtuner"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m jobtuner.cli "$@"\n', encoding="utf-8")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{place / 'bin'}:{os.environ['PATH']}")
    monkeypatch.setenv("PYTHONPATH", f"{ROOT / 'src'}:{ROOT}")

    def dvc(*words: str) -> str:
        command = [sys.executable, "-m", "dvc", *words]
        done = subprocess.run(command, cwd=place, capture_output=True, text=True, check=False, timeout=500)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr

    dvc("init", "--no-scm")
    ran = dvc("repro")
    assert [f"Running stage '{name}'" in ran for name in STEPS] == [True] * 6
    prepared = place / "outputs" / "data" / "prepared"
    before = {name: (prepared / name).read_bytes() for name in FILES}
    assert "Running stage" not in dvc("repro")
    params = yaml.safe_load((place / "params.yaml").read_text(encoding="utf-8"))
    params["split"]["test"] = 0.3
    (place / "params.yaml").write_text(yaml.safe_dump(params), encoding="utf-8")
    again = dvc("repro")
    assert [f"Running stage '{name}'" in again for name in STEPS] == [False, False, False, True, True, True]
    assert (prepared / "test.jsonl").read_bytes() != before["test.jsonl"]
    after = {name: (prepared / name).read_bytes() for name in FILES}
    dvc("remote", "add", "--default", "store", remote)
    dvc("push")
    shutil.rmtree(place / "outputs")
    shutil.rmtree(place / ".dvc" / "cache")
    dvc("pull")
    assert {name: (prepared / name).read_bytes() for name in FILES} == after
    assert "Running stage" not in dvc("repro")
