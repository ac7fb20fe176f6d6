"""Weights learnt on rows that the parts did not see."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from jobtuner.config import BaselineConfig
from jobtuner.linear.blend import FLOOR, Blend, Evidence, held_out
from jobtuner.linear.classifier import BaselineClassifier
from jobtuner.linear.taxonomy_rows import TitleRow, unseen_labels
from jobtuner.taxonomy import Occupation, Taxonomy

LABELS = [f"{group}{number}" for group in "1234" for number in range(10)]
COUNTS = np.full(40, 5, dtype=np.float32)


def _world(rows: int, seed: int, trusted: str) -> tuple[Evidence, NDArray[np.intp]]:
    """Parts of which one knows the right label in nine of ten rows, and the others nothing."""
    generator = np.random.default_rng(seed)
    right = generator.integers(0, 40, rows)
    told = np.where(generator.random(rows) < 0.9, right, generator.integers(0, 40, rows))
    chance = [generator.dirichlet(np.ones(40), rows).astype(np.float32) for _ in range(4)]
    sure = np.full((rows, 40), 0.005, dtype=np.float32)
    sure[np.arange(rows), told] = 1.0 - 39 * 0.005
    parts = dict(zip(("linear", "mixed", "many", "centre"), chance, strict=True)) | {trusted: sure}
    parts["linear"] = np.maximum(np.log(parts["linear"]), FLOOR)
    return Evidence(**parts), right


def _targets(right: NDArray[np.intp]) -> csr_matrix:
    return csr_matrix((np.ones(len(right), np.float32), (np.arange(len(right)), right)), shape=(len(right), 40))


@pytest.mark.parametrize("trusted", ["linear", "many", "centre"])
def test_believes_the_part_that_knows(trusted: str) -> None:
    seen, right = _world(600, 1, trusted)
    blend = Blend.fit([seen], _targets(right), (COUNTS, COUNTS), LABELS)
    assert blend is not None
    asked, wanted = _world(400, 2, trusted)
    found = blend.log_probabilities(asked)
    np.testing.assert_allclose(np.exp(found.astype(np.float64)).sum(axis=1), 1.0, atol=1e-5)
    assert (found.argmax(axis=1) == wanted).mean() > 0.6  # chance is 1 in 40; ten labels of 40 are no candidates
    assert (asked.mixed.argmax(axis=1) == wanted).mean() < 0.1


def test_labels_that_are_no_candidates_keep_their_probability() -> None:
    seen, right = _world(600, 1, "mixed")
    blend = Blend.fit([seen], _targets(right), (COUNTS, COUNTS), LABELS)
    assert blend is not None
    found = np.exp(blend.log_probabilities(seen).astype(np.float64))
    same = np.isclose(found, seen.mixed / seen.mixed.sum(axis=1, keepdims=True), rtol=1e-3)
    assert (same.sum(axis=1) >= 10).all()


def test_too_few_rows_teach_nothing() -> None:
    seen, right = _world(199, 1, "linear")
    assert Blend.fit([seen], _targets(right), (COUNTS, COUNTS), LABELS) is None
    assert len(held_out([f"title {word}" for word in "abcdefgh"] * 100, 0.2, 0)) == 0


def test_texts_that_begin_alike_are_held_out_together() -> None:
    words = [f"{first}{second} post" for first in "abcdefghijklmnopqrst" for second in "abcdefghijklmnopqrst"]
    texts = [f"{word} {number}" for word in words for number in range(5)]
    held = held_out(texts, 0.2, 3)
    assert 250 < len(held) < 550  # of 2,000: 400 on average, in 80 groups of five
    assert all({5 * (place // 5) + k for k in range(5)} <= set(held.tolist()) for place in held.tolist())
    assert held_out(texts, 0.2, 3).tolist() == held.tolist() != held_out(texts, 0.2, 4).tolist()
    assert len(held_out(texts * 20, 0.5, 3)) < 6000  # 3,000 of 40,000, and what begins like them
    assert len(held_out(texts, 0.0, 3)) == 0


def test_labels_that_only_the_taxonomy_names_are_answered() -> None:
    taxonomy = Taxonomy([Occupation(code, {"en": title}) for code, title in _CODES.items()])
    texts, labels = (
        ["nurse ward", "night nurse", "cook kitchen", "hotel cook"] * 3,
        ["2221", "2221", "5120", "5120"] * 3,
    )
    unseen = unseen_labels([taxonomy], set(labels))
    assert unseen == {"8331", "9112"}
    titles = [TitleRow(title, code, "en") for code, title in _CODES.items()]
    model = BaselineClassifier(BaselineConfig(min_count=1, neighbour_share=0.6)).fit(
        texts, labels, titles=titles, unseen=unseen
    )
    assert model.labels == ["2221", "5120", "8331", "9112"]
    found = model.log_probabilities(["tram driver", "night nurse"])
    assert [model.labels[place] for place in found.argmax(axis=1)] == ["8331", "2221"]
    without = BaselineClassifier(BaselineConfig(min_count=1, neighbours=0))
    assert without.fit(texts, labels, titles=titles, unseen=unseen).labels == ["2221", "5120"]


_CODES = {"2221": "Nurse", "5120": "Cook", "8331": "Tram driver", "9112": "Cleaner"}


def test_what_only_the_encoder_knows_becomes_a_candidate() -> None:
    """The other parts keep to the first thirty labels; the right one is among the last ten."""
    generator = np.random.default_rng(3)

    def world(rows: int) -> tuple[Evidence, NDArray[np.intp]]:
        right = generator.integers(0, 40, rows)
        others = np.full((rows, 40), 1e-6, dtype=np.float32)
        others[:, :30] = generator.dirichlet(np.ones(30), rows)
        meaning = np.full((rows, 40), np.log(0.1 / 39), dtype=np.float32)
        meaning[np.arange(rows), right] = np.log(0.9)
        return Evidence(np.log(others), others, others, others, meaning), right

    seen, right = world(600)
    blend = Blend.fit([seen], _targets(right), (COUNTS, COUNTS), LABELS)
    assert blend is not None and blend.hears_meaning
    asked, wanted = world(300)
    assert (blend.log_probabilities(asked).argmax(axis=1) == wanted).mean() > 0.95
    deaf = blend.log_probabilities(replace(asked, meaning=None))
    assert (deaf.argmax(axis=1) == wanted).mean() < 0.1  # where it was not asked, the first weights count
