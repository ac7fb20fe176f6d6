"""What the gateway counts, in Prometheus' form. Names are stable: dashboards and alerts are written against them.

Labels hold paths of the interface, statuses, key names and groups of the taxonomy: nothing that a client writes.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from prometheus_client.registry import Collector

    from jobtuner.serve.backend import Classifier
    from jobtuner.serve.schemas import OccupationResult

__all__ = ["Metrics"]

# Seconds. A title takes milliseconds on a GPU; 64 long ads on two cores take a minute.
_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
_UNIT_GROUP = 4  # digits: 436 groups in ISCO-08, where ESCO has 3,007 codes below them
_PROBABILITY = tuple(tenth / 10 for tenth in range(1, 11))


class Metrics:
    """Counters of one application.

    Args:
        classifier: gives the model's name and fingerprint.
    """

    def __init__(self, classifier: "Classifier") -> None:
        from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

        self._registry = registry = CollectorRegistry()
        self._requests = Counter(
            "jobtuner_requests", "Requests answered.", ("path", "status", "key"), registry=registry
        )
        self._seconds = Histogram(
            "jobtuner_request_seconds", "Time to the end of the answer.", ("path",), buckets=_SECONDS, registry=registry
        )
        self._open = Gauge("jobtuner_requests_open", "Requests under way.", registry=registry)
        self._ads = Counter("jobtuner_ads", "Ads classified.", registry=registry)
        self._groups = Counter(
            "jobtuner_predictions", "Answers by top group of the taxonomy.", ("group",), registry=registry
        )
        self._labels = Counter(
            "jobtuner_labels", "Answers by unit group: a code's first four digits.", ("code",), registry=registry
        )
        self._by = Counter("jobtuner_answers", "Answers by who gave them.", ("by",), registry=registry)
        for by in ("model", "baseline"):
            self._by.labels(by)
        self._abstained = Counter("jobtuner_abstentions", "Answers below the abstention threshold.", registry=registry)
        self._orders = Counter(
            "jobtuner_orders",
            "Passages of ads left out because they spoke to the machine.",
            ("path",),
            registry=registry,
        )
        self._unobserved = Counter(
            "jobtuner_unobserved", "Answers that an observer did not take in.", ("reason",), registry=registry
        )
        self._probability = Histogram(
            "jobtuner_probability", "Probability of the answered code.", buckets=_PROBABILITY, registry=registry
        )
        self._ready = Gauge("jobtuner_ready", "1 while the model answers its probe.", registry=registry)
        model = Gauge(
            "jobtuner_model_info", "The served model; always 1.", ("version", "fingerprint"), registry=registry
        )
        model.labels(classifier.model_version, classifier.fingerprint).set(1)

    def opened(self) -> None:
        """A request came in."""
        self._open.inc()

    def closed(self, path: str, status: int, seconds: float, key: str) -> None:
        """It was answered, or broken off (status 0)."""
        self._open.dec()
        self._requests.labels(path, str(status), key).inc()
        self._seconds.labels(path).observe(seconds)

    def answered(self, results: "Sequence[OccupationResult]") -> None:
        """Ads were classified."""
        for result in results:
            self._ads.inc()
            self._groups.labels(result.code[:1]).inc()
            self._labels.labels(result.code[:_UNIT_GROUP]).inc()
            self._by.labels(result.answered_by).inc()
            self._abstained.inc(result.abstain)
            self._probability.observe(result.probability)

    def left_out(self, path: str, orders: int) -> None:
        """Passages of an ad were kept from a model."""
        if orders:
            self._orders.labels(path).inc(orders)

    def unobserved(self, reason: str) -> None:
        """An observer missed an answer."""
        self._unobserved.labels(reason).inc()

    def include(self, collector: "Collector") -> None:
        """Show what another part of the endpoint counts, too."""
        self._registry.register(collector)

    def text(self, ready: bool) -> bytes:
        """Everything, in Prometheus' text format."""
        from prometheus_client import generate_latest

        self._ready.set(ready)
        return generate_latest(self._registry)
