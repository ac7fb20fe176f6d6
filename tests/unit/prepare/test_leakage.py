import random
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jobtuner.config import LeakageConfig
from jobtuner.errors import DataError
from jobtuner.prepare import leakage
from jobtuner.prepare.leakage import Leakage, Neighbour, check_leakage, find_leakage
from jobtuner.prepare.shingles import jaccard, shingle_sets, signatures
from jobtuner.progress import track

WORDS = ["clerk", "night", "ward", "steel", "bakery", "pump", "ledger", "sales", "crane", "orchard", "audit", "bus"]


def look(texts: Sequence[str], train: list[int], test: list[int], sample: int = 1000) -> Leakage:
    matrix = signatures(texts, 5, 64, seed=1)
    config = LeakageConfig(sample=sample)
    return find_leakage(train, test, (matrix[train], matrix[test]), texts.__getitem__, config, shingle=5, seed=3)


def ads(count: int, seed: int) -> list[str]:
    generator = random.Random(seed)
    return [" ".join(generator.choices(WORDS, k=30)) + f" {generator.random()}" for _ in range(count)]


def test_the_nearest_training_row_is_found() -> None:
    texts = ads(200, 1)
    texts += [texts[7].replace("clerk", "clark"), texts[150] + " !"]
    found = look(texts, list(range(200)), [200, 201])
    assert {(pair.test, pair.train) for pair in found.neighbours} == {(200, 7), (201, 150)}
    assert found.neighbours[0].similarity > found.neighbours[1].similarity > 0.6
    assert found.share(0.6) == 1.0
    assert found.share(0.999) == 0.0


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 1000))
def test_similarities_are_those_of_all_pairs(seed: int) -> None:
    texts = ads(60, seed)
    sets = shingle_sets(texts, 5)
    found = look(texts, list(range(40)), list(range(40, 60)))
    assert len(found.neighbours) == found.test_rows == 20
    assert [pair.similarity for pair in found.neighbours] == sorted(p.similarity for p in found.neighbours)[::-1]
    for pair in found.neighbours:
        assert pair.similarity == jaccard(sets[pair.test], sets[pair.train])
        best = max(jaccard(sets[pair.test], sets[place]) for place in range(40))
        # three candidates by 64 hash functions: their estimates have a standard deviation of 0.06 here
        assert pair.similarity >= best - 0.15


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 1000), st.integers(1, 40), st.integers(1, 12))
def test_candidates_are_those_of_a_plain_comparison(seed: int, rows: int, block: int) -> None:
    generator = np.random.default_rng(seed)
    train, test = (generator.integers(0, 3, size=(size, 20), dtype=np.uint32) for size in (rows, 5))
    agree = (train[None] == test[:, None]).sum(axis=2)
    plain = [sorted(range(rows), key=lambda row: (-counts[row], row))[:3] for counts in agree.tolist()]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(leakage, "_BLOCK", block)
        with track("Comparing") as bar:
            assert leakage._nearest(train, test, bar) == plain


def test_a_sample_is_drawn_where_there_are_more_rows() -> None:
    texts = ads(50, 4)
    found = look(texts, list(range(30)), list(range(30, 50)), sample=5)
    assert len({pair.test for pair in found.neighbours}) == 5
    assert found.test_rows == 20
    assert found == look(texts, list(range(30)), list(range(30, 50)), sample=5)
    assert look(texts, list(range(30)), list(range(30, 50)), sample=0).neighbours == []
    assert look(texts, list(range(2)), [7]).neighbours[0].train in {0, 1}


def test_too_much_leakage_fails_with_the_pairs() -> None:
    found = Leakage([Neighbour(0, 1, 0.95), Neighbour(2, 3, 0.91), Neighbour(4, 5, 0.2), Neighbour(6, 7, 0.1)], 4)
    ids = [f"r{place}" for place in range(8)]
    check_leakage(found, LeakageConfig(max_share=0.5), ids)
    with pytest.raises(
        DataError, match=r"50\.0% of 4 test rows have a training row of similarity 0\.9 or more"
    ) as caught:
        check_leakage(found, LeakageConfig(max_share=0.49), ids)
    assert "r0 ~ r1: similarity 0.95" in str(caught.value)
    check_leakage(Leakage([], 0), LeakageConfig(max_share=0.0), ids)
