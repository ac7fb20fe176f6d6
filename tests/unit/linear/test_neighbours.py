"""The nearest rows, against a plain computation."""

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix, random

from jobtuner.linear.neighbours import Neighbours


def _unit(rows: int, seed: int) -> csr_matrix:
    matrix = random(rows, 40, density=0.2, format="csr", dtype=np.float32, rng=seed)
    norms = np.sqrt(np.asarray(matrix.multiply(matrix).sum(axis=1)).ravel())
    return csr_matrix(matrix.multiply(1 / np.where(norms > 0, norms, 1)[:, None]), dtype=np.float32)


def _plain(features: csr_matrix, rows: csr_matrix, targets: NDArray[np.float32], count: int) -> NDArray[np.float64]:
    similar = features.toarray() @ rows.toarray().astype(np.float16).astype(np.float32).T
    result = np.zeros((len(similar), targets.shape[1]))
    for row, values in enumerate(similar):
        for near in np.argsort(-values, kind="stable")[:count]:
            result[row] += values[near] ** 2 * targets[near]
    total = result.sum(axis=1, keepdims=True)
    return result / np.where(total > 0, total, 1)


def test_votes_of_the_nearest_rows() -> None:
    rows, features = _unit(300, seed=1), _unit(600, seed=2)
    shares = np.random.default_rng(0).dirichlet(np.ones(4), size=300).astype(np.float32)
    found = Neighbours.of(rows, csr_matrix(shares), 7, 300).shares(features)
    np.testing.assert_allclose(found, _plain(features, rows, shares, 7), atol=1e-5)


def test_a_text_without_anything_in_common_gets_nothing() -> None:
    rows = csr_matrix(np.eye(3, 5, dtype=np.float32))
    shares = Neighbours.of(rows, csr_matrix(np.eye(3, dtype=np.float32)), 2, 3).shares(
        csr_matrix(np.eye(5, dtype=np.float32)[[4, 1]])
    )
    np.testing.assert_array_equal(shares, [[0, 0, 0], [0, 1, 0]])


def test_features_of_very_many_rows_are_left_out() -> None:
    rows = csr_matrix(np.array([[1.0, 0.0]] * 1001 + [[0.0, 1.0]] * 1000, dtype=np.float32))
    near = Neighbours.of(rows, csr_matrix(np.ones((2001, 1), dtype=np.float32)), 1, 2001)
    assert near.shares(csr_matrix(np.eye(2, dtype=np.float32))).ravel().tolist() == [0.0, 1.0]


def test_a_labelled_row_outweighs_a_title_that_is_as_similar() -> None:
    rows = csr_matrix(np.array([[0.8, 0.6, 0.0], [0.8, 0.0, 0.6], [1.0, 0.0, 0.0]], dtype=np.float32))
    near = Neighbours.of(rows, csr_matrix(np.eye(3, dtype=np.float32)), 2, labelled=1)
    shares = near.shares(csr_matrix(np.array([[1.0, 0.0, 0.0]], dtype=np.float32))).ravel()
    votes = np.array([0.8**2, 0.0, 0.7**2])  # the third is the most similar, and a title; there is no place for a third
    np.testing.assert_allclose(shares, votes / votes.sum(), atol=1e-3)
