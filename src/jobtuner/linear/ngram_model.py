"""The baseline of kind "ngrams": regression, nearest rows and a tuned encoder, weighed by what held-out rows tell."""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from jobtuner.config import BaselineConfig
from jobtuner.linear.blend import FLOOR, Blend, Evidence, held_out
from jobtuner.linear.neighbours import Neighbours
from jobtuner.linear.ngrams import NgramFeatures
from jobtuner.linear.rows import TrainingRows, titles_an_epoch
from jobtuner.linear.short_encoder import chosen_encoder_to_tune
from jobtuner.linear.softmax_regression import fit_softmax, log_softmax, visiting_order
from jobtuner.linear.threads import in_threads
from jobtuner.linear.tuned_encoder import TunedEncoder
from jobtuner.linear.weights import StoredWeights

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

__all__ = ["NgramModel"]

_CHUNK = 512  # texts weighed at once: 512 × 3,000 labels × 6 arrays in float32 = 37 MB a thread
_LEAST = 1e-14  # probability that stands for 0, whose logarithm is not finite
_SURE = 0.6  # probability of an answer that is not put to the encoder: that would change one in a hundred


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
        encoder: TunedEncoder | None,
    ) -> None:
        self._features, self._weights, self._bias = features, weights, bias
        self._neighbours, self._share, self._blend, self._encoder = neighbours, share, blend, encoder

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
        with ThreadPoolExecutor(1) as second:
            parts = (features, matrix, rows, config, seed)
            twin = second.submit(_fitted, *parts, held, None) if len(held) else None
            model, counts = _fitted(*parts, held[:0], on_epoch)
            if twin is not None:
                other, before = twin.result()
                model._learn_blend(other, matrix, rows, held, (before, counts), _tuned(rows, config, seed, held))
        model._weights = StoredWeights.of(
            model._weights.values.astype(np.float32, copy=False), config.weights, config.prune
        )
        return model

    def _learn_blend(
        self,
        twin: "NgramModel",
        matrix: "csr_matrix",
        rows: TrainingRows,
        held: NDArray[np.intp],
        counts: tuple[NDArray[np.float32], NDArray[np.float32]],
        encoder: TunedEncoder | None,
    ) -> None:
        """Learn what the twin and the encoder are worth on the rows that they have not seen; keep what is."""

        def evidence(places: NDArray[np.intp]) -> Evidence:
            found = twin._evidence(matrix[places])
            if encoder is None:
                return found
            return replace(found, meaning=encoder.log_probabilities([rows.texts[place] for place in places]))

        pieces = (evidence(held[start : start + _CHUNK]) for start in range(0, len(held), _CHUNK))
        self._blend = Blend.fit(pieces, rows.targets[held], counts, rows.labels)
        if self._blend is not None and self._blend.hears_meaning:
            self._encoder = encoder

    def log_probabilities(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Log-probabilities, shape [len(texts), labels]."""
        return np.concatenate(in_threads(self._answered, texts, _CHUNK))

    def _answered(self, texts: Sequence[str]) -> NDArray[np.float32]:
        matrix = self._features.transform(texts)
        if self._neighbours is None:
            return log_softmax(self._weights.product(matrix) + self._bias)
        if self._blend is None:
            return log_softmax(np.log(np.maximum(self._mixed(*self._both(matrix)), _LEAST)))
        evidence = self._evidence(matrix)
        found = self._blend.log_probabilities(evidence)
        if self._encoder is not None:
            unsure = np.flatnonzero(found.max(axis=1) < np.log(_SURE))
            if len(unsure):
                meaning = self._encoder.log_probabilities([texts[int(row)] for row in unsure])
                found[unsure] = self._blend.log_probabilities(evidence.of(unsure, meaning))
        return found

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
        encoder = {} if self._encoder is None else self._encoder.tensors()
        return {**self._weights.tensors(), "bias": self._bias, **self._features.tensors(), **near, **blend, **encoder}

    def document(self) -> dict[str, Any]:
        """What the JSON file holds beside settings and labels."""
        return {**self._features.terms(), **({} if self._encoder is None else self._encoder.document())}

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
        encoder = TunedEncoder.restore(document, tensors, len(labels))
        if (encoder is not None) != (blend is not None and blend.hears_meaning):
            raise ValueError("a tuned encoder without a weight in the blend, or the other way round")
        return cls(features, weights, bias, neighbours, config.neighbour_share, blend, encoder)


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
    stored = StoredWeights.of(weights, "float32", 0.0)
    return NgramModel(features, stored, bias, neighbours, config.neighbour_share, None, None), counts


def _tuned(rows: TrainingRows, config: BaselineConfig, seed: int, held: NDArray[np.intp]) -> TunedEncoder | None:
    """An encoder that has not seen the held-out rows; None where none is to be used."""
    encoder = chosen_encoder_to_tune(config.tuned_encoder, rows.texts[: rows.labelled])
    return None if encoder is None else TunedEncoder.fit(encoder, rows, config.taxonomy_weight, seed, held)


def _has_neighbours(config: BaselineConfig) -> bool:
    return config.neighbours > 0 and config.neighbour_share > 0.0
