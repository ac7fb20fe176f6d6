"""Answers in text from any OpenAI-compatible server, by /v1/chat/completions: the server renders the chat."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from jobtuner.completions import CompletionsClient
from jobtuner.generation import GREEDY, Chat, Sampling

__all__ = ["ServedWriter"]


class ServedWriter:
    """A writer as `generation.LocalWriter` is one.

    Args:
        client: the server.
        served: its name for the model.
        max_tokens: longest answer, where the sampling names none.
        concurrency: chats that the server is asked at once.
    """

    def __init__(self, client: CompletionsClient, served: str, max_tokens: int, concurrency: int = 8) -> None:
        self._client, self._served, self._max_tokens = client, served, max_tokens
        self._pool = ThreadPoolExecutor(concurrency, thread_name_prefix="writing")  # its threads start when needed

    def answers(self, chats: Sequence[Chat], sampling: Sampling = GREEDY) -> list[str]:
        """One answer a chat, in their order.

        Raises:
            DeployError: the server cannot be reached, stays busy, refuses a chat, or answers with no chat completion.
        """
        return list(self._pool.map(lambda chat: self._one(chat, sampling), chats))

    def _one(self, chat: Chat, sampling: Sampling) -> str:
        body = {
            "model": self._served,
            "messages": list(chat),
            "max_tokens": sampling.max_tokens or self._max_tokens,
            "temperature": sampling.temperature,
            "seed": sampling.seed,
        }
        answer = self._client.request("POST", "/chat/completions", body)
        try:
            content = answer["choices"][0]["message"]["content"]
        except (KeyError, TypeError, IndexError) as error:
            raise self._client.wrong("no chat completion") from error
        if content is None:  # what servers send for an answer of no tokens
            return ""
        if not isinstance(content, str):
            raise self._client.wrong(f"a message whose content is a {type(content).__name__}")
        return content.strip()
