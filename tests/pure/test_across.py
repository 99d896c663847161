"""Claims about the means over a suite's targets: each weighs the same, retrieval can be left out, absences stay."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest

from sweep.across import ALL, WITHOUT_RETRIEVAL, Target, across
from sweep.cli import main
from sweep.outcomes import Answers
from tests.pure import fake_sweep as fake


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
    seeds_alone = _rows(_target("a", counted=True))["nli", ALL]
    of_seeds = seeds_alone["gain_high"] - seeds_alone["gain"]
    items = [math.sqrt(half**2 - of_seeds**2) for half in halves]
    assert items[1] == pytest.approx(items[0] / math.sqrt(2))


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


def test_the_table_of_a_suite_ends_with_the_means_over_what_has_been_run(tmp_path, capsys):
    for name in ("phang2020-xnli", "phang2020-tatoeba"):
        fake.write(str(tmp_path), name)
    assert main(["table", "phang2020", "--storage", str(tmp_path), "--format", "csv"]) == 1
    said = capsys.readouterr()
    assert "== phang2020: means over 2 of 9 targets" in said.err
    assert '"phang2020","nli","all",2,3,' in said.out
