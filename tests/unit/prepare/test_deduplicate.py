import itertools
import random
import time
from collections import defaultdict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jobtuner.config import DeduplicateConfig
from jobtuner.prepare.deduplicate import (
    assign_clusters,
    bands_for,
    find_exact,
    text_key,
)
from jobtuner.prepare.shingles import jaccard, normalise, shingle_sets, signatures
from jobtuner.records import JobAd

CONFIG = DeduplicateConfig()
HEADS, ENDS = ("ko", "ma", "ser", "tra", "lin", "vo", "bre", "ju"), ("cher", "dor", "nist", "gar", "pel", "wun")
WORDS = ["".join(parts) for parts in itertools.product(HEADS, HEADS, ENDS)]


def ad(number: int, text: str, label: str = "2512", language: str = "en") -> JobAd:
    return JobAd(f"{number:03d}", text, label, language)


def exact(ads: list[JobAd]) -> tuple[list[str], dict[str, str], dict[str, list[str]]]:
    """Ids of the kept rows, dropped id to kept id, and the conflicts."""
    keys = [text_key(normalise(row.text)) for row in ads]
    ids = [row.id for row in ads]
    found = find_exact(range(len(ads)), keys, [row.language for row in ads], ids, [row.label or "" for row in ads])
    dropped = {ids[row]: ids[stays] for row, stays in found.duplicate_of.items()}
    return [ids[row] for row in found.kept], dropped, {ids[row]: codes for row, codes in found.conflicts.items()}


def shingles(text: str, length: int) -> frozenset[str]:
    """All runs of `length` characters; a shorter text is its own only one."""
    return frozenset(text[start : start + length] for start in range(max(1, len(text) - length + 1)))


def similarity(left: frozenset[str], right: frozenset[str]) -> float:
    return len(left & right) / len(left | right)


def clusters(texts: list[str], config: DeduplicateConfig = CONFIG, seed: int = 1) -> list[str]:
    return assign_clusters(texts, [None] * len(texts), config, seed)


def partition(names: list[str], keys: list[str]) -> set[frozenset[str]]:
    members = defaultdict(set)
    for name, key in zip(names, keys, strict=True):
        members[name].add(key)
    return {frozenset(items) for items in members.values()}


def brute_force(texts: list[str], threshold: float, length: int) -> set[frozenset[str]]:
    """The connected components of the pairs at or above the threshold, from all pairs."""
    keys = sorted({normalise(text) for text in texts})
    sets = {key: shingles(key, length) for key in keys}
    component = {key: {key} for key in keys}
    for left, right in itertools.combinations(keys, 2):
        if similarity(sets[left], sets[right]) >= threshold and component[left] is not component[right]:
            component[left] |= component[right]
            for key in component[right]:
                component[key] = component[left]
    return {frozenset(items) for items in component.values()}


def related_texts(seed: int, families: int, members: int, words: int, changes: int) -> list[str]:
    generator = random.Random(seed)
    texts = []
    for _ in range(families):
        base = generator.choices(WORDS, k=words)
        for _ in range(members):
            copy = list(base)
            for _ in range(generator.randint(0, changes)):
                copy[generator.randrange(words)] = generator.choice(WORDS)
            texts.append(" ".join(copy))
    return texts


def test_exact_duplicates_keep_the_smallest_id() -> None:
    kept, dropped, conflicts = exact(
        [ad(3, "Web  Developer"), ad(1, "web developer"), ad(2, "WEB\nDEVELOPER "), ad(4, "other")]
    )
    assert kept == ["001", "004"]
    assert dropped == {"002": "001", "003": "001"}
    assert conflicts == {}


def test_conflicting_labels_reject_all_rows_of_the_text() -> None:
    rows = [ad(1, "Manager", "1211"), ad(2, "manager", "1221"), ad(3, "manager", "1211"), ad(4, "clerk")]
    kept, dropped, conflicts = exact(rows)
    assert kept == ["004"]
    assert conflicts == {number: ["1211", "1221"] for number in ("001", "002", "003")}
    assert dropped == {}


def test_the_same_word_in_two_languages_is_neither_duplicate_nor_conflict() -> None:
    rows = [ad(1, "Konditor", "7512", "de"), ad(2, "Konditor", "7512", "da"), ad(3, "Konditor", "5120", "sv")]
    assert exact(rows)[0] == [row.id for row in rows]
    assert len(set(clusters([row.text for row in rows]))) == 1


def test_shingles_and_jaccard() -> None:
    two, three, short, shorter = shingle_sets(["abcdef", "abcdeg", "abc", "abcab"], 5)
    assert [len(found) for found in (two, three, short, shorter)] == [2, 2, 1, 1]
    assert jaccard(two, three) == pytest.approx(1 / 3)
    assert jaccard(two, two) == 1.0


@settings(max_examples=60, deadline=None)
@given(st.lists(st.text("abcdé🚀 ", min_size=1, max_size=30), min_size=2, max_size=6))
def test_similarity_of_hashes_is_that_of_the_shingles(texts: list[str]) -> None:
    for (left, one), (right, two) in itertools.pairwise(zip(texts, shingle_sets(texts, 5), strict=True)):
        assert jaccard(one, two) == pytest.approx(similarity(shingles(left, 5), shingles(right, 5)))


@pytest.mark.parametrize(("threshold", "permutations"), [(0.85, 64), (0.7, 64), (0.5, 128), (0.95, 16), (1.0, 64)])
def test_bands_fit_and_find_pairs_at_the_threshold(threshold: float, permutations: int) -> None:
    bands, rows = bands_for(threshold, permutations)
    assert bands * rows <= permutations
    assert 1 - (1 - threshold**rows) ** bands >= 0.999


def test_signatures_estimate_the_jaccard_similarity() -> None:
    texts = related_texts(seed=5, families=10, members=2, words=30, changes=8)
    matrix = signatures(texts, 5, 512, seed=9)
    for first in range(0, len(texts), 2):
        right = similarity(shingles(texts[first], 5), shingles(texts[first + 1], 5))
        estimate = float(np.mean(matrix[first] == matrix[first + 1]))
        # binomial with 512 trials: a standard deviation of at most 0.022, here four of them
        assert estimate == pytest.approx(right, abs=0.09)


def test_signatures_do_not_depend_on_the_neighbours() -> None:
    texts = ["a", "abcd", "abcdef", "x" * 50, "Ærø 🚀 ok"]
    together = signatures(texts, 5, 32, seed=2)
    for place, text in enumerate(texts):
        assert (signatures([text], 5, 32, seed=2)[0] == together[place]).all()


@pytest.mark.parametrize(("words", "changes"), [(4, 1), (40, 3), (200, 8)])
@pytest.mark.parametrize("threshold", [0.7, 0.85, 0.95])
def test_clusters_are_those_of_all_pairs(words: int, changes: int, threshold: float) -> None:
    texts = related_texts(seed=words, families=12, members=8, words=words, changes=changes)
    names = clusters(texts, DeduplicateConfig(threshold=threshold))
    found = partition(names, [normalise(text) for text in texts])
    assert found == brute_force(texts, threshold, CONFIG.shingle)
    assert len(found) > 1


def test_every_setting_counts() -> None:
    texts = related_texts(seed=3, families=8, members=6, words=30, changes=3)
    by_threshold = [len(set(clusters(texts, DeduplicateConfig(threshold=value)))) for value in (0.5, 0.8, 1.0)]
    assert by_threshold[0] < by_threshold[1] < by_threshold[2]
    by_shingle = [len(set(clusters(texts, DeduplicateConfig(shingle=value)))) for value in (2, 12)]
    assert by_shingle[0] < by_shingle[1]
    assert signatures(texts, 5, 16, 1).shape == (48, 16)


def test_groups_join_what_texts_do_not() -> None:
    texts = ["painter in Leeds", "cook in Bristol", "nurse in Cork", "waiter in Derby"]
    names = assign_clusters(texts, ["acme", None, "acme", "other"], CONFIG, 1)
    assert names[0] == names[2]
    assert len(set(names)) == 3


def test_groups_and_texts_chain() -> None:
    texts = ["painter in Leeds", "PAINTER in leeds", "cook in Bristol"]
    names = assign_clusters(texts, [None, "acme", "acme"], CONFIG, 1)
    assert len(set(names)) == 1


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.tuples(st.text("abc ", min_size=1, max_size=12), st.sampled_from([None, "g", "h"])), max_size=25),
    st.randoms(use_true_random=False),
)
def test_order_of_rows_changes_nothing(rows: list[tuple[str, str | None]], generator: random.Random) -> None:
    def named(order: list[tuple[str, str | None]]) -> dict[tuple[str, str | None], str]:
        return dict(zip(order, assign_clusters([t for t, _ in order], [g for _, g in order], CONFIG, 1), strict=True))

    shuffled = list(rows)
    generator.shuffle(shuffled)
    assert named(rows) == named(shuffled)


def test_a_large_family_of_reposts_is_one_cluster_and_quick() -> None:
    base = " ".join(random.Random(1).choices(WORDS, k=150))
    texts = [f"{base} {number}" for number in range(1000)]
    started = time.process_time()
    assert len(set(clusters(texts))) == 1
    assert time.process_time() - started < 20  # about 1 s on one idle core; all 499,500 pairs would take minutes


def test_no_texts_no_clusters() -> None:
    assert clusters([]) == []
