"""What is shown at the end of a run, of a prediction and of the doctor's round."""

import io
import shlex
import sys
from pathlib import Path

import pytest
from rich.console import Console

from jobtuner.display import (
    StageTime,
    Summary,
    duration,
    guess_language,
    next_commands,
    show_checks,
    show_prediction,
    show_summary,
    typed_path,
)
from jobtuner.doctor import Check
from tests.pipelines.fakes.fake_stages import CONTRACTS


@pytest.fixture
def console() -> Console:
    return Console(file=io.StringIO(), width=80)


def _shown(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def _summary(folder: Path, uri: str = "sqlite:///x/mlflow.db") -> Summary:
    for stage in ("evaluate", "register"):
        (folder / stage).mkdir(parents=True)
        CONTRACTS[stage](folder=folder / stage, fingerprint="f").save()
    times = [StageTime("train", 83.0, False, folder), StageTime("prepare", 0.1, True, folder)]
    return Summary(folder, times, uri, 91.0)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.0, "0.0 s"), (59.94, "59.9 s"), (59.96, "1 min 00 s"), (119.7, "2 min 00 s"), (3725.0, "62 min 05 s")],
)
def test_duration(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("We are looking for a nurse for our team in London", "en"),
        ("Wir suchen eine Pflegekraft für unser Team in Köln", "de"),
        ("Vi søger en sygeplejerske til vores afdeling", "da"),
        ("Buscamos una enfermera para el turno de noche", "es"),
        ("Nous recherchons une infirmière pour notre service de nuit", "fr"),
        ("Python developer", "en"),
        ("", "en"),
        ("看護師募集", "en"),
    ],
)
def test_guess_language(text: str, language: str) -> None:
    assert guess_language(text) == language


def test_summary(console: Console, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("JOBTUNER_HOME", raising=False)
    show_summary(console, _summary(tmp_path / "outputs" / "runs" / "1"))
    shown = _shown(console)
    for text in (
        "20 test ads",
        "0.700 → 0.800",
        "0.030 → 0.020",
        "top 5",
        "promoted to champion",
        "train 1 min 23 s",
        "prepare reused",
    ):
        assert text in shown
    assert "outputs/runs/1/evaluate/report.html\n" in shown
    rows = [line.split()[0] for line in shown.splitlines() if "→" in line and "test ads" not in line]
    assert rows == ["all", "de", "en"]
    assert max(len(line) for line in shown.splitlines() if "→" in line) <= 80


def test_only_what_is_better_is_green(tmp_path: Path) -> None:
    console = Console(file=io.StringIO(), width=80, force_terminal=True)
    show_summary(console, _summary(tmp_path))
    (row,) = [line for line in _shown(console).splitlines() if " all " in line]
    assert row.count("\x1b[32m") == 4  # a lower calibration error is better too


def test_next_commands_in_the_default_work_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("JOBTUNER_HOME", raising=False)
    monkeypatch.setenv("PATH", str(Path(sys.executable).parent))
    predict, serve, look = next_commands(_summary(tmp_path / "outputs"))
    assert predict.startswith('jobtuner predict "') and serve == "jobtuner serve"
    assert look == "mlflow ui --backend-store-uri sqlite:///x/mlflow.db"


def test_next_commands_elsewhere_name_the_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "my work"
    monkeypatch.setenv("JOBTUNER_HOME", str(folder))
    monkeypatch.setenv("PATH", str(Path(sys.executable).parent))
    predict, serve, look = next_commands(_summary(folder, "http://me:s3cret@mlflow.example.com"))
    assert shlex.split(serve) == ["jobtuner", "serve", "--model", str(folder / "export" / "model")]
    assert shlex.split(predict)[2:4] == ["--model", str(folder / "export" / "model")]
    assert look == "open http://mlflow.example.com"


def test_next_commands_outside_the_path_are_typed_in_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(Path(sys.executable).parents[2])
    monkeypatch.setenv("PATH", str(tmp_path))
    folder = Path(sys.executable).parent.relative_to(Path.cwd())
    predict, serve, look = next_commands(_summary(tmp_path))
    assert [shlex.split(line)[0] for line in (predict, serve, look)] == [
        *(str(folder / name) for name in ("jobtuner", "jobtuner", "mlflow"))
    ]


def test_typed_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert typed_path(tmp_path / "a b" / "c") == "'a b/c'"
    assert typed_path(Path("/etc/hosts")) == "/etc/hosts"


def test_prediction(console: Console) -> None:
    show_prediction(console, "[bold]Nurse[/bold] " * 20, [("2221", "Nurses [all]", 0.5), ("2512", "Developers", 0.25)])
    shown = _shown(console)
    assert "[bold]Nurse" in shown and "…" in shown
    assert "Nurses [all]" in shown and "50.0%" in shown
    assert shown.index("2221") < shown.index("2512")


def test_checks(console: Console) -> None:
    show_checks(console, [Check("GPU", "missing", "no [CUDA] device", "Buy one."), Check("Python", "ok", "3.11")])
    shown = _shown(console)
    assert "no [CUDA] device" in shown and "Buy one." in shown and "missing" in shown
