"""The page's frame: name, model and its state, the key, the tabs. Gradio draws it; answers are HTML of our own."""

from typing import TYPE_CHECKING

from jobtuner.serve.page import render
from jobtuner.serve.page.client import Gateway, RefusedError
from jobtuner.serve.page.letter_tab import LETTERS, letter_tab
from jobtuner.serve.page.occupation_tab import occupation_tab
from jobtuner.serve.page.review_tab import REVIEW, review_tab

if TYPE_CHECKING:
    import gradio as gr

    from jobtuner.taxonomy import Taxonomy

__all__ = ["build", "state"]

_WAITING = 64  # questions of visitors that may wait; each then meets the endpoint's own limits
_AT_ONCE = 8
# A browser's session storage ends with its tab. The page reads it once, so that reloading asks for no key again.
_READ_KEY = "() => sessionStorage.getItem('jobtuner-key') || ''"
_KEEP_KEY = "(key) => { sessionStorage.setItem('jobtuner-key', key); }"


def build(gateway: Gateway, offered: frozenset[str], taxonomy: "Taxonomy", *, keys: bool) -> "gr.Blocks":
    """The page.

    Args:
        gateway: answers.
        offered: the gateway's paths; what it has no path for is not shown.
        taxonomy: the model's.
        keys: whether to ask for an API key.
    """
    import gradio as gr

    blocks = gr.Blocks(title="JobTuner", analytics_enabled=False, fill_width=True)
    with blocks:
        with gr.Row(elem_classes="jt-top"):
            gr.HTML(render.header())
            model = gr.HTML(render.status(None, ready=False))
        key = gr.Textbox(
            "",
            label="API key",
            info="Kept in this browser tab until you close it.",
            type="password",
            visible=keys,
            html_attributes=gr.InputHTMLAttributes(autocomplete="off"),
        )
        if offered & {LETTERS, REVIEW}:
            with gr.Tabs():
                with gr.Tab("Occupation"):
                    occupation_tab(gateway, offered, taxonomy.languages, key)
                if LETTERS in offered:
                    with gr.Tab("Cover letter"):
                        letter_tab(gateway, key)
                if REVIEW in offered:
                    with gr.Tab("Review"):
                        review_tab(gateway, taxonomy, key)
        else:
            occupation_tab(gateway, offered, taxonomy.languages, key)

        async def look(secret: str | None) -> str:
            return await state(gateway, secret or "")

        if keys:
            blocks.load(None, None, key, js=_READ_KEY, api_visibility="private")
            key.change(None, key, None, js=_KEEP_KEY, api_visibility="private")
            key.change(look, key, model, show_progress="hidden", api_visibility="private")
        blocks.load(look, key, model, show_progress="hidden", api_visibility="private")
    blocks.queue(max_size=_WAITING, default_concurrency_limit=_AT_ONCE, api_open=False)
    return blocks


async def state(gateway: Gateway, key: str) -> str:
    """The served model and whether it answers, as HTML; what could not be asked is left out."""
    model, ready = None, False
    try:
        ready = (await gateway.get("/ready"))["status"] == "ready"
        model = (await gateway.get("/v1/models", key))["data"][0]
    except RefusedError:
        pass
    return render.status(model, ready)
