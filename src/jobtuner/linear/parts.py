"""The two kinds of baseline: each fits, scores, and names what a file must hold of it."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jobtuner.config import BaselineConfig
from jobtuner.linear.embeddings import SentenceEncoder, chosen_encoder
from jobtuner.linear.neighbours import Neighbours
from jobtuner.linear.ngrams import NgramFeatures
from jobtuner.linear.rows import TrainingRows
from jobtuner.linear.softmax_regression import fit_softmax, log_softmax, visiting_order
from jobtuner.linear.weights import StoredWeights

__all__ = ["EmbeddingModel", "NgramModel"]

_TITLES_A_ROW = 2  # taxonomy titles an epoch for each labelled row: bounds the time where a taxonomy has 300,000
_FEW = 2000  # taxonomy titles that an epoch always has room for
_LEAST = 1e-14  # probability that stands for 0, whose logarithm is not finite


class NgramModel:
    """Logistic regression on n-grams, mixed with the labels of the nearest training rows."""

    def __init__(
        self,
        features: NgramFeatures,
        weights: StoredWeights,
        bias: NDArray[np.float32],
        neighbours: Neighbours | None,
        share: float,
    ) -> None:
        self._features, self._weights, self._bias = features, weights, bias
        self._neighbours, self._share = neighbours, share

    @staticmethod
    def most_titles(rows: int, config: BaselineConfig) -> int:
        """Taxonomy titles beside so many labelled rows: as many as the epochs visit together."""
        return config.epochs * _titles_an_epoch(rows)

    @classmethod
    def fit(
        cls, rows: TrainingRows, config: BaselineConfig, seed: int, on_epoch: Callable[[], None] | None
    ) -> "NgramModel":
        """Fit features, regression and neighbours."""
        features = NgramFeatures(config)
        matrix = features.fit_transform(rows.texts)
        orders = visiting_order(
            rows.labelled, (rows.near, rows.far), _titles_an_epoch(rows.labelled), config.epochs, seed
        )
        importance = rows.weights(config.taxonomy_weight)
        weights, bias = fit_softmax(matrix, rows.targets, importance, orders, config.learning_rate, on_epoch)
        neighbours = None
        if _has_neighbours(config):
            neighbours = Neighbours.of(matrix, rows.targets, config.neighbours, rows.labelled)
        stored = StoredWeights.of(weights, config.weights, config.prune)
        return cls(features, stored, bias, neighbours, config.neighbour_share)

    def log_probabilities(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Log-probabilities, shape [len(texts), labels]."""
        matrix = self._features.transform(texts)
        linear = log_softmax(self._weights.product(matrix) + self._bias)
        if self._neighbours is None:
            return linear
        near = self._neighbours.shares(matrix).astype(np.float64)
        alone = near.sum(axis=1, keepdims=True) == 0.0  # nothing in common with any training row
        near = np.where(alone, np.exp(linear), near)
        mixed = (1.0 - self._share) * np.exp(linear.astype(np.float64)) + self._share * near
        return log_softmax(np.log(np.maximum(mixed, _LEAST)))

    def tensors(self) -> dict[str, NDArray[Any]]:
        """Arrays for the file of weights."""
        near = {} if self._neighbours is None else self._neighbours.tensors()
        return {**self._weights.tensors(), "bias": self._bias, **self._features.tensors(), **near}

    def document(self) -> dict[str, Any]:
        """What the JSON file holds beside settings and labels."""
        return dict(self._features.terms())

    @classmethod
    def restore(
        cls, config: BaselineConfig, document: Mapping[str, Any], tensors: dict[str, NDArray[Any]], labels: int
    ) -> "NgramModel":
        """A model from `document` and `tensors`.

        Raises:
            ValueError, KeyError: they do not belong together.
        """
        features = NgramFeatures.restore(config, document, tensors)
        shape = (len(document["words"]) + len(document["characters"]), labels)
        neighbours = Neighbours.restore(tensors, *shape, config.neighbours) if _has_neighbours(config) else None
        weights = StoredWeights.restore(tensors, shape)
        return cls(features, weights, _checked_bias(tensors, labels), neighbours, config.neighbour_share)


class EmbeddingModel:
    """Logistic regression on sentence embeddings."""

    def __init__(self, name: str, encoder: SentenceEncoder, weights: StoredWeights, bias: NDArray[np.float32]) -> None:
        self._name, self._encoder, self._weights, self._bias = name, encoder, weights, bias

    @staticmethod
    def most_titles(rows: int, config: BaselineConfig) -> int:  # noqa: ARG004  # one pass, whatever the epochs
        """Taxonomy titles beside so many labelled rows: each costs a forward pass of the encoder."""
        return _titles_an_epoch(rows)

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
        labels: int,
    ) -> "EmbeddingModel":
        """A model from `document` and `tensors`.

        Raises:
            ModelError: the encoder is not available.
            ValueError, KeyError: the files do not belong together.
        """
        weights = StoredWeights.restore(tensors, (document["dimensions"], labels))
        name = document["encoder"]
        return cls(name, SentenceEncoder(name), weights, _checked_bias(tensors, labels))


def _titles_an_epoch(rows: int) -> int:
    return max(_FEW, _TITLES_A_ROW * rows)


def _has_neighbours(config: BaselineConfig) -> bool:
    return config.neighbours > 0 and config.neighbour_share > 0.0


def _checked_bias(tensors: Mapping[str, NDArray[Any]], labels: int) -> NDArray[np.float32]:
    if tensors["bias"].shape != (labels,):
        raise ValueError(f"bias of shape {tensors['bias'].shape}, not ({labels},)")
    return tensors["bias"]
