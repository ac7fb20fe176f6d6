"""Whatever gives every label a probability: the trained model here, or one that a server answers for."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from jobtuner.clean import clean_text
from jobtuner.completions import CompletionsClient
from jobtuner.config import CleanConfig, Config
from jobtuner.contracts import TrainedModel
from jobtuner.labels.walk import Search
from jobtuner.taxonomy import Taxonomy

if TYPE_CHECKING:
    from jobtuner.labels.endpoint import EndpointPredictor

__all__ = ["Predictor", "ask_for_taxonomy", "load_predictor"]


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


def ask_for_taxonomy(
    client: CompletionsClient, served: str, taxonomy: Taxonomy, *, search: Search, k: int, concurrency: int
) -> "EndpointPredictor":
    """Any server that honours `structured_outputs`: the occupation task's chat, and the taxonomy's codes as answers.

    Args:
        client: the server.
        served: the server's name for the model.
        taxonomy: its labels may be answered.
        search: which labels are scored exactly.
        k: labels that the search "top" proves.
        concurrency: ads under way at once.

    Raises:
        ConfigError: the search is unknown.
    """
    from jobtuner.labels.endpoint import EndpointPredictor
    from jobtuner.labels.endpoint_chat import ChatQuestions
    from jobtuner.tasks import get_task

    task, clean = get_task("occupation"), CleanConfig()
    answers = [task.answer(label) for label in taxonomy.labels]

    def ask(text: str) -> ChatQuestions:
        return ChatQuestions(client, served, answers, task.messages(clean_text(text, clean).text.strip()))

    return EndpointPredictor(taxonomy.labels, ask, search=search, k=k, concurrency=concurrency)
