"""Shapes of Qwen2 models: how many parameters where, and how many operations a token costs."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jobtuner.config import STANDIN, ModelConfig
from jobtuner.errors import ConfigError

__all__ = ["SHAPES", "Shape", "shape_of"]


@dataclass(frozen=True)
class Shape:
    """Sizes of a Qwen2 model, as in its config.json."""

    vocab: int
    hidden: int
    intermediate: int
    layers: int
    heads: int
    kv_heads: int
    tied: bool
    """The output layer is the embedding."""

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> "Shape":
        """From the content of a config.json."""
        return cls(
            vocab=int(config["vocab_size"]),
            hidden=int(config["hidden_size"]),
            intermediate=int(config["intermediate_size"]),
            layers=int(config["num_hidden_layers"]),
            heads=int(config["num_attention_heads"]),
            kv_heads=int(config["num_key_value_heads"]),
            tied=bool(config.get("tie_word_embeddings", False)),
        )

    def as_config(self) -> dict[str, Any]:
        """Arguments of transformers' `Qwen2Config`."""
        return {
            "vocab_size": self.vocab, "hidden_size": self.hidden, "intermediate_size": self.intermediate,
            "num_hidden_layers": self.layers, "num_attention_heads": self.heads, "num_key_value_heads": self.kv_heads,
            "tie_word_embeddings": self.tied,
        }  # fmt: skip

    @property
    def linear(self) -> dict[str, tuple[int, int]]:
        """Inputs and outputs of a layer's linear layers, by name."""
        h, i, kv = self.hidden, self.intermediate, self.hidden // self.heads * self.kv_heads
        return {
            "q_proj": (h, h), "k_proj": (h, kv), "v_proj": (h, kv), "o_proj": (h, h),
            "gate_proj": (h, i), "up_proj": (h, i), "down_proj": (i, h),
        }  # fmt: skip

    @property
    def linear_parameters(self) -> int:
        """Weights of all layers' linear layers: what quantisation applies to. The output layer is not among them."""
        return self.layers * sum(inputs * outputs for inputs, outputs in self.linear.values())

    @property
    def other_parameters(self) -> int:
        """Embedding, output layer (none where it is tied), norms (two a layer, one at the end), biases of q, k, v."""
        biases = sum(self.linear[name][1] for name in ("q_proj", "k_proj", "v_proj"))
        embeddings = self.vocab * self.hidden * (1 if self.tied else 2)
        return embeddings + self.layers * (2 * self.hidden + biases) + self.hidden

    def flops_a_token(self, context: float, full: bool = False) -> float:
        """Useful floating-point operations of a training step a token.

        Forward 2 a weight, backward 2 more (with respect to the activations; a frozen weight needs no gradient of its
        own, that of a weight that learns takes 2 more), and for attention 2 · context · hidden a layer forward (scores
        and sums, half of them under the causal mask) and twice that backward. Left out: adapter, output layer (it sees
        the answers alone), recomputation.
        After PaLM, arXiv 2204.02311, appendix B.

        Args:
            context: tokens of an example.
            full: all weights learn.
        """
        return (6 if full else 4) * self.linear_parameters + 3 * 2 * context * self.hidden * self.layers


SHAPES = {
    "qwen2.5-0.5b": Shape(151_936, 896, 4_864, 24, 14, 2, True),
    "qwen2.5-1.5b": Shape(151_936, 1_536, 8_960, 28, 12, 2, True),
    "qwen2.5-3b": Shape(151_936, 2_048, 11_008, 36, 16, 2, True),
    "qwen2.5-7b": Shape(152_064, 3_584, 18_944, 28, 28, 4, False),
    "qwen2.5-14b": Shape(152_064, 5_120, 13_824, 48, 40, 8, False),
    "qwen2.5-32b": Shape(152_064, 5_120, 27_648, 64, 40, 8, False),
    "qwen2.5-72b": Shape(152_064, 8_192, 29_568, 80, 64, 8, False),
}
"""By name in lower case, without organisation and "-instruct". From each model's config.json (arXiv 2412.15115)."""


def shape_of(model: ModelConfig) -> Shape:
    """The shape of a recipe's base model, without a network.

    Raises:
        ConfigError: no known shape and no local folder with a readable config.json.
    """
    if model.base == STANDIN:
        tiny = model.standin
        # 64: as the stand-in pads its embedding. Its vocabulary may turn out smaller, where the texts are few.
        sizes = (tiny.hidden_size, tiny.intermediate_size, tiny.layers, tiny.heads, tiny.kv_heads)
        return Shape(-(-tiny.vocab_size // 64) * 64, *sizes, tied=False)
    path = Path(model.base) / "config.json"
    if path.exists():
        try:
            return Shape.from_config(json.loads(path.read_text(encoding="utf-8")))
        except (OSError, ValueError, KeyError) as error:
            raise ConfigError(f"{path} is no config.json of a Qwen2 model: {type(error).__name__} {error}.") from error
    name = model.base.rsplit("/", 1)[-1].lower().removesuffix("-instruct")
    if name not in SHAPES:
        raise ConfigError(
            f"The shape of model.base '{model.base}' is not known. Accepted: standin, {', '.join(SHAPES)} (also with "
            "-Instruct), or a local folder with a config.json."
        )
    return SHAPES[name]
