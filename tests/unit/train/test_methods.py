"""Full fine-tuning, the best weights by label scores, compiled layers: from the recipe to what is exported."""

import importlib.util
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from jobtuner.config import Config, TrainingConfig, load_config
from jobtuner.contracts import EvalReport, PreparedData, TrainedModel
from jobtuner.errors import ConfigError, ModelError
from jobtuner.export.stage import run as run_export
from jobtuner.models import load_quantized
from jobtuner.register.stage import _candidate
from jobtuner.scoring import load_adapted, load_exported
from jobtuner.taxonomy import Taxonomy
from jobtuner.train.full import unfreeze, verify_full
from jobtuner.train.kernels import compile_layers, use_liger, verify_kernels
from jobtuner.train.label_metrics import LabelJudge, macro_f1
from jobtuner.train.stage import run as run_train
from tests.conftest import ADS, NF4, TINY, Standin
from tests.unit import contract_samples
from tests.unit.train.samples import build
from tests.unit.train.test_processes import prepared

__all__ = ["prepared"]

FULL = {
    "training.method": "full", "lora": "{}", "quantization.type": "none", "quantization.double": "false",
    "training.learning_rate": "1.0e-3", "training.epochs": "3.0",
}  # fmt: skip


def config_of(**changes: str) -> Config:
    loaded = load_config("smoke", {"export.dtype": "bfloat16", "training.batch_size": "4", **changes})
    return loaded.model_copy(update={"model": loaded.model.model_copy(update={"standin": TINY})})


def report_of(trained: TrainedModel, folder: Path) -> EvalReport:
    folder.mkdir()
    contract_samples.evaluation_files(folder)
    return EvalReport(
        folder=folder, fingerprint="report", data_fingerprint="data", model_fingerprint=trained.fingerprint,
        examples=1, model={"accuracy": 0.5}, baseline={}, gain={}, mcnemar_p=1.0, temperature=1.0,
    ).save()  # fmt: skip


@pytest.fixture(scope="module")
def trained(prepared: PreparedData, tmp_path_factory: pytest.TempPathFactory) -> TrainedModel:
    """All weights, the best ones by macro-F1."""
    config = config_of(**FULL, **{"training.evaluate_every": "6", "training.best_by": "macro_f1"})
    return run_train(config, {"prepare": prepared.folder}, tmp_path_factory.mktemp("trained"))


def test_all_weights_are_trained_and_none_is_quantised(trained: TrainedModel) -> None:
    assert trained.settings["method"] == "full"
    assert trained.settings["trainable_parameters"] == trained.settings["total_parameters"] > 0
    base = load_quantized(str(trained.folder / "base"), None, config_of(**FULL).quantization)
    now = load_quantized(str(trained.folder / "weights"), None, config_of(**FULL).quantization)
    changed = [name for name, each in now.named_parameters() if not torch.equal(each, base.get_parameter(name))]
    assert {"model.embed_tokens.weight", "lm_head.weight", "model.layers.1.mlp.up_proj.weight"} <= set(changed)


def test_what_was_trained_whole_is_evaluated_exported_and_published(
    trained: TrainedModel, prepared: PreparedData, taxonomy: Taxonomy, tmp_path: Path
) -> None:
    report = report_of(trained, tmp_path / "report")
    (tmp_path / "exported").mkdir()
    inputs = {"prepare": prepared.folder, "train": trained.folder, "evaluate": report.folder}
    exported = run_export(config_of(**FULL), inputs, tmp_path / "exported")
    assert exported.parity["label_agreement"] == 1.0
    before = load_adapted(trained, taxonomy).log_probabilities(ADS)
    np.testing.assert_allclose(load_exported(exported.folder / "model").log_probabilities(ADS), before, atol=1e-5)
    for name in ("model_card.md", "answers.json", "settings.json"):
        (tmp_path / name).write_text("{}")
    published = set(_candidate(trained, report, tmp_path).files)
    assert any(name.startswith("weights/") for name in published)
    assert not any(name.startswith(("adapter/", "base/")) for name in published)


def test_the_measurements_hold_the_label_scores_and_the_best_is_kept(
    trained: TrainedModel, prepared: PreparedData, taxonomy: Taxonomy
) -> None:
    history = [json.loads(line) for line in (trained.folder / "history.jsonl").read_text().splitlines()]
    measured = [entry["validation_macro_f1"] for entry in history if "validation_macro_f1" in entry]
    assert len(measured) == 3
    rows = [json.loads(line) for line in (prepared.folder / "validation.jsonl").read_text().splitlines()]
    scores = load_adapted(trained, taxonomy).log_probabilities([row["text"] for row in rows])
    labels = [taxonomy.labels[index] for index in scores.argmax(axis=1)]
    place = {label: number for number, label in enumerate(taxonomy.labels)}
    now = macro_f1([place[each] for each in labels], [place[row["label"]] for row in rows])
    assert now == pytest.approx(max(measured), abs=0.1)  # stored in bfloat16, measured under autocast


def test_a_full_training_goes_on_from_its_checkpoint(
    prepared: PreparedData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run of twice the steps at a constant rate starts where the shorter one of the same identity ended."""
    from jobtuner.train.state import load_adapter, save_adapter

    model = unfreeze(load_quantized(str(_base(prepared, tmp_path)), None, config_of(**FULL).quantization), False)
    before = {name: each.clone() for name, each in model.named_parameters()}
    save_adapter(model, tmp_path)
    with torch.no_grad():
        for each in model.parameters():
            each.zero_()
    load_adapter(model, tmp_path)
    assert all(torch.equal(each, before[name]) for name, each in model.named_parameters())


def _base(prepared: PreparedData, folder: Path) -> Path:
    from jobtuner.tasks import get_task
    from jobtuner.train.standin import Corpus, build_standin

    corpus = Corpus.of(ADS * 4, Taxonomy.load(prepared.folder / "taxonomy.json"))
    build_standin(TINY, corpus, get_task("occupation"), 5, folder / "base")
    return folder / "base"


def test_macro_f1_is_sklearns() -> None:
    from sklearn.metrics import f1_score

    answers, wanted = [0, 1, 1, 2, 2, 4], [0, 1, 2, 2, 2, 3]
    expected = f1_score(wanted, answers, labels=[0, 1, 2, 3], average="macro", zero_division=0.0)
    assert macro_f1(answers, wanted) == pytest.approx(float(expected))


def test_the_judge_asks_as_the_evaluation_does(standin: Standin, tokenizer: Any, taxonomy: Taxonomy) -> None:
    from jobtuner.labels.scores import label_log_probabilities
    from jobtuner.tasks import PromptEncoder, get_task

    encoder = PromptEncoder(get_task("occupation"), tokenizer, 64)
    model = build(standin).train()
    wanted = ["2221", "2221", "5120", "5120", "8331"]
    judge = LabelJudge.of(encoder, ADS, wanted, taxonomy.labels)
    found = judge.measure(model, 4)
    assert model.training
    scores = label_log_probabilities(model.eval(), encoder.prompts(ADS[:4]), judge.layout, encoder.end_id)
    right = sum(taxonomy.labels[index] == label for index, label in zip(scores.argmax(axis=1), wanted, strict=False))
    assert found["label_accuracy"] == right / 4


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"training.method": "full", "lora": "{}"}, "training.method full .* nf4 freezes"),
        ({**FULL, "lora": "{r: 64}"}, "would ignore the section lora"),
        ({**FULL, "hardware.sharding": "fsdp"}, "cuts a frozen base"),
        (
            {"hardware.sharding": "fsdp", "training.best_by": "macro_f1", "training.evaluate_every": "5"},
            "best_by macro_f1 is not measured",
        ),
        ({"hardware.sharding": "fsdp", "training.torch_compile": "true"}, "torch_compile does not go with"),
    ],
    ids=str,
)
def test_settings_that_do_not_go_together_are_refused(changes: dict[str, str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_config("smoke", changes)


def test_what_is_not_trained_whole_is_noticed(standin: Standin) -> None:
    quantization = config_of(**FULL).quantization
    with pytest.raises(ModelError, match="bfloat16"):
        verify_full(unfreeze(load_quantized(str(standin.folder), None, quantization), False))
    model = unfreeze(load_quantized(str(standin.folder), None, quantization, dtype="float32"), False)
    assert verify_full(model)["adapted_layers"] == 0
    model.get_parameter("model.norm.weight").requires_grad_(False)
    with pytest.raises(ModelError, match=r"1 weights: model.norm.weight is torch.float32, frozen"):
        verify_full(model)


def test_liger_is_refused_without_a_gpu_and_without_its_package(
    standin: Standin, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = load_quantized(str(standin.folder), None, NF4)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ModelError, match=r"training.liger needs a GPU"):
        use_liger(model)
    with pytest.raises(ModelError, match="liger is False, asked for True"):
        verify_kernels(model, TrainingConfig(liger=True))
    if importlib.util.find_spec("liger_kernel") is None:
        monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
        with pytest.raises(ModelError, match="pip install liger-kernel"):
            use_liger(model)


def test_compiling_without_a_compiler_is_refused(standin: Standin, monkeypatch: pytest.MonkeyPatch) -> None:
    model = load_quantized(str(standin.folder), None, NF4)
    with pytest.raises(ModelError, match="torch_compile is False, asked for True"):
        verify_kernels(model, TrainingConfig(torch_compile=True))
    monkeypatch.setenv("PATH", "")
    with pytest.raises(ModelError, match="needs a C\\+\\+ compiler"):
        compile_layers(model)


@pytest.mark.slow
def test_compiled_layers_learn_what_the_others_learn(prepared: PreparedData, tmp_path: Path) -> None:
    changes = {"training.max_steps": "6", "quantization.compute_dtype": "float32", "lora.r": "8"}
    losses = []
    for name in ("false", "true"):
        (tmp_path / name).mkdir()
        config = config_of(**changes, **{"training.torch_compile": name})
        model = run_train(config, {"prepare": prepared.folder}, tmp_path / name)
        assert model.settings["torch_compile"] == (name == "true")
        losses.append(model.metrics["validation_loss"])
    assert losses[1] == pytest.approx(losses[0], abs=1e-3)
