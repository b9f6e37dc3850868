"""A headless Chromium that tests drive through pipes: no driver and no package is needed."""

from __future__ import annotations

import base64
import json
import os
import select
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

PROGRAMS = ("chromium", "chromium-browser", "google-chrome")
KEYS = {"Tab": 9, "Enter": 13}
# Pictures that load when they are scrolled to, or when their part is unfolded, load at once.
LOAD_PICTURES = """Promise.all([...document.images].map(image => {
  image.loading = "eager";
  return image.decode().catch(() => null);
})).then(() => true)"""

# What is wrong with the page as a window of some width shows it, as a list of sentences. (The
# innerWidth of a phone grows with what overflows.) Text needs a contrast of 4.5 with what lies
# behind it (WCAG 2, AA).
FAULTS = """(width => {
  const faults = [], root = document.documentElement;
  if (root.scrollWidth > width) faults.push(`${root.scrollWidth} of ${width} pixels wide`);
  for (const image of document.images) {
    if (!image.alt.trim()) faults.push(`no alt: ${image.src.slice(0, 80)}`);
    if (!image.naturalWidth) faults.push(`not loaded: ${image.src.slice(0, 80)}`);
  }
  const parse = colour => {
    const [r, g, b, a = 1] = colour.match(/[\\d.]+/g).map(Number);
    return [r, g, b, a];
  };
  const over = (top, below) => top.map((v, i) => i < 3 ? v * top[3] + below[i] * (1 - top[3]) : 1);
  const behind = element => {
    if (!element) return [255, 255, 255, 1];
    const own = parse(getComputedStyle(element).backgroundColor);
    return own[3] === 1 ? own : over(own, behind(element.parentElement));
  };
  const light = ([r, g, b]) => [r, g, b].map(v => v / 255)
    .map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  for (const element of document.body.querySelectorAll("*")) {
    const text = [...element.childNodes].find(n => n.nodeType === 3 && n.data.trim());
    if (!text || !element.checkVisibility()) continue;
    const style = getComputedStyle(element), svg = element.closest("svg");
    const back = behind(element);
    const pair = [over(parse(svg ? style.fill : style.color), back), back].map(light);
    const contrast = (Math.max(...pair) + 0.05) / (Math.min(...pair) + 0.05);
    if (contrast < 4.5) faults.push(`contrast ${contrast.toFixed(1)}: ${text.data.trim()}`);
  }
  return faults;
})(WIDTH)"""


def find_program():
    """Path of a Chromium (``apt-get install chromium``), or None where there is none."""
    return next(filter(None, map(shutil.which, PROGRAMS)), None)


class Browser:
    """One page of one browser; everything waits until the browser has done it.

    Args:
        program: path, see :func:`find_program`.

    Example:

    >>> with Browser(find_program()) as browser:
    ...     browser.open("file:///tmp/index.html", width=390, scheme="dark")
    ...     browser.run("document.title"), browser.errors
    ('Predictions', [])
    """

    def __init__(self, program):
        self.profile = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        commands, self.to_browser = os.pipe()
        self.from_browser, answers = os.pipe()
        options = [
            "--headless",
            "--no-sandbox",  # which no root may have; the pages are our own
            "--disable-dev-shm-usage",
            "--disable-gpu",
            "--hide-scrollbars",
            "--remote-debugging-pipe",
            f"--user-data-dir={self.profile.name}",
        ]
        # The protocol is spoken on the descriptors 3 and 4.
        shell = ["bash", "-c", f'exec "$0" "$@" 3<&{commands} 4>&{answers}', program, *options]
        self.process = subprocess.Popen(
            shell, pass_fds=(commands, answers), stderr=subprocess.DEVNULL
        )
        os.close(commands)
        os.close(answers)
        self.buffer, self.number, self.session, self.events = b"", 0, None, []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        attached = self.call("Target.attachToTarget", targetId=target, flatten=True)
        self.session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait(30)
        os.close(self.to_browser)
        os.close(self.from_browser)
        self.profile.cleanup()

    def call(self, method, **parameters):
        """Result of a method of the protocol."""
        self.number += 1
        message = {"id": self.number, "method": method, "params": parameters}
        if self.session:
            message["sessionId"] = self.session
        os.write(self.to_browser, json.dumps(message).encode() + b"\0")
        while (answer := self._message()).get("id") != self.number:
            self.events.append(answer)
        if "error" in answer:
            raise RuntimeError(f"{method}: {answer['error']['message']}")
        return answer["result"]

    def open(self, url, width=1280, height=800, scheme="light"):
        """Shows a page, with all its pictures.

        Args:
            url: str, e.g. of ``Path.as_uri()``.
            width, height: of the window; below 600 it is that of a phone.
            scheme: ``"light"`` or ``"dark"``.
        """
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=width < 600,
        )
        feature = {"name": "prefers-color-scheme", "value": scheme}
        self.call("Emulation.setEmulatedMedia", features=[feature])
        self.events.clear()
        if error := self.call("Page.navigate", url=url).get("errorText"):
            raise RuntimeError(f"{url}: {error}")
        self.wait_for("Page.loadEventFired")
        self.run(LOAD_PICTURES)

    def run(self, expression):
        """Value of a JavaScript expression; a promise is waited for."""
        answer = self.call(
            "Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True
        )
        if "exceptionDetails" in answer:
            raise RuntimeError(f"{expression}: {answer['exceptionDetails']}")
        return answer["result"].get("value")

    def until(self, expression, seconds=60):
        """Waits until a JavaScript expression is true."""
        end = time.monotonic() + seconds
        while not self.run(expression):
            if time.monotonic() > end:
                raise RuntimeError(f"{expression}: not true after {seconds} seconds")
            time.sleep(0.02)

    def choose(self, selector, path):
        """Chooses a file for an ``<input type="file">``."""
        element = self.call("Runtime.evaluate", expression=f"document.querySelector('{selector}')")
        found = element["result"]["objectId"]
        self.call("DOM.setFileInputFiles", files=[str(path)], objectId=found)

    def download(self, selector):
        """Clicks what saves a file; the name and the bytes of the file."""
        self.events.clear()
        with tempfile.TemporaryDirectory() as folder:
            self.call(
                "Browser.setDownloadBehavior",
                behavior="allow",
                downloadPath=folder,
                eventsEnabled=True,
            )
            self.run(f"document.querySelector('{selector}').click()")
            name = self.wait_for("Browser.downloadWillBegin")["suggestedFilename"]
            self.wait_for("Browser.downloadProgress", state="completed")
            return name, (Path(folder) / name).read_bytes()

    def press(self, key):
        """Forgets the events so far; presses and releases ``"Tab"`` or ``"Enter"``."""
        self.events.clear()
        for kind in ("keyDown", "keyUp"):
            text = {"text": "\r"} if key == "Enter" and kind == "keyDown" else {}
            code = KEYS[key]
            self.call(
                "Input.dispatchKeyEvent", type=kind, key=key, windowsVirtualKeyCode=code, **text
            )

    def screenshot(self, path):
        """Writes the whole page, not only what the window shows, as PNG."""
        size = self.call("Page.getLayoutMetrics")["cssContentSize"]
        shot = self.call(
            "Page.captureScreenshot", captureBeyondViewport=True, clip=size | {"scale": 1}
        )
        Path(path).write_bytes(base64.b64decode(shot["data"]))

    def faults(self, url, use=lambda: None):
        """What is wrong with a page on desktop or phone, light or dark; a list of sentences.

        Args:
            url: of the page.
            use: is called when it is open, and does with it what people do.
        """
        found = []
        for width in (1280, 390):
            for scheme in ("light", "dark"):
                self.open(url, width, scheme=scheme)
                use()
                for fault in [*self.errors, *self.run(FAULTS.replace("WIDTH", str(width)))]:
                    found.append(f"{width} {scheme}: {fault}")
        return found

    @property
    def errors(self):
        """What the console says of level error since the page was opened."""
        errors = []
        for event in self.events:
            match event.get("method"), event.get("params"):
                case "Runtime.exceptionThrown", found:
                    errors.append(found["exceptionDetails"].get("text"))
                case "Runtime.consoleAPICalled", {"type": "error" | "assert"} as found:
                    errors.append(found["args"])
                case "Log.entryAdded", {"entry": {"level": "error"} as entry}:
                    errors.append(f"{entry['text']} {entry.get('url', '')}")
        return errors

    @property
    def requests(self):
        """Addresses that the page has asked for since it was opened."""
        sent = (e for e in self.events if e.get("method") == "Network.requestWillBeSent")
        return [event["params"]["request"]["url"] for event in sent]

    def wait_for(self, method, **said):
        """What an event of the protocol says, once one has come since the page was opened.

        Args:
            method: its name.
            **said: what it says among other things.
        """
        seen = 0
        while True:
            for event in self.events[seen:]:
                if event.get("method") == method and said.items() <= event["params"].items():
                    return event["params"]
            seen = len(self.events)
            self.events.append(self._message())

    def _message(self, seconds=60):
        """The next message of the browser."""
        end = time.monotonic() + seconds
        while b"\0" not in self.buffer:
            ready, _, _ = select.select([self.from_browser], [], [], max(0, end - time.monotonic()))
            data = os.read(self.from_browser, 1 << 20) if ready else b""
            if not data:
                raise RuntimeError("the browser " + ("has stopped" if ready else "does not answer"))
            self.buffer += data
        message, _, self.buffer = self.buffer.partition(b"\0")
        return json.loads(message)
