"""Several prepared sets in one training; test_survival.py kills one of these and resumes it."""

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from jobtuner.cli import app
from jobtuner.config import Config, load_config
from jobtuner.contracts import PreparedData, TrainedModel
from jobtuner.errors import ConfigError, ContractError
from jobtuner.records import ChatExample, Example, read_jsonl, write_jsonl
from jobtuner.stages import STAGES, _cache_key
from jobtuner.taxonomy import Taxonomy
from jobtuner.train.mixture import epoch_rows, mixed_sets, without_places
from jobtuner.train.order import EpochOrder
from jobtuner.train.stage import run as run_train
from tests.conftest import ADS, TINY

CODES = ["2221", "2221", "5120", "5120", "8331"]
SKILLS = "The ad asks for: giving medicine."


def prepared(folder: Path, task: str, rows: dict[str, list[Any]], **more: str) -> PreparedData:
    folder.mkdir(parents=True, exist_ok=True)
    for split in ("train", "validation", "test"):
        write_jsonl(folder / f"{split}.jsonl", rows[split])
    return PreparedData(
        folder=folder, fingerprint=task, task=task, source="generated", languages=["en"], labels=CODES,
        taxonomy_version=more.get("version", ""), counts={},
    ).save()  # fmt: skip


@pytest.fixture
def ads(tmp_path: Path, taxonomy: Taxonomy) -> PreparedData:
    """12 training rows; the last ad is held out."""
    rows = [Example(f"a{n}", f"{ADS[n % 4]} {n}", CODES[n % 4], "en", f"a{n}") for n in range(12)]
    held = [Example("held", ADS[4], CODES[4], "en", "held")]
    made = prepared(
        tmp_path / "ads", "occupation", {"train": rows, "validation": held, "test": held}, version=taxonomy.version
    )
    taxonomy.save(made.folder / "taxonomy.json")
    return made


@pytest.fixture
def skills(tmp_path: Path) -> PreparedData:
    """Five training rows, one of them on the ad that the other set holds out."""
    rows = [
        ChatExample(f"s{n}", text, {"spans": [[0, 5]]}, text[:5], "en", f"s{n}") for n, text in enumerate(ADS)
    ]  # fmt: skip
    return prepared(tmp_path / "skills", "skills", {"train": rows, "validation": rows[:2], "test": rows[:1]})


def recipe(skills: PreparedData, **changes: str) -> Config:
    mixed = f"{{prepare: '{skills.folder}', task: skills, weight: 0.5}}"
    settings = {"training.mixture.skills": mixed, "training.max_steps": "4", "training.evaluate_every": "2", **changes}
    loaded = load_config("smoke", settings)
    return loaded.model_copy(
        update={
            "model": loaded.model.model_copy(update={"standin": TINY}),
            "lora": loaded.lora.model_copy(update={"r": 8}),
        }
    )


def order(epoch: int, **change: Any) -> list[int]:
    settings: dict[str, Any] = {
        "lengths": [n * 37 % 101 for n in range(100 + 7 + 300)], "labels": [n % 10 for n in range(100)],
        "step_rows": 8, "group": True, "balance": 0.0, "seed": 5, "others": [(7, 20), (300, 50)],
    }  # fmt: skip
    sampler = EpochOrder(**{**settings, **change})
    sampler.set_epoch(epoch)
    found = list(sampler)
    assert len(found) == len(sampler) == 170
    return found


@pytest.mark.parametrize("group", [True, False])
def test_an_epoch_holds_its_own_rows_once_and_the_others_by_weight(group: bool) -> None:
    found = order(0, group=group)
    assert sorted(row for row in found if row < 100) == list(range(100))
    small = Counter(row for row in found if 100 <= row < 107)
    assert small.total() == 20
    assert set(small.values()) == {2, 3}  # 20 of 7 rows: none a third time before all came twice
    assert len({row for row in found if row >= 107}) == 50
    assert any(row >= 100 for row in found[:24])  # among the own rows, not behind them
    assert any(row >= 100 for row in found[-24:])


def test_the_next_epoch_goes_on_where_this_one_stopped() -> None:
    first_six = [row for epoch in range(6) for row in order(epoch) if row >= 107]
    assert sorted(first_six) == list(range(107, 407))
    assert order(3) == order(3)  # whatever came before: a resumed run asks for its epoch alone
    assert order(3) != order(3, seed=6)
    assert [row for row in order(6) if row >= 107] != [row for row in order(0) if row >= 107]


def test_every_set_is_learnt_and_measured(ads: PreparedData, skills: PreparedData, tmp_path: Path) -> None:
    run_train(recipe(skills), {"prepare": ads.folder}, tmp_path / "out")
    model = TrainedModel.load(tmp_path / "out")
    assert model.settings["mixture"] == {"skills": {"data": "skills", "rows": 4, "an_epoch": 6, "held_out": 1}}
    assert 0 < model.metrics["validation_skills_loss"] < 20
    assert 0 <= model.metrics["validation_skills_accuracy"] <= 1
    measured = [row for row in read_jsonl(tmp_path / "out" / "history.jsonl") if "validation_loss" in row]
    assert [row["step"] for row in measured] == [2, 4]
    assert measured[-1]["validation_skills_loss"] < measured[0]["validation_skills_loss"]


def test_a_folder_of_another_task_is_refused(ads: PreparedData, skills: PreparedData) -> None:
    config = recipe(skills, **{"training.mixture.skills.task": "instruct"})
    with pytest.raises(ContractError, match=r"training\.mixture\.skills\.task is instruct, and .* for skills"):
        mixed_sets(config, ads)
    with pytest.raises(ContractError, match=r"no training row for training\.mixture\.skills: 1 have texts"):
        write_jsonl(skills.folder / "train.jsonl", list(read_jsonl_examples(skills))[4:])
        mixed_sets(recipe(skills), ads)


def read_jsonl_examples(data: PreparedData) -> list[ChatExample]:
    return [ChatExample.from_json(row) for row in read_jsonl(data.folder / "train.jsonl")]


def test_the_content_decides_and_not_the_place(ads: PreparedData, skills: PreparedData) -> None:
    config = recipe(skills)
    before = _cache_key(STAGES["train"], config, {"prepare": ads.folder})
    write_jsonl(skills.folder / "train.jsonl", read_jsonl_examples(skills)[1:])
    assert _cache_key(STAGES["train"], config, {"prepare": ads.folder}) != before
    moved = recipe(skills, **{"training.mixture.skills.prepare": "elsewhere"})
    assert without_places(moved).digest("training") == without_places(config).digest("training")
    assert without_places(recipe(skills, **{"training.mixture.skills.weight": "0.25"})).digest("training") != (
        without_places(config).digest("training")
    )


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("skills.weight", "0.0", "training.mixture.skills.weight: got 0.0"),
        ("skills.task", "skill", "Input should be 'occupation', 'skills'"),
        ("skills.wieght", "1.0", "Did you mean 'weight'"),
        ("Skills", "{prepare: x, task: skills, weight: 1.0}", "the name 'Skills' cannot be"),
        ("label", "{prepare: x, task: skills, weight: 1.0}", "the name 'label' cannot be"),
    ],
)
def test_a_wrong_mixture_is_told_before_anything_is_read(key: str, value: str, said: str, skills: PreparedData) -> None:
    with pytest.raises(ConfigError, match=said):
        recipe(skills, **{f"training.mixture.{key}": value})


def test_answers_in_text_may_be_limited_where_a_mixed_task_has_some(skills: PreparedData) -> None:
    assert recipe(skills, **{"chat.max_answer_tokens": "99"}).chat.max_answer_tokens == 99
    with pytest.raises(ConfigError, match="reads no section chat"):
        recipe(skills, **{"chat.max_answer_tokens": "99", "training.mixture": "{}"})


def test_the_plan_counts_them(ads: PreparedData, skills: PreparedData) -> None:
    given = ["plan", "smoke", "--examples", "1000", "--example-tokens", "100"]
    alone = CliRunner().invoke(app, given).stdout
    mixed = f"training.mixture.skills={{prepare: '{skills.folder}', task: skills, weight: 0.5}}"
    told = CliRunner().invoke(app, [*given, "--set", mixed]).stdout
    assert "mixture      skills (skills): 0.5 of 1,000 = 500 an epoch" in told
    assert "400,000 tokens" in alone  # four epochs
    assert "600,000 tokens" in told
    assert epoch_rows(recipe(skills).training.mixture, 12) == 18
