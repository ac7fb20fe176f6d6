"""Loading base models and tokenizers: one place, so that training, evaluation and export see the same weights."""

from typing import TYPE_CHECKING, Any

from jobtuner.config import QuantizationConfig
from jobtuner.errors import ModelError

if TYPE_CHECKING:
    from transformers import BitsAndBytesConfig, PreTrainedModel, PreTrainedTokenizerBase

__all__ = ["WEIGHTS_FOLDER", "load_quantized", "load_tokenizer", "quantized_layers"]


WEIGHTS_FOLDER = "weights"
"""Folder within a trained model's for the weights of full fine-tuning; one with an adapter has none."""


def load_tokenizer(source: str, revision: str | None = None) -> "PreTrainedTokenizerBase":
    """Load a tokenizer from a local folder or the Hub.

    Raises:
        ModelError: it cannot be found or loaded.
    """
    from transformers import AutoTokenizer

    try:
        tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(
            source, revision=revision, trust_remote_code=False
        )
    except (OSError, ValueError) as error:
        raise ModelError(f"The tokenizer of '{source}' cannot be loaded: {error}. {_ACCEPTED}") from error
    return tokenizer


_ACCEPTED = (
    "Accepted for model.base: 'standin', a local folder, or a Hugging Face id (with network access, or with the files "
    "already in its cache)."
)


def load_quantized(
    source: str,
    revision: str | None,
    settings: QuantizationConfig,
    attention: str = "sdpa",
    dtype: str | None = None,
) -> "PreTrainedModel":
    """Load a causal language model with its linear layers in 4 bits; as it is where the type is none.

    Args:
        source: local folder or Hugging Face id.
        revision: commit of the Hub repository.
        settings: quantisation type, double quantisation, compute dtype.
        attention: transformers' name of the implementation.
        dtype: of the weights that are not quantised; None: the compute dtype.

    Raises:
        ModelError: the model cannot be found or loaded, or this machine lacks what the attention needs.
    """
    import torch
    from transformers import AutoModelForCausalLM

    try:
        model: PreTrainedModel = AutoModelForCausalLM.from_pretrained(
            source,
            revision=revision,
            quantization_config=_bitsandbytes(settings),
            dtype=getattr(torch, dtype or settings.compute_dtype),
            device_map={"": 0 if torch.cuda.is_available() else "cpu"},
            attn_implementation=attention,
            trust_remote_code=False,
            use_safetensors=True,
        )
    except (OSError, ValueError, ImportError) as error:
        if attention.startswith("flash") and "flash" in str(error).lower():
            raise ModelError(
                f"training.attention {attention} cannot be used on this machine: {error} Accepted everywhere: sdpa."
            ) from error
        raise ModelError(f"The base model '{source}' cannot be loaded: {error}. {_ACCEPTED}") from error
    _keep_gradients(model)
    return model


def _bitsandbytes(settings: QuantizationConfig) -> "BitsAndBytesConfig | None":
    import torch
    from transformers import BitsAndBytesConfig

    if settings.type == "none":
        return None
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type=settings.type,
        bnb_4bit_use_double_quant=settings.double,
        bnb_4bit_compute_dtype=getattr(torch, settings.compute_dtype),
    )


def _keep_gradients(model: Any) -> None:
    """Forbid the CPU kernel without a gradient.

    On CPUs with AVX512-BF16 the first forward pass of a `Linear4bit` in eval mode repacks its weight for an inference
    kernel, for good: after an evaluation in the middle of training no gradient flows through the base layers any more
    (bitsandbytes 0.50.2).
    """
    for module in quantized_layers(model).values():
        module.support_avx512bf16_for_cpu = False


def quantized_layers(model: Any) -> dict[str, Any]:
    """The bitsandbytes 4-bit layers of a model, by name."""
    from bitsandbytes.nn import Linear4bit

    return {name: module for name, module in model.named_modules() if isinstance(module, Linear4bit)}
