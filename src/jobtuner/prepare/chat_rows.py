"""Rows of a file as examples of a task that answers in text.

A row that cannot be used becomes a `Rejected` with its reason; a file that cannot be used is a `DataError`.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from jobtuner.config import Config
from jobtuner.errors import DataError
from jobtuner.prepare.chat_sets import convert
from jobtuner.prepare.sources import Rejected, located_rows
from jobtuner.records import UNKNOWN_LANGUAGE
from jobtuner.tasks import Applicant, InstructTask
from jobtuner.tasks.skills import occurrences

__all__ = ["ChatRow", "Span", "outermost", "read_chat_rows", "spans_of"]

_TAGS = frozenset("BIO")

Span = tuple[int, int]
"""Characters before the first and behind the last of a piece of text."""


@dataclass(frozen=True, slots=True)
class ChatRow:
    """One row, not cleaned yet."""

    id: str
    text: str
    facts: dict[str, Any]
    """As in `records.ChatExample`, without the spans."""
    answer: str = ""
    """The right answer; empty where it is made of the rest."""
    skills: tuple[str, ...] = ()
    """skills: phrases of the text."""
    spans: tuple[Span, ...] | None = None
    """skills: where they stand in the text as it is; None: wherever the phrases occur."""
    links: tuple[str, ...] | None = None
    """skills: gold concepts, by id or name; None: the rows have no column for them."""
    language: str = UNKNOWN_LANGUAGE
    group: str | None = None


@dataclass
class _Merged:
    """Rows of one text with one skill each."""

    first: ChatRow
    skills: list[str] = field(default_factory=list)
    links: list[str] = field(default_factory=list)

    def add(self, row: ChatRow) -> None:
        self.skills += row.skills
        self.links += row.links or ()

    def row(self) -> ChatRow:
        links = None if self.first.links is None else tuple(dict.fromkeys(self.links))
        return replace(self.first, skills=tuple(dict.fromkeys(self.skills)), links=links)


def read_chat_rows(location: str, downloads: Path, config: Config) -> Iterator[ChatRow | Rejected]:
    """Yield every row as an example or as a rejected row.

    Rows whose skill is one text are put together where they have the same text; the first one's id stands for them.

    Args:
        location: a file or folder in the forms of `row_files`, file://, s3://, or a data set of the Hub (hf://).
        downloads: folder for what is fetched from an object store.
        config: the sections data and chat.

    Raises:
        DataError: missing or empty input, unknown form, a damaged file, or more than data.max_bytes.
        StorageError: the location cannot be fetched.
    """
    merged: dict[str, _Merged] = {}
    for row_id, row in located_rows(location, downloads, config.data.max_bytes):
        if isinstance(row, str):
            yield Rejected(row_id, "broken row", f"broken row: {row}")
            continue
        made = _example(row, row_id, config)
        if isinstance(made, ChatRow) and config.task == "skills" and isinstance(row.get(_skills_column(config)), str):
            merged.setdefault(made.text, _Merged(made)).add(made)
        else:
            yield made
    for item in merged.values():
        yield item.row()


def spans_of(skills: Sequence[str], text: str) -> list[Span]:
    """Every place where one of the skills occurs; a place inside a longer one is left out."""
    return outermost((span.start, span.end) for skill in skills for span in occurrences(skill, text))


def outermost(places: Iterable[Span]) -> list[Span]:
    """The places that lie in no other one, in order."""
    kept: list[Span] = []
    for start, end in sorted(set(places), key=lambda place: (place[0], -place[1])):
        if not kept or end > kept[-1][1]:
            kept.append((start, end))
    return kept


def _skills_column(config: Config) -> str:
    return config.chat.columns.skills


def _example(row: Mapping[str, Any], row_id: str, config: Config) -> ChatRow | Rejected:
    """One row as an example; the first thing that is wrong with it is the reason to reject it."""
    columns = config.data.columns
    readers = {"skills": _skills, "cover_letter": _letter, "instruct": _instruct}
    named = row.get(columns.id) if columns.id else None
    row_id = row_id if named in (None, "") else _whole(str(named))
    language = row.get(columns.language) if columns.language else None
    group = row.get(columns.group) if columns.group else None
    rest = {
        "language": language.lower()[:2] if isinstance(language, str) and language[:2].isalpha() else UNKNOWN_LANGUAGE,
        "group": None if group in (None, "") else _whole(str(group)),
    }
    try:
        return readers[config.task](row, row_id, config, rest)
    except DataError as error:
        kind, _, _ = str(error).partition(":")
        shown = row.get(columns.text)
        return Rejected(row_id, kind[:60], str(error), shown if isinstance(shown, str) else "")


def _text(row: Mapping[str, Any], column: str) -> str:
    value = row.get(column)
    if not isinstance(value, str) or not value.strip():
        raise DataError(f"no text: column '{column}' holds {type(value).__name__} (data.columns.text)")
    return _whole(value)


def _whole(text: str) -> str:
    """The text without lone surrogates, which JSON can carry and UTF-8 cannot."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _skills(row: Mapping[str, Any], row_id: str, config: Config, rest: dict[str, Any]) -> ChatRow:
    columns = config.chat.columns
    if columns.links is not None:
        rest = {**rest, "links": tuple(_links(row, row.get(columns.skills), columns.links))}
    if columns.tokens is not None:
        text, spans = _tagged(row, columns.tokens, columns.tags)
        return ChatRow(row_id, text, {}, skills=tuple(text[a:b] for a, b in spans), spans=spans, **rest)
    text, value = _text(row, config.data.columns.text), row.get(columns.skills)
    if isinstance(value, str):
        return ChatRow(row_id, text, {}, skills=(_whole(value),), **rest)
    if not isinstance(value, list):
        raise DataError(f"no skills: column '{columns.skills}' holds {type(value).__name__} (chat.columns.skills)")
    if value and all(isinstance(item, dict) for item in value):
        spans = tuple(sorted(_given(item, text) for item in value))
        return ChatRow(row_id, text, {}, skills=tuple(text[a:b] for a, b in spans), spans=spans, **rest)
    if not all(isinstance(item, str) for item in value):
        raise DataError("skills of another form: a list of texts, or of {start, end}, is needed")
    return ChatRow(row_id, text, {}, skills=tuple(_whole(item) for item in value), **rest)


def _links(row: Mapping[str, Any], skills: Any, column: str) -> Iterator[str]:
    """The gold concepts of a row, by its column or by a key of its skills; a skill without one is no mistake."""
    holders = [row, *(item for item in skills if isinstance(item, dict))] if isinstance(skills, list) else [row]
    if skills and not any(column in holder for holder in holders):
        raise DataError(f"no links: neither the row nor its skills have '{column}' (chat.columns.links)")
    waiting = [holder.get(column) for holder in holders]
    while waiting:
        value = waiting.pop(0)
        if isinstance(value, list):
            waiting = [*value, *waiting]
        elif isinstance(value, str):
            if value.strip():
                yield _whole(value).strip()
        elif value is not None:
            raise DataError(f"links of another form: '{column}' holds {type(value).__name__}; texts are needed")


def _given(item: Mapping[str, Any], text: str) -> Span:
    start, end = item.get("start"), item.get("end")
    if not (isinstance(start, int) and isinstance(end, int) and 0 <= start < end <= len(text)):
        raise DataError(f"span outside the text: start {start!r}, end {end!r}, the text has {len(text)} characters")
    return start, end


def _tagged(row: Mapping[str, Any], column: str, names: Sequence[str]) -> tuple[str, tuple[Span, ...]]:
    """The tokens with blanks between them, and the places of their skills."""
    tokens = row.get(column)
    if not isinstance(tokens, list) or not tokens or not all(isinstance(item, str) and item for item in tokens):
        raise DataError(f"no tokens: column '{column}' holds no list of words (chat.columns.tokens)")
    tokens = [_whole(token) for token in tokens]
    starts = [0]
    for token in tokens:
        starts.append(starts[-1] + len(token) + 1)
    spans: set[Span] = set()
    for name in names:
        tags = row.get(name)
        if not isinstance(tags, list) or len(tags) != len(tokens) or {str(tag)[:1] for tag in tags} - _TAGS:
            raise DataError(f"tags do not fit: column '{name}' holds no B, I or O for each of {len(tokens)} tokens")
        spans.update((starts[a], starts[b] - 1) for a, b in _runs([str(tag)[0] for tag in tags]))
    return " ".join(tokens), tuple(sorted(spans))


def _runs(tags: Sequence[str]) -> Iterator[Span]:
    """First token and the one behind the last of each run; an I without a B before it opens one, as annotators mean."""
    start: int | None = None
    for index, tag in enumerate([*tags, "O"]):
        if start is not None and tag != "I":
            yield start, index
            start = None
        if start is None and tag != "O":
            start = index


def _letter(row: Mapping[str, Any], row_id: str, config: Config, rest: dict[str, Any]) -> ChatRow:
    columns = config.chat.columns
    text, facts = _text(row, config.data.columns.text), row.get(columns.applicant)
    if not isinstance(facts, dict):
        raise DataError(f"no applicant: column '{columns.applicant}' holds {type(facts).__name__}; an object is needed")
    try:
        known = {key: value for key, value in facts.items() if value is not None}
        applicant = Applicant.from_json(known).to_json()
    except DataError as error:
        raise DataError(f"applicant not usable: {error}") from error
    letter = row.get(columns.letter) if columns.letter else None
    answer = _whole(letter).strip() if isinstance(letter, str) else ""
    return ChatRow(row_id, text, {"applicant": applicant}, answer, **rest)


def _instruct(row: Mapping[str, Any], row_id: str, _: Config, rest: dict[str, Any]) -> ChatRow:
    try:
        chat = [{key: _whole(value) for key, value in turn.items()} for turn in convert(row)]
        prompt, answer = InstructTask().split(chat)
    except DataError as error:
        raise DataError(f"no chat: {error}") from error
    return ChatRow(row_id, prompt[-1]["content"], {"before": prompt[:-1]} if prompt[:-1] else {}, answer, **rest)
