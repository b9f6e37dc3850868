"""Tables as HTML."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

from keras_wsss.palette import colour_codes


def table(caption: str, heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table that can be scrolled where it is wider than the window.

    Args:
        caption: text.
        heads: text above each column.
        rows: HTML of the cells, see the functions below.
    """
    caption = escape(caption)
    above = "".join(f'<th scope="col">{escape(head)}</th>' for head in heads)
    lines = "\n".join(f"<tr>{''.join(row)}</tr>" for row in rows)
    return (
        f'<div class="scroll" role="region" aria-label="{caption}" tabindex="0"><table>\n'
        f"<caption>{caption}</caption>\n<thead><tr>{above}</tr></thead>\n"
        f"<tbody>\n{lines}\n</tbody></table></div>"
    )


def row_head(text: str, colour: int | None = None) -> str:
    """The first cell of a row, with the colour of a class where a mask's id is given."""
    return f'<th scope="row">{"" if colour is None else swatch(colour)}{escape(text)}</th>'


def cell(content: object, best: bool = False) -> str:
    """A cell with a text or number; None: there is none."""
    text = "–" if content is None else escape(str(content))
    return f"<td>{f'<strong>{text}</strong>' if best else text}</td>"


def bar(percent: float | None) -> str:
    """A cell with a percentage, and a bar of that length behind it."""
    if percent is None:
        return cell(None)
    return f'<td class="bar" style="--part: {percent:.1f}%">{percent:.1f}</td>'


def shade(share: float) -> str:
    """A cell of a matrix: a fraction in percent, the darker the larger."""
    return f'<td class="shade" style="--part: {share:.3f}">{100 * share:.0f}</td>'


def swatch(number: int) -> str:
    """The colour of a mask's id, to stand before its name."""
    return f'<span class="swatch" style="background: {colour_codes()[number]}"></span>'
