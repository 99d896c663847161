"""Claims about the means over a suite's targets: each weighs the same, retrieval can be left out, absences stay."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pyarrow.compute as pc
import pytest

from sweep import crossed
from sweep.across import ALL, WITHOUT_RETRIEVAL, Target, _made_differently, across
from sweep.cli import main
from sweep.outcomes import Answers
from sweep.per_language import per_language
from sweep.presets import SUITES
from sweep.standing import Standing
from sweep.statistics import over_seeds
from tests.pure import fake_sweep as fake
from trainables.canonical import encode


def _target(name: str, *, retrieval: bool = False, counted: bool = False, cells=fake.CELLS) -> Target:
    standing = dataclasses.replace(fake.standing(), sweep=name, cells=cells)
    answers = Answers(standing, fake.scores, (lambda digest: None) if counted else fake.predictions)
    return Target(standing=standing, answers=answers, is_retrieval=retrieval)


def _rows(*targets: Target) -> dict[tuple[str, str], dict]:
    return {(row["cell"], row["targets"]): row for row in across("suite", targets).to_pylist()}


def _accuracy(cell: str, winner: int) -> float:
    found = [score.value for seed in fake.SEEDS for score in fake.scores_of(fake.answers(cell, winner, seed))]
    return float(np.mean(found))


def test_a_mean_over_equal_targets_is_that_of_each_and_its_items_part_is_halved():
    one, two = _rows(_target("a")), _rows(_target("a"), _target("b"))
    for row in (one["nli", ALL], two["nli", ALL]):
        assert row["accuracy"] == pytest.approx(_accuracy("nli", 2))
        assert row["gain"] == pytest.approx(_accuracy("nli", 2) - _accuracy("none", 0))
        assert row["gain_low"] < row["gain"] < row["gain_high"] and row["seeds"] == 3
    assert two["nli", ALL]["number"] == 2
    halves = [rows["nli", ALL]["gain_high"] - rows["nli", ALL]["gain"] for rows in (one, two)]
    assert halves[1] < halves[0]


def test_the_interval_of_one_target_is_that_of_its_own_table():
    target = _target("a")
    rows = per_language(target.standing, target.answers).to_pylist()
    mine = next(row for row in rows if (row["cell"], row["language"]) == ("nli", "mean"))
    found = _rows(target)["nli", ALL]
    for name in ("gain", "gain_low", "gain_high"):
        assert found[name] == pytest.approx(mine[name])


def test_without_answers_the_interval_over_targets_is_students_over_seeds():
    found = _rows(_target("a", counted=True), _target("b", counted=True))["nli", ALL]
    gains = [
        np.mean([s.value for s in fake.scores_of(fake.answers("nli", 2, seed))])
        - np.mean([s.value for s in fake.scores_of(fake.answers("none", 0, seed))])
        for seed in fake.SEEDS
    ]
    assert found["gain_high"] - found["gain"] == pytest.approx(over_seeds(gains).high - np.mean(gains))


@pytest.mark.parametrize("seeds", [3, 5])
@pytest.mark.parametrize(
    ("targets", "common", "of_target", "item", "rest"),
    [(2, 0.0, 0.0, 0.3, 0.5), (9, 0.0, 0.02, 0.3, 0.5), (9, 0.01, 0.02, 0.3, 0.3), (2, 0.1, 0.02, 0.3, 0.3)],
    ids=["no seed variance", "of targets alone", "both", "mostly seed variance"],
)
def test_an_interval_over_targets_holds_the_truth_as_often_as_it_says(seeds, targets, common, of_target, item, rest):
    """Seeds have an effect on all targets and one on each; every target has items of its own."""
    random, runs, items = np.random.default_rng(seeds), 2000, 100
    by_seed, item_part, rest_part = random.normal(0, common, (runs, seeds)), 0.0, 0.0
    for _ in range(targets):
        layout = random.normal(0, rest, (runs, seeds, items)) + random.normal(0, item, (runs, 1, items))
        layout += random.normal(0, of_target, (runs, seeds, 1))
        found = crossed.layouts(layout)
        by_seed += layout.mean(axis=2) / targets
        item_part, rest_part = item_part + found.item_part / targets**2, rest_part + found.rest_part / targets**2
    mean = crossed.mean_of(by_seed, targets * items, item_part, rest_part)
    slack = 3 * math.sqrt(0.95 * 0.05 / runs)
    assert 0.93 - slack <= (np.abs(mean.mean) <= mean.half_width(0.05)).mean() <= 0.97 + slack


def test_retrieval_is_left_out_of_one_of_two_means_and_of_none_where_there_is_none():
    rows = _rows(_target("a"), _target("b"), _target("tatoeba", retrieval=True))
    assert (rows["nli", ALL]["number"], rows["nli", WITHOUT_RETRIEVAL]["number"]) == (3, 2)
    assert {targets for _, targets in _rows(_target("a"))} == {ALL}


def test_a_target_that_is_missing_makes_the_mean_absent_and_is_named():
    without = tuple(cell for cell in fake.CELLS if cell.name != "nli")
    rows = _rows(_target("a"), _target("b"), _target("tatoeba", retrieval=True, cells=without))
    assert rows["broken", ALL]["absent_reason"] == "no accuracy over all languages in a, b, tatoeba"
    assert rows["broken", ALL]["accuracy"] is None
    assert rows["none", ALL]["gain"] is None and rows["none", ALL]["accuracy"] is not None


def test_cells_that_two_sweeps_made_differently_are_not_averaged_and_what_differs_is_named():
    """A name alone makes no two cells the same; the target and its training are each sweep's own affair."""
    settings = {"maximum_steps": 80, "learning_rate": 1e-3}
    cells = [{"name": "none", "role": "baseline"}, {"name": "nli", "intermediates": [{"name": "lab_nli", "seed": 0}]}]
    defined = {"encoder": {"name": "small"}, "intermediate_settings": settings, "cells": cells, "target": {"name": "a"}}
    longer = {**defined, "intermediate_settings": {**settings, "maximum_steps": 120}, "target": {"name": "b"}}
    other_task = {**defined, "cells": [cells[0], {"name": "nli", "intermediates": [{"name": "lab_nli", "seed": 7}]}]}
    own_target = {**defined, "target": {"name": "b"}, "target_settings": {"maximum_steps": 5}, "retrieval_layer": 2}

    def rows_of(other: dict) -> dict:
        targets = [dataclasses.replace(_target(n), definition=d) for n, d in (("a", defined), ("b", other))]
        return {cell: row for (cell, _), row in _rows(*targets).items()}

    found = rows_of(longer)
    assert (found["nli"]["accuracy"], found["nli"]["gain"]) == (None, None)
    assert found["nli"]["absent_reason"] == (
        "a and b made it differently, so they are not averaged: intermediate_settings.maximum_steps: 80 / 120"
    )
    found = rows_of(other_task)
    assert "cell.intermediates[lab_nli].seed: 0 / 7" in found["nli"]["absent_reason"]
    assert found["none"]["accuracy"] is not None
    assert rows_of(own_target)["nli"]["gain"] is not None


@pytest.mark.parametrize("suite", list(SUITES))
def test_the_cells_of_every_suite_of_the_package_are_made_alike_for_all_its_targets(suite):
    targets = [
        Target(standing=Standing.of(sweep, {}), answers=None, definition=encode(sweep))  # type: ignore[arg-type]
        for sweep in SUITES[suite]().sweeps
    ]
    for cell in {info.name for target in targets for info in target.standing.cells}:
        having = [one for one in targets if any(info.name == cell for info in one.standing.cells)]
        assert _made_differently(cell, having) == ""


def test_a_language_that_no_run_of_a_target_has_is_left_out_of_its_mean_as_in_its_own_table_and_said():
    def predictions(digest: str):
        return fake.predictions(digest).filter(pc.field("language") != "th")

    whole = _target("a")
    less = dataclasses.replace(whole, answers=Answers(whole.standing, lambda _: (), predictions))
    row = _rows(less)["nli", ALL]
    own = next(
        one
        for one in per_language(less.standing, less.answers).to_pylist()
        if (one["cell"], one["language"]) == ("nli", "mean")
    )
    assert row["accuracy"] == pytest.approx(own["accuracy"]) and row["gain"] == pytest.approx(own["gain"])
    assert row["remark"] == "a: mean over 2 of 3 languages: no run has a score in th"
    assert _rows(whole)["nli", ALL]["remark"] == ""


def test_the_table_of_a_suite_ends_with_the_means_over_what_has_been_run(tmp_path, capsys):
    for name in ("phang2020-xnli", "phang2020-tatoeba"):
        fake.write(str(tmp_path), name)
    assert main(["table", "phang2020", "--storage", str(tmp_path), "--format", "csv"]) == 1
    said = capsys.readouterr()
    assert "== phang2020: means over 2 of 9 targets" in said.err
    assert '"phang2020","nli","all",2,3,' in said.out
