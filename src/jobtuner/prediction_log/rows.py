"""One row of the prediction log, and the table that rows become."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from jobtuner.personal_data import mask_personal_data
from jobtuner.prediction_log.sketch import DIMENSIONS, Vocabulary, sketch
from jobtuner.records import UNKNOWN_LANGUAGE

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["Answer", "schema", "to_table"]

_TOP = 10  # candidates that are kept of an answer


@dataclass(frozen=True, slots=True)
class Answer:
    """What the gateway answered for one ad."""

    request_id: str
    number: int
    """Place of the ad in its request, from 0."""
    ad_id: str | None
    """The client's own id of the ad."""
    text: str
    """The ad as the model saw it; only measures of it are written, unless the log keeps texts."""
    language: str | None
    """ISO 639-1 code, None where the client does not say it."""
    label: str
    probability: float
    """Calibrated probability of `label`, in [0, 1]."""
    top: Sequence[tuple[str, float]]
    """The likeliest codes with their probabilities, best first."""
    model_version: str
    answered_by: str
    """Which model answered: "model", "baseline"."""
    abstained: bool
    """Whether the answer was too unsure to be given as one."""
    time: datetime
    """Of the answer, with its time zone."""

    @property
    def id(self) -> str:
        """The name under which a correction can be joined: the client's, or else request and place."""
        return self.ad_id if self.ad_id is not None else f"{self.request_id}/{self.number}"


def schema() -> "pa.Schema":
    """Columns of the log, in order."""
    import pyarrow as pa

    candidate = pa.struct([("code", pa.string()), ("probability", pa.float32())])
    return pa.schema(
        [
            ("id", pa.string()),
            ("request_id", pa.string()),
            ("time", pa.timestamp("ms", tz="UTC")),
            ("language", pa.string()),
            ("label", pa.string()),
            ("probability", pa.float32()),
            ("top", pa.list_(candidate)),
            ("characters", pa.int32()),
            ("words", pa.int32()),
            ("unknown_words", pa.float32()),
            ("sketch", pa.list_(pa.float32(), DIMENSIONS)),
            ("model_version", pa.string()),
            ("answered_by", pa.string()),
            ("abstained", pa.bool_()),
            ("text", pa.string()),
        ]
    )


def to_table(answers: Sequence[Answer], vocabulary: Vocabulary | None, keep_text: bool) -> "pa.Table":
    """The rows in the log's columns.

    Args:
        answers: the answers.
        vocabulary: words of the training; None leaves `unknown_words` empty.
        keep_text: write the ad's text too, with personal data masked.
    """
    import pyarrow as pa

    texts = [answer.text for answer in answers]
    flat = pa.array(sketch(texts).ravel(), type=pa.float32())
    columns: dict[str, Any] = {
        "id": [_sane(answer.id) for answer in answers],
        "request_id": [_sane(answer.request_id) for answer in answers],
        "time": [answer.time for answer in answers],
        "language": [_sane(answer.language or UNKNOWN_LANGUAGE) for answer in answers],
        "label": [answer.label for answer in answers],
        "probability": [answer.probability for answer in answers],
        "top": [[{"code": code, "probability": value} for code, value in answer.top[:_TOP]] for answer in answers],
        "characters": [len(text) for text in texts],
        "words": [len(text.split()) for text in texts],
        "unknown_words": [None if vocabulary is None else vocabulary.unknown_share(text) for text in texts],
        "sketch": pa.FixedSizeListArray.from_arrays(flat, DIMENSIONS),
        "model_version": [answer.model_version for answer in answers],
        "answered_by": [answer.answered_by for answer in answers],
        "abstained": [answer.abstained for answer in answers],
        "text": [_sane(mask_personal_data(text)[0]) if keep_text else None for text in texts],
    }
    return pa.table(columns, schema=schema())


def _sane(text: str) -> str:
    """The text without lone surrogates, which have no form in UTF-8."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
