"""Recipes in, one checked config out."""

import re
from pathlib import Path

import pytest

from jobtuner.config import Config, load_config, recipe_names
from jobtuner.errors import ConfigError


def _recipe(folder: Path, text: str) -> str:
    path = folder / "mine.yaml"
    path.write_text(text, encoding="utf-8")
    return str(path)


def test_all_mistakes_are_named_at_once(tmp_path: Path) -> None:
    recipe = _recipe(tmp_path, "seed: -1\ntraining: {epochs: 0, lerning_rate: 1.0}\nlora: {r: 7}\nquantisation: {}\n")
    with pytest.raises(ConfigError) as error:
        load_config(recipe, {"split.test": "0.7"})
    message = str(error.value)
    assert "6 mistakes" in message
    for part in ("seed: got -1", "training.epochs: got 0", "lora.r: got 7", "split.test: got 0.7"):
        assert part in message
    assert "training.lerning_rate: unknown key. Did you mean 'learning_rate'?" in message
    assert "quantisation: unknown key. Did you mean 'quantization'?" in message


def test_an_explicit_zero_stays(tmp_path: Path) -> None:
    recipe = _recipe(tmp_path, "seed: 0\nlora: {dropout: 0.0}\n")
    config = load_config(recipe, {"training.warmup": "0", "training.weight_decay": "0.0", "data.generate.noise": "0"})
    assert (config.seed, config.lora.dropout, config.training.warmup) == (0, 0.0, 0.0)
    assert (config.training.weight_decay, config.data.generate.noise) == (0.0, 0.0)


@pytest.mark.parametrize(
    ("key", "text", "value"),
    [
        ("training.epochs", "2", 2.0),
        ("training.learning_rate", "2.0e-4", 2e-4),
        ("training.max_steps", "7", 7),
        ("training.max_steps", "null", None),
        ("quantization.double", "false", False),
        ("data.generate.languages", "[de, en]", ("de", "en")),
        ("data.input", "ads.csv", "ads.csv"),
        ("data.columns.language", "null", None),
        ("lora.target_modules", "[q_proj, v_proj]", ("q_proj", "v_proj")),
        ("register.model_name", "nurse", "nurse"),
    ],
)
def test_overrides_are_yaml(key: str, text: str, value: object) -> None:
    found: object = load_config("smoke", {key: text})
    for part in key.split("."):
        found = getattr(found, "register_" if part == "register" else part)
    assert (tuple(found) if isinstance(found, list) else found) == value


@pytest.mark.parametrize(
    ("key", "text"),
    [
        ("training.epochs", "'2'"),  # text is no number
        ("training.batch_size", "2.5"),
        ("quantization.double", "1"),
        ("training.epochs", "[1"),  # no YAML
        ("training.epochs.deep", "1"),  # through a value
        ("training.epoch", "1"),
        ("data.generate.languages", "[xx]"),
        ("training.epochs", ".nan"),
        ("deduplicate.threshold", "1.01"),
    ],
)
def test_wrong_overrides_are_refused(key: str, text: str) -> None:
    with pytest.raises(ConfigError, match=key.partition(".")[0]):
        load_config("smoke", {"training.epochs": "1", key: text})


def test_an_unknown_recipe_gets_a_hint() -> None:
    with pytest.raises(ConfigError, match=r"no recipe 'smok'. Did you mean 'smoke'\?") as error:
        load_config("smok")
    assert all(name in str(error.value) for name in recipe_names())


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[1, 2]", "holds a list"),
        ("a: [", "not readable YAML"),
        ("seed: 2026-01-31", "no form"),
        ("", "holds a NoneType"),
    ],
)
def test_a_file_that_is_no_recipe_is_refused(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        load_config(_recipe(tmp_path, text))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"absent\.yaml cannot be read"):
        load_config(str(tmp_path / "absent.yaml"))


def test_a_file_gives_the_name(tmp_path: Path) -> None:
    assert load_config(_recipe(tmp_path, "seed: 1\n")).name == "mine"
    with pytest.raises(ConfigError, match="letters, digits"):
        load_config(_recipe(tmp_path, "name: 'a/b'\n"))


def test_a_saved_config_is_the_same(tmp_path: Path) -> None:
    config = load_config("smoke", {"data.columns.language": "null", "training.max_steps": "3"})
    config.save(tmp_path / "config.json")
    assert Config.load(tmp_path / "config.json").to_json() == config.to_json()
    (tmp_path / "config.json").write_text('{"name": "x", "sed": 1}')
    with pytest.raises(ConfigError, match="Did you mean 'seed'"):
        Config.load(tmp_path / "config.json")


def test_a_digest_covers_the_sections_that_are_named() -> None:
    one, two = load_config("smoke"), load_config("smoke", {"training.epochs": "99"})
    assert one.digest("seed", "data") == two.digest("seed", "data")
    assert one.digest("training") != two.digest("training")
    assert one.digest() != two.digest()
    assert load_config("smoke", {"register.experiment": "x"}).digest("register") != one.digest("register")


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"quantization.type": "none"}, "double false"),
        ({"lora.initialization": "pissa"}, r"changed base weights.*Accepted: 'default', 'gaussian'"),
        ({"lora.dora": "true"}, "take embed_tokens out"),  # smoke adapts the embedding
        ({"training.packing": "none", "training.pass_tokens": "100"}, "pass_tokens needs packing"),
        ({"training.neftune_alpha": "5.0"}, "neftune_alpha needs packing none"),
        ({"training.attention": "eager"}, "attention eager needs packing none"),
        ({"training.best_by": "loss"}, "best_by needs evaluate_every"),
        ({"training.patience": "2"}, "patience needs best_by"),
    ],
    ids=str,
)
def test_settings_that_would_be_ignored_together_are_refused(overrides: dict[str, str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_config("smoke", overrides)


@pytest.mark.parametrize(
    ("overrides", "told"),
    [
        ({"deploy.kserve.models": "/models"}, "s3://bucket/key"),
        ({"deploy.kserve.url": "http://llm:8080"}, "hold {name}"),
        ({"deploy.kserve.profile": "a100", "deploy.kserve.fp8": "true"}, "fp8 is for L4 and H100"),
        ({"deploy.kserve.name": "Jobtuner_LLM"}, "should match pattern"),
        (
            {
                "deploy.target": "kserve",
                "deploy.kserve.weights": "adapter",
                "lora.dora": "true",
                "lora.target_modules": "all-linear",
            },
            "knows no DoRA",
        ),
        ({"deploy.target": "kserve", "task": "skills"}, "proves a model by its codes"),
    ],
)
def test_what_a_cluster_cannot_serve_is_refused_before_anything_runs(overrides: dict[str, str], told: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(told)):
        load_config("smoke" if "task" not in overrides else "smoke_skills", overrides)
