"""HTML pages: what they share. One look on desktop and phone, light and dark, and no network."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable
from html import escape
from urllib.parse import quote

from PIL import Image

# The colours of text on paper have a contrast of 7 and more, the others of 3 and more.
STYLE = """\
:root { color-scheme: light dark; --paper: #fff; --text: #1b1b1f; --quiet: #52525b;
  --soft: #e8e8ec; --line: #c8c8d0; --link: #0b57a8;
  --error: #c62828; --warning: #b26a00; --info: #607d8b }
@media (prefers-color-scheme: dark) { :root { --paper: #131316; --text: #ececf1;
  --quiet: #b4b4bd; --soft: #2b2b31; --line: #4a4a52; --link: #8ab8f5;
  --error: #ef6c6c; --warning: #f0a840; --info: #90a4ae } }
* { box-sizing: border-box }
body { background: var(--paper); color: var(--text); font: 16px/1.5 system-ui, sans-serif;
  margin: 0 auto; max-width: 80rem; overflow-wrap: anywhere; padding: 1rem }
h1 { font-size: 1.5rem; line-height: 1.25 }
h2 { font-size: 1.2rem; margin: 2rem 0 .5rem }
p, li { max-width: 48rem }
a { color: var(--link) }
:focus-visible { outline: 3px solid var(--link); outline-offset: 2px }
.pictures { display: grid; gap: 1rem;
  grid-template-columns: repeat(auto-fill, minmax(min(var(--least), 100%), 1fr)) }
figure { margin: 0 }
figure a { display: block }
img, .none { aspect-ratio: 1; background: var(--soft); display: block; object-fit: contain;
  width: 100% }
.none { align-items: center; color: var(--quiet); display: flex; justify-content: center }
figcaption { font-size: .875rem; margin-top: .3rem }
.finding { border-left: .3rem solid var(--kind); margin: 1.5rem 0; padding-left: 1rem }
.finding h2 { font-size: 1rem; margin: 0 }
.error { --kind: var(--error) } .warning { --kind: var(--warning) } .info { --kind: var(--info) }
"""
# The empty icon keeps a browser from asking a server for one.
PAGE = """\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<link rel="icon" href="data:,">
<style>
{style}</style>
{head}
</head>
<body>
<h1>{heading}</h1>
<main>
{body}
</main>
</body>
</html>
"""


def page(title: str, body: str, heading: str | None = None, head: str = "") -> str:
    """A whole page.

    Args:
        title: text, of the window.
        body: HTML.
        heading: text above the body; None: the title.
        head: HTML, what the page has of its own in its head.

    Example:

    >>> html = page("Masks", pictures([figure("a.jpg", "a cat")]))
    >>> "<title>Masks</title>" in html
    True
    """
    heading = escape(title if heading is None else heading)
    return PAGE.format(title=escape(title), style=STYLE, heading=heading, body=body, head=head)


def figure(source: str | None, caption: str, alt: str = "", link: str | None = None) -> str:
    """A picture with what is said below it.

    Args:
        source: address, see :func:`address` and :func:`data_address`; None: there is no picture.
        caption: text.
        alt: text that stands for the picture.
        link: address of what is shown when the picture is chosen.
    """
    shown = '<div class="none">no picture</div>'
    if source is not None:
        shown = f'<img loading="lazy" alt="{escape(alt)}" src="{source}">'
    if link is not None:
        shown = f'<a href="{link}">{shown}</a>'
    return f"<figure>{shown}<figcaption>{escape(caption)}</figcaption></figure>"


def pictures(figures: Iterable[str], least: str = "18rem") -> str:
    """Figures side by side, as many as there is room for.

    Args:
        figures: HTML of :func:`figure`.
        least: width of each, as CSS has it.
    """
    return "\n".join([f'<div class="pictures" style="--least: {least}">', *figures, "</div>"])


def address(path: str) -> str:
    """A path relative to the page as an address, whatever its names hold.

    Example:

    >>> address("masks/what? & 50%.png")
    'masks/what%3F%20%26%2050%25.png'
    """
    return quote(path)


def data_address(image: Image.Image, quality: int = 80) -> str:
    """A picture as an address that holds it, so that the page needs no other file.

    Args:
        image: of mode RGB; it becomes a JPEG.
        quality: of the JPEG, 0..100.
    """
    file = io.BytesIO()
    image.save(file, "JPEG", quality=quality)
    return f"data:image/jpeg;base64,{base64.b64encode(file.getvalue()).decode('ascii')}"
