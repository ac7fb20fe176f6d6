"""The tab that writes a cover letter from an ad and an applicant's facts, and shows where its claims come from."""

import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from jobtuner.serve.page import render
from jobtuner.serve.page.client import Gateway, RefusedError
from jobtuner.serve.page.examples import name as named
from jobtuner.serve.page.occupation_tab import NO_AD
from jobtuner.serve.schemas import MAX_CHARS
from jobtuner.serve.text import tidy
from jobtuner.tasks.cover_letter import LANGUAGES, instruction

if TYPE_CHECKING:
    import gradio as gr

__all__ = ["LETTERS", "LetterForm", "letter_tab", "told_in", "written"]

LETTERS = "/v1/cover-letters"

_HINT = "The letter appears here as it is written, its claims marked by where they come from."
_BROKEN = "The letter broke off. Try again in a moment."
# The clipboard is closed to pages without https: then the letter is selected, ready for Ctrl+C.
_COPY = """
element.addEventListener('click', async (event) => {
  const button = event.target.closest('.jt-copy');
  if (!button) return;
  const letter = element.querySelector('.jt-letter');
  try {
    await navigator.clipboard.writeText(letter.innerText);
    button.textContent = 'Copied';
  } catch {
    getSelection().selectAllChildren(letter);
    button.textContent = 'Selected: press Ctrl+C';
  }
});
"""


def letter_tab(gateway: Gateway, key: "gr.Textbox") -> None:
    """Draw the tab. To be called inside of a `gradio.Blocks`.

    Args:
        gateway: answers.
        key: the field of the API key.
    """
    import gradio as gr

    with gr.Row(equal_height=False):
        with gr.Column(scale=5, min_width=320):
            ad = gr.Textbox(
                "",
                label="Job ad",
                placeholder="Paste the ad",
                lines=6,
                max_lines=14,
                max_length=MAX_CHARS,
                elem_id="letter-ad",
            )
            with gr.Row():
                name = gr.Textbox("", label="Your name", min_width=140, elem_id="name")
                role = gr.Textbox("", label="Role", placeholder="from the ad", min_width=140)
                company = gr.Textbox("", label="Company", placeholder="from the ad", min_width=140)
            skills = gr.Textbox(
                "", label="Your skills", info="One a line, or with commas between.", lines=2, elem_id="skills"
            )
            reasons = gr.Textbox("", label="Why this job", info="One reason a line.", lines=2, elem_id="reasons")
            experience = gr.Textbox(
                "", label="Earlier posts and degrees", info="One a line.", lines=2, elem_id="experience"
            )
            languages = [("As in the ad", ""), *((named(code), code) for code in LANGUAGES)]
            language = gr.Dropdown(languages, value="", label="Language of the letter", filterable=False)
            with gr.Accordion("System message", open=False):
                system = gr.Textbox(
                    instruction(""),
                    label="What the model is told before your facts",
                    info="The instruction that it was trained with. Emptied, it comes back.",
                    lines=4,
                    max_length=2000,
                    elem_id="system",
                )
            write = gr.Button("Write the letter", variant="primary", elem_id="write")
        with gr.Column(scale=6, min_width=320):
            letter = gr.HTML(render.welcome(_HINT), js_on_load=_COPY, elem_id="letter")

    async def compose(secret: str | None, *values: str | None) -> AsyncIterator[str]:
        form = LetterForm(*(value or "" for value in values))
        async for shown in written(gateway, form, secret or ""):
            yield shown

    language.change(told_in, [language, system], system, api_visibility="private", show_progress="hidden")
    inputs = [key, ad, name, role, company, skills, reasons, experience, language, system]
    write.click(compose, inputs, letter, api_visibility="private", show_progress="hidden")


@dataclass(frozen=True)
class LetterForm:
    """What the tab's fields hold, in their order."""

    ad: str
    name: str
    role: str = ""
    company: str = ""
    skills: str = ""
    """One a line, or with commas between."""
    reasons: str = ""
    """One a line."""
    experience: str = ""
    """One a line."""
    language: str = ""
    """ISO 639-1 code of the letter; empty: the ad's."""
    system: str = ""
    """What the model is told; its own instruction where empty."""

    def request(self) -> dict[str, Any]:
        """The body for the gateway."""
        applicant = {
            "name": self.name.strip(),
            "role": self.role.strip(),
            "company": self.company.strip(),
            "skills": _items(self.skills, r"[\n,;]"),
            "reasons": _items(self.reasons, r"\n"),
            "experience": _items(self.experience, r"\n"),
            "language": self.language,
        }
        system = self.system.strip()
        told = {} if _is_own(system) else {"system": system}
        return {"ad": {"text": tidy(self.ad)}, "applicant": applicant, "stream": True, **told}


def told_in(language: str | None, system: str | None) -> str:
    """The system message when another language was chosen: the task's own in it, unless the person has changed it."""
    return instruction(language or "") if _is_own((system or "").strip()) else system or ""


def _is_own(system: str) -> bool:
    return system in {"", *(instruction(code) for code in ("", *LANGUAGES))}


def _items(text: str, between: str) -> list[str]:
    return [item.strip() for item in re.split(between, text) if item.strip()]


async def written(gateway: Gateway, form: LetterForm, key: str) -> AsyncIterator[str]:
    """The letter as HTML, longer and longer, and at last with its claims marked.

    Args:
        gateway: answers.
        form: the fields.
        key: API key; empty: none.
    """
    if not tidy(form.ad) or not form.name.strip():
        yield render.problem("A letter needs your name." if tidy(form.ad) else NO_AD)
        return
    text = ""
    yield render.writing(text)
    try:
        async for event in gateway.events(LETTERS, form.request(), key):
            if "letter" in event:
                yield render.letter(event["letter"], event["claims"])
                return
            if "text" not in event:  # an event of the type error
                break
            text += event["text"]
            yield render.writing(text)
        yield render.problem(_BROKEN)
    except RefusedError as error:
        yield render.problem(str(error))
