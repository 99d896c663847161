"""Claims about the simulation: it never promises what the work cannot give, and losses cost what they repeat."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from search_spaces import Cell
from sweep.cli import main
from sweep.definition import Search, Sweep
from sweep.plan import estimated_seconds, plan
from sweep.plan_text import plan_text
from sweep.simulate import ASSUMPTIONS, Described, measured, simulate, simulated_text
from tests.examples import of_examples
from tests.pure.small_sweep import BASELINE, small_sweep
from trainables.catalogue import lab
from trainables.faults import Invalid
from trainables.gangs import Gangs
from trainables.stages import Stage

PLANNED = plan(small_sweep())
INSTANT = Described(nodes=1, node_start_seconds=0, gang_start_seconds=0, stage_overhead_seconds=0)


def seconds_of(stage: Stage) -> float:
    """A second per step, and ten for an evaluation."""
    return float(stage.steps or 10)


def total(planned) -> float:
    seen = {name: stage for trial in planned.trials for name, stage in trial.stages}
    return sum(seconds_of(stage) for stage in seen.values())


def test_one_gang_takes_as_long_as_all_its_stages():
    result = simulate(PLANNED, INSTANT, seconds_of)
    assert result.makespan_seconds == pytest.approx(total(PLANNED))
    assert (result.stages, result.utilisation) == (PLANNED.stages, pytest.approx(1.0))
    assert result.reuse_factor == pytest.approx(PLANNED.stages_without_sharing / PLANNED.stages)


@of_examples(0.8)
@given(gangs=st.integers(1, 40), nodes=st.integers(1, 10), per_node=st.integers(1, 4))
def test_no_number_of_gangs_beats_the_work_or_the_longest_chain(gangs, nodes, per_node):
    planned = plan(small_sweep(gangs=Gangs(count=gangs)))
    described = replace(INSTANT, nodes=nodes, gangs_per_node=per_node)
    result = simulate(planned, described, seconds_of)
    assert result.gangs == min(gangs, nodes * per_node)
    assert result.makespan_seconds >= total(planned) / result.gangs - 1e-6
    longest = max(sum(seconds_of(stage) for _, stage in trial.stages) for trial in planned.trials)
    assert longest <= result.makespan_seconds <= total(planned) + 1e-6
    assert result.utilisation <= 1.0


def test_losses_repeat_work_and_lengthen_the_run():
    planned = plan(small_sweep(gangs=Gangs(count=4)))
    calm = replace(INSTANT, nodes=4, checkpoint_seconds=15)
    rough = replace(calm, losses_per_node_hour=20.0, node_start_seconds=5, gang_start_seconds=5, seed=3)
    before, after = simulate(planned, calm, seconds_of), simulate(planned, rough, seconds_of)
    assert (before.losses, before.repeated_seconds) == (0, 0)
    assert after.losses > 0
    assert 0 < after.repeated_seconds <= after.losses * 15
    assert after.makespan_seconds > before.makespan_seconds
    assert after.stages == before.stages
    assert simulate(planned, rough, seconds_of) == after


def test_the_price_is_that_of_the_machines_until_the_end():
    described = replace(INSTANT, nodes=3, gangs_per_node=2, price_per_node_hour=2.5)
    planned = plan(small_sweep(gangs=Gangs(count=6)))
    result = simulate(planned, described, seconds_of)
    assert result.node_hours == pytest.approx(3 * result.makespan_seconds / 3600)
    assert result.price == pytest.approx(2.5 * result.node_hours)


def large_sweep(cells: int, gangs: int) -> Sweep:
    """Cells of a hundred trials each."""
    grid = tuple(Cell(name=f"nli_{number}", intermediates=(lab.NLI,)) for number in range(cells - 1))
    return small_sweep(cells=(BASELINE, *grid), search=Search(trials=98, fan_out=2), gangs=Gangs(count=gangs))


def test_every_stage_of_a_large_plan_is_run_whatever_is_lost():
    planned = plan(large_sweep(cells=20, gangs=50))
    result = simulate(planned, replace(INSTANT, nodes=50, losses_per_node_hour=2.0), seconds_of)
    assert result.losses > 0
    assert result.stages == planned.stages


def test_times_of_the_ledger_are_taken_before_the_estimate():
    stage = next(stage for trial in PLANNED.trials for _, stage in trial.stages if stage.steps == 40)
    runs = [
        {"kind": "train", "steps": 40, "steps_executed": 40, "reused": False, "seconds": seconds}
        for seconds in (8.0, 10.0, 99.0)
    ]
    resumed = {"kind": "train", "steps": 40, "steps_executed": 3, "reused": False, "seconds": 0.1}
    of = measured([*runs, resumed], lambda stage: -1.0)
    assert of(stage) == 10.0
    assert measured([], lambda stage: -1.0)(stage) == -1.0


def test_a_cluster_that_cannot_be_is_refused_with_every_fault():
    with pytest.raises(Invalid, match=r"nodes must be at least 1, got 0\n.*losses_per_node_hour must be"):
        Described(nodes=0, losses_per_node_hour=-1)


def test_a_stated_throughput_is_taken_for_what_the_ledger_does_not_know(capsys):
    def makespan(*words: str) -> str:
        assert main(["plan", "lab", "--simulate", "--nodes", "1", *words]) == 0
        return next(line for line in capsys.readouterr().out.splitlines() if line.startswith("makespan"))

    assert makespan("--gigaflops", "1") != makespan() == makespan("--gigaflops", "80")  # bfloat16's guess per thread
    stage = next(stage for trial in PLANNED.trials for _, stage in trial.stages if stage.steps)
    assert estimated_seconds(stage, 20.0) == pytest.approx(2 * estimated_seconds(stage, 40.0))
    on_gpu = replace(stage, shape=replace(stage.shape, device="cuda"))
    assert estimated_seconds(on_gpu, 50_000.0) == pytest.approx(2 * estimated_seconds(on_gpu))
    assert main(["plan", "lab", "--simulate", "--gigaflops", "0"]) == 2
    assert "--gigaflops must be a finite number above 0, got 0.0" in capsys.readouterr().err


def test_ceilings_are_printed_with_their_price_and_whether_they_are_enough():
    gangs = Gangs(count=2, gang_hours=1e6, node_hours=0.5)
    planned = plan(small_sweep(gangs=gangs))
    assert (
        "ceiling  1e+06 gang-hours, 0.5 node-hours of all machines while it runs, over all runs; at it the sweep stops"
        in plan_text(planned)
    )
    described = replace(INSTANT, nodes=2, price_per_node_hour=3.0)
    said = simulated_text(planned, described, simulate(planned, described, lambda stage: 3600.0))
    assert "ceiling      1e+06 gang-hours, enough" in said
    assert "ceiling      0.5 node-hours with the head's (1.50 at 3 each), not enough" in said


def test_the_plan_command_prints_the_answer_with_its_assumptions(capsys):
    words = ["--simulate", "--nodes", "4", "--price-per-node-hour", "1.5", "--losses-per-node-hour", "0.1"]
    assert main(["plan", "lab", *words]) == 0
    said = capsys.readouterr().out
    for word in ("makespan", "utilisation", "reuse", "node-hours", "losses", *ASSUMPTIONS):
        assert word in said
