"""The baseline of kind "embeddings": logistic regression on vectors of a sentence encoder."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jobtuner.config import BaselineConfig
from jobtuner.linear.embeddings import SentenceEncoder, chosen_encoder
from jobtuner.linear.rows import TrainingRows, titles_an_epoch
from jobtuner.linear.softmax_regression import log_softmax
from jobtuner.linear.weights import StoredWeights

__all__ = ["EmbeddingModel"]


class EmbeddingModel:
    """Logistic regression on sentence embeddings."""

    def __init__(self, name: str, encoder: SentenceEncoder, weights: StoredWeights, bias: NDArray[np.float32]) -> None:
        self._name, self._encoder, self._weights, self._bias = name, encoder, weights, bias

    @staticmethod
    def most_titles(rows: int, config: BaselineConfig) -> int:  # noqa: ARG004  # one pass, whatever the epochs
        """Taxonomy titles beside so many labelled rows: each costs a forward pass of the encoder."""
        return titles_an_epoch(rows)

    @staticmethod
    def answers_unseen(config: BaselineConfig) -> bool:  # noqa: ARG004  # whatever the settings
        """Labels without rows cannot be answered."""
        return False

    @classmethod
    def fit(
        cls,
        rows: TrainingRows,
        config: BaselineConfig,
        seed: int,  # noqa: ARG003  # lbfgs starts at 0: nothing here is drawn
        on_epoch: Callable[[], None] | None,
    ) -> "EmbeddingModel":
        """Encode the texts and fit the regression; a row with several labels counts once for each, by its share."""
        from sklearn.linear_model import LogisticRegression

        name = chosen_encoder(config.encoder)
        encoder = SentenceEncoder(name)
        vectors = encoder.encode(rows.texts)
        copies = np.repeat(np.arange(len(rows.texts)), np.diff(rows.targets.indptr))
        importance = rows.weights(config.taxonomy_weight)[copies] * rows.targets.data
        model = LogisticRegression(C=config.regularization, max_iter=200)
        model.fit(vectors[copies], rows.targets.indices, sample_weight=importance)
        if on_epoch:
            on_epoch()
        weights, bias = model.coef_.T, model.intercept_
        if len(rows.labels) == 2:  # scikit-learn keeps one column: the margin of the second label against the first
            weights, bias = np.concatenate([-weights, weights], axis=1) / 2, np.concatenate([-bias, bias]) / 2
        stored = StoredWeights.of(weights.astype(np.float32), config.weights, config.prune)
        return cls(name, encoder, stored, bias.astype(np.float32))

    def log_probabilities(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Log-probabilities, shape [len(texts), labels]."""
        return log_softmax(self._weights.product(self._encoder.encode(texts)) + self._bias)

    def tensors(self) -> dict[str, NDArray[Any]]:
        """Arrays for the file of weights."""
        return {**self._weights.tensors(), "bias": self._bias}

    def document(self) -> dict[str, Any]:
        """What the JSON file holds beside settings and labels."""
        return {"encoder": self._name, "dimensions": int(self._weights.values.shape[0])}

    @classmethod
    def restore(
        cls,
        config: BaselineConfig,  # noqa: ARG003  # the document names the encoder that was chosen in training
        document: Mapping[str, Any],
        tensors: dict[str, NDArray[Any]],
        labels: Sequence[str],
    ) -> "EmbeddingModel":
        """A model from `document` and `tensors`.

        Raises:
            ModelError: the encoder is not available.
            ValueError, KeyError: the files do not belong together.
        """
        weights = StoredWeights.restore(tensors, (document["dimensions"], len(labels)))
        name = document["encoder"]
        return cls(name, SentenceEncoder(name), weights, _checked_bias(tensors, len(labels)))


def _checked_bias(tensors: Mapping[str, NDArray[Any]], labels: int) -> NDArray[np.float32]:
    if tensors["bias"].shape != (labels,):
        raise ValueError(f"bias of shape {tensors['bias'].shape}, not ({labels},)")
    return tensors["bias"]
