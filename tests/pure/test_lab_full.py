"""Claims about everything in the lab as one suite: whole, shared, and no longer than it says."""

from __future__ import annotations

import re

import pytest

from search_spaces import CellRole
from sweep.cli import main
from sweep.load import load
from sweep.paths import path_of
from sweep.plan import default_values
from sweep.presets import SUITES
from sweep.records import Phase
from trainables.catalogue import lab
from trainables.catalogue.lab_twins import INTERMEDIATE, TARGETS
from trainables.catalogue.task import Kind


@pytest.fixture(scope="module")
def suite():
    return SUITES["lab_full"]()


def test_it_has_visual_inference_and_each_of_the_nine_targets(suite):
    assert [sweep.target.name for sweep in suite.sweeps] == ["lab_visual_nli", *(task.name for task in TARGETS)]


def test_before_every_target_come_all_nine_alone_and_mixed_the_variants_and_the_controls(suite):
    for sweep in suite.sweeps:
        cells = {cell.name: cell for cell in sweep.cells}
        assert {task.name for task in INTERMEDIATE} <= set(cells)
        assert cells["all_nine"].intermediates == INTERMEDIATE
        assert {"lab_nli+lab_sentences", "lab_nli_de", "lab_words", "lab_words+lab_nli"} <= set(cells)
        controls = {cell.name for cell in sweep.cells if cell.role is CellRole.CONTROL}
        assert controls == {"lab_nli_shuffled", "lab_words_shuffled"}
        learned = [cell for cell in sweep.cells if cell.learned_from or cell.role is CellRole.COMPUTE_MATCHED]
        assert len(learned) == (0 if sweep.target.kind is Kind.RETRIEVAL else 2)
    blind = {cell.role for cell in suite.sweeps[0].cells} & {CellRole.IMAGE_ONLY, CellRole.HYPOTHESIS_ONLY}
    assert len(blind) == 2


def test_what_comes_before_a_target_is_trained_once_for_all(suite):
    def first(sweep, name):
        cell = next(cell for cell in sweep.cells if cell.name == name)
        path = path_of(sweep, cell, default_values(sweep, cell), phase=Phase.CONFIRMATION, seed=1)
        return [stage.digest for stage in path[:4]]  # pre-training, two image alignments, the intermediate task

    for name in ("lab_nli", "all_nine", "lab_nli+lab_sentences"):
        assert len({tuple(first(sweep, name)) for sweep in suite.sweeps}) == 1


def test_it_costs_what_its_docstring_says(capsys):
    assert main(["plan", "lab_full"]) == 0
    told = capsys.readouterr().out
    assert told.startswith("suite lab_full: 10 sweeps, encoder lab_small") and "absent" not in told
    trainings = re.search(r"(\d+) trainings to run", told)[1]
    steps = re.search(r"([\d,]+) optimiser steps", told)[1]
    hours = re.search(r"about ([\d.]+) h on one gang", told)[1]
    said = SUITES["lab_full"].__doc__
    assert f"{trainings} trainings, {steps} optimiser steps" in said and f"estimate is {hours} hours" in said


def test_one_target_of_it_can_be_asked_for():
    assert load("lab_full-visual_nli").target == lab.visual_nli(train=1000, dev=600)
    assert load("lab_full-udpos").target.name == "lab_udpos"
