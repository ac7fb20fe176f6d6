"""What a look found, in Prometheus' text format. Names are stable: dashboards and alerts are written against them.

The file goes beside the log, where the gateway takes it up and shows it under /metrics; a node exporter's textfile
collector reads it too.
"""

from datetime import datetime

from jobtuner.monitor.decision import Action, Decision
from jobtuner.monitor.drift import Drift
from jobtuner.monitor.quality import Quality

__all__ = ["exposition"]

_ACTIONS: tuple[Action, ...] = ("none", "watch", "wait", "ask", "retrain")


def exposition(
    drift: Drift,
    quality: Quality,
    decision: Decision,
    looked: datetime,
    made: datetime | None,
    reference_accuracy: float | None,
) -> bytes:
    """All gauges of one look.

    Args:
        drift: of the window.
        quality: of the corrected answers.
        decision: taken on both.
        looked: when the look ended.
        made: when the reference was made; None: not known.
        reference_accuracy: of the model when it was evaluated; None: not known.
    """
    from prometheus_client import CollectorRegistry, Gauge, generate_latest

    registry = CollectorRegistry()

    def gauge(name: str, text: str, *labels: str) -> Gauge:
        return Gauge(f"jobtuner_{name}", text, labels, registry=registry)

    gauge("monitor_timestamp_seconds", "Unix time of the last look.").set(looked.timestamp())
    gauge("monitor_window_answers", "Answers in the window.").set(drift.rows)
    if drift.drifted is not None:
        gauge("drift", "1 where the window drifted.").set(drift.drifted)
    scores = gauge("drift_score", "Distance from the reference by its threshold; above 1 is drift.", "scope", "test")
    for item in drift.findings:
        scores.labels(item.scope, item.test).set(item.score)
    gauge("quality_answers", "Corrected answers, picked blindly.").set(quality.rows)
    named = {"accuracy": quality.accuracy, "macro_f1": quality.macro_f1, "calibration_error": quality.calibration_error}
    values = gauge("quality", "Quality of the corrected answers.", "metric", "bound")
    for name, found in named.items():
        if found is not None:
            for bound in ("estimate", "low", "high"):
                values.labels(name, bound).set(getattr(found, bound))
    actions = gauge("retraining", "1 for the action that the last look decided on.", "action")
    for action in _ACTIONS:
        actions.labels(action).set(action == decision.action)
    if made is not None:
        gauge("reference_timestamp_seconds", "Unix time at which the model's reference was made.").set(made.timestamp())
    if reference_accuracy is not None:
        gauge("reference_accuracy", "Accuracy of the model when it was evaluated.").set(reference_accuracy)
    return generate_latest(registry)
