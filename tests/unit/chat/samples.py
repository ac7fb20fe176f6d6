"""A tiny trained model of each task that answers in text, and what its stages read."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jobtuner.config import Config, load_config
from jobtuner.contracts import BaselineModel, PreparedData, TrainedModel

SETTINGS = {
    "data.generate.ads_per_unit": "1",
    "data.generate.languages": "[en]",
    "prompt.max_ad_tokens": "40",
    "chat.max_answer_tokens": "130",
    "model.standin.vocab_size": "700",
    "model.standin.hidden_size": "32",
    "model.standin.intermediate_size": "64",
    "model.standin.heads": "2",
    "model.standin.kv_heads": "1",
    "model.standin.pretrain_tokens": "3000",
    "model.standin.pretrain_batch_tokens": "512",
    "quantization.compute_dtype": "float32",
    "export.dtype": "float32",
    "export.parity_examples": "3",
    "lora.r": "8",
    "training.max_steps": "2",
    "split.test": "0.3",
    "gate.min_examples": "5",
    "register.model_name": "tiny",
}


@dataclass(frozen=True)
class Made:
    """The first stages of a run."""

    config: Config
    prepared: PreparedData
    baseline: BaselineModel
    trained: TrainedModel
    root: Path

    def inputs(self, *more: str) -> dict[str, Path]:
        return {name: self.root / name for name in ("prepare", "baseline", "train", *more)}


def make(task: str, root: Path, *, by_trainer: bool = False) -> Made:
    """Run prepare and baseline, and give the stand-in an adapter: a random one, or the train stage's."""
    from jobtuner.baseline.stage import run as baseline
    from jobtuner.prepare.stage import run as prepare

    config = load_config("smoke", {"task": task, "checkpoint.uri": str(root / "checkpoints"), **SETTINGS})
    for name in ("prepare", "baseline", "train"):
        (root / name).mkdir()
    prepared = prepare(config, {}, root / "prepare")
    inputs = {"prepare": root / "prepare"}
    cheap = baseline(config, inputs, root / "baseline")
    if not by_trainer:
        return Made(config, prepared, cheap, _untrained(config, prepared, root / "train"), root)
    from jobtuner.train.stage import run as train

    return Made(config, prepared, cheap, train(config, inputs, root / "train"), root)


def _untrained(config: Config, prepared: PreparedData, out: Path) -> TrainedModel:
    """What the train stage leaves, without the trainer, whose import alone takes seconds."""
    from jobtuner.models import load_quantized, load_tokenizer
    from jobtuner.scoring import InferenceSettings
    from jobtuner.train.data import training_data
    from jobtuner.train.lora import add_adapter
    from jobtuner.train.standin import build_standin

    data = training_data(config, prepared)
    build_standin(config.model.standin, data.corpus(), data.task, config.seed, out / "base")
    tokenizer = load_tokenizer(str(out / "base"))
    model: Any = add_adapter(load_quantized(str(out / "base"), None, config.quantization), config.lora, False)
    for name, weight in model.named_parameters():
        if "lora_B" in name or "lora_embedding_A" in name:  # zero at the start: the adapter would change nothing
            weight.data.normal_(std=0.05)
    model.save_pretrained(str(out / "adapter"), save_embedding_layers=False)
    tokenizer.save_pretrained(str(out / "tokenizer"))
    InferenceSettings(
        task=config.task,
        labels=[],
        prompt_hash=data.prompt_hash(tokenizer),
        max_ad_tokens=config.prompt.max_ad_tokens,
        taxonomy_version="",
        data_fingerprint=prepared.fingerprint,
        model_fingerprint="tiny",
        quantization=config.quantization.model_dump(),
        clean=config.clean.model_dump(),
        max_answer_tokens=config.chat.max_answer_tokens,
    ).save(out)
    return TrainedModel(
        folder=out,
        fingerprint="tiny",
        base="base",
        base_is_standin=True,
        data_fingerprint=prepared.fingerprint,
        prompt_hash=data.prompt_hash(tokenizer),
        labels=[],
        settings={},
        metrics={},
    ).save()
