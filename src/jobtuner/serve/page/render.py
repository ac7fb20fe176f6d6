"""Answers as HTML, by the macros of parts.html, which escape whatever came from outside."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jinja2 import Template

__all__ = [
    "Mark",
    "answer",
    "header",
    "letter",
    "percent",
    "problem",
    "reviewed",
    "skills",
    "status",
    "welcome",
    "writing",
]

_SOURCES = {"ad": "said in the ad", "applicant": "said by you"}


@dataclass(frozen=True, order=True)
class Mark:
    """A stretch of a text to be marked."""

    start: int
    """Characters before it."""
    end: int
    kind: str = ""
    """CSS class; empty: the plain mark."""
    title: str = ""
    """Shown when the pointer rests on it."""


@dataclass(frozen=True)
class _Piece:
    text: str
    kind: str | None
    """None: not marked."""
    title: str = ""


@cache
def _parts() -> "Template":
    from jinja2 import Environment, PackageLoader

    environment = Environment(loader=PackageLoader("jobtuner.serve", "page"), autoescape=True)
    environment.filters["percent"] = percent
    return environment.get_template("parts.html")


def _part(name: str, *arguments: object) -> str:
    return str(getattr(_parts().module, name)(*arguments))


def percent(probability: float) -> str:
    """A probability for people: one decimal, and never a certainty that there is not."""
    if 0 < probability < 0.001:
        return "< 0.1 %"
    if 0.999 < probability < 1:
        return "> 99.9 %"
    return f"{100 * probability:.1f} %"


def header() -> str:
    """Name and purpose."""
    return _part("header")


def status(model: Mapping[str, Any] | None, ready: bool) -> str:
    """The served model and whether it answers.

    Args:
        model: an entry of `/v1/models`; None where it could not be asked.
        ready: whether `/ready` says so.
    """
    return _part("status", model, ready)


def welcome(text: str) -> str:
    """What stands where an answer will stand."""
    return _part("welcome", text)


def problem(message: str) -> str:
    """A refusal, in words."""
    return _part("problem", message)


def answer(result: Mapping[str, Any], note: str) -> str:
    """The likeliest occupation, its place in the taxonomy, and those after it.

    Args:
        result: one of the results of `/v1/occupations`.
        note: a line below.
    """
    return _part("answer", result, note)


def skills(text: str, spans: Sequence[Mapping[str, Any]]) -> str:
    """The ad with its skills marked.

    Args:
        text: the ad as it was sent.
        spans: `start` and `end` in characters of the ad, and `link`: the concept of the skill, or None.
    """
    pieces = list(_pieces(text, [Mark(span["start"], span["end"]) for span in spans]))
    names = list(dict.fromkeys(piece.text for piece in pieces if piece.kind is not None))
    links = {text[span["start"] : span["end"]]: link["label"] for span in spans if (link := span.get("link"))}
    told = {name: links[name] for name in names if name in links and links[name].casefold() != name.casefold()}
    return _part("skills", pieces, names, told)


def letter(text: str, claims: Sequence[Mapping[str, Any]]) -> str:
    """A finished letter, its claims marked by where they come from, with a button to copy it.

    Args:
        text: the letter.
        claims: `kind`, `start`, `end` in characters of the letter, and `source`: "ad", "applicant" or "".
    """
    invented = sum(not claim["source"] for claim in claims)
    return _part("letter", list(_pieces(text, map(_claim, claims))), len(claims), invented)


def _claim(claim: Mapping[str, Any]) -> Mark:
    source = _SOURCES.get(claim["source"])
    kind, said = ("jt-said", source) if source else ("jt-invented", "said nowhere")
    return Mark(claim["start"], claim["end"], kind, f"{claim['kind']}: {said}")


def reviewed(row: Mapping[str, Any], number: int, total: int) -> str:
    """A logged answer to be looked at: which of how many, the ad, and what the model answered."""
    return _part("reviewed", row, number, total)


def writing(text: str) -> str:
    """A letter that is being written."""
    return _part("writing", text)


def _pieces(text: str, marks: Iterable[Mark]) -> Iterator[_Piece]:
    """The text cut at its marks; a mark that overlaps an earlier one, or lies outside, is left out."""
    done = 0
    for mark in sorted(marks):
        if mark.start < done or not mark.start < mark.end <= len(text):
            continue
        yield _Piece(text[done : mark.start], None)
        yield _Piece(text[mark.start : mark.end], mark.kind, mark.title)
        done = mark.end
    yield _Piece(text[done:], None)
