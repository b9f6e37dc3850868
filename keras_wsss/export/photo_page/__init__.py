"""The page where a photograph is chosen and its mask appears, with its files in this folder.

The server shows it at its root, and ``export --format web`` writes it beside the network.
"""

from __future__ import annotations

import base64
import hashlib
import importlib.resources
import json
import string
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from keras_wsss.export.guards import statuses
from keras_wsss.export.metadata import Limits, Metadata
from keras_wsss.pages import STYLE, page
from keras_wsss.palette import colour_codes

SERVER_SCRIPTS = ("common.js", "ask_server.js", "page.js")
WEB_SCRIPTS = ("common.js", "resize.js", "png.js", "run_here.js", "page.js")
WEB_SOURCES = "'self' 'wasm-unsafe-eval'; worker-src 'self'"  # of the network's runtime


def server_page(models: Sequence[str], untaught: Sequence[str] = ()) -> str:
    """The page of a server, which asks its REST API.

    Args:
        models: their names; one of them is chosen.
        untaught: names of those whose class scores mean nothing, and are not shown.

    Example:

    >>> "<option>cats</option>" in server_page(["cats"])
    True
    """
    known = f"Masks by the model {models[0]}. " if len(models) == 1 else ""
    about = f"{known}The photograph goes to this server, and nowhere else."
    setup = {"palette": colour_codes(), "untaught": untaught}
    return _photo_page(about, setup, SERVER_SCRIPTS, models)


def web_page(metadata: Metadata, limits: Limits) -> str:
    """The page of a network that the browser runs.

    Args:
        metadata: of the network beside it.
        limits: what it admits.

    Example:

    >>> text = Path("exported/weights/demo/metadata.json").read_text()
    >>> metadata = wsss.export.Metadata.model_validate_json(text)
    >>> "no photograph leaves" in web_page(metadata, wsss.export.Limits())
    True
    """
    about = (
        f"The network {metadata.name} runs in this browser: no photograph leaves this machine. "
        f"It knows {', '.join(metadata.classes[1:])}. Licence of the code: {metadata.licence}; of "
        f"the pretrained weights: {metadata.weights_licence}."
    )
    setup = {
        "classes": metadata.classes,
        "limits": limits.model_dump(),
        "messages": dict(statuses(limits)),
        "palette": metadata.palette,
        "untaught": [] if metadata.scores_trained else [metadata.name],
    }
    return _photo_page(about, setup, WEB_SCRIPTS, [metadata.name], WEB_SOURCES)


def _photo_page(
    about: str,
    setup: Mapping[str, Any],
    scripts: Sequence[str],
    models: Sequence[str],
    sources: str = "",
) -> str:
    files = importlib.resources.files(__package__)
    style = (files / "style.css").read_text("utf-8")
    script = "".join((files / name).read_text("utf-8") for name in scripts)
    body = string.Template((files / "body.html").read_text("utf-8")).substitute(
        about=escape(about),
        hidden="" if len(models) > 1 else " hidden",
        models="".join(f"<option>{escape(name)}</option>" for name in models),
        script=script,
        setup=escape(json.dumps(setup)),
    )
    policy = (
        "default-src 'none'; base-uri 'none'; form-action 'none'; connect-src 'self'; "
        f"img-src data:; style-src {_hash(STYLE)} {_hash(style)}; "
        f"script-src {_hash(script)} {sources}"
    )
    head = (
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n<style>\n{style}</style>'
    )
    return page("Masks of photographs", body, head=head)


def _hash(content: str) -> str:
    """What lets an inline style or script of a page run, and no other."""
    digest = hashlib.sha256(f"\n{content}".encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"
