"""Ready-made sweeps, by name; runs none of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from search_spaces.domains import LogRange
from search_spaces.proportions import UNIFORM
from search_spaces.space import Space
from search_spaces.transfer_grid import Cell, transfer_grid
from search_spaces.variants import from_source, with_aligned_words, with_masked_lm
from sweep import papers
from sweep.definition import Preparation, Sweep
from sweep.search import Median, Search
from sweep.suite import Suite
from trainables.catalogue import lab as catalogue
from trainables.catalogue import lab_twins
from trainables.catalogue.task import Kind, Task
from trainables.catalogue.translated import translated
from trainables.gangs import GangKind, Gangs
from trainables.machine import processors
from trainables.settings import Alignment, LoRA, Part, Settings

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

    Command: `make demo`, or `sweep run lab`. Cost: 14,160 optimiser steps, eight to twelve minutes on two cores.
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


def lab_full() -> Suite:
    """Everything in the lab: twins of nine intermediate tasks and of XTREME's nine targets, visual inference, variants.

    Before each target: no intermediate task, each of the nine, all nine, text NLI with masked text of many languages,
    in German, after aligned words, aligned words alone, and the two controls; a compute-matched baseline, and the
    target learned in German. Visual inference has more target data than in `lab`, stages several times as long, and its
    learning rates searched. For the others nothing is searched; what comes before a target is trained once for all.

    Command: `sweep plan lab_full`, then `sweep run lab_full`; one target alone is `sweep run lab_full-visual_nli`.
    Cost: 660 trainings, 361,550 optimiser steps, about five hours on two processor cores at the pace of `lab`'s (14,160
    in twelve minutes); the plan's rough estimate is 6.4 hours of one core, where it makes 7 minutes of those twelve.
    Expected: for visual inference the order of `lab` at higher accuracies; of the others that each twin is above
    chance (`tests/benchmarks/bench_twins.py`, whose targets read sentences in pairs of any two languages before, which
    are not part of this preparation; languages may be at chance for want of them); it has not been run.
    """
    return Suite(name="lab_full", sweeps=(_visual(), *(_twin(target) for target in lab_twins.TARGETS)))


def _visual() -> Sweep:
    demo = lab()
    target = catalogue.visual_nli(train=1000, dev=600)
    return replace(
        demo,
        name="lab_full-visual_nli",
        target=target,
        cells=(*_variants(target), *transfer_grid(())[1:]),
        pretrain=_PRETRAINED,
        align_images=_PREPARED,
        intermediate_settings=_settings(1e-3, 1200),
        align_words_settings=_ALIGNED,
        target_settings=_settings(1e-3, 150, evaluation_interval_steps=50),
        search=replace(demo.search, trials=6),
    )


def _twin(target: Task) -> Sweep:
    """One of XTREME's twins, with the settings of `tests/benchmarks/bench_twins.py` but for those of PAWS-X."""
    return Sweep(
        name=target.name.replace("lab_", "lab_full-", 1),
        target=target,
        encoder=catalogue.ENCODER,
        cells=_variants(target),
        pretrain=_PRETRAINED,
        align_images=_PREPARED,  # other languages than English come with it
        intermediate_settings=_settings(1e-3, 1200),
        align_words_settings=_ALIGNED,
        target_settings=_settings(1e-3, 400, evaluation_interval_steps=200),
        retrieval_layer=2 if target.kind is Kind.RETRIEVAL else 0,
        search=Search(trials=0),
        gangs=Gangs(count=min(2, processors())),
    )


def _variants(target: Task) -> tuple[Cell, ...]:
    """What comes before a target of `lab_full`; retrieval, which trains nothing, has none that trains it otherwise."""
    nine, german = lab_twins.INTERMEDIATE, translated(catalogue.NLI, "de")
    trained = target.kind is not Kind.RETRIEVAL
    none, *grid = transfer_grid(
        (*nine, german),
        controls=(catalogue.NLI_SHUFFLED,),
        image_only=False,
        hypothesis_only=False,
        compute_matched=trained,
    )
    text_nli = next(cell for cell in grid if cell.intermediates == (catalogue.NLI,))
    return (
        none,
        *grid,
        Cell(name="all_nine", intermediates=nine, shares=UNIFORM.shares(nine)),
        with_masked_lm(text_nli, catalogue.SENTENCES, share=0.25),
        with_aligned_words(text_nli, catalogue.WORDS),
        with_aligned_words(none, catalogue.WORDS),
        with_aligned_words(none, catalogue.WORDS_SHUFFLED),
        *((from_source(none, translated(target.teacher, "de")),) if trained else ()),
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


#: What every path of `lab_full` begins with.
_PRETRAINED = Preparation(task=catalogue.PARALLEL, settings=_reading(3200))
_PREPARED = (_looking(1200), _reading_images(4800))

#: Adapters below the layer that stands for a word, as in arXiv 2506.15415.
_ALIGNED = _settings(1e-3, 300, word_layer=2, lora=LoRA(layers=(0, 1)))


def rehearsal() -> Sweep:
    """The lab's grid with made-up results: the whole machinery in seconds, and no model. Its numbers mean nothing."""
    return replace(lab(), name="rehearsal", gangs=Gangs(count=2, kind=GangKind.REHEARSAL))


PRESETS: dict[str, Callable[[], Sweep]] = {
    "lab": lab,
    "rehearsal": rehearsal,
    "source_language": papers.source_language,
    "xtreme_m": papers.xtreme_m,
}

SUITES: dict[str, Callable[[], Suite]] = {"lab_full": lab_full, "phang2020": papers.phang2020}
