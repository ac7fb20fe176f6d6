"""The train stage: prepared examples in, a QLoRA adapter and what inference needs out."""

import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from jobtuner.config import STANDIN, Config
from jobtuner.contracts import PreparedData, TrainedModel
from jobtuner.models import load_quantized, load_tokenizer
from jobtuner.records import write_jsonl
from jobtuner.run import home
from jobtuner.scoring import InferenceSettings
from jobtuner.storage import local_path
from jobtuner.tasks import CHAT_TASKS
from jobtuner.train.checkpoint import CheckpointStore
from jobtuner.train.data import TrainingData, training_data
from jobtuner.train.identity import environment, identity
from jobtuner.train.lora import add_adapter, verify
from jobtuner.train.resume import Checkpointing
from jobtuner.train.standin import build_standin
from jobtuner.train.trainer import fine_tune

__all__ = ["CHECKPOINTS_VARIABLE", "run"]

CHECKPOINTS_VARIABLE = "JOBTUNER_CHECKPOINTS"
"""Environment variable: folder or s3://bucket/key for the checkpoints of recipes that name none."""

_SECTIONS = ("seed", "task", "chat", "clean", "prompt", "model", "quantization", "lora", "training")
"""Sections of the recipe that decide what is trained."""


def run(config: Config, inputs: Mapping[str, Path], out_dir: Path) -> TrainedModel:
    """Fine-tune the base model on the training split.

    Raises:
        ModelError: the base cannot be loaded, a setting did not take effect, or the loss diverged.
        StorageError: checkpoints cannot be written or read.
        Interrupted: a signal came; a checkpoint was saved, and no contract written.
    """
    from transformers import set_seed

    prepared = PreparedData.load(inputs["prepare"])
    data = training_data(config, prepared)
    source, built = _base(config, data, out_dir)

    tokenizer = load_tokenizer(source, config.model.revision)
    rows = data.encode(tokenizer)
    set_seed(config.seed)
    base = load_quantized(source, config.model.revision, config.quantization, config.training.attention)
    model = add_adapter(base, config.lora, config.training.gradient_checkpointing)
    settings = {**verify(model, config.quantization, config.lora), "revision": config.model.revision, **built}
    with _checkpoints(config, identity(config.digest(*_SECTIONS), (rows.train, rows.validation), model)) as store:
        scratch = out_dir / "scratch"
        metrics, history = fine_tune(
            model, tokenizer, rows.train, rows.validation, config.training, config.seed, scratch,
            Checkpointing(store, config.checkpoint), rows.ids,
        )  # fmt: skip
        shutil.rmtree(scratch, ignore_errors=True)

        # The base's own embedding never changes, even where an adapter sits on it: it is not part of the adapter.
        model.save_pretrained(str(out_dir / "adapter"), safe_serialization=True, save_embedding_layers=False)
        tokenizer.save_pretrained(str(out_dir / "tokenizer"))
        write_jsonl(out_dir / "history.jsonl", history)
        if rows.tokens:
            write_jsonl(out_dir / "skipped.jsonl", (asdict(item) for item in rows.skipped))
            (out_dir / "tokens.json").write_text(json.dumps(rows.tokens, indent=1), encoding="utf-8")
        fingerprint = _fingerprint(out_dir / "adapter", source if config.model.base != STANDIN else "standin")
        InferenceSettings(
            task=config.task,
            labels=data.labels,
            prompt_hash=data.prompt_hash(tokenizer),
            max_ad_tokens=config.prompt.max_ad_tokens,
            taxonomy_version=data.taxonomy_version,
            data_fingerprint=prepared.fingerprint,
            model_fingerprint=fingerprint,
            quantization=config.quantization.model_dump(),
            clean=config.clean.model_dump(),
            max_answer_tokens=config.chat.max_answer_tokens if config.task in CHAT_TASKS else 0,
        ).save(out_dir)
        contract = TrainedModel(
            folder=out_dir,
            fingerprint=fingerprint,
            base="base" if config.model.base == STANDIN else config.model.base,
            base_is_standin=config.model.base == STANDIN,
            data_fingerprint=prepared.fingerprint,
            prompt_hash=data.prompt_hash(tokenizer),
            labels=data.labels,
            settings=settings,
            metrics=metrics,
        ).save()
        # Here the result is whole. Elsewhere it still has to travel: a pod that dies on the way is done again at once.
        store.finish(keep=1 if _uri(config) else 0)
    return contract


def _checkpoints(config: Config, identity: dict[str, str]) -> CheckpointStore:
    """The checkpoints of this training: a retry on another machine, or the next `jobtuner run`, finds them again."""
    cache, uri = os.environ.get("JOBTUNER_CACHE"), _uri(config)
    folder = local_path(uri) if uri else None
    root = folder or (Path(cache) if cache else home()) / "checkpoints"
    mirror = uri if folder is None else None
    return CheckpointStore(root, identity, config.checkpoint.keep, mirror, environment())


def _uri(config: Config) -> str | None:
    return config.checkpoint.uri or os.environ.get(CHECKPOINTS_VARIABLE) or None


def _base(config: Config, data: TrainingData, out_dir: Path) -> tuple[str, dict[str, Any]]:
    """The base model's location, and how it was built where it is the stand-in (copied or built into `base/`)."""
    if config.model.base != STANDIN:
        return config.model.base, {}
    corpus = data.corpus()
    target = out_dir / "base"
    cache = os.environ.get("JOBTUNER_CACHE")
    place = Path(cache) / "standin" / corpus.digest(config.model.standin, config.seed)[:24] if cache else None
    if place is not None and (place / "built.json").exists():
        shutil.copytree(place, target)
    else:
        built = build_standin(config.model.standin, corpus, data.task, config.seed, target)
        (target / "built.json").write_text(json.dumps(built), encoding="utf-8")
        if place is not None:
            unfinished = place.with_name(place.name + f".{os.getpid()}")
            shutil.copytree(target, unfinished)
            if not place.exists():
                unfinished.rename(place)
            shutil.rmtree(unfinished, ignore_errors=True)
    return str(target), {"standin": json.loads((target / "built.json").read_text(encoding="utf-8"))}


def _fingerprint(adapter: Path, base: str) -> str:
    digest = hashlib.sha256(base.encode())
    for path in sorted(adapter.glob("adapter_*")):
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()
