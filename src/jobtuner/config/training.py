"""The fine-tuning run and what is left of it when it is killed."""

import re
from collections.abc import Mapping
from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from jobtuner.config.mixture import MixedData
from jobtuner.config.section import Count, Section, Share

__all__ = ["CheckpointConfig", "TrainingConfig"]

_MEASURED = ("label", "macro")
"""With _accuracy and _f1 behind them they would be other measurements."""


class TrainingConfig(Section):
    """The fine-tuning run."""

    method: Literal["lora", "full"] = "lora"
    """lora: an adapter on the frozen base; on 4 bits that is QLoRA, with quantization.type none plain LoRA. full: all
    weights of the base, for small models: 16 bytes a parameter with AdamW. Needs quantization.type none."""
    epochs: Annotated[float, Field(gt=0.0)] = 3.0
    max_steps: Count | None = None
    """Optimizer steps at most; None: as many as the epochs need."""
    batch_size: Count = 16
    """Examples a forward pass."""
    gradient_accumulation: Count = 1
    """Forward passes an optimizer step."""
    packing: Literal["none", "rows", "shared_prefix"] = "shared_prefix"
    """none: padded batches. rows: one sequence without padding, no example sees another. shared_prefix: as rows, and
    the tokens that all examples begin with are computed once. All three give the same loss and gradients."""
    pass_tokens: Count | None = None
    """Tokens a forward pass: the batch_size × gradient_accumulation examples of an optimizer step are packed best-fit
    into as few passes as this allows, in place of batch_size each. A longer example goes alone."""
    group_by_length: bool = True
    """Examples of like length together in a step: less padding, in a pack's attention too."""
    balance: Share = 0.0
    """Examples are drawn with the probability of their label to the power of 1 - balance. 0: each once an epoch, in
    random order; 1: every label equally often, with replacement, for taxonomies with a long tail."""
    mixture: Mapping[str, MixedData] = Field(default_factory=dict)
    """Name → another prepared set that is learnt beside the recipe's own: tasks mixed by weight. Best weights, the
    evaluation and the registry go by the recipe's own; the others are measured by loss and exact answers."""
    learning_rate: Annotated[float, Field(gt=0.0)] = 2e-4
    schedule: Literal["linear", "cosine", "constant_with_warmup", "inverse_sqrt"] = "cosine"
    warmup: Share = 0.03
    """Share of the steps in which the learning rate rises."""
    weight_decay: Annotated[float, Field(ge=0.0)] = 0.0
    max_grad_norm: Annotated[float, Field(gt=0.0)] = 1.0
    label_smoothing: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.0
    """Probability mass spread over the vocabulary in the training loss; validation is measured without."""
    neftune_alpha: Annotated[float, Field(gt=0.0)] | None = None
    """Uniform noise of this strength on the embeddings in training (NEFTune, arXiv 2310.05914); needs packing none."""
    gradient_checkpointing: bool = False
    """Compute each layer's activations anew in the backward pass: less memory, a third more computation."""
    attention: Literal["sdpa", "eager", "flash_attention_2"] = "sdpa"
    """eager and flash_attention_2 (a GPU, the package flash-attn) need packing none: packs have their own, on SDPA."""
    optimizer: Literal["adamw_torch", "adamw_torch_fused", "adamw_8bit", "paged_adamw_8bit"] = "adamw_torch"
    """paged_adamw_8bit moves its state to the host when the GPU is full; it needs a GPU."""
    liger: bool = False
    """Liger's fused kernels for norms, rotary positions and the MLP; needs a GPU and the package liger-kernel."""
    torch_compile: bool = False
    """Compile each layer with torch.compile: the first steps take minutes, the others less time. Needs Triton on a GPU,
    a C++ compiler on a CPU."""
    evaluate_every: Count | None = None
    """Optimizer steps between two measurements on validation examples; None: only at the end."""
    evaluate_rows: Count = 512
    """Validation examples of such a measurement at most; the one at the end takes all."""
    best_by: Literal["loss", "accuracy", "label_accuracy", "macro_f1"] | None = None
    """Keep the weights of the best measurement; None: the last ones. loss: of the answers' tokens; accuracy: share of
    answers right token for token; label_accuracy, macro_f1: of the likeliest label, by exact scores of all labels as in
    the evaluation, which takes as long as reading each prompt and the taxonomy's trie. Needs evaluate_every."""
    patience: Count | None = None
    """Stop after this many measurements in a row without a better one; None: never. Needs best_by."""

    @field_validator("mixture")
    @classmethod
    def _plain_names(cls, value: Mapping[str, MixedData]) -> Mapping[str, MixedData]:
        wrong = [name for name in value if not re.fullmatch(r"[a-z][a-z0-9_]*", name) or name in _MEASURED]
        if wrong:
            raise ValueError(
                f"the name '{wrong[0]}' cannot be one of a measurement; accepted: lower-case letters, digits and '_', "
                f"a letter first, and none of {', '.join(_MEASURED)}"
            )
        return value

    @model_validator(mode="after")
    def _settings_go_together(self) -> Self:
        rules = (
            (
                self.pass_tokens is not None and self.packing == "none",
                "pass_tokens needs packing rows or shared_prefix",
            ),
            (self.neftune_alpha is not None and self.packing != "none", "neftune_alpha needs packing none"),
            (self.attention != "sdpa" and self.packing != "none", f"attention {self.attention} needs packing none"),
            (self.best_by is not None and self.evaluate_every is None, "best_by needs evaluate_every"),
            (self.patience is not None and self.best_by is None, "patience needs best_by"),
        )
        wrong = [message for broken, message in rules if broken]
        if wrong:
            raise ValueError("; ".join(wrong))
        return self


class CheckpointConfig(Section):
    """What is left of a training run that was killed. These settings never change what is trained."""

    every_minutes: Annotated[float, Field(gt=0.0)] = 0.5
    """Minutes between two checkpoints; more where writing one takes so long that it would cost over 2 % of the time."""
    every_steps: Count | None = None
    """Optimizer steps between two checkpoints; None: by the clock."""
    keep: int = Field(default=2, ge=2)
    """Newest checkpoints that are kept: a damaged one must have one before it."""
    uri: str | None = None
    """Folder, file:///path or s3://bucket/key; None: JOBTUNER_CHECKPOINTS, else beside the cache or the runs."""
