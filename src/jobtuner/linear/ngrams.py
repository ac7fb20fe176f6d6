"""TF-IDF of word and character n-grams: the features of the n-gram baseline."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from jobtuner.config import BaselineConfig
from jobtuner.errors import DataError

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

__all__ = ["NgramFeatures"]

_VIEWS = ("words", "characters")
_WORD_SHARE = 0.5  # length of the word part of a unit vector: characters carry the rest, sqrt(1 - 0.25) = 0.87


class NgramFeatures:
    """Words and the characters within words, side by side; rows have length 1 (0 where no n-gram is known).

    Characters reach inflected and compound words, and words of languages that are related. They see the beginning of a
    long text only: that is where it names the job, and n-grams of whole pages would cost minutes.

    Args:
        config: n-gram lengths, vocabulary size, `char_head`.
    """

    def __init__(self, config: BaselineConfig) -> None:
        self._config = config
        self._vectorizers: dict[str, Any] = {}

    def fit_transform(self, texts: Sequence[str]) -> "csr_matrix":
        """Learn the vocabulary and return the features of the texts, shape [len(texts), features].

        Raises:
            DataError: no n-gram is frequent enough.
        """
        self._vectorizers = {view: _vectorizer(view, self._config) for view in _VIEWS}
        try:
            parts = [self._vectorizers[view].fit_transform(self._seen(view, texts)) for view in _VIEWS]
        except ValueError as error:  # scikit-learn's way of saying that the vocabulary is empty
            raise DataError(
                f"No n-gram occurs in {self._config.min_count} of the {len(texts)} training texts ({error}). "
                "Lower baseline.min_count, or give more rows."
            ) from error
        return _side_by_side(parts)

    def transform(self, texts: Sequence[str]) -> "csr_matrix":
        """Features of other texts, shape [len(texts), features]."""
        return _side_by_side([self._vectorizers[view].transform(self._seen(view, texts)) for view in _VIEWS])

    def terms(self) -> dict[str, list[str]]:
        """The n-grams of each view in the order of their columns."""
        return {view: [str(term) for term in self._vectorizers[view].get_feature_names_out()] for view in _VIEWS}

    def tensors(self) -> dict[str, NDArray[np.float32]]:
        """The inverse document frequencies of each view."""
        return {f"{view}.idf": self._vectorizers[view].idf_ for view in _VIEWS}

    @classmethod
    def restore(
        cls, config: BaselineConfig, terms: Mapping[str, Sequence[str]], tensors: Mapping[str, NDArray[np.float32]]
    ) -> "NgramFeatures":
        """Features from what `terms` and `tensors` returned."""
        features = cls(config)
        for view in _VIEWS:
            vocabulary = {term: column for column, term in enumerate(terms[view])}
            features._vectorizers[view] = _vectorizer(view, config, vocabulary=vocabulary)
            features._vectorizers[view].idf_ = tensors[f"{view}.idf"]
        return features

    def _seen(self, view: str, texts: Sequence[str]) -> Sequence[str]:
        return texts if view == "words" else [text[: self._config.char_head] for text in texts]


def _vectorizer(view: str, config: BaselineConfig, **more: Any) -> Any:
    from sklearn.feature_extraction.text import TfidfVectorizer

    words = view == "words"
    return TfidfVectorizer(
        analyzer="word" if words else "char_wb",
        ngram_range=(1, config.word_ngrams) if words else (2, config.char_ngrams),
        token_pattern=r"(?u)\b\w+\b" if words else None,  # one-letter words count: "C", "R"
        min_df=config.min_count,
        max_features=config.max_features,
        sublinear_tf=True,
        dtype=np.float32,
        **more,
    )


def _side_by_side(parts: Sequence[Any]) -> "csr_matrix":
    from scipy.sparse import csr_matrix, hstack

    words, characters = parts
    shares = (_WORD_SHARE, (1.0 - _WORD_SHARE**2) ** 0.5)
    return csr_matrix(hstack([shares[0] * words, shares[1] * characters], format="csr", dtype=np.float32))
