"""What people do with the page of a photograph, for tests and for `benchmarks.web_page`."""

import functools
import http.server
import io
import threading
from contextlib import contextmanager

import numpy as np
from PIL import Image

SEGMENTED = "document.querySelector('#status').textContent.startsWith('Segmented')"
REFUSED = "!document.querySelector('#error').hidden"


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


@contextmanager
def folder_server(folder):
    """Serves a folder as ``python -m http.server`` does; yields the address."""
    handler = functools.partial(_Quiet, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


def choose(browser, path):
    """Chooses a photograph; what the page says when it is done."""
    browser.run("document.querySelector('#status').textContent = ''")
    browser.run("document.querySelector('#file').click()")  # else the same file is no change
    browser.choose("#file", path)
    browser.until(f"{SEGMENTED} || {REFUSED}")
    said = "#sentence" if browser.run(REFUSED) else "#status"
    return browser.run(f"document.querySelector('{said}').innerText")


def saved_mask(browser):
    """Class ids uint8 `[H,W]` of the mask that the page saves."""
    return np.asarray(Image.open(io.BytesIO(browser.download("#save-mask")[1])))
