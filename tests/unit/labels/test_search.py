"""Best-first search against scoring everything: the same k best labels, the same numbers, less work."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jobtuner.errors import ConfigError
from jobtuner.labels import search as search_module
from jobtuner.labels.layout import TrieLayout
from jobtuner.labels.prefix import Prefix, read_start
from jobtuner.labels.scores import label_log_probabilities
from jobtuner.labels.search import branches, search_labels
from jobtuner.labels.walk import SEARCHES, LabelWalk, Search
from jobtuner.taxonomy import LabelTrie
from tests.unit.labels.models import END, TOLERANCE, random_labels, random_model

PROMPTS = [[10, 11, 12], [13], [10, 11, 21, 22, 23, 24, 25], [30, 31]]


@pytest.fixture
def fed(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Tokens that each pass fed behind the prompts, over all prompts."""
    seen: list[int] = []
    feed = Prefix.feed

    def counted(self: Prefix, tokens: Any, *rest: Any, **more: Any) -> Any:
        hidden = feed(self, tokens, *rest, **more)
        seen.append(hidden.shape[0] * hidden.shape[1])
        return hidden

    monkeypatch.setattr(Prefix, "feed", counted)
    return seen


@pytest.mark.parametrize("k", [1, 3, 10])
@pytest.mark.parametrize("seed", range(4))
def test_top_is_the_exact_top(k: int, seed: int) -> None:
    labels = random_labels(np.random.default_rng(seed), 60)
    model, layout = random_model(seed), TrieLayout(LabelTrie(labels))
    exact = label_log_probabilities(model, PROMPTS, layout, pad_id=0)
    found = search_labels(model, PROMPTS, layout, 0, "top", k)
    order, expected = (np.argsort(-scores, axis=1)[:, :k] for scores in (found, exact))
    np.testing.assert_array_equal(order, expected)
    np.testing.assert_allclose(
        np.take_along_axis(found, order, axis=1), np.take_along_axis(exact, expected, axis=1), atol=TOLERANCE
    )
    np.testing.assert_allclose(np.exp(found.astype(float)).sum(axis=1), 1.0, atol=TOLERANCE)


def test_exact_search_is_exact_for_every_label() -> None:
    labels = random_labels(np.random.default_rng(9), 40)
    model, layout = random_model(2), TrieLayout(LabelTrie(labels))
    found = search_labels(model, PROMPTS, layout, 0, "exact", 1)
    np.testing.assert_allclose(found, label_log_probabilities(model, PROMPTS, layout, 0), atol=TOLERANCE)


def test_greedy_follows_the_best_branch() -> None:
    """At the root 2 wins by a little; below it, three labels share what it has: the better label lies under 3."""
    layout = TrieLayout(LabelTrie([[2, 4], [2, 5], [2, 6], [3, 4], [3, 5]]))
    steps = {0: [0.55, 0.45], 1: [0.34, 0.33, 0.33], 2: [0.9, 0.1]}
    walk = _walked(layout, steps, "greedy", 1)
    assert {label for _, label in walk.found} == {0, 1, 2}
    np.testing.assert_allclose(np.exp(walk.scores()), [0.187, 0.1815, 0.1815, 0.225, 0.225])
    assert int(np.argmax(_walked(layout, steps, "top", 1).scores())) == 3


def test_greedy_is_the_greedy_path_of_the_model() -> None:
    labels = random_labels(np.random.default_rng(3), 60)
    model, layout = random_model(4), TrieLayout(LabelTrie(labels))
    exact = label_log_probabilities(model, PROMPTS, layout, 0)
    found = search_labels(model, PROMPTS, layout, 0, "greedy", 1)
    for row in range(len(PROMPTS)):
        label = _greedy_label(exact[row], labels)
        assert found[row, label] == pytest.approx(exact[row, label], abs=TOLERANCE)


def test_top_looks_into_fewer_nodes(fed: list[int]) -> None:
    labels = [[a, b, c, END] for a in range(1, 8) for b in range(1, 8) for c in range(1, 8)]
    model, layout = random_model(1), TrieLayout(LabelTrie(labels))
    label_log_probabilities(model, PROMPTS, layout, 0)
    everything = sum(fed)
    fed.clear()
    search_labels(model, PROMPTS, layout, 0, "top", 1)
    assert 0 < sum(fed) < everything / 2


@pytest.fixture
def passes() -> Iterator[Callable[[Any], list[tuple[int, int]]]]:
    """Shapes [rows, tokens] of what a model reads from now on."""
    hooks = []

    def watch(model: Any) -> list[tuple[int, int]]:
        seen: list[tuple[int, int]] = []
        hooks.append(
            model.model.register_forward_pre_hook(
                lambda _, __, named: seen.append(tuple(named["input_ids"].shape)), with_kwargs=True
            )
        )
        return seen

    yield watch
    for hook in hooks:
        hook.remove()


@pytest.mark.parametrize("search", SEARCHES)
def test_looking_ahead_saves_passes_and_changes_nothing(
    search: Search, passes: Callable[[Any], list[tuple[int, int]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    labels = random_labels(np.random.default_rng(8), 80)
    model, layout = random_model(3), TrieLayout(LabelTrie(labels))
    seen, scores, counts = passes(model), [], []
    for free in (0, 7 * len(PROMPTS), 1000):
        monkeypatch.setattr(search_module, "_FREE_TOKENS", {"cpu": free})
        scores.append(search_labels(model, PROMPTS, layout, 0, search, 3))
        counts.append(len(seen))
        seen.clear()
    for found in scores[1:]:
        np.testing.assert_allclose(np.sort(found, axis=1)[:, -3:], np.sort(scores[0], axis=1)[:, -3:], atol=TOLERANCE)
        assert found.argmax(axis=1).tolist() == scores[0].argmax(axis=1).tolist()
    assert counts[0] > counts[1] > counts[2] == 1  # the whole trie with the prompts


def test_a_start_read_before_is_not_read_again(passes: Callable[[Any], list[tuple[int, int]]]) -> None:
    prompts = [[10, 11, 12, 20], [10, 11, 12, 21, 22], [10, 11, 12, 23, 24, 25, 26]]
    model, layout = random_model(6), TrieLayout(LabelTrie(random_labels(np.random.default_rng(5), 40)))
    start = read_start(model, [10, 11, 12])
    expected = label_log_probabilities(model, prompts, layout, 0)
    seen = passes(model)
    np.testing.assert_allclose(
        label_log_probabilities(model, prompts, layout, 0, start=start), expected, atol=TOLERANCE
    )
    assert seen[0] == (3, 4)
    for row, prompt in enumerate(prompts):
        seen.clear()
        (found,) = search_labels(model, [prompt], layout, 0, "exact", 1, start)
        np.testing.assert_allclose(found, expected[row], atol=TOLERANCE)
        assert all(rows == 1 for rows, _ in seen)
        assert len(prompt) - 3 <= seen[0][1] <= len(prompt) - 3 + 16  # the rest of the prompt, and a look ahead


def test_a_start_that_a_prompt_does_not_go_on_from_is_not_used() -> None:
    model, layout = random_model(6), TrieLayout(LabelTrie(random_labels(np.random.default_rng(5), 40)))
    expected = label_log_probabilities(model, PROMPTS, layout, 0)
    for tokens in ([10, 11], [13]):  # no other's beginning; the whole of a prompt
        found = label_log_probabilities(model, PROMPTS, layout, 0, start=read_start(model, tokens))
        np.testing.assert_allclose(found, expected, atol=TOLERANCE)
    alone = label_log_probabilities(model, [[13]], layout, 0, start=read_start(model, [13]))
    np.testing.assert_allclose(alone, expected[1:2], atol=TOLERANCE)


def test_labels_that_begin_alike_and_a_single_label() -> None:
    model = random_model(5)
    layout = TrieLayout(LabelTrie([[7, 7, 2, END], [7, 7, 3, END]]))  # the root does not branch
    exact = label_log_probabilities(model, PROMPTS, layout, 0)
    np.testing.assert_allclose(search_labels(model, PROMPTS, layout, 0, "top", 1), exact, atol=TOLERANCE)
    alone = TrieLayout(LabelTrie([[7, END]]))
    assert search_labels(model, PROMPTS, alone, 0, "top", 1).tolist() == [[0.0]] * len(PROMPTS)
    assert label_log_probabilities(model, PROMPTS, alone, 0).tolist() == [[0.0]] * len(PROMPTS)


@given(seed=st.integers(0, 10_000), k=st.integers(1, 8), width=st.integers(1, 5))
@settings(max_examples=60, deadline=None)
def test_the_walk_proves_the_top(seed: int, k: int, width: int) -> None:
    """No model: random steps at random tries. The walk's k best are the k best, and theirs are the exact numbers."""
    generator = np.random.default_rng(seed)
    layout = TrieLayout(LabelTrie(random_labels(generator, 30)))
    shares = [generator.dirichlet(np.full(count, 0.5)) for count in np.diff(layout.edge_starts)]
    steps = dict(enumerate(share.tolist() for share in shares))
    exact = layout.label_scores(np.log(np.concatenate(shares) + 1e-30)[None])[0]
    scores = _walked(layout, steps, "top", k, width).scores()
    k = min(k, layout.labels)
    np.testing.assert_allclose(np.sort(scores)[::-1][:k], np.sort(exact)[::-1][:k], atol=1e-4)
    assert np.exp(scores).sum() == pytest.approx(1.0, abs=1e-6)


def test_unknown_searches_are_refused() -> None:
    layout = TrieLayout(LabelTrie([[1], [2]]))
    with pytest.raises(ConfigError, match="exact, top, greedy are accepted"):
        search_labels(None, PROMPTS, layout, 0, "beam", 1)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="at least 1"):
        search_labels(None, PROMPTS, layout, 0, SEARCHES[1], 0)


def _walked(layout: TrieLayout, steps: dict[int, list[float]], search: Search, k: int, width: int = 1) -> LabelWalk:
    walk = LabelWalk(layout.labels, 0, search, k)
    while nodes := walk.next(width):
        for node in nodes:
            walk.opened(node, branches(layout, node.place, np.log(np.array(steps[node.place]) + 1e-30)))
    return walk


def _greedy_label(scores: np.ndarray[Any, np.dtype[np.float32]], labels: Sequence[Sequence[int]]) -> int:
    """By the exact distribution: at each depth, the token whose labels hold the most."""
    left, depth = list(range(len(labels))), 0
    while len(left) > 1:
        mass: dict[int, float] = {}
        for label in left:
            mass[labels[label][depth]] = mass.get(labels[label][depth], 0.0) + float(np.exp(scores[label]))
        best = max(mass, key=lambda token: mass[token])
        left = [label for label in left if labels[label][depth] == best]
        depth += 1
    return left[0]
