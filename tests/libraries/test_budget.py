"""Claims about budgets: confirmation comes first, every cell gets the same, and running out is no failure."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import replace
from random import Random

import pyarrow.fs as pafs
import pytest

from sweep import record_definition
from sweep.budget import allowance, identity
from sweep.cli import main
from sweep.conduct import Conductor, Verdict
from sweep.definition import Sweep
from sweep.ledger import Ledger
from sweep.meter import KEEP_SECONDS, Meter
from sweep.plan import plan
from sweep.plan_text import plan_text
from sweep.records import Phase, State, What
from sweep.results import Results
from sweep.search import Budget, ExpectedGain, Median, NoPruning, Search
from tests.libraries.test_conduct import MemoryLedger, World, conducted, drive, hashed, what_happened
from tests.pure.small_sweep import ALONE, BASELINE, small_sweep
from trainables.catalogue import lab
from trainables.faults import Invalid
from trainables.gangs import Gangs
from trainables.scores import Done, Failed

#: pretrain 100, align 30 for each of the seeds 0, 1, 2; confirmation 20 for each seed of the baseline, 60 of the others
SET_ASIDE = 100 + 3 * 30 + 2 * (20 + 60 + 60)


def small(steps: float = math.inf, *, trials: int = 6, **more) -> Sweep:
    search = Search(trials=trials, fan_out=2, pruner=more.pop("pruner", NoPruning()))
    return small_sweep(search=search, budget=Budget(optimiser_steps=steps), **more)


def trials_of(conductor: Conductor) -> dict[str, int]:
    return Counter(key.cell for key in conductor.records if key.phase is Phase.SEARCH)


def executed(conductor: Conductor) -> int:
    return sum(run["steps_executed"] for record in conductor.records.values() for run in record.stage_runs)


# Optimiser steps


def test_steps_are_set_aside_for_confirmation_and_the_rest_pays_for_the_same_trials_in_every_cell():
    # three trials of each cell: 60 in the baseline, 2 settings of 40 and 60 in the two others
    exact = SET_ASIDE + 60 + 2 * 140
    for steps, trials in ((exact, 3), (exact - 1, 2), (exact + 1, 3), (math.inf, 6)):
        found = allowance(small(steps))
        assert set(found.trials.values()) == {trials}
        assert {cell.search_trials for cell in plan(small(steps)).cells} == {trials}
    assert allowance(small(exact)).set_aside == SET_ASIDE
    assert plan(small(exact)).steps == exact


@pytest.mark.parametrize("width", [1, 2, 5])
def test_a_sweep_that_prunes_nothing_does_what_its_plan_counts_and_confirms_every_cell(width):
    sweep = small(SET_ASIDE + 60 + 2 * 140)
    conductor, ledger = conducted(sweep, width=width, choose=Random(width).randrange)
    assert set(trials_of(conductor).values()) == {3}
    if width == 1:  # the world of these tests has no dispatcher: at once, two trials train a shared stage twice
        assert executed(conductor) == plan(sweep).steps == sweep.budget.optimiser_steps
    assert Counter(key.cell for key in conductor.records if key.phase is Phase.CONFIRMATION) == dict.fromkeys(
        trials_of(conductor), 2
    )
    assert what_happened(ledger) == what_happened(conducted(sweep)[1])


def test_what_pruning_saves_pays_for_more_trials_and_never_for_more_than_the_budget():
    steps = SET_ASIDE + 60 + 2 * 140
    sweep = small(steps, pruner=Median(trials_before=1))
    conductor, _ = conducted(sweep)
    saved = sum(record.steps_saved for record in conductor.records.values())
    assert saved >= 20 and sum(trials_of(conductor).values()) > 9
    assert executed(conductor) <= steps


def test_settings_that_are_used_again_pay_for_more_trials():
    steps = SET_ASIDE + 100 + 2 * (2 * 40 + 4 * 20 + 60)
    how = Search(trials=7, fan_out=ExpectedGain(settings=2, fan_out=2), pruner=NoPruning())
    sweep = replace(small(steps), search=how)
    assert set(allowance(sweep).trials.values()) == {5}
    conductor, _ = conducted(sweep)
    found = trials_of(conductor)
    assert found["none"] == 5 and min(found["nli"], found["nli+qqp"]) >= 5 and sum(found.values()) > 15
    assert executed(conductor) <= steps


def test_a_budget_that_does_not_pay_for_confirmation_and_one_trial_of_each_cell_is_refused():
    least = SET_ASIDE + 20 + 2 * 60
    with pytest.raises(Invalid) as refused:
        plan(small(least - 1))
    assert refused.value.faults == (
        "optimiser_steps must pay for every confirmation and one search trial of each cell, 610 together, got 609; "
        "raise it, or drop cells, seeds or steps",
    )
    assert set(trials_of(conducted(small(least))[0]).values()) == {1}


def test_the_plan_states_the_limits_and_what_they_pay_for():
    text = plan_text(plan(small(900)))
    assert "budget   900 optimiser steps; confirmation is paid for first; 470 steps are set aside" in text
    assert "the rest pays for 4 of 6 trials of each cell" in text
    timed = small_sweep(budget=Budget(wall_clock_hours=2.5))
    assert "budget   2.5 h of wall clock; confirmation is paid for first\n" in plan_text(plan(timed))
    assert "budget" not in plan_text(plan(small()))


@pytest.mark.parametrize("name", ["optimiser_steps", "wall_clock_hours", "gpu_hours"])
def test_a_limit_is_a_number_above_0(name):
    for value in (0, -1, float("nan"), True, "1"):
        with pytest.raises(Invalid, match=f"{name} must be a number above 0, or float\\('inf'\\) for no limit"):
            Budget(**{name: value})


def test_gpu_hours_without_a_gpu_are_refused():
    with pytest.raises(Invalid, match="gpu_hours needs gangs with GPUs, got 3 and gpus_per_worker=0"):
        small_sweep(budget=Budget(gpu_hours=3))


# What is made anew


def all_steps(ledger: MemoryLedger) -> int:
    """Optimiser steps that all generations of all trials ran, pruned ones up to the step at which they stopped."""
    stages = sum(entry.payload["steps_executed"] for entry in ledger.happenings() if entry.what is What.STAGE)
    return stages + sum(entry.payload["step"] for entry in ledger.happenings() if entry.what is What.PRUNED)


def versions(monkeypatch, number: str) -> None:
    monkeypatch.setattr("sweep.paths.numeric_versions", lambda: (("torch", number),))


def test_a_renewal_that_the_budget_does_not_pay_for_is_refused_before_it_begins_with_the_number_that_would(monkeypatch):
    steps = SET_ASIDE + 120 + 2 * 240  # six trials of each cell
    world, ledger = World(), MemoryLedger()
    conducted(small(steps + 300), world, ledger)
    assert all_steps(ledger) == steps
    versions(monkeypatch, "99.1")
    written = dict(ledger.entries)
    for given in (steps + 300, 2 * steps - 1):
        conductor = Conductor(small(given), ledger)
        assert conductor.next() is None, "nothing more is asked for"
        with pytest.raises(Invalid) as refused:
            conductor.take_up(outdated=True)
        assert refused.value.faults == (
            f"optimiser_steps must pay for trials that are made anew beside the {steps:,} steps that went into "
            f"what they replace, {2 * steps:,} together, got {given:,}; raise it, or leave them as they are",
        )
    assert ledger.entries == written
    conductor = Conductor(small(2 * steps), ledger)
    assert conductor.take_up(outdated=True) == 6 * 3 + 2 * 3
    drive(conductor, world)
    assert conductor.complete() and all_steps(ledger) == 2 * steps
    versions(monkeypatch, "99.2")
    with pytest.raises(Invalid, match=f"beside the {2 * steps:,} steps"):
        Conductor(small(2 * steps), ledger).take_up(outdated=True)


def renewed(first: float, second: float, width: int, monkeypatch) -> tuple[Conductor, MemoryLedger]:
    """A sweep that its budget cut short, made anew under other versions and a larger budget."""
    world, ledger = World(), MemoryLedger()
    versions(monkeypatch, "99.1")
    conducted(small(first, trials=20, pruner=Median(trials_before=1)), world, ledger)
    versions(monkeypatch, "99.2")
    conductor = Conductor(small(second, trials=20, pruner=Median(trials_before=1)), ledger)
    conductor.take_up(outdated=True)
    drive(conductor, world, width=width, choose=Random(width).randrange)
    return conductor, ledger


@pytest.mark.parametrize("second", [2400, 3000])
def test_after_a_renewal_the_search_goes_on_with_what_is_left_and_with_the_same_trials_for_any_number_of_gangs(
    second, monkeypatch
):
    conductor, ledger = renewed(1000, second, 1, monkeypatch)
    assert all_steps(ledger) <= second
    assert conductor.standing().ran_out and "nli+qqp" in conductor.standing().withheld
    new = [key for key, record in conductor.records.items() if key.phase is Phase.SEARCH and not record.before]
    assert new or second == 2400, "what the renewal leaves pays for further trials"
    assert what_happened(renewed(1000, second, 4, monkeypatch)[1]) == what_happened(ledger)
    again = Conductor(conductor.sweep, ledger)
    assert again.next() is None and again.remaining() == 0


def test_trials_that_failed_and_are_tried_again_are_paid_for_twice():
    steps = SET_ASIDE + 120 + 2 * 240
    broken = World(fails=lambda stage: len(stage.tasks) == 2)
    ledger = conducted(small(steps), broken)[1]
    with pytest.raises(Invalid, match=f"beside the {6 * 40} steps that went into what they replace, {steps + 240:,}"):
        Conductor(small(steps), ledger).take_up(failed=True)
    conductor = Conductor(small(steps + 240), ledger)
    assert conductor.take_up(failed=True) == 6
    drive(conductor, World())
    assert conductor.complete()


def test_trials_of_which_the_ledger_lost_an_entry_are_taken_up_whatever_the_budget_since_they_cost_nothing():
    steps = SET_ASIDE + 120 + 2 * 240
    world, ledger = World(), MemoryLedger()
    conducted(small(steps), world, ledger)
    del ledger.entries["nli.search.00001.stage.000003"]
    conductor = Conductor(small(steps), ledger)
    assert conductor.take_up(failed=True, outdated=True) == 1
    drive(conductor, world)
    assert conductor.complete() and conductor._purse.allowance == allowance(small(steps))


@pytest.mark.parametrize("fan_out", [2, ExpectedGain(settings=3, fan_out=2)], ids=["fixed", "as_it_pays"])
@pytest.mark.parametrize("change_at", [3, 8])
def test_what_other_versions_make_anew_of_shared_stages_is_paid_for_though_no_trial_is(fan_out, change_at, monkeypatch):
    search = Search(trials=12, fan_out=fan_out, pruner=NoPruning())
    sweep = small_sweep(search=search, budget=Budget(optimiser_steps=1100), cells=(BASELINE, ALONE))
    world, ledger = World(), MemoryLedger()
    versions(monkeypatch, "99.1")
    conductor, ended = Conductor(sweep, ledger), 0
    while (assignment := conductor.next()) is not None:
        conductor.handle(assignment.key, world.events(assignment.path))
        ended += 1
        if ended == change_at:
            versions(monkeypatch, "99.2")
            conductor = Conductor(sweep, ledger)
            conductor.take_up()
    assert len({record.stages[0] for record in conductor.records.values()}) == 2, "the claim is about two versions"
    assert all_steps(ledger) <= 1100 and conductor.standing().ran_out
    assert all(record.state is State.FINISHED for record in conductor.records.values())


def test_where_images_are_aligned_after_searched_settings_a_restart_at_any_trial_changes_nothing():
    sweep = small(710, cells=(BASELINE, ALONE), align_after_intermediate=True)

    def made(restart_after: int) -> MemoryLedger:
        world, ledger, ended = World(), MemoryLedger(), 0
        conductor = Conductor(sweep, ledger)
        while (assignment := conductor.next()) is not None:
            conductor.handle(assignment.key, world.events(assignment.path))
            ended += 1
            if ended == restart_after:
                conductor = Conductor(sweep, ledger)
                assert conductor.take_up() == 0
        assert conductor.standing().ran_out and ended > restart_after
        assert set(trials_of(conductor).values()) == {4}
        return ledger

    whole = what_happened(made(0))
    for restart_after in range(1, 12):
        assert what_happened(made(restart_after)) == whole, restart_after


@pytest.mark.parametrize("fails", [0.6, 1.0])
def test_no_search_takes_more_steps_than_it_was_allowed_where_settings_are_used_as_it_pays_and_trials_fail(fails):
    """Until expected gains can be told, every trial may open a setting."""

    def failing(stage) -> bool:
        return stage.steps == 20 and hashed(stage, 0) < fails

    for steps in (740, 780, 820):
        search = Search(trials=14, fan_out=ExpectedGain(settings=2, fan_out=2), pruner=NoPruning())
        sweep = small_sweep(search=search, budget=Budget(optimiser_steps=steps), cells=(BASELINE, ALONE))
        conductor, _ = conducted(sweep, World(fails=failing))
        for cell in sweep.cells:
            spent = conductor._purse._spent_on(cell, conductor._of(cell, Phase.SEARCH))
            assert spent <= conductor._purse.allowance.search[cell.name], (steps, cell.name)


# Time


class Slow(World):
    """Every optimiser step takes a second of the clock, and an evaluation ten."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 1000.0

    def executed(self, stage):
        for event in super().executed(stage):
            if isinstance(event, Done):
                seconds = float(stage.steps or 10)
                self.now += seconds
                event = replace(event, seconds=seconds)
                self.stored[stage.digest] = event
            yield event


def timed(sweep: Sweep, world: Slow, ledger: MemoryLedger) -> Conductor:
    conductor = Conductor(sweep, ledger, clock=lambda: world.now)
    drive(conductor, world)
    return conductor


HOURS = Budget(wall_clock_hours=900 / 3600)
TIMED = small_sweep(budget=HOURS, search=Search(trials=50, fan_out=2, pruner=NoPruning()))


def test_no_search_trial_is_begun_once_what_is_left_is_needed_for_confirmation():
    world, ledger = Slow(), MemoryLedger()
    conductor = timed(TIMED, world, ledger)
    found = trials_of(conductor)
    assert 3 <= sum(found.values()) < 30 and len(found) == 3
    confirmed = [record for key, record in conductor.records.items() if key.phase is Phase.CONFIRMATION]
    assert len(confirmed) == 3 * 2 and all(record.state is State.FINISHED for record in confirmed)
    assert world.now - 1000 <= 900
    standing = conductor.standing()
    assert not standing.whole and standing.ran_out and conductor.remaining() == 0
    assert set(standing.withheld) == {"none", "nli", "nli+qqp"}
    assert "confirmation needs about" in standing.withheld["nli"]


def test_a_sweep_that_ran_out_does_nothing_more_until_its_budget_grows():
    world, ledger = Slow(), MemoryLedger()
    first = timed(TIMED, world, ledger)
    written = dict(ledger.entries)
    again = timed(TIMED, world, ledger)
    assert ledger.entries == written and again.records == first.records and again.standing().ran_out
    larger = timed(replace(TIMED, budget=Budget(wall_clock_hours=2000 / 3600)), world, ledger)
    assert sum(trials_of(larger).values()) > sum(trials_of(first).values())
    for key, record in first.records.items():
        assert larger.records[key] == record


def test_the_clock_goes_on_where_an_earlier_run_left_it():
    world, ledger = Slow(), MemoryLedger()
    conductor = Conductor(TIMED, ledger, clock=lambda: world.now)
    assignment = conductor.next()
    for event in world.events(assignment.path):
        conductor.handle(assignment.key, [event])
    world.now += 5000.0  # the machine was off
    again = Conductor(TIMED, ledger, clock=lambda: world.now)
    assert again._purse.elapsed() == pytest.approx(150, abs=1)


def test_the_time_of_a_run_that_was_killed_in_the_middle_of_a_long_stage_is_counted_to_its_last_minute(tmp_path):
    world, filesystem = Slow(), pafs.LocalFileSystem()
    ledger = Ledger(filesystem, str(tmp_path), TIMED.name).open()
    for run in (1, 2):
        conductor = Conductor(TIMED, ledger, clock=lambda: world.now)
        meter = Meter(filesystem, f"{tmp_path}/sweeps/{TIMED.name}", TIMED.gangs, clock=lambda: world.now)
        assert conductor.next() is not None
        for _ in range(230):  # 460 s in which no stage ends, looked at every other second; then it is killed
            world.now += 2.0
            meter.saw(machines=1, gang_hours=0.0)
        again = Conductor(TIMED, ledger, clock=lambda: world.now)
        assert run * (460 - KEEP_SECONDS) <= again._purse.elapsed() <= run * 460
    world.now += 900.0 - again._purse.elapsed()
    assert again.next() is None and set(again.standing().withheld) == {"none", "nli", "nli+qqp"}


def test_when_the_time_is_over_nothing_is_begun_and_what_is_finished_counts():
    world, ledger = Slow(), MemoryLedger()
    conductor = Conductor(TIMED, ledger, clock=lambda: world.now)
    assignment = conductor.next()
    world.now += 10_000.0
    for event in world.events(assignment.path):
        conductor.handle(assignment.key, [event])
    assert conductor.records[assignment.key].state is State.FINISHED, "what runs is finished"
    assert conductor.next() is None and conductor.remaining() == 0 and not conductor.running()
    entries = [entry for entry in ledger.happenings() if entry.what is What.WITHHELD]
    assert {entry.payload["reason"] for entry in entries} == {"0.25 h of wall clock are over"}
    again = Conductor(TIMED, ledger, clock=lambda: 0.0)
    assert again.next() is None and again.standing().ran_out


def test_gpu_hours_are_those_of_stages_times_the_gpus_of_a_gang():
    world, ledger = Slow(), MemoryLedger()
    gangs = Gangs(workers=2, gpus_per_worker=1.0)
    sweep = replace(TIMED, budget=Budget(gpu_hours=2 * 900 / 3600), gangs=gangs)
    conductor = timed(sweep, world, ledger)
    assert conductor._purse.gpu_hours() == pytest.approx(2 * (world.now - 1000) / 3600)
    assert conductor._purse.gpu_hours() <= 0.5 and conductor.standing().ran_out
    assert "GPU-hours are left" in conductor.standing().withheld["nli"]


class Metered(Slow):
    """A world of GPUs in which every step is paid for as it is made, also those of stages that end in nothing."""

    def __init__(self, fails=lambda stage: False) -> None:
        super().__init__()
        self.fails, self.spent = fails, 0.0

    def executed(self, stage):
        last = 0
        for event in World.executed(self, stage):
            if isinstance(event, Done):
                event = replace(event, seconds=float(stage.steps or 10))
                self.stored[stage.digest] = event
            step = stage.steps or 10 if isinstance(event, Done) else event.step
            self.spent, self.now, last = self.spent + step - last, self.now + step - last, step
            yield event

    def events(self, path):
        for event in super().events(path):
            if isinstance(event, Failed):
                self.spent, self.now = self.spent + 50.0, self.now + 50.0
            yield event


@pytest.mark.parametrize("fails", [lambda stage: False, lambda stage: len(stage.tasks) == 2])
def test_gpu_hours_count_what_pruned_and_failed_trials_took_in_every_run_of_the_sweep(fails):
    world, ledger = Metered(fails), MemoryLedger()
    gangs = Gangs(workers=2, gpus_per_worker=1.0)
    search = Search(trials=50, fan_out=2, pruner=Median(trials_before=1))
    sweep = replace(TIMED, budget=Budget(gpu_hours=2 * 1500 / 3600), gangs=gangs, search=search)
    while True:  # a driver that dies after every fifth trial
        conductor = Conductor(sweep, ledger, clock=lambda: world.now)
        begun = world.spent
        conductor.gang_seconds = lambda begun=begun: world.spent - begun
        assert conductor._purse.spent() == pytest.approx(world.spent, abs=1)
        for _ in range(5):
            if (assignment := conductor.next()) is None:
                break
            for event in world.events(assignment.path):
                if conductor.handle(assignment.key, [event]) is Verdict.STOP:
                    break
        else:
            continue
        break
    wasted = [r for r in conductor.records.values() if r.state in (State.PRUNED, State.FAILED)]
    assert len(wasted) >= 3 and world.spent <= 1500
    assert conductor.standing().withheld and "GPU-hours" in conductor.standing().withheld["nli"]


@pytest.mark.parametrize(("width", "limit"), [(4, 2500), (4, 4000), (8, 5000), (8, 8000)])
def test_with_several_gangs_hours_are_exceeded_by_a_trial_of_each_at_most_and_every_cell_is_confirmed(width, limit):
    others = [
        replace(ALONE, name=f"cell-{n}", intermediates=(replace(lab.NLI, name=f"nli_{n}"),)) for n in range(2 * width)
    ]
    sweep = replace(TIMED, cells=(BASELINE, *others), confirmation_seeds=(1,))
    sweep = replace(sweep, gangs=Gangs(count=width, gpus_per_worker=1.0), budget=Budget(gpu_hours=limit / 3600))
    world = Metered()
    conductor = Conductor(sweep, MemoryLedger(), clock=lambda: world.now)
    conductor.gang_seconds = lambda: world.spent
    drive(conductor, world, width=width, choose=Random(width).randrange)
    confirmed = [r for key, r in conductor.records.items() if key.phase is Phase.CONFIRMATION]
    assert {r.key.cell for r in confirmed if r.state is State.FINISHED} == {cell.name for cell in sweep.cells}
    assert conductor.standing().ran_out and world.spent <= limit + width * (40 + 20)


def test_a_failed_trial_is_a_failure_also_where_the_budget_ran_out():
    sweep = small(SET_ASIDE + 60 + 2 * 140)
    conductor, _ = conducted(sweep, World(fails=lambda stage: len(stage.tasks) == 2))
    assert not conductor.standing().ran_out and not conductor.complete()


# What a person sees


def stored(sweep: Sweep, storage: str) -> Results:
    filesystem = pafs.LocalFileSystem()
    record_definition.keep(sweep, filesystem, storage)
    conducted(sweep, ledger=Ledger(filesystem, storage, sweep.name).open())
    return Results(storage, sweep.name)


def test_a_sweep_that_ran_out_exits_with_3_and_its_status_says_why(tmp_path, monkeypatch, capsys):
    sweep = replace(small(SET_ASIDE + 60 + 140), cells=(BASELINE, ALONE), name="short")
    results = stored(sweep, str(tmp_path))
    assert results.ran_out and not results.complete
    monkeypatch.setattr("sweep.launch.run", lambda *_, **__: results)
    definition = tmp_path / "short.py"
    definition.write_text("from sweep.presets import rehearsal\nsweep = rehearsal()\n")
    assert main(["run", str(definition)]) == 3
    assert "The budget has run out (" in capsys.readouterr().err
    assert main(["status", "short", "--storage", str(tmp_path)]) == 0
    said = capsys.readouterr().out
    assert "no further trial: 0 of its" in said and "short: the budget has run out (" in said


def test_another_budget_is_another_identity():
    assert len({identity(small(steps)) for steps in (1000, 2000, math.inf)}) == 3


def test_a_sweep_whose_hours_are_over_makes_nothing_anew_and_one_with_nothing_to_make_anew_is_not_refused(monkeypatch):
    _, ledger = conducted(small(math.inf), World())
    hour = replace(small(math.inf), budget=Budget(wall_clock_hours=1.0))
    monkeypatch.setattr(ledger, "seconds_run", lambda: 3700.0)
    assert Conductor(hour, ledger).take_up(failed=True, outdated=True) == 0
    monkeypatch.setattr("sweep.paths.numeric_versions", lambda: (("torch", "99.1"),))
    with pytest.raises(Invalid, match="must have something left for trials that are made anew, got that 1 h of wall"):
        Conductor(hour, ledger).take_up(outdated=True)
    assert Conductor(hour, ledger).complete()
