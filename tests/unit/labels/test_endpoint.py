"""Scores by way of a server against scores of the same model here. The server is small, its model and HTTP are real."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import pytest
from transformers import AutoModelForCausalLM

from jobtuner.completions import KEY_VARIABLE, CompletionsClient
from jobtuner.errors import ConfigError, DeployError
from jobtuner.labels.endpoint import EndpointPredictor
from jobtuner.labels.endpoint_chat import ChatQuestions
from jobtuner.labels.endpoint_tokens import TokenQuestions
from jobtuner.labels.layout import TrieLayout
from jobtuner.labels.scores import label_log_probabilities
from jobtuner.labels.search import search_labels
from jobtuner.labels.walk import SEARCHES, Search
from jobtuner.models import load_tokenizer
from jobtuner.tasks import PromptEncoder, get_task
from jobtuner.taxonomy import LabelTrie
from tests.conftest import ADS, Standin
from tests.unit.labels.openai_server import OpenAIServer

CODES = ["2221.1", "2221.10", "2221.2", "2222", "5120.1", "5120.1.4", "5131", "8331"]  # some begin others: ends count
TOLERANCE = 1e-4  # the same float32 model on both sides; prompts in a batch and alone are summed in another order


@pytest.fixture(scope="module")
def model(standin: Standin) -> Any:
    return AutoModelForCausalLM.from_pretrained(str(standin.folder)).eval()


@pytest.fixture(scope="module")
def encoder(standin: Standin) -> PromptEncoder:
    return PromptEncoder(get_task("occupation"), load_tokenizer(str(standin.folder)), 64)


@pytest.fixture
def server(model: Any, standin: Standin) -> OpenAIServer:
    return OpenAIServer(model, load_tokenizer(str(standin.folder)))


@pytest.fixture
def client(server: OpenAIServer) -> Iterator[CompletionsClient]:
    with server.running() as url, CompletionsClient(url, pause=lambda _: None) as connected:
        yield connected


def layout_of(encoder: PromptEncoder, labels: Sequence[str]) -> TrieLayout:
    return TrieLayout(LabelTrie([encoder.answer(label) for label in labels], labels))


def asker(client: CompletionsClient, encoder: PromptEncoder, way: str, labels: Sequence[str]) -> Callable[[str], Any]:
    layout, task = layout_of(encoder, labels), get_task("occupation")
    if way == "tokens":
        return lambda text: TokenQuestions(client, "occ", layout, encoder.prompts([text])[0])
    return lambda text: ChatQuestions(client, "occ", labels, task.messages(text))


@pytest.mark.parametrize("way", ["tokens", "chat"])
def test_exact_equals_local_scores(client: CompletionsClient, encoder: PromptEncoder, model: Any, way: str) -> None:
    predictor = EndpointPredictor(CODES, asker(client, encoder, way, CODES), concurrency=2)
    scores = predictor.log_probabilities(ADS)
    expected = label_log_probabilities(model, encoder.prompts(ADS), layout_of(encoder, CODES), 0)
    np.testing.assert_allclose(scores, expected, atol=TOLERANCE)
    assert predictor.log_probabilities([]).shape == (0, len(CODES))


@pytest.mark.parametrize("way", ["tokens", "chat"])
def test_searches_give_the_local_top(client: CompletionsClient, encoder: PromptEncoder, model: Any, way: str) -> None:
    ask = asker(client, encoder, way, CODES)
    exact = label_log_probabilities(model, encoder.prompts(ADS), layout_of(encoder, CODES), 0)
    top = EndpointPredictor(CODES, ask, search="top", k=2).log_probabilities(ADS)
    best = np.argsort(-exact, axis=1)[:, :2]
    np.testing.assert_array_equal(np.argsort(-top, axis=1)[:, :2], best)
    np.testing.assert_allclose(np.take_along_axis(top, best, 1), np.take_along_axis(exact, best, 1), atol=TOLERANCE)
    greedy = EndpointPredictor(CODES, ask, search="greedy").log_probabilities(ADS)
    local = search_labels(model, encoder.prompts(ADS), layout_of(encoder, CODES), 0, "greedy", 1)
    np.testing.assert_allclose(greedy, local, atol=TOLERANCE)


def test_a_search_asks_less(server: OpenAIServer, client: CompletionsClient, encoder: PromptEncoder) -> None:
    asked: dict[Search, int] = {}
    for search in SEARCHES:
        server.requests.clear()
        predictor = EndpointPredictor(CODES, asker(client, encoder, "chat", CODES), search=search, k=1)
        predictor.log_probabilities(ADS)
        asked[search] = len(server.requests)
    assert asked["greedy"] == len(ADS)  # one answer tells its whole path
    assert asked["greedy"] <= asked["top"] < asked["exact"]


def test_temperature_is_applied(client: CompletionsClient, encoder: PromptEncoder) -> None:
    ask = asker(client, encoder, "tokens", CODES)
    plain = EndpointPredictor(CODES, ask).log_probabilities(ADS[:1]).astype(float)
    warm = EndpointPredictor(CODES, ask, temperature=2.0).log_probabilities(ADS[:1])
    np.testing.assert_allclose(warm, plain / 2 - np.log(np.exp(plain / 2).sum()), atol=1e-5)


def test_titles_by_tokens_equal_local_scores_and_by_chat_are_refused(
    client: CompletionsClient, encoder: PromptEncoder, model: Any
) -> None:
    titles = ["Krankenpfleger", "Köche", "Kellner", "Busfahrer", "Koch", "Bus driver", "Nurses"]
    scores = EndpointPredictor(titles, asker(client, encoder, "tokens", titles)).log_probabilities(ADS)
    expected = label_log_probabilities(model, encoder.prompts(ADS), layout_of(encoder, titles), 0)
    np.testing.assert_allclose(scores, expected, atol=TOLERANCE)
    with pytest.raises(DeployError, match=r"more than one way.*--model"):
        EndpointPredictor(titles, asker(client, encoder, "chat", titles)).log_probabilities(ADS)


def test_more_children_than_one_request_may_name(
    server: OpenAIServer, client: CompletionsClient, encoder: PromptEncoder, model: Any
) -> None:
    layout = TrieLayout(LabelTrie([[token, encoder.end_id] for token in range(10, 400)]))
    prompt = encoder.prompts(ADS[:1])[0]
    predictor = EndpointPredictor([str(k) for k in range(390)], lambda _: TokenQuestions(client, "occ", layout, prompt))
    scores = predictor.log_probabilities(["x"])
    np.testing.assert_allclose(scores, label_log_probabilities(model, [prompt], layout, 0), atol=TOLERANCE)
    assert [len(body["logprob_token_ids"]) for _, body in server.requests] == [128, 128, 128, 6]


def test_requests_stay_within_the_limits(
    server: OpenAIServer, client: CompletionsClient, encoder: PromptEncoder
) -> None:
    codes = [f"{a}{b}{c}" for a in range(1, 10) for b in range(10) for c in range(3)]
    EndpointPredictor(codes, asker(client, encoder, "tokens", codes)).log_probabilities(ADS[:1])
    bodies = [body for _, body in server.requests]
    assert sum(len(body["prompt"]) for body in bodies) == 1 + 9 + 90
    assert max(len(body["prompt"]) for body in bodies) == 64
    assert len(bodies) == 4  # the root; its 9 children; 64 of their 90, and the rest


def test_ads_under_way_are_bounded(server: OpenAIServer, client: CompletionsClient, encoder: PromptEncoder) -> None:
    server.delay = 0.02
    EndpointPredictor(CODES, asker(client, encoder, "tokens", CODES), concurrency=2).log_probabilities(ADS * 2)
    assert server.most_at_once == 2


# --- a server that misunderstands


def test_a_server_that_ignores_the_tokens_named(
    server: OpenAIServer, client: CompletionsClient, encoder: PromptEncoder
) -> None:
    server.knows_token_ids = False
    with pytest.raises(DeployError, match=r"does not know `logprob_token_ids`.*--taxonomy"):
        EndpointPredictor(CODES, asker(client, encoder, "tokens", CODES)).log_probabilities(ADS)


def test_a_server_that_ignores_the_constraint(
    server: OpenAIServer, client: CompletionsClient, encoder: PromptEncoder
) -> None:
    server.honours_choice = False
    with pytest.raises(DeployError, match="does not honour `structured_outputs`"):
        EndpointPredictor(CODES, asker(client, encoder, "chat", CODES)).log_probabilities(ADS)


def test_more_ways_to_go_on_than_a_server_names(client: CompletionsClient, encoder: PromptEncoder) -> None:
    letters = [chr(code) for code in range(ord("a"), ord("z") + 1)]
    with pytest.raises(DeployError, match="not all: more than 20"):
        EndpointPredictor(letters, asker(client, encoder, "chat", letters)).log_probabilities(ADS[:1])


@pytest.mark.parametrize("way", ["tokens", "chat"])
@pytest.mark.parametrize(
    "raw", [b"<html>", b"[]", b'{"choices": []}', b'{"choices": [{"index": 0, "logprobs": null}]}']
)
def test_answers_of_another_shape(
    server: OpenAIServer, client: CompletionsClient, encoder: PromptEncoder, raw: bytes, way: str
) -> None:
    server.raw = raw
    with pytest.raises(DeployError, match="not as an OpenAI-compatible server does"):
        EndpointPredictor(CODES, asker(client, encoder, way, CODES)).log_probabilities(ADS)


# --- the client


def test_busy_servers_are_asked_again(server: OpenAIServer) -> None:
    server.failures = [(429, {"retry-after": "7"}), (503, {}), (502, {"retry-after": "soon"})]
    waits: list[float] = []
    with server.running() as url, CompletionsClient(url, pause=waits.append) as client:
        assert client.model(None) == "occ"
    assert [low <= wait <= 1.25 * low for wait, low in zip(waits, (7.0, 1.0, 2.0), strict=True)] == [True] * 3


def test_patience_ends(server: OpenAIServer) -> None:
    server.failures = [(503, {})] * 6
    lasting = pytest.raises(DeployError, match=r"no answer in 6 attempts \(last: HTTP 503\)")
    with server.running() as url, CompletionsClient(url, pause=lambda _: None) as client, lasting:
        client.model(None)
    assert len(server.requests) == 6
    with CompletionsClient(url, pause=lambda _: None) as client, pytest.raises(DeployError, match="ConnectError"):
        client.model(None)  # nobody listens there any more


def test_slow_answers_time_out(server: OpenAIServer) -> None:
    server.delay = 0.5
    slow = pytest.raises(DeployError, match="ReadTimeout")
    with server.running() as url, CompletionsClient(url, timeout=0.05, pause=lambda _: None) as client, slow:
        client.model(None)


def test_refusals_are_not_repeated(server: OpenAIServer, monkeypatch: pytest.MonkeyPatch) -> None:
    server.failures = [(400, {})]
    with server.running() as url:
        with (
            CompletionsClient(url, pause=lambda _: None) as client,
            pytest.raises(DeployError, match=r"HTTP 400.*busy"),
        ):
            client.model(None)
        assert len(server.requests) == 1
        server.key = "secret-key"
        with CompletionsClient(url) as client, pytest.raises(DeployError, match=KEY_VARIABLE):
            client.model(None)
        monkeypatch.setenv(KEY_VARIABLE, "secret-key")
        with CompletionsClient(f"{url}/v1/") as client:
            assert client.model("occ") == "occ"


def test_the_model_must_be_served(server: OpenAIServer) -> None:
    server.served = ["base", "occ"]
    with server.running() as url, CompletionsClient(url) as client:
        assert client.model("occ") == "occ"
        with pytest.raises(DeployError, match=r"more than one model.*--served-model one of: base, occ"):
            client.model(None)
        with pytest.raises(DeployError, match="no model 'other'"):
            client.model("other")


@pytest.mark.parametrize("url", ["127.0.0.1:8000", "ftp://host", "http://", "http://user:word@host"])
def test_addresses_that_are_none(url: str) -> None:
    with pytest.raises(ConfigError) as caught:
        CompletionsClient(url)
    assert "word" not in str(caught.value).replace("password", "")
