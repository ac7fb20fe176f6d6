"""What the gateway needs of a model. `jobtuner.scoring.load_exported` gives the real one."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from jobtuner.taxonomy import Taxonomy

__all__ = ["Classifier"]


class Classifier(Protocol):
    """A model that gives every label of its taxonomy a probability."""

    @property
    def labels(self) -> list[str]:
        """The L codes that the model can answer, in the order of the score columns."""

    @property
    def taxonomy(self) -> Taxonomy:
        """Titles and hierarchy of the codes."""

    @property
    def model_version(self) -> str:
        """Name of the model in answers and in `/v1/models`."""

    @property
    def fingerprint(self) -> str:
        """Fingerprint of the trained model."""

    def log_probabilities(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Calibrated natural-log probabilities, shape [n, L]; the exponentials of a row sum to 1."""
