"""Constrained answers from /v1/chat/completions, and what else was allowed at each of their tokens: needs no tokenizer.

`structured_outputs: {"choice": [...]}` lets the server answer with a label alone; vLLM gives the log-probabilities
after that constraint's mask. Works where the labels' texts can be split into tokens in one way only, as codes of digits
can. Each request gives the nodes on one path.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jobtuner.completions import CompletionsClient
from jobtuner.errors import DeployError
from jobtuner.labels.walk import Branch, OpenNode, Search
from jobtuner.probabilities import log_normalise
from jobtuner.records import Message

__all__ = ["ChatQuestions"]

_MOST_ALTERNATIVES = 20
"""vLLM's default limit on `top_logprobs`, and OpenAI's."""
_FORBIDDEN = -1000.0  # vLLM gives -9999 to what the constraint's mask forbids
_END = re.compile(r"<[^<>]*>|")
"""Text of an end token: "<|im_end|>", "</s>", or none."""


class ChatQuestions:
    """Answers constrained to some of the labels, with the log-probabilities of what else was allowed at each token.

    Args:
        client: the server.
        model: its name for the model.
        answers: the text that stands for each label.
        messages: the chat that puts the question.
    """

    widths: Mapping[Search, int] = MappingProxyType({"exact": 1, "top": 1, "greedy": 1})
    """One: an answer often tells what the next question would ask."""

    def __init__(
        self, client: CompletionsClient, model: str, answers: Sequence[str], messages: Sequence[Message]
    ) -> None:
        self.root = ""
        self._client, self._model, self._answers, self._messages = client, model, answers, list(messages)
        self._known: dict[str, list[tuple[str, float]]] = {}
        """Beginning of an answer to what may follow: (text, log-probability), the empty text being the end."""

    def open(self, nodes: Sequence[OpenNode]) -> list[list[Branch]]:
        """The branches of each node; a node is the text of the answers' common beginning."""
        return [self._branches(node) for node in nodes]

    def _branches(self, node: OpenNode) -> list[Branch]:
        if node.place not in self._known:
            self._read(self._request([self._answers[label] for label in node.labels]), node)
        found = self._known.get(node.place)
        if found is None:
            raise self._several_ways(node.place)
        steps = log_normalise(np.array([[value for _, value in found]]))[0]
        return [
            Branch(float(step), self._begun(node, node.place + text, ended=not text), node.place + text)
            for (text, _), step in zip(found, steps, strict=True)
        ]

    def _begun(self, node: OpenNode, text: str, ended: bool) -> NDArray[np.intp]:
        labels = [k for k in node.labels if (self._answers[k] == text if ended else self._answers[k].startswith(text))]
        return np.array(labels, dtype=np.intp)

    def _request(self, choice: list[str]) -> list[Any]:
        body = {
            "model": self._model,
            "messages": self._messages,
            "max_tokens": max(len(text.encode()) for text in choice) + 1,  # no token is shorter than a byte
            "temperature": 0.0,
            "logprobs": True,
            "top_logprobs": _MOST_ALTERNATIVES,
            "structured_outputs": {"choice": choice},
        }
        answer = self._client.request("POST", "/chat/completions", body)
        try:
            return list(answer["choices"][0]["logprobs"]["content"])
        except (KeyError, TypeError, IndexError) as error:
            raise self._client.wrong("a chat completion without `logprobs.content`") from error

    def _read(self, tokens: Iterable[Any], node: OpenNode) -> None:
        """Take in what was allowed at every token of an answer that begins with the node's text."""
        text, labels = "", node.labels
        for token in tokens:
            allowed = self._allowed(token, text, labels)
            if len(text) >= len(node.place):
                self._known[text] = allowed
            elif len(allowed) > 1:
                raise self._several_ways(text)
            text += token["token"]
            labels = np.array([k for k in labels if self._answers[k].startswith(text)], dtype=np.intp)
            if len(labels) < 2:
                return

    def _allowed(self, token: Any, text: str, labels: NDArray[np.intp]) -> list[tuple[str, float]]:
        """What may follow a text, with its log-probability; together it must lead to every label, each by one way."""
        answers = [self._answers[label] for label in labels]
        found: dict[str, float] = {}
        for piece, value in self._alternatives(token):
            if piece and any(answer.startswith(text + piece) for answer in answers):
                found[piece] = value
            elif text in answers and _END.fullmatch(piece):
                found[""] = float(np.logaddexp(found.get("", -np.inf), value))
            elif "\ufffd" in piece:  # a part of a character
                raise self._several_ways(text)
            else:
                raise DeployError(
                    f"{self._client.url} would answer {text + piece!r}, which is no label: it does not honour "
                    "`structured_outputs`. vLLM does; other servers cannot be asked for labels."
                )
        ways = [
            sum(answer.startswith(text + piece) if piece else answer == text for piece in found) for answer in answers
        ]
        if 0 in ways:
            raise DeployError(
                f"{self._client.url} named {len(found)} ways to go on from {text!r}, and not all: more than "
                f"{_MOST_ALTERNATIVES} tokens are allowed there. Give --model (a tokenizer) instead of --taxonomy."
            )
        if max(ways) > 1:
            raise self._several_ways(text)
        return list(found.items())

    def _alternatives(self, token: Any) -> Iterator[tuple[str, float]]:
        try:
            named = {str(item["token"]): float(item["logprob"]) for item in (*token["top_logprobs"], token)}
        except (KeyError, TypeError, ValueError) as error:
            raise self._client.wrong("a token without `top_logprobs`") from error
        return ((text, value) for text, value in named.items() if value > _FORBIDDEN)

    def _several_ways(self, text: str) -> DeployError:
        return DeployError(
            f"The labels after {text!r} can be split into tokens in more than one way, so an answer's tokens do not "
            "give their probabilities. Give --model (a tokenizer) instead of --taxonomy, or answer with codes."
        )
