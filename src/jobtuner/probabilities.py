"""Arithmetic on log-probabilities that training, evaluation and serving share."""

import numpy as np
from numpy.typing import NDArray

__all__ = ["apply_temperature", "log_normalise"]


def log_normalise(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """Log-softmax of each row, shape [n, L]: the exponentials of a row sum to 1."""
    top = scores.max(axis=1, keepdims=True)
    total: NDArray[np.float64] = top + np.log(np.exp(scores - top).sum(axis=1, keepdims=True))
    result: NDArray[np.float64] = scores - total
    return result


def apply_temperature(log_probabilities: NDArray[np.float32], temperature: float) -> NDArray[np.float32]:
    """Divide by the temperature and renormalise; the order of a row's labels stays as it is."""
    return log_normalise(log_probabilities.astype(np.float64) / temperature).astype(np.float32)
