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
from sweep.search import Budget, Median, NoPruning
from sweep.simulate import ASSUMPTIONS, Described, simulate, simulated_text
from sweep.stage_times import Pruned
from tests.examples import of_examples
from tests.pure.small_sweep import ALONE, BASELINE, small_sweep
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


def alone(*, cells=(BASELINE,), **changes):
    """One search trial per cell on two gangs: 100 s before all, 30 s per seed, then 40 s, 20 s and 10 s."""
    return plan(small_sweep(cells=cells, search=Search(trials=1), gangs=Gangs(count=2), **changes))


def test_a_gang_without_work_begins_what_confirmations_need():
    # 100 s of both, then the search's 30 s beside seed 1's; the search's last 20 s beside seed 2's 30 s, which end at
    # 160 s; then 20 s and 10 s of each seed.
    assert simulate(alone(), replace(INSTANT, nodes=2), seconds_of).makespan_seconds == 190
    # Beneath a ceiling nothing is begun early: seeds 1 and 2 begin at 150 s, side by side.
    limited = alone(budget=Budget(wall_clock_hours=100.0))
    assert simulate(limited, replace(INSTANT, nodes=2), seconds_of).makespan_seconds == 210


def test_what_a_trial_needs_goes_before_what_one_will_need():
    # At 130 s both searches have work: seed 2's 30 s wait until 180 s. Begun at once they would end it at 300 s.
    assert simulate(alone(cells=(BASELINE, ALONE)), replace(INSTANT, nodes=2), seconds_of).makespan_seconds == 310


def test_pruned_trials_leave_out_what_they_left_out_in_the_ledger():
    def takes(planned, pruned: Pruned) -> float:
        return simulate(planned, INSTANT, seconds_of, pruned=pruned).makespan_seconds

    half = Pruned(share=1.0, saved=0.5)
    assert takes(PLANNED, half) == total(PLANNED) - 3 * 2 * 10  # all but the first of three trials of three cells
    later = plan(small_sweep(search=Search(trials=3, fan_out=2, pruner=Median(trials_before=2))))
    assert takes(later, half) == total(later) - 3 * 10
    unpruned = plan(small_sweep(search=Search(trials=3, fan_out=2, pruner=NoPruning())))
    assert takes(unpruned, half) == total(unpruned)
    assert total(PLANNED) - 60 < takes(PLANNED, Pruned(share=0.5, saved=0.5)) < total(PLANNED)


def test_what_is_there_is_not_run_again():
    pretrained = PLANNED.trials[0].stages[0][0]
    result = simulate(PLANNED, INSTANT, seconds_of, done={pretrained})
    assert (result.makespan_seconds, result.stages) == (total(PLANNED) - 100, PLANNED.stages - 1)
    searched = {trial.key for trial in PLANNED.trials if trial.key.phase == "search"}
    left = {name: stage for t in PLANNED.trials if t.key not in searched for name, stage in t.stages}
    confirmed = simulate(PLANNED, INSTANT, seconds_of, ended=searched)
    assert confirmed.makespan_seconds == sum(map(seconds_of, left.values()))
    everything = {trial.key for trial in PLANNED.trials}
    assert simulate(PLANNED, INSTANT, seconds_of, ended=everything).makespan_seconds == 0


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


def test_a_ceiling_of_money_is_printed_with_what_is_needed_of_it():
    planned = plan(small_sweep(gangs=Gangs(count=2, price=10.0, price_per_node_hour=2.0)))
    assert (
        "ceiling  a price of 10 for all machines while it runs, at 2 an hour, over all runs; at it the sweep stops"
        in plan_text(planned)
    )
    hour = simulate(planned, replace(INSTANT, nodes=2), lambda stage: 3600.0 / PLANNED.stages)
    said = simulated_text(planned, INSTANT, hour)
    needed = (hour.node_hours + hour.makespan_seconds / 3600) * 2.0
    assert f"ceiling      10 of money, the head's too, of which {needed:,.2f} are needed, enough" in said
    long = simulate(planned, replace(INSTANT, nodes=2), lambda stage: 3600.0)
    assert "are needed, not enough: the sweep would stop with trials left open" in simulated_text(
        planned, INSTANT, long
    )


def test_the_plan_command_prints_the_answer_with_its_assumptions(capsys):
    words = ["--simulate", "--nodes", "4", "--price-per-node-hour", "1.5", "--losses-per-node-hour", "0.1"]
    assert main(["plan", "lab", *words]) == 0
    said = capsys.readouterr().out
    for word in ("makespan", "utilisation", "reuse", "node-hours", "losses", *ASSUMPTIONS):
        assert word in said


def test_the_price_of_the_definition_is_taken_where_none_is_given(capsys, tmp_path):
    (tmp_path / "priced.py").write_text(
        "from tests.pure.small_sweep import small_sweep\nfrom sweep import Gangs\n"
        "sweep = small_sweep(gangs=Gangs(price_per_node_hour=7.0))\n"
    )
    for words, price in (((), 7), (("--price-per-node-hour", "3"), 3)):
        assert main(["plan", str(tmp_path / "priced.py"), "--simulate", *words]) == 0
        assert f" at {price} each" in capsys.readouterr().out
