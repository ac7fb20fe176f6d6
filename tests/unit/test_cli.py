"""The command line: what it refuses, what it passes on, what it prints, and how fast it starts."""

import json
import os
import re
import subprocess
import sys
import types
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
import yaml
from numpy.typing import NDArray
from typer.testing import CliRunner, Result

from jobtuner import __version__
from jobtuner.cli import app
from jobtuner.cli.options import parse_overrides
from jobtuner.cli.stage import STAGE_COMMANDS
from jobtuner.config import Config, load_config
from jobtuner.contracts import Contract, PreparedData
from jobtuner.errors import ConfigError
from jobtuner.probabilities import Temperatures
from jobtuner.run import Run
from jobtuner.stages import STAGES
from jobtuner.taxonomy import Occupation, Taxonomy
from jobtuner.tracking import connect
from tests.architecture.rules import HEAVY
from tests.pipelines.fakes.fake_stages import CONTRACTS

_TRACKER = "memory://cli"


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in ("JOBTUNER_HOME", "JOBTUNER_CACHE", "JOBTUNER_EVENTS", "MLFLOW_RUN_ID"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", _TRACKER)
    return tmp_path


def _jobtuner(*arguments: str) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture
def prepare_stage(monkeypatch: pytest.MonkeyPatch) -> dict[str, object]:
    """A prepare stage that is done at once, and what it was called with."""
    seen: dict[str, object] = {}

    def run(config: Config, inputs: Mapping[str, Path], out_dir: Path) -> Contract:
        seen.update(config=config, inputs=dict(inputs))
        return CONTRACTS["prepare"](folder=out_dir, fingerprint="f").save()

    module = types.ModuleType("jobtuner.prepare.stage")
    module.run = run  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, module.__name__, module)
    return seen


# --- start-up

LIGHT = {"annotated_doc", "attr", "jobtuner", "markdown_it", "mdurl", "pygments", "rich", "shellingham", "typer"}
"""What draws the help."""


def test_help_loads_nothing_but_the_command_line() -> None:
    """Half a second is what `jobtuner --help` may take on an idle machine; what it imports decides that."""
    code = (
        "import sys; sys.argv = ['jobtuner', '--help']\n"
        "from jobtuner.cli import main\n"
        "try:\n    main()\n"
        "finally:\n    print(*sorted(sys.modules), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300, check=False)
    assert "Fine-tune, prove, register" in done.stdout
    loaded = set(done.stderr.split())
    assert (HEAVY | {"numpy", "pydantic", "yaml", "jobtuner.config"}) & loaded == set()
    foreign = {name.partition(".")[0] for name in loaded} - set(sys.stdlib_module_names)
    assert {name for name in foreign if not name.startswith("_")} <= LIGHT


def test_help_names_every_command() -> None:
    output = _jobtuner("--help").output
    for command in ("run", "compile", "submit", "predict", "serve", "validate", "doctor", "version", *STAGES):
        assert re.search(rf"^\W*{command}\s", output, re.MULTILINE), command


def test_stage_commands_are_the_stages() -> None:
    assert {name: inputs for name, (inputs, _) in STAGE_COMMANDS.items()} == {
        name: stage.inputs for name, stage in STAGES.items()
    }


def test_version() -> None:
    assert __version__ in _jobtuner("version").output


# --- errors


def test_a_mistake_is_a_message_and_an_exit_code() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "jobtuner.cli", "validate", "smok"],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == ConfigError.exit_code
    assert "Did you mean 'smoke'?" in done.stderr
    assert "Traceback" not in done.stderr and done.stdout == ""


def test_debug_shows_the_trace() -> None:
    assert isinstance(_jobtuner("--debug", "validate", "smok").exception, ConfigError)


def test_brackets_in_a_message_are_text() -> None:
    assert "no recipe '[red]smoke'" in _jobtuner("validate", "[red]smoke").stderr


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (["training.epochs"], "KEY=VALUE is needed"),
        (["=3"], "KEY=VALUE is needed"),
        (["seed=1", "seed=2"], "seed is given twice"),
    ],
)
def test_wrong_settings_are_refused(settings: list[str], words: str) -> None:
    result = _jobtuner("validate", "smoke", *(part for setting in settings for part in ("--set", setting)))
    assert result.exit_code == 2
    assert words in result.stderr


def test_the_text_of_an_option_is_no_yaml() -> None:
    overrides = parse_overrides(["seed=3"], {"data.input": "no", "data.columns.text": "2026", "taxonomy.path": None})
    config = load_config("smoke", overrides)
    assert (config.seed, config.data.input, config.data.columns.text) == (3, "no", "2026")
    assert config.taxonomy.path == load_config("smoke").taxonomy.path


def test_an_option_and_a_setting_for_one_key_are_refused() -> None:
    result = _jobtuner("run", "--input", "a.csv", "--set", "data.input=b.csv")
    assert result.exit_code == 2
    assert "data.input is given twice" in result.stderr


# --- validate


def test_validate_prints_the_config_that_would_be_used() -> None:
    result = _jobtuner("validate", "smoke", "--set", "training.epochs=0.5")
    assert result.exit_code == 0
    printed = Config.model_validate_json(json.dumps(yaml.safe_load(result.stdout)))
    assert printed.to_json() == load_config("smoke", {"training.epochs": "0.5"}).to_json()


def test_validate_names_all_mistakes() -> None:
    result = _jobtuner("validate", "smoke", "--set", "training.epochs=-1", "--set", "lora.r=7")
    assert result.exit_code == 2
    assert "training.epochs" in result.stderr and "lora.r" in result.stderr


# --- one stage


def test_a_stage_with_a_new_run(place: Path, prepare_stage: dict[str, object]) -> None:
    result = _jobtuner("prepare", "--recipe", "smoke", "--set", "seed=3", "--out", "data")
    assert result.exit_code == 0, result.output
    assert PreparedData.load(place / "data").labels
    assert isinstance(prepare_stage["config"], Config) and prepare_stage["config"].seed == 3
    (folder,) = (place / "outputs" / "runs").glob("*/run")
    store = connect(_TRACKER).store
    assert store.runs[Run.load(folder).parent_id].status == "FINISHED"  # type: ignore[attr-defined]  # the twin in memory


def test_a_new_run_is_closed_as_failed_with_its_stage(place: Path) -> None:
    result = _jobtuner("baseline", "--recipe", "smoke", "--prepare", "nowhere", "--out", "out")
    assert result.exit_code == 4
    (folder,) = (place / "outputs" / "runs").glob("*/run")
    store = connect(_TRACKER).store
    assert store.runs[Run.load(folder).parent_id].status == "FAILED"  # type: ignore[attr-defined]  # the twin in memory


def test_a_stage_takes_the_latest_run_and_its_outputs(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    latest = place / "outputs" / "latest"
    config = load_config("smoke")
    Run(config, _TRACKER, connect(_TRACKER).open_run(config)).save(latest / "run")
    (latest / "prepare").mkdir()
    CONTRACTS["prepare"](folder=latest / "prepare", fingerprint="f").save()
    seen: dict[str, Path] = {}

    def run(config: Config, inputs: Mapping[str, Path], out_dir: Path) -> Contract:
        seen.update(inputs)
        return CONTRACTS["train"](folder=out_dir, fingerprint="f").save()

    module = types.ModuleType("jobtuner.train.stage")
    module.run = run  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, module.__name__, module)
    assert _jobtuner("train", "--out", "trained").exit_code == 0
    assert seen == {"prepare": latest / "prepare"}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "There is no run at"),
        (["--run", "r", "--recipe", "smoke"], "exclude each other"),
        (["--set", "seed=1"], "give --recipe too"),
        (["--recipe", "smok"], "Did you mean 'smoke'"),
    ],
)
def test_which_run_must_be_clear(place: Path, arguments: list[str], words: str) -> None:
    result = _jobtuner("prepare", "--out", "data", *arguments)
    assert result.exit_code == 2
    assert words in result.stderr.replace("\n", " ")
    assert not (place / "outputs").exists()


def test_other_files_are_never_emptied_away(place: Path, prepare_stage: dict[str, object]) -> None:
    (place / "thesis.txt").write_text("years of work")
    result = _jobtuner("prepare", "--recipe", "smoke", "--out", ".")
    assert result.exit_code == 2 and "would be lost" in result.stderr
    assert (place / "thesis.txt").exists()
    (place / "link").symlink_to(place)
    assert _jobtuner("prepare", "--recipe", "smoke", "--out", "link").exit_code == 2
    result = _jobtuner("train", "--recipe", "smoke", "--prepare", "data", "--out", "./data")
    assert result.exit_code == 2 and "a folder of its own" in result.stderr


def test_a_former_result_is_replaced(place: Path, prepare_stage: dict[str, object]) -> None:
    for _ in range(2):
        assert _jobtuner("prepare", "--recipe", "smoke", "--out", "data").exit_code == 0
        (place / "data" / "old.txt").touch()
    assert _jobtuner("prepare", "--recipe", "smoke", "--out", "data").exit_code == 0
    assert not (place / "data" / "old.txt").exists()


# --- predict


class _Classifier:
    """Two codes, told apart by one word."""

    def __init__(self) -> None:
        nurse = Occupation("2221", {"en": "Registered nurses", "de": "Krankenpflegefachkräfte"})
        self.taxonomy = Taxonomy([nurse, Occupation("2512", {"en": "Software developers", "de": "Softwareentwickler"})])
        self.labels, self.temperatures = ["2221", "2512"], Temperatures(2.0, {"de": 1.0})

    def log_probabilities(self, texts: Sequence[str]) -> NDArray[np.float32]:
        rows = [(0.1, 0.9) if "software" in text.casefold() else (0.75, 0.25) for text in texts]
        return np.log(np.array(rows, dtype=np.float32))


@pytest.fixture
def loaded(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The folders from which a model was loaded; the real loader needs torch and is tested end to end."""
    folders: list[Path] = []

    def load_exported(folder: Path) -> _Classifier:
        folders.append(folder)
        return _Classifier()

    monkeypatch.setattr("jobtuner.scoring.load_exported", load_exported)
    return folders


def test_predict_shows_titles_in_the_language_of_the_ad(place: Path, loaded: list[Path]) -> None:
    result = _jobtuner("predict", "Wir suchen eine Pflegekraft für die Nacht", "Software engineer for our team")
    assert result.exit_code == 0, result.output
    assert loaded == [place / "outputs" / "latest" / "export" / "model"]
    best = [line.split() for line in result.output.splitlines() if "%" in line]
    assert best[0] == ["2221", "Krankenpflegefachkräfte", "90.0%"]  # (3 : 1) squared: German has half the temperature
    assert best[2] == ["2512", "Software", "developers", "90.0%"]


def test_predict_takes_the_temperature_of_the_language_that_is_said(loaded: list[Path]) -> None:
    probabilities = []
    for language in ("de", "en"):
        result = _jobtuner("predict", "Nurse", "--ad-language", language, "--top", "1", "--json", "--model", "m")
        probabilities.append(json.loads(result.stdout)["top"][0]["probability"])
    assert probabilities == [pytest.approx(0.9), pytest.approx(0.75)]


def test_predict_as_json(loaded: list[Path]) -> None:
    result = _jobtuner("predict", "Night nurse", "--language", "de", "--top", "1", "--json", "--model", "elsewhere")
    assert loaded == [Path("elsewhere")]
    answer = json.loads(result.stdout)
    assert answer["text"] == "Night nurse" and answer["language"] == "de"
    assert answer["top"] == [{"code": "2221", "title": "Krankenpflegefachkräfte", "probability": pytest.approx(0.75)}]


def test_predict_refuses_an_empty_ad(loaded: list[Path]) -> None:
    result = _jobtuner("predict", "nurse", "  ")
    assert result.exit_code == 3 and "is empty" in result.stderr
    assert loaded == []


def test_the_module_runs_too() -> None:
    environment = {**os.environ, "JOBTUNER_HOME": "x"}
    command = [sys.executable, "-m", "jobtuner.cli", "version"]
    assert subprocess.run(command, env=environment, capture_output=True, timeout=300, check=False).returncode == 0


def test_plan_prints_memory_time_and_cost_without_loading_anything() -> None:
    done = _jobtuner(
        "plan", "qwen2_5_7b", "--examples", "1000", "--example-tokens", "500", "--tokens-per-second", "1000",
        "--price-per-hour", "3.6", "--set", "training.epochs=2.0",
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    assert "7,655,986,688, of which trainable 40,370,176 (0.53%)" in done.output
    assert "1,000,000 tokens in 126 optimizer steps" in done.output  # 2 epochs × ⌈1000 / 16⌉
    assert "16 min 40 s" in done.output
    assert "1.00 at 3.60 an hour" in done.output
    assert "in all" in done.output
    assert "give --tokens-per-second" in _jobtuner("plan", "smoke").output


def test_plan_asks_how_many_examples_an_input_holds() -> None:
    done = _jobtuner("plan", "smoke", "--set", "data.input=ads.csv")
    assert done.exit_code != 0
    assert isinstance(done.exception, ConfigError) or "give --examples" in done.output
