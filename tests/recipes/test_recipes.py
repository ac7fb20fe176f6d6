"""Every recipe that ships is valid, and the folder cannot be emptied unnoticed."""

from importlib import resources

import pytest

from jobtuner.config import load_config, recipe_names

_EXPECTED = {
    "melo_isco08",
    "qwen2_5_0_5b",
    "qwen2_5_1_5b",
    "qwen2_5_72b",
    "qwen2_5_7b",
    "smoke",
    "smoke_letters",
    "smoke_skills",
}
"""A new recipe is named here, and so is a removed one."""


def test_these_recipes_ship() -> None:
    assert set(recipe_names()) == _EXPECTED
    files = {entry.name for entry in resources.files("jobtuner.recipes").iterdir()} - {"__init__.py", "__pycache__"}
    assert files == {f"{name}.yaml" for name in _EXPECTED}


@pytest.mark.parametrize("name", recipe_names())
def test_a_recipe_is_valid(name: str) -> None:
    assert load_config(name).name == name


@pytest.mark.parametrize("name", recipe_names())
def test_a_recipe_opens_with_the_command_that_runs_it(name: str) -> None:
    first, *_ = (resources.files("jobtuner.recipes") / f"{name}.yaml").read_text(encoding="utf-8").splitlines()
    commands = (f"# jobtuner run --recipe {name}", f"# jobtuner submit --recipe {name}", f"# make run RECIPE={name}")
    assert first.startswith(commands) or (name == "smoke" and first == "# make run")


@pytest.mark.parametrize("name", [name for name in recipe_names() if name.startswith("qwen")])
def test_a_recipe_for_real_weights_states_the_memory_that_the_plan_gives(name: str) -> None:
    from jobtuner.train.plan import Workload, make_plan
    from jobtuner.train.shapes import shape_of

    config = load_config(name)
    work = Workload(examples=10_000, example_tokens=config.prompt.max_ad_tokens + 36, answer_tokens=6)
    planned = sum(make_plan(config, shape_of(config.model), work).memory.values()) / 2**30
    text = (resources.files("jobtuner.recipes") / f"{name}.yaml").read_text(encoding="utf-8")
    assert f"(jobtuner plan {name}): {planned:.1f} GiB =" in text
