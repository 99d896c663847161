"""Everything in the lab with single steps: each of its targets is trained, or not, and scored in every language."""

from __future__ import annotations

from dataclasses import replace

import pytest

from sweep.definition import Preparation, Sweep
from sweep.presets import SUITES
from tests.torch_cpu.test_the_study_small import Machine, short
from trainables.catalogue.task import Kind, Task
from trainables.gangs import Gangs


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    return Machine(tmp_path_factory.mktemp("lab"))


def few(task: Task) -> Task:
    """The task with a handful of rows, and what it is learned from."""
    learned = task.learned_from and few(task.learned_from)
    return replace(task, splits=tuple(replace(split, rows=6) for split in task.splits), learned_from=learned)


def small(sweep: Sweep) -> Sweep:
    def prepared(one: Preparation) -> Preparation:
        return replace(
            one,
            task=few(one.task),
            beside=tuple(map(few, one.beside)),
            settings=short(one.settings, 1 + len(one.beside)),
        )

    cells = tuple(
        replace(
            cell,
            intermediates=tuple(map(few, cell.intermediates)),
            learned_from=cell.learned_from and few(cell.learned_from),
            intermediate_settings=short(sweep.intermediate_settings, max(4, len(cell.intermediates))),
        )
        for cell in sweep.cells
        if cell.name in CELLS or cell.learned_from
    )
    return replace(
        sweep,
        target=few(sweep.target),
        cells=cells,
        pretrain=prepared(sweep.pretrain),
        align_images=tuple(map(prepared, sweep.align_images)),
        align_words_settings=short(sweep.align_words_settings),
        target_settings=short(sweep.target_settings),
        gangs=Gangs(),
    )


CELLS = ("none", "all_nine", "lab_nli+lab_sentences", "lab_words+lab_nli")


@pytest.mark.parametrize("name", [sweep.target.name for sweep in SUITES["lab_full"]().sweeps])
def test_every_cell_of_every_target_is_scored_in_every_language(name, runs):
    sweep = small(next(one for one in SUITES["lab_full"]().sweeps if one.target.name == name))
    languages = set(sweep.target.split("test").languages)
    for cell in sweep.cells[1:]:
        scores = runs.scores(sweep, cell.name)
        assert {one.language for one in scores if one.value is not None} == languages, cell.name
    assert len(sweep.cells) == len(CELLS) + (sweep.target.kind is not Kind.RETRIEVAL)
