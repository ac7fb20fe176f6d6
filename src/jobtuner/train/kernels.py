"""Faster code for the layers, Liger's kernels and torch.compile: refused where it cannot run, else read back."""

import importlib
import shutil
from typing import Any

from jobtuner.config import TrainingConfig
from jobtuner.errors import ModelError

__all__ = ["compile_layers", "use_liger", "verify_kernels"]


def use_liger(model: Any) -> None:
    """Give a loaded base Liger's norms, rotary positions and MLP; the loss stays ours, it sees answers alone.

    Raises:
        ModelError: there is no GPU, or no package liger-kernel.
    """
    import torch

    if not torch.cuda.is_available():
        raise ModelError("training.liger needs a GPU: its kernels are Triton's. Accepted here: training.liger=false.")
    try:
        kernels = importlib.import_module("liger_kernel.transformers")
    except ImportError as error:
        raise ModelError(
            f"training.liger needs the package liger-kernel, which cannot be imported ({error}). Install it "
            "(pip install liger-kernel), or set training.liger=false."
        ) from error
    kernels.apply_liger_kernel_to_qwen2(
        rope=True, rms_norm=True, swiglu=True, cross_entropy=False, fused_linear_cross_entropy=False, model=model
    )


def compile_layers(model: Any) -> None:
    """Compile each decoder layer, in place; packs differ in length, so sizes are left open.

    Layer by layer, not the model as a whole: one layer's code serves all, and what is around them breaks no graph.

    Raises:
        ModelError: this machine has nothing to compile with.
    """
    import torch
    from torch.utils._triton import has_triton

    if torch.cuda.is_available() and not has_triton():
        raise ModelError("training.torch_compile needs Triton on a GPU, and it cannot be imported. Install triton.")
    if not torch.cuda.is_available() and not any(map(shutil.which, ("g++", "clang++", "c++"))):
        raise ModelError(
            "training.torch_compile needs a C++ compiler on a CPU, and there is no g++, clang++ or c++ on the PATH. "
            "Install one, or set training.torch_compile=false."
        )
    for layer in _layers(model):
        layer.compile(dynamic=True)


def verify_kernels(model: Any, settings: TrainingConfig) -> dict[str, bool]:
    """Read back what the layers compute with.

    Raises:
        ModelError: a setting did not take effect.
    """
    layers = _layers(model)
    asked = {"liger": settings.liger, "torch_compile": settings.torch_compile}
    found = {
        "liger": all(_is_liger(layer.mlp) and _is_liger(layer.input_layernorm) for layer in layers),
        "torch_compile": all(layer._compiled_call_impl is not None for layer in layers),
    }
    wrong = [f"{name} is {found[name]}, asked for {asked[name]}" for name in asked if found[name] != asked[name]]
    if wrong:
        raise ModelError("Settings did not take effect in the layers: " + "; ".join(wrong) + ".")
    return found


def _layers(model: Any) -> list[Any]:
    causal = model.get_base_model() if hasattr(model, "get_base_model") else model
    return list(causal.model.layers)


def _is_liger(module: Any) -> bool:
    return "liger" in getattr(module.forward, "__module__", "").lower()
