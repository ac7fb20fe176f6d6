"""A real adapter, by way of MLflow, asked anew: the champion answers as it did before it was registered."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from jobtuner.config import CleanConfig
from jobtuner.contracts import PreparedData, TrainedModel
from jobtuner.models import load_quantized, load_tokenizer
from jobtuner.records import Example, write_jsonl
from jobtuner.register.answers import Answer, Answers
from jobtuner.register.champion import champion_answers, champion_parameters
from jobtuner.register.gate import Unmeasured
from jobtuner.register.registry import CHAMPION, Candidate, champion_of, open_registry, published_files
from jobtuner.scoring import InferenceSettings, load_adapted
from jobtuner.tasks import get_task, prompt_hash
from jobtuner.taxonomy import Occupation, Taxonomy
from jobtuner.train.lora import add_adapter
from tests.conftest import ADS, LORA, NF4, Standin
from tests.unit.mlflow_template import fresh_tracker

NAME = "model"
EXAMPLES = [Example(f"ad-{k}", text, "2221", "en", f"c{k}") for k, text in enumerate(ADS)]


def adapted(standin: Standin, taxonomy: Taxonomy, folder: Path) -> TrainedModel:
    import torch

    folder.mkdir()
    model = add_adapter(load_quantized(str(standin.folder), None, NF4), LORA, gradient_checkpointing=False)
    torch.manual_seed(3)
    for name, parameter in model.named_parameters():
        if "lora_B" in name:  # zero at the start: the adapter would change nothing
            torch.nn.init.normal_(parameter, std=0.2)
    model.save_pretrained(str(folder / "adapter"), safe_serialization=True)
    (folder / "adapter" / "README.md").unlink(missing_ok=True)
    shutil.copytree(standin.folder, folder / "base")
    tokenizer = load_tokenizer(str(standin.folder))
    tokenizer.save_pretrained(str(folder / "tokenizer"))
    InferenceSettings(
        task="occupation",
        labels=taxonomy.labels,
        prompt_hash=prompt_hash(get_task("occupation"), tokenizer),
        max_ad_tokens=64,
        taxonomy_version=taxonomy.version,
        data_fingerprint="old",
        model_fingerprint="m",
        quantization=NF4.model_dump(),
        clean=CleanConfig().model_dump(),
    ).save(folder)
    return TrainedModel(
        folder=folder,
        fingerprint="m",
        base="base",
        base_is_standin=True,
        data_fingerprint="old",
        prompt_hash="p",
        labels=taxonomy.labels,
        settings={"total_parameters": 123},
        metrics={},
    ).save()


def prepared(taxonomy: Taxonomy, folder: Path) -> PreparedData:
    folder.mkdir()
    write_jsonl(folder / "test.jsonl", EXAMPLES)
    taxonomy.save(folder / "taxonomy.json")
    return PreparedData(
        folder=folder,
        fingerprint="new",
        task="occupation",
        source="generated",
        languages=["en"],
        labels=taxonomy.labels,
        taxonomy_version=taxonomy.version,
        counts={},
    ).save()


def test_the_champion_of_the_registry_answers_as_it_did(standin: Standin, taxonomy: Taxonomy, tmp_path: Path) -> None:
    trained, data = adapted(standin, taxonomy, tmp_path / "trained"), prepared(taxonomy, tmp_path / "prepared")
    names = ("adapter", "tokenizer", "base", "inference.json", "contract.json")
    files = published_files(*(trained.folder / name for name in names))
    registry = open_registry(fresh_tracker(tmp_path), "jobtuner")
    registry.set_alias(NAME, CHAMPION, registry.register(NAME, Candidate("m", "old", files, {}, 2.0, None)))
    champion = champion_of(registry.versions(NAME))
    assert champion is not None
    asked = Answers.of("new", [Answer(row.id, row.label, "en", "2221", 0.5, row.cluster) for row in EXAMPLES[1:]])

    found = champion_answers(registry, NAME, champion, data, asked, batch_size=2)

    assert isinstance(found, Answers)
    assert (found.data_fingerprint, list(found.rows)) == ("new", list(asked.rows))
    scores = load_adapted(trained, taxonomy).log_probabilities(ADS[1:]).astype(np.float64) / 2.0
    probabilities = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    for row, expected in zip(found.rows.values(), probabilities, strict=True):
        assert row.predicted == taxonomy.labels[expected.argmax()]
        assert row.probability == pytest.approx(expected.max(), abs=0.01)  # other batches, in bfloat16 kernels
    assert champion_parameters(registry, NAME, champion) == 123

    other = Taxonomy([Occupation(code, {"en": f"Another {code}"}) for code in taxonomy.labels])
    refused = champion_answers(registry, NAME, champion, prepared(other, tmp_path / "other"), asked, batch_size=2)
    assert isinstance(refused, Unmeasured)
    assert f"codes of taxonomy {taxonomy.version}, this data has those of {other.version}" in refused.reason

    root = Path(registry.fetch(NAME, "1", "", tmp_path / "copy"))
    assert (root / "adapter" / "adapter_model.safetensors").is_file()
    shutil.rmtree(tmp_path / "mlartifacts")
    gone = champion_answers(registry, NAME, champion, data, asked, batch_size=2)
    assert isinstance(gone, Unmeasured)
