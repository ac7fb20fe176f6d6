"""The trie against brute force: each label fed by itself, each step renormalised over what the labels allow."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from transformers import Qwen2Config, Qwen2ForCausalLM

from jobtuner.errors import TaxonomyError
from jobtuner.label_layout import TrieLayout
from jobtuner.label_scores import label_log_probabilities
from jobtuner.taxonomy import LabelTrie

END = 9
TOLERANCE = 1e-4  # float32 sums in another order; log-probabilities here are between -20 and 0


def random_model(seed: int, tied: bool = True) -> Any:
    torch.manual_seed(seed)
    config = Qwen2Config(
        vocab_size=40, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, tie_word_embeddings=tied, initializer_range=0.3,
    )  # fmt: skip
    model: Any = Qwen2ForCausalLM(config)
    return model.eval()


def brute_force(model: Any, prompt: Sequence[int], labels: Sequence[Sequence[int]]) -> NDArray[np.float64]:
    scores = []
    for label in labels:
        total = 0.0
        for depth, token in enumerate(label):
            allowed = sorted({other[depth] for other in labels if other[:depth] == label[:depth]})
            with torch.inference_mode():
                logits = model(torch.tensor([[*prompt, *label[:depth]]])).logits[0, -1].double()
            total += float(torch.log_softmax(logits[allowed], dim=0)[allowed.index(token)])
        scores.append(total)
    return np.array(scores)


LABEL_SETS = {
    "codes of one length": [[2, 5, 1, END], [2, 5, 2, END], [2, 6, 1, END], [3, 1, 1, END]],
    "one label the prefix of another": [[2, END], [2, 5, END], [2, 5, 1, END], [3, END]],
    "shared first token, then one path": [[2, 5, 5, 5, END], [2, 6, 6, 6, END]],
    "all branching at the root": [[token, END] for token in range(2, 9)],
    "a chain below a branch": [[2, 3, 4, 5, 6, END], [2, 3, 4, 5, 7, END], [8, END]],
}


@pytest.mark.parametrize("labels", LABEL_SETS.values(), ids=LABEL_SETS.keys())
@pytest.mark.parametrize("tied", [True, False])
def test_equals_brute_force(labels: list[list[int]], tied: bool) -> None:
    model = random_model(3, tied)
    prompts = [[10, 11, 12], [13], [20, 21, 22, 23, 24, 25, 26, 27]]  # lengths differ: padding must not matter
    scores = label_log_probabilities(model, prompts, TrieLayout(LabelTrie(labels)), pad_id=0)
    expected = np.stack([brute_force(model, prompt, labels) for prompt in prompts])
    np.testing.assert_allclose(scores, expected, atol=TOLERANCE)
    np.testing.assert_allclose(np.exp(scores).sum(axis=1), 1.0, atol=TOLERANCE)


def test_random_tries_equal_brute_force() -> None:
    generator = np.random.default_rng(0)
    model = random_model(7)
    for _ in range(10):
        drawn = {tuple(generator.integers(1, 6, size=generator.integers(1, 5)).tolist()) for _ in range(12)}
        labels = [[*label, END] for label in sorted(drawn)]
        prompt = generator.integers(10, 40, size=6).tolist()
        scores = label_log_probabilities(model, [prompt], TrieLayout(LabelTrie(labels)), pad_id=0)[0]
        np.testing.assert_allclose(scores, brute_force(model, prompt, labels), atol=TOLERANCE)


def test_batch_and_single_give_the_same() -> None:
    model = random_model(1)
    layout = TrieLayout(LabelTrie(LABEL_SETS["codes of one length"]))
    prompts = [[10, 11], [12, 13, 14, 15], [16]]
    together = label_log_probabilities(model, prompts, layout, pad_id=0)
    alone = np.concatenate([label_log_probabilities(model, [prompt], layout, pad_id=0) for prompt in prompts])
    np.testing.assert_allclose(together, alone, atol=TOLERANCE)


def test_only_branching_nodes_and_what_leads_to_them_are_fed() -> None:
    layout = TrieLayout(LabelTrie([[2, 5, 5, 5, END], [2, 6, 6, 6, END]]))
    assert len(layout.tokens) == 1  # the shared 2; below the fork each path is forced


@pytest.mark.parametrize("labels", [[[1], [1, 2]], [[1, END], [1, END]], [[1, END], []]])
def test_ambiguous_labels_are_refused(labels: list[list[int]]) -> None:
    with pytest.raises(TaxonomyError):
        LabelTrie(labels)
