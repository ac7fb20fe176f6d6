"""The same distribution over labels from an OpenAI-compatible server, such as vLLM with the adapter loaded.

Two ways to ask, both walking the labels' trie as `label_walk` says:

`TokenQuestions` sends prompts as token ids to /v1/completions and names the tokens whose log-probabilities it wants
(vLLM's `logprob_token_ids`). They are those of the whole vocabulary; renormalised over a node's children they are
what `label_scores` computes, whatever the labels' texts are. One request carries many nodes. Needs the tokenizer.

`ChatQuestions` sends messages to /v1/chat/completions with `structured_outputs: {"choice": [...]}` and reads the
log-probabilities of the allowed tokens (vLLM gives them after the constraint's mask). Needs no tokenizer; works where
the labels' texts can be split into tokens in one way only, as codes of digits can. Each request gives the nodes on one
path.

Neither trusts the server to have understood: what is missing or not allowed in an answer is an error, since servers
ignore fields that they do not know.
"""

import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from types import MappingProxyType
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from jobtuner.completions import CompletionsClient
from jobtuner.errors import DeployError
from jobtuner.label_layout import TrieLayout
from jobtuner.label_search import branches
from jobtuner.label_walk import Branch, LabelWalk, OpenNode, Search, check_search
from jobtuner.probabilities import apply_temperature
from jobtuner.records import Message

__all__ = ["ChatQuestions", "EndpointPredictor", "Questions", "TokenQuestions"]

_MOST_TOKENS = 128
"""vLLM's limit on `logprob_token_ids`."""
_MOST_PROMPTS = 64
_MOST_ALTERNATIVES = 20
"""vLLM's default limit on `top_logprobs`, and OpenAI's."""
_FORBIDDEN = -1000.0  # vLLM gives -9999 to what the constraint's mask forbids
_END = re.compile(r"<[^<>]*>|")
"""Text of an end token: "<|im_end|>", "</s>", or none."""


class Questions(Protocol):
    """What may be asked about one ad."""

    root: Any
    """Place of the trie's root."""

    widths: Mapping[Search, int]
    """Nodes asked for at once."""

    def open(self, nodes: Sequence[OpenNode]) -> list[list[Branch]]:
        """The branches of each node."""


class EndpointPredictor:
    """A classifier over a fixed list of labels, by way of a server.

    Args:
        labels: the codes, in the order of the score columns.
        ask: from an ad's text to the questions about it.
        search: as in `scoring.LabelScorer`; "exact" asks for every branching node of the trie.
        k: labels that "top" proves.
        concurrency: ads under way at once.
        temperature: divides the log-probabilities before they are renormalised.

    Raises:
        ConfigError: the search is unknown, or k is less than 1.
    """

    def __init__(
        self,
        labels: Sequence[str],
        ask: Callable[[str], Questions],
        *,
        search: Search = "exact",
        k: int = 5,
        concurrency: int = 8,
        temperature: float = 1.0,
    ) -> None:
        check_search(search, k)
        self.labels = list(labels)
        self._ask, self._search, self._k = ask, search, k
        self._concurrency, self._temperature = concurrency, temperature

    def log_probabilities(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Log-probabilities, shape [len(texts), labels]; the exponentials of a row sum to 1.

        Raises:
            DeployError: the server cannot be reached, stays busy, or does not answer what was asked.
        """
        if not texts:
            return np.zeros((0, len(self.labels)), dtype=np.float32)
        with ThreadPoolExecutor(self._concurrency, thread_name_prefix="asking") as pool:
            rows = list(pool.map(self._one, texts))
        return apply_temperature(np.stack(rows).astype(np.float32), self._temperature)

    def _one(self, text: str) -> NDArray[np.float64]:
        questions = self._ask(text)
        walk = LabelWalk(len(self.labels), questions.root, self._search, self._k)
        while nodes := walk.next(questions.widths[self._search]):
            for node, found in zip(nodes, questions.open(nodes), strict=True):
                walk.opened(node, found)
        return walk.scores()


class TokenQuestions:
    """Next-token log-probabilities of named tokens, prompts given as token ids.

    Args:
        client: the server.
        model: its name for the model.
        layout: the labels.
        prompt: the ad's prompt, generation prompt included.
    """

    widths: Mapping[Search, int] = MappingProxyType({"exact": _MOST_PROMPTS, "top": 4, "greedy": 1})
    """As many as one request carries; for a search, few enough to look into little in vain."""

    def __init__(self, client: CompletionsClient, model: str, layout: TrieLayout, prompt: Sequence[int]) -> None:
        self.root = 0
        self._client, self._model, self._layout, self._prompt = client, model, layout, list(prompt)

    def open(self, nodes: Sequence[OpenNode]) -> list[list[Branch]]:
        """The branches of each node, in as few requests as the server's limits allow."""
        edges = [self._edge_tokens(node.place) for node in nodes]
        scores = [np.empty(len(tokens)) for tokens in edges]
        for request in _packed(edges):
            prompts = [self._prompt + self._way(nodes[number].place) for number, _ in request]
            wanted = sorted({int(token) for number, part in request for token in edges[number][part]})
            answers = self._request(prompts, wanted)
            for (number, part), found in zip(request, answers, strict=True):
                scores[number][part] = [self._value(found, int(token)) for token in edges[number][part]]
        return [
            branches(self._layout, node.place, _log_normalised(values))
            for node, values in zip(nodes, scores, strict=True)
        ]

    def _edge_tokens(self, node: int) -> NDArray[np.intp]:
        starts = self._layout.edge_starts
        return self._layout.edge_tokens[starts[node] : starts[node + 1]]

    def _way(self, node: int) -> list[int]:
        way: list[int] = self._layout.tokens[self._layout.path(node, whole=True)].tolist()
        return way

    def _request(self, prompts: list[list[int]], wanted: list[int]) -> list[dict[str, float]]:
        body = {
            "model": self._model,
            "prompt": prompts,
            "max_tokens": 1,
            "temperature": 0.0,
            "logprobs": 1,
            "logprob_token_ids": wanted,
            "return_tokens_as_token_ids": True,
        }
        answer = self._client.request("POST", "/completions", body)
        try:
            choices = sorted(answer["choices"], key=lambda choice: choice["index"])
            found = [dict(choice["logprobs"]["top_logprobs"][0]) for choice in choices]
        except (KeyError, TypeError, IndexError) as error:
            raise self._client.wrong("a completion without `logprobs.top_logprobs`") from error
        if len(found) != len(prompts):
            raise self._client.wrong(f"{len(found)} completions for {len(prompts)} prompts")
        return found

    def _value(self, found: dict[str, float], token: int) -> float:
        value = found.get(f"token_id:{token}")
        if not isinstance(value, int | float) or not math.isfinite(value):
            raise DeployError(
                f"{self._client.url} gave no log-probability of token {token}: it does not know `logprob_token_ids` "
                "(vLLM does from 0.32 on). Give --taxonomy instead of --model to ask by /chat/completions."
            )
        return float(value)


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
        steps = _log_normalised(np.array([value for _, value in found]))
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


def _packed(edges: Sequence[NDArray[np.intp]]) -> Iterator[list[tuple[int, slice]]]:
    """Nodes and parts of their edges, put together to requests within the limits on prompts and distinct tokens."""
    request: list[tuple[int, slice]] = []
    wanted: set[int] = set()
    for number, tokens in enumerate(edges):
        for start in range(0, len(tokens), _MOST_TOKENS):
            part = slice(start, min(start + _MOST_TOKENS, len(tokens)))
            more = wanted | set(tokens[part].tolist())
            if request and (len(more) > _MOST_TOKENS or len(request) == _MOST_PROMPTS):
                yield request
                request, more = [], set(tokens[part].tolist())
            request.append((number, part))
            wanted = more
    if request:
        yield request


def _log_normalised(values: NDArray[np.float64]) -> NDArray[np.float64]:
    result: NDArray[np.float64] = values - np.logaddexp.reduce(values)
    return result
