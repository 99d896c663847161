"""Claims about the simulation: it never promises what the work cannot give, and losses cost what they repeat."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from search_spaces import Cell
from sweep.cli import main
from sweep.definition import Search, Sweep
from sweep.plan import estimated_seconds, plan
from sweep.plan_text import plan_text
from sweep.presets import SUITES
from sweep.search import Budget, Median, NoPruning
from sweep.simulate import ASSUMPTIONS, Described, Placed, simulate
from sweep.simulated_text import Replayed, simulated_text
from sweep.stage_times import Pruned
from sweep.suite import counted
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
    described = replace(INSTANT, nodes=nodes, workers_per_node=per_node)
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


def test_the_price_is_that_of_the_machines_and_the_head_until_the_end():
    described = replace(INSTANT, nodes=3, workers_per_node=2, price_per_node_hour=2.5)
    planned = plan(small_sweep(gangs=Gangs(count=6)))
    result = simulate(planned, described, seconds_of)
    assert result.node_hours == pytest.approx((3 + 1) * result.makespan_seconds / 3600)
    assert result.price == pytest.approx(2.5 * result.node_hours)


def test_a_gang_that_is_larger_than_a_machine_pays_for_all_of_its_machines():
    wide = plan(small_sweep(gangs=Gangs(count=2, workers=8)))
    small = simulate(wide, replace(INSTANT, nodes=16, workers_per_node=1), seconds_of)
    large = simulate(wide, replace(INSTANT, nodes=16, workers_per_node=8), seconds_of)
    assert (small.gangs, small.nodes, large.gangs, large.nodes) == (2, 16, 2, 2)
    assert small.makespan_seconds == large.makespan_seconds
    assert small.node_hours == pytest.approx(large.node_hours * 17 / 3)


def test_a_gang_is_lost_with_any_of_its_machines():
    gangs = Gangs(count=3, workers=3)
    spread = Placed.of(gangs, replace(INSTANT, nodes=6, workers_per_node=2))
    assert [list(spread.on(node)) for node in range(spread.nodes)] == [[0], [0], [1], [1], [2], [2]]
    packed = Placed.of(gangs, replace(INSTANT, nodes=6, workers_per_node=7))
    assert [list(packed.on(node)) for node in range(packed.nodes)] == [[0, 1], [2]]
    one = plan(small_sweep(gangs=Gangs(workers=4)))
    described = replace(INSTANT, nodes=4, losses_per_node_hour=10.0, checkpoint_seconds=20)
    runs = {
        workers: [simulate(one, replace(described, workers_per_node=workers, seed=n), seconds_of) for n in range(20)]
        for workers in (1, 4)
    }
    losses, repeated = (
        {workers: sum(getattr(run, what) for run in of) for workers, of in runs.items()}
        for what in ("losses", "repeated_seconds")
    )
    assert losses[1] > 3 * losses[4] > 0  # four times as many machines
    assert repeated[1] > 3 * repeated[4] > 0


def test_machines_that_hold_no_gang_are_refused():
    wide = plan(small_sweep(gangs=Gangs(workers=8)))
    with pytest.raises(Invalid, match="one of 8 workers lies on 4 machines of 2, got 3; describe more or larger ones"):
        simulate(wide, replace(INSTANT, nodes=3, workers_per_node=2), seconds_of)


def test_machines_that_are_lost_before_anything_is_kept_end_the_simulation(monkeypatch):
    monkeypatch.setattr("sweep.simulate.MOST_LOSSES", 2_000)
    hopeless = Described(nodes=1, losses_per_node_hour=500.0)
    with pytest.raises(Invalid) as refused:
        simulate(PLANNED, hopeless, seconds_of)
    assert (
        f"got 500 times an hour: after 2,000 losses only 0 of {PLANNED.stages} stages had ended; a machine stays for "
        "7 s on average, where one with its gangs takes 320 s to start and 120 s to the first checkpoint"
    ) in str(refused.value)
    bearable = replace(INSTANT, losses_per_node_hour=500.0, checkpoint_seconds=1.0)
    assert 0 < simulate(PLANNED, bearable, seconds_of).losses < 2_000


@pytest.mark.parametrize("seconds", [0.0, float("inf"), float("nan")])
def test_checkpoints_come_after_a_finite_time(seconds):
    with pytest.raises(Invalid, match="checkpoint_seconds must be a finite number above 0, got"):
        Described(nodes=1, checkpoint_seconds=seconds)


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
    said = simulated_text(replayed(planned, described, 3600.0))
    assert "ceiling      1e+06 gang-hours, enough" in said
    assert "ceiling      0.5 node-hours with the head's (1.50 at 3 each), not enough" in said


def test_a_ceiling_of_money_is_printed_with_what_is_needed_of_it():
    planned = plan(small_sweep(gangs=Gangs(count=2, price=10.0, price_per_node_hour=2.0)))
    assert (
        "ceiling  a price of 10 for all machines while it runs, at 2 an hour, over all runs; at it the sweep stops"
        in plan_text(planned)
    )
    hour = replayed(planned, replace(INSTANT, nodes=2), 3600.0 / PLANNED.stages)
    needed = hour.simulated.node_hours * 2.0
    assert f"ceiling      10 of money, the head's too, of which {needed:,.2f} are needed, enough" in simulated_text(
        hour
    )
    long = replayed(planned, replace(INSTANT, nodes=2), 3600.0)
    assert "are needed, not enough: the sweep would stop with trials left open" in simulated_text(long)


def replayed(planned, described: Described, seconds: float) -> Replayed:
    """The plan replayed with stages that all take as long."""
    simulated = simulate(planned, described, lambda stage: seconds)
    return Replayed(plan=planned, described=described, simulated=simulated)


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


# The machines that the command describes


def said_of(definition, words: str, capsys) -> dict[str, str]:
    """The lines of a simulation by their first word."""
    assert main(["plan", str(definition), "--simulate", *words.split()]) == 0
    lines = capsys.readouterr().out.splitlines()
    return dict(line.split(maxsplit=1) for line in lines if line and not line.startswith(" ") and " " in line)


@pytest.fixture
def wide(tmp_path):
    """A definition of two gangs of eight workers with a GPU each."""
    (tmp_path / "wide.py").write_text(
        "from tests.pure.small_sweep import small_sweep\nfrom sweep import Gangs\n"
        "sweep = small_sweep(gangs=Gangs(count=2, workers=8, gpus_per_worker=1.0, cpus_per_worker=4.0))\n"
    )
    return tmp_path / "wide.py"


@pytest.mark.parametrize(
    ("words", "cluster"),
    [
        ("", "2 machine(s) of 8 worker(s)"),
        ("--gpus-per-node 1", "16 machine(s) of 1 worker(s)"),
        ("--gpus-per-node 8 --processors-per-node 12", "6 machine(s) of 3 worker(s)"),
        ("--processors-per-node 64", "1 machine(s) of 16 worker(s)"),
        ("--gangs-per-node 2", "1 machine(s) of 16 worker(s)"),
        ("--gpus-per-node 8 --gangs 5", "5 machine(s) of 8 worker(s)"),
    ],
)
def test_machines_are_counted_by_what_workers_ask_of_them(wide, words, cluster, capsys):
    said = said_of(wide, words, capsys)
    assert f"a head, and {cluster} (each 4 CPU, 1 GPU); " in said["cluster"]
    assert "unused" not in said


def test_machines_without_a_gang_are_told_with_how_many_would_use_them(wide, capsys):
    said = said_of(wide, "--gpus-per-node 4 --nodes 8", capsys)
    assert "each on 2 machines" in said["cluster"]
    assert said["unused"] == (
        "4 machine(s), which are not counted below: the sweep has 2 gang(s), and --gangs 4 would use them"
    )
    all_used = said_of(wide, "--gpus-per-node 4 --nodes 8 --gangs 4", capsys)
    assert "4 of 4 gang(s)" in all_used["cluster"] and "unused" not in all_used
    odd = said_of(wide, "--gpus-per-node 4 --nodes 9 --gangs 6", capsys)
    assert "4 of 6 gang(s)" in odd["cluster"] and odd["unused"].endswith("no further gang has room on them")


@pytest.mark.parametrize(
    ("words", "fault"),
    [
        ("--gpus-per-node 0.5", "a machine must hold a worker, got 0.5 GPU, where a worker asks for 4 CPU, 1 GPU"),
        ("--gpus-per-node inf", "what a machine has must be a finite number of at least 0, got inf GPU"),
        ("--gangs-per-node 0", "--gangs-per-node must be at least 1, got 0"),
        ("--gangs-per-node 1 --gpus-per-node 8", "--gangs-per-node must be given alone"),
        ("--gangs 0", "count must be a whole number of at least 1, got 0"),
        ("--gpus-per-node 1 --nodes 7", "one of 8 workers lies on 8 machines of 1, got 7"),
    ],
)
def test_machines_that_cannot_be_are_refused(wide, words, fault, capsys):
    assert main(["plan", str(wide), "--simulate", *words.split()]) == 2
    assert fault in capsys.readouterr().err


def test_gpus_alone_describe_no_machine_for_gangs_without_them(capsys):
    assert main(["plan", "lab", "--simulate", "--gpus-per-node", "8"]) == 2
    fault = "what a machine has must say how many workers it holds, got 8 GPU, where a worker asks for 1 CPU"
    assert fault in capsys.readouterr().err


# Suites


def test_a_suite_is_simulated_sweep_after_sweep_and_makes_what_is_shared_once(capsys):
    words = "--nodes 4 --gangs 4 --node-start 72000 --gang-start 0 --stage-overhead 0 --price-per-node-hour 2"
    assert main(["plan", "phang2020", "--simulate", *words.split()]) == 0
    said = capsys.readouterr().out
    shown = said[said.index("simulated ") :].splitlines()
    rows = [line.split() for line in shown if line.startswith("phang2020-")]
    suite = SUITES["phang2020"]()
    assert [row[0] for row in rows] == [sweep.name for sweep in suite.sweeps]
    total = counted(tuple(plan(sweep) for sweep in suite.sweeps))
    assert sum(int(row[-3]) for row in rows) == total.trainings + total.evaluations
    by_word = dict(line.split(maxsplit=1) for line in shown if line and not line.startswith(" "))
    hours = float(by_word["makespan"].split()[0])
    assert total.seconds / 4 / 3600 + 20 <= hours < total.seconds / 3600  # the machines start once
    paid = re.fullmatch(r"([\d.]+), of which ([\d.]+) of the head; ([\d.]+) at 2 each", by_word["node-hours"])
    assert paid and float(paid[2]) == hours
    assert float(paid[1]) == pytest.approx(5 * hours, rel=0.01)
    assert float(paid[3]) == pytest.approx(2 * float(paid[1]), rel=0.01)
    assert all(assumed in said for assumed in ASSUMPTIONS)
