"""The frame of all pages: it loads nothing, and strangers' text stays text."""

from pathlib import Path

import pytest

from jobtuner.pages import data_uri, page_templates

_PAGE = """{% extends "page.html" %}
{% block title %}Report on <{{ name }}>{% endblock %}
{% block style %}
.own { color: red; }
{% endblock %}
{% block main %}
<p>{{ name }}</p>
{% endblock %}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "report.html").write_text(_PAGE, encoding="utf-8")
    return tmp_path


def test_a_page_is_its_blocks_in_the_shared_frame(folder: Path) -> None:
    page = page_templates(folder).get_template("report.html").render(name="ads")
    assert page.startswith("<!doctype html>")
    assert page.count("Report on <ads>") == 2  # the window's title, and the heading
    assert page.index("--ink:") < page.index(".own") < page.index("</style>") < page.index("<p>ads</p>")
    assert "default-src 'none'; img-src data:;" in page


def test_values_are_escaped_and_none_may_be_missing(folder: Path) -> None:
    from jinja2 import UndefinedError

    template = page_templates(folder).get_template("report.html")
    assert "<p>&lt;script&gt;</p>" in template.render(name="<script>")
    with pytest.raises(UndefinedError, match="name"):
        template.render()


def test_a_picture_becomes_an_address() -> None:
    assert data_uri(b"\x89PNG") == "data:image/png;base64,iVBORw=="
