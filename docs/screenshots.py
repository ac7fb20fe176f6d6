"""Pictures of the web page in a real Chromium: docs/images/page.png, page_letter.png and page_review.png.

    python -m docs.screenshots [--model DIR]

The occupation comes from an exported model (the latest run's, or DIR). Cover letters need a language model that the
stand-in is not. The letter is therefore one written for the picture, with an invented degree in it; endpoint, streaming
and the check of its claims are the real ones.
"""

import argparse
import asyncio
import re
import tempfile
import threading
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from jobtuner.records import Message
from jobtuner.serve.page.examples import examples
from tests.browser import CHROMIUM, Browser

IMAGES = Path(__file__).parent / "images"
AD = (
    "Night nurse for our emergency ward\n\nYou will assess patients, give medication and record vital signs. You have "
    "a nursing licence, first experience in triage and wound care, and stay calm at three in the morning.\n"
    "City Hospital Northgate"
)
LETTER = (
    "Dear team of City Hospital Northgate,\n\nyour emergency ward needs a nurse for the nights, and nights are when I "
    "work best. I have experience in triage, gathered over 4 years at Harbour Clinic, and I am trained in wound care. "
    "In 2019 I completed a master in nursing science.\n\nI would like to move to nights for good, and Northgate is ten "
    "minutes from my door.\n\nKind regards\nAda Moreno"
)
FIELDS = {
    "#letter-ad textarea": AD,
    "#name input, #name textarea": "Ada Moreno",
    "#skills textarea": "triage, wound care",
    "#reasons textarea": "I want to work nights for good\nNorthgate is near my home",
    "#experience textarea": "4 years at Harbour Clinic",
}


class _Writer:
    """Stands for a model that answers in text; the same letter, whatever it is asked."""

    name = "written-by-hand"

    async def write(self, chat: Sequence[Message], **options: Any) -> str:
        return "".join([piece async for piece in self.stream(chat, **options)])

    async def stream(self, *_: Sequence[Message], **__: Any) -> AsyncIterator[str]:
        for word in re.findall(r"\S+\s*", LETTER):
            await asyncio.sleep(0.01)
            yield word


@contextmanager
def _served(model: Path) -> Iterator[str]:
    """The gateway with its page in a thread; gives its URL."""
    import socket

    import uvicorn

    from jobtuner.prediction_log.writer import LogSettings
    from jobtuner.scoring import load_exported
    from jobtuner.serve.gateway import Texts, create_app
    from jobtuner.serve.page.mount import add_page
    from jobtuner.serve.recorder import LogChoice, open_recorder

    classifier, writer = load_exported(model), _Writer()
    with tempfile.TemporaryDirectory() as folder, socket.socket() as listener:
        recorder = open_recorder(LogChoice(folder, LogSettings(keep_text=True, flush_seconds=0.5)), model)
        app = create_app(classifier, texts=Texts(letters=writer), observers=[recorder], review=folder)
        add_page(app, classifier.taxonomy, keys=False)
        listener.bind(("127.0.0.1", 0))
        server = uvicorn.Server(uvicorn.Config(app, lifespan="on", ws="none", log_level="warning"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            while not server.started:
                time.sleep(0.1)
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join()


def _occupation(url: str, out: Path, width: int, *, dark: bool) -> None:
    with Browser(width, 760, dark=dark) as browser:
        browser.open(url)
        browser.until("document.querySelector('#ask') && document.querySelector('.jt-good')")
        browser.click("English")
        browser.until("document.querySelector('#answer .jt-ranks')")
        time.sleep(1)
        browser.picture(out, whole=width < 600)


def _letter(url: str, out: Path, width: int, *, dark: bool) -> None:
    with Browser(width, 1010, dark=dark) as browser:
        browser.open(url)
        browser.until("document.querySelector('#ask') && document.querySelector('.jt-good')")
        browser.click("Cover letter")
        browser.until("document.querySelector('#letter-ad textarea')")
        for selector, text in FIELDS.items():
            browser.type(selector, text)
        browser.click("Write the letter")
        browser.until("document.querySelector('#letter .jt-copy')")
        browser.value("scrollTo(0, 0)")
        time.sleep(1)
        browser.picture(out, whole=width < 600)


def _review(url: str, out: Path, width: int, *, dark: bool) -> None:
    """Sentences of the examples, answered and logged by the endpoint itself, are what there is to look at."""
    ads = [
        {"text": sentence, "language": example.language}
        for example in examples()
        for sentence in re.split(r"(?<=[.])\s|\n+", example.text)
    ]
    httpx.post(f"{url}/v1/occupations", json={"ads": ads}, timeout=60).raise_for_status()
    time.sleep(3)  # until they are in the log
    with Browser(width, 760, dark=dark) as browser:
        browser.open(url)
        browser.until("document.querySelector('#ask') && document.querySelector('.jt-good')")
        browser.click("Review")
        browser.click("Load the queue")
        browser.until("document.querySelector('#review .jt-ranks')")
        time.sleep(1)
        browser.picture(out, whole=width < 600)


def main() -> None:
    """Make the pictures."""
    from jobtuner.run import home

    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--model", type=Path, default=home() / "latest" / "export" / "model")
    parser.add_argument("--out", type=Path, default=IMAGES)
    parser.add_argument("--width", type=int, default=1280)
    parser.add_argument("--dark", action="store_true")
    options = parser.parse_args()
    if CHROMIUM is None:
        raise SystemExit("There is no Chromium here. Debian's package is called chromium.")
    options.out.mkdir(parents=True, exist_ok=True)
    with _served(options.model) as url:
        _occupation(url, options.out / "page.png", options.width, dark=options.dark)
        _letter(url, options.out / "page_letter.png", options.width, dark=options.dark)
        _review(url, options.out / "page_review.png", options.width, dark=options.dark)


if __name__ == "__main__":
    main()
