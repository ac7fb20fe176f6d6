"""Multinomial logistic regression: against scikit-learn's optimum, and who is visited when."""

import numpy as np
import pytest
from scipy.sparse import csr_matrix
from sklearn.linear_model import LogisticRegression

from jobtuner.linear.softmax_regression import fit_softmax, log_softmax, visiting_order


def test_reaches_the_optimum_that_scikit_learn_finds() -> None:
    generator = np.random.default_rng(0)
    features = generator.normal(size=(400, 6)).astype(np.float32)
    features /= np.linalg.norm(features, axis=1, keepdims=True)
    chances = np.exp(log_softmax(features @ generator.normal(size=(6, 3)) * 2))
    labels = np.array([generator.choice(3, p=row / row.sum()) for row in chances.astype(np.float64)])
    best = LogisticRegression(C=1e6, max_iter=1000).fit(features, labels)
    expected = best.predict_proba(features)
    targets = csr_matrix(np.eye(3, dtype=np.float32)[labels])
    orders = visiting_order(400, (0, 0), 0, 200, seed=1)
    weights, bias = fit_softmax(csr_matrix(features), targets, np.ones(400, np.float32), orders, 1.0)
    found = np.exp(log_softmax(features @ weights + bias))
    assert np.abs(found - expected).max() < 0.02


def test_weights_count_as_copies() -> None:
    features = csr_matrix(np.eye(2, dtype=np.float32)[[0, 0, 0, 1]])
    targets = csr_matrix(np.eye(2, dtype=np.float32)[[0, 1, 1, 0]])
    orders = visiting_order(4, (0, 0), 0, 300, seed=0)
    weights, bias = fit_softmax(features, targets, np.array([4, 1, 1, 1], np.float32), orders, 1.0)
    first = np.exp(log_softmax((features[:1] @ weights) + bias))[0]
    assert first[0] == pytest.approx(4 / 6, abs=0.02)


def test_every_epoch_sees_all_rows_and_takes_turns_through_the_others() -> None:
    orders = visiting_order(10, (20, 4), limit=8, epochs=4, seed=3)  # 6 × 4 places for the 20, 2 × 4 for the 4
    for order in orders:
        assert set(range(10)) <= set(order.tolist()) and len(order) == 18
    seen = {int(row) for order in orders for row in order}
    assert seen == set(range(34))
    assert not np.array_equal(orders[0], orders[1])


@pytest.mark.parametrize("extra", [(0, 0), (3, 0), (0, 3), (3, 3)])
def test_few_extra_rows_are_in_every_epoch(extra: tuple[int, int]) -> None:
    for order in visiting_order(5, extra, limit=8, epochs=2, seed=0):
        assert sorted(order.tolist()) == list(range(5 + sum(extra)))
