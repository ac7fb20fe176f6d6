"""The page in a real browser: pressed, typed into, and listened to where it calls."""

import csv
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from jobtuner.serve.keys import add_key
from tests.browser import CHROMIUM, Browser
from tests.unit.serve.conftest import wait_until

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium here; Debian's package is called chromium"),
]

ROOT = Path(__file__).parents[3]
READY = "document.querySelector('#ask') && document.querySelector('.jt-good')"


def start(folder: Path, *arguments: str) -> tuple[subprocess.Popen[bytes], str]:
    """The fake gateway in a process of its own, and its URL."""
    address = folder / "url"
    command = [sys.executable, "-m", "tests.unit.serve.page_fakes", str(address), *arguments]
    process = subprocess.Popen(command, cwd=ROOT, env={"PYTHONPATH": f"{ROOT / 'src'}:{ROOT}", "PATH": "/usr/bin:/bin"})
    deadline = time.monotonic() + 180
    while not address.exists():
        assert process.poll() is None, "the server ended"
        assert time.monotonic() < deadline, "the server did not start"
        time.sleep(0.2)
    return process, address.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    process, url = start(tmp_path_factory.mktemp("page"))
    yield url
    process.terminate()
    process.wait(30)


def hosts(browser: Browser) -> set[str]:
    return {urlsplit(item).netloc for item in browser.requested if item.startswith(("http", "ws"))}


def test_an_example_is_answered_and_nothing_leaves_the_host(url: str) -> None:
    with Browser() as browser:
        browser.open(url)
        browser.until(READY)
        browser.click("English")
        browser.until("document.querySelector('#answer .jt-ranks')")
        assert browser.value("document.querySelector('#answer h2').innerText") == "Registered nurses"
        assert browser.value("document.querySelectorAll('#answer .jt-ranks li').length") == 4
        assert browser.value("document.querySelector('#answer mark').innerText") == "nurse"
        assert browser.value(
            "document.querySelector('#answer').closest('[aria-live]') !== null || "
            "document.querySelector('#answer [aria-live]') !== null"
        )
        assert hosts(browser) == {urlsplit(url).netloc}
        assert browser.complaints == []


def test_what_an_ad_says_is_never_run(url: str) -> None:
    with Browser() as browser:
        browser.open(url)
        browser.until(READY)
        browser.type("textarea", "nurse <img src=x onerror='window.stolen=1'><script>window.stolen=2</script>")
        browser.click("Name the occupation")
        browser.until("document.querySelector('#answer mark')")
        assert browser.value("window.stolen === undefined")
        assert "<img" in browser.value("document.querySelector('#answer .jt-text').innerText")


def test_a_keyboard_is_enough(url: str) -> None:
    """From the top of the page: Tab to the ad, type, Tab on to the button past examples and language, Enter."""
    with Browser() as browser:
        browser.open(url)
        browser.until(READY)
        names = []
        for _ in range(12):
            browser.press("Tab")
            focused = "document.activeElement"
            names.append(
                browser.value(f"{focused}.getAttribute('aria-label') || {focused}.innerText || {focused}.tagName")
            )
            visible = f"getComputedStyle({focused}).outlineStyle + getComputedStyle({focused}).boxShadow"
            assert browser.value(visible) not in {"nonenone", ""}, f"focus on {names[-1]} cannot be seen"
            if names[-1] == "TEXTAREA":
                browser.call("Input.insertText", text="cook for a kitchen")
            if names[-1] == "Name the occupation":
                browser.press("Enter")
                break
        order = [name for name in names if name not in {"Occupation", "Cover letter", "Review"}]
        assert order == [
            "TEXTAREA",
            "English",
            "Deutsch",
            "Français",
            "Español",
            "Dansk",
            "Language of the titles",
            "Name the occupation",
        ]
        browser.until("document.querySelector('#answer h2')")
        assert browser.value("document.querySelector('#answer h2').innerText") == "Cooks"


def test_every_field_has_a_name_and_headings_start_at_the_top(url: str) -> None:
    with Browser() as browser:
        browser.open(url)
        browser.until(READY)
        nodes = browser.call("Accessibility.getFullAXTree")["nodes"]
        told = [(node["role"]["value"], node.get("name", {}).get("value", "")) for node in nodes if not node["ignored"]]
        fields = [name for role, name in told if role in {"textbox", "combobox", "button", "tab"}]
        assert fields
        assert all(fields)
        assert ("heading", "JobTuner") in told
        assert browser.value("document.documentElement.lang") == "en"


@pytest.mark.parametrize("dark", [False, True])
def test_text_stands_out_from_its_background(url: str, dark: bool) -> None:
    """WCAG 2.2, 1.4.3: 4.5 : 1 for text, in both schemes; measured on what the browser painted."""
    with Browser(dark=dark) as browser:
        browser.open(url)
        browser.until(READY)
        browser.click("Deutsch")
        browser.until("document.querySelector('#answer .jt-ranks')")
        assert browser.value(_CONTRAST) == []


_CONTRAST = """(() => {
  const numbers = (c) => c.match(/[\\d.]+/g).map(Number);
  const light = ([r, g, b]) => [r, g, b].map(v => (v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const behind = (e) => { for (; e; e = e.parentElement) {
    const c = numbers(getComputedStyle(e).backgroundColor); if (c.length < 4 || c[3] === 1) return c; }
    return [255, 255, 255]; };
  const root = document.querySelector('.gradio-container'), weak = [];
  const walker = document.createTreeWalker(root, NodeFilter.SHOW_TEXT);
  for (let n; n = walker.nextNode();) {
    const e = n.parentElement, r = e.getBoundingClientRect();
    if (!n.data.trim() || !r.width || ['STYLE', 'SCRIPT'].includes(e.tagName)) continue;
    const [a, b] = [light(numbers(getComputedStyle(e).color)), light(behind(e))].sort((x, y) => y - x);
    if ((a + 0.05) / (b + 0.05) < 4.5) weak.push([n.data.trim(), getComputedStyle(e).color, behind(e).join()]);
  }
  return weak;
})()"""


def test_a_narrow_window_needs_no_sideways_scrolling(url: str) -> None:
    with Browser(width=390, height=844) as browser:
        browser.open(url)
        browser.until(READY)
        browser.click("Deutsch")
        browser.until("document.querySelector('#answer .jt-ranks')")
        assert browser.value("document.documentElement.scrollWidth") <= 390


def test_a_letter_is_streamed_marked_and_can_be_copied(url: str) -> None:
    with Browser() as browser:
        browser.call(
            "Browser.grantPermissions", permissions=["clipboardReadWrite", "clipboardSanitizedWrite"], origin=url
        )
        browser.open(url)
        browser.until(READY)
        browser.click("Cover letter")
        browser.until("document.querySelector('#letter-ad textarea')")
        browser.type("#letter-ad textarea", "Night nurse for a hospital")
        browser.type("#name input, #name textarea", "Ada")
        browser.type("#skills textarea", "triage")
        browser.click("Write the letter")
        browser.until("document.querySelector('#letter [aria-busy]')", 20)
        browser.until("document.querySelector('#letter .jt-copy')")
        assert browser.value("document.querySelector('#letter .jt-invented').innerText") == "Acme"
        browser.click("Copy")
        browser.until("document.querySelector('.jt-copy').innerText === 'Copied'")
        assert browser.value("navigator.clipboard.readText()") == browser.value(
            "document.querySelector('#letter .jt-letter').innerText"
        )


def test_answers_are_corrected_one_after_another_and_taken_away(url: str, tmp_path: Path) -> None:
    with Browser() as browser:
        browser.call("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(tmp_path))
        browser.open(url)
        browser.until(READY)
        browser.click("Review")
        browser.click("Load the queue")
        browser.until("document.querySelector('#review .jt-eyebrow')")
        assert "1 of 8" in browser.value("document.querySelector('#review .jt-eyebrow').innerText")
        browser.until("document.querySelector('#right-code input').value.includes('5120')")
        browser.click("Save and next")
        browser.until("document.querySelector('#review .jt-eyebrow').innerText.includes('2 of 8')")
        browser.click("Skip")
        browser.until("document.querySelector('#review .jt-eyebrow').innerText.includes('3 of 8')")
        browser.click("Download the table (CSV)")
        table = tmp_path / "review.csv"
        wait_until(table.exists, 20)
        with table.open(encoding="utf-8-sig", newline="") as stream:
            rows = list(csv.DictReader(stream))
        assert [row["label"] for row in rows] == ["5120", *[""] * 7]
        assert rows[0]["text"].startswith("Nurse wanted")
        assert browser.complaints == []


def test_a_key_is_asked_for_and_kept_for_the_tab_alone(tmp_path: Path) -> None:
    keys = tmp_path / "keys.json"
    secret = add_key(keys, "site")
    process, url = start(tmp_path, str(keys))
    try:
        with Browser() as browser:
            browser.open(url)
            browser.until("document.querySelector('#ask')")
            browser.click("Deutsch")
            browser.until("document.querySelector('#answer .jt-problem')")
            assert "API key" in browser.value("document.querySelector('#answer').innerText")
            browser.type("input[type=password]", secret)
            browser.until("document.querySelector('.jt-status b')")
            browser.open(url)
            browser.until("document.querySelector('input[type=password]')?.value.startsWith('jobtuner_')")
            browser.click("Deutsch")
            browser.until("document.querySelector('#answer .jt-ranks')")
            assert browser.value("Object.values(localStorage).join().includes('jobtuner_')") is False
            assert browser.value("document.cookie") == ""
    finally:
        process.terminate()
        process.wait(30)
