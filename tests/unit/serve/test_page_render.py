"""The page's HTML: what it says, and that nothing from outside becomes markup."""

from html.parser import HTMLParser
from typing import Any

import pytest

from jobtuner.serve.page import render
from jobtuner.serve.page.examples import NAMES, examples, name

EVIL = "<img src=x onerror=alert(1)>\"'&<script>steal()</script>"


class Reader(HTMLParser):
    """Tags with their attributes, and the text by tag."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.marks: list[tuple[str, str]] = []
        self.text = ""
        self._open: list[str] = []
        self.feed(html)
        self.close()
        assert self._open == [], "tags are left open"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._open.append(tag)
        if tag == "mark":
            self.marks.append((dict(attrs).get("class") or "", ""))

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data
        if self._open and self._open[-1] == "mark":
            self.marks[-1] = (self.marks[-1][0], data)


def result(**changes: Any) -> dict[str, Any]:
    top = [
        {
            "code": "2221",
            "title": "Registered nurses",
            "probability": 0.79,
            "path": [{"code": "2", "title": "Professionals"}, {"code": "22", "title": "22"}],
        },
        {"code": "5120", "title": "Cooks", "probability": 0.0004, "path": []},
    ]
    return {"code": "2221", "title": "Registered nurses", "probability": 0.79, "abstain": False, "top": top, **changes}


def every_part(text: str) -> list[str]:
    candidate = {"code": text, "title": text, "probability": 0.5, "path": [{"code": text, "title": text + "x"}]}
    span = {"start": 0, "end": len(text)}
    claim = {"kind": text, "source": "", **span}
    return [
        render.status({"id": text, "taxonomy_version": text}, ready=True),
        render.welcome(text),
        render.problem(text),
        render.answer({"abstain": False, "top": [candidate]}, text),
        render.skills(text, [span]),
        render.skills(text, []),
        render.letter(text, [claim]),
        render.letter(text, []),
        render.writing(text),
    ]


@pytest.mark.parametrize("part", every_part(EVIL))
def test_nothing_from_outside_is_markup(part: str) -> None:
    reader = Reader(part)
    assert not {tag for tag, _ in reader.tags} & {"img", "script", "svg", "a", "iframe"}
    for _, attributes in reader.tags:
        assert not [key for key in attributes if key.startswith("on")]


def test_an_answer_shows_codes_titles_shares_and_path() -> None:
    html = render.answer(result(), "a note")
    reader = Reader(html)
    assert "Registered nurses" in reader.text
    assert "79.0 %" in reader.text
    assert "< 0.1 %" in reader.text
    assert reader.text.split("2221")[0].count("22") == 1  # a group without a title of its own: its code alone
    widths = [attributes["style"] for tag, attributes in reader.tags if tag == "i"]
    assert widths == ["width:79.00%", "width:0.04%"]
    assert "unsure" not in reader.text
    assert "unsure" in render.answer(result(abstain=True), "")


@pytest.mark.parametrize(
    ("probability", "shown"),
    [(0.0, "0.0 %"), (0.0004, "< 0.1 %"), (0.5, "50.0 %"), (0.99949, "> 99.9 %"), (1.0, "100.0 %")],
)
def test_percent_never_rounds_to_a_certainty(probability: float, shown: str) -> None:
    assert render.percent(probability) == shown


def test_skills_are_marked_where_they_stand() -> None:
    text = "Köche <gesucht>: Python & Kochen"
    spans = [{"start": 17, "end": 23}, {"start": 26, "end": 32}]
    reader = Reader(render.skills(text, spans))
    assert reader.marks == [("", "Python"), ("", "Kochen")]
    assert text in reader.text


def test_marks_that_overlap_or_lie_outside_are_left_out() -> None:
    spans = [{"start": 0, "end": 5}, {"start": 3, "end": 8}, {"start": 6, "end": 99}, {"start": 6, "end": 6}]
    reader = Reader(render.skills("nurse cook", spans))
    assert reader.marks == [("", "nurse")]
    assert reader.text.rstrip().endswith("nurse cook")


def test_a_letter_tells_invented_claims_from_said_ones() -> None:
    text = "I worked at Acme with Python."
    claims = [
        {"kind": "employer", "start": 12, "end": 16, "source": ""},
        {"kind": "skill", "start": 22, "end": 28, "source": "applicant"},
    ]
    reader = Reader(render.letter(text, claims))
    assert reader.marks[:2] == [("jt-invented", "Acme"), ("jt-said", "Python")]
    assert "1 of 2 claims found are neither" in reader.text
    assert "The one claim found is in the ad" in Reader(render.letter(text, claims[1:])).text
    titles = [attributes.get("title") for tag, attributes in reader.tags if tag == "mark"]
    assert titles[:2] == ["employer: said nowhere", "skill: said by you"]


def test_state_is_told_in_words_not_by_colour_alone() -> None:
    assert "not ready" in Reader(render.status(None, ready=False)).text
    model = {"id": "m/1", "taxonomy_version": "0123456789"}
    text = Reader(render.status(model, ready=True)).text
    assert "not ready" not in text
    assert "m/1" in text
    assert "01234567" in text


def test_examples_come_in_five_languages_that_the_guess_agrees_with() -> None:
    from jobtuner.display import guess_language

    found = examples()
    assert sorted(example.language for example in found) == ["da", "de", "en", "es", "fr"]
    assert [guess_language(example.text) for example in found] == [example.language for example in found]
    assert {example.language for example in found} <= set(NAMES)
    assert (name("de"), name("xx")) == ("Deutsch", "xx")
