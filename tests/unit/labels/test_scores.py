"""The trie against brute force: each label fed by itself, each step renormalised over what the labels allow."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from jobtuner.errors import TaxonomyError
from jobtuner.labels.layout import TrieLayout
from jobtuner.labels.prefix import read_prompts
from jobtuner.labels.scores import joint_log_probabilities, label_log_probabilities, piece_size
from jobtuner.taxonomy import LabelTrie
from tests.unit.labels.models import END, TOLERANCE, brute_force, random_labels, random_model

PROMPTS = [[10, 11, 12], [13], [20, 21, 22, 23, 24, 25, 26, 27]]  # lengths differ: padding must not matter
LABEL_SETS = {
    "codes of one length": [[2, 5, 1, END], [2, 5, 2, END], [2, 6, 1, END], [3, 1, 1, END]],
    "one label the prefix of another": [[2, END], [2, 5, END], [2, 5, 1, END], [3, END]],
    "shared first token, then one path": [[2, 5, 5, 5, END], [2, 6, 6, 6, END]],
    "all branching at the root": [[token, END] for token in range(2, 9)],
    "a chain below a branch": [[2, 3, 4, 5, 6, END], [2, 3, 4, 5, 7, END], [8, END]],
    "a label that repeats the prompt's last token": [[12, 12, END], [12, END], [13, END]],
    "not in the order of their tokens": [[3, 1, END], [2, 5, END], [3, 2, END], [2, 6, END]],
}


@pytest.mark.parametrize("labels", LABEL_SETS.values(), ids=LABEL_SETS.keys())
@pytest.mark.parametrize("tied", [True, False])
def test_equals_brute_force(labels: list[list[int]], tied: bool) -> None:
    model = random_model(3, tied)
    scores = label_log_probabilities(model, PROMPTS, TrieLayout(LabelTrie(labels)), pad_id=0)
    expected = np.stack([brute_force(model, prompt, labels) for prompt in PROMPTS])
    np.testing.assert_allclose(scores, expected, atol=TOLERANCE)
    np.testing.assert_allclose(np.exp(scores).sum(axis=1), 1.0, atol=TOLERANCE)


@pytest.mark.parametrize("labels", LABEL_SETS.values(), ids=LABEL_SETS.keys())
def test_joint_equals_brute_force(labels: list[list[int]]) -> None:
    model = random_model(3)
    layout = TrieLayout(LabelTrie(labels), every_node=True)
    scores = joint_log_probabilities(model, PROMPTS, layout, pad_id=0)
    expected = np.stack([brute_force(model, prompt, labels, joint=True) for prompt in PROMPTS])
    np.testing.assert_allclose(scores, expected, atol=TOLERANCE)
    few = joint_log_probabilities(
        model, PROMPTS, layout, pad_id=0, memory_bytes=5000
    )  # one node's vocabulary at a time
    np.testing.assert_allclose(few, expected, atol=TOLERANCE)


@given(seed=st.integers(0, 10_000), memory=st.sampled_from([1, 300_000, 1 << 30]))
@settings(max_examples=25, deadline=None)
def test_random_tries_equal_brute_force(seed: int, memory: int) -> None:
    """Whatever the memory: with 1 byte the batch is split to single prompts and the trie to the smallest pieces."""
    generator = np.random.default_rng(seed)
    labels = random_labels(generator, 30)
    prompts = [generator.integers(10, 40, size=generator.integers(1, 9)).tolist() for _ in range(3)]
    model = random_model(seed % 7)
    scores = label_log_probabilities(model, prompts, TrieLayout(LabelTrie(labels)), 0, memory)
    np.testing.assert_allclose(scores[1], brute_force(model, prompts[1], labels), atol=TOLERANCE)
    np.testing.assert_allclose(np.exp(scores.astype(float)).sum(axis=1), 1.0, atol=TOLERANCE)


def test_pieces_and_batches_do_not_change_the_result() -> None:
    labels = [[a, b, c, END] for a in range(1, 9) for b in range(1, 9) for c in range(1, 9)]
    model, layout = random_model(1), TrieLayout(LabelTrie(labels))
    generator = np.random.default_rng(1)
    prompts = [generator.integers(10, 40, size=size).tolist() for size in (2, 4, 1, 9, 3, 3, 7)]
    whole = label_log_probabilities(model, prompts, layout, 0)
    assert len(layout.stretches(256)) < len(layout.stretches(16))
    for size in (1, 2, 3, 7):
        parts = [prompts[start : start + size] for start in range(0, len(prompts), size)]
        scores = np.concatenate([label_log_probabilities(model, part, layout, 0, 200_000) for part in parts])
        np.testing.assert_allclose(scores, whole, atol=TOLERANCE)


def test_prompts_that_begin_alike_share_the_beginning() -> None:
    model = random_model(4)
    fed: list[tuple[int, ...]] = []
    hook = model.model.register_forward_pre_hook(
        lambda _, __, named: fed.append(named["input_ids"].shape), with_kwargs=True
    )
    prompts = [[10, 11, 12, 13, 20], [10, 11, 12, 13], [10, 11, 12, 13, 21, 22]]
    with torch.inference_mode():
        prefix = read_prompts(model, prompts, pad_id=0)
        hook.remove()
        assert fed == [(1, 3), (3, 3)]  # the second prompt keeps one token of its own
        for row, prompt in enumerate(prompts):
            alone = model.model(torch.tensor([prompt])).last_hidden_state[0, -1]
            torch.testing.assert_close(prefix.hidden[row], alone, atol=1e-5, rtol=1e-4)


def test_equal_prompts_give_equal_rows() -> None:
    model, layout = random_model(4), TrieLayout(LabelTrie(LABEL_SETS["codes of one length"]))
    scores = label_log_probabilities(model, [[10, 11, 12]] * 3, layout, 0)
    # Not to the bit: matrix products cut a batch into blocks, and so add in another order.
    np.testing.assert_allclose(scores[0], scores[2], atol=1e-5)


def test_bfloat16_stays_near_float32() -> None:
    """bfloat16 keeps 8 bits: 0.4 % an operation. Logits of up to 10 may be off by some 0.1, a path of four by 0.4."""
    labels = random_labels(np.random.default_rng(2), 40)
    layout = TrieLayout(LabelTrie(labels))
    full = label_log_probabilities(random_model(6), PROMPTS, layout, 0)
    half = label_log_probabilities(random_model(6).bfloat16(), PROMPTS, layout, 0)
    np.testing.assert_allclose(half, full, atol=0.4)
    assert np.abs(half - full).max() > 1e-4  # it did run in bfloat16
    np.testing.assert_allclose(np.exp(half).sum(axis=1), 1.0, atol=TOLERANCE)


def test_only_branching_nodes_and_what_leads_to_them_are_fed() -> None:
    labels = [[2, 5, 5, 5, END], [2, 6, 6, 6, END]]
    assert len(TrieLayout(LabelTrie(labels)).tokens) == 1  # the shared 2; below the fork each path is forced
    assert len(TrieLayout(LabelTrie(labels), every_node=True).tokens) == 7


def test_less_memory_means_smaller_pieces_and_each_fits() -> None:
    config = random_model(0).config
    sizes = [piece_size(config, 4, 8, 100, memory) for memory in (1 << 30, 4 << 20, 2 << 20, 1 << 10)]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[0] == 256
    assert sizes[-1] == 0
    assert piece_size(config, 2, 8, 100, 4 << 20) >= sizes[1]  # half the bytes a number


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([[1], [1, 2]], "'a' are the beginning of those of 'b'.*end token"),
        ([[1, 2], [1]], "'b' are the beginning of those of another label.*end token"),
        ([[1, END], [1, END]], "'b' and 'a' have the same tokens"),
        ([[1, END], []], "'b' has no tokens"),
    ],
)
def test_ambiguous_labels_are_refused_by_name(labels: Any, message: str) -> None:
    with pytest.raises(TaxonomyError, match=message):
        LabelTrie(labels, names=["a", "b"])
