"""The train stage: prepared examples in, a QLoRA adapter and what inference needs out."""

import hashlib
import json
import os
import shutil
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from jobtuner.config import STANDIN, Config
from jobtuner.contracts import PreparedData, TrainedModel
from jobtuner.errors import ModelError
from jobtuner.models import WEIGHTS_FOLDER, load_quantized, load_tokenizer
from jobtuner.records import write_jsonl
from jobtuner.run import home
from jobtuner.scoring import InferenceSettings
from jobtuner.storage import local_path
from jobtuner.tasks import CHAT_TASKS
from jobtuner.tracking_live import live_curves
from jobtuner.train.best import Watch
from jobtuner.train.checkpoint import CheckpointStore
from jobtuner.train.curves import CURVES_FILE, draw_curves
from jobtuner.train.data import TrainingData, training_data
from jobtuner.train.full import unfreeze, verify_full
from jobtuner.train.group import ALONE, Group, joined, started_as_rank
from jobtuner.train.identity import environment, identity
from jobtuner.train.kernels import compile_layers, use_liger, verify_kernels
from jobtuner.train.launch import launch, machines, processes_here
from jobtuner.train.lora import add_adapter, verify
from jobtuner.train.mixture import MixedRows, MixedSet, mixed_sets, without_places
from jobtuner.train.resume import Checkpointing, SeenEnoughError
from jobtuner.train.shard import shard_base
from jobtuner.train.standin import Corpus, build_standin
from jobtuner.train.trainer import fine_tune

__all__ = ["CHECKPOINTS_VARIABLE", "fine_tune_in", "run", "take_part"]

CHECKPOINTS_VARIABLE = "JOBTUNER_CHECKPOINTS"
"""Environment variable: folder or s3://bucket/key for the checkpoints of recipes that name none."""

_SECTIONS = ("seed", "task", "chat", "clean", "prompt", "model", "quantization", "lora", "training")
"""Sections of the recipe that decide what is trained."""


def run(config: Config, inputs: Mapping[str, Path], out_dir: Path) -> TrainedModel:
    """Fine-tune the base model on the training split, in as many processes as `hardware` says.

    Raises:
        ModelError: the base cannot be loaded, a setting did not take effect, or the loss diverged.
        StorageError: checkpoints cannot be written or read.
        Interrupted: a signal came; a checkpoint was saved, and no contract written.
    """
    take_part(config, inputs["prepare"], out_dir)
    return TrainedModel.load(out_dir)


def take_part(config: Config, prepare: Path, out_dir: Path) -> None:
    """Train: as one process of several where a launcher started this one as such, else in processes of its own.

    Args:
        config: the recipe.
        prepare: folder of the prepared data; on several machines each must see the same content there.
        out_dir: the first process of all writes the result here, the others hold their scratch here.
    """
    if started_as_rank():
        with joined() as group:
            fine_tune_in(config, prepare, out_dir, group)
        return
    place, count = machines(), processes_here(config.hardware, _gpus())
    if count * place.count == 1:
        fine_tune_in(config, prepare, out_dir, ALONE)
        return
    launch(config, prepare, out_dir, count, place)
    shutil.rmtree(out_dir / "processes")


def fine_tune_in(
    config: Config, prepare: Path, out_dir: Path, group: Group = ALONE, watch: Watch | None = None
) -> None:
    """The work of one process of the group; the first one writes the result and its contract.

    Raises:
        SeenEnoughError: `watch` did, at a measurement; the checkpoints are removed.
    """
    from transformers import set_seed

    prepared = PreparedData.load(prepare)
    data, others = training_data(config, prepared), mixed_sets(config, prepared)
    source, built = group.tell(_base(config, _corpus(data, others), data, out_dir) if group.first else None)

    tokenizer = load_tokenizer(source, config.model.revision)
    rows = data.encode(tokenizer)
    mixed = [each.encode(tokenizer, data.rows) for each in others]
    set_seed(config.seed)
    model, found = _model(config, source)
    settings = {**found, "revision": config.model.revision, **built}
    splits = [rows.train, rows.validation, *(split for each in mixed for split in (each.train, each.validation))]
    me = identity(without_places(config).digest(*_SECTIONS), splits, model)
    settings |= {"processes": group.size, **_shard(config, model, group), **_mixture(others, mixed)}
    with _checkpoints(config, me, group) if group.first else nullcontext() as store:
        scratch = out_dir / f"scratch-{group.rank}"
        if "tensorboard" in config.reporting.to:
            os.environ.setdefault("TENSORBOARD_LOGGING_DIR", str(out_dir / "tensorboard"))
        try:
            metrics, history = fine_tune(
                model, tokenizer, rows.train, rows.validation, config.training, config.seed, scratch,
                Checkpointing(store, config.checkpoint), ids=rows.ids, group=group,
                autocast=config.quantization.compute_dtype == "bfloat16",
                judge=data.judge(tokenizer), watch=watch, report_to=config.reporting.to, mixed=mixed,
                live=live_curves() if group.first else None,
            )  # fmt: skip
        except SeenEnoughError:
            if store is not None:
                store.finish(keep=0)
            raise
        shutil.rmtree(scratch, ignore_errors=True)
        if store is None:
            return
        weights = _save(config, model, out_dir)
        tokenizer.save_pretrained(str(out_dir / "tokenizer"))
        write_jsonl(out_dir / "history.jsonl", history)
        if rows.tokens:
            write_jsonl(out_dir / "skipped.jsonl", (asdict(item) for item in rows.skipped))
            (out_dir / "tokens.json").write_text(json.dumps(rows.tokens, indent=1), encoding="utf-8")
        draw_curves(history, out_dir / CURVES_FILE)
        fingerprint = _fingerprint(weights, source if config.model.base != STANDIN else "standin")
        result = _Result(fingerprint, data.prompt_hash(tokenizer), settings, metrics)
        _write(config, prepared, data, result, out_dir)
        # Here the result is whole. Elsewhere it still has to travel: a pod that dies on the way is done again at once.
        store.finish(keep=1 if _uri(config) else 0)


@dataclass(frozen=True)
class _Result:
    fingerprint: str
    prompt_hash: str
    settings: dict[str, Any]
    metrics: dict[str, float]


def _write(config: Config, prepared: PreparedData, data: TrainingData, found: _Result, out_dir: Path) -> None:
    """What inference needs, and last of all the contract."""
    InferenceSettings(
        task=config.task,
        labels=data.labels,
        prompt_hash=found.prompt_hash,
        max_ad_tokens=config.prompt.max_ad_tokens,
        taxonomy_version=data.taxonomy_version,
        data_fingerprint=prepared.fingerprint,
        model_fingerprint=found.fingerprint,
        quantization=config.quantization.model_dump(),
        clean=config.clean.model_dump(),
        max_answer_tokens=config.chat.max_answer_tokens if config.task in CHAT_TASKS else 0,
    ).save(out_dir)
    TrainedModel(
        folder=out_dir,
        fingerprint=found.fingerprint,
        base="base" if config.model.base == STANDIN else config.model.base,
        base_is_standin=config.model.base == STANDIN,
        data_fingerprint=prepared.fingerprint,
        prompt_hash=found.prompt_hash,
        labels=data.labels,
        settings=found.settings,
        metrics=found.metrics,
    ).save()


def _gpus() -> int:
    import torch

    return torch.cuda.device_count() if torch.cuda.is_available() else 0


def _shard(config: Config, model: Any, group: Group) -> dict[str, int]:
    if config.hardware.sharding == "none":
        return {}
    if group.size == 1:
        raise ModelError(
            "hardware.sharding fsdp needs at least two processes, and this training has one. Give "
            "hardware.processes=2 or more, or hardware.sharding=none."
        )
    return shard_base(model, group.size)


def _model(config: Config, source: str) -> tuple[Any, dict[str, Any]]:
    """The model that is trained, and what it reports of itself."""
    training, quantization = config.training, config.quantization
    full = training.method == "full"
    base = load_quantized(
        source, config.model.revision, quantization, training.attention, dtype="float32" if full else None
    )
    if training.liger:
        use_liger(base)
    model: Any = base
    if full:
        model = unfreeze(base, training.gradient_checkpointing)
        found = verify_full(model)
    else:
        model = add_adapter(base, config.lora, training.gradient_checkpointing)
        found = verify(model, quantization, config.lora)
    if training.torch_compile:
        compile_layers(model)
    return model, {"method": training.method, **found, **verify_kernels(model, training)}


def _save(config: Config, model: Any, out_dir: Path) -> Path:
    """Write what was trained; the folder it lies in."""
    import torch

    if config.training.method == "full":
        folder = out_dir / WEIGHTS_FOLDER
        # In the type that evaluation and serving compute with: the float32 of the training has served its purpose.
        model.to(getattr(torch, config.quantization.compute_dtype)).save_pretrained(
            str(folder), safe_serialization=True
        )
        return folder
    folder = out_dir / "adapter"
    # The base's own embedding never changes, even where an adapter sits on it: it is not part of the adapter.
    model.save_pretrained(str(folder), safe_serialization=True, save_embedding_layers=False)
    return folder


def _checkpoints(config: Config, identity: dict[str, str], group: Group = ALONE) -> CheckpointStore:
    """The checkpoints of this training: a retry on another machine, or the next `jobtuner run`, finds them again."""
    cache, uri = os.environ.get("JOBTUNER_CACHE"), _uri(config)
    folder = local_path(uri) if uri else None
    root = folder or (Path(cache) if cache else home()) / "checkpoints"
    mirror = uri if folder is None else None
    return CheckpointStore(root, identity, config.checkpoint.keep, mirror, environment(group.size))


def _uri(config: Config) -> str | None:
    return config.checkpoint.uri or os.environ.get(CHECKPOINTS_VARIABLE) or None


def _corpus(data: TrainingData, others: Sequence[MixedSet]) -> Corpus:
    """What the stand-in reads: the own set in the form in which it will be asked, of the others their texts."""
    own = data.corpus()
    return replace(own, ads=[*own.ads, *(text for each in others for text in each.data.corpus().ads)])


def _mixture(others: Sequence[MixedSet], mixed: Sequence[MixedRows]) -> dict[str, Any]:
    """What was mixed in, as it was found."""
    found = {
        each.name: {
            "data": each.fingerprint,
            "rows": len(rows.train),
            "an_epoch": rows.drawn,
            "held_out": each.left_out,
        }
        for each, rows in zip(others, mixed, strict=True)
    }
    return {"mixture": found} if found else {}


def _base(config: Config, corpus: Corpus, data: TrainingData, out_dir: Path) -> tuple[str, dict[str, Any]]:
    """The base model's location, and how it was built where it is the stand-in (copied or built into `base/`)."""
    if config.model.base != STANDIN:
        return config.model.base, {}
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
    for path in sorted([*adapter.glob("adapter_*"), *adapter.glob("model*.safetensors")]):
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()
