"""A real Chromium, driven over its own DevTools protocol: for tests of the page, and for its pictures."""

import base64
import itertools
import json
import shutil
import subprocess
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import httpx

if TYPE_CHECKING:
    from websockets.sync.client import ClientConnection

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
"""The browser's path; None where there is none."""

_FLAGS = ["--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run", "--remote-debugging-port=0"]
_START_SECONDS = 60.0


class Browser:
    """One tab of a browser of its own, with an empty profile.

    Args:
        width: of the window, in CSS pixels.
        height: likewise.
        dark: whether the person prefers dark pages.
    """

    def __init__(self, width: int = 1280, height: int = 900, *, dark: bool = False) -> None:
        self._width, self._height, self._dark = width, height, dark
        self._ids = itertools.count(1)
        self._open = ExitStack()
        self._socket: ClientConnection | None = None
        self.requested: list[str] = []
        """Every URL that the tab asked for."""
        self.complaints: list[str] = []
        """Errors on the console, and uncaught exceptions."""

    def __enter__(self) -> Self:
        from websockets.sync.client import connect

        self._profile = Path(self._open.enter_context(tempfile.TemporaryDirectory(ignore_cleanup_errors=True)))
        process = subprocess.Popen(
            [str(CHROMIUM), *_FLAGS, f"--user-data-dir={self._profile}", "about:blank"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self._open.callback(process.wait, 30)
        self._open.callback(process.terminate)
        targets = httpx.get(f"http://127.0.0.1:{self._port()}/json", timeout=30).json()
        url = next(item["webSocketDebuggerUrl"] for item in targets if item["type"] == "page")
        self._socket = self._open.enter_context(connect(url, max_size=None, open_timeout=30))
        for domain in ("Network", "Page", "Runtime"):
            self.call(f"{domain}.enable")
        scheme = [{"name": "prefers-color-scheme", "value": "dark" if self._dark else "light"}]
        self.call("Emulation.setEmulatedMedia", features=scheme)
        size = {"width": self._width, "height": self._height, "deviceScaleFactor": 1, "mobile": False}
        self.call("Emulation.setDeviceMetricsOverride", **size)
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self._open.close()

    def _port(self) -> int:
        file, deadline = self._profile / "DevToolsActivePort", time.monotonic() + _START_SECONDS
        while not file.exists() or not file.read_text(encoding="utf-8").strip():
            assert time.monotonic() < deadline, "the browser did not start"
            time.sleep(0.05)
        return int(file.read_text(encoding="utf-8").splitlines()[0])

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """One command of the protocol and its answer; events that come meanwhile are noted."""
        assert self._socket is not None
        number = next(self._ids)
        self._socket.send(json.dumps({"id": number, "method": method, "params": parameters}))
        while True:
            message = json.loads(self._socket.recv(timeout=120))
            if message.get("id") == number:
                assert "error" not in message, message["error"]
                return dict(message["result"])
            self._note(message)

    def _note(self, event: dict[str, Any]) -> None:
        parameters = event.get("params", {})
        match event.get("method"):
            case "Network.requestWillBeSent":
                self.requested.append(parameters["request"]["url"])
            case "Runtime.exceptionThrown":
                self.complaints.append(str(parameters["exceptionDetails"])[:500])
            case "Runtime.consoleAPICalled" if parameters["type"] == "error":
                self.complaints.append(str(parameters["args"])[:500])

    def open(self, url: str) -> None:
        """Go to a page."""
        self.call("Page.navigate", url=url)

    def value(self, script: str) -> Any:
        """What an expression, or the promise that it gives, comes to on the page."""
        found = self.call("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def until(self, script: str, seconds: float = 60.0) -> None:
        """Wait for an expression to come true."""
        deadline = time.monotonic() + seconds
        while not self.value(f"!!({script})"):
            assert time.monotonic() < deadline, f"never true: {script}"
            time.sleep(0.1)

    def click(self, label: str) -> None:
        """Press the button or tab with that text."""
        wanted = json.dumps(label)
        pressed = (
            f"[...document.querySelectorAll('button')].find(b => b.innerText.trim() === {wanted}"
            " && b.offsetParent !== null && !b.closest('[aria-hidden=true], .visually-hidden'))"
        )
        self.until(pressed)
        place = self.value(
            f"(() => {{ const b = {pressed}; b.scrollIntoView({{block: 'center'}});"
            " const r = b.getBoundingClientRect();"
            " return {x: r.x + r.width / 2, y: r.y + r.height / 2}; })()"
        )
        for kind in ("mousePressed", "mouseReleased"):  # a person's press: scripts may then use the clipboard
            self.call("Input.dispatchMouseEvent", type=kind, button="left", clickCount=1, **place)

    def type(self, selector: str, text: str) -> None:
        """Put text into a field, as if pasted."""
        self.value(f"document.querySelector({json.dumps(selector)}).focus()")
        self.call("Input.insertText", text=text)

    def press(self, key: str, *, shift: bool = False) -> None:
        """Press a key: "Tab", "Enter"."""
        codes = {"Tab": 9, "Enter": 13}
        common = {"key": key, "code": key, "windowsVirtualKeyCode": codes[key], "modifiers": 8 if shift else 0}
        text = {"text": "\r"} if key == "Enter" else {}
        self.call("Input.dispatchKeyEvent", type="keyDown", **common, **text)
        self.call("Input.dispatchKeyEvent", type="keyUp", **common)

    def picture(self, path: Path, *, whole: bool = False) -> None:
        """Write the window, or the whole page, as PNG."""
        shot = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        path.write_bytes(base64.b64decode(shot["data"]))
