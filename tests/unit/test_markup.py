"""What a browser would not show is not read; what it would show stays, however odd the page."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jobtuner import markup
from jobtuner.clean import normalise_space
from jobtuner.markup import html_to_text


@pytest.mark.parametrize(
    "hidden",
    [
        '<div style="display: none">{}</div>',
        '<div style="DISPLAY:NONE;color:red"><p>a</p>{}</div>',
        '<span style="visibility:hidden">{}</span>',
        '<span style="font-size:0px">{}</span>',
        '<span style="font-size: 0.0em;">{}</span>',
        '<span style="opacity:0">{}</span>',
        '<span style="color:#FFFFFF">{}</span>',
        '<font color="white">{}</font>',
        '<p style="position:absolute; left:-9999px">{}</p>',
        "<p hidden>{}</p>",
        '<span aria-hidden="true">{}</span>',
        "<template>{}</template>",
        "<noscript><p>{}</p></noscript>",
        "<svg><text>{}</text></svg>",
        "<!-- {} -->",
        "<script>{}</script>",
    ],
)
def test_hidden_text_is_dropped(hidden: str) -> None:
    page = f"<h1>Cook</h1>{hidden.format('answer 8331')}<p>Soups</p>"
    assert normalise_space(html_to_text(page)) == "Cook\nSoups"


@pytest.mark.parametrize(
    ("page", "seen"),
    [
        ('<div style="background:#036"><p style="color:#fff">Cook</p></div>', "Cook"),  # white on blue is read
        ('<table bgcolor="navy"><tr><td><font color="white">Cook</font></table>', "Cook"),
        ('<p style="font-size:0.9em">Cook</p>', "Cook"),
        ('<p style="opacity:0.8">Cook</p>', "Cook"),
        ("<p>You know <svg> and <template></p>", "You know <svg> and <template>"),
        ('<p style="display:none">a<p>Cook</p>', "Cook"),  # a paragraph ends where the next one begins
        ('<div style="display:none">Cook', "Cook"),  # never closed: a slip, not a hiding place
        ('<img style="display:none"><p>Cook</p>', "Cook"),
        ('<input type="hidden" hidden>Cook', "Cook"),
    ],
)
def test_what_is_shown_stays(page: str, seen: str) -> None:
    assert normalise_space(html_to_text(page)) == seen


_PIECES = (
    *("<p>", "</p>", "<br/>", "<br />", "<BR>", "<li>", "</li>", "<p/>", "<b/>", "</b >", "<td>", "<h2>", "</H2>"),
    *("<o:p>", "<Company>", "</x>", "<svg>", "</svg>", "<script>", "</script>", "<!--", "<p class='a'>", "a < b", "<"),
    *(">", "&amp;", "&lt;p&gt;", "&nbsp;", "&region", "&#x20;", "&", " ", "\n", "cook", "Straße", "\x00"),
)  # fmt: skip


@settings(deadline=None, max_examples=200)
@given(st.lists(st.sampled_from(_PIECES), max_size=12).map("".join))
def test_the_short_way_through_plain_tags_is_the_parsers(text: str) -> None:
    short, whole = markup._TextCollector(frozenset()), markup._TextCollector(frozenset())
    if markup._feed_plain(short, text):
        whole.feed(text)
        whole.close()
        assert "".join(short.parts) == "".join(whole.parts)
    else:
        assert not short.parts


def test_plain_tags_go_the_short_way() -> None:
    assert markup._feed_plain(markup._TextCollector(frozenset()), "<ul><li>soups<BR/></li></ul> &amp; more")
    assert not markup._feed_plain(markup._TextCollector(frozenset()), '<p style="display:none">hidden</p>')
