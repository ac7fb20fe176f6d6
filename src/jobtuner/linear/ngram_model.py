"""The baseline of kind "ngrams": regression, nearest rows and word vectors, weighed by what held-out rows tell."""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from jobtuner.config import BaselineConfig
from jobtuner.linear.blend import FLOOR, Blend, Evidence, held_out
from jobtuner.linear.neighbours import Neighbours
from jobtuner.linear.ngrams import NgramFeatures
from jobtuner.linear.rows import TrainingRows, titles_an_epoch
from jobtuner.linear.softmax_regression import fit_softmax, log_softmax, visiting_order
from jobtuner.linear.weights import StoredWeights
from jobtuner.linear.word_vectors import WordVectors, chosen_vectors, word_vectors

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

__all__ = ["NgramModel"]

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
        words: WordVectors | None,
    ) -> None:
        self._features, self._weights, self._bias = features, weights, bias
        self._neighbours, self._share, self._blend, self._words = neighbours, share, blend, words

    @staticmethod
    def most_titles(rows: int, config: BaselineConfig) -> int:
        """Taxonomy titles beside so many labelled rows: as many as the epochs visit together."""
        return config.epochs * titles_an_epoch(rows)

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
        vectors = _vectors(features, matrix, rows, config) if len(held) else None
        with ThreadPoolExecutor(1) as second:
            parts = (features, matrix, rows, vectors, config, seed)
            twin = second.submit(_fitted, *parts, held, None) if len(held) else None
            model, counts = _fitted(*parts, held[:0], on_epoch)
            if twin is not None:
                other, before = twin.result()
                model._blend = other._learnt_blend(matrix[held], rows.targets[held], (before, counts), rows.labels)
        if model._blend is None or not model._blend.uses_words:
            model._words = None
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
        words = None if self._words is None else self._words.scores(matrix)
        return Evidence(np.maximum(linear, np.float32(FLOOR)), mixed, near.many, near.centre, words)

    def tensors(self) -> dict[str, NDArray[Any]]:
        """Arrays for the file of weights."""
        near = {} if self._neighbours is None else self._neighbours.tensors()
        blend = {} if self._blend is None else self._blend.tensors()
        words = {} if self._words is None else self._words.tensors()
        return {**self._weights.tensors(), "bias": self._bias, **self._features.tensors(), **near, **blend, **words}

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
        words = WordVectors.restore(tensors, len(document["words"]), len(labels))
        if (words is not None) != (blend is not None and blend.uses_words):
            raise ValueError("word vectors without a weight in the blend, or the other way round")
        return cls(features, weights, bias, neighbours, config.neighbour_share, blend, words)


def _fitted(
    features: NgramFeatures,
    matrix: "csr_matrix",
    rows: TrainingRows,
    vectors: NDArray[np.float32] | None,
    config: BaselineConfig,
    seed: int,
    held: NDArray[np.intp],
    on_epoch: Callable[[], None] | None,
) -> tuple[NgramModel, NDArray[np.float32]]:
    """A model without blend that has not seen the held-out rows, and the rows of each label that it has seen."""
    limit = titles_an_epoch(rows.labelled)
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
    words = None if vectors is None else WordVectors.fit(vectors, matrix, rows, config, seed, held)
    stored = StoredWeights.of(weights, "float32", 0.0)
    return NgramModel(features, stored, bias, neighbours, config.neighbour_share, None, words), counts


def _vectors(
    features: NgramFeatures, matrix: "csr_matrix", rows: TrainingRows, config: BaselineConfig
) -> NDArray[np.float32] | None:
    """Vectors of the words in labelled rows and in titles of their languages; None where no encoder is to be used."""
    encoder = chosen_vectors(config.word_vectors, rows.foreign)
    if encoder is None:
        return None
    return word_vectors(encoder, features.terms()["words"], matrix[rows.spoken()])


def _has_neighbours(config: BaselineConfig) -> bool:
    return config.neighbours > 0 and config.neighbour_share > 0.0
