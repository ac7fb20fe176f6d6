"""One look as the schedule takes it: a log, a reference, corrections, a state."""

import json
import re
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from prometheus_client.parser import text_string_to_metric_families
from typer.testing import CliRunner

from jobtuner.cli import app
from jobtuner.cli.monitor import RETRAIN_EXIT_CODE
from jobtuner.config import load_config
from jobtuner.contracts import MonitorReport
from jobtuner.drift_reference.files import make_reference
from jobtuner.errors import ConfigError, ContractError, StorageError
from jobtuner.monitor import report
from jobtuner.monitor.stage import run
from jobtuner.monitor.state import approve, load_memory, save_memory
from jobtuner.prediction_log.rows import Answer, to_table
from jobtuner.prediction_log.sketch import Vocabulary
from jobtuner.prediction_log.writer import PredictionLog
from jobtuner.records import write_jsonl
from jobtuner.run import resolve
from jobtuner.stages import run_stage
from jobtuner.tracking import MemoryRunStore, connect
from tests.unit.prediction_log.samples import NOON, answer

ENGLISH = ["nurse", "ward", "night", "shift", "clinic", "patients", "care", "team", "city", "hospital", "cook"]
DANISH = ["sygeplejerske", "afdeling", "nattevagt", "klinik", "patienter", "pleje", "hold", "kok", "køkken", "byen"]
LABELS = ["2221", "2512", "5120", "8331"]


def answers(count: int, seed: int, words: list[str], version: str = "m1") -> list[Answer]:
    generator = np.random.default_rng(seed)
    return [
        answer(
            number,
            request=f"s{seed}",
            text=" ".join(generator.choice(words, 12)),
            label=str(generator.choice(LABELS)),
            probability=float(generator.beta(4, 2)),
            model_version=version,
            time=NOON - timedelta(minutes=number + 1),
        )
        for number in range(count)
    ]


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("reference")
    words = Vocabulary.of([" ".join(ENGLISH)])
    about = {"model_version": "m1", "accuracy": 0.9, "created": "2026-11-01T00:00:00+00:00", "source": "a test"}
    table = to_table(answers(300, 1, ENGLISH), words, keep_text=False)
    make_reference(table, words, about, abstain_below=0.3).save(folder)
    return folder


@pytest.fixture(autouse=True)
def _no_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """They take a second a look; `test_charts` draws them."""
    monkeypatch.setattr(report, "draw", lambda *_: {"none": (b"PNG", "what a picture shows")})


Fill = Callable[..., str]


@pytest.fixture
def fill(tmp_path: Path, reference: Path) -> Fill:
    def filled(*rows: Answer) -> str:
        location = str(tmp_path / "log")
        log = PredictionLog(location, vocabulary=Vocabulary.load(reference / "vocabulary.safetensors"))
        log.offer(rows)
        assert log.close()
        return location

    return filled


def look(tmp_path: Path, reference: Path | str, log: str, out: str = "out", **settings: Any) -> MonitorReport:
    given = {"log": log, "reference": str(reference), "until": NOON.isoformat(), **settings}
    overrides = {f"monitor.{key}": json.dumps(value) for key, value in given.items()}
    folder = tmp_path / out
    folder.mkdir()
    return run(load_config("smoke", overrides), {}, folder)


def test_a_quiet_week(tmp_path: Path, reference: Path, fill: Fill) -> None:
    found = look(tmp_path, reference, fill(*answers(200, 2, ENGLISH)))
    assert (found.rows, found.drifted, found.action, found.retrain) == (200, False, "none", False)
    assert MonitorReport.load(tmp_path / "out") == found
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert "No drift: the window looks like the reference." in page
    assert 'alt="what a picture shows"' in page
    assert not re.search(r'(?:src|href)="(?!data:)', page)  # it asks nothing from anywhere


def test_drift_that_lasts_starts_one_training(tmp_path: Path, reference: Path, fill: Fill) -> None:
    log, state = fill(*answers(200, 3, DANISH)), str(tmp_path / "state" / "watch.json")
    first = look(tmp_path, reference, log, "1", state=state)
    assert (first.drifted, first.action) == (True, "watch")
    assert {"all/unknown_words", "all/wording"} <= set(first.drifted_tests)
    second = look(tmp_path, reference, log, "2", state=state)
    assert (second.action, second.retrain) == ("retrain", True)
    third = look(tmp_path, reference, log, "3", state=state)
    fourth = look(tmp_path, reference, log, "4", state=state)
    assert (third.action, fourth.action) == ("watch", "wait")
    decision = json.loads((tmp_path / "4" / "decision.json").read_text(encoding="utf-8"))
    assert decision["memory"]["asked"] == "2026-11-20"
    assert "Drift: " in (tmp_path / "4" / "report.html").read_text(encoding="utf-8")


def test_corrections_tell_of_lost_accuracy(tmp_path: Path, reference: Path, fill: Fill) -> None:
    rows = answers(200, 2, ENGLISH)
    corrections = tmp_path / "corrections.jsonl"
    found = [{"id": row.id, "label": row.label if place % 2 else "9999"} for place, row in enumerate(rows)]
    write_jsonl(corrections, found)
    told = look(tmp_path, reference, fill(*rows), corrections=str(corrections))
    assert told.accuracy == pytest.approx(0.5)
    assert (told.drifted, told.action) == (False, "retrain")
    assert "accuracy is lost" in " ".join(told.reasons)


def test_only_the_references_model_is_compared(tmp_path: Path, reference: Path, fill: Fill) -> None:
    log = fill(*answers(200, 2, ENGLISH), *answers(150, 3, DANISH, "m2"))
    found = look(tmp_path, reference, log)
    assert (found.rows, found.drifted) == (350, False)
    versions = json.loads((tmp_path / "out" / "report.json").read_text(encoding="utf-8"))["versions"]
    assert versions == {"m1": 200, "m2": 150}


def test_a_model_of_another_version_is_compared_where_no_other_answered(
    tmp_path: Path, reference: Path, fill: Fill
) -> None:
    assert look(tmp_path, reference, fill(*answers(150, 3, DANISH, "m2"))).drifted is True


def test_an_empty_log_is_no_verdict(tmp_path: Path, reference: Path) -> None:
    found = look(tmp_path, reference, str(tmp_path / "nothing"))
    assert (found.rows, found.drifted, found.action) == (0, None, "none")
    assert "Too few answers" in (tmp_path / "out" / "report.html").read_text(encoding="utf-8")


def test_the_metrics_are_prometheus_text(tmp_path: Path, reference: Path, fill: Fill) -> None:
    look(tmp_path, reference, fill(*answers(200, 3, DANISH)))
    text = (tmp_path / "out" / "metrics.prom").read_text(encoding="utf-8")
    found = {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }
    assert found["jobtuner_drift",] == 1
    assert found["jobtuner_drift_score", "all", "unknown_words"] > 1
    assert found["jobtuner_monitor_window_answers",] == 200
    assert found["jobtuner_retraining", "watch"] == 1
    assert found["jobtuner_retraining", "retrain"] == 0
    assert found["jobtuner_reference_timestamp_seconds",] == 1793491200  # 2026-11-01


def test_what_is_not_named_is_asked_for(tmp_path: Path, reference: Path) -> None:
    with pytest.raises(ConfigError, match=r"monitor\.log is not set"):
        run(load_config("smoke", {}), {}, tmp_path)
    with pytest.raises(ConfigError, match="a time with zone"):
        look(tmp_path, reference, str(tmp_path), until="yesterday")
    with pytest.raises(ConfigError, match="a time with zone"):
        look(tmp_path, reference, str(tmp_path), "2", until="2026-11-20")
    with pytest.raises(ContractError, match="holds no reference"):
        look(tmp_path, tmp_path, str(tmp_path), "3")
    with pytest.raises(ContractError, match=r"got the inputs \['prepare'\]"):
        run(load_config("smoke", {}), {"prepare": tmp_path}, tmp_path)


def test_the_runner_records_a_look(
    tmp_path: Path, reference: Path, fill: Fill, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"memory://{tmp_path}")
    log = fill(*answers(200, 2, ENGLISH))
    settings = {"log": log, "reference": str(reference), "until": NOON.isoformat()}
    overrides = {f"monitor.{key}": json.dumps(value) for key, value in settings.items()}
    resolve("smoke", overrides, tmp_path / "run")
    contract = run_stage("monitor", tmp_path / "run", {}, tmp_path / "out")
    assert isinstance(contract, MonitorReport)
    assert contract.action == "none"
    store = connect(f"memory://{tmp_path}").store
    assert isinstance(store, MemoryRunStore)
    (_, recorded) = store.runs.values()
    assert recorded.tags["monitor.action"] == "none"


def test_the_state_in_an_object_store(s3: str) -> None:
    location = f"{s3}/watch/state.json"
    assert load_memory(location).level == 0
    with pytest.raises(StorageError, match="nothing to approve"):
        approve(location)
    save_memory(location, load_memory(location))
    approve(location)
    assert load_memory(location).approved
    with pytest.raises(StorageError, match="top of its bucket"):
        load_memory(f"{s3}/state.json")


def test_a_damaged_state_is_named(tmp_path: Path) -> None:
    (tmp_path / "state.json").write_text("{half")
    with pytest.raises(ContractError, match=r"state\.json"):
        load_memory(str(tmp_path / "state.json"))
    assert load_memory(None).level == 0


def jobtuner(*arguments: str, code: int = 0) -> str:
    done = CliRunner().invoke(app, ["monitor", *arguments])
    assert done.exit_code == code, done.output
    return done.output


def test_the_command(tmp_path: Path, reference: Path, fill: Fill) -> None:
    log, state, out = fill(*answers(200, 3, DANISH)), str(tmp_path / "state.json"), str(tmp_path / "out")
    given = ["--log", log, "--reference", str(reference), "--until", NOON.isoformat(), "--state", state, "-o", out]
    assert "Decision: watch." in jobtuner(*given, "--exit-code")
    manual = [*given, "--set", "monitor.retrain.approval=manual", "--exit-code"]
    assert "Decision: ask." in jobtuner(*manual)
    assert "Approved in" in jobtuner("approve", "--state", state)
    assert "Decision: retrain." in jobtuner(*manual, code=RETRAIN_EXIT_CODE)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").touch()
    assert "holds other files" in jobtuner(*given[:-1], str(tmp_path / "full"), code=2)


def test_the_command_makes_references_of_the_log(tmp_path: Path, reference: Path, fill: Fill) -> None:
    log = fill(*answers(250, 3, DANISH))
    ends = ["--since", "2026-11-01T00:00:00+00:00", "--until", NOON.isoformat()]
    told = jobtuner("reference", "--log", log, *ends, "--vocabulary", str(reference), "-o", str(tmp_path / "new"))
    assert "250 ads of the log" in told
    found = look(tmp_path, tmp_path / "new", log)
    assert found.drifted is False  # what was drift for the old one
    assert "needs --log, --since" in jobtuner("reference", "--log", log, *ends[:2], "-o", str(tmp_path / "x"), code=2)
