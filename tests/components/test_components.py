"""Each component names the folders that its stage reads, and hands over nothing else."""

import importlib
import inspect
import json
import sys
import types
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from jobtuner.config import Config, load_config
from jobtuner.contracts import Contract, MonitorReport
from jobtuner.errors import ConfigError, ModelError
from jobtuner.run import Run
from jobtuner.stages import SCHEDULED, STAGES
from jobtuner.tracking import MemoryRunStore, connect
from tests.pipelines.fakes.fake_stages import CONTRACTS

_TRACKER = "memory://components"


@dataclass
class _Artifact:
    """What kfp hands a component, as far as a component looks."""

    path: str


def _function(name: str) -> Any:
    return getattr(importlib.import_module(f"components.{name}"), name).python_func


@pytest.fixture
def run(tmp_path: Path) -> _Artifact:
    config = load_config("smoke")
    Run(config, _TRACKER, connect(_TRACKER).open_run(config)).save(tmp_path / "run")
    return _Artifact(str(tmp_path / "run"))


@pytest.mark.parametrize("name", STAGES)
def test_a_stage_gets_its_inputs_and_its_folder(
    name: str, run: _Artifact, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: dict[str, Path] = {}

    def stage(config: Config, inputs: Mapping[str, Path], out_dir: Path) -> Contract:
        seen.update(inputs)
        return CONTRACTS[name](folder=out_dir, fingerprint="f").save()

    module = types.ModuleType(f"jobtuner.{name}.stage")
    module.run = stage  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, module.__name__, module)
    folders = {other: tmp_path / other for other in STAGES[name].inputs}
    for other, folder in folders.items():
        folder.mkdir()
        CONTRACTS[other](folder=folder, fingerprint="f").save()
    out = _Artifact(str(tmp_path / "out" / name))
    artifacts = {other: _Artifact(str(folder)) for other, folder in folders.items()}
    _function(name)(run=run, **artifacts, **{name: out})
    assert seen == folders
    assert STAGES[name].produces.load(out.path).folder == Path(out.path)


@pytest.mark.parametrize("name", STAGES)
def test_parameters_are_those_of_the_stage(name: str) -> None:
    assert set(inspect.signature(_function(name)).parameters) == {"run", *STAGES[name].inputs, name}


def test_resolve_takes_text_and_the_numbers_of_a_json_parameter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", _TRACKER)
    monkeypatch.delenv("MLFLOW_RUN_ID", raising=False)
    overrides = {
        "training.epochs": "2",
        "data.generate.ads_per_unit": 3.0,  # as KFP hands over a 3
        "deduplicate.threshold": 0.5,
        "data.generate.languages": ["de", "en"],
        "clean.personal_data": False,
        "taxonomy.path": "codes.csv",
    }
    _function("resolve")("smoke", overrides, _Artifact(str(tmp_path / "run")))
    found = json.loads((tmp_path / "run" / "config.json").read_text())
    assert found["training"]["epochs"] == 2
    assert found["data"]["generate"]["ads_per_unit"] == 3
    assert found["data"]["generate"]["languages"] == ["de", "en"]
    assert found["deduplicate"]["threshold"] == 0.5
    assert found["clean"]["personal_data"] is False
    assert found["taxonomy"]["path"] == "codes.csv"


def test_every_component_is_covered() -> None:
    files = {path.stem for path in Path(importlib.import_module("components").__path__[0]).glob("*.py")}
    shards = {"split", "ask_shard", "join", "number_shards", "clean_shard", "merge_shards"}
    search = {"draw_trials", "train_trial", "pick_best"}
    assert files == {"__init__", "image", "resolve", "finish", *shards, *search, *STAGES, *SCHEDULED}


@pytest.mark.parametrize(
    ("state", "status"), [("SUCCEEDED", "FINISHED"), ("FAILED", "FAILED"), ("CANCELLED", "KILLED"), ("?", "FAILED")]
)
def test_finish_ends_the_run_that_resolve_opened(
    state: str, status: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from kfp.dsl import PipelineTaskFinalStatus

    uri = f"memory://{tmp_path}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    monkeypatch.delenv("MLFLOW_RUN_ID", raising=False)
    _function("resolve")("smoke", {}, _Artifact(str(tmp_path / "one")), "kfp-1")
    _function("resolve")("smoke", {}, _Artifact(str(tmp_path / "two")), "kfp-2")
    store = connect(uri).store
    assert isinstance(store, MemoryRunStore)
    mine, other = (Run.load(tmp_path / name).parent_id for name in ("one", "two"))
    killed = store.open_nested(mine, "train", {})
    ended = store.open_nested(mine, "prepare", {})
    store.close(ended, "FINISHED")
    told = PipelineTaskFinalStatus(state, "job", "finish", 9, "a pod was evicted")
    for _ in range(2):
        _function("finish")("smoke", {}, "kfp-1", told)
    found = {run_id: run.status for run_id, run in store.runs.items()}
    assert found == {mine: status, other: "RUNNING", killed: "KILLED", ended: "FINISHED"}
    assert store.runs[mine].tags["pipeline.error"] == "a pod was evicted"


def test_finish_has_nothing_to_end_where_the_recipe_was_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from kfp.dsl import PipelineTaskFinalStatus

    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"memory://{tmp_path}")
    told = PipelineTaskFinalStatus("FAILED", "job", "finish", 9, "")
    _function("finish")("smoke", {"no.such": "key"}, "kfp-1", told)
    assert "Its recipe was refused" in capsys.readouterr().err


@pytest.mark.parametrize("retrain", [True, False])
def test_the_watch_answers_with_a_bool(
    retrain: bool, run: _Artifact, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stage(config: Config, inputs: Mapping[str, Path], out_dir: Path) -> Contract:
        (out_dir / "report.html").touch()
        return MonitorReport(
            folder=out_dir, fingerprint="f", since="s", until="u", rows=1, drifted=retrain, drifted_tests=[],
            accuracy=None, action="retrain" if retrain else "none", retrain=retrain, reasons=[],
        ).save()  # fmt: skip

    module = types.ModuleType("jobtuner.monitor.stage")
    module.run = stage  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, module.__name__, module)
    assert _function("monitor")(run=run, monitor=_Artifact(str(tmp_path / "monitor"))) is retrain


def test_a_batch_by_its_components_is_the_whole_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = tmp_path / "ads.jsonl"
    source.write_text("".join(json.dumps({"text": f"ad {number}"}) + "\n" for number in range(10)))
    stand_in = (
        "import json, pathlib, sys; source, target, _, url, *options = sys.argv[1:]; column = "
        "options[options.index('--id-column') + 1]; rows = [json.loads(x) for x in open(source)]; "
        "pathlib.Path(target).write_text(''.join(json.dumps({'id': row[column], 'text': row['text'], 'url': url}) "
        "+ chr(10) for row in rows))"
    )
    monkeypatch.setattr("jobtuner.shards.ask_shard.__defaults__", ((sys.executable, "-c", stand_in),))
    numbers = _function("split")(str(source), 3, _Artifact(str(tmp_path / "parts")))
    shards = [_Artifact(str(tmp_path / f"answers-{number}")) for number in numbers]
    for number, shard in enumerate(shards):
        _function("ask_shard")(_Artifact(str(tmp_path / "parts")), float(number), "http://gateway", [], shard)
    _function("join")(shards, str(tmp_path / "target"), _Artifact(str(tmp_path / "joined")))
    lines = (tmp_path / "target" / "answers.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == [
        {"id": n, "text": f"ad {n}", "url": "http://gateway"} for n in range(10)
    ]


def test_a_search_by_its_components_ends_with_the_best_recipe(
    run: _Artifact, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Trainings are made up: the higher the rank the better, and 32 diverges."""
    from jobtuner.train import tune_pipeline

    def fine_tune(config: Config, prepare: Path, out: Path, *, watch: Any) -> None:
        assert out.is_dir() and prepare == tmp_path / "prepare"
        if config.lora.r == 32:
            raise ModelError("The loss is nan in step 3 of 12; the step was not taken.")
        for value in (0.1, config.lora.r / 100, 0.05):
            watch(1, {"macro_f1": value, "loss": 1.0})

    monkeypatch.setattr(tune_pipeline, "fine_tune_in", fine_tune)
    (tmp_path / "prepare").mkdir()
    CONTRACTS["prepare"](folder=tmp_path / "prepare", fingerprint="f").save()
    (tmp_path / "prepare" / "train.jsonl").write_text("{}\n" * 40)
    prepare, drawn = _Artifact(str(tmp_path / "prepare")), _Artifact(str(tmp_path / "drawn"))
    space = "lora.r: [8, 16, 32, 64]\n"
    numbers = _function("draw_trials")(run, space, 9, "macro_f1", drawn)
    assert numbers == [0, 1, 2, 3]  # there are no more
    trials = [_Artifact(str(tmp_path / f"trial-{number}")) for number in numbers]
    for number, trial in enumerate(trials):
        _function("train_trial")(run, prepare, drawn, float(number), trial)
        assert {path.name for path in Path(trial.path).iterdir()} == {"trial.json"}
    _function("pick_best")(run, prepare, drawn, trials, _Artifact(str(tmp_path / "best")))
    best = load_config(str(tmp_path / "best" / "best.yaml"))
    assert best.lora.r == 64
    assert best.training.best_by == "macro_f1"
    rows = [json.loads(line) for line in (tmp_path / "best" / "trials.jsonl").read_text().splitlines()]
    assert [row["settings"]["lora.r"] for row in rows] == ["64", "16", "8", "32"]
    assert [row["value"] for row in rows] == [0.64, 0.16, 0.1, None]
    store, parent = connect(_TRACKER).store, Run.load(Path(run.path)).parent_id
    assert isinstance(store, MemoryRunStore)
    assert store.runs[parent].metrics["best_validation_macro_f1"] == [(0, 0.64)]
    assert "best.yaml" in store.runs[parent].files
    assert [child.status for child in store.runs.values() if child.parent == parent] == ["FINISHED"] * 4


@pytest.mark.parametrize(
    ("space", "metric", "said"),
    [("lora.r: [8]\n", "f1", "accepted are loss"), ("lora.r: [7]\n", "loss", "lora.r: got 7"), ("", "loss", "empty")],
)
def test_a_search_that_cannot_be_made_is_refused_before_it_trains(
    space: str, metric: str, said: str, run: _Artifact, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=said):
        _function("draw_trials")(run, space, 2, metric, _Artifact(str(tmp_path / "drawn")))


@pytest.mark.slow
def test_shards_make_what_one_piece_makes(tmp_path: Path) -> None:
    """The components as a pipeline calls them: a loop over the numbers, whole numbers as floats."""
    generate = {"data.generate.languages": "[en]", "data.generate.ads_per_unit": "8"}
    config = load_config("smoke", {**generate, "data.workers": "1"})
    Run(config, _TRACKER, connect(_TRACKER).open_run(config)).save(tmp_path / "run")
    run = _Artifact(str(tmp_path / "run"))
    numbers = _function("number_shards")(2.0)
    assert numbers == [0, 1]
    cleaned = [_Artifact(str(tmp_path / f"shard-{number}")) for number in numbers]
    for number, folder in zip(numbers, cleaned, strict=True):
        _function("clean_shard")(run, float(number), 2.0, folder)
    merged, whole = _Artifact(str(tmp_path / "merged")), _Artifact(str(tmp_path / "whole"))
    _function("merge_shards")(run, cleaned[::-1], merged)
    _function("prepare")(run, whole)
    for name in ("train.jsonl", "validation.jsonl", "test.jsonl", "card.md"):
        assert (Path(merged.path) / name).read_bytes() == (Path(whole.path) / name).read_bytes(), name


@pytest.mark.parametrize("count", [0, 65, -1.0])
def test_a_number_of_shards_that_no_cluster_has_is_refused(count: float) -> None:
    with pytest.raises(ConfigError, match="accepted are 1 to 64"):
        _function("number_shards")(count)
