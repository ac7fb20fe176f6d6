"""What /metrics counts. Dashboards and alerts are written against these names."""

from prometheus_client.parser import text_string_to_metric_families
from starlette.testclient import TestClient

from tests.unit.serve.fakes import KeywordClassifier


def samples(client: TestClient) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    response = client.get("/metrics")
    assert response.headers["content-type"].startswith("text/plain; version=0.0.4")
    families = text_string_to_metric_families(response.text)
    return {(s.name, tuple(sorted(s.labels.items()))): s.value for family in families for s in family.samples}


def test_requests_answers_and_states_are_counted(client: TestClient, classifier: KeywordClassifier) -> None:
    client.post("/v1/occupations", json={"ads": [{"text": "nurse hospital"}, {"text": "cook"}]})
    client.post("/v1/occupations", json={"ads": []})
    client.get("/etc/passwd")
    found = samples(client)
    path = ("path", "/v1/occupations")
    assert found["jobtuner_requests_total", (("key", ""), path, ("status", "200"))] == 1
    assert found["jobtuner_requests_total", (("key", ""), path, ("status", "422"))] == 1
    assert found["jobtuner_requests_total", (("key", ""), ("path", "other"), ("status", "404"))] == 1
    assert found["jobtuner_request_seconds_count", (path,)] == 2
    assert found["jobtuner_ads_total", ()] == 2
    assert found["jobtuner_predictions_total", (("group", "2"),)] == 1
    assert found["jobtuner_predictions_total", (("group", "5"),)] == 1
    assert found["jobtuner_probability_count", ()] == 2
    assert found["jobtuner_ready", ()] == 1
    assert found["jobtuner_requests_open", ()] == 1, "the scrape itself"
    assert found["jobtuner_model_info", (("fingerprint", "f" * 64), ("version", "keywords/1"))] == 1
    assert "passwd" not in client.get("/metrics").text
    assert "nurse" not in client.get("/metrics").text


def test_a_crash_is_counted_and_leaves_nothing_open(client: TestClient, classifier: KeywordClassifier) -> None:
    assert client.post("/v1/occupations", json={"ads": [{"text": "EXPLODE"}]}).status_code == 500
    found = samples(client)
    assert found["jobtuner_requests_total", (("key", ""), ("path", "/v1/occupations"), ("status", "500"))] == 1
    assert found["jobtuner_requests_open", ()] == 1
    assert ("jobtuner_ads_total", ()) not in found or found["jobtuner_ads_total", ()] == 0
