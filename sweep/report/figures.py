"""Plots of a sweep's tables, drawn with matplotlib; knows neither files nor pages.

Colours tell things apart for colour-blind readers too (Okabe and Ito's palette; purple to orange for gains), and never
alone: numbers, marks or places say the same. Ink and grid are two stated colours that a page may exchange for its own.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import matplotlib
import matplotlib.ticker
import numpy as np
import pyarrow as pa
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from search_spaces.transfer_grid import CellRole
from sweep.per_language import BLIND, MEAN, MEAN_WITHOUT_SOURCE
from sweep.report.words import Words
from sweep.show import ROLES

INK, GRID = "#1b1c1d", "#c9cacb"
BLUE, ORANGE, GREEN, RED, PURPLE, GREY = "#0072b2", "#e69f00", "#009e73", "#d55e00", "#cc79a7", "#8a8a8a"

#: The most panels of a figure; more cells than that are in the tables alone, and the caption says so.
PANELS = 24

_USUAL = Words()

#: The points per inch of an SVG file, which a figure is laid out for.
_SVG_DPI = 72

_STYLE = {
    "font.family": "sans-serif",
    "font.size": 9,
    "svg.fonttype": "none",
    "text.parse_math": False,  # a name with two dollar signs is a name
    "text.color": INK,
    "axes.edgecolor": GRID,
    "axes.labelcolor": INK,
    "axes.titlesize": 9,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": GRID,
    "grid.linewidth": 0.5,
    "axes.axisbelow": True,
    "xtick.color": INK,
    "ytick.color": INK,
    "legend.frameon": False,
}

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Mark:
    """What a drawn thing stands for: its cell and language where it has one, and its words."""

    text: str
    cell: str = ""
    language: str = ""


@dataclass(frozen=True, kw_only=True)
class Plot:
    """A figure with its title, what a reader should see in it, and the marks by the group id that they carry."""

    name: str
    title: str
    caption: str
    figure: Figure
    marks: dict[str, Mark] = field(default_factory=dict)

    def mark(self, artist: Any, mark: Mark) -> None:
        """Say what an artist stands for. It lies within its axes, so that it needs no room of its own around them."""
        gid = f"mark{len(self.marks)}"
        artist.set_gid(gid)
        artist.set_in_layout(False)
        self.marks[gid] = mark

    def svg(self) -> str:
        """The figure as an SVG file; equal figures are equal text."""
        return self._svg

    def png(self) -> bytes:
        """The figure as a PNG file of 150 points per inch, on white."""
        return self._saved("png", dpi=150, facecolor="white", metadata={"Software": None})

    @cached_property
    def _svg(self) -> str:
        """Drawn once: a page and a file beside it have the same figure, and drawing is what a report takes long for."""
        return self._saved("svg", metadata={"Date": None, "Creator": None}).decode()

    def _saved(self, kind: str, **options: Any) -> bytes:
        buffer = io.BytesIO()
        with matplotlib.rc_context({**_STYLE, "svg.hashsalt": self.name}):
            self._lay_out()
            self.figure.savefig(buffer, format=kind, **{"transparent": kind == "svg", **options})
        return buffer.getvalue()

    def _lay_out(self) -> None:
        """Give the figure's parts their places, by the text widths of SVG; they are the same in every file.

        Drawing takes longest, and a figure with a layout engine is drawn twice for each file, the first time only to
        be laid out. So the engine is gone after this.
        """
        engine = self.figure.get_layout_engine()
        if engine is None:
            return
        FigureCanvasSVG(self.figure)
        stated = self.figure.dpi
        self.figure.dpi = _SVG_DPI
        engine.execute(self.figure)
        self.figure.dpi = stated
        self.figure.set_layout_engine(None)


def plots(
    tables: Mapping[str, pa.Table],
    trials: pa.Table,
    mixtures: Mapping[str, Sequence[str]],
    words: Words = _USUAL,
) -> list[Plot]:
    """Every figure that the tables have something for. `mixtures` names the tasks of each cell that mixes several.

    A figure names its axes and explains its marks itself, so that its file can stand in a paper.
    """
    rows = {name: table.to_pylist() for name, table in tables.items()}
    searched = [row for row in trials.to_pylist() if row["phase"] == "search"]
    drawn = [
        matrix(rows["per_language"], words),
        _bars(rows["per_language"], words),
        _groups(rows["per_group"], words),
        _optimism(rows["selection"], words),
        _learning_rates(searched, words),
        _history(searched, words),
        _expected(rows["expected_best"], searched, words),
        *(_mixing(cell, tasks, searched, words) for cell, tasks in mixtures.items()),
        _importances(rows["importances"]),
    ]
    return [plot for plot in drawn if plot is not None]


def _plot(name: str, title: str, caption: str, width: float, height: float) -> Plot:
    figure = Figure(figsize=(width, height), layout="constrained")
    return Plot(name=name, title=title, caption=caption, figure=figure)


def _explained(plot: Plot, across: str, up: str, *handles: Any) -> None:
    """Name the axes of a figure, and say above it what its marks are."""
    with matplotlib.rc_context(_STYLE):
        if across:
            plot.figure.supxlabel(across, fontsize=9)
        if up:
            plot.figure.supylabel(up, fontsize=9)
        if handles:
            columns = 1 if plot.figure.get_size_inches()[0] < 5 else 2 if len(handles) < 3 else min(4, len(handles))
            plot.figure.legend(handles=handles, loc="outside upper center", ncols=columns, fontsize=8)


def _colour_bar(plot: Plot, colours: Any, axes: Axes, label: str, **more: float) -> None:
    """Say which colour stands for which number; drawn, since a screen reader would tell of an image."""
    bar = plot.figure.colorbar(colours, ax=axes, label=label, **more)
    bar.outline.set_visible(False)
    bar.solids.set_rasterized(False)
    bar.solids.set_edgecolor("face")


def _dot(label: str, colour: str, shape: str = "o", **more: Any) -> Line2D:
    return Line2D([], [], linestyle="none", marker=shape, color=colour, label=label, markersize=5, **more)


def _line(label: str, colour: str) -> Line2D:
    return Line2D([], [], color=colour, lw=1.6, label=label)


# The answer

_FRAME = (
    "In bold with a frame: the 95% interval excludes zero, before any correction for the number of squares. An empty "
    "square is an absence."
)


def matrix(rows: Sequence[Row], words: Words = _USUAL) -> Plot | None:
    """The transfer matrix, from rows of `per_language`; None without any gain."""
    languages = sorted({row["language"] for row in rows}, key=lambda name: (name.startswith(MEAN), name))
    return _heat_map(
        "transfer_matrix",
        f"Gain by {words.cell} and language",
        f"{words.gain}. {_FRAME}",
        {(row["cell"], row["language"]): row for row in rows if row["cell"] != row["baseline"]},
        cells_in_order(rows, without=(CellRole.BASELINE, *BLIND)),
        languages,
        ("test language", words.cell, f"gain in {words.score}"),
    )


def targets(rows: Sequence[Row]) -> Plot | None:
    """The transfer matrix of a suite, from rows whose `language` is a target; None without any gain."""
    return _heat_map(
        "targets",
        "Gain by intermediate training and target",
        f"Score minus the baseline's, mean over a target's languages, same seeds and items. {_FRAME}",
        {(row["cell"], row["language"]): row for row in rows if row["cell"] != row["baseline"]},
        cells_in_order(rows, without=(CellRole.BASELINE, *BLIND)),
        list(dict.fromkeys(row["language"] for row in rows)),
        ("target", "intermediate training", "gain in score"),
    )


def _groups(rows: Sequence[Row], words: Words) -> Plot | None:
    names = sorted({(row["grouping"], row["group"]) for row in rows})
    return _heat_map(
        "groups",
        "Gain by family, script and amount of pre-training text",
        f"{words.gain}; means over the languages of a group, without English. Pre-training: the language's part of "
        f"CC-100, {words.text}. {_FRAME}",
        {(row["cell"], f"{row['group']} ({row['grouping']})"): row for row in rows if row["cell"] != row["baseline"]},
        cells_in_order(rows, without=(CellRole.BASELINE, *BLIND)),
        [f"{group} ({grouping})" for grouping, group in names],
        ("group of languages", words.cell, f"gain in {words.score}"),
    )


def _heat_map(
    name: str,
    title: str,
    caption: str,
    rows: Mapping[tuple[str, str], Row],
    cells: Sequence[str],
    places: Sequence[str],
    names: tuple[str, str, str],
) -> Plot | None:
    """A heat map of gains; `names` are those of the places down, of the cells across and of the colours."""
    gains = np.array([[_number(rows.get((cell, place)), "gain") for cell in cells] for place in places], dtype=float)
    if not gains.size or np.isnan(gains).all():
        return None
    longest = max(len(place) for place in places)
    plot = _plot(name, title, caption, max(4.4, 0.75 * len(cells) + 0.09 * longest + 2.4), 0.3 * len(places) + 2.0)
    with matplotlib.rc_context(_STYLE):
        axes = plot.figure.add_subplot()
        reach = max(0.01, float(np.nanmax(np.abs(gains))))
        mesh = axes.pcolormesh(gains, cmap="PuOr_r", vmin=-reach, vmax=reach, edgecolors="none", rasterized=False)
        mesh.set_gid("squares")
        axes.set_xticks(np.arange(len(cells)) + 0.5, cells, rotation=35, ha="right", rotation_mode="anchor")
        axes.set_yticks(np.arange(len(places)) + 0.5, [_shown(place) for place in places])
        axes.invert_yaxis()
        axes.grid(False)
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)
        axes.set_ylabel(names[0])
        axes.set_xlabel(names[1])
        _colour_bar(plot, mesh, axes, names[2], aspect=30)
        for y, place in enumerate(places):
            for x, cell in enumerate(cells):
                row = rows.get((cell, place))
                if row is not None and row["gain"] is not None:
                    _square(plot, axes, x, y, row, reach, Mark(_gain_text(row, place), cell, place))
    frame = Patch(fill=False, ec=INK, label="95% interval excludes 0, uncorrected")
    _explained(plot, "", "", frame)
    return plot


def _square(plot: Plot, axes: Axes, x: int, y: int, row: Row, reach: float, mark: Mark) -> None:
    sure = row["gain_low"] is not None and (row["gain_low"] > 0 or row["gain_high"] < 0)
    ink = "white" if abs(row["gain"]) > 0.7 * reach else "black"
    number = f"{round(row['gain'], 2) + 0.0:+.2f}".replace("-", "−")
    text = axes.text(
        x + 0.5,
        y + 0.5,
        number,
        ha="center",
        va="center",
        color=ink,
        fontsize=8,
        fontweight="bold" if sure else "normal",
    )
    if sure:
        axes.add_patch(matplotlib.patches.Rectangle((x + 0.05, y + 0.08), 0.9, 0.84, fill=False, ec=ink, lw=1.0))
    plot.mark(text, mark)


def _bars(rows: Sequence[Row], words: Words) -> Plot | None:
    rows = [row for row in rows if row["accuracy"] is not None]
    cells, left_out = _panelled(cells_in_order(rows))
    if not cells:
        return None
    languages = sorted({row["language"] for row in rows}, key=lambda name: (name.startswith(MEAN), name))
    known = {(row["cell"], row["language"]): row for row in rows}
    baseline = next((row["baseline"] for row in rows if row["baseline"]), "")
    plot = _plot(
        "accuracy",
        f"{words.title} per language",
        f"{words.mean}; the upright mark is that of {words.baseline}.{left_out}",
        *_panel_size(len(cells), 0.19 * len(languages) + 0.5),
    )
    for axes, cell in _panels(plot, cells, sharex=True, sharey=True):
        for place, language in enumerate(languages):
            row = known.get((cell, language))
            if row is None:
                continue
            colour = GREY if language.startswith(MEAN) else BLUE
            bar = axes.barh(place, row["accuracy"], height=0.72, color=colour)
            if row["accuracy_low"] is not None:
                axes.hlines(place, row["accuracy_low"], row["accuracy_high"], color=INK, lw=1.2)
            other = known.get((baseline, language))
            if other is not None and cell != baseline:
                axes.vlines(other["accuracy"], place - 0.4, place + 0.4, color=ORANGE, lw=1.8)
            plot.mark(bar.patches[0], Mark(_accuracy_text(row), cell, language))
        axes.set_yticks(range(len(languages)), [_shown(language) for language in languages], fontsize=7)
        axes.set_ylim(len(languages) - 0.4, -0.6)
        axes.set_xlim(0, 1)
        axes.grid(False, axis="y")
    handles = [Patch(color=BLUE, label="a language"), Patch(color=GREY, label="a mean"), _line("95% interval", INK)]
    base = f"{baseline}, the baseline" if baseline else words.baseline
    _explained(plot, words.score, "test language", *handles, _line(base, ORANGE))
    return plot


# The search


def _optimism(rows: Sequence[Row], words: Words) -> Plot | None:
    rows = [row for row in rows if row["confirmed_score"] is not None and row["search_score"] is not None]
    if not rows:
        return None
    order = cells_in_order(rows)
    plot = _plot(
        "optimism",
        "What the search promised and what fresh seeds gave",
        f"{words.english_dev}: the score that won the search (open) and the same settings on fresh seeds (filled, 95% "
        "interval over seeds). The first is the best of several, so too high on average; only the second is reported.",
        7.5,
        0.28 * len(rows) + 1.3,
    )
    with matplotlib.rc_context(_STYLE):
        axes = plot.figure.add_subplot()
        for row in rows:
            place = order.index(row["cell"])
            axes.plot([row["search_score"], row["confirmed_score"]], [place, place], color=GREY, lw=1)
            if row["confirmed_low"] is not None:
                axes.hlines(place, row["confirmed_low"], row["confirmed_high"], color=BLUE, lw=1.4)
            axes.plot(row["search_score"], place, "o", mfc="none", mec=ORANGE, mew=1.6, ms=7)
            (point,) = axes.plot(row["confirmed_score"], place, "o", color=BLUE, ms=6)
            text = f"{row['cell']}: search {row['search_score']:.3f}, confirmed {row['confirmed_score']:.3f}"
            plot.mark(point, Mark(text, row["cell"]))
        axes.set_yticks(range(len(order)), order)
        axes.set_ylim(len(order) - 0.5, -0.5)
        axes.set_xlabel(words.english_dev)
    search = _dot("won the search", ORANGE, markerfacecolor="none")
    _explained(plot, "", "", search, _dot("on fresh seeds, mean", BLUE), _line("95% interval over seeds", BLUE))
    return plot


def _learning_rates(trials: Sequence[Row], words: Words) -> Plot | None:
    names = sorted({name for row in trials for name in row if name.endswith("learning_rate")})
    scored = [row for row in trials if row["score"] is not None and any(row[name] is not None for name in names)]
    cells, left_out = _panelled(cells_in_order(scored))
    if not cells:
        return None
    colours = dict(zip(names, (GREEN, BLUE, PURPLE, ORANGE, RED), strict=False))
    rates = [row[name] for row in scored for name in names if row[name] is not None and row[name] > 0]
    narrow = bool(rates) and max(rates) < 100 * min(rates)  # else the powers of ten alone are enough to read
    plot = _plot(
        "learning_rates",
        "Learning rate and score",
        f"{words.english_dev} of every search trial; a cross was stopped early. "
        + "; ".join(
            f"{_colour_word(colours[name])}: {name.removeprefix('value.')}" for name in names if name in colours
        )
        + (f".{left_out}" if left_out else ""),
        *_panel_size(len(cells), 1.5),
    )
    for axes, cell in _panels(plot, cells, sharex=True, sharey=True):
        for row in scored:
            if row["cell"] != cell:
                continue
            for name, colour in colours.items():
                if row[name] is not None and row[name] > 0:
                    shape = "x" if row["state"] == "pruned" else "o"
                    (point,) = axes.plot(row[name], row["score"], shape, color=colour, ms=4.5)
                    plot.mark(point, Mark(f"{_trial_text(row)}, {name.removeprefix('value.')} {row[name]:.2g}", cell))
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter(_power_of_ten)
        axes.xaxis.set_minor_locator(matplotlib.ticker.LogLocator(subs=(2.0, 5.0)))
        axes.xaxis.set_minor_formatter(_power_of_ten if narrow else matplotlib.ticker.NullFormatter())
        axes.tick_params(axis="x", which="both", labelsize=7)
    handles = [_dot(name.removeprefix("value."), colour) for name, colour in colours.items()]
    _explained(plot, "learning rate", words.english_dev, *handles, _dot("stopped early", INK, "x"))
    return plot


def _history(trials: Sequence[Row], words: Words) -> Plot | None:
    cells, left_out = _panelled(cells_in_order([row for row in trials if row["score"] is not None]))
    if not cells:
        return None
    plot = _plot(
        "history",
        "The search of each cell",
        f"{words.english_dev} by trial number; the line is the best finished so far, a cross was stopped early."
        + left_out,
        *_panel_size(len(cells), 1.5),
    )
    for axes, cell in _panels(plot, cells, sharey=True):
        mine = sorted((row for row in trials if row["cell"] == cell), key=lambda row: row["number"])
        best, numbers, bests = None, [], []
        for row in mine:
            if row["score"] is None:
                continue
            shape, colour = ("x", GREY) if row["state"] == "pruned" else ("o", BLUE)
            (point,) = axes.plot(row["number"], row["score"], shape, color=colour, ms=4)
            plot.mark(point, Mark(_trial_text(row), cell))
            if row["state"] == "finished":
                best = row["score"] if best is None else max(best, row["score"])
            if best is not None:
                numbers.append(row["number"])
                bests.append(best)
        axes.step(numbers, bests, where="post", color=ORANGE, lw=1.2)
        axes.xaxis.get_major_locator().set_params(integer=True)
    handles = [_dot("finished", BLUE), _dot("stopped early", GREY, "x"), _line("best finished so far", ORANGE)]
    _explained(plot, "number of the search trial", words.english_dev, *handles)
    return plot


def _expected(rows: Sequence[Row], trials: Sequence[Row], words: Words) -> Plot | None:
    there = {row["cell"] for row in rows}
    cells, left_out = _panelled([cell for cell in cells_in_order(trials) if cell in there])
    if not cells or max(row["trials"] for row in rows) < 2:
        return None
    plot = _plot(
        "expected_best",
        "What more trials would have brought",
        f"Expected best {words.english_dev} of so many trials drawn from the search (Dodge et al. 2019), with a 95% "
        "bootstrap band; fewer than ten trials say little. Trials count as independent draws, which those of a sampler "
        "that learns are not, and one that was stopped early with its last score." + left_out,
        *_panel_size(len(cells), 1.5),
    )
    for axes, cell in _panels(plot, cells, sharey=True):
        mine = [row for row in rows if row["cell"] == cell]
        numbers = [row["trials"] for row in mine]
        axes.fill_between(
            numbers, [r["score_low"] for r in mine], [r["score_high"] for r in mine], color=BLUE, alpha=0.2
        )
        axes.plot(numbers, [row["score"] for row in mine], color=BLUE, marker=".", ms=4, lw=1.3)
        axes.xaxis.get_major_locator().set_params(integer=True)
    band = Patch(color=BLUE, alpha=0.2, label="95% bootstrap band")
    _explained(plot, "search trials", f"expected best {words.english_dev}", _line("expected best", BLUE), band)
    return plot


def _mixing(cell: str, tasks: Sequence[str], trials: Sequence[Row], words: Words) -> Plot | None:
    names = [f"value.share.{task}" for task in tasks]
    mine = [row for row in trials if row["cell"] == cell and row["score"] is not None]
    mine = [row for row in mine if all(row.get(name) is not None for name in names)]
    if len(mine) < 2:
        return None
    plot = _plot(
        f"mixing_{cell}",
        f"Mixing weights of {cell}",
        "One line" if len(tasks) != 3 else "One point",
        6.0,
        3.2 if len(tasks) != 3 else 4.2,
    )
    drawn = (_ternary if len(tasks) == 3 else _parallel)(plot, cell, tasks, mine, words)
    if len({tuple(row[name] for name in names) for row in mine}) == 1:
        return replace(drawn, caption="All trials have the same shares, so nothing is known of others.")
    return drawn


def _parallel(plot: Plot, cell: str, tasks: Sequence[str], trials: Sequence[Row], words: Words) -> Plot:
    with matplotlib.rc_context(_STYLE):
        axes = plot.figure.add_subplot()
        colours, scale = _score_colours(trials)
        ordered = sorted(trials, key=lambda row: row["score"])
        for place, row in enumerate(ordered):
            shares = [row[f"value.share.{task}"] for task in tasks]
            width = 1 + 2 * place / max(1, len(ordered) - 1)
            (line,) = axes.plot(range(len(tasks)), shares, color=colours(row["score"]), marker=".", lw=width)
            plot.mark(line, Mark(_shares_text(row, tasks), cell))
        axes.set_xticks(range(len(tasks)), tasks)
        axes.set_ylabel("share of the steps")
        axes.set_xlabel("intermediate task")
        axes.set_ylim(0, None)
        _colour_bar(plot, scale, axes, words.english_dev)
    caption = "Each line is a trial; the redder and wider, the better. Shares of a trial sum to 1."
    return replace(plot, caption=caption)


def _ternary(plot: Plot, cell: str, tasks: Sequence[str], trials: Sequence[Row], words: Words) -> Plot:
    corners = np.array([[0.0, 0.0], [1.0, 0.0], [0.5, np.sqrt(3) / 2]])
    with matplotlib.rc_context(_STYLE):
        axes = plot.figure.add_subplot()
        axes.fill(*corners.T, fill=False, ec=INK, lw=1)
        for level in (0.25, 0.5, 0.75):
            for one in range(3):
                ends = [corners[one] * level + corners[(one + turn) % 3] * (1 - level) for turn in (1, 2)]
                axes.plot(*np.array(ends).T, color=GRID, lw=0.5)
        colours, scale = _score_colours(trials)
        least, most = scale.get_clim()

        def worth(row: Row) -> float:
            return (row["score"] - least) / (most - least) if most > least else 1.0

        for row in trials:
            place = np.array([row[f"value.share.{task}"] for task in tasks]) @ corners
            (point,) = axes.plot(*place, "o", color=colours(row["score"]), mec=INK, mew=0.5, ms=5 + 4 * worth(row))
            plot.mark(point, Mark(_shares_text(row, tasks), cell))
        for task, (x, y), side in zip(tasks, corners, ("right", "left", "center"), strict=True):
            axes.text(x, y + (0.04 if y else -0.06), task, ha={"right": "left", "left": "right"}.get(side, side))
        axes.set_aspect("equal")
        axes.set_axis_off()
        _colour_bar(plot, scale, axes, words.english_dev, shrink=0.7)
    caption = "Each point is a trial: the nearer to a corner, the more of that task; the redder and larger, the better."
    return replace(plot, caption=caption)


def _score_colours(trials: Sequence[Row]) -> tuple[Callable[[float], Any], Any]:
    scores = [row["score"] for row in trials]
    # Both ends can be seen on a white page and on a dark one.
    shades = matplotlib.colors.LinearSegmentedColormap.from_list("worth", [GREY, RED])
    scale = matplotlib.cm.ScalarMappable(matplotlib.colors.Normalize(min(scores), max(scores)), shades)
    return scale.to_rgba, scale


def _importances(rows: Sequence[Row]) -> Plot | None:
    rows = [row for row in rows if row["importance"] is not None]
    if not rows:
        return None
    cells, names = sorted({row["cell"] for row in rows}), sorted({row["parameter"] for row in rows})
    plot = _plot(
        "importances",
        "What the score depends on",
        "PED-ANOVA's importance of each searched parameter, mixing weights included, as shares within a cell.",
        max(5.0, 0.8 * len(cells) + 3.2),
        0.3 * len(names) + 1.5,
    )
    known = {(row["parameter"], row["cell"]): row["importance"] for row in rows}
    values = np.array([[known.get((name, cell), np.nan) for cell in cells] for name in names])
    with matplotlib.rc_context(_STYLE):
        axes = plot.figure.add_subplot()
        mesh = axes.pcolormesh(values, cmap="Blues", vmin=0, vmax=1)
        _colour_bar(plot, mesh, axes, "share of importance")
        axes.set_xlabel("intermediate training")
        axes.set_xticks(np.arange(len(cells)) + 0.5, cells, rotation=35, ha="right", rotation_mode="anchor")
        axes.set_yticks(np.arange(len(names)) + 0.5, names)
        axes.invert_yaxis()
        axes.grid(False)
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)
        for (name, cell), value in known.items():
            x, y = cells.index(cell) + 0.5, names.index(name) + 0.5
            ink = "white" if value > 0.6 else "black"
            text = axes.text(x, y, f"{value:.2f}", ha="center", va="center", color=ink, fontsize=8)
            plot.mark(text, Mark(f"{cell}: {name} {value:.2f}", cell))
    return plot


# Panels and words


def _panel_size(panels: int, height: float) -> tuple[float, float]:
    columns = min(4, panels)
    return 2.45 * columns + 0.5, (height + 0.55) * -(-panels // columns) + (0.6 if columns > 1 else 1.3)


def _panelled(cells: Sequence[str]) -> tuple[Sequence[str], str]:
    """Those of the cells that a figure has panels for, and a sentence for its caption where others have none."""
    if len(cells) <= PANELS:
        return cells, ""
    return cells[:PANELS], f" The first {PANELS} of {len(cells)} cells; the others are in the tables."


def _panels(plot: Plot, cells: Sequence[str], **shared: bool) -> Iterator[tuple[Axes, str]]:
    """An axes for each cell, titled; ticks of a style that the figure keeps."""
    columns = min(4, len(cells))
    with matplotlib.rc_context(_STYLE):
        grid = plot.figure.subplots(-(-len(cells) // columns), columns, squeeze=False, **shared)
        for axes in grid.flat[len(cells) :]:
            axes.set_axis_off()
        for axes, cell in zip(grid.flat, cells, strict=False):
            axes.set_title(cell)
            yield axes, cell


def cells_in_order(rows: Sequence[Row], without: Sequence[CellRole] = ()) -> list[str]:
    """The cells of the rows: what they are compared with first, blind baselines last."""
    roles = {row["cell"]: row["role"] for row in rows if row["role"] and row["role"] not in without}
    return sorted(roles, key=lambda cell: (ROLES.index(CellRole(roles[cell])), cell))


def _power_of_ten(value: float, _: object = None) -> str:
    """As `2e−4`."""
    return f"{value:.0e}".replace("e-0", "e-").replace("-", "−")


def _shown(language: str) -> str:
    return {MEAN_WITHOUT_SOURCE: "mean without en"}.get(language, language)


def _number(row: Row | None, name: str) -> float:
    return np.nan if row is None or row[name] is None else row[name]


def _gain_text(row: Row, place: str) -> str:
    spread = f" [{row['gain_low']:+.3f}, {row['gain_high']:+.3f}]" if row["gain_low"] is not None else ""
    return f"{row['cell']}, {_shown(place)}: gain {row['gain']:+.3f}{spread}"


def _accuracy_text(row: Row) -> str:
    spread = f" [{row['accuracy_low']:.3f}, {row['accuracy_high']:.3f}]" if row["accuracy_low"] is not None else ""
    return f"{row['cell']}, {_shown(row['language'])}: {row['accuracy']:.3f}{spread}"


def _trial_text(row: Row) -> str:
    return f"{row['cell']}, trial {row['number']}: {row['score']:.3f}" + (
        ", stopped early" if row["state"] == "pruned" else ""
    )


def _shares_text(row: Row, tasks: Sequence[str]) -> str:
    shares = ", ".join(f"{task} {row[f'value.share.{task}']:.2f}" for task in tasks)
    return f"{_trial_text(row)}; {shares}"


def _colour_word(colour: str) -> str:
    return {GREEN: "green", BLUE: "blue", PURPLE: "pink", ORANGE: "orange", RED: "red"}[colour]
