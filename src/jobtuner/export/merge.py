"""Adapter and base become one set of weights.

The adapter was trained against the 4-bit base *as it computes*: W = dequantise(NF4(W0)). So the merged weight is
dequantise(NF4(W0)) + scaling · B · A, not W0 + scaling · B · A; the served model then computes what was evaluated,
up to the rounding of the export dtype.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jobtuner.config import QuantizationConfig
from jobtuner.contracts import TrainedModel
from jobtuner.errors import ModelError
from jobtuner.models import WEIGHTS_FOLDER, load_quantized
from jobtuner.scoring import InferenceSettings

__all__ = ["merge"]

_ROOM = 1.1
"""One layer's adapter product and the driver's own needs, beside the weights."""


def merge(trained: TrainedModel, settings: InferenceSettings, dtype: str, out: Path) -> None:
    """Write the merged model as safetensors, with its config; of full fine-tuning, its weights in the asked type.

    Args:
        trained: base and adapter, or all weights.
        settings: the 4-bit settings under the adapter.
        dtype: "bfloat16" or "float32", the type of the written weights.
        out: folder for config and weights.

    Raises:
        ModelError: a quantised layer or an adapter is left after the merge.
    """
    import torch
    from peft import PeftModel
    from peft.tuners.lora import LoraLayer

    quantization = QuantizationConfig.model_validate(settings.quantization)
    weights = trained.folder / WEIGHTS_FOLDER
    if weights.is_dir():
        whole: Any = load_quantized(str(weights), None, quantization)
        whole.to(getattr(torch, dtype)).save_pretrained(str(out), safe_serialization=True)
        return
    source = str(trained.folder / "base") if trained.base_is_standin else trained.base
    adapter = json.loads((trained.folder / "adapter" / "adapter_config.json").read_text(encoding="utf-8"))
    base: Any = load_quantized(source, trained.settings.get("revision"), quantization)
    work = getattr(torch, _work_type(dtype, quantization, adapter))
    if not _fits(base, work):
        base = base.to("cpu")
    plain = (base if quantization.type == "none" else base.dequantize()).to(work)
    merged: Any = PeftModel.from_pretrained(plain, str(trained.folder / "adapter")).merge_and_unload()
    left = [
        name
        for name, module in merged.named_modules()
        if isinstance(module, LoraLayer) or "4bit" in type(module).__name__
    ]
    if left:
        raise ModelError(f"{len(left)} layers are still quantised or adapted after the merge, {left[0]} among them.")
    merged.config.quantization_config = None  # there is none where the base was not quantised
    del merged.config.quantization_config
    merged.to(getattr(torch, dtype)).save_pretrained(str(out), safe_serialization=True)


def _work_type(dtype: str, quantization: QuantizationConfig, adapter: Mapping[str, Any]) -> str:
    """The type in which base and adapter are added: half the memory where that changes no bit of the result.

    A base that computes in bfloat16 is dequantised to bfloat16 values. PEFT keeps the adapter of a linear layer in
    float32, and PyTorch adds it to bfloat16 weights in float32 and rounds once: just what a sum in float32 and a
    conversion give. An embedding's adapter PEFT converts before; DoRA divides by norms, which need all their digits.
    """
    linear = not adapter.get("use_dora") and "embed_tokens" not in (adapter.get("target_modules") or ())
    return "bfloat16" if linear and dtype == "bfloat16" == quantization.compute_dtype else "float32"


def _fits(model: Any, work: Any) -> bool:
    """Whether the whole model has room in this type where it lies; on a CPU there is no other place."""
    import torch

    if model.device.type != "cuda":
        return True
    free, _ = torch.cuda.mem_get_info()
    return bool(model.num_parameters() * work.itemsize * _ROOM < free)
