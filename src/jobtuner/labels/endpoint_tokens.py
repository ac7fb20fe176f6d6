"""Next-token log-probabilities of named tokens from /v1/completions: exact for any labels, many nodes a request.

Prompts go out as token ids, so the server tokenizes nothing and no ad can end its own turn. `logprob_token_ids` (tried
with vLLM 0.32) names the tokens whose log-probabilities are wanted. They are those over the whole vocabulary;
renormalised over a node's children they are what `label_scores` computes.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from jobtuner.completions import CompletionsClient
from jobtuner.errors import DeployError
from jobtuner.labels.layout import TrieLayout
from jobtuner.labels.search import branches
from jobtuner.labels.walk import Branch, OpenNode, Search
from jobtuner.probabilities import log_normalise

__all__ = ["TokenQuestions"]

_MOST_TOKENS = 128
"""vLLM's limit on `logprob_token_ids`."""
_MOST_PROMPTS = 64


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
            branches(self._layout, node.place, log_normalise(values[None])[0])
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
                "(vLLM 0.32 does). Give --taxonomy instead of --model to ask by /chat/completions."
            )
        return float(value)


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
