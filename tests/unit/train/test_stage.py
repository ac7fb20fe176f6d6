"""train → scoring → export on a tiny real model: what each folder holds, and what is refused."""

import json
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from jobtuner import progress
from jobtuner.config import CheckpointConfig, Config, QuantizationConfig, load_config
from jobtuner.contracts import CONTRACT_FILE, EvalReport, ExportedModel, PreparedData, TrainedModel
from jobtuner.errors import Interrupted, ModelError, StorageError
from jobtuner.export.stage import run as run_export
from jobtuner.known_answers import distance_to_known_answers
from jobtuner.records import Example, write_jsonl
from jobtuner.run import home
from jobtuner.scoring import INFERENCE_FILE, InferenceSettings, load_adapted, load_exported
from jobtuner.stages import STAGES
from jobtuner.taxonomy import Occupation, Taxonomy
from jobtuner.train import trainer
from jobtuner.train.stage import _SECTIONS, _checkpoints
from jobtuner.train.stage import run as run_train
from tests.conftest import ADS, TINY
from tests.unit import contract_samples

CODES = ["2221", "2221", "5120", "5120", "8331"]


@pytest.fixture(scope="module")
def config() -> Config:
    loaded = load_config("smoke", {"training.epochs": "2.0", "export.parity_examples": "5", "export.dtype": "float32"})
    return loaded.model_copy(
        update={
            "model": loaded.model.model_copy(update={"standin": TINY}),
            "lora": loaded.lora.model_copy(update={"r": 8}),
        }
    )


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory, taxonomy: Taxonomy) -> PreparedData:
    folder = tmp_path_factory.mktemp("prepared")
    examples = [Example(f"{n}", ADS[n % 5], CODES[n % 5], "en", f"c{n}") for n in range(20)]
    for split in ("train", "validation", "test"):
        write_jsonl(folder / f"{split}.jsonl", examples)
    taxonomy.save(folder / "taxonomy.json")
    return PreparedData(
        folder=folder, fingerprint="data", task="occupation", source="generated", languages=["en"], labels=CODES,
        taxonomy_version=taxonomy.version, counts={},
    ).save()  # fmt: skip


@pytest.fixture(scope="module")
def trained(config: Config, prepared: PreparedData, tmp_path_factory: pytest.TempPathFactory) -> TrainedModel:
    out, left = tmp_path_factory.mktemp("trained"), _kept()
    run_train(config, {"prepare": prepared.folder}, out)
    assert _kept() == left  # of other tests, whose trainings were stopped
    return TrainedModel.load(out)


def _kept() -> set[str]:
    return {path.name for path in (home() / "checkpoints").glob("*")}


@pytest.fixture(scope="module")
def report(trained: TrainedModel, tmp_path_factory: pytest.TempPathFactory) -> EvalReport:
    folder = tmp_path_factory.mktemp("report")
    contract_samples.evaluation_files(folder)
    return EvalReport(
        folder=folder, fingerprint="report", data_fingerprint="data",
        model_fingerprint=trained.fingerprint, examples=1, model={"accuracy": 0.5}, baseline={}, gain={},
        mcnemar_p=1.0, temperature=1.7,
    ).save()  # fmt: skip


@pytest.fixture(scope="module")
def exported(
    config: Config, prepared: PreparedData, trained: TrainedModel, report: EvalReport,
    tmp_path_factory: pytest.TempPathFactory,
) -> ExportedModel:  # fmt: skip
    inputs = {"prepare": prepared.folder, "train": trained.folder, "evaluate": report.folder}
    return run_export(config, inputs, tmp_path_factory.mktemp("exported"))


def test_the_trained_folder_is_complete_and_free_of_pickle(trained: TrainedModel, taxonomy: Taxonomy) -> None:
    names = {path.name for path in trained.folder.rglob("*") if path.is_file()}
    assert {"adapter_model.safetensors", "adapter_config.json", "inference.json", "history.jsonl"} <= names
    assert not {name for name in names if name.endswith((".bin", ".pt", ".pkl", ".pth"))}
    assert trained.base_is_standin
    assert trained.labels == taxonomy.labels
    assert trained.settings["quantized_layers"] == 14
    assert trained.settings["adapted_layers"] == 15  # the embedding too


def test_a_finished_training_was_not_resumed(trained: TrainedModel) -> None:
    assert trained.metrics["resumes"] == 0


def test_a_stopped_training_has_no_contract_and_goes_on_to_the_same_adapter(
    config: Config, prepared: PreparedData, trained: TrainedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    @contextmanager
    def track(*arguments: Any, **more: Any) -> Iterator[Any]:
        with progress.track(*arguments, **more) as bar:
            steps = iter(range(100))

            class Stopping:
                def advance(self, amount: float = 1, **values: Any) -> None:
                    if amount and next(steps) == 1:
                        os.kill(os.getpid(), signal.SIGTERM)
                    bar.advance(amount, **values)

            yield Stopping()

    monkeypatch.setenv("JOBTUNER_CHECKPOINTS", str(tmp_path / "kept"))
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
    with monkeypatch.context() as patch, pytest.raises(Interrupted, match=r"SIGTERM at step 2 of \d") as stopped:
        patch.setattr(trainer, "track", track)
        run_train(config, {"prepare": prepared.folder}, tmp_path / "first")
    assert stopped.value.code == 143
    assert not (tmp_path / "first" / CONTRACT_FILE).exists()
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    model = run_train(config, {"prepare": prepared.folder}, tmp_path / "second")
    assert model.metrics["resumes"] == 1
    adapters = [(item.folder / "adapter" / "adapter_model.safetensors").read_bytes() for item in (model, trained)]
    assert adapters[0] == adapters[1]
    steps = [path.name for path in (tmp_path / "kept").glob("*/checkpoint-*")]
    assert steps == [f"checkpoint-{int(model.metrics['steps'])}"]  # one is left in a place of one's own


def test_the_checkpoints_place_is_the_recipes_or_the_environments_or_the_caches(
    config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def place(**settings: Any) -> Path:
        with _checkpoints(config.model_copy(update={"checkpoint": CheckpointConfig(**settings)}), {"a": "b"}) as store:
            return store.folder.parent

    assert place() == home() / "checkpoints"
    monkeypatch.setenv("JOBTUNER_CACHE", str(tmp_path / "cache"))
    assert place() == tmp_path / "cache" / "checkpoints"
    monkeypatch.setenv("JOBTUNER_CHECKPOINTS", "s3://bucket/key")
    assert place() == tmp_path / "cache" / "checkpoints"
    monkeypatch.setenv("JOBTUNER_CHECKPOINTS", f"file://{tmp_path}/volume")
    assert place() == tmp_path / "volume"
    assert place(uri=str(tmp_path / "recipe")) == tmp_path / "recipe"
    with pytest.raises(StorageError, match="gs:// is not accepted"):
        place(uri="gs://bucket")


def test_the_sections_that_decide_what_is_trained_are_those_of_the_cache() -> None:
    assert set(_SECTIONS) == set(STAGES["train"].sections)


def test_the_adapter_holds_no_base_weights(trained: TrainedModel) -> None:
    from safetensors import safe_open

    with safe_open(trained.folder / "adapter" / "adapter_model.safetensors", framework="pt") as weights:
        assert all("lora_" in name for name in weights.keys())  # noqa: SIM118 safe_open is no mapping


def test_every_label_has_a_probability(trained: TrainedModel, taxonomy: Taxonomy) -> None:
    scores = load_adapted(trained, taxonomy).log_probabilities([*ADS, "", "x" * 5000])
    assert scores.shape == (7, 5)
    np.testing.assert_allclose(np.exp(scores).sum(axis=1), 1.0, atol=1e-5)
    assert load_adapted(trained, taxonomy).log_probabilities([]).shape == (0, 5)


def test_merged_answers_as_base_and_adapter_do(
    exported: ExportedModel, trained: TrainedModel, taxonomy: Taxonomy
) -> None:
    assert exported.parity["label_agreement"] == 1.0
    adapted = load_adapted(trained, taxonomy).log_probabilities(ADS) / np.float32(1.7)
    adapted -= np.log(np.exp(adapted).sum(axis=1, keepdims=True))
    assert InferenceSettings.load(exported.folder / "model").abstain_below == 0.4
    assert (exported.folder / "model" / "baseline" / "cascade.json").is_file()
    assert distance_to_known_answers(load_exported(exported.folder / "model"), exported.folder / "model") < 1e-3
    merged = load_exported(exported.folder / "model").log_probabilities(ADS)  # applies the temperature by itself
    np.testing.assert_allclose(merged, adapted, atol=0.02)  # the adapted base computes in bfloat16: 8 bits of mantissa


def test_what_comes_in_is_cleaned_as_the_training_texts_were(exported: ExportedModel) -> None:
    scorer = load_exported(exported.folder / "model")
    plain, html = scorer.log_probabilities(["Cook wanted [EMAIL]", "<b>Cook</b>  wanted jobs@example.com"])
    np.testing.assert_allclose(plain, html, atol=1e-6)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"prompt_hash": "0" * 64}, "prompt hash"),
        ({"taxonomy_version": "0" * 16}, "taxonomy"),
        ({"labels": ["2221", "9999"]}, "9999"),
    ],
)
def test_a_model_that_does_not_fit_is_refused(
    exported: ExportedModel, change: dict[str, object], message: str, tmp_path: Path
) -> None:
    import shutil

    folder = shutil.copytree(exported.folder / "model", tmp_path / "model")
    replace(InferenceSettings.load(folder), **change).save(folder)  # type: ignore[arg-type]
    with pytest.raises(ModelError, match=message):
        load_exported(folder)


def test_a_folder_without_a_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=INFERENCE_FILE):
        load_exported(tmp_path)
    (tmp_path / INFERENCE_FILE).write_text("{}")
    with pytest.raises(ModelError, match="not readable"):
        load_exported(tmp_path)


def test_export_refuses_an_evaluation_of_another_model(
    config: Config, prepared: PreparedData, trained: TrainedModel, report: EvalReport, tmp_path: Path
) -> None:
    other = replace(report, folder=tmp_path, model_fingerprint="another").save()
    inputs = {"prepare": prepared.folder, "train": trained.folder, "evaluate": other.folder}
    with pytest.raises(ModelError, match="evaluate it first"):
        run_export(config, inputs, tmp_path)


def test_export_fails_where_merged_and_adapted_disagree(
    config: Config, prepared: PreparedData, trained: TrainedModel, report: EvalReport, tmp_path: Path
) -> None:
    from safetensors.torch import load_file, save_file

    broken = tmp_path / "trained"
    import shutil

    shutil.copytree(trained.folder, broken)
    unlike = tmp_path / "out"
    unlike.mkdir()
    strict = config.model_copy(update={"export": config.export.model_copy(update={"min_label_agreement": 1.0})})
    inputs = {"prepare": prepared.folder, "train": broken, "evaluate": report.folder}
    run_export(strict, inputs, unlike)
    weights = load_file(unlike / "model" / "model.safetensors")
    weights["lm_head.weight"] = -weights["lm_head.weight"]
    save_file(weights, unlike / "model" / "model.safetensors", metadata={"format": "pt"})
    from jobtuner.export.stage import parity

    found, _ = parity(TrainedModel.load(broken), unlike / "model", prepared, strict, report.temperature)
    assert found["label_agreement"] < 1.0
    assert found["mean_log_difference"] > config.export.max_log_difference


@pytest.mark.parametrize(
    "overrides",
    [
        {"quantization.type": "none", "quantization.double": "false", "quantization.compute_dtype": "float32"},
        {"lora.dora": "true", "lora.rslora": "true", "lora.target_modules": "all-linear"},
    ],
    ids=["none", "dora"],
)
def test_variants_are_exported_as_they_were_trained(
    overrides: dict[str, str], config: Config, prepared: PreparedData, taxonomy: Taxonomy, tmp_path: Path
) -> None:
    other = load_config("smoke", {"training.epochs": "1.0", "export.dtype": "float32", **overrides})
    other = other.model_copy(update={"model": config.model})
    for folder in ("trained", "report", "exported"):
        (tmp_path / folder).mkdir()
    trained = run_train(other, {"prepare": prepared.folder}, tmp_path / "trained")
    contract_samples.evaluation_files(tmp_path / "report")
    report = EvalReport(
        folder=tmp_path / "report", fingerprint="report", data_fingerprint="data",
        model_fingerprint=trained.fingerprint, examples=1, model={"accuracy": 0.5}, baseline={}, gain={}, mcnemar_p=1.0,
        temperature=1.0,
    ).save()  # fmt: skip
    inputs = {"prepare": prepared.folder, "train": trained.folder, "evaluate": report.folder}
    exported = run_export(other, inputs, tmp_path / "exported")
    adapted = load_adapted(trained, taxonomy).log_probabilities(ADS)
    merged = load_exported(exported.folder / "model").log_probabilities(ADS)
    np.testing.assert_allclose(merged, adapted, atol=1e-4 if other.quantization.type == "none" else 0.05)


def test_a_changed_taxonomy_beside_the_model_is_refused(exported: ExportedModel, tmp_path: Path) -> None:
    import shutil

    folder = shutil.copytree(exported.folder / "model", tmp_path / "model")
    document = json.loads((folder / "taxonomy.json").read_text())
    kept = [Occupation(**row) for row in document["occupations"]][:-1]
    Taxonomy(kept).save(folder / "taxonomy.json")
    with pytest.raises(ModelError, match="taxonomy"):
        load_exported(folder)


def test_bfloat16_is_merged_in_half_the_memory_to_the_same_bits(
    trained: TrainedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch
    from safetensors.torch import load_file

    from jobtuner.export import merge as merging

    settings = InferenceSettings.load(trained.folder)
    settings = replace(settings, quantization={**settings.quantization, "compute_dtype": "bfloat16"})
    for work in ("bfloat16", "float32"):
        monkeypatch.setattr(merging, "_work_type", lambda *_, work=work: work)
        merging.merge(trained, settings, "bfloat16", tmp_path / work)
    half, whole = (load_file(tmp_path / name / "model.safetensors") for name in ("bfloat16", "float32"))
    assert half.keys() == whole.keys() and all(weight.dtype == torch.bfloat16 for weight in half.values())
    other = {name for name in half if not torch.equal(half[name], whole[name])}
    assert other <= {"model.embed_tokens.weight"}  # why its adapter is merged in float32
    adapted = load_file(trained.folder / "adapter" / "adapter_model.safetensors")
    assert any("q_proj.lora_B" in name and weight.any() for name, weight in adapted.items())


@pytest.mark.parametrize(
    ("dtype", "compute", "adapter", "work"),
    [
        ("bfloat16", "bfloat16", {"target_modules": ["q_proj"]}, "bfloat16"),
        ("bfloat16", "bfloat16", {"target_modules": "all-linear", "use_dora": False}, "bfloat16"),
        ("bfloat16", "bfloat16", {"target_modules": ["q_proj"], "use_dora": True}, "float32"),
        ("bfloat16", "bfloat16", {"target_modules": ["q_proj", "embed_tokens"]}, "float32"),
        ("bfloat16", "float32", {}, "float32"),
        ("float32", "bfloat16", {}, "float32"),
    ],
)
def test_the_type_of_the_merge(dtype: str, compute: str, adapter: dict[str, Any], work: str) -> None:
    from jobtuner.export.merge import _work_type

    quantization = QuantizationConfig(compute_dtype=compute)  # type: ignore[arg-type]
    assert _work_type(dtype, quantization, adapter) == work
