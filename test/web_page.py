"""A page in a real browser: headless Chromium, driven over WebDriver."""

from __future__ import annotations

import base64
import json
import shutil
import socket
import subprocess
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

_ARGUMENTS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
)


# The least contrast (WCAG 2) of a text with what is behind it, and the text; below 4.5 is hard to read.
_FAINTEST = """(() => {
  const parts = text => text.match(/[0-9.]+/g).map(Number);
  const light = ([r, g, b]) => [r, g, b].map(c => c / 255)
    .map(c => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4)
    .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
  const behind = element => {
    for (let at = element; at; at = at.parentElement) {
      const colour = parts(getComputedStyle(at).backgroundColor);
      if (colour.length < 4 || colour[3] === 1) return colour;
    }
    return [255, 255, 255];
  };
  const found = [...document.querySelectorAll("main *")].filter(e => e.getClientRects().length &&
    [...e.childNodes].some(n => n.nodeType === 3 && n.data.trim()) && !e.matches("option, .id")).map(e => {
    const style = getComputedStyle(e);
    const a = light(parts(e instanceof SVGElement ? style.fill : style.color)), b = light(behind(e));
    return [(Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05), e.textContent.slice(0, 40)];
  });
  return found.sort((a, b) => a[0] - b[0])[0];
})()"""


class WebPage:
    """A page that is open."""

    def __init__(self, call: Callable[..., Any], session: str) -> None:
        self._call, self.session = call, session

    def evaluate(self, script: str) -> Any:
        """What an expression is on the page."""
        return self._run(f"return {script}")

    def faintest(self) -> tuple[float, str]:
        """The text that is the hardest to tell from what is behind it, with its contrast first."""
        contrast, text = self.evaluate(_FAINTEST)
        return contrast, text

    def await_true(self, condition: str) -> None:
        """Wait until an expression is true, checked whenever the page is drawn."""
        script = f"const done = arguments[0]; (function look() {{ if ({condition}) done(true); "
        script += "else requestAnimationFrame(look); })();"
        assert self._call("POST", f"{self.session}/execute/async", {"script": script, "args": []}) is True

    def screenshot(self, path: Path) -> None:
        """Write what is to be seen as a PNG."""
        path.write_bytes(base64.b64decode(self._call("GET", f"{self.session}/screenshot")))

    def _run(self, script: str) -> Any:
        return self._call("POST", f"{self.session}/execute/sync", {"script": script, "args": []})


@pytest.fixture(scope="session")
def chromedriver() -> Iterator[Callable[..., Any]]:
    """Sends WebDriver commands: `chromedriver(method, path, body)`."""
    if shutil.which("chromedriver") is None:
        pytest.skip("chromedriver is missing")
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    process = subprocess.Popen(["chromedriver", f"--port={port}"], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    for line in process.stdout:
        if "started successfully" in line:
            break

    def call(method: str, path: str, body: Any = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", data, headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=120) as answer:
                return json.load(answer)["value"]
        except urllib.error.HTTPError as error:
            raise AssertionError(json.load(error)["value"]["message"]) from None

    yield call
    process.terminate()
    process.communicate(timeout=30)


@pytest.fixture
def open_page(chromedriver: Callable[..., Any], tmp_path: Path) -> Iterator[Callable[..., WebPage]]:
    """Opens a file in a window of this width and 800 px of height: `open_page(path, width, dark=False)`."""
    sessions: list[str] = []

    def opened(path: Path, width: int, dark: bool = False) -> WebPage:
        profile = f"--user-data-dir={tmp_path / f'profile_{len(sessions)}'}"
        options = {"goog:chromeOptions": {"args": [*_ARGUMENTS, profile]}}
        answer = chromedriver("POST", "/session", {"capabilities": {"alwaysMatch": options}})
        sessions.append(f"/session/{answer['sessionId']}")
        size = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width < 700}
        order = {"cmd": "Emulation.setDeviceMetricsOverride", "params": size}
        chromedriver("POST", f"{sessions[-1]}/goog/cdp/execute", order)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        order = {"cmd": "Emulation.setEmulatedMedia", "params": {"features": [scheme]}}
        chromedriver("POST", f"{sessions[-1]}/goog/cdp/execute", order)
        chromedriver("POST", f"{sessions[-1]}/timeouts", {"script": 60_000})
        chromedriver("POST", f"{sessions[-1]}/url", {"url": path.as_uri()})
        return WebPage(chromedriver, sessions[-1])

    yield opened
    for session in sessions:
        chromedriver("DELETE", session)
