"""Answers for the tests of the log, and of what reads it."""

from datetime import UTC, datetime, timedelta

from jobtuner.prediction_log.rows import Answer

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)


def answer(number: int = 0, *, request: str = "r1", **changes: object) -> Answer:
    fields: dict[str, object] = {
        "request_id": request,
        "number": number,
        "ad_id": None,
        "text": f"Nurse wanted for ward {number}. Call 030 1234567.",
        "language": "en",
        "label": "2221",
        "probability": 0.75,
        "top": [("2221", 0.75), ("2222", 0.25)],
        "model_version": "m1",
        "answered_by": "model",
        "abstained": False,
        "time": NOON + timedelta(seconds=number),
    }
    return Answer(**(fields | changes))  # type: ignore[arg-type]
