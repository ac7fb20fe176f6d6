import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from jobtuner.cli import app
from jobtuner.config import load_config
from jobtuner.prepare import boilerplate
from jobtuner.prepare.boilerplate import find_boilerplate

NOTICE = "We are an equal opportunity employer and welcome everyone."
ADS = [
    f"Cook number {number}\nYour tasks\n{NOTICE.upper()}\n{NOTICE}\nReference no. {number} of this job board"
    for number in range(10)
] + ["<p>Nurse</p><p>We are an equal opportunity employer &amp; welcome everyone.</p>"]


def test_lines_are_counted_once_an_ad_and_compared_as_cleaning_does() -> None:
    assert find_boilerplate(lambda: ADS, 10) == [(NOTICE, 10), ("Reference no. 0 of this job board", 10)]
    assert find_boilerplate(lambda: ADS, 11) == []
    assert find_boilerplate(lambda: iter(()), 2) == []


def test_lines_that_share_a_counter_are_not_mixed_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(boilerplate, "_COUNTERS", 1)

    def ads() -> Iterator[str]:
        for number in range(10):
            yield f"{chr(97 + number) * 40} words of one ad only\n{NOTICE}"

    assert find_boilerplate(ads, 10) == [(NOTICE, 10)]


def test_the_command_lists_lines_and_writes_a_recipe_that_drops_them(tmp_path: Path) -> None:
    path, recipe = tmp_path / "ads.jsonl", tmp_path / "mine.yaml"
    path.write_text("".join(json.dumps({"text": ad, "label": "1"}) + "\n" for ad in ADS), encoding="utf-8")
    result = CliRunner().invoke(app, ["boilerplate", str(path), "--ads", "5"])
    assert result.exit_code == 0, result.output
    assert f"10  {NOTICE}" in result.output and "2 lines stand in 5 ads or more" in result.output
    result = CliRunner().invoke(app, ["boilerplate", str(path), "--ads", "5", "-o", str(recipe), "--set", "seed=3"])
    assert result.exit_code == 0, result.output
    config = load_config(str(recipe))
    assert list(config.clean.boilerplate) == [NOTICE, "Reference no. 0 of this job board"]
    assert (config.name, config.seed) == ("mine", 3)
    assert yaml.safe_load(recipe.read_text("utf-8"))["data"]["input"] is None
