"""The report as one HTML page that needs nothing else: no network, no file beside it; computes no number."""

from __future__ import annotations

import base64
import hashlib
import html
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from importlib.resources import files
from typing import Any

from sweep.report.figures import Plot
from sweep.report.inline import inline_svg
from sweep.report.texts import Column, Row, html_table, latex_table


@dataclass(frozen=True, kw_only=True)
class Section:
    """A part of the page: words, figures and tables in that order; empty ones are left out."""

    name: str
    title: str
    words: tuple[str, ...] = ()
    plots: tuple[Plot, ...] = ()
    tables: tuple[PrintedTable, ...] = ()
    open: bool = True
    """Whether its tables are unfolded when the page opens."""


@dataclass(frozen=True, kw_only=True)
class PrintedTable:
    """A table as the page and the LaTeX file print it."""

    name: str
    caption: str
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]

    @cached_property
    def latex(self) -> str:
        """The table for a paper."""
        return latex_table(self.name, self.caption, self.columns, self.rows)


@dataclass(frozen=True, kw_only=True)
class Page:
    """All that the page shows."""

    title: str
    answer: tuple[str, ...]
    notes: tuple[str, ...]
    sections: tuple[Section, ...]
    cells: tuple[str, ...]
    languages: tuple[str, ...]
    places: str = "language"
    """What `languages` are."""
    beside: Mapping[str, str] = field(default_factory=dict)
    """Addresses of pages that lie beside this one, by their titles."""
    raw: Mapping[str, Any] = field(default_factory=dict)
    """JSON values to be read as they are, by their titles."""


def render(page: Page) -> str:
    """The page. Equal pages are equal text."""
    style, script = (files("sweep.report").joinpath(name).read_text("utf-8") for name in ("page.css", "page.js"))
    sections = [section for section in page.sections if section.words or section.plots or section.tables]
    body = "\n".join(
        [
            f"<h1>{_text(page.title)}</h1>",
            f'<div class="answer" role="note" aria-label="The answer">{_paragraphs(map(_signed, page.answer))}</div>',
            "".join(f'<p class="note">{_text(note)}</p>' for note in page.notes),
            _navigation(sections),
            _beside(page.beside),
            _controls(page),
            *(_section(section) for section in sections),
            *(_raw(title, value) for title, value in page.raw.items()),
        ]
    )
    return (
        f'<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n<title>{_text(page.title)}</title>\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_policy(script)}">\n'
        f'<link rel="icon" href="data:,">\n<style>\n{style}</style>\n</head>\n<body>\n<main>\n{body}\n</main>\n'
        f'<div id="tip" role="status" hidden></div>\n<script>{script}</script>\n</body>\n</html>\n'
    )


def _policy(script: str) -> str:
    """What a browser may load for the page: nothing, but its own styles, script and data."""
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}'; img-src data:"


def _navigation(sections: Iterable[Section]) -> str:
    items = "".join(f'<li><a href="#{section.name}">{_text(section.title)}</a></li>' for section in sections)
    return f'<nav aria-label="Sections"><ul>{items}</ul></nav>'


def _beside(pages: Mapping[str, str]) -> str:
    items = "".join(f'<li><a href="{_text(address)}">{_text(title)}</a></li>' for title, address in pages.items())
    return f'<nav aria-label="Reports beside this one"><ul>{items}</ul></nav>' if items else ""


def _controls(page: Page) -> str:
    def select(name: str, words: str, options: Sequence[str]) -> str:
        listed = "".join(f'<option value="{_text(option)}">{_text(option)}</option>' for option in options)
        return f'<label>{words} <select id="{name}"><option value="">all</option>{listed}</select></label>'

    shown = '<span id="shown" class="note" role="status"></span>'
    themes = (
        '<option value="">as the system</option><option value="light">light</option><option value="dark">dark</option>'
    )
    return (
        '<div class="controls" role="group" aria-label="What is shown">'
        + select("cell", "cell", page.cells)
        + select("language", page.places, page.languages)
        + f'<label>colours <select id="theme">{themes}</select></label>{shown}</div>'
    )


def _section(section: Section) -> str:
    return "\n".join(
        [
            f'<section id="{section.name}" aria-label="{_text(section.title)}"><h2>{_text(section.title)}</h2>',
            _paragraphs(section.words),
            *(_figure(plot) for plot in section.plots),
            *(_table(table, section.open) for table in section.tables),
            "</section>",
        ]
    )


def _figure(plot: Plot) -> str:
    width = plot.figure.get_size_inches()[0]
    sizes = f"--least: {min(width * 4.5, 42):.0f}rem; --most: {width * 7.5:.0f}rem"
    return (
        f'<figure id="figure-{plot.name}" style="{sizes}">\n<div class="wide">{inline_svg(plot)}</div>\n'
        f"<figcaption><strong>{_text(plot.title)}.</strong> {_text(plot.caption)}</figcaption></figure>"
    )


def _table(table: PrintedTable, unfolded: bool) -> str:
    printed = html_table(table.name, table.caption, table.columns, table.rows)
    latex = (
        f"<details><summary>LaTeX</summary><p><button type=button class=copy data-copies=latex-{table.name}>copy"
        f'</button></p><pre id="latex-{table.name}">{html.escape(table.latex)}</pre></details>'
    )
    if unfolded:
        return printed + latex
    return f"<details><summary>{_text(table.caption)} ({len(table.rows)} rows)</summary>{printed}{latex}</details>"


def _raw(title: str, value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, indent=1, ensure_ascii=False, sort_keys=True)
    return f"<details><summary>{_text(title)}</summary><pre>{_text(text)}</pre></details>"


def _paragraphs(texts: Iterable[str]) -> str:
    return "".join(f"<p>{_text(text)}</p>" for text in texts)


def _signed(text: str) -> str:
    """The words with real minus signs before their numbers."""
    return re.sub(r"(?<=[ \[])-(?=\d)", "−", text)


def _text(text: str) -> str:
    return html.escape(text)
