"""An exported model that a server answers for: prompts, labels and calibration from its folder, numbers over HTTP."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from jobtuner.completions import CompletionsClient
from jobtuner.labels.endpoint import EndpointPredictor
from jobtuner.labels.endpoint_tokens import TokenQuestions
from jobtuner.labels.walk import Search
from jobtuner.scoring import load_prompts

__all__ = ["ServedModel"]


class ServedModel:
    """A classifier as `scoring.LabelScorer` is one; what the two answer differs by rounding alone.

    Args:
        client: the server.
        served: the server's name for the model.
        folder: the exported model; its weights are not read.
        search: which labels are scored exactly, as in `scoring.LabelScorer`.
        k: labels that the search "top" proves.
        concurrency: ads that the server is asked about at once, whoever asks.

    Raises:
        ConfigError: the search is unknown.
        ModelError: the folder holds no exported model, or its parts do not fit each other.
    """

    def __init__(
        self,
        client: CompletionsClient,
        served: str,
        folder: Path,
        *,
        search: Search = "exact",
        k: int = 5,
        concurrency: int = 8,
    ) -> None:
        prompts = load_prompts(folder)
        self.taxonomy, self.settings, self.labels = prompts.taxonomy, prompts.settings, prompts.labels
        self.fingerprint, self.model_version = self.settings.model_fingerprint, self.settings.model_version
        self.abstain_below, self.temperatures = self.settings.abstain_below, self.settings.temperatures()

        def ask(text: str) -> TokenQuestions:
            return TokenQuestions(client, served, prompts.layout, prompts.prompts([text])[0])

        self._predictor = EndpointPredictor(
            self.labels, ask, search=search, k=k, concurrency=concurrency, temperature=self.settings.temperature
        )

    def log_probabilities(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Calibrated log-probabilities, shape [len(texts), labels]; the exponentials of a row sum to 1.

        Raises:
            DeployError: the server cannot be reached, stays busy, or does not answer what was asked.
        """
        return self._predictor.log_probabilities(texts)
