"""What a task does not read may not be set."""

import pytest

from jobtuner.config import Config, load_config
from jobtuner.errors import ConfigError
from jobtuner.tasks import CHAT_TASKS


@pytest.mark.parametrize("task", [*sorted(CHAT_TASKS), "occupation"])
def test_every_task_is_a_recipe_that_survives_its_file(task: str) -> None:
    config = load_config("smoke", {"task": task})
    assert Config.model_validate_json(config.to_json()).to_json() == config.to_json()


@pytest.mark.parametrize(
    ("task", "setting", "section"),
    [
        ("skills", {"taxonomy.level": "2"}, "taxonomy"),
        ("instruct", {"baseline.epochs": "9"}, "baseline"),
        ("occupation", {"chat.batch_size": "3"}, "chat"),
    ],
)
def test_a_section_that_the_task_would_ignore_is_refused(task: str, setting: dict[str, str], section: str) -> None:
    with pytest.raises(ConfigError, match=f"the task {task} reads no section {section}"):
        load_config("smoke", {"task": task, **setting})


def test_an_unknown_task_is_told_the_known_ones() -> None:
    with pytest.raises(ConfigError, match=r"'occupation', 'skills', 'cover_letter' or 'instruct'"):
        load_config("smoke", {"task": "poems"})


@pytest.mark.parametrize(
    ("task", "name"),
    [
        ("occupation", "jobtuner-occupation"),
        ("skills", "jobtuner-skills"),
        ("cover_letter", "jobtuner-letters"),
        ("instruct", "jobtuner-instruct"),
    ],
)
def test_each_task_has_a_model_name_of_its_own(task: str, name: str) -> None:
    settings = {"task": task}
    assert load_config("qwen2_5_0_5b", settings).register_.model_name == name
    assert load_config("qwen2_5_0_5b", settings | {"register.experiment": "x"}).register_.model_name == name
    given = load_config("qwen2_5_0_5b", settings | {"register.model_name": "mine"})
    assert given.register_.model_name == "mine"
    assert Config.model_validate_json(given.to_json()).register_.model_name == "mine"


def test_only_the_task_skills_links_skills() -> None:
    assert load_config("smoke_skills", {"chat.skills_taxonomy": "skills.csv"}).chat.skills_taxonomy == "skills.csv"
    with pytest.raises(ConfigError, match="links no skills"):
        load_config("smoke_letters", {"chat.skills_taxonomy": "skills.csv"})
