"""The tab in which a person corrects the least certain answers, one after another, and takes the table away.

Nothing is written here: the table is the one of `jobtuner review export`, with its column label filled in, and goes
into the next training by `jobtuner review import`.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from jobtuner.review import table_of
from jobtuner.serve.page import render
from jobtuner.serve.page.client import Gateway, RefusedError
from jobtuner.taxonomy import Taxonomy

if TYPE_CHECKING:
    import gradio as gr

__all__ = ["REVIEW", "review_tab", "shown"]

REVIEW = "/v1/review"

_HINT = "The answers that the model was least sure of appear here, and a few picked blindly."
_EMPTY = "There are no logged answers in these days."
_SAVE_FILE = """(text) => {
  const link = document.createElement('a');
  link.href = URL.createObjectURL(new Blob(['\\ufeff' + text], {type: 'text/csv;charset=utf-8'}));
  link.download = 'review.csv';
  link.click();
  URL.revokeObjectURL(link.href);
}"""
_LIVE = "element.setAttribute('aria-live', 'polite');"

_UNSURE, _BLIND = 20, 5
_LONGEST = 4_000
"""Characters of an ad that is shown and goes into the table: twice of what cleaning leaves for training by default; 25
of them, at 4 bytes a character, are 0.4 of the page's bound on a request."""

_Rows = Sequence[Mapping[str, Any]]


def review_tab(gateway: Gateway, taxonomy: Taxonomy, key: "gr.Textbox") -> None:
    """Draw the tab. To be called inside of a `gradio.Blocks`.

    Args:
        gateway: answers.
        taxonomy: the codes that a correction may name.
        key: the field of the API key.
    """
    import gradio as gr

    # Kept in the browser: what is kept here would need a connection for each visitor, to be told when he leaves.
    rows, labels, place = (
        gr.JSON([], visible=False),
        gr.JSON({}, visible=False),
        gr.Number(0, visible=False, precision=0),
    )
    with gr.Row(equal_height=False):
        with gr.Column(scale=6, min_width=320):
            card = gr.HTML(render.welcome(_HINT), js_on_load=_LIVE, elem_id="review")
        with gr.Column(scale=5, min_width=320):
            days = gr.Dropdown([("Last day", 1), ("Last week", 7), ("Last month", 31)], value=7, label="Answers of the")
            load = gr.Button("Load the queue", elem_id="load-queue")
            label = gr.Dropdown(
                [],
                value=None,
                label="Right occupation",
                info="One of these, or any code of the taxonomy.",
                allow_custom_value=True,
                elem_id="right-code",
            )
            note = gr.HTML("", elem_id="review-note", js_on_load=_LIVE)
            with gr.Row():
                save = gr.Button("Save and next", variant="primary", elem_id="save-next")
                skip = gr.Button("Skip", elem_id="skip")
            table = gr.Button("Download the table (CSV)", elem_id="download-table")
            text = gr.Textbox(visible=False)

    async def fetch(span: int | None, secret: str | None) -> list[Any]:
        try:
            path = f"{REVIEW}?days={int(span or 7)}&unsure={_UNSURE}&blind={_BLIND}"
            found = [_short(row) for row in (await gateway.get(path, secret or ""))["rows"]]
        except RefusedError as error:
            return [[], {}, 0, render.problem(str(error)), gr.update(choices=[], value=None), ""]
        return [found, {}, 0, *_card(found, {}, 0), ""]

    def keep(found: _Rows, given: dict[str, str], at: int, code: str | None) -> list[Any]:
        wanted = (code or "").strip()
        if not at < len(found):
            return [given, at, *_card(found, given, at), ""]
        if wanted not in taxonomy.occupations:
            told = render.problem(
                f"“{wanted}” is no code of the taxonomy." if wanted else "Choose the right occupation."
            )
            return [given, at, gr.update(), gr.update(), told]
        given = {**given, found[at]["id"]: wanted}
        return [given, at + 1, *_card(found, given, at + 1), ""]

    def pass_over(found: _Rows, given: dict[str, str], at: int) -> list[Any]:
        after = min(at + 1, len(found))
        return [after, *_card(found, given, after), ""]

    quiet: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
    load.click(fetch, [days, key], [rows, labels, place, card, label, note], **quiet)
    save.click(keep, [rows, labels, place, label], [labels, place, card, label, note], **quiet)
    skip.click(pass_over, [rows, labels, place], [place, card, label, note], **quiet)
    table.click(table_of, [rows, labels], text, **quiet).then(None, text, None, js=_SAVE_FILE, api_visibility="private")


def _short(row: Mapping[str, Any]) -> dict[str, Any]:
    return {**row, "text": None if row["text"] is None else row["text"][:_LONGEST]}


def _card(rows: _Rows, labels: Mapping[str, str], place: int) -> tuple[str, Any]:
    """The card, and the choices below it."""
    import gradio as gr

    if not place < len(rows):
        return shown(rows, labels, place), gr.update(choices=[], value=None)
    choices = [(f"{item['code']} {item['title']}", item["code"]) for item in rows[place]["top"]]
    return shown(rows, labels, place), gr.update(choices=choices, value=rows[place]["label"])


def shown(rows: _Rows, labels: Mapping[str, str], place: int) -> str:
    """The row at a place as HTML; behind the last one how much was corrected.

    Args:
        rows: of `/v1/review`.
        labels: right codes so far, by id.
        place: from 0.
    """
    if not rows:
        return render.welcome(_EMPTY)
    if not place < len(rows):
        return render.welcome(
            f"That was the last one. {len(labels)} of {len(rows)} have a right code: download the table."
        )
    return render.reviewed(rows[place], place + 1, len(rows))
