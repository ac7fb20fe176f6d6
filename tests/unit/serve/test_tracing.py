"""Spans: what they hold, and what never."""

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from starlette.testclient import TestClient

from jobtuner.errors import ConfigError
from jobtuner.serve.gateway import create_app
from jobtuner.serve.tracing import EXPORTER_VARIABLE, tracer_from_environment
from tests.unit.serve.fakes import KeywordClassifier


def test_a_span_says_what_the_log_line_says_and_holds_no_ad(classifier: KeywordClassifier) -> None:
    spans, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(spans))
    with TestClient(create_app(classifier, tracer=provider.get_tracer("test"))) as client:
        trace = "0af7651916cd43dd8448eb211c80319c"
        headers = {"traceparent": f"00-{trace}-b7ad6b7169203331-01", "X-Request-Id": "r-1"}
        body = {"ads": [{"text": "nurse Geheimwort", "id": "Geheimwort"}]}
        assert client.post("/v1/occupations", json=body, headers=headers).status_code == 200
        body["ads"][0]["text"] = "EXPLODE Geheimwort"
        assert client.post("/v1/occupations?q=Geheimwort", json=body).status_code == 500
        assert client.get("/Geheimwort").status_code == 404
    first, crash, nowhere = spans.get_finished_spans()
    assert (first.name, format(first.context.trace_id, "032x")) == ("POST /v1/occupations", trace)
    attributes = dict(first.attributes or {})
    assert attributes.pop("http.response.status_code") == 200
    assert attributes == {
        "http.request.method": "POST",
        "http.route": "/v1/occupations",
        "jobtuner.request_id": "r-1",
        "jobtuner.ads": 1,
    }
    assert (nowhere.name, crash.events) == ("GET other", ())
    assert "Geheimwort" not in "".join(span.to_json() for span in (first, crash, nowhere))


def test_the_environment_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    for value in ("", "none"):
        monkeypatch.setenv(EXPORTER_VARIABLE, value)
        assert tracer_from_environment() is None
    monkeypatch.setenv(EXPORTER_VARIABLE, "console")
    assert tracer_from_environment() is not None
    monkeypatch.setenv("OTEL_SDK_DISABLED", "true")
    assert tracer_from_environment() is None
    monkeypatch.delenv("OTEL_SDK_DISABLED")
    monkeypatch.setenv(EXPORTER_VARIABLE, "zipkin")
    with pytest.raises(ConfigError, match="console, otlp and none"):
        tracer_from_environment()
