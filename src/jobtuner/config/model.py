"""The base model, how it is held, and the adapter on it."""

from collections.abc import Sequence
from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from jobtuner.config.section import Count, Section

__all__ = ["STANDIN", "LoraSettings", "ModelConfig", "QuantizationConfig", "StandinConfig"]

STANDIN = "standin"
"""Value of `model.base` that asks for the small model built on the spot."""


class StandinConfig(Section):
    """The small Qwen2.5-shaped base model that is built where no real weights are."""

    vocab_size: int = Field(default=4096, ge=600)
    hidden_size: int = Field(default=192, ge=32)
    intermediate_size: int = Field(default=512, ge=32)
    layers: Count = 2
    heads: Count = 3
    kv_heads: Count = 3
    init_std: Annotated[float, Field(gt=0.0)] = 0.06
    """Standard deviation of the initial weights. The output layer is frozen after pretraining and bounds the logits: at
    Qwen2's own 0.02 so short a pretraining leaves it too small for any token to become likely."""
    pretrain_tokens: Count = 400_000
    pretrain_batch_tokens: Count = 2048
    pretrain_learning_rate: Annotated[float, Field(gt=0.0)] = 3e-3

    @model_validator(mode="after")
    def _heads_divide(self) -> Self:
        if self.hidden_size % self.heads or self.heads % self.kv_heads:
            raise ValueError(
                f"hidden_size {self.hidden_size} must be a multiple of heads {self.heads}, and heads of kv_heads "
                f"{self.kv_heads}"
            )
        return self


class ModelConfig(Section):
    """The base model."""

    base: str = STANDIN
    """"standin", a Hugging Face id, or a local folder with a Qwen2.5 model."""
    revision: str | None = None
    """Commit of the Hub repository; pin it for a run that can be repeated."""
    standin: StandinConfig = StandinConfig()


class QuantizationConfig(Section):
    """How the frozen base is held: in bitsandbytes' 4 bits (QLoRA, arXiv 2305.14314), or as it is."""

    type: Literal["nf4", "fp4", "none"] = "nf4"
    """none: the base's weights in `compute_dtype`, four times the memory of 4 bits in bfloat16."""
    double: bool = True
    """Quantise the quantisation constants too: 0.37 bits a parameter less (arXiv 2305.14314, section 3)."""
    compute_dtype: Literal["float32", "bfloat16"] = "bfloat16"
    """Type of the matrix products. bfloat16 trains with autocast, float32 without."""

    @model_validator(mode="after")
    def _double_needs_quantization(self) -> Self:
        if self.type == "none" and self.double:
            raise ValueError("type none has no quantisation constants; accepted with it: double false")
        return self


class LoraSettings(Section):
    """The adapter."""

    r: Literal[8, 16, 32, 64, 128] = 16
    """Rank; the accepted values are those that vLLM can serve."""
    alpha: Count = 32
    """The adapter's product is scaled by alpha / r, with `rslora` by alpha / √r."""
    dropout: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.05
    target_modules: Sequence[str] | Literal["all-linear"] = "all-linear"
    """Names of the linear layers that get an adapter, or "all-linear"."""
    rslora: bool = False
    """Rank-stabilised scaling, which keeps high ranks learning (arXiv 2312.03732)."""
    dora: bool = False
    """Learn magnitude and direction apart (arXiv 2402.09353): closer to full fine-tuning, and slower."""
    initialization: Literal["default", "gaussian"] = "default"
    """Of the down projection A; B starts at 0. default: uniform, as peft has it; gaussian: as diffusers has it."""

    @field_validator("initialization", mode="before")
    @classmethod
    def _starts_at_zero(cls, value: object) -> object:
        if isinstance(value, str) and value.lower().startswith(("pissa", "olora", "loftq", "corda", "eva")):
            raise ValueError(
                "it starts from changed base weights, which evaluation, export and serving do not have: they add the "
                "adapter to the base as it was loaded. Accepted: 'default', 'gaussian'"
            )
        return value

    @model_validator(mode="after")
    def _dora_is_for_linear_layers(self) -> Self:
        if self.dora and "embed_tokens" in self.target_modules:
            raise ValueError("dora is for linear layers: take embed_tokens out of target_modules")
        return self
