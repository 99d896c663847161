"""Claims about a running sweep: the same trials in any order of events, and after any kill; failures stay visible."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from random import Random

import pyarrow.fs as pafs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from search_spaces import Cell, Choice, LogRange, Simplex, Space
from search_spaces.variants import with_aligned_words
from sweep import tables
from sweep.conduct import Assignment, Conductor, Verdict
from sweep.definition import Sweep
from sweep.ledger import Ledger, best_runs
from sweep.plan import plan
from sweep.records import Happening, Phase, State, TrialKey, TrialRecord, What
from sweep.search import Budget, ExpectedGain, Grid, NoPruning, Search
from tests.examples import of_examples
from tests.pure.small_sweep import ALONE, BASELINE, MIXED, SETTINGS, small_sweep
from trainables.catalogue import lab, lab_twins
from trainables.catalogue.encoder import HubEncoder
from trainables.catalogue.task import Kind, Role
from trainables.rehearsal import JsonCheckpoints, run_stage
from trainables.scores import Done, Event, Failed, Progress, Score
from trainables.stages import Evaluation, Stage
from trainables.store import Results

SWEEP = small_sweep()


def hashed(stage: Stage, step: int) -> float:
    """A made-up accuracy, from 0 to 1, of a stage after a step: by what the stage trains on and how.

    Not by its digest, which every new setting changes: how many trials are pruned must not depend on that.
    """
    work = stage.work
    assert not isinstance(work, Evaluation)
    tasks = [(portion.task.name, portion.steps) for portion in work.portions]
    text = json.dumps([tasks, work.settings.learning_rate, stage.seed, step])
    return int(hashlib.sha256(text.encode()).hexdigest()[:6], 16) / 16**6


class World:
    """Gangs and store in one: answers a path with events, one at a time, and keeps what it has finished."""

    def __init__(
        self,
        accuracy: Callable[[Stage, int], float] = hashed,
        fails: Callable[[Stage], bool] = lambda stage: False,
    ) -> None:
        self.accuracy = accuracy
        self.fails = fails
        self.stored: dict[str, Done] = {}

    def events(self, path: tuple[Stage, ...]) -> Iterator[Event]:
        for stage in path:
            if stage.digest in self.stored:
                yield replace(self.stored[stage.digest], reused=True, steps_executed=0, seconds=0.0)
            elif self.fails(stage):
                yield Failed(digest=stage.digest, reason="the loss was no number at step 7")
                return
            else:
                yield from self.executed(stage)

    def executed(self, stage: Stage) -> Iterator[Event]:
        history = []
        if not isinstance(stage.work, Evaluation):
            for step in stage.work.settings.evaluated_steps():
                history.append(Progress(digest=stage.digest, step=step, scores=self.scores(stage, step)))
                yield history[-1]
        done = Done(digest=stage.digest, steps_executed=stage.steps, reused=False, seconds=1.5, history=tuple(history))
        self.stored[stage.digest] = done
        yield done

    def scores(self, stage: Stage, step: int) -> tuple[Score, ...]:
        return tuple(
            Score(
                task=task.name,
                language="en",
                split="dev",
                role=Role.SELECT,
                metric="accuracy",
                value=self.accuracy(stage, step),
                correct=None,
                count=100,
                step=step,
            )
            for task in stage.tasks
            if task.split("dev")
        )


class Rehearsed(World):
    """As `World`, by the rehearsal in a folder."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.folder = folder

    def executed(self, stage: Stage) -> Iterator[Event]:
        output, heard = self.folder / stage.digest, []
        output.mkdir()
        outcome = run_stage(
            stage,
            parent=self.folder / stage.parent if stage.parent else None,
            output=output,
            cache=None,
            checkpoints=JsonCheckpoints(output, interval_steps=1000),
            report=heard.append,
            cancelled=lambda: False,
            ranks=None,
        )
        yield from heard
        done = Done(
            digest=stage.digest,
            steps_executed=stage.steps,
            reused=False,
            history=outcome.history,
            scores=outcome.scores,
        )
        self.stored[stage.digest] = done
        yield done


class MemoryLedger:
    """A ledger that only remembers."""

    def __init__(self) -> None:
        self.entries: dict[str, Happening] = {}

    def record(self, happening: Happening) -> None:
        self.entries.setdefault(happening.name, happening)

    def happenings(self) -> list[Happening]:
        return [self.entries[name] for name in sorted(self.entries)]

    def seconds_run(self) -> float:
        return 0.0


class Killed(BaseException):
    """The process is gone."""


class Mortal:
    """A ledger whose process dies right before or right after its `lives`-th write."""

    def __init__(self, ledger: MemoryLedger | Ledger, lives: int, *, before: bool = False) -> None:
        self.ledger, self.lives, self.before = ledger, lives, before

    def record(self, happening: Happening) -> None:
        self.lives -= 1
        if self.lives == 0 and self.before:
            raise Killed
        self.ledger.record(happening)
        if self.lives == 0:
            raise Killed

    def happenings(self) -> list[Happening]:
        return self.ledger.happenings()

    def seconds_run(self) -> float:
        return self.ledger.seconds_run()


def drive(
    conductor: Conductor, world: World, *, width: int = 1, choose: Callable[[int], int] = lambda count: 0
) -> None:
    """Run trials, at most `width` at once; `choose` says whose event comes next."""
    running: list[tuple[Assignment, Iterator[Event]]] = []
    for _ in range(5000):  # many times what any sweep here needs
        while len(running) < width and (assignment := conductor.next()) is not None:
            running.append((assignment, world.events(assignment.path)))
        searched = [assignment.key.cell for assignment, _ in running if assignment.key.phase is Phase.SEARCH]
        assert len(searched) == len(set(searched)), "a cell has one open search trial"
        if not running:
            return
        place = choose(len(running))
        assignment, events = running[place]
        if conductor.handle(assignment.key, [next(events)]) is Verdict.STOP:
            running.pop(place)
    raise AssertionError("the sweep does not end")


def conducted(sweep: Sweep = SWEEP, world: World | None = None, ledger=None, **how) -> tuple[Conductor, MemoryLedger]:
    ledger = ledger or MemoryLedger()
    conductor = Conductor(sweep, ledger)
    drive(conductor, world or World(), **how)
    return conductor, ledger


def what_happened(ledger: MemoryLedger | Ledger) -> dict[str, dict]:
    """The payload of every fragment, without what may differ: times, and who trained a shared stage."""
    free = ("seconds", "elapsed", "reused", "steps_executed")
    return {
        entry.name: {name: value for name, value in entry.payload.items() if name not in free}
        for entry in ledger.happenings()
    }


def by_state(conductor: Conductor) -> dict[State, int]:
    states = [record.state for record in conductor.records.values()]
    return {state: states.count(state) for state in set(states)}


@pytest.fixture(scope="module")
def reference():
    conductor, ledger = conducted()
    # The claims below are about finished and pruned trials alike.
    assert by_state(conductor)[State.PRUNED] >= 2
    assert conductor.complete() and conductor.remaining() == 0
    return what_happened(ledger)


@pytest.mark.parametrize("target", [lab_twins.POS, lab_twins.XQUAD, lab_twins.BUCC, lab_twins.TATOEBA])
def test_a_target_of_any_metric_is_searched_and_its_best_runs_tell_the_score_that_decides(tmp_path, target):
    """Scores in `accuracy` alone were told once; retrieval, which trains nothing, has no development score at all."""
    trains = target.kind is not Kind.RETRIEVAL
    sweep = replace(
        SWEEP,
        target=target,
        cells=(BASELINE, ALONE),
        retrieval_layer=0 if trains else 2,
        search=SWEEP.search if trains else Search(trials=0),
        space=SWEEP.space if trains else Space(),
    )
    ledger = Ledger(pafs.LocalFileSystem(), str(tmp_path), sweep.name).open()
    (tmp_path / "outputs").mkdir()
    world = Rehearsed(tmp_path / "outputs")
    conductor, _ = conducted(sweep, world, ledger)
    assert conductor.complete()
    best = best_runs(ledger.table())
    for cell, scores in best.items():
        runs = conductor.standing().confirmations(cell)
        chosen = max(runs, key=lambda run: -1.0 if run.score is None else run.score)
        told = {score.language: score.value for score in world.stored[chosen.evaluation].scores}
        assert scores == told and set(scores) == set(target.split("test").languages)
    assert set(best) == {"none", "nli"}


def test_what_word_pairs_and_intermediate_tasks_scored_is_the_same_table_in_any_order_of_events(tmp_path):
    settings = replace(SETTINGS, word_layer=1, batch_size=16)
    cells = (BASELINE, with_aligned_words(ALONE, lab.WORDS))
    sweep = replace(SWEEP, cells=cells, align_words_settings=settings, search=Search(trials=1))
    tables_of = []
    for name, width in (("one", 1), ("two", 2)):
        (tmp_path / name).mkdir()
        world = Rehearsed(tmp_path / name)
        conductor, _ = conducted(sweep, world, width=width)
        assert conductor.complete()
        tables_of.append(
            tables.stages(
                conductor.standing(),
                lambda digest, world=world: Results(
                    digest=digest, steps=0, seconds=0.0, history=world.stored[digest].history
                ),
            )
        )
    one, two = map(tables.parquet_bytes, tables_of)
    assert one.equals(two)
    rows = tables_of[0].to_pylist()
    assert {(row["cell"], row["kind"], row["task"], row["metric"]) for row in rows} == {
        ("none", "train", "lab_visual_nli", "accuracy"),
        ("lab_words+nli", "align_words", "lab_words", "retrieval_accuracy"),
        ("lab_words+nli", "train", "lab_nli", "accuracy"),
        ("lab_words+nli", "train", "lab_visual_nli", "accuracy"),
    }


# Order


@of_examples(0.24)
@given(width=st.sampled_from([1, 2, 5]), seed=st.integers(0, 2**32))
def test_any_number_of_gangs_and_any_order_of_events_give_the_same_ledger(reference, width, seed):
    random = Random(seed)
    conductor, ledger = conducted(width=width, choose=random.randrange)
    assert what_happened(ledger) == reference
    assert conductor.complete()


def test_every_cell_is_searched_before_any_has_two_trials_more_than_another():
    order = []
    conductor = Conductor(SWEEP, MemoryLedger())
    world = World()
    while (assignment := conductor.next()) is not None:
        order.append((assignment.key.phase, assignment.key.number))
        for event in world.events(assignment.path):
            if conductor.handle(assignment.key, [event]) is Verdict.STOP:
                break
    searched = [number for phase, number in order if phase is Phase.SEARCH]
    assert searched == sorted(searched)


def test_the_executed_steps_of_a_sweep_that_prunes_nothing_are_those_of_the_plan():
    sweep = replace(SWEEP, search=replace(SWEEP.search, pruner=NoPruning()))
    conductor, _ = conducted(sweep)
    assert by_state(conductor) == {State.FINISHED: 15}
    executed = [run["steps_executed"] for record in conductor.records.values() for run in record.stage_runs]
    assert sum(executed) == plan(sweep).steps == 810


def test_what_is_left_to_do_falls_by_one_with_each_trial_that_ends():
    conductor = Conductor(SWEEP, MemoryLedger())
    left = [conductor.remaining()]
    world = World()
    while (assignment := conductor.next()) is not None:
        for event in world.events(assignment.path):
            if conductor.handle(assignment.key, [event]) is Verdict.STOP:
                break
        left.append(conductor.remaining())
    assert left == list(range(15, -1, -1))


# Kills


def test_a_sweep_whose_process_dies_after_each_single_write_ends_as_if_it_had_not(tmp_path):
    sweep = replace(SWEEP, cells=(BASELINE, ALONE), confirmation_seeds=(1,))
    whole = what_happened(conducted(sweep)[1])
    ledger = Ledger(pafs.LocalFileSystem(), str(tmp_path), "small").open()
    world, deaths = World(), 0
    while True:
        try:
            mortal = Mortal(ledger, 1)
            conductor, _ = conducted(sweep, world, mortal, width=3, choose=Random(deaths).randrange)
            break
        except Killed:
            deaths += 1
    assert deaths == len(whole)
    assert what_happened(ledger) == whole
    assert conductor.complete()


@of_examples(0.16)
@given(seed=st.integers(0, 2**32), width=st.integers(1, 5), lives=st.integers(5, 60), before=st.booleans())
def test_a_sweep_killed_at_any_moments_and_begun_again_loses_repeats_and_renumbers_no_trial(
    reference, seed, width, lives, before
):
    random, ledger, world = Random(seed), MemoryLedger(), World()
    for _ in range(200):
        mortal = Mortal(ledger, random.randint(1, lives) + before, before=before)
        try:
            conducted(world=world, ledger=mortal, width=width, choose=random.randrange)
            break
        except Killed:
            continue
    assert what_happened(ledger) == reference


def test_what_was_open_at_a_kill_is_handed_out_first_under_its_old_number():
    ledger = MemoryLedger()
    conductor = Conductor(SWEEP, ledger)
    opened = [conductor.next() for _ in range(3)]
    again = Conductor(SWEEP, ledger)
    taken_up = [again.next() for _ in range(3)]
    assert sorted(one.key for one in taken_up) == sorted(one.key for one in opened)
    assert {one.key: (one.path, one.values, one.seed) for one in taken_up} == {
        one.key: (one.path, one.values, one.seed) for one in opened
    }
    assert again.next() is None and again.running()


def test_a_trial_killed_between_its_bad_score_and_its_pruning_is_pruned_when_the_sweep_goes_on(reference):
    pruned = {name for name in reference if ".pruned." in name}
    ledger, world = MemoryLedger(), World()

    class Halting(Mortal):
        def record(self, happening):
            if happening.what is What.PRUNED:
                raise Killed
            self.ledger.record(happening)

    with pytest.raises(Killed):
        conducted(world=world, ledger=Halting(ledger, 0))
    handed_out, diary = [], Diary()
    conductor = Conductor(SWEEP, ledger, [diary])
    while (assignment := conductor.next()) is not None and not handed_out:
        handed_out.append(assignment.key)
    first = next(record for record in conductor.records.values() if record.state is State.PRUNED)
    assert first.key not in handed_out
    assert [line for line in diary.lines if line[1] == first.key] == [
        ("started", first.key),
        ("ended", first.key, State.PRUNED),
    ]
    conducted(world=world, ledger=ledger)
    assert {name for name in what_happened(ledger) if ".pruned." in name} == pruned


def test_running_a_finished_sweep_again_hands_out_nothing_and_writes_nothing(reference):
    _, ledger = conducted()
    again = Conductor(SWEEP, Mortal(ledger, 1, before=True))
    assert again.next() is None
    assert again.remaining() == 0 and again.complete() and not again.running()


def made_of(conductor: Conductor, scored: tuple | None = None) -> dict[TrialKey, TrialRecord]:
    """The trials without what may differ where some were begun anew: how often, and who trained what."""
    return {
        key: replace(one, generation=0, before=(), stage_runs=(), scored=one.scored if scored is None else scored)
        for key, one in conductor.records.items()
    }


def test_whichever_single_entry_a_ledger_loses_the_same_command_makes_the_same_trials_again():
    sweep = replace(SWEEP, cells=(BASELINE, MIXED), search=replace(SWEEP.search, trials=4))
    world = World()
    whole, ledger = conducted(sweep, world)
    assert by_state(whole)[State.PRUNED] >= 1
    for lost in tuple(ledger.entries):
        left = MemoryLedger()
        left.entries = {name: entry for name, entry in ledger.entries.items() if name != lost}
        again = Conductor(sweep, left)
        again.take_up()
        drive(again, world, width=2)
        assert again.complete() and again.remaining() == 0, lost
        # An earlier score of a pruned trial is not worth training it again.
        state = whole.records[ledger.entries[lost].trial].state
        bare = () if ledger.entries[lost].what is What.SCORED and state is State.PRUNED else None
        assert made_of(again, bare) == made_of(whole, bare), lost
        assert Conductor(sweep, left).take_up() == 0, lost


def test_a_ledger_that_lost_all_entries_of_some_trials_makes_them_again_under_their_numbers():
    world = World()
    whole, ledger = conducted(world=world)
    for numbers in ((0,), (1, 2), (0, 1, 2)):
        left = MemoryLedger()
        left.entries = {n: e for n, e in ledger.entries.items() if e.trial.number not in numbers}
        again, _ = conducted(world=world, ledger=left, width=3)
        assert made_of(again) == made_of(whole)


# Failures


def test_failing_trials_end_with_their_reason_and_the_rest_of_the_sweep_is_done():
    conductor, ledger = conducted(world=World(fails=lambda stage: len(stage.tasks) == 2), width=2)
    failed = [record for record in conductor.records.values() if record.state is State.FAILED]
    assert {(record.key.cell, record.key.phase) for record in failed} == {(MIXED.name, Phase.SEARCH)}
    assert [record.reason for record in failed] == ["the loss was no number at step 7"] * 3
    assert all(record.score is None for record in failed)
    confirmed = {key.cell for key in conductor.records if key.phase is Phase.CONFIRMATION}
    assert confirmed == {BASELINE.name, ALONE.name}
    assert not conductor.complete()
    assert conductor.remaining() == 0 and conductor.next() is None
    assert Conductor(SWEEP, ledger).next() is None


def test_one_failed_search_trial_leaves_the_sweep_incomplete_although_its_cell_is_confirmed():
    default = SWEEP.target_settings.learning_rate
    conductor, _ = conducted(
        replace(SWEEP, cells=(BASELINE,)),
        World(lambda stage, step: 0.5, lambda stage: stage.seed == 0 and rate(stage) != default),
    )
    assert by_state(conductor) == {State.FINISHED: 1 + 2, State.FAILED: 2}
    assert not conductor.complete() and conductor.remaining() == 0


def rate(stage: Stage) -> float:
    return 0.0 if isinstance(stage.work, Evaluation) else stage.work.settings.learning_rate


def test_a_failed_confirmation_leaves_the_sweep_incomplete_and_is_not_run_again():
    world = World(fails=lambda stage: stage.seed == 2)
    conductor, ledger = conducted(world=world)
    assert by_state(conductor)[State.FAILED] == 3
    assert not conductor.complete() and conductor.remaining() == 0
    assert Conductor(SWEEP, ledger).next() is None


@pytest.mark.parametrize(
    ("odd", "reason"),
    [(float("nan"), "its development score at step 20 was nan"), (float("inf"), "at step 20 was inf")],
)
def test_a_score_that_is_no_number_fails_the_trial_and_wins_nothing(odd, reason):
    def accuracy(stage: Stage, step: int) -> float:
        return odd if step == 20 and stage.seed == 0 and "visual" in stage.tasks[0].name else 0.5

    conductor, _ = conducted(replace(SWEEP, cells=(BASELINE,)), World(accuracy))
    assert {record.state for record in conductor.records.values()} == {State.FAILED}
    assert reason in next(iter(conductor.records.values())).reason
    assert not conductor.complete()


def first_trial(ledger=None) -> tuple[Conductor, Assignment, MemoryLedger]:
    ledger = ledger or MemoryLedger()
    conductor = Conductor(replace(SWEEP, cells=(BASELINE,)), ledger)
    return conductor, conductor.next(), ledger


def test_a_target_that_was_not_scored_after_its_last_step_fails():
    for steps in ((), (10,)):
        conductor, trial, _ = first_trial()
        target = trial.path[-1]
        history = tuple(Progress(digest=target.digest, step=n, scores=World().scores(target, n)) for n in steps)
        done = Done(digest=target.digest, steps_executed=20, reused=False, history=history)
        assert conductor.handle(trial.key, [done]) is Verdict.STOP
        assert conductor.records[trial.key].reason == (
            "the target was not scored on its development split after its last step, 20"
        )


def test_a_trial_whose_machine_fails_stays_open_and_no_other_is_handed_out():
    for fail in (
        lambda conductor, trial: conductor.lost(trial.key, "its process died"),
        lambda conductor, trial: conductor.handle(
            trial.key, [Failed(digest=trial.path[0].digest, reason="its process died", of_machine=True)]
        ),
    ):
        conductor, trial, ledger = first_trial()
        fail(conductor, trial)
        assert conductor.records[trial.key].state is State.OPEN
        assert "its process died" in conductor.broken
        assert conductor.next() is None and not conductor.running()
        again = Conductor(conductor.sweep, ledger).next()
        assert again is not None and again.key == trial.key


def test_events_after_the_end_of_a_trial_are_passed_over():
    conductor, trial, ledger = first_trial()
    events = list(World().events(trial.path))
    assert conductor.handle(trial.key, [*events, Failed(digest="x", reason="late")]) is Verdict.STOP
    before = what_happened(ledger)
    assert conductor.handle(trial.key, events) is Verdict.STOP
    conductor.lost(trial.key, "late")
    assert conductor.handle(TrialKey(cell="none", phase=Phase.SEARCH, number=99), events) is Verdict.STOP
    assert what_happened(ledger) == before
    assert conductor.records[trial.key].state is State.FINISHED


def test_an_event_of_a_stage_that_is_not_on_the_path_is_passed_over():
    conductor, trial, ledger = first_trial()
    before = what_happened(ledger)
    stranger = Progress(digest="x", step=1, scores=World().scores(trial.path[-1], 1))
    assert conductor.handle(trial.key, [stranger, Done(digest="x", steps_executed=1, reused=False)]) is Verdict.CONTINUE
    assert what_happened(ledger) == before


def test_a_reported_score_that_reaches_the_conductor_stops_the_sweep_instead_of_being_recorded():
    conductor, trial, ledger = first_trial()
    target = trial.path[-1]
    (score,) = World().scores(target, 10)
    leak = Progress(digest=target.digest, step=10, scores=(replace(score, role=Role.REPORT),))
    with pytest.raises(ValueError, match="only development scores of role 'select' may reach the search"):
        conductor.handle(trial.key, [leak])
    assert not any(".scored." in name for name in ledger.entries)


def test_scores_of_an_earlier_stage_never_become_the_trials_score():
    # Images may be aligned on the target's own examples; its development split is then scored there too.
    align = replace(SWEEP.align_images, task=SWEEP.target)
    world = World(lambda stage, step: 0.25 if stage.steps == SWEEP.target_settings.maximum_steps else 0.99)
    conductor, _ = conducted(replace(SWEEP, align_images=align), world)
    assert {score for record in conductor.records.values() for _, score in record.scored} == {0.25}


# Larger budgets


def test_a_larger_budget_adds_trials_keeps_numbers_and_confirms_a_new_winner():
    world = World(lambda stage, step: 1 / (1 + abs(math.log(rate(stage) / 7e-3))))
    small = replace(SWEEP, search=Search(trials=2))
    before, ledger = conducted(small, world)
    assert before.complete()
    large = replace(SWEEP, search=Search(trials=9))
    grown = Conductor(large, ledger)
    assert not grown.complete() and grown.remaining() >= 3 * 4
    drive(grown, world, width=2)
    assert grown.complete()
    for key, record in before.records.items():
        assert grown.records[key] == record
    overtaken = 0
    for cell in large.cells:
        numbers = [key.number for key in grown.records if key.cell == cell.name and key.phase is Phase.SEARCH]
        assert numbers == list(range(9))
        confirmed = [r for k, r in grown.records.items() if k.cell == cell.name and k.phase is Phase.CONFIRMATION]
        assert [record.key.number for record in confirmed] == list(range(len(confirmed)))
        assert [record.seed for record in confirmed] == [1, 2] * (len(confirmed) // 2)
        assert len({record.winner for record in confirmed}) == len(confirmed) // 2
        overtaken += len(confirmed) == 4
    assert overtaken >= 1
    assert sorted(conducted(large, world)[0].records) != sorted(grown.records), "old confirmations stay in the ledger"


def test_the_search_of_a_grown_sweep_is_that_of_one_begun_at_the_larger_size():
    world, (_, ledger) = World(), conducted(replace(SWEEP, search=Search(trials=2)))
    grown, _ = conducted(replace(SWEEP, search=Search(trials=5)), world, ledger)
    fresh, _ = conducted(replace(SWEEP, search=Search(trials=5)))
    for key, record in fresh.records.items():
        if key.phase is Phase.SEARCH:
            assert replace(grown.records[key], stage_runs=()) == replace(record, stage_runs=())


# Edited spaces


def spaced(low: float, high: float, trials: int = 4, **search) -> Sweep:
    space = Space(
        intermediate={"learning_rate": LogRange(1e-4, 1e-2)},
        target={"learning_rate": LogRange(low, high)},
        shares=Simplex(0.1),
    )
    return replace(SWEEP, space=space, search=replace(SWEEP.search, trials=trials, **search))


def searched(conductor: Conductor, cell: str) -> list[TrialRecord]:
    return [r for key, r in conductor.records.items() if key.cell == cell and key.phase is Phase.SEARCH]


def test_a_narrower_space_adds_the_trials_that_it_lacks_and_reports_none_outside():
    world = World(lambda stage, step: rate(stage) * 50)  # the largest rate is the best
    wide, ledger = conducted(spaced(1e-4, 1e-2), world)
    narrow, _ = conducted(spaced(5e-4, 2e-3), world, ledger, width=2)
    assert narrow.complete() and narrow.remaining() == 0
    standing = narrow.standing()
    for cell in SWEEP.cells:
        trials, inside = searched(narrow, cell.name), standing.searched(cell.name)
        assert [record.key.number for record in trials] == list(range(len(trials)))
        assert len(inside) == 4 and all(5e-4 <= r.values["target.learning_rate"] <= 2e-3 for r in inside)
        assert len(trials) == 4 + sum(key.cell == cell.name for key in standing.outside())
        assert 5e-4 <= standing.leaders()[cell.name].values["target.learning_rate"] <= 2e-3
        for run in standing.confirmations(cell.name):
            assert run.winner == standing.leaders()[cell.name].key.number
    assert len(standing.outside()) >= 3 and len(standing.superseded()) >= 2
    assert all(narrow.records[key] == record for key, record in wide.records.items())
    assert Conductor(spaced(5e-4, 2e-3), Mortal(ledger, 1, before=True)).next() is None
    again, _ = conducted(spaced(1e-4, 1e-2), world, ledger)
    assert again.complete() and not again.standing().outside(), "in the wide space all of them count"
    assert again.records == narrow.records or len(again.records) > len(narrow.records)


def test_a_wider_space_keeps_what_was_tried_and_a_larger_number_of_trials_reaches_into_it():
    world = World()
    _, ledger = conducted(spaced(5e-4, 2e-3), world)
    before = dict(ledger.entries)
    wider, _ = conducted(spaced(1e-4, 1e-2), world, ledger)
    assert wider.complete() and ledger.entries == before, "nothing lies outside, and the number of trials is reached"
    grown, _ = conducted(spaced(1e-4, 1e-2, trials=12), world, ledger)
    added = [record.values["target.learning_rate"] for record in searched(grown, "none")[4:]]
    assert len(added) == 8 and any(not 5e-4 <= value <= 2e-3 for value in added)


@pytest.mark.parametrize("fan_out", [3, ExpectedGain(settings=2, fan_out=3)])
def test_an_option_dropped_while_its_setting_is_being_used_again_opens_another(fan_out):
    def sweep(options: tuple[float, ...]) -> Sweep:
        space = Space(intermediate={"dropout": Choice(options)}, target={"learning_rate": LogRange(1e-4, 1e-2)})
        settings = replace(SWEEP.intermediate_settings, dropout=0.1)
        search = replace(SWEEP.search, trials=6, fan_out=fan_out, pruner=NoPruning())
        return replace(SWEEP, cells=(BASELINE, ALONE), space=space, search=search, intermediate_settings=settings)

    world, ledger = World(), MemoryLedger()
    conductor = Conductor(sweep((0.1, 0.2, 0.4)), ledger)
    dropped = None
    while dropped is None and (assignment := conductor.next()) is not None:
        for event in world.events(assignment.path):
            conductor.handle(assignment.key, [event])
        key, value = assignment.key, assignment.values.get("intermediate.dropout")
        if key.phase is Phase.SEARCH and key.number == 3:
            dropped = value
    assert dropped is not None and dropped != 0.1, "the second group is open, and its option is not the default"
    left = tuple(option for option in (0.1, 0.2, 0.3, 0.4) if option != dropped)
    edited, _ = conducted(sweep(left), world, ledger)
    assert edited.complete()
    assert all(r.values["intermediate.dropout"] != dropped for r in edited.standing().searched("nli"))


@pytest.mark.parametrize("fan_out", [2, ExpectedGain(settings=2, fan_out=2)])
def test_a_parameter_that_joins_the_space_keeps_all_trials_and_their_settings(fan_out):
    settings = replace(SWEEP.intermediate_settings, dropout=0.1)
    rates = {"learning_rate": LogRange(1e-4, 1e-2)}

    def sweep(more: dict, trials: int) -> Sweep:
        space = Space(intermediate=rates | more, target=rates, shares=Simplex(0.1))
        search = replace(SWEEP.search, trials=trials, fan_out=fan_out, pruner=NoPruning())
        return replace(SWEEP, space=space, search=search, intermediate_settings=settings)

    world = World()
    _, ledger = conducted(sweep({}, 5), world)
    grown, _ = conducted(sweep({"dropout": Choice((0.0, 0.1))}, 9), world, ledger)
    assert grown.complete() and not grown.standing().outside()
    for cell in (ALONE, MIXED):
        trials = searched(grown, cell.name)
        assert len(trials) == 9 and all("intermediate.dropout" in record.values for record in trials[5:])
        if fan_out == 2:  # the group that was begun is ended with the setting that it has
            assert trials[5].values["intermediate.dropout"] == 0.1 and trials[5].stages[-2] == trials[4].stages[-2]


def test_a_value_that_joins_a_grid_is_met_with_all_others_and_nothing_is_tried_twice():
    def sweep(options: tuple[float, ...]) -> Sweep:
        space = Space(
            intermediate={"weight_decay": Choice((0.0, 0.1, 0.2))},
            target={"dropout": Choice(options)},
            shares=Simplex(0.1),
        )
        settings = replace(SETTINGS, dropout=0.1, weight_decay=0.0)
        search = Search(trials=99, sampler=Grid(points=3), pruner=NoPruning())
        return replace(
            SWEEP,
            cells=(BASELINE, ALONE),
            space=space,
            search=search,
            target_settings=settings,
            intermediate_settings=replace(settings, maximum_steps=40),
        )

    world = World()
    first, ledger = conducted(sweep((0.1, 0.3)), world)
    assert len(searched(first, "nli")) == 6
    grown, _ = conducted(sweep((0.1, 0.2, 0.3)), world, ledger)
    points = [tuple(sorted(record.values.items())) for record in searched(grown, "nli")]
    assert len(points) == len(set(points)) == 9 and grown.complete()


def test_an_open_trial_outside_an_edited_space_is_not_taken_up():
    ledger, world = MemoryLedger(), World()
    conductor = Conductor(replace(spaced(1e-4, 1e-2), cells=(BASELINE,)), ledger)
    while True:
        assignment = conductor.next()
        if not 5e-4 <= assignment.values["target.learning_rate"] <= 2e-3:
            break
        for event in world.events(assignment.path):
            conductor.handle(assignment.key, [event])
    assert assignment.key.phase is Phase.SEARCH and assignment.key.number > 0
    narrow, _ = conducted(replace(spaced(5e-4, 2e-3), cells=(BASELINE,)), world, ledger)
    assert narrow.records[assignment.key].state is State.OPEN
    assert narrow.complete() and narrow.remaining() == 0 and len(narrow.standing().searched("none")) == 4


def test_an_open_confirmation_of_an_overtaken_winner_is_not_taken_up():
    default = SWEEP.target_settings.learning_rate
    ledger, world = MemoryLedger(), World(lambda stage, step: 0.5 if rate(stage) == default else 0.8)
    sweep = replace(SWEEP, cells=(BASELINE,), search=Search(trials=1))
    conductor = Conductor(sweep, ledger)
    trial = conductor.next()
    conductor.handle(trial.key, world.events(trial.path))
    left_open = conductor.next()
    assert left_open.key.phase is Phase.CONFIRMATION
    grown, _ = conducted(replace(sweep, search=Search(trials=6)), world, ledger)
    assert grown.records[left_open.key].state is State.OPEN
    assert grown.complete() and grown.remaining() == 0


def test_a_new_cell_joins_and_a_cell_taken_out_is_left_as_it_is():
    world = World()
    first, ledger = conducted(replace(SWEEP, cells=(BASELINE, ALONE)), world)
    second, _ = conducted(replace(SWEEP, cells=(BASELINE, MIXED)), world, ledger)
    assert {key.cell for key in second.records} == {BASELINE.name, ALONE.name, MIXED.name}
    assert all(second.records[key] == record for key, record in first.records.items())
    assert second.complete()


def test_another_confirmation_seed_is_added_to_those_that_are_there():
    world = World()
    first, ledger = conducted(world=world)
    more, _ = conducted(replace(SWEEP, confirmation_seeds=(1, 2, 9)), world, ledger)
    added = [record for key, record in more.records.items() if key not in first.records]
    assert [(record.key.cell, record.key.number, record.seed) for record in added] == [
        ("nli", 2, 9), ("nli+qqp", 2, 9), ("none", 2, 9),
    ]  # fmt: skip


def test_a_seed_taken_out_is_kept_and_not_reported_and_all_cells_have_the_seeds_of_the_definition():
    world = World()
    first, ledger = conducted(replace(SWEEP, cells=(BASELINE, ALONE), confirmation_seeds=(1, 2, 3)), world)
    fewer, _ = conducted(replace(SWEEP, confirmation_seeds=(1, 2)), world, ledger)
    standing = fewer.standing()
    for cell in SWEEP.cells:
        assert [run.seed for run in standing.confirmations(cell.name)] == [1, 2], cell.name
    assert fewer.complete() and all(fewer.records[key] == record for key, record in first.records.items())
    kept = "a run on seed 3, taken out since, not reported"
    assert [standing.kept(cell.name) for cell in SWEEP.cells] == [kept, kept, ""]
    back, _ = conducted(replace(SWEEP, confirmation_seeds=(2, 3)), world, ledger)
    assert back.complete() and len(back.records) == len(fewer.records) + 1, "that of the cell that joined is missing"
    assert [run.seed for run in back.standing().confirmations("nli")] == [2, 3]


def test_an_open_or_failed_confirmation_on_a_seed_taken_out_is_not_taken_up_and_nothing_is_missing():
    fails = World(fails=lambda stage: stage.seed == 2)
    first, ledger = conducted(replace(SWEEP, cells=(BASELINE,)), fails)
    fewer = Conductor(replace(SWEEP, cells=(BASELINE,), confirmation_seeds=(1,)), ledger)
    assert not first.complete() and fewer.complete() and fewer.standing().missing("none") == ""
    assert fewer.standing().kept("none") == "", "one that failed gave nothing"
    del ledger.entries["none.confirmation.00001.failed.000000"]
    again = Conductor(replace(SWEEP, cells=(BASELINE,), confirmation_seeds=(1, 9)), ledger)
    assert again.remaining() == 1
    drive(again, fails)
    assert again.complete() and [run.seed for run in again.standing().confirmations("none")] == [1, 9]


def test_what_is_foreseen_begins_every_confirmation_that_is_yet_to_come_and_nothing_else():
    conductor = Conductor(SWEEP, MemoryLedger())
    foreseen = conductor.foreseen()
    assert [{stage.seed for stage in path[1:]} for path in foreseen] == [{1}, {2}]
    drive(conductor, World())
    confirmed = [record for key, record in conductor.records.items() if key.phase is Phase.CONFIRMATION]
    begun = {tuple(stage.digest for stage in path) for path in foreseen}
    assert {record.stages[: len(foreseen[0])] for record in confirmed} == begun
    assert conductor.foreseen() == []
    grown = Conductor(replace(SWEEP, confirmation_seeds=(1, 2, 9)), conductor.ledger)
    assert [path[-1].seed for path in grown.foreseen()] == [9]


@pytest.mark.parametrize(
    "ceiling",
    [
        {"budget": Budget(optimiser_steps=10**6)},
        {"storage_limit_bytes": 1e12},
        {"gangs": replace(SWEEP.gangs, gang_hours=1000.0)},
    ],
)
def test_nothing_is_foreseen_where_a_ceiling_decides_what_is_begun_and_kept(ceiling):
    assert Conductor(replace(SWEEP, **ceiling), MemoryLedger()).foreseen() == []


def test_a_budget_that_is_lowered_while_a_trial_is_open_strands_nothing():
    world = World()
    first, ledger = conducted(replace(SWEEP, search=Search(trials=2)), world)
    grown = Conductor(replace(SWEEP, search=Search(trials=4)), ledger)
    left_open = [grown.next().key for _ in SWEEP.cells]
    assert {key.number for key in left_open} == {2}
    lowered = Conductor(replace(SWEEP, search=Search(trials=2)), ledger)
    assert lowered.remaining() == 0 and lowered.next() is None and lowered.complete()
    again, _ = conducted(replace(SWEEP, search=Search(trials=4)), world, ledger)
    assert again.complete()
    assert all(again.records[key].state is not State.OPEN for key in left_open)
    assert all(again.records[key] == record for key, record in first.records.items())


def test_a_new_test_language_is_evaluated_and_trains_nothing_anew():
    world = World()
    first, ledger = conducted(world=world)
    test = SWEEP.target.split("test")
    fewer = replace(test, languages=test.languages[:3])
    other = replace(SWEEP, target=replace(SWEEP.target, splits=(*SWEEP.target.splits[:2], fewer)))
    conductor = Conductor(other, ledger)
    assert conductor.remaining() == 0
    conductor.take_up()
    assert conductor.remaining() == 6
    drive(conductor, world, width=2)
    assert conductor.complete() and conductor.records.keys() == first.records.keys()
    for key, record in conductor.records.items():
        if key.phase is Phase.SEARCH:
            assert record == first.records[key]
        else:
            assert (record.generation, record.values, record.seed) == (1, first.records[key].values, record.seed)
            assert record.evaluation != first.records[key].evaluation
            assert [run["reused"] for run in record.stage_runs] == [True] * (len(record.stages) - 1) + [False]
    back = Conductor(SWEEP, ledger)
    back.take_up()
    drive(back, world)
    assert {k: r.evaluation for k, r in back.records.items()} == {k: r.evaluation for k, r in first.records.items()}


# Taken up anew


def test_a_reported_run_whose_evaluation_is_gone_is_evaluated_again_under_its_number_and_nothing_is_trained():
    world = World()
    first, ledger = conducted(world=world)
    assert len(first.evaluations()) == len(set(first.evaluations())) == 6
    lost = first.evaluations()[1]
    superseded = "of a run that is not reported"
    assert Conductor(SWEEP, ledger).take_up(gone=[superseded]) == 0
    del world.stored[lost]
    again = Conductor(SWEEP, ledger)
    assert again.take_up(gone=[lost]) == again.remaining() == 1
    assert lost not in again.evaluations()
    drive(again, world)
    assert again.complete() and again.evaluations() == first.evaluations()
    (key,) = [key for key, record in again.records.items() if record != first.records[key]]
    assert again.records[key].evaluation == lost and again.records[key].generation == 1
    assert [run["reused"] for run in again.records[key].stage_runs[:-1]] == [True] * (
        len(first.records[key].stages) - 1
    )
    assert again.records[key].stage_runs[-1]["reused"] is False


def test_a_run_of_other_versions_whose_evaluation_is_gone_is_made_anew_only_when_asked(monkeypatch):
    first, ledger = conducted()
    monkeypatch.setattr("sweep.paths.numeric_versions", lambda: (("numpy", "99.0"), ("torch", "99.1")))
    assert Conductor(SWEEP, ledger).take_up(gone=first.evaluations()) == 0


def test_failed_trials_are_tried_again_only_when_asked_under_their_numbers():
    broken = World(fails=lambda stage: len(stage.tasks) == 2)
    first, ledger = conducted(world=broken)
    failed = {key for key, record in first.records.items() if record.state is State.FAILED}
    assert len(failed) == 3
    assert Conductor(SWEEP, ledger).take_up() == 0
    mended = World()
    mended.stored = broken.stored
    again = Conductor(SWEEP, ledger)
    assert again.take_up(failed=True) == 3
    assert again.remaining() == 3 + 2
    drive(again, mended, width=4)
    assert again.complete()
    kept = {key: record for key, record in again.records.items() if key in first.records and key not in failed}
    assert kept == {key: record for key, record in first.records.items() if key not in failed}
    assert {again.records[key].generation for key in failed} == {1}
    assert all((again.records[k].values, again.records[k].seed) == (first.records[k].values, 0) for k in failed)
    assert Conductor(SWEEP, ledger).take_up(failed=True) == 0


def test_a_sweep_killed_while_failed_trials_are_tried_again_goes_on_with_them():
    ledger = conducted(world=World(fails=lambda stage: len(stage.tasks) == 2))[1]
    with pytest.raises(Killed):
        Conductor(SWEEP, Mortal(ledger, 2)).take_up(failed=True)
    again = Conductor(SWEEP, ledger)
    assert again.take_up(failed=True) == 1
    drive(again, World())
    assert again.complete()


def test_trials_that_other_versions_made_stay_as_they_are_and_are_named_and_made_anew_when_asked(monkeypatch):
    world = World()
    first, ledger = conducted(replace(SWEEP, search=Search(trials=2)), world)
    newer = (("numpy", "99.0"), ("torch", "99.1"))
    monkeypatch.setattr("sweep.paths.numeric_versions", lambda: newer)
    conductor = Conductor(SWEEP, ledger)
    assert conductor.take_up() == 0
    (torch,) = [text for text in conductor.outdated() if text.startswith("torch")]
    assert torch.endswith(", now 99.1") and conductor.outdated()[torch] == len(first.records)
    grown = replace(SWEEP, search=Search(trials=3))
    after, _ = conducted(grown, world, ledger)
    assert all(after.records[key] == record for key, record in first.records.items())
    renewed = Conductor(grown, ledger)
    superseded = renewed.standing().superseded()
    assert superseded and renewed.take_up(outdated=True) == len(first.records) - len(superseded)
    drive(renewed, world)
    assert renewed.complete() and renewed.outdated() == {}
    assert all(renewed.records[key].values == record.values for key, record in first.records.items())


def tagged_sweep(repository: str) -> Sweep:
    """Two cells, one of which learns tags first, with an encoder of the hub."""
    text = HubEncoder(repository=repository, revision="1" * 40)
    cells = (BASELINE, Cell(name="ccg", intermediates=(lab_twins.CCG,)))
    return replace(SWEEP, pretrain=None, encoder=replace(SWEEP.encoder, text=text), cells=cells)


@pytest.mark.parametrize("stop_after", [0, 1, 3, 4])
def test_trials_whose_words_came_to_be_read_otherwise_are_named_and_made_anew_when_asked(monkeypatch, stop_after):
    sweep, world = tagged_sweep("answerdotai/ModernBERT-base"), World()
    with monkeypatch.context() as before:
        before.setattr("trainables.stages.READING_VERSIONS", {})
        first, ledger = conducted(sweep, world)
    upgraded = Conductor(sweep, ledger)
    learned = {key for key in first.records if key.cell == "ccg"}
    assert upgraded.take_up() == 0 and upgraded.outdated() == {"version of reading tagging absent, now 4": len(learned)}
    assert upgraded.take_up(outdated=True) == len(learned) == 5
    for _ in range(stop_after):
        assignment = upgraded.next()
        for event in world.events(assignment.path):
            if upgraded.handle(assignment.key, [event]) is Verdict.STOP:
                break
    again = Conductor(sweep, ledger)
    again.take_up()
    drive(again, world)
    assert again.complete() and again.outdated() == {}
    changed = {key for key, record in again.records.items() if record.stages != first.records[key].stages}
    assert changed == learned == {key for key, record in again.records.items() if record.before}


def test_nothing_is_outdated_where_an_encoder_reads_words_as_before(monkeypatch):
    for sweep in (
        tagged_sweep("FacebookAI/xlm-roberta-base"),
        replace(SWEEP, cells=(BASELINE, tagged_sweep("x").cells[1])),
    ):
        with monkeypatch.context() as before:
            before.setattr("trainables.stages.READING_VERSIONS", {})
            first, ledger = conducted(sweep)
        again = Conductor(sweep, ledger)
        assert again.outdated() == {} and again.take_up(outdated=True) == 0
        assert all(again._is_of_now(record) for record in first.records.values())
        more = conducted(replace(sweep, confirmation_seeds=(1, 2, 3)), ledger=ledger)[0]
        assert len(more.records) == len(first.records) + len(sweep.cells)


@pytest.mark.parametrize("fails", [False, True])
def test_confirmations_that_count_no_more_stay_as_they_are_when_others_are_made_anew(monkeypatch, fails):
    def failing(stage) -> bool:
        return fails and stage.seed == 2

    world = World(lambda stage, step: 1 / (1 + abs(math.log(rate(stage) / 7e-3))), failing)
    _, ledger = conducted(replace(SWEEP, search=Search(trials=2)), world)
    large = replace(SWEEP, search=Search(trials=9))
    grown, _ = conducted(large, world, ledger)
    overtaken = {key: grown.records[key] for key in grown.standing().superseded()}
    assert overtaken and any(record.state is State.FAILED for record in overtaken.values()) == fails
    monkeypatch.setattr("sweep.paths.numeric_versions", lambda: (("torch", "99.1"),))
    # The search made anew has another leader: what confirmed the old one is overtaken too, and stays.
    other = World(lambda stage, step: 1 / (1 + abs(math.log(rate(stage) / 7e-4))))
    before = {record.key: record for cell in grown.cells for record in grown.standing().confirmations(cell)}
    again = Conductor(large, ledger)
    assert again.take_up(failed=True, outdated=True) == again.remaining()
    drive(again, other)
    assert again.complete() and again.outdated() == {}
    assert {key: again.records[key] for key in overtaken} == overtaken
    moved = {key for key, record in before.items() if key in again.standing().superseded()}
    assert moved and all(again.records[key] == before[key] for key in moved)
    assert not [key for key, record in again.records.items() if record.state is State.OPEN]
    for cell in again.cells:
        assert {record.made_with["torch"] for record in again.standing().confirmations(cell)} == {"99.1"}


@pytest.mark.parametrize("last", [Phase.SEARCH, Phase.CONFIRMATION])
def test_a_run_that_was_stopped_while_it_made_all_anew_leaves_nothing_of_two_versions_to_the_next(monkeypatch, last):
    world = World()
    _, ledger = conducted(SWEEP, world)
    monkeypatch.setattr("sweep.paths.numeric_versions", lambda: (("torch", "99.1"),))
    stopped = Conductor(SWEEP, ledger)
    taken = stopped.take_up(outdated=True)
    while (assignment := stopped.next()).key.phase is Phase.SEARCH:
        for event in world.events(assignment.path):
            if stopped.handle(assignment.key, [event]) is Verdict.STOP:
                break
    left = stopped._to_confirm()[1]
    assert stopped.remaining() == left == 2 * len(SWEEP.cells) < taken
    if last is Phase.CONFIRMATION:
        list(map(lambda event: stopped.handle(assignment.key, [event]), world.events(assignment.path)))
    again = Conductor(SWEEP, ledger)
    again.take_up()
    drive(again, world)
    assert again.complete() and again.outdated() == {}
    assert {record.made_with["torch"] for record in again.records.values()} == {"99.1"}


def test_an_open_trial_that_other_versions_began_is_begun_anew_and_its_old_scores_do_not_count(monkeypatch):
    conductor, trial, ledger = first_trial()
    target = trial.path[-1]
    conductor.handle(trial.key, [Progress(digest=target.digest, step=10, scores=World().scores(target, 10))])
    monkeypatch.setattr("sweep.paths.numeric_versions", lambda: (("torch", "99.1"),))
    again = Conductor(conductor.sweep, ledger)
    taken_up = again.next()
    assert taken_up.key == trial.key and taken_up.path != trial.path
    assert again.records[trial.key].scored == () and again.records[trial.key].generation == 1


# Whoever watches


class Diary:
    """A watcher that writes down what it is told."""

    def __init__(self) -> None:
        self.lines: list[tuple] = []

    def started(self, record, path):
        self.lines.append(("started", record.key))

    def progressed(self, record, place, path, progress):
        self.lines.append(("progressed", record.key, place, progress.step))

    def stage_done(self, record, place, path, done):
        self.lines.append(("stage_done", record.key, place))

    def ended(self, record, path, scores):
        self.lines.append(("ended", record.key, record.state))

    def close(self):
        self.lines.append(("closed",))


def test_a_watcher_hears_of_every_trial_once_from_its_start_to_its_end():
    diary = Diary()
    conductor = Conductor(SWEEP, MemoryLedger(), [diary])
    drive(conductor, World(), width=2, choose=Random(3).randrange)
    assert sorted(key for what, key, *_ in diary.lines if what == "started") == list(conductor.records)
    ended = {key: state for what, key, *rest in diary.lines if what == "ended" for state in rest}
    assert ended == {key: record.state for key, record in conductor.records.items()}
    assert len(diary.lines) == len(set(diary.lines))


def test_a_trial_whose_process_is_started_again_hears_all_anew_and_nothing_is_told_or_recorded_twice():
    diary = Diary()
    conductor = Conductor(replace(SWEEP, cells=(BASELINE,)), MemoryLedger(), [diary])
    assignment = conductor.next()
    world = World()
    for _ in range(2):  # the second time all of it is in the store
        for event in world.events(assignment.path[:2]):
            assert conductor.handle(assignment.key, [event]) is Verdict.CONTINUE
    (record,) = conductor.records.values()
    assert [run["reused"] for run in record.stage_runs] == [False] * 2
    assert len(diary.lines) == len(set(diary.lines))
