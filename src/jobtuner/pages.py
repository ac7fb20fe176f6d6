"""Pages for people, each one file that any browser opens: one frame and one style for reports and cards.

A template starts with `{% extends "page.html" %}` and fills the blocks title, style (what only this page has), header
and main. Pages load nothing: pictures are data in them, and their security policy forbids the rest.
"""

import base64
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jinja2 import Environment

__all__ = ["data_uri", "page_templates"]

_SHARED = Path(__file__).parent / "templates"


def page_templates(folder: Path) -> "Environment":
    """The templates of a folder, and the frame that they extend.

    Values are escaped in HTML, and a name without a value is an error.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape

    return Environment(
        loader=FileSystemLoader([folder, _SHARED]),
        autoescape=select_autoescape(["html"]),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )


def data_uri(png: bytes) -> str:
    """A picture as the address that an `img` element takes."""
    return "data:image/png;base64," + base64.b64encode(png).decode("ascii")
