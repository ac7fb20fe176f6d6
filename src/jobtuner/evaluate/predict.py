"""Whatever gives every label a probability."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from jobtuner.config import Config
from jobtuner.contracts import TrainedModel
from jobtuner.taxonomy import Taxonomy

__all__ = ["Predictor", "load_predictor"]


class Predictor(Protocol):
    """A classifier over a fixed list of labels."""

    labels: list[str]

    def log_probabilities(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Log-probabilities, shape [len(texts), len(labels)]; the exponentials of a row sum to 1."""


def load_predictor(trained: TrainedModel, config: Config, taxonomy: Taxonomy) -> Predictor:
    """The trained model: 4-bit base and adapter, exactly as they were trained.

    Args:
        trained: what the train stage made.
        config: the section evaluate.
        taxonomy: the one it was trained on.

    Raises:
        ModelError: something is missing, or does not fit.
    """
    from jobtuner.scoring import load_adapted

    settings = config.evaluate
    return load_adapted(
        trained,
        taxonomy,
        settings.batch_size,
        search=settings.search,
        k=settings.top_k,
        memory_bytes=settings.scoring_memory_mib << 20,
    )
