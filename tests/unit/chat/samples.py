"""A tiny trained model of each task that answers in text, and what its stages read."""

from dataclasses import dataclass
from pathlib import Path

from jobtuner.config import Config, load_config
from jobtuner.contracts import BaselineModel, PreparedData, TrainedModel

SETTINGS = {
    "data.generate.ads_per_unit": "1",
    "data.generate.languages": "[en]",
    "prompt.max_ad_tokens": "40",
    "chat.max_answer_tokens": "100",
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


def make(task: str, root: Path) -> Made:
    """Run prepare, baseline and train."""
    from jobtuner.baseline.stage import run as baseline
    from jobtuner.prepare.stage import run as prepare
    from jobtuner.train.stage import run as train

    config = load_config("smoke", {"task": task, "checkpoint.uri": str(root / "checkpoints"), **SETTINGS})
    for name in ("prepare", "baseline", "train"):
        (root / name).mkdir()
    prepared = prepare(config, {}, root / "prepare")
    inputs = {"prepare": root / "prepare"}
    return Made(
        config, prepared, baseline(config, inputs, root / "baseline"), train(config, inputs, root / "train"), root
    )
