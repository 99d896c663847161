"""Ready-made sweeps, by name; runs none of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from search_spaces.domains import LogRange
from search_spaces.space import Space
from search_spaces.transfer_grid import Cell, transfer_grid
from sweep.definition import Preparation, Search, Sweep
from trainables.catalogue import lab as catalogue
from trainables.gangs import GangKind, Gangs
from trainables.machine import processors
from trainables.settings import Part, Schedule, Settings

#: Word vectors stay as planted: training them on English alone would wear the other languages' alignment down.
_PLANTED = (Part.WORD_EMBEDDINGS,)


def lab_cells() -> tuple[Cell, ...]:
    """The lab's grid: none, four tasks alone, all four mixed, a shuffled control, and the two blind baselines."""
    mixed = Cell(name="all_four", intermediates=catalogue.INTERMEDIATE)
    grid = transfer_grid(catalogue.INTERMEDIATE, controls=(catalogue.NLI_SHUFFLED,))
    place = next(number for number, cell in enumerate(grid) if cell.intermediates == (catalogue.NLI_SHUFFLED,))
    return (*grid[:place], mixed, *grid[place:])


def lab() -> Sweep:
    """The demo: eight searched cells and their confirmation, about ten minutes on two cores.

    Command: `make demo`, or `sweep run lab`.
    """
    return Sweep(
        name="lab",
        target=catalogue.VISUAL_NLI,
        encoder=catalogue.ENCODER,
        cells=lab_cells(),
        pretrain=Preparation(
            task=catalogue.PARALLEL,
            settings=Settings(
                learning_rate=2e-3,
                maximum_steps=1200,
                batch_size=64,
                warmup_steps=100,
                dropout=0.0,
                frozen=_PLANTED,
                masked_share=0.4,
            ),
        ),
        align_images=Preparation(
            task=catalogue.CAPTIONS,
            settings=Settings(
                learning_rate=2e-3,
                maximum_steps=300,
                batch_size=64,
                warmup_steps=30,
                dropout=0.0,
                frozen=_PLANTED,
                masked_share=0.4,
            ),
        ),
        intermediate_settings=Settings(
            learning_rate=1e-3,
            maximum_steps=300,
            batch_size=64,
            warmup_steps=30,
            dropout=0.0,
            frozen=_PLANTED,
            evaluation_interval_steps=300,
        ),
        target_settings=Settings(
            learning_rate=5e-4,
            schedule=Schedule.LINEAR,
            maximum_steps=120,
            batch_size=64,
            warmup_steps=12,
            dropout=0.0,
            frozen=_PLANTED,
            evaluation_interval_steps=40,
        ),
        space=Space(
            intermediate={"learning_rate": LogRange(3e-4, 2e-3)},
            target={"learning_rate": LogRange(1e-4, 2e-3)},
        ),
        search=Search(trials=3, fan_out=3, trials_before_pruning=1),
        confirmation_seeds=(1, 2, 3),
        gangs=Gangs(count=min(2, processors())),
    )


def rehearsal() -> Sweep:
    """The lab's grid with made-up results: the whole machinery in seconds, and no model. Its numbers mean nothing."""
    return replace(lab(), name="rehearsal", gangs=Gangs(count=2, kind=GangKind.REHEARSAL))


PRESETS: dict[str, Callable[[], Sweep]] = {"lab": lab, "rehearsal": rehearsal}
