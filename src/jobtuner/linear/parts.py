"""The two kinds of baseline: each fits, scores, and names what a file must hold of it."""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from jobtuner.config import BaselineConfig
from jobtuner.linear.blend import FLOOR, Blend, Evidence, held_out
from jobtuner.linear.embeddings import SentenceEncoder, chosen_encoder
from jobtuner.linear.neighbours import Neighbours
from jobtuner.linear.ngrams import NgramFeatures
from jobtuner.linear.rows import TrainingRows
from jobtuner.linear.softmax_regression import fit_softmax, log_softmax, visiting_order
from jobtuner.linear.weights import StoredWeights

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

__all__ = ["EmbeddingModel", "NgramModel"]

_TITLES_A_ROW = 2  # taxonomy titles an epoch for each labelled row: bounds the time where a taxonomy has 300,000
_FEW = 2000  # taxonomy titles that an epoch always has room for
_CHUNK = 256  # texts weighed at once: 256 × 3,000 labels × 5 arrays in float32 = 15 MB
_LEAST = 1e-14  # probability that stands for 0, whose logarithm is not finite


class NgramModel:
    """Logistic regression on n-grams, mixed with the labels of the nearest training rows, and weighed anew."""

    def __init__(
        self,
        features: NgramFeatures,
        weights: StoredWeights,
        bias: NDArray[np.float32],
        neighbours: Neighbours | None,
        share: float,
        blend: Blend | None,
    ) -> None:
        self._features, self._weights, self._bias = features, weights, bias
        self._neighbours, self._share, self._blend = neighbours, share, blend

    @staticmethod
    def most_titles(rows: int, config: BaselineConfig) -> int:
        """Taxonomy titles beside so many labelled rows: as many as the epochs visit together."""
        return config.epochs * _titles_an_epoch(rows)

    @staticmethod
    def answers_unseen(config: BaselineConfig) -> bool:
        """Whether labels without rows can be answered: by neighbours alone, the regression knows none of them."""
        return _has_neighbours(config)

    @classmethod
    def fit(
        cls, rows: TrainingRows, config: BaselineConfig, seed: int, on_epoch: Callable[[], None] | None
    ) -> "NgramModel":
        """Fit features, regression and neighbours, and in a second thread a twin that some rows are kept from.

        The threads share the work well: nearly all of it is NumPy's and SciPy's, without Python's lock.
        """
        features = NgramFeatures(config)
        matrix = features.fit_transform(rows.texts)
        held = held_out(rows.texts[: rows.labelled], config.blend if _has_neighbours(config) else 0.0, seed)
        with ThreadPoolExecutor(1) as second:
            twin = second.submit(_fitted, features, matrix, rows, config, seed, held, None) if len(held) else None
            model, counts = _fitted(features, matrix, rows, config, seed, held[:0], on_epoch)
            if twin is not None:
                other, before = twin.result()
                model._blend = other._learnt_blend(matrix[held], rows.targets[held], (before, counts), rows.labels)
        model._weights = StoredWeights.of(
            model._weights.values.astype(np.float32, copy=False), config.weights, config.prune
        )
        return model

    def _learnt_blend(
        self,
        matrix: "csr_matrix",
        targets: "csr_matrix",
        counts: tuple[NDArray[np.float32], NDArray[np.float32]],
        labels: Sequence[str],
    ) -> Blend | None:
        pieces = (self._evidence(matrix[start : start + _CHUNK]) for start in range(0, matrix.shape[0], _CHUNK))
        return Blend.fit(pieces, targets, counts, labels)

    def log_probabilities(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Log-probabilities, shape [len(texts), labels]."""
        matrix = self._features.transform(texts)
        if self._neighbours is None:
            return log_softmax(self._weights.product(matrix) + self._bias)
        if self._blend is None:
            return log_softmax(np.log(np.maximum(self._mixed(*self._both(matrix)), _LEAST)))
        found = [
            self._blend.log_probabilities(self._evidence(matrix[start : start + _CHUNK]))
            for start in range(0, matrix.shape[0], _CHUNK)
        ]
        return np.concatenate(found)

    def _both(self, matrix: "csr_matrix") -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Log-probabilities by the regression, padded to all labels, and the neighbours' votes."""
        votes = self._neighbours.shares(matrix)  # type: ignore[union-attr]  # who calls has some
        return self._linear(matrix, votes.shape[1]), votes

    def _linear(self, matrix: "csr_matrix", labels: int) -> NDArray[np.float32]:
        known = log_softmax(self._weights.product(matrix) + self._bias)
        unseen = np.full((len(known), labels - known.shape[1]), -np.inf, dtype=np.float32)
        return np.concatenate([known, unseen], axis=1)

    def _mixed(self, linear: NDArray[np.float32], votes: NDArray[np.float32]) -> NDArray[np.float64]:
        alone = votes.sum(axis=1, keepdims=True) == 0.0  # nothing in common with any training row
        sure = np.exp(linear.astype(np.float64))
        mixed: NDArray[np.float64] = (1.0 - self._share) * sure + self._share * np.where(alone, sure, votes)
        return mixed

    def _evidence(self, matrix: "csr_matrix") -> Evidence:
        near = self._neighbours.nearness(matrix)  # type: ignore[union-attr]  # who calls has some
        linear = self._linear(matrix, near.votes.shape[1])
        mixed = self._mixed(linear, near.votes).astype(np.float32)
        return Evidence(np.maximum(linear, np.float32(FLOOR)), mixed, near.many, near.centre)

    def tensors(self) -> dict[str, NDArray[Any]]:
        """Arrays for the file of weights."""
        near = {} if self._neighbours is None else self._neighbours.tensors()
        blend = {} if self._blend is None else self._blend.tensors()
        return {**self._weights.tensors(), "bias": self._bias, **self._features.tensors(), **near, **blend}

    def document(self) -> dict[str, Any]:
        """What the JSON file holds beside settings and labels."""
        return dict(self._features.terms())

    @classmethod
    def restore(
        cls,
        config: BaselineConfig,
        document: Mapping[str, Any],
        tensors: dict[str, NDArray[Any]],
        labels: Sequence[str],
    ) -> "NgramModel":
        """A model from `document` and `tensors`.

        Raises:
            ValueError, KeyError: they do not belong together.
        """
        features = NgramFeatures.restore(config, document, tensors)
        terms, bias = len(document["words"]) + len(document["characters"]), tensors["bias"]
        neighbours = None
        if _has_neighbours(config):
            neighbours = Neighbours.restore(tensors, terms, len(labels), config.neighbours)
        if len(bias) > len(labels) or (neighbours is None and len(bias) != len(labels)):
            raise ValueError(f"bias of shape {bias.shape} beside {len(labels)} labels")
        weights, blend = StoredWeights.restore(tensors, (terms, len(bias))), Blend.restore(tensors, labels)
        return cls(features, weights, bias, neighbours, config.neighbour_share, blend)


def _fitted(
    features: NgramFeatures,
    matrix: "csr_matrix",
    rows: TrainingRows,
    config: BaselineConfig,
    seed: int,
    held: NDArray[np.intp],
    on_epoch: Callable[[], None] | None,
) -> tuple[NgramModel, NDArray[np.float32]]:
    """A model without blend that has not seen the held-out rows, and the rows of each label that it has seen."""
    limit = _titles_an_epoch(rows.labelled)
    orders = visiting_order(rows.labelled, (rows.near, rows.far), limit, config.epochs, seed)
    kept = np.setdiff1d(np.arange(len(rows.texts)), held)
    orders = [order[~np.isin(order, held)] for order in orders]
    targets = rows.targets[:, : rows.seen].tocsr()
    weights, bias = fit_softmax(
        matrix, targets, rows.weights(config.taxonomy_weight), orders, config.learning_rate, on_epoch
    )
    labelled = rows.labelled - len(held)
    counts = np.asarray((rows.targets[kept[:labelled]] > 0).sum(axis=0), dtype=np.float32).ravel()
    if len(held):  # a label that lost all its rows is to look as one that never had any
        bias = np.where(counts[: rows.seen] > 0, bias, np.float32(-np.inf))
    neighbours = None
    if _has_neighbours(config):
        neighbours = Neighbours.of(matrix[kept], rows.targets[kept], config.neighbours, labelled)
    stored = StoredWeights.of(weights, "float32", 0.0)
    return NgramModel(features, stored, bias, neighbours, config.neighbour_share, None), counts


class EmbeddingModel:
    """Logistic regression on sentence embeddings."""

    def __init__(self, name: str, encoder: SentenceEncoder, weights: StoredWeights, bias: NDArray[np.float32]) -> None:
        self._name, self._encoder, self._weights, self._bias = name, encoder, weights, bias

    @staticmethod
    def most_titles(rows: int, config: BaselineConfig) -> int:  # noqa: ARG004  # one pass, whatever the epochs
        """Taxonomy titles beside so many labelled rows: each costs a forward pass of the encoder."""
        return _titles_an_epoch(rows)

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


def _titles_an_epoch(rows: int) -> int:
    return max(_FEW, _TITLES_A_ROW * rows)


def _has_neighbours(config: BaselineConfig) -> bool:
    return config.neighbours > 0 and config.neighbour_share > 0.0


def _checked_bias(tensors: Mapping[str, NDArray[Any]], labels: int) -> NDArray[np.float32]:
    if tensors["bias"].shape != (labels,):
        raise ValueError(f"bias of shape {tensors['bias'].shape}, not ({labels},)")
    return tensors["bias"]
