import json
import logging
import math
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from starlette.testclient import TestClient

from jobtuner.serve.gateway import Settings, create_app
from tests.unit.serve.conftest import wait_until
from tests.unit.serve.fakes import TAXONOMY, KeywordClassifier

SECRET = "Zwölfboxkämpfer"  # a word of the ads that must turn up neither in errors nor in logs


def ask(client: TestClient, *texts: str, **more: Any) -> Any:
    return client.post("/v1/occupations", json={"ads": [{"text": text} for text in texts], **more})


def error_of(response: Any, status: int, kind: str) -> str:
    """The message of an error answer, after a check of its form."""
    assert response.status_code == status
    body = response.json()
    assert set(body) == {"error"}
    assert set(body["error"]) == {"type", "message", "request_id"}
    assert body["error"]["type"] == kind
    assert body["error"]["request_id"] == response.headers["x-request-id"]
    return str(body["error"]["message"])


def test_answers_in_order_with_titles_and_path(client: TestClient) -> None:
    ads = [
        {"text": "Krankenpfleger im Hospital", "language": "de", "id": "one"},
        {"text": "Cook for a small kitchen"},
    ]
    response = client.post("/v1/occupations", json={"ads": ads, "top_k": 2})
    assert response.status_code == 200
    body = response.json()
    assert body["model_version"] == "keywords/1"
    nurse, cook = body["results"]
    # Two words for the nurse against none: e^6 / (e^6 + 3).
    assert nurse["id"] == "one"
    assert (nurse["code"], nurse["title"]) == ("2221", "Krankenpfleger")
    assert nurse["probability"] == pytest.approx(math.exp(6) / (math.exp(6) + 3), abs=1e-6)
    assert [entry["code"] for entry in nurse["top"]] == ["2221", "2512"]  # the others tie: in the labels' order
    assert nurse["top"][0]["path"] == [
        {"code": "2", "title": "Professionals"},
        {"code": "22", "title": "22"},
        {"code": "222", "title": "222"},
    ]
    assert (cook["id"], cook["code"], cook["title"]) == (None, "5120", "Cooks")
    assert cook["top"][0]["path"][1] == {"code": "51", "title": "Personal service workers"}


def test_title_language_goes_before_the_ads_language(client: TestClient) -> None:
    ads = [{"text": "Koch", "language": "de"}, {"text": "truck driver", "language": "da"}]
    body = client.post("/v1/occupations", json={"ads": ads, "title_language": "da"}).json()
    assert [result["title"] for result in body["results"]] == ["Kokke", "Heavy truck drivers"]


def test_top_k_is_bounded_by_the_labels(client: TestClient) -> None:
    top = ask(client, "nurse", top_k=20).json()["results"][0]["top"]
    assert sorted(entry["code"] for entry in top) == sorted(TAXONOMY.labels)
    assert sum(entry["probability"] for entry in top) == pytest.approx(1.0, abs=1e-6)


def test_the_model_sees_tidy_text(client: TestClient, classifier: KeywordClassifier) -> None:
    assert ask(client, "  Ko\u0308ln\0\n\n\n\n nurse ").status_code == 200
    assert classifier.seen == ["Köln\n\nnurse"]


def test_limits_are_inclusive(client: TestClient) -> None:
    assert ask(client, *["nurse"] * 64).status_code == 200
    assert ask(client, *["nurse"] * 65).status_code == 422
    assert ask(client, "n" * 20_000).status_code == 200
    assert ask(client, "n" * 20_001).status_code == 422


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"ads": []}, "body.ads: "),
        ({}, "body.ads: Field required"),
        ([], "body: "),
        (None, "body: "),
        ({"ads": [{"text": ""}]}, "body.ads.0.text: "),
        ({"ads": [{"text": " \n\t"}]}, "holds no readable character"),
        ({"ads": [{"text": "\0\0"}]}, "holds no readable character"),
        ({"ads": [{"text": 7}]}, "body.ads.0.text: "),
        ({"ads": [{"text": None}]}, "body.ads.0.text: "),
        ({"ads": [{"text": [SECRET]}]}, "body.ads.0.text: "),
        ({"ads": {"text": SECRET}}, "body.ads: "),
        ({"ads": [SECRET]}, "body.ads.0: "),
        ({"ads": [{"text": SECRET, "id": 5}]}, "body.ads.0.id: "),
        ({"ads": [{"text": SECRET, "id": "x" * 129}]}, "body.ads.0.id: "),
        ({"ads": [{"text": SECRET, "language": "german"}]}, "body.ads.0.language: "),
        ({"ads": [{"text": SECRET, "language": "DE"}]}, "body.ads.0.language: "),
        ({"ads": [{"text": SECRET, "language": "de\n"}]}, "body.ads.0.language: "),
        ({"ads": [{"text": SECRET, "title": "x"}]}, "body.ads.0.title: "),
        ({"ads": [{"text": "nurse"}], "top_k": True}, "body.top_k: "),
        ({"ads": [{"text": "nurse"}], "top_k": 1.0}, "body.top_k: "),
        ({"ads": [{"text": "nurse"}], "top_k": "3"}, "body.top_k: "),
        ({"ads": [{"text": "nurse"}], "top_k": 0}, "body.top_k: "),
        ({"ads": [{"text": "nurse"}], "top_k": 21}, "body.top_k: "),
        ({"ads": [{"text": "nurse"}], "top_k": None}, "body.top_k: "),
        ({"ads": [{"text": "nurse"}], "topk": 3}, "body.topk: "),
        ({"ads": [{"text": "nurse"}], f"{SECRET} wanted": 3}, "body.(a key): "),
        (
            {"ads": [{"text": "nurse"}], SECRET: 1, "b": 2, "c": 3},
            "has 4 keys; accepted are ads, top_k, title_language",
        ),
        ({"ads": [{"text": "nurse"}], "title_language": "English"}, "body.title_language: "),
    ],
)
def test_wrong_bodies_are_422_and_not_echoed(
    client: TestClient, classifier: KeywordClassifier, body: object, said: str
) -> None:
    response = client.post("/v1/occupations", json=body)
    assert said in error_of(response, 422, "invalid_request")
    assert SECRET.casefold() not in response.text.casefold()
    assert classifier.seen == []


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"{",
        b'{"ads": [{"text": "Zw',
        b'{"ads": [{"text": "\xff\xfe"}]}',
        b'{"ads": [{"text": "\\ud800"}]}',
        b'{"ads": [{"text": "nurse"}], "top_k": NaN}',
        b'{"ads": [{"text": "nurse"}], "top_k": 1e999}',
        b'{"ads": [{"text": "nurse"}], "top_k": ' + b"9" * 5_000 + b"}",
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b"\x00",
        b"\x1f\x8b\x08\x00garbage",
        "Zwölfboxkämpfer".encode(),
    ],
    ids=range(13),
)
def test_unreadable_bodies_are_422(client: TestClient, raw: bytes) -> None:
    response = client.post("/v1/occupations", content=raw, headers={"Content-Type": "application/json"})
    error_of(response, 422, "invalid_request")


def test_another_content_type_is_422(client: TestClient) -> None:
    raw = b'{"ads": [{"text": "nurse"}]}'
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"):
        error_of(client.post("/v1/occupations", content=raw, headers={"Content-Type": kind}), 422, "invalid_request")


def test_many_faults_give_a_short_answer(client: TestClient) -> None:
    response = client.post("/v1/occupations", json={"ads": [{"text": index} for index in range(64)]})
    assert error_of(response, 422, "invalid_request").endswith("and 59 more")


def test_a_body_over_the_limit_is_413(classifier: KeywordClassifier) -> None:
    with TestClient(create_app(classifier, settings=Settings(max_body_bytes=1000))) as client:
        assert ask(client, "n" * 900).status_code == 200
        assert "1000 bytes" in error_of(ask(client, "n" * 1000), 413, "too_large")

        def chunks() -> Any:  # no Content-Length: only counting helps
            yield b'{"ads": [{"text": "'
            for _ in range(50):
                yield b"n" * 100
            yield b'"}]}'

        response = client.post("/v1/occupations", content=chunks(), headers={"Content-Type": "application/json"})
        error_of(response, 413, "too_large")
        huge = {"Content-Type": "application/json", "Content-Length": "9" * 5000}
        error_of(client.post("/v1/occupations", content=b"{}", headers=huge), 413, "too_large")


def test_the_largest_legal_body_fits_the_default_limit(client: TestClient) -> None:
    raw = json.dumps({"ads": [{"text": "Ж" * 20_000, "id": "Ж" * 128}] * 64})  # escaped: six bytes a letter
    assert len(raw) > 7_600_000
    response = client.post("/v1/occupations", content=raw, headers={"Content-Type": "application/json"})
    assert response.status_code == 200


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/docs",
        "/redoc",
        "/metrics/all",
        "/v1",
        "/v1/occupations/",
        "/v1/chat/completions",
        "/invocations",
        "/ready/x",
        "//",
    ],
)
def test_everything_else_is_404(client: TestClient, path: str) -> None:
    for method in ("GET", "POST"):
        error_of(client.request(method, path), 404, "not_found")


def test_another_method_is_405(client: TestClient) -> None:
    for method, path in (("GET", "/v1/occupations"), ("DELETE", "/v1/models"), ("POST", "/health")):
        response = client.request(method, path)
        error_of(response, 405, "method_not_allowed")
        assert response.headers["allow"]


def test_models_in_the_openai_form(client: TestClient) -> None:
    body = client.get("/v1/models").json()
    assert body["object"] == "list"
    (card,) = body["data"]
    assert (card["id"], card["object"], card["owned_by"]) == ("keywords/1", "model", "jobtuner")
    assert isinstance(card["created"], int)
    assert card["taxonomy_version"] == TAXONOMY.version


def test_openapi_documents_request_answers_and_errors(client: TestClient) -> None:
    document = client.get("/openapi.json").json()
    assert set(document["paths"]) == {"/v1/occupations", "/v1/models", "/health", "/ready"}
    operation = document["paths"]["/v1/occupations"]["post"]
    assert set(operation["responses"]) == {"200", "408", "413", "422", "429", "500", "503", "504"}
    for status in ("422", "500"):
        schema = operation["responses"][status]["content"]["application/json"]["schema"]
        assert schema == {"$ref": "#/components/schemas/ErrorBody"}
    assert document["components"]["schemas"]["OccupationsRequest"]["additionalProperties"] is False


@pytest.mark.parametrize("word", ["NAN", "INF", "SHORT", "WIDE", "LOUD", "EXPLODE"])
def test_a_broken_answer_is_a_bare_500(
    client: TestClient, classifier: KeywordClassifier, caplog: pytest.LogCaptureFixture, word: str
) -> None:
    with caplog.at_level(logging.INFO, logger="jobtuner.serve"):
        response = ask(client, f"nurse {SECRET} {word}")
    message = error_of(response, 500, "internal")
    assert "Traceback" not in message
    assert SECRET not in response.text
    crash = next(record for record in caplog.records if record.getMessage() == "crash")
    fields = crash.__dict__["fields"]
    assert fields["request_id"] == response.headers["x-request-id"]
    assert fields["error"] in {"ModelError", "RuntimeError"}
    assert SECRET not in str([record.__dict__ for record in caplog.records if record is not crash])
    assert SECRET not in str(fields)
    # One bad ad does not take the endpoint out of service: the probe is answered.
    wait_until(lambda: client.get("/ready").status_code == 200)
    assert ask(client, "nurse").status_code == 200


def test_ready_follows_the_model(classifier: KeywordClassifier) -> None:
    classifier.closed.clear()
    with TestClient(create_app(classifier)) as client:
        assert client.get("/health").json() == {"status": "alive"}
        response = client.get("/ready")
        error_of(response, 503, "not_ready")
        assert response.headers["retry-after"] == "1"
        classifier.closed.set()
        wait_until(lambda: client.get("/ready").status_code == 200)
        classifier.broken = True
        assert ask(client, "nurse").status_code == 500
        wait_until(lambda: client.get("/ready").status_code == 503)
        assert client.get("/health").status_code == 200
        classifier.broken = False
        wait_until(lambda: client.get("/ready").status_code == 200)


@pytest.mark.parametrize("given_id", ["abc-123", "A.b_c-9" * 9])
def test_a_sane_request_id_is_kept(client: TestClient, given_id: str) -> None:
    assert client.get("/health", headers={"X-Request-Id": given_id}).headers.get_list("x-request-id") == [given_id]


@pytest.mark.parametrize("given_id", ["", " ", "a b", "x" * 65, 'a"b', "ä", "{jndi}", "a\tb"])
def test_another_request_id_is_replaced(client: TestClient, given_id: str) -> None:
    header = [(b"X-Request-Id", given_id.encode())]
    (answered,) = client.get("/v1/nothing", headers=header).headers.get_list("x-request-id")
    assert answered != given_id
    assert len(answered) == 32


def test_one_log_line_a_request_without_its_content(client: TestClient, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="jobtuner.serve"):
        ask(client, f"nurse {SECRET}", "cook")
        client.get(f"/v1/{SECRET}?q={SECRET}")
        client.get("/health")
    lines = [record.__dict__["fields"] for record in caplog.records if record.getMessage() == "request"]
    assert [(line["method"], line["path"], line["status"], line.get("ads")) for line in lines] == [
        ("POST", "/v1/occupations", 200, 2),
        ("GET", "other", 404, None),
    ]
    assert all(line["seconds"] >= 0 and line["request_id"] for line in lines)
    logged = str([record.__dict__ for record in caplog.records if record.name == "jobtuner.serve"])
    assert SECRET not in logged


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=30),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=12,
)
AD = st.fixed_dictionaries(
    {}, optional={"text": st.text(max_size=60) | JSON, "language": st.sampled_from(["de", "xx"]) | JSON, "id": JSON}
)
BODY = JSON | st.fixed_dictionaries(
    {},
    optional={
        "ads": st.lists(AD | JSON, max_size=5) | JSON,
        "top_k": st.integers(-2, 25) | JSON,
        "title_language": JSON,
    },
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(body=BODY)
def test_any_json_body_is_answered_or_refused(client: TestClient, body: object) -> None:
    raw = json.dumps(body).encode()
    response = client.post("/v1/occupations", content=raw, headers={"Content-Type": "application/json"})
    assert response.status_code in {200, 422}
    if response.status_code == 200:
        for result in response.json()["results"]:
            assert result["code"] in TAXONOMY.labels
            assert 0.0 <= result["probability"] <= 1.0


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(raw=st.binary(max_size=200))
def test_any_bytes_are_refused(client: TestClient, raw: bytes) -> None:
    response = client.post("/v1/occupations", content=raw, headers={"Content-Type": "application/json"})
    assert response.status_code == 422
