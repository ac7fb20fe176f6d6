"""The LoRA adapter on the base, 4-bit or not, and the proof that both are what the recipe asked for.

QLoRA: Dettmers et al. 2023, arXiv 2305.14314. LoRA: Hu et al. 2021, arXiv 2106.09685.
"""

import math
from typing import TYPE_CHECKING, Any

from jobtuner.config import LoraSettings, QuantizationConfig
from jobtuner.errors import ModelError
from jobtuner.models import quantized_layers

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedModel

__all__ = ["add_adapter", "verify"]

_ADAPTER = "default"
"""peft's name for the one adapter there is."""


def add_adapter(model: "PreTrainedModel", settings: LoraSettings, gradient_checkpointing: bool) -> "PeftModel":
    """Freeze the base and put a trainable LoRA adapter on it.

    Raises:
        ModelError: no layer has one of the names in `target_modules`.
    """
    from peft import LoraConfig, TaskType, get_peft_model

    # Not peft's prepare_model_for_kbit_training: it turns embeddings and output layer into float32, which costs 3.3 GB
    # at 7B, slows every step, and is not what evaluation and serving compute with.
    model.requires_grad_(False)
    if gradient_checkpointing:
        model.gradient_checkpointing_enable({"use_reentrant": False})
    targets = settings.target_modules
    config = LoraConfig(
        r=settings.r,
        lora_alpha=settings.alpha,
        lora_dropout=settings.dropout,
        target_modules=targets if isinstance(targets, str) else list(targets),
        use_rslora=settings.rslora,
        use_dora=settings.dora,
        init_lora_weights=True if settings.initialization == "default" else settings.initialization,
        task_type=TaskType.CAUSAL_LM,
        bias="none",
    )
    try:
        return get_peft_model(model, config)
    except ValueError as error:
        linear = sorted({name.rsplit(".", 1)[-1] for name in _base_layers(model)})
        raise ModelError(
            f"lora.target_modules {targets} fits no layer of this model. Accepted: 'all-linear', or a list of its "
            f"linear layers {linear} and embed_tokens."
        ) from error


def verify(model: "PeftModel", quantization: QuantizationConfig, lora: LoraSettings) -> dict[str, Any]:
    """Read the settings back from the built model.

    Returns:
        quantized_layers, adapted_layers, trainable_parameters, total_parameters (quantised weights counted unpacked)
        and the settings found in quantization and lora.

    Raises:
        ModelError: one or more settings did not take effect; lists each with what was asked for and what was found.
    """
    from peft.tuners.lora import LoraLayer

    base = _base_layers(model)
    adapted = {name: module for name, module in model.named_modules() if isinstance(module, LoraLayer)}
    wrong: list[str] = []
    for name, module in base.items():
        wrong += _differences(name, _quantization_of(module), quantization.model_dump())
    if not adapted:
        wrong.append("no layer carries a LoRA adapter")
    asked = lora.model_dump(exclude={"target_modules", "initialization"})
    for name, module in adapted.items():
        wrong += _differences(name, _lora_of(module), asked)
    initialization = _initialization_of(adapted)
    if initialization not in (None, lora.initialization):
        wrong.append(f"initialization is {initialization}, asked for {lora.initialization}")
    wrong += _target_differences(base, adapted, lora)
    trainable = {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}
    wrong += [f"{name} is trainable, but is no part of the adapter" for name in trainable if "lora_" not in name]
    if wrong:
        shown = "\n  ".join(wrong[:10])
        raise ModelError(f"{len(wrong)} settings did not take effect in the built model:\n  {shown}")
    return {
        "quantized_layers": len(quantized_layers(model)),
        "adapted_layers": len(adapted),
        "trainable_parameters": sum(parameter.numel() for parameter in trainable.values()),
        "total_parameters": model.get_nb_trainable_parameters()[1],
        "quantization": _quantization_of(next(iter(base.values()))),
        "lora": {**_lora_of(next(iter(adapted.values()))), "initialization": initialization},
    }


def _base_layers(model: Any) -> dict[str, Any]:
    """The linear layers that a quantised base holds in 4 bits: all but the output layer and the adapter's own."""
    from torch.nn import Linear

    return {
        name: module
        for name, module in model.named_modules()
        if isinstance(module, Linear) and "lora_" not in name and not name.endswith("lm_head")
    }


def _quantization_of(module: Any) -> dict[str, Any]:
    state = getattr(module.weight, "quant_state", None)
    dtype = module.weight.dtype if state is None else module.compute_dtype
    return {
        "type": "none" if state is None else state.quant_type,
        "double": state is not None and bool(state.nested),
        "compute_dtype": str(dtype).removeprefix("torch."),
    }


def _is_embedding(module: Any) -> bool:
    """Embeddings are looked up, not multiplied: bitsandbytes leaves them as they are."""
    return bool(module.lora_embedding_A)


def _lora_of(module: Any) -> dict[str, Any]:
    """What the layer computes with: rank from the weights' shape, alpha from the factor on their product."""
    rank = (module.lora_embedding_A[_ADAPTER] if _is_embedding(module) else module.lora_A[_ADAPTER].weight).shape[0]
    alone = round(module.scaling[_ADAPTER] * rank, 6)  # alpha where the factor is alpha / r
    rank_stabilised = not math.isclose(alone, module.lora_alpha[_ADAPTER]) or rank == 1
    return {
        "r": rank,
        "alpha": round(module.scaling[_ADAPTER] * (math.sqrt(rank) if rank_stabilised else rank)),
        "dropout": float(getattr(module.lora_dropout[_ADAPTER], "p", 0.0)),
        "rslora": rank_stabilised,
        "dora": _ADAPTER in module.lora_magnitude_vector,
    }


def _initialization_of(adapted: dict[str, Any]) -> str | None:
    """Told apart by the fourth moment of A's weights, each layer's scaled to variance 1: uniform 1.8, normal 3.

    None where no linear layer is adapted: the adapter of an embedding starts otherwise.
    """
    import torch

    weights = [module.lora_A[_ADAPTER].weight for module in adapted.values() if not _is_embedding(module)]
    if not weights:
        return None
    scaled = torch.cat([(each / each.std()).detach().flatten() for each in weights])
    return "gaussian" if float((scaled**4).mean()) > 2.4 else "default"


def _differences(name: str, found: dict[str, Any], asked: dict[str, Any]) -> list[str]:
    return [f"{name}: {key} is {found[key]}, asked for {asked[key]}" for key in asked if found[key] != asked[key]]


def _target_differences(base: dict[str, Any], adapted: dict[str, Any], lora: LoraSettings) -> list[str]:
    have = {name.rsplit(".", 1)[-1] for name in adapted}
    if lora.target_modules == "all-linear":
        bare = [name for name in base if not name.endswith(".base_layer")]
        return [f"{name}: no adapter, though target_modules is all-linear" for name in bare]
    return [f"target_modules: no layer is called {name}" for name in lora.target_modules if name not in have]
