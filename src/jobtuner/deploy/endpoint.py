"""Does a served copy answer as the exported model does? And two served models alike?"""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from jobtuner.completions import KEY_VARIABLE, CompletionsClient
from jobtuner.deploy.bundle import Bundle, Prompt
from jobtuner.errors import DeployError
from jobtuner.progress import track

if TYPE_CHECKING:
    from jobtuner.labels.endpoint import EndpointPredictor

__all__ = ["Alive", "Answer", "agreement", "ask", "check_served"]

_TOGETHER = 8  # prompts between two steps of the progress bar, and under way at once
_TIMEOUT = 120.0  # seconds an answer: the first one after a start compiles kernels


@dataclass(frozen=True)
class Answer:
    """What a served model said to one prompt of the parity check."""

    id: str
    language: str
    expected: str
    """What the exported model answered."""
    answered: str
    probability: float
    valid: bool
    """Whether the two are the same."""


Alive = Callable[[], None]
"""Called every few prompts: it keeps a lock."""


def check_served(
    url: str, served: str, bundle: Bundle, least: float, alive: Alive = lambda: None
) -> list[dict[str, Any]]:
    """Ask a served model the prompts of its parity check, after a look whether it asks strangers for a key.

    Args:
        url: the server.
        served: its name for the model.
        bundle: what was exported.
        least: share of the prompts on which it must answer as the exported model did.
        alive: called every few prompts.

    Returns:
        One `Answer` a prompt, as a mapping.

    Raises:
        DeployError: it cannot be reached, serves no such model, answers otherwise too often, or answers without a key
            though this process has one.
    """
    answers = ask(url, served, bundle.folder, bundle.prompts(), alive)
    if os.environ.get(KEY_VARIABLE):
        _refuses_strangers(url)
    same = sum(answer.valid for answer in answers) / len(answers)
    if same < least:
        wrong = next(answer for answer in answers if not answer.valid)
        raise DeployError(
            f"{url} answers {same:.1%} of {len(answers)} prompts as the exported model does; "
            f"deploy.kserve.min_served_agreement asks for {least:.1%}. The first other answer: {wrong.answered} in "
            f"place of {wrong.expected} to the {wrong.language} ad {wrong.id}. Are these the weights of "
            f"{bundle.location}?"
        )
    return [asdict(answer) for answer in answers]


def agreement(
    url: str, served: str, folder: Path, prompts: Sequence[Prompt], answers: Sequence[str], alive: Alive = lambda: None
) -> float:
    """Share of the prompts to which another served model gives these answers.

    Args:
        url: the other server.
        served: its name for the model.
        folder: how that model is to be asked: its tokenizer, prompt and labels.
        prompts: what both were asked.
        answers: codes, one a prompt.
        alive: called every few prompts.

    Raises:
        DeployError: it cannot be reached, or does not answer what was asked.
    """
    theirs = ask(url, served, folder, prompts, alive)
    return sum(one.answered == other for one, other in zip(theirs, answers, strict=True)) / len(answers)


def ask(url: str, served: str, folder: Path, prompts: Sequence[Prompt], alive: Alive = lambda: None) -> list[Answer]:
    """The likeliest code and its probability for each prompt.

    Raises:
        DeployError: the server cannot be reached, serves no such model, or does not answer what was asked.
    """
    rows: list[Answer] = []
    with _predictor(url, served, folder) as predictor, track("Asking", total=len(prompts), unit="prompts") as bar:
        for start in range(0, len(prompts), _TOGETHER):
            alive()
            part = prompts[start : start + _TOGETHER]
            scores = np.exp(predictor.log_probabilities([prompt.text for prompt in part]).astype(np.float64))
            for prompt, row in zip(part, scores, strict=True):
                column = int(row.argmax())
                code = predictor.labels[column]
                rows.append(
                    Answer(
                        prompt.id, prompt.language, prompt.answered, code, float(row[column]), code == prompt.answered
                    )
                )
            bar.advance(len(part))
    return rows


def _refuses_strangers(url: str) -> None:
    import httpx

    try:
        status = httpx.get(f"{url}/v1/models", timeout=_TIMEOUT, trust_env=False).status_code
    except httpx.HTTPError as error:
        raise DeployError(f"{url} stopped to answer: {type(error).__name__}: {error}.") from error
    if status not in {401, 403}:
        raise DeployError(f"{url} answers without a key (HTTP {status}). Give its server VLLM_API_KEY, by the runtime.")


@contextmanager
def _predictor(url: str, served: str, folder: Path) -> "Iterator[EndpointPredictor]":
    """A server asked by the tokens of the labels, exactly as the exported model is asked locally."""
    from jobtuner.labels.endpoint import EndpointPredictor
    from jobtuner.labels.endpoint_tokens import TokenQuestions
    from jobtuner.scoring import load_prompts

    prompts = load_prompts(folder)
    with CompletionsClient(url, timeout=_TIMEOUT, connections=_TOGETHER) as client:
        name = client.model(served)

        def questions(text: str) -> TokenQuestions:
            return TokenQuestions(client, name, prompts.layout, prompts.prompts([text])[0])

        yield EndpointPredictor(
            prompts.labels, questions, search="top", k=1, concurrency=_TOGETHER,
            temperature=prompts.settings.temperature,
        )  # fmt: skip
