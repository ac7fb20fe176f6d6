"""Alerts, dashboards and the scaler ask for what is exported, and for no more."""

import json
import re
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from jobtuner.monitor.decision import Decision, Memory
from jobtuner.monitor.drift import Drift, Finding
from jobtuner.monitor.metrics import exposition
from jobtuner.monitor.quality import Quality
from jobtuner.prediction_log.store import FINDINGS, LogStore
from jobtuner.prediction_log.writer import PredictionLog
from jobtuner.serve import gateway
from jobtuner.serve.metrics import Metrics
from jobtuner.serve.recorder import Recorder
from jobtuner.serve.schemas import OccupationResult
from jobtuner.statistics import Interval
from manifests.check import ROOT
from tests.unit.serve.conftest import wait_until
from tests.unit.serve.fakes import KeywordClassifier

_EXPORTED = {  # vLLM, MinIO, kube-state-metrics, Prometheus; histograms and counters as they appear on the wire
    "vllm:num_requests_running",
    "vllm:num_requests_waiting",
    "vllm:kv_cache_usage_perc",
    "vllm:time_to_first_token_seconds_bucket",
    "vllm:e2e_request_latency_seconds_bucket",
    "vllm:prompt_tokens_total",
    "vllm:generation_tokens_total",
    "vllm:request_success_total",
    "minio_cluster_capacity_usable_free_bytes",
    "minio_cluster_capacity_usable_total_bytes",
    "kube_deployment_status_replicas_available",
    "kube_deployment_spec_replicas",
    "kube_statefulset_status_replicas_ready",
    "kube_statefulset_replicas",
    "kube_pod_status_phase",
    "kube_pod_container_resource_requests",
    "kube_node_status_allocatable",
}


def _gateway_metrics() -> dict[str, set[str]]:
    """Name of each metric that the gateway exports, on the wire, with its labels: from the code that serves them."""
    metrics = Metrics(KeywordClassifier())
    metrics.opened()
    metrics.closed("/v1/occupations", 200, 0.1, "jobs-site")
    answer = OccupationResult(
        id=None, code="2221", title="Nurses", probability=0.9, answered_by="model", abstain=False, orders=0, top=[]
    )
    metrics.answered([answer])
    findings = exposition(*_look(), datetime.now(UTC), datetime.now(UTC), 0.9)
    with tempfile.TemporaryDirectory() as folder:
        LogStore(folder).put(findings, FINDINGS)
        recorder = Recorder(PredictionLog(folder), folder)
        metrics.include(recorder)
        wait_until(lambda: b"jobtuner_drift" in metrics.text(ready=True))
        text = metrics.text(ready=True).decode()
        recorder.close()
    found: dict[str, set[str]] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            found.setdefault(sample.name, set()).update(sample.labels)
    return found


def _look() -> tuple[Drift, Quality, Decision]:
    """What a look may find, with every gauge filled."""
    finding = Finding("all", "wording", 0.3, 0.1, 3.0, 250)
    drift = Drift(300, 300, 250, 100, [finding], 0.1, 0.6, [], [])
    half = Interval(0.5, 0.4, 0.6)
    return drift, Quality(100, 0, 0, half, half, half, [], []), Decision("ask", ["drift"], Memory())


def _asked(find: Callable[..., dict[str, Any]]) -> list[str]:
    """What alerts, dashboard and scaler ask Prometheus for."""
    rules = find("PrometheusRule", "jobtuner")
    dashboards = [json.loads(text) for text in find("ConfigMap", "jobtuner-dashboard")["data"].values()]
    triggers = find("ScaledObject", "jobtuner-llm", "prod")["spec"]["triggers"]
    return [
        *(rule["expr"] for group in rules["spec"]["groups"] for rule in group["rules"]),
        *(target["expr"] for board in dashboards for panel in board["panels"] for target in panel["targets"]),
        *(trigger["metadata"]["query"] for trigger in triggers),
    ]


def test_nothing_asks_for_a_metric_that_nobody_exports(find: Callable[..., dict[str, Any]]) -> None:
    asked = _asked(find)
    names = {name for expr in asked for name in re.findall(r"\b(?:vllm:|minio_|kube_|jobtuner_)[a-z0-9_]+", expr)}
    assert len(asked) > 60
    assert len(names & set(_gateway_metrics())) >= 5
    assert names <= _EXPORTED | set(_gateway_metrics())


def test_the_gateways_metrics_have_the_labels_that_are_asked_for(find: Callable[..., dict[str, Any]]) -> None:
    exported = _gateway_metrics()
    scraped = {"namespace", "pod", "job"}  # Prometheus adds them to whatever it reads
    seen = 0
    for expr in _asked(find):
        for name, selectors in re.findall(r"\b(jobtuner_[a-z_]+)\{([^}]*)\}", expr):
            labels = set(re.findall(r"([a-z_]+)(?:=|!=|=~)\"", selectors))
            labels |= {label.strip() for group in re.findall(r"by \(([a-z, ]+)\)", expr) for label in group.split(",")}
            assert labels <= exported[name] | scraped, expr
            seen += 1
    assert seen >= 40


def test_the_gateways_alerts_ask_for_paths_that_it_has(find: Callable[..., dict[str, Any]]) -> None:
    """A path that is not served would be logged as "other", and its alert would never fire."""
    paths = {path for expr in _asked(find) for path in re.findall(r'path="([^"]+)"', expr)}
    assert paths and paths <= gateway.known_paths(gateway.create_app(KeywordClassifier()))


def test_every_alert_has_a_section_in_the_runbook(find: Callable[..., dict[str, Any]]) -> None:
    alerts = [rule for group in find("PrometheusRule", "jobtuner")["spec"]["groups"] for rule in group["rules"]]
    text = (ROOT.parent / "docs" / "runbook.md").read_text(encoding="utf-8")
    assert sorted(rule["alert"] for rule in alerts) == sorted(re.findall(r"^## (\w+)$", text, re.MULTILINE))
    for rule in alerts:
        assert rule["annotations"]["runbook"] == f"docs/runbook.md#{rule['alert'].lower()}"


def test_the_gateways_metrics_are_scraped(find: Callable[..., dict[str, Any]]) -> None:
    monitor, service = find("ServiceMonitor", "jobtuner-gateway")["spec"], find("Service", "jobtuner-gateway")
    assert monitor["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
    (endpoint,) = monitor["endpoints"]
    assert endpoint["path"] == "/metrics"
    assert endpoint["port"] in {port["name"] for port in service["spec"]["ports"]}


def test_the_dashboards_price_is_the_one_that_terraform_counts_with(find: Callable[..., dict[str, Any]]) -> None:
    board = json.loads(find("ConfigMap", "jobtuner-dashboard")["data"]["cost.json"])
    (price,) = [item for item in board["templating"]["list"] if item["name"] == "price"]
    known = json.loads((ROOT.parent / "terraform" / "prices.json").read_text(encoding="utf-8"))["per_hour"]
    assert float(price["query"]) == known["g2-standard-8"]
    assert any("$price" in target["expr"] for panel in board["panels"] for target in panel["targets"])
