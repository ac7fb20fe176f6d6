"""Which training run a checkpoint belongs to, read off what is really trained and not off file names."""

import hashlib
from array import array
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

__all__ = ["environment", "identity"]

_LIBRARIES = ("torch", "transformers", "trl", "peft", "bitsandbytes")
_SAMPLE = 1024  # values of each frozen weight: another base model differs in nearly all of them


def identity(settings: str, splits: Sequence[Sequence[Mapping[str, Sequence[int]]]], model: Any) -> dict[str, str]:
    """What a training run depends on, as name → SHA-256.

    Args:
        settings: digest of the recipe's sections that decide what is trained.
        splits: training and validation rows with `input_ids` and `labels`, in their order.
        model: the base with its adapter.
    """
    return {"settings": settings, "data": _of_rows(splits), "base model": _of_base(model), "training code": _of_code()}


def environment(processes: int = 1) -> dict[str, str]:
    """What else bit-equality needs: versions, device, threads and processes. Another one is worth a remark, no more."""
    import torch

    device = torch.cuda.get_device_name(0) if torch.cuda.is_available() else "cpu"
    found = {name: version(name) for name in _LIBRARIES}
    return {**found, "device": device, "threads": str(torch.get_num_threads()), "processes": str(processes)}


def _of_rows(splits: Sequence[Sequence[Mapping[str, Sequence[int]]]]) -> str:
    digest = hashlib.sha256()
    for rows in splits:
        digest.update(f"{len(rows)} rows\n".encode())
        for row in rows:
            for name in ("input_ids", "labels"):
                values = array("q", row[name])
                digest.update(len(values).to_bytes(8, "little") + values.tobytes())
    return digest.hexdigest()


def _of_base(model: Any) -> str:
    import torch

    digest = hashlib.sha256()
    all_trained = all(weight.requires_grad for weight in model.parameters())  # before its first step: still the base
    for name, weight in model.named_parameters():
        if all_trained or not weight.requires_grad:
            sample = weight.detach().flatten()[:_SAMPLE].cpu().contiguous().view(torch.uint8)
            digest.update(f"{name} {tuple(weight.shape)} {weight.dtype}\n".encode() + sample.numpy().tobytes())
    return digest.hexdigest()


def _of_code() -> str:
    """The files of this package: a loss or an order that was changed must not go on from numbers made before."""
    digest = hashlib.sha256()
    for path in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()
