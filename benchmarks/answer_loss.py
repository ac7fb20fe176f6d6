"""Claim: applying the output layer to the answers alone makes a fine-tuning step faster than TRL's own loss.

The same stand-in, rows, order, optimizer and steps, in one process: TRL's SFTTrainer with its own collator and loss
against `jobtuner.train.trainer` without packing. The two alternate; the ratio of the medians is printed.

    .venv/bin/python benchmarks/answer_loss.py
"""

import statistics
import tempfile
from pathlib import Path
from typing import Any

from datasets import Dataset
from trl import SFTTrainer
from trl.trainer.sft_trainer import DataCollatorForLanguageModeling

from jobtuner.config import Config, load_config
from jobtuner.models import load_quantized, load_tokenizer
from jobtuner.prepare.synthesize import generate_ads
from jobtuner.tasks import PromptEncoder, get_task
from jobtuner.taxonomy import builtin_taxonomy
from jobtuner.train.arguments import trainer_arguments
from jobtuner.train.lora import add_adapter
from jobtuner.train.standin import Corpus, build_standin
from jobtuner.train.trainer import fine_tune

STEPS, ROUNDS = 60, 3


def _model(folder: Path, config: Config) -> Any:
    return add_adapter(load_quantized(str(folder), None, config.quantization), config.lora, False)


def _theirs(folder: Path, config: Config, rows: list[dict[str, list[int]]], scratch: Path) -> tuple[float, float]:
    tokenizer = load_tokenizer(str(folder))
    trainer = SFTTrainer(
        model=_model(folder, config),
        args=trainer_arguments(config.training, config.seed, scratch),
        train_dataset=Dataset.from_list(rows),
        processing_class=tokenizer,
        data_collator=DataCollatorForLanguageModeling(pad_token_id=tokenizer.pad_token_id),
    )
    result = trainer.train()
    return float(result.metrics["train_samples_per_second"]), float(result.training_loss)


def _ours(folder: Path, config: Config, rows: list[dict[str, list[int]]], scratch: Path) -> tuple[float, float]:
    tokenizer = load_tokenizer(str(folder))
    metrics, _ = fine_tune(_model(folder, config), tokenizer, rows, rows[:16], config.training, config.seed, scratch)
    return metrics["examples_per_second"], metrics["train_loss"]


def main() -> None:
    """Build the stand-in once, then time both in turn."""
    # Padded, in random order, as TRL does it: the output layer is to be the one difference.
    usual = {"training.packing": "none", "training.group_by_length": "false"}
    config = load_config("smoke", {"training.max_steps": str(STEPS), **usual})
    ads = [ad for ad in generate_ads(config.data.generate, config.seed) if ad.label is not None][:2000]
    task = get_task(config.task)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        standin = config.model.standin.model_copy(update={"pretrain_tokens": 50_000})
        build_standin(standin, Corpus.of([ad.text for ad in ads], builtin_taxonomy()), task, config.seed, folder)
        encoder = PromptEncoder(task, load_tokenizer(str(folder)), config.prompt.max_ad_tokens)
        rows = encoder.examples([ad.text for ad in ads], [str(ad.label) for ad in ads])
        speeds: dict[str, list[float]] = {"trl": [], "jobtuner": []}
        for round_number in range(ROUNDS):
            for label, run in (("trl", _theirs), ("jobtuner", _ours)):
                speed, loss = run(folder, config, rows, folder / "scratch")
                speeds[label].append(speed)
                print(
                    f"round {round_number + 1}: {label:<9}{speed:7.1f} examples/s, training loss {loss:.4f}", flush=True
                )
        medians = {label: statistics.median(values) for label, values in speeds.items()}
        tokens = sum(len(row["input_ids"]) for row in rows) / len(rows)
        print(f"{STEPS} steps of {config.training.batch_size} rows, {tokens:.0f} tokens a row")
        print(f"median: TRL {medians['trl']:.1f}, JobTuner {medians['jobtuner']:.1f} examples/s: "
              f"ratio {medians['jobtuner'] / medians['trl']:.2f}")  # fmt: skip


if __name__ == "__main__":
    main()
