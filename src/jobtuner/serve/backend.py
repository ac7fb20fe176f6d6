"""What the gateway needs of a model. `scoring.load_exported` gives one that runs here, `connect` one of a server."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from jobtuner.completions import CompletionsClient
from jobtuner.errors import ModelError
from jobtuner.known_answers import distance_to_known_answers
from jobtuner.probabilities import Temperatures
from jobtuner.taxonomy import Taxonomy

__all__ = ["PROBE", "Classifier", "Endpoint", "Predictor", "connect"]

_MOST_DISTANT = 0.1
"""Total variation between the same weights in bfloat16 here and there; other weights of one base differ by 0.3 to 1."""

PROBE = "Registered nurse, night shift, city hospital"
"""The ad that a model is asked about to see whether it answers."""


class Predictor(Protocol):
    """Whatever gives every label a probability: a language model or the baseline."""

    @property
    def labels(self) -> list[str]:
        """The L codes that can be answered, in the order of the score columns."""

    def log_probabilities(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Natural-log probabilities, shape [n, L]; the exponentials of a row sum to 1."""


class Classifier(Predictor, Protocol):
    """A model with calibrated probabilities, and what answers say of it."""

    @property
    def taxonomy(self) -> Taxonomy:
        """Titles and hierarchy of the codes."""

    @property
    def model_version(self) -> str:
        """Name of the model in answers and in `/v1/models`."""

    @property
    def fingerprint(self) -> str:
        """Fingerprint of the trained model."""

    @property
    def temperatures(self) -> Temperatures:
        """Those of all ads, which the probabilities have, and of ads whose language is known."""

    @property
    def abstain_below(self) -> float:
        """Answers with a lower probability should be looked at by a person; 0: none, above 1: all."""


@dataclass(frozen=True)
class Endpoint:
    """An OpenAI-compatible server, vLLM or KServe, that runs an exported model."""

    url: str
    served_model: str | None = None
    """Its name for the model; None: the only one that it serves."""
    concurrency: int = 64
    """Ads that it is asked about at once."""
    timeout: float = 30.0
    """Seconds that one request to it may take."""
    attempts: int = 3
    """How often one request to it is sent at most, with pauses of 0.5 s and 1 s, or as it asks for by Retry-After."""


def connect(endpoint: Endpoint, folder: Path) -> Classifier:
    """A classifier whose numbers come from a server, and all else from the exported model's folder.

    Raises:
        ConfigError: the URL is none.
        DeployError: the server cannot be reached, or serves no such model.
        ModelError: the folder holds no exported model, or the server's model gives no probabilities of its labels.
    """
    from jobtuner.served import ServedModel

    client = CompletionsClient(
        endpoint.url, timeout=endpoint.timeout, connections=endpoint.concurrency, attempts=endpoint.attempts
    )
    served = client.model(endpoint.served_model)
    model = ServedModel(client, served, folder, concurrency=endpoint.concurrency)
    distance = distance_to_known_answers(model, folder)
    if not distance <= _MOST_DISTANT:
        raise ModelError(
            f"'{served}' at {endpoint.url} is not the model in {folder}: on its known questions the probabilities "
            f"differ by {distance:.2f} (total variation; up to {_MOST_DISTANT} is rounding). Serve that folder, or "
            "give the folder of what is served."
        )
    return model
