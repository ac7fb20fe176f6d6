"""What a training run must remember to go on as if nothing had happened, as safetensors and JSON (no pickle).

adapter_model.safetensors, adapter_config.json  the adapter, as PEFT stores it; or, of full fine-tuning,
weights.safetensors                             all trained weights
optimizer.safetensors, optimizer.json           optimizer and learning-rate schedule
progress.safetensors, progress.json             random generators, sums of the loss, seconds
trainer_state.json                              the trainer's own: step, epoch, what was logged

The data order needs no file: it follows from seed and epoch, and the place in it from the step.
"""

import json
import random
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from jobtuner.errors import ModelError

if TYPE_CHECKING:
    import torch
    from peft import PeftModel
    from transformers import PreTrainedModel

__all__ = [
    "load_adapter",
    "load_values",
    "random_state",
    "save_adapter",
    "save_values",
    "set_random_state",
    "size_of",
]

_ADAPTER, _WEIGHTS = "adapter_model.safetensors", "weights.safetensors"


def save_adapter(model: "PeftModel | PreTrainedModel", folder: Path) -> None:
    """Write the adapter in the form that PEFT reads, or all trained weights, in the precision of the training."""
    from safetensors.torch import save_file

    if not hasattr(model, "peft_config"):
        save_file(_trained(model), folder / _WEIGHTS)
        return
    model.peft_config["default"].save_pretrained(str(folder))
    save_file(_adapter(model), folder / _ADAPTER, metadata={"format": "pt"})


def load_adapter(model: "PeftModel | PreTrainedModel", folder: Path) -> None:
    """Put saved weights into the model's adapter, or into the trained weights, in place.

    Raises:
        ModelError: the file holds other weights than the adapter has.
    """
    import torch
    from peft import set_peft_model_state_dict
    from safetensors.torch import load_file

    if not hasattr(model, "peft_config"):
        weights = load_file(folder / _WEIGHTS)
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                if parameter.requires_grad:
                    parameter.copy_(weights[name])
        return
    saved, own = load_file(folder / _ADAPTER), _adapter(model)
    if {name: value.shape for name, value in saved.items()} != {name: value.shape for name, value in own.items()}:
        raise ModelError(
            f"{folder / _ADAPTER} holds {len(saved)} weights that do not fit the {len(own)} of this adapter."
        )
    set_peft_model_state_dict(model, saved)


def _trained(model: Any) -> "dict[str, torch.Tensor]":
    return {name: each.detach().cpu().contiguous() for name, each in model.named_parameters() if each.requires_grad}


def _adapter(model: Any) -> "dict[str, torch.Tensor]":
    from peft import get_peft_model_state_dict

    weights = get_peft_model_state_dict(model, save_embedding_layers=False)
    return {name: value.detach().cpu().contiguous() for name, value in weights.items()}


def random_state() -> dict[str, Any]:
    """State of every generator that training draws from."""
    import numpy as np
    import torch

    kind, keys, *rest = cast("tuple[Any, ...]", np.random.get_state(legacy=True))
    return {
        "python": random.getstate(),
        "numpy": (kind, keys.tolist(), *rest),
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
    }


def set_random_state(state: dict[str, Any]) -> None:
    """Set every generator as `random_state` found it."""
    import numpy as np
    import torch

    random.setstate(state["python"])
    np.random.set_state(state["numpy"])
    torch.set_rng_state(state["torch"])
    if torch.cuda.is_available() and len(state["cuda"]) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all(state["cuda"])


def save_values(values: Any, folder: Path, name: str) -> None:
    """Write nested dicts, lists, tuples, tensors and plain values to <name>.safetensors and <name>.json.

    Raises:
        ModelError: a value of another type.
    """
    from safetensors.torch import save_file

    tensors: dict[str, torch.Tensor] = {}
    document = _pack(values, tensors)
    # Tensors that share memory are refused; bitsandbytes shares its maps among all parameters.
    save_file(
        {key: value.detach().cpu().clone().contiguous() for key, value in tensors.items()},
        folder / f"{name}.safetensors",
    )
    (folder / f"{name}.json").write_text(json.dumps(document), encoding="utf-8")


def load_values(folder: Path, name: str) -> Any:
    """Read what `save_values` wrote; tensors on the CPU."""
    from safetensors.torch import load_file

    document = json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))
    return _unpack(document, load_file(folder / f"{name}.safetensors"))


def size_of(values: Any) -> int:
    """Bytes of all tensors in nested values."""
    tensors: dict[str, torch.Tensor] = {}
    _pack(values, tensors)
    return sum(value.numel() * value.element_size() for value in tensors.values())


def _pack(value: Any, tensors: "dict[str, torch.Tensor]") -> Any:
    import torch

    if isinstance(value, torch.Tensor):
        key = str(len(tensors))
        tensors[key] = value
        return {"tensor": key}
    if isinstance(value, dict):  # pairs, since keys of JSON are text and an optimizer numbers its parameters
        return {"dict": [[key, _pack(item, tensors)] for key, item in value.items()]}
    if isinstance(value, list | tuple):
        return {type(value).__name__: [_pack(item, tensors) for item in value]}
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise ModelError(f"A {type(value).__name__} in the optimizer's state cannot be stored as safetensors or JSON.")


def _unpack(value: Any, tensors: "dict[str, torch.Tensor]") -> Any:
    if not isinstance(value, dict):
        return value
    ((kind, content),) = value.items()
    if kind == "tensor":
        return tensors[content]
    if kind == "dict":
        return {key: _unpack(item, tensors) for key, item in content}
    items = [_unpack(item, tensors) for item in content]
    return tuple(items) if kind == "tuple" else items
