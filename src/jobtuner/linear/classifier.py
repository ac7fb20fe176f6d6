"""The cheap classifier: n-grams or sentence embeddings, logistic regression, and the nearest training rows.

The baseline stage fits it, evaluation and serving load it. Its files are safetensors and JSON.
"""

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jobtuner.config import BaselineConfig
from jobtuner.errors import DataError, ModelError
from jobtuner.linear.embedding_model import EmbeddingModel
from jobtuner.linear.ngram_model import NgramModel
from jobtuner.linear.rows import collect
from jobtuner.linear.taxonomy_rows import TitleRow

__all__ = ["SETTINGS_FILE", "WEIGHTS_FILE", "BaselineClassifier"]

WEIGHTS_FILE = "weights.safetensors"
SETTINGS_FILE = "baseline.json"

_FORMAT = 4
_MODELS: dict[str, type[NgramModel] | type[EmbeddingModel]] = {"ngrams": NgramModel, "embeddings": EmbeddingModel}


class BaselineClassifier:
    """A classifier over a fixed list of labels; it has the methods of a `Predictor`.

    Args:
        config: the kind of features and all that belongs to it.
        seed: order in which the rows are visited.

    Attributes:
        labels: codes in the order of the score columns: those seen in training, sorted, then those that only the
            taxonomy names, sorted; empty before `fit`.
    """

    def __init__(self, config: BaselineConfig, seed: int = 0) -> None:
        self.config, self.seed = config, seed
        self.labels: list[str] = []
        self._model: NgramModel | EmbeddingModel | None = None

    def fit(
        self,
        texts: Sequence[str],
        labels: Sequence[str | Collection[str]],
        *,
        languages: Sequence[str] | None = None,
        titles: Sequence[TitleRow] = (),
        unseen: Collection[str] = (),
        on_epoch: Callable[[], None] | None = None,
    ) -> "BaselineClassifier":
        """Learn from labelled texts and return self.

        Args:
            texts: one ad or title a row. Equal texts count as one row that carries all their labels.
            labels: the code of each row, or all its right codes.
            languages: language of each row; they decide which taxonomy titles come first where there are very many.
            titles: titles of the taxonomy (`taxonomy_rows`), weighted by `baseline.taxonomy_weight`.
            unseen: labels that no row carries and that may be answered for their titles (`unseen_labels`); kind=ngrams
            with neighbours answers them, other models do not.
            on_epoch: called after each pass over the rows (`config.epochs`, or 1 with embeddings).

        Raises:
            DataError: fewer than two labels, a row without a label, or no n-gram is frequent enough.
        """
        if self.config.taxonomy_weight == 0.0:
            titles = ()
        if not _MODELS[self.config.kind].answers_unseen(self.config):
            unseen = ()
        most = _MODELS[self.config.kind].most_titles(len(texts), self.config)
        rows = collect(texts, labels, languages, titles, most, unseen)
        if rows.seen < 2:
            raise DataError(
                f"The training texts carry the labels {rows.labels[: rows.seen]}; two different ones are needed."
            )
        self._model = _MODELS[self.config.kind].fit(rows, self.config, self.seed, on_epoch)
        self.labels = rows.labels
        return self

    def log_probabilities(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Log-probabilities, shape [len(texts), len(labels)]; the exponentials of a row sum to 1."""
        model = self._fitted()
        if not texts:
            return np.zeros((0, len(self.labels)), dtype=np.float32)
        return model.log_probabilities([_well_formed(text) for text in texts])

    def save(self, folder: Path) -> None:
        """Write `weights.safetensors` and `baseline.json`: with equal data and seed, equal bytes."""
        from safetensors.numpy import save

        model = self._fitted()
        (folder / WEIGHTS_FILE).write_bytes(save(model.tensors()))  # `save_file` would make it readable for its owner
        document = {
            "format": _FORMAT,
            "seed": self.seed,
            "settings": self.config.model_dump(mode="json"),
            "labels": self.labels,
            **model.document(),
        }
        (folder / SETTINGS_FILE).write_text(json.dumps(document, ensure_ascii=False), encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> "BaselineClassifier":
        """Read what `save` wrote; the scores are the same to the bit.

        Raises:
            ModelError: a file is missing or unreadable, the two do not belong together, or the encoder is not there.
        """
        from safetensors import SafetensorError
        from safetensors.numpy import load_file

        try:
            document = json.loads((folder / SETTINGS_FILE).read_text(encoding="utf-8"))
            _check_format(document, folder)
            config = BaselineConfig.model_validate(document["settings"])
            classifier = cls(config, document["seed"])
            classifier.labels = list(document["labels"])
            tensors = load_file(folder / WEIGHTS_FILE)
            classifier._model = _MODELS[config.kind].restore(config, document, tensors, classifier.labels)
        except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
            raise ModelError(
                f"{folder} holds no readable baseline ({error}): a file is damaged, or {WEIGHTS_FILE} and "
                f"{SETTINGS_FILE} are of two different models. Run the baseline stage again."
            ) from error
        return classifier

    def _fitted(self) -> NgramModel | EmbeddingModel:
        if self._model is None:
            raise ModelError("This baseline has not been fitted: call `fit`, or `BaselineClassifier.load`.")
        return self._model


def _check_format(document: Mapping[str, Any], folder: Path) -> None:
    if document["format"] != _FORMAT:
        raise ModelError(
            f"{folder} holds a baseline of format {document['format']}; this version reads {_FORMAT}. "
            "Run the baseline stage again."
        )


def _well_formed(text: str) -> str:
    """The text without lone surrogates, which tokenizers refuse."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
