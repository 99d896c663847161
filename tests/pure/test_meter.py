"""Claims about ceilings on what a sweep may spend: counted over all its runs, and told once they are reached."""

from __future__ import annotations

import json

import pytest
from pyarrow import fs

from sweep.meter import FILE, KEEP_SECONDS, Meter
from trainables.gangs import Gangs


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def meter(folder, clock: Clock, **ceilings: float) -> Meter:
    return Meter(fs.LocalFileSystem(), str(folder), Gangs(**ceilings), clock=clock)


def test_a_second_run_goes_on_counting_where_the_first_left_off(tmp_path):
    clock = Clock()
    first = meter(tmp_path, clock, gang_hours=3.0)
    clock.now = 3600.0
    assert first.saw(machines=2, gang_hours=2.0) == ""
    first.keep()
    second = meter(tmp_path, clock, gang_hours=3.0)
    assert (second.gang_hours, second.node_hours) == (2.0, 2.0)
    assert second.saw(machines=2, gang_hours=0.5) == ""
    reached = "the gangs have spent the 3 gang-hours that the definition allows over all runs"
    assert second.saw(machines=2, gang_hours=1.0) == reached


def test_machines_that_stand_idle_are_counted_too(tmp_path):
    clock = Clock()
    counting = meter(tmp_path, clock, node_hours=5.0)
    clock.now = 1800.0
    assert counting.saw(machines=4, gang_hours=0.0) == ""
    clock.now = 7200.0
    said = counting.saw(machines=2, gang_hours=0.0)
    assert said == "the machines have stood for the 5 node-hours that the definition allows over all runs"
    assert counting.node_hours == pytest.approx(5.0)


def test_what_machines_cost_is_counted_over_all_runs(tmp_path):
    clock = Clock()
    counting = meter(tmp_path, clock, price=10.0, price_per_node_hour=2.5)
    clock.now = 3599.0
    assert counting.saw(machines=3, gang_hours=0.0) == ""
    counting.keep()
    again = meter(tmp_path, clock, price=10.0, price_per_node_hour=2.5)
    clock.now += 1210.0
    said = again.saw(machines=3, gang_hours=0.0)
    assert said == "the machines have cost the 10 that the definition allows over all runs"


def test_what_is_spent_is_kept_while_the_sweep_runs_for_one_that_is_killed(tmp_path):
    clock = Clock()
    counting = meter(tmp_path, clock)
    clock.now = KEEP_SECONDS / 2
    counting.saw(machines=1, gang_hours=0.25)
    assert not (tmp_path / FILE).exists()
    clock.now = KEEP_SECONDS
    counting.saw(machines=1, gang_hours=0.5)
    assert json.loads((tmp_path / FILE).read_text())["gang_hours"] == 0.5


def test_without_ceilings_nothing_is_reached(tmp_path):
    assert meter(tmp_path, Clock()).saw(machines=10**6, gang_hours=1e9) == ""


def test_a_storage_that_cannot_be_written_costs_the_count_alone(tmp_path, caplog):
    clock = Clock()
    counting = meter(tmp_path / "folder", clock, gang_hours=1.0)
    (tmp_path / "folder").write_text("no folder")
    clock.now = KEEP_SECONDS
    assert "have spent the 1 gang-hours" in counting.saw(machines=1, gang_hours=2.0)
    counting.keep()
    assert "what the sweep has spent could not be kept" in caplog.text
