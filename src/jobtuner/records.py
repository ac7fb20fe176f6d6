"""The nouns that flow through the stages, and their JSONL form."""

import gzip
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from functools import cache
from pathlib import Path
from typing import Any, Literal, Self, TextIO, cast

from jobtuner.errors import ContractError

__all__ = [
    "UNKNOWN_LANGUAGE",
    "ChatAnswer",
    "ChatExample",
    "Example",
    "JobAd",
    "Message",
    "Prediction",
    "harmless_cell",
    "read_jsonl",
    "write_jsonl",
]

UNKNOWN_LANGUAGE = "und"
"""ISO 639-2 code for "undetermined"."""

Message = dict[str, str]
"""One chat turn: {"role": "system" | "user" | "assistant", "content": text}."""


class _Record:
    """JSON form of a frozen dataclass: one object a line, unknown keys refused."""

    def to_json(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self._names()}

    @classmethod
    @cache
    def _names(cls) -> tuple[str, ...]:
        return tuple(item.name for item in fields(cls))  # type: ignore[arg-type]  # every subclass is a dataclass

    @classmethod
    def from_json(cls, row: Mapping[str, Any]) -> Self:
        names = cls._names()
        unknown = set(row).difference(names)
        if unknown:
            raise ContractError(f"{cls.__name__} has no field {sorted(unknown)}; its fields are {sorted(names)}.")
        return cls(**row)


@dataclass(frozen=True, slots=True)
class JobAd(_Record):
    """One job ad or job title as it came from a source."""

    id: str
    """Unique within a data set; the source's own id, or its file and row."""
    text: str
    label: str | None
    """Occupation code in the taxonomy, or None where the source has no label."""
    language: str = UNKNOWN_LANGUAGE
    """ISO 639-1 code, or UNKNOWN_LANGUAGE."""
    group: str | None = None
    """Rows with the same group (an employer's re-posts, translations of one ad) never cross a split."""
    employer: str | None = None
    title: str | None = None
    """The job title, where the source has it apart from the text."""
    date: str | None = None
    """When the ad was posted: ISO 8601, "2026-01-31"."""
    translation_of: str | None = None
    """Id of the ad that this one is a translation of."""
    source: str | None = None
    """Where the row came from, where the input says it: a job board, a country, a data set."""


@dataclass(frozen=True, slots=True)
class Example(_Record):
    """One labelled, cleaned ad in its final split. The chat form is made of it by `jobtuner.tasks` alone."""

    id: str
    text: str
    label: str
    language: str
    cluster: str
    """Id of the near-duplicate cluster: all its members are in the same split."""
    accepted: list[str] = field(default_factory=list)
    """Other codes that are right, too. Training takes `label` alone; an answer may be any of them."""
    source: str = ""
    """Where the row came from, where the input says it: results are sliced by it."""

    def to_json(self) -> dict[str, Any]:
        """Without the optional fields that are empty."""
        row = _Record.to_json(self)
        return {name: value for name, value in row.items() if value or name not in {"accepted", "source"}}


@dataclass(frozen=True, slots=True)
class Prediction(_Record):
    """A model's answer for one example."""

    id: str
    label: str
    """The right code."""
    language: str
    predicted: str
    probability: float
    """Probability of `predicted`, calibrated, in [0, 1]."""
    top: list[tuple[str, float]]
    """The likeliest codes with their probabilities, best first."""
    rank: int
    """Place of the right code among all labels, 1 = best; of several right ones, of the likeliest."""
    accepted: list[str] = field(default_factory=list)
    """As in `Example`."""

    def to_json(self) -> dict[str, Any]:
        """Without `accepted` where there are none."""
        return {name: value for name, value in _Record.to_json(self).items() if value or name != "accepted"}

    @property
    def counted(self) -> str:
        """The code that the answer counts as: another right code than `label` counts as `label`."""
        return self.label if self.predicted in self.accepted else self.predicted


@dataclass(frozen=True, slots=True)
class ChatExample(_Record):
    """One example of a task that answers in text, cleaned and in its final split."""

    id: str
    text: str
    """The ad; of a conversation the user's last turn."""
    facts: dict[str, Any]
    """skills: {"spans": [[start, end], …]}, and "links": [id or name, …] where there are gold concepts; cover_letter:
    {"applicant": {…}}; instruct: {"before": earlier turns}."""
    answer: str
    """The right answer, as the assistant is to write it."""
    language: str
    cluster: str
    """As in `Example`."""


@dataclass(frozen=True, slots=True)
class ChatAnswer(_Record):
    """A model's answer in text to one example, and what it is worth."""

    id: str
    language: str
    cluster: str
    answer: str
    scores: dict[str, float]
    """Numbers of this one answer; what they are the task's metrics say."""


def _open(path: Path, mode: Literal["r", "w"]) -> TextIO:
    if path.suffix == ".gz":
        return cast("TextIO", gzip.open(path, f"{mode}t", encoding="utf-8"))
    return cast("TextIO", path.open(mode, encoding="utf-8"))


_encode = json.JSONEncoder(ensure_ascii=False).encode  # `json.dumps` would make a new encoder for every row


def write_jsonl(path: Path, rows: Iterable[_Record | Mapping[str, Any]]) -> int:
    """Write records or mappings, one JSON object a line (gzip where the name ends in .gz); return their number."""
    count = 0
    with _open(path, "w") as stream:
        for row in rows:
            data = row.to_json() if isinstance(row, _Record) else dict(row)
            stream.write(_encode(data) + "\n")
            count += 1
    return count


_FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""A spreadsheet takes a cell that begins so as a formula, which may call programs and send data (CWE-1236)."""


def harmless_cell(value: Any) -> Any:
    """A value for a CSV cell: text that a spreadsheet would take as a formula gets an apostrophe before it."""
    return f"'{value}" if isinstance(value, str) and value.lstrip(" \u00a0").startswith(_FORMULA) else value


def read_jsonl(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the objects of a file that JobTuner itself wrote.

    Raises:
        ContractError: a line is not a JSON object (the file was cut or edited).
    """
    with _open(path, "r") as stream:
        for number, line in enumerate(stream, start=1):
            try:
                row = json.loads(line)
            except ValueError as error:
                raise ContractError(
                    f"{path}, line {number}: not JSON ({error}). Run the stage that wrote it again."
                ) from error
            if not isinstance(row, dict):
                raise ContractError(f"{path}, line {number}: a {type(row).__name__} where a JSON object belongs.")
            yield row
