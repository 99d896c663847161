"""A figure as part of a page: its colours become the page's, its marks tell what they are; draws nothing."""

from __future__ import annotations

import html
import re

from sweep.report.figures import GRID, INK, Plot

_HEAD = re.compile(r"^.*?<svg ", flags=re.DOTALL)
_METADATA = re.compile(r"<metadata>.*?</metadata>", flags=re.DOTALL)
_SIZE = re.compile(r'(?: width="[\d.]+pt"| height="[\d.]+pt"| version="1\.1")')
_ID = re.compile(r'\bid="([^"]+)"')
_REFERENCE = re.compile(r'(?:(xlink:href="|href=")#|url\(#)([^")]+)')
_MARK = re.compile(r'<g id="(mark\d+)">')


def inline_svg(plot: Plot) -> str:
    """The plot as an `<svg>` element.

    Ink and grid take the page's colours, so that a dark page has a light ink. Ids start with the plot's name, since a
    page holds several. A mark carries its cell, its language and its words, and can be reached by the keyboard. The
    figure is a group, since what is in an image is hidden from screen readers.
    """
    text = _METADATA.sub("", _HEAD.sub("<svg ", plot.svg(), count=1))
    head, rest = text.split(">", 1)
    text = _SIZE.sub("", head) + f' role="group" aria-label="{html.escape(plot.title)}">' + rest
    text = _MARK.sub(lambda found: _opened(plot, found[1]), text)
    text = _ID.sub(lambda found: f'id="{plot.name}-{found[1]}"', text)
    text = _REFERENCE.sub(lambda found: f"{found[0].removesuffix(found[2])}{plot.name}-{found[2]}", text)
    return text.replace(INK, "currentColor").replace(GRID, "var(--grid)")


def _opened(plot: Plot, gid: str) -> str:
    mark = plot.marks[gid]
    about = {"cell": mark.cell, "language": mark.language, "text": mark.text}
    data = "".join(f' data-{name}="{html.escape(value)}"' for name, value in about.items() if value)
    return f'<g id="{gid}" class="mark" tabindex="-1"{data}><title>{html.escape(mark.text)}</title>'
