"""The tab that names the occupation of an ad, and its skills where the gateway knows them."""

import asyncio
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from jobtuner.display import guess_language
from jobtuner.errors import DataError
from jobtuner.languages import language_finder
from jobtuner.records import UNKNOWN_LANGUAGE
from jobtuner.serve.page import render
from jobtuner.serve.page.client import Gateway, RefusedError
from jobtuner.serve.page.examples import examples, name
from jobtuner.serve.schemas import MAX_CHARS
from jobtuner.serve.text import tidy

if TYPE_CHECKING:
    import gradio as gr

__all__ = ["NO_AD", "classified", "language_of", "occupation_tab"]

NO_AD = "There is no ad yet. Paste one, type a title, or try an example."

_OCCUPATIONS, _SKILLS = "/v1/occupations", "/v1/skills"
_HINT = "The likeliest occupations appear here, each with its probability."
_LIVE = "element.setAttribute('aria-live', 'polite');"  # a screen reader tells the answer when it comes
_BY = {"baseline": " The baseline was sure enough to answer alone."}


def occupation_tab(gateway: Gateway, offered: frozenset[str], languages: Sequence[str], key: "gr.Textbox") -> None:
    """Draw the tab. To be called inside of a `gradio.Blocks`.

    Args:
        gateway: answers.
        offered: the gateway's paths.
        languages: of the taxonomy's titles, ISO 639-1.
        key: the field of the API key.
    """
    import gradio as gr

    with gr.Row(equal_height=False):
        with gr.Column(scale=5, min_width=320):
            ad = gr.Textbox(
                "",
                label="Job ad or title",
                placeholder="Paste an ad, or type a title",
                lines=11,
                max_lines=18,
                max_length=MAX_CHARS,
            )
            with gr.Row(elem_classes="jt-examples"):
                gr.HTML('<p class="jt-label">Try one:</p>')
                buttons = [gr.Button(name(example.language), size="sm") for example in examples()]
            choices = [("As in the ad", ""), *((name(code), code) for code in languages)]
            language = gr.Dropdown(choices, value="", label="Language of the titles", filterable=False)
            ask = gr.Button("Name the occupation", variant="primary", elem_id="ask")
        with gr.Column(scale=6, min_width=320):
            answer = gr.HTML(render.welcome(_HINT), js_on_load=_LIVE, elem_id="answer")

    # None is what a field holds for clients that send nothing.
    async def classify(text: str | None, wanted: str | None, secret: str | None) -> str:
        spoken = await asyncio.to_thread(language_of, text or "", tuple(languages))
        return await classified(
            gateway, text or "", wanted or "", secret or "", spoken=spoken, with_skills=_SKILLS in offered
        )

    async def again(text: str | None, wanted: str | None, secret: str | None) -> str:
        return await classify(text, wanted, secret) if (text or "").strip() else render.welcome(_HINT)

    event: dict[str, Any] = {"inputs": [ad, language, key], "outputs": answer, "api_visibility": "private"}
    gr.on([ask.click, ad.submit], classify, **event)
    language.change(again, **event)
    for button, example in zip(buttons, examples(), strict=True):
        filled = button.click(None, None, ad, js=f"() => {json.dumps(example.text)}", api_visibility="private")
        filled.then(classify, **event)


def language_of(text: str, languages: tuple[str, ...]) -> str:
    """ISO 639-1 code of a text's language, among those of the taxonomy's titles; English where nothing tells.

    By lingua where it is installed and knows all of them, else by the text's most frequent words.
    """
    try:
        found = language_finder(languages).find(text)
    except DataError:
        return guess_language(text)
    return "en" if found == UNKNOWN_LANGUAGE else found


async def classified(gateway: Gateway, text: str, language: str, key: str, *, spoken: str, with_skills: bool) -> str:
    """The answer for one ad as HTML. Where the skills alone fail, the occupation stands.

    Args:
        gateway: answers.
        text: the ad.
        language: of the titles; empty: the ad's.
        key: API key; empty: none.
        spoken: language of the ad, ISO 639-1.
        with_skills: whether to ask for the skills too.
    """
    text = tidy(text)
    if not text:
        return render.problem(NO_AD)
    body = {"ads": [{"text": text, "language": spoken}]}
    wanted = {"title_language": language} if language else {}
    asked = [gateway.post(_OCCUPATIONS, {**body, **wanted}, key)]
    if with_skills:
        asked.append(gateway.post(_SKILLS, body, key))
    occupation, *more = await asyncio.gather(*asked, return_exceptions=True)
    if isinstance(occupation, BaseException):
        return _told(occupation)
    result = occupation["results"][0]
    shown = render.answer(result, _note(spoken, language or spoken) + _BY.get(result["answered_by"], ""))
    for found in more:
        shown += _told(found) if isinstance(found, BaseException) else _skills(text, found)
    return shown


def _note(spoken: str, titles: str) -> str:
    fallback = "" if titles == "en" else ", or English where there is none"
    return f"Language of the ad, by its letters and words: {name(spoken)}. Titles: {name(titles)}{fallback}."


def _skills(text: str, found: dict[str, Any]) -> str:
    return render.skills(text, found["results"][0]["skills"])


def _told(error: BaseException) -> str:
    if isinstance(error, RefusedError):
        return render.problem(str(error))
    raise error
