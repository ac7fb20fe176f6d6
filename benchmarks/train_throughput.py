"""Claim: JobTuner fine-tunes on short rows at least 3 times as fast as the usual notebook recipe, and 1.2 times as fast
as TRL with its own packing, at the same validation loss.

The same model, rows, epochs, optimizer, learning rate, warm-up and schedule, in one process, in turn:

  notebook  SFTTrainer, padded to the longest row, batch 2, accumulation 4 (8 rows an optimizer step)
  trl       SFTTrainer with its own best-fit packing into sequences as long as 8 mean rows (8 rows a step on average),
            TRL's fused output layer
  jobtuner  8 rows a step in one pack that computes their common prompt once; output layer on the answers alone

What differs: the order of the rows (each has its own sampler); TRL's packing fills a step with 8 rows only on average;
TRL's trainer holds the adapter of a quantised model in bfloat16 and peft's preparation holds the base's embeddings and
output layer in float32, as notebooks do, while JobTuner does the opposite. All losses are measured by one function on
the same validation rows.

    .venv/bin/python benchmarks/train_throughput.py                         # generated ads
    .venv/bin/python benchmarks/train_throughput.py TITLES.jsonl.gz --text title --label isco08
    .venv/bin/python benchmarks/train_throughput.py --gpu                   # Qwen2.5-7B's shape, random weights
    .venv/bin/python benchmarks/train_throughput.py --gpu --tiny            # the same on a small shape, on a CPU too
"""

import argparse
import gc
import gzip
import json
import random
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from peft import LoraConfig, get_peft_model, prepare_model_for_kbit_training
from transformers import TrainerCallback, set_seed
from trl import SFTConfig, SFTTrainer

from jobtuner.config import Config, TrainingConfig, load_config
from jobtuner.models import load_quantized, load_tokenizer
from jobtuner.prepare.synthesize import generate_ads
from jobtuner.standin_tokenizer import train_tokenizer
from jobtuner.tasks import PromptEncoder, get_task
from jobtuner.taxonomy import Occupation, Taxonomy
from jobtuner.train.batches import StepBatches, answer_metrics
from jobtuner.train.lora import add_adapter
from jobtuner.train.order import EpochOrder
from jobtuner.train.packing import packed_attention
from jobtuner.train.shapes import SHAPES, Shape
from jobtuner.train.standin import Corpus, build_standin
from jobtuner.train.trainer import fine_tune

Rows = list[dict[str, list[int]]]
STEP_ROWS = 8
TINY = Shape(640, 64, 128, 2, 2, 1, tied=False)


@dataclass(frozen=True)
class Setting:
    """One model and one set of rows for all three."""

    folder: Path
    config: Config
    train: Rows
    validation: Rows
    gpu: bool


@dataclass(frozen=True)
class Result:
    """What a run took and gave."""

    seconds: float
    cpu_seconds: float
    """Processor time: steadier than the clock where other work runs beside it."""
    examples: float
    validation_loss: float
    peak_bytes: int


def notebook(setting: Setting, scratch: Path) -> Result:
    """The recipe of most QLoRA notebooks."""
    return _trl(setting, scratch, per_device_train_batch_size=2, gradient_accumulation_steps=STEP_ROWS // 2)


def trl_packed(setting: Setting, scratch: Path) -> Result:
    """TRL's best-fit packing: sequences of 8 mean rows, or of as many tokens as our own passes are allowed."""
    lengths = [len(row["input_ids"]) for row in setting.train]
    step = statistics.mean(lengths) * STEP_ROWS
    length = max(setting.config.training.pass_tokens or round(step), *lengths)
    sequences = max(1, round(step / length))
    return _trl(
        setting,
        scratch,
        packing=True,
        max_length=length,
        per_device_train_batch_size=1,
        gradient_accumulation_steps=sequences,
    )


def _trl(setting: Setting, scratch: Path, **options: Any) -> Result:
    config, training = setting.config, setting.config.training
    base = prepare_model_for_kbit_training(
        load_quantized(str(setting.folder), None, config.quantization),
        use_gradient_checkpointing=training.gradient_checkpointing,
    )
    lora = config.lora
    targets = lora.target_modules if isinstance(lora.target_modules, str) else list(lora.target_modules)
    model = get_peft_model(
        base,
        LoraConfig(
            r=lora.r, lora_alpha=lora.alpha, lora_dropout=lora.dropout, target_modules=targets, task_type="CAUSAL_LM"
        ),
    )
    arguments = SFTConfig(
        output_dir=str(scratch),
        num_train_epochs=training.epochs,
        learning_rate=training.learning_rate,
        lr_scheduler_type=training.schedule,
        warmup_steps=training.warmup,
        max_grad_norm=training.max_grad_norm,
        optim=training.optimizer,
        gradient_checkpointing=training.gradient_checkpointing,
        bf16=True,
        use_cpu=not setting.gpu,
        seed=config.seed,
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
        dataloader_pin_memory=setting.gpu,
        **{"max_length": None, **options},
    )
    trainer = SFTTrainer(
        model=model,
        args=arguments,
        train_dataset=Dataset.from_list(setting.train),
        processing_class=load_tokenizer(str(setting.folder)),
    )
    clock = _Clock()
    trainer.add_callback(clock)
    _forget_peak(setting)
    trainer.train()
    if setting.gpu:
        torch.cuda.synchronize()
    return _result(setting, trainer.model, time.monotonic() - clock.started, time.process_time() - clock.cpu_started)


class _Clock(TrainerCallback):
    """Starts where JobTuner's own time does: when everything is prepared and the first step comes."""

    started, cpu_started = 0.0, 0.0

    def on_train_begin(self, *_: Any, **__: Any) -> None:
        self.started, self.cpu_started = time.monotonic(), time.process_time()


def jobtuner(setting: Setting, scratch: Path) -> Result:
    """`fine_tune`, as the train stage calls it."""
    config = setting.config
    model = add_adapter(
        load_quantized(str(setting.folder), None, config.quantization),
        config.lora,
        config.training.gradient_checkpointing,
    )
    _forget_peak(setting)
    tokenizer = load_tokenizer(str(setting.folder))
    cpu_started = time.process_time()  # the trainer's construction and one validation row are in it, unlike TRL's
    metrics, _ = fine_tune(
        model, tokenizer, setting.train, setting.validation[:1], config.training, config.seed, scratch
    )
    return _result(setting, model, metrics["seconds"], time.process_time() - cpu_started)


def _forget_peak(setting: Setting) -> None:
    if setting.gpu:
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()


def _result(setting: Setting, model: Any, seconds: float, cpu_seconds: float) -> Result:
    peak = torch.cuda.max_memory_allocated() if setting.gpu else 0
    device = next(model.parameters()).device
    batches = StepBatches(0, TrainingConfig(batch_size=32))
    rows = sorted(setting.validation, key=lambda row: len(row["input_ids"]))
    passes = ({key: _to(value, device) for key, value in each.items()} for each in batches.passes(rows))
    with packed_attention(model), torch.autocast(device.type, dtype=torch.bfloat16):
        loss = answer_metrics(model, passes)["loss"]
    return Result(seconds, cpu_seconds, len(setting.train) * setting.config.training.epochs, loss, peak)


def _to(value: Any, device: Any) -> Any:
    if isinstance(value, dict):
        return {key: _to(each, device) for key, each in value.items()}
    return value.to(device) if isinstance(value, torch.Tensor) else value


def _titles(path: Path, text: str, label: str, count: int) -> list[tuple[str, str]]:
    content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    rows = [json.loads(line) for line in content.decode().splitlines()]
    pairs = [(str(row[text]), str(row[label])) for row in rows if row.get(text) and row.get(label)]
    random.Random(0).shuffle(pairs)
    return pairs[:count]


def _ads(config: Config, count: int) -> list[tuple[str, str]]:
    pairs = [(ad.text, str(ad.label)) for ad in generate_ads(config.data.generate, config.seed) if ad.label is not None]
    random.Random(0).shuffle(pairs)
    return pairs[:count]


def cpu_setting(arguments: argparse.Namespace, folder: Path) -> Setting:
    """The stand-in on titles or generated ads."""
    config = load_config(
        "smoke",
        {
            "training.batch_size": str(STEP_ROWS),
            "training.epochs": str(float(arguments.epochs)),
            "training.learning_rate": "7.0e-4",
        },
    )
    count = arguments.rows + arguments.rows // 8
    pairs = (
        _titles(arguments.titles, arguments.text, arguments.label, count) if arguments.titles else _ads(config, count)
    )
    taxonomy = Taxonomy([Occupation(code, {"en": code}) for code in sorted({code for _, code in pairs})])
    task = get_task(config.task)
    standin = config.model.standin.model_copy(update={"pretrain_tokens": arguments.pretrain_tokens})
    build_standin(standin, Corpus.of([text for text, _ in pairs], taxonomy), task, config.seed, folder)
    encoder = PromptEncoder(task, load_tokenizer(str(folder)), config.prompt.max_ad_tokens)
    rows = encoder.examples([text for text, _ in pairs], [code for _, code in pairs])
    return Setting(folder, config, rows[: arguments.rows], rows[arguments.rows :], gpu=False)


def gpu_setting(arguments: argparse.Namespace, folder: Path, shape: Shape, gpu: bool = True) -> Setting:
    """Random weights of a real shape in bfloat16, rows of random tokens up to `--length` with a common prompt."""
    from transformers import Qwen2Config, Qwen2ForCausalLM

    config = load_config(
        "smoke",
        {
            "training.batch_size": str(STEP_ROWS),
            "training.pass_tokens": str(arguments.length),
            "training.epochs": "1.0",
            "training.gradient_checkpointing": "true",
            "lora.r": "16",
            "lora.alpha": "32",
            "lora.target_modules": "all-linear",
        },
    )
    torch.set_default_dtype(torch.bfloat16)
    with torch.device("cuda" if gpu else "cpu"):
        model = Qwen2ForCausalLM(Qwen2Config(**shape.as_config()))
    torch.set_default_dtype(torch.float32)
    model.save_pretrained(folder)
    del model
    draw = random.Random(0)
    prompt = [draw.randrange(shape.vocab) for _ in range(min(300, arguments.length // 4))]
    # The trainers want a tokenizer for its padding token; the rows are made of ids.
    train_tokenizer(["a few words"], 300).save_pretrained(folder)
    rows: Rows = []
    for _ in range(arguments.rows):
        own = draw.randrange(arguments.length // 16, arguments.length // 2)
        ids = prompt + [draw.randrange(shape.vocab) for _ in range(own)]
        rows.append({"input_ids": ids, "labels": [-100] * (len(ids) - 6) + ids[-6:]})
    return Setting(folder, config, rows, rows[:16], gpu=gpu)


RUNS: dict[str, Callable[[Setting, Path], Result]] = {"notebook": notebook, "trl": trl_packed, "jobtuner": jobtuner}


def compare(setting: Setting, rounds: int, scratch: Path) -> dict[str, list[Result]]:
    """Each in turn, `rounds` times; prints as it goes."""
    results: dict[str, list[Result]] = {name: [] for name in RUNS}
    for number in range(rounds):
        for name, run in RUNS.items():
            set_seed(setting.config.seed)  # all adapters start alike
            result = run(setting, scratch)
            results[name].append(result)
            gc.collect()  # a trainer and its model hold each other: the next one needs the memory
            torch.cuda.empty_cache()
            print(
                f"round {number + 1}: {name:<9}{result.examples / result.seconds:8.1f} examples/s, "
                f"{1000 * result.cpu_seconds / result.examples:.1f} ms of processor an example, "
                f"validation loss {result.validation_loss:.4f}",
                flush=True,
            )
    return results


def computed_share(setting: Setting) -> float:
    """Tokens that JobTuner's passes hold, over those of the rows: its steps of the first epoch, as it trains them."""
    training = setting.config.training
    order = EpochOrder(
        [len(row["input_ids"]) for row in setting.train], [0] * len(setting.train),
        training.batch_size * training.gradient_accumulation, training.group_by_length, 0.0, setting.config.seed,
    )  # fmt: skip
    rows = [setting.train[index] for index in order]
    held = 0
    for start in range(0, len(rows), order.step_rows):
        passes = StepBatches(0, training)(rows[start : start + order.step_rows])["passes"]
        held += sum(each["input_ids"].numel() for each in passes)
    return held / sum(order.lengths)


def matmul_flops(device: str, size: int = 8192, repeats: int = 50) -> float:
    """Floating-point operations a second of one bfloat16 matrix product, median of `repeats` after a warm-up."""
    left, right = (torch.randn(size, size, dtype=torch.bfloat16, device=device) for _ in range(2))
    seconds = []
    for number in range(repeats + 5):
        if device == "cuda":
            torch.cuda.synchronize()
        started = time.perf_counter()
        left @ right
        if device == "cuda":
            torch.cuda.synchronize()
        seconds += [time.perf_counter() - started] if number >= 5 else []
    return 2 * size**3 / statistics.median(seconds)


def report(setting: Setting, results: dict[str, list[Result]], peak_flops: float | None) -> None:
    """Medians and ratios; tokens count as they stand in the rows, padding and sharing left aside.

    MFU: useful floating-point operations over what the chip could have done. Useful: what the rows need one by one,
    forward and backward, without recomputation (PaLM, arXiv 2204.02311, appendix B). JobTuner computes a common prompt
    once a pass, so its second figure leaves those tokens out: that one says how well the chip is used.
    """
    shape = Shape.from_config(json.loads((setting.folder / "config.json").read_text(encoding="utf-8")))
    lengths = [len(row["input_ids"]) for row in setting.train]
    useful = sum(length * shape.flops_a_token(length) for length in lengths) / len(lengths)
    computed = useful * computed_share(setting)
    tokens = statistics.mean(len(row["input_ids"]) for row in setting.train)
    speeds = {name: statistics.median(each.examples / each.seconds for each in runs) for name, runs in results.items()}
    losses = {name: statistics.median(each.validation_loss for each in runs) for name, runs in results.items()}
    print(f"{len(setting.train)} rows, {tokens:.0f} tokens a row, {STEP_ROWS} rows a step")
    for name, speed in speeds.items():
        line = f"{name:<9}{speed:9.1f} examples/s {speed * tokens:10.0f} tokens/s  loss {losses[name]:.4f}"
        if setting.gpu:
            line += f"  peak {max(each.peak_bytes for each in results[name]) / 2**30:.1f} GiB"
        if peak_flops:
            line += f"  MFU {speed * useful / peak_flops:.1%}"
            if name == "jobtuner":
                line += f" ({speed * computed / peak_flops:.1%} without the tokens that it need not compute)"
        print(line)
    ours = speeds["jobtuner"]
    for name in ("notebook", "trl"):
        change = losses["jobtuner"] / losses[name] - 1
        print(f"jobtuner / {name}: speed {ours / speeds[name]:.2f}, validation loss {change:+.1%}")


def main(given: Sequence[str] | None = None) -> None:
    """Build the model once, then time the three in turn."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("titles", nargs="?", type=Path, help="JSONL (.gz) of titles; left out: generated ads")
    parser.add_argument("--text", default="title", help="key of the text")
    parser.add_argument("--label", default="isco08", help="key of the code")
    parser.add_argument("--rows", type=int, help="training rows (4000; 256 with --gpu)")
    parser.add_argument("--epochs", type=float, default=2.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--pretrain-tokens", type=int, default=200_000)
    parser.add_argument("--gpu", action="store_true", help="Qwen2.5-7B's shape, NF4, LoRA r 16, on the GPU")
    parser.add_argument("--tiny", action="store_true", help="with --gpu: a shape of 0.2 M parameters, 16 rows, 1 round")
    parser.add_argument("--length", type=int, default=2048, help="with --gpu: tokens a pack")
    parser.add_argument("--peak-flops", type=float, help="dense bfloat16 FLOP/s for the MFU; with --gpu: measured")
    arguments = parser.parse_args(given)
    if arguments.tiny and not arguments.gpu:
        parser.error("--tiny needs --gpu: it tries that measurement out.")
    cuda = torch.cuda.is_available()
    if arguments.gpu and not (cuda or arguments.tiny):
        parser.error("--gpu needs a CUDA device, and there is none; --gpu --tiny runs here.")
    if arguments.tiny:
        arguments.rows, arguments.rounds, arguments.length = arguments.rows or 16, 1, min(arguments.length, 64)
    arguments.rows = arguments.rows or (256 if arguments.gpu else 4000)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "model"
        shape = TINY if arguments.tiny else SHAPES["qwen2.5-7b"]
        setting = gpu_setting(arguments, folder, shape, cuda) if arguments.gpu else cpu_setting(arguments, folder)
        results = compare(setting, arguments.rounds, Path(name) / "scratch")
        peak = arguments.peak_flops
        if arguments.gpu and peak is None:
            size = 8192 if cuda else 512
            peak = matmul_flops("cuda" if cuda else "cpu", size)
            print(f"measured ceiling: {peak / 1e12:.3g} TFLOP/s, bfloat16 matrix product of {size} x {size} x {size}")
        report(setting, results, peak)


if __name__ == "__main__":
    main()
