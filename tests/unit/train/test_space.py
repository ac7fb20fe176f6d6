"""The search space: what is read, and what is refused before anything is trained."""

from pathlib import Path

import pytest

from jobtuner.config import load_config
from jobtuner.errors import ConfigError
from jobtuner.train.space import Choice, Range, load_space

GOOD = """
training.learning_rate: {low: 1.0e-4, high: 3.0e-3, log: true}
lora.r: [8, 16]
lora.target_modules: [all-linear, [q_proj, v_proj]]
lora.dropout: {low: 0, high: 0.2, step: 0.05}
training.batch_size: {low: 8, high: 32, step: 8}
"""


class Midway:
    """A trial that takes the last choice and the upper bound."""

    def suggest_categorical(self, key: str, values: list[str]) -> str:
        return values[-1]

    def suggest_float(self, key: str, low: float, high: float, *, step: float | None, log: bool) -> float:
        return high

    def suggest_int(self, key: str, low: int, high: int, *, step: int, log: bool) -> int:
        return high


def test_a_space_is_read_and_gives_overrides(tmp_path: Path) -> None:
    (tmp_path / "space.yaml").write_text(GOOD)
    space = load_space(tmp_path / "space.yaml", "smoke", {})
    assert space.settings["lora.r"] == Choice((8, 16))
    assert space.settings["lora.dropout"] == Range(0.0, 0.2, 0.05)
    assert space.suggest(Midway()) == {
        "training.learning_rate": "0.003",
        "lora.r": "16",
        "lora.target_modules": "[q_proj, v_proj]",
        "lora.dropout": "0.2",
        "training.batch_size": "32",
    }


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("lora.rank: [8]", "lora.rank: unknown key"),
        ("lora.r: [8, 12]", "lora.r: got 12"),
        ("training.learning_rate: {low: 1e-4, high: 1.0e-3}", r"write 1\.0e-4"),
        ("training.learning_rate: {low: 1.0e-3, high: 1.0e-4}", "low is below high"),
        ("training.learning_rate: {low: 0.0, high: 1.0, log: true}", "log needs low above 0"),
        ("lora.dropout: {low: 0.0, high: 1.5}", "lora.dropout: got 1.5"),
        ("lora.dropout: 0.1", "Accepted: a dotted setting with a list"),
        ("lora.dropout: {low: 0.0}", "Accepted: a dotted setting with a list"),
        ("lora.r: []", "Accepted: a dotted setting with a list"),
        ("seed: [1, 2]", "same data and seed"),
        ("data.input: [a, b]", "same data and seed"),
        ("- a", "no mapping"),
        ("", "is empty"),
        ("a: [", "cannot be read"),
    ],
)
def test_what_the_recipe_would_not_accept_is_refused(line: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "space.yaml").write_text(line)
    with pytest.raises(ConfigError, match=message):
        load_space(tmp_path / "space.yaml", "smoke", {})


def test_small_numbers_survive_the_way_through_yaml(tmp_path: Path) -> None:
    (tmp_path / "space.yaml").write_text("training.learning_rate: {low: 1.0e-7, high: 1.0e-5, log: true}")
    overrides = load_space(tmp_path / "space.yaml", "smoke", {}).suggest(Midway())
    assert load_config("smoke", overrides).training.learning_rate == 1e-5


def test_all_mistakes_are_told_at_once(tmp_path: Path) -> None:
    (tmp_path / "space.yaml").write_text("lora.rank: [8]\nlora.dropout: 3\ntraining.epochs: [0]\n")
    with pytest.raises(ConfigError, match=r"(?s)lora.dropout.*lora.rank.*training.epochs"):
        load_space(tmp_path / "space.yaml", "smoke", {})
    with pytest.raises(ConfigError, match="cannot be read"):
        load_space(tmp_path / "none.yaml", "smoke", {})
