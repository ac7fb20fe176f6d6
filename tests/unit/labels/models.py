"""Small random models and label sets, and the definition that all scoring is held against."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import Qwen2Config, Qwen2ForCausalLM

END = 9
TOLERANCE = 1e-4
"""Float32 sums in another order; log-probabilities here are between -20 and 0."""


def random_model(seed: int, tied: bool = True) -> Any:
    torch.manual_seed(seed)
    config = Qwen2Config(
        vocab_size=40, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, tie_word_embeddings=tied, initializer_range=0.3,
    )  # fmt: skip
    model: Any = Qwen2ForCausalLM(config)
    return model.eval()


def random_labels(generator: np.random.Generator, count: int) -> list[list[int]]:
    """Up to `count` distinct labels of one to four tokens: some are the beginning of others, in random order."""
    drawn = {tuple(generator.integers(1, 6, size=generator.integers(1, 5)).tolist()) for _ in range(count)}
    labels = [[*label, END] for label in sorted(drawn)]
    return [labels[index] for index in generator.permutation(len(labels))]


def brute_force(
    model: Any, prompt: Sequence[int], labels: Sequence[Sequence[int]], joint: bool = False
) -> NDArray[np.float64]:
    """Each label fed by itself; each step renormalised over what the labels allow there, or (joint) not at all."""
    scores = []
    for label in labels:
        with torch.inference_mode():
            logits = model(torch.tensor([[*prompt, *label]])).logits[0].double()
        total = 0.0
        for depth, token in enumerate(label):
            allowed = sorted({other[depth] for other in labels if list(other[:depth]) == list(label[:depth])})
            tokens = list(range(logits.shape[1])) if joint else allowed
            step = torch.log_softmax(logits[len(prompt) - 1 + depth, tokens], dim=0)
            total += float(step[tokens.index(token)])
        scores.append(total)
    return np.array(scores)
