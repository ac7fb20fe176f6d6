"""Arithmetic on log-probabilities that training, evaluation and serving share."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

__all__ = ["Temperatures", "apply_temperature", "log_normalise"]


@dataclass(frozen=True)
class Temperatures:
    """What a model's log-probabilities are divided by before they are renormalised."""

    pooled: float = 1.0
    """For every text whose language is unknown or has no temperature of its own."""
    languages: Mapping[str, float] = field(default_factory=dict)
    """Language to its own temperature: those with enough validation rows to fit one."""

    def of(self, languages: Sequence[str | None]) -> NDArray[np.float64]:
        """The temperature of each row, shape [n]."""
        return np.array([self.languages.get(language or "", self.pooled) for language in languages])

    def corrected_scores(
        self, log_probabilities: NDArray[np.float32], languages: Sequence[str | None]
    ) -> NDArray[np.float32]:
        """Log-probabilities at the pooled temperature → at each row's own, shape [n, L]; the order of labels stays."""
        ratios = self.of(languages) / self.pooled
        return log_probabilities if (ratios == 1.0).all() else apply_temperature(log_probabilities, ratios)

    def corrected(self, probabilities: NDArray[np.float64], languages: Sequence[str | None]) -> NDArray[np.float64]:
        """Probabilities at the pooled temperature → at each row's own, shape [n, L]; the order of labels stays."""
        ratios = self.pooled / self.of(languages)
        if not len(ratios) or bool((ratios == 1.0).all()):
            return probabilities
        scores = np.log(np.maximum(probabilities, np.finfo(np.float64).tiny))  # a 0 has no logarithm, and stays near 0
        return np.asarray(np.exp(log_normalise(scores * ratios[:, None])))


def log_normalise(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """Log-softmax of each row, shape [n, L]: the exponentials of a row sum to 1."""
    top = scores.max(axis=1, keepdims=True)
    total: NDArray[np.float64] = top + np.log(np.exp(scores - top).sum(axis=1, keepdims=True))
    result: NDArray[np.float64] = scores - total
    return result


def apply_temperature(
    log_probabilities: NDArray[np.float32], temperature: float | NDArray[np.float64]
) -> NDArray[np.float32]:
    """Divide by the temperature, one for all rows or one a row, and renormalise; the order of labels stays."""
    divisor = np.reshape(temperature, (-1, 1))
    return log_normalise(log_probabilities.astype(np.float64) / divisor).astype(np.float32)
