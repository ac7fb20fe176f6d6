from datetime import UTC, datetime
from pathlib import Path

import pytest
from typer.testing import CliRunner

from jobtuner.cli import app
from jobtuner.prediction_log.writer import PredictionLog
from tests.unit.prediction_log.samples import NOON, answer


@pytest.fixture
def log(tmp_path: Path) -> str:
    location = str(tmp_path / "log")
    writer = PredictionLog(location)
    writer.offer([answer(0), answer(1, ad_id="eva"), answer(0, request="r2")])
    assert writer.close()
    return location


def run(*arguments: str, code: int = 0) -> str:
    done = CliRunner().invoke(app, ["log", *arguments])
    assert done.exit_code == code, done.output
    return done.output


def test_show_counts_the_answers_of_each_day(log: str) -> None:
    assert "2026-11-20  3 answers\n3 answers on 1 days" in run("show", log)


def test_delete_takes_ids_from_options_and_file(log: str, tmp_path: Path) -> None:
    listed = tmp_path / "ids.txt"
    listed.write_text("eva\n\n", encoding="utf-8")
    assert "2 answers deleted" in run("delete", log, "--id", "r2", "--file", str(listed))
    assert "1 answers on 1 days" in run("show", log)
    assert "Give --id ID" in run("delete", log, code=3)


def test_expire_tells_what_went(tmp_path: Path) -> None:
    location = str(tmp_path)
    writer = PredictionLog(location)
    writer.offer([answer(0, time=NOON.replace(year=2020)), answer(1, time=datetime.now(UTC))])
    assert writer.close()
    assert "1 parts deleted: day=2020-11-20/" in run("expire", location, "--keep-days", "2")
    assert "Nothing is older." in run("expire", location, "--keep-days", "2")
