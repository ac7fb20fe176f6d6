"""`jobtuner compare`, `models` and `rollback`, on runs in folders and on registered versions."""

import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from typer.testing import CliRunner, Result

from jobtuner.cli import app
from jobtuner.config import load_config
from jobtuner.errors import ConfigError, ContractError, DataError
from jobtuner.records import ChatAnswer, Prediction
from jobtuner.register.answers import Answers
from jobtuner.register.chat_answers import ChatAnswers
from jobtuner.register.compare import Comparison, Side, _stored, compare, find_side
from jobtuner.register.compare_view import draw, show
from jobtuner.register.registry import open_registry
from jobtuner.register.stage import register
from jobtuner.run import Run
from jobtuner.statistics import Interval
from tests.unit.register.samples import BETTER, GOOD, POOR, answers, as_answers, inputs

NAME = "jobtuner-occupation"


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("JOBTUNER_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"memory://{tmp_path}")
    monkeypatch.setenv("COLUMNS", "200")
    return tmp_path


def a_run(folder: Path, model: list[Prediction], data: str = "d" * 64, **settings: str) -> Path:
    made = inputs(folder / "stages", "a" * 64, model, data)
    for name in ("prepare", "evaluate"):
        (folder / name).symlink_to(made[name])
    Run(load_config("smoke", settings), "memory://", "parent").save(folder / "run")
    return folder


def a_version(tmp_path: Path, letter: str, every: int, **settings: str) -> None:
    registry = open_registry(f"memory://{tmp_path}", "jobtuner")
    out = tmp_path / f"out-{letter}"
    out.mkdir()
    config = load_config("smoke", settings)
    register(config, inputs(tmp_path / letter, letter * 64, answers(every)), out, registry, "memory://")


def jobtuner(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def side(title: str, every: int, **settings: str) -> Side:
    return Side(title, settings, as_answers(answers(every)))


def shown(found: Comparison) -> str:
    console = Console(width=160, record=True, file=io.StringIO())
    show(console, found)
    return console.export_text()


def test_gain_settings_and_slices() -> None:
    found = compare(side("one", POOR, lr="1", seed="17"), side("two", GOOD, lr="2", seed="17", new="x"))
    assert (found.common, found.same_split) == (240, True)
    assert found.settings == {"lr": ("1", "2"), "new": ("-", "x")}
    assert found.gains["accuracy"].estimate == pytest.approx(60 / 240)
    assert (found.test.ours_only, found.test.theirs_only) == (60, 0)
    text = shown(found)
    for part in ("accuracy: B - A = +0.2500 [+0.", "a sure difference", "same 240 ads", "da", "level 4", "0.667 [0."):
        assert part in text
    assert "no sure difference" in shown(compare(side("one", GOOD), side("two", GOOD)))


def test_only_common_ads_are_compared_and_the_splits_are_named() -> None:
    first = Side("one", {}, as_answers(answers(GOOD, 120), data="c" * 64))
    found = compare(first, side("two", POOR))
    assert (found.common, found.same_split) == (120, False)
    text = shown(found)
    assert "A was tested on 120 ads of the data cccccccccccc." in text
    assert "B was tested on 240 ads of the data dddddddddddd." in text
    assert "only the 120 ads that are in both" in text


def test_an_ad_with_another_right_code_is_another_question() -> None:
    relabelled = [replace(row, label="9999") if row.id == "ad-0" else row for row in answers(GOOD)]
    found = compare(Side("one", {}, as_answers(relabelled)), side("two", POOR))
    assert (found.common, found.same_split) == (239, False)
    nothing = {key: replace(row, label="9999") for key, row in as_answers(answers(GOOD)).rows.items()}
    with pytest.raises(DataError, match=r"no ad is in both.*Evaluate both on the same prepared data"):
        compare(Side("one", {}, Answers("c" * 64, nothing)), side("two", POOR))


def test_runs_are_found_by_folder_and_by_name(tmp_path: Path) -> None:
    registry = open_registry(f"memory://{tmp_path}", "jobtuner")
    a_run(tmp_path / "home" / "runs" / "monday", answers(POOR), **{"training.epochs": "2"})
    a_run(tmp_path / "elsewhere", answers(GOOD))
    (tmp_path / "home" / "latest").symlink_to("runs/monday")
    for what in ("monday", "latest", str(tmp_path / "home" / "runs" / "monday")):
        found = find_side(what, registry)
        assert found.settings["training.epochs"] == "2.0"
        assert found.answers == as_answers(answers(POOR))
    assert find_side("elsewhere", registry).answers == as_answers(answers(GOOD))
    (tmp_path / "home" / "runs" / "half").mkdir()
    with pytest.raises(ContractError, match="no finished stage evaluate"):
        find_side("half", registry)
    with pytest.raises(ConfigError, match=r"no run and no version 'tuesday'.*monday.*NAME/VERSION"):
        find_side("tuesday", registry)


def test_versions_are_found_by_number_and_alias(tmp_path: Path) -> None:
    a_version(tmp_path, "a", GOOD)
    a_version(tmp_path, "b", BETTER, **{"training.epochs": "2"})
    registry = open_registry(f"memory://{tmp_path}", "jobtuner")
    for what in (f"{NAME}/2", f"{NAME}@champion", f"{NAME}@challenger"):
        found = find_side(what, registry)
        assert found.answers == as_answers(answers(BETTER))
        assert found.settings["training.epochs"] == "2.0"
    for what in (f"{NAME}/9", f"{NAME}@nobody"):
        with pytest.raises(ConfigError, match=r"Its versions: 1, 2@challenger@champion"):
            find_side(what, registry)


def test_the_command_prints_and_draws(tmp_path: Path) -> None:
    a_version(tmp_path, "a", GOOD)
    a_run(tmp_path / "mine", answers(POOR), **{"training.epochs": "2"})
    done = jobtuner("compare", "mine", f"{NAME}@champion", "--output", "pictures/both.png")
    assert done.exit_code == 0, done.output
    assert "training.epochs" in done.output
    assert "accuracy: B - A = +0.2500" in done.output
    picture = (tmp_path / "pictures" / "both.png").read_bytes()
    assert picture.startswith(b"\x89PNG")
    from matplotlib.image import imread

    pixels = imread(tmp_path / "pictures" / "both.png")
    assert pixels.shape[0] > 400 and pixels.shape[1] > 800
    assert pixels.std() > 0.05  # something is drawn


def test_an_interval_beside_its_value_is_drawn_too(tmp_path: Path) -> None:
    found = compare(side("one", POOR), side("two", GOOD))
    odd = {key: Interval(0.9, 0.5, 0.6) for key in found.intervals[0]}
    draw(replace(found, intervals=(odd, odd)), tmp_path / "odd.png")
    assert (tmp_path / "odd.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("compare", "x", "y"), 2, "There is no run and no version 'x'"),
        (("rollback", "nobody"), 2, "There is no model nobody. Registered models: none."),
        (("models", "nobody"), 2, "There is no model nobody."),
    ],
)
def test_what_is_not_there(arguments: tuple[str, ...], code: int, message: str) -> None:
    done = jobtuner(*arguments)
    assert done.exit_code == code
    assert message in done.output.replace("\n", " ")


def test_models_and_rollback(tmp_path: Path) -> None:
    assert "No model is registered yet" in jobtuner("models").output
    a_version(tmp_path, "a", GOOD)
    a_version(tmp_path, "b", BETTER)
    listed = jobtuner("models").output
    assert "challenger, champion" in listed
    assert "replaced version 1" in listed
    assert "0.917" in listed
    done = jobtuner("rollback")
    assert done.exit_code == 0, done.output
    assert f"Version 1 of {NAME} is champion, in place of version 2." in done.output
    assert f"Undo: jobtuner rollback {NAME} --to 2" in done.output
    again = jobtuner("rollback")
    assert "Nothing was changed." in again.output
    assert "Undo" not in again.output
    rows: list[dict[str, Any]] = [json.loads(line) for line in jobtuner("models", NAME, "--json").output.splitlines()]
    assert [row["aliases"] for row in rows] == [["champion"], ["challenger"]]
    assert rows[1]["marks"]["taken_back"].endswith("in favour of version 1.")


def a_writer(title: str, good: int, task: str = "skills", data: str = "d" * 64) -> Side:
    """Answers to twelve examples in two languages, so many of them right."""
    counts = ("found", "wanted", "right", "found_touching", "wanted_touched", "names_found", "names_wanted", "quoted")
    rows = []
    for place in range(12):
        scores = dict.fromkeys(counts, 2.0) | {"names_right": 2.0, "quoted_true": 2.0, "exact": 1.0}
        if place >= good:
            scores |= {"right": 0.0, "names_right": 0.0, "exact": 0.0}
        rows.append(ChatAnswer(f"r{place}", "en" if place % 2 else "da", f"c{place}", "[]", scores))
    return Side(title, {}, ChatAnswers(task, data, rows))


def test_texts_are_compared_by_the_metrics_of_their_task(tmp_path: Path) -> None:
    found = compare(a_writer("old", 3), a_writer("new", 12))
    assert found.gains["span_f1"].estimate == pytest.approx(0.75)
    assert (found.test.ours_only, found.test.theirs_only, found.common) == (9, 0, 12)
    assert next(iter(found.intervals[0])) == "span_f1"
    assert found.intervals[1]["per_language/da"].estimate == 1.0
    printed = io.StringIO()
    show(Console(file=printed, width=200), found)
    assert "span f1: B - A = +0.7500" in printed.getvalue() and "a sure difference" in printed.getvalue()
    draw(found, tmp_path / "both.png")
    assert (tmp_path / "both.png").stat().st_size > 10_000
    kept = a_writer("old", 3).answers
    assert isinstance(kept, ChatAnswers)
    kept.save(tmp_path / "answers.json")
    assert _stored(tmp_path / "answers.json") == kept


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (lambda: a_writer("b", 3, data="e" * 64), "same examples"),
        (lambda: a_writer("b", 3, task="instruct"), "like with like"),
        (lambda: side("b", GOOD), "of occupation: compare like"),
    ],
)
def test_texts_of_other_data_or_tasks_cannot_be_compared(other: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        compare(a_writer("a", 3), other())
