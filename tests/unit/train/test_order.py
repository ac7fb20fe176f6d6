from collections import Counter
from typing import Any

import pytest

from jobtuner.train.order import EpochOrder


def order(epoch: int = 0, **change: Any) -> list[int]:
    rows = {"lengths": [n * 37 % 101 for n in range(1003)], "labels": [n % 10 for n in range(1003)]}
    settings: dict[str, Any] = {**rows, "step_rows": 8, "group": True, "balance": 0.0, "seed": 5}
    sampler = EpochOrder(**{**settings, **change})
    sampler.set_epoch(epoch)
    assert len(sampler) == 1003
    return list(sampler)


@pytest.mark.parametrize("group", [True, False])
def test_every_row_comes_once_an_epoch(group: bool) -> None:
    assert sorted(order(group=group)) == list(range(1003))


def test_the_order_follows_from_seed_and_epoch_alone() -> None:
    assert order() == order()
    assert len({tuple(order(epoch, seed=seed)) for epoch in range(3) for seed in range(3)}) == 9


def test_grouped_steps_hold_rows_of_like_length_in_no_order_of_length() -> None:
    lengths = [n * 37 % 101 for n in range(1003)]

    def spread(rows: list[int]) -> float:
        steps = [[lengths[i] for i in rows[at : at + 8]] for at in range(0, 1000, 8)]
        return sum(max(step) - min(step) for step in steps) / len(steps)

    assert spread(order(group=False)) > 60
    assert spread(order()) < 6
    longest = [max(lengths[i] for i in order()[at : at + 8]) for at in range(0, 400, 8)]
    assert longest != sorted(longest, reverse=True)


def test_balance_draws_rare_labels_more_often() -> None:
    labels = [0] * 900 + [1] * 90 + [2] * 13
    drawn = {balance: Counter(labels[i] for i in order(labels=labels, balance=balance)) for balance in (0.0, 0.5, 1.0)}
    assert drawn[0.0] == {0: 900, 1: 90, 2: 13}
    roots = {0: 900**0.5, 1: 90**0.5, 2: 13**0.5}
    for label in range(3):  # 1003 draws: a standard deviation of at most 16
        assert drawn[1.0][label] == pytest.approx(1003 / 3, abs=64)
        assert drawn[0.5][label] == pytest.approx(1003 * roots[label] / sum(roots.values()), abs=64)
