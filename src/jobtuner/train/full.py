"""Full fine-tuning: every weight of the base learns, in float32, with no adapter; and the proof that it is so."""

from typing import TYPE_CHECKING, Any

from jobtuner.errors import ModelError

if TYPE_CHECKING:
    from transformers import PreTrainedModel

__all__ = ["unfreeze", "verify_full"]


def unfreeze(model: "PreTrainedModel", gradient_checkpointing: bool) -> "PreTrainedModel":
    """Let all weights of a base that is held in float32 learn."""
    model.requires_grad_(True)
    if gradient_checkpointing:
        model.gradient_checkpointing_enable({"use_reentrant": False})
    return model


def verify_full(model: Any) -> dict[str, Any]:
    """Read back what is trained.

    Returns:
        quantized_layers and adapted_layers (0), trainable_parameters, total_parameters.

    Raises:
        ModelError: a weight is frozen, or not held in float32: small updates would vanish in bfloat16's 8 bits.
    """
    wrong = [
        f"{name} is {each.dtype}{'' if each.requires_grad else ', frozen'}"
        for name, each in model.named_parameters()
        if not each.requires_grad or str(each.dtype) != "torch.float32"
    ]
    if wrong:
        raise ModelError(f"training.method full did not take effect on {len(wrong)} weights: {', '.join(wrong[:5])}.")
    count = sum(each.numel() for each in model.parameters())
    return {
        "quantized_layers": 0,
        "adapted_layers": 0,
        "trainable_parameters": count,
        "total_parameters": count,
    }
