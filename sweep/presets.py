"""Ready-made sweeps, by name; runs none of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from search_spaces.domains import LogRange
from search_spaces.space import Space
from search_spaces.transfer_grid import Cell, transfer_grid
from sweep import papers
from sweep.definition import Preparation, Sweep
from sweep.search import Median, Search
from sweep.suite import Suite
from trainables.catalogue import lab as catalogue
from trainables.gangs import GangKind, Gangs
from trainables.machine import processors
from trainables.settings import Alignment, Part, Settings

#: Word vectors stay as planted: training them on English alone would wear the other languages' alignment down.
_PLANTED = (Part.WORD_EMBEDDINGS,)


def lab_cells() -> tuple[Cell, ...]:
    """The lab's grid: none, three tasks alone, four mixed, a shuffled control, and the two blind baselines."""
    alone = (catalogue.NLI, catalogue.QQP, catalogue.SQUAD)
    mixed = Cell(name="all_four", intermediates=catalogue.INTERMEDIATE)
    grid = transfer_grid(alone, controls=(catalogue.NLI_SHUFFLED,))
    place = 1 + len(alone)
    return (*grid[:place], mixed, *grid[place:])


def lab() -> Sweep:
    """The demo: eight searched cells and their confirmation.

    Command: `make demo`, or `sweep run lab`. Cost: 14,160 optimiser steps, about twelve minutes on two processor cores.
    Expected: text NLI helps, its shuffled control does not; languages come out in the order of their planted alignment.
    README.md, *Two commands*, has the figures and how they vary with seeds.
    """
    return Sweep(
        name="lab",
        target=catalogue.VISUAL_NLI,
        encoder=catalogue.ENCODER,
        cells=lab_cells(),
        pretrain=Preparation(task=catalogue.PARALLEL, settings=_reading(1200)),
        align_images=(_looking(600), _reading_images(1600)),
        intermediate_settings=_settings(2e-3, 160),
        target_settings=_settings(1e-3, 20, evaluation_interval_steps=10),
        space=Space(
            intermediate={"learning_rate": LogRange(5e-4, 4e-3)},
            target={"learning_rate": LogRange(3e-4, 2e-3)},
        ),
        search=Search(trials=3, fan_out=3, pruner=Median(trials_before=1)),
        confirmation_seeds=(1, 2, 3),
        gangs=Gangs(count=min(2, processors())),
    )


def lab_full() -> Sweep:
    """The lab with more target data and stages several times as long, for its instrument at full reach.

    Command: `sweep run lab_full`. Cost: as `sweep plan` says. Expected: the order of `lab` at higher accuracies; it has
    not been run.
    """
    demo = lab()
    return replace(
        demo,
        name="lab_full",
        target=catalogue.visual_nli(train=1000, dev=600),
        pretrain=Preparation(task=catalogue.PARALLEL, settings=_reading(3200)),
        align_images=(_looking(1200), _reading_images(4800)),
        intermediate_settings=_settings(1e-3, 1200),
        target_settings=_settings(1e-3, 150, evaluation_interval_steps=50),
        search=replace(demo.search, trials=6),
    )


def _reading(steps: int, **more: Any) -> Settings:
    """Masked prediction with replaced words, which teaches to look words up in the other text, and to compare them."""
    return _settings(2e-3, steps, batch_size=32, masked_share=0.5, replaced_share=0.7, **more)


def _looking(steps: int) -> Preparation:
    """Patches learn to say what the words of a description say, before the trunk has read any."""
    settings = _settings(1e-2, steps, alignment=Alignment.WORDS)
    return Preparation(task=catalogue.CAPTIONS, settings=settings)


def _reading_images(steps: int) -> Preparation:
    """The trunk learns where to look; what patches say stays, and texts beside images keep text reading alive."""
    settings = _reading(steps, frozen=(*_PLANTED, Part.PATCHES))
    return Preparation(
        task=catalogue.CAPTIONS, beside=(catalogue.STATEMENTS, catalogue.TRANSLATIONS), settings=settings
    )


def _settings(learning_rate: float, steps: int, **more: Any) -> Settings:
    """The lab's settings but for what is given: a tenth of the steps to warm up, no dropout (the data never repeat
    often enough to be learned by heart), words as planted.
    """
    given = {"batch_size": 64, "evaluation_interval_steps": steps, "frozen": _PLANTED, **more}
    return Settings(learning_rate=learning_rate, maximum_steps=steps, warmup_steps=steps // 10, dropout=0.0, **given)


def rehearsal() -> Sweep:
    """The lab's grid with made-up results: the whole machinery in seconds, and no model. Its numbers mean nothing."""
    return replace(lab(), name="rehearsal", gangs=Gangs(count=2, kind=GangKind.REHEARSAL))


PRESETS: dict[str, Callable[[], Sweep]] = {
    "lab": lab,
    "lab_full": lab_full,
    "rehearsal": rehearsal,
    "source_language": papers.source_language,
    "xtreme_m": papers.xtreme_m,
}

SUITES: dict[str, Callable[[], Suite]] = {"phang2020": papers.phang2020}
