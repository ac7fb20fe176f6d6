"""The LoRA adapter on the 4-bit base, and the proof that both are what the recipe asked for.

QLoRA: Dettmers et al. 2023, arXiv 2305.14314. LoRA: Hu et al. 2021, arXiv 2106.09685.
"""

from typing import TYPE_CHECKING, Any

from jobtuner.config import LoraSettings, QuantizationConfig
from jobtuner.errors import ModelError
from jobtuner.models import quantized_layers

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedModel

__all__ = ["add_adapter", "verify"]


def add_adapter(model: "PreTrainedModel", settings: LoraSettings, gradient_checkpointing: bool) -> "PeftModel":
    """Freeze the base and put a trainable LoRA adapter on it.

    Raises:
        ModelError: no layer has one of the names in `target_modules`.
    """
    from peft import LoraConfig, TaskType, get_peft_model, prepare_model_for_kbit_training

    model = prepare_model_for_kbit_training(
        model,
        use_gradient_checkpointing=gradient_checkpointing,
        gradient_checkpointing_kwargs={"use_reentrant": False} if gradient_checkpointing else None,
    )
    targets = settings.target_modules
    config = LoraConfig(
        r=settings.r,
        lora_alpha=settings.alpha,
        lora_dropout=settings.dropout,
        target_modules=targets if isinstance(targets, str) else list(targets),
        task_type=TaskType.CAUSAL_LM,
        bias="none",
    )
    try:
        return get_peft_model(model, config)
    except ValueError as error:
        linear = sorted({name.rsplit(".", 1)[-1] for name in quantized_layers(model)})
        raise ModelError(
            f"lora.target_modules {targets} fits no layer of this model. Accepted: 'all-linear', or a list of its "
            f"linear layers {linear} and embed_tokens."
        ) from error


def verify(model: "PeftModel", quantization: QuantizationConfig, lora: LoraSettings) -> dict[str, Any]:
    """Read the settings back from the built model.

    Returns:
        quantized_layers, adapted_layers, trainable_parameters, total_parameters (quantised weights counted unpacked)
        and the settings found.

    Raises:
        ModelError: one or more settings did not take effect; lists each with what was asked for and what was found.
    """
    from peft.tuners.lora import LoraLayer

    quantized = quantized_layers(model)
    adapted = {name: module for name, module in model.named_modules() if isinstance(module, LoraLayer)}
    wrong: list[str] = []
    if not quantized:
        wrong.append("no layer is a bitsandbytes Linear4bit")
    for name, module in quantized.items():
        wrong += _differences(name, _quantization_of(module), quantization.model_dump())
    if not adapted:
        wrong.append("no layer carries a LoRA adapter")
    for name, module in adapted.items():
        if name + ".base_layer" not in quantized and not _is_embedding(module):
            wrong.append(f"{name}: the layer under the adapter is not quantised")
        wrong += _differences(name, _lora_of(module), lora.model_dump(exclude={"target_modules"}))
    wrong += _target_differences(quantized, adapted, lora)
    trainable = {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}
    wrong += [f"{name} is trainable, but is no part of the adapter" for name in trainable if "lora_" not in name]
    if wrong:
        shown = "\n  ".join(wrong[:10])
        raise ModelError(f"{len(wrong)} settings did not take effect in the built model:\n  {shown}")
    return {
        "quantized_layers": len(quantized),
        "adapted_layers": len(adapted),
        "trainable_parameters": sum(parameter.numel() for parameter in trainable.values()),
        "total_parameters": model.get_nb_trainable_parameters()[1],
        "quantization": _quantization_of(next(iter(quantized.values()))),
        "lora": _lora_of(next(iter(adapted.values()))),
    }


def _quantization_of(module: Any) -> dict[str, Any]:
    state = module.weight.quant_state
    return {
        "type": state.quant_type,
        "double": bool(state.nested),
        "compute_dtype": str(module.compute_dtype).removeprefix("torch."),
    }


def _is_embedding(module: Any) -> bool:
    """Embeddings are looked up, not multiplied: bitsandbytes leaves them as they are."""
    return bool(module.lora_embedding_A)


def _lora_of(module: Any) -> dict[str, Any]:
    adapter = "default"
    rank = (module.lora_embedding_A[adapter] if _is_embedding(module) else module.lora_A[adapter].weight).shape[0]
    return {
        "r": rank,
        "alpha": round(module.scaling[adapter] * rank),
        "dropout": float(getattr(module.lora_dropout[adapter], "p", 0.0)),
    }


def _differences(name: str, found: dict[str, Any], asked: dict[str, Any]) -> list[str]:
    return [f"{name}: {key} is {found[key]}, asked for {asked[key]}" for key in asked if found[key] != asked[key]]


def _target_differences(quantized: dict[str, Any], adapted: dict[str, Any], lora: LoraSettings) -> list[str]:
    have = {name.rsplit(".", 1)[-1] for name in adapted}
    if lora.target_modules == "all-linear":
        bare = [name for name in quantized if not name.endswith(".base_layer")]
        return [f"{name}: no adapter, though target_modules is all-linear" for name in bare]
    return [f"target_modules: no layer is called {name}" for name in lora.target_modules if name not in have]
