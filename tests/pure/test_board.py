"""Claims about the dispatcher's decisions: single flight, order, cancelling, losses, replay."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from tests.examples import of_examples
from trainables.board import MACHINES_ALLOWED, Assign, Board, Cancel, Notify
from trainables.catalogue.encoder import Encoder, Patches, PlantedAlignment, SmallEncoder
from trainables.catalogue.task import NLI_LABELS, Kind, LabSource, Split, Task
from trainables.faults import Invalid
from trainables.scores import Cancelled, Done, Failed, Progress
from trainables.settings import Settings
from trainables.stages import Portion, Shape, Stage, StageKind, Training

TASK = Task(
    name="text_nli",
    kind=Kind.PAIR,
    labels=NLI_LABELS,
    splits=(Split(name="train", languages=("en",)),),
    source=LabSource(generator="nothing"),
    licence="CC0-1.0",
)
FIRST = Stage(
    kind=StageKind.TRAIN,
    work=Training(
        settings=Settings(learning_rate=1e-4, maximum_steps=10, batch_size=8),
        portions=(Portion(task=TASK, steps=10),),
    ),
    encoder=Encoder(
        name="tiny",
        text=SmallEncoder(
            layers=1, width=8, heads=1, feed_forward=8, positions=16, alignment=PlantedAlignment(distance=())
        ),
        patches=Patches(height=8, width=8, patch=8),
    ),
    parent="",
    seed=0,
    shape=Shape(workers=1, threads=1, precision="float32"),
    versions=(),
)


def chain(*seeds: int) -> tuple[Stage, ...]:
    """A path of one training stage per seed; equal beginnings of two chains are equal stages."""
    path: list[Stage] = []
    for seed in seeds:
        path.append(replace(FIRST, parent=path[-1].digest if path else "", seed=seed))
    return tuple(path)


def board(gangs: int = 1, **given: int) -> Board:
    made = Board(session="test", **given)
    for number in range(gangs):
        made.gang_ready(f"gang-{number}")
    return made


def done(stage: Stage) -> Done:
    return Done(digest=stage.digest, steps_executed=10, reused=False, history=(progress(stage, 10),))


def progress(stage: Stage, step: int) -> Progress:
    return Progress(digest=stage.digest, step=step)


def told(decisions: tuple, trial: str) -> list:
    return [decision.event for decision in decisions if isinstance(decision, Notify) and decision.trial == trial]


def assigned(decisions: tuple) -> Assign:
    (found,) = [decision for decision in decisions if isinstance(decision, Assign)]
    return found


def test_a_trial_goes_through_its_path_one_stage_at_a_time():
    path = chain(1, 2)
    desk = board()
    first = assigned(desk.submit("a", path, {}))
    assert (first.gang, first.stage) == ("gang-0", path[0])
    after = desk.report("gang-0", first.attempt, done(path[0]))
    assert told(after, "a") == [done(path[0])]
    second = assigned(after)
    assert second.stage == path[1]
    assert told(desk.report("gang-0", second.attempt, done(path[1])), "a") == [done(path[1])]
    assert desk.waiting() == []
    assert desk.counts["executed"] == 2


def test_what_the_store_has_is_told_with_its_history_and_not_run():
    path = chain(1, 2)
    decisions = board().submit("a", path, {stage.digest: done(stage) for stage in path})
    assert told(decisions, "a") == [replace(done(stage), reused=True, steps_executed=0) for stage in path]
    assert not [decision for decision in decisions if isinstance(decision, Assign)]


def test_two_trials_that_need_the_same_stage_wait_for_the_same_one():
    path, other = chain(1, 2), chain(1, 3)
    desk = board(gangs=2)
    first = assigned(desk.submit("a", path, {}))
    assert desk.submit("b", other, {}) == ()
    decisions = desk.report("gang-0", first.attempt, done(path[0]))
    assert [event.steps_executed for event in told(decisions, "a") + told(decisions, "b")] == [10, 0]
    assert {decision.stage for decision in decisions if isinstance(decision, Assign)} == {path[1], other[1]}


def test_a_trial_that_comes_late_hears_what_the_first_one_heard():
    (stage,) = chain(1)
    desk = board()
    first = assigned(desk.submit("a", (stage,), {}))
    heard = []
    for step in (2, 4):
        heard += told(desk.report("gang-0", first.attempt, progress(stage, step)), "a")
    assert told(desk.submit("b", (stage,), {}), "b") == heard == [progress(stage, 2), progress(stage, 4)]


def test_a_stage_is_cancelled_only_when_nobody_waits_for_it():
    (stage,) = chain(1)
    desk = board()
    first = assigned(desk.submit("a", (stage,), {}))
    desk.submit("b", (stage,), {})
    assert desk.detach("a") == ()
    assert desk.detach("b") == (Cancel(gang="gang-0", digest=stage.digest, attempt=first.attempt),)
    desk.report("gang-0", first.attempt, Cancelled(digest=stage.digest, steps_executed=3))
    assert desk.counts["cancelled"] == 1
    assert desk.running() == {}


def test_a_trial_that_wants_a_stage_being_stopped_gets_it_run_again():
    (stage,) = chain(1)
    desk = board()
    first = assigned(desk.submit("a", (stage,), {}))
    desk.report("gang-0", first.attempt, progress(stage, 2))
    desk.detach("a")
    assert told(desk.submit("b", (stage,), {}), "b") == [progress(stage, 2)]
    assert desk.waiting()[0].reason == "for gang-0 to stop an earlier attempt"
    again = assigned(desk.report("gang-0", first.attempt, Cancelled(digest=stage.digest, steps_executed=3)))
    assert (again.stage, again.attempt != first.attempt) == (stage, True)
    assert told(desk.report("gang-0", again.attempt, progress(stage, 2)), "b") == []
    assert told(desk.report("gang-0", again.attempt, progress(stage, 4)), "b") == [progress(stage, 4)]


def test_a_stage_that_fails_fails_its_trials_alone_and_frees_the_gang():
    path, other = chain(1), chain(9)
    desk = board()
    first = assigned(desk.submit("a", path, {}))
    desk.submit("b", path, {})
    desk.submit("c", other, {})
    failed = Failed(digest=path[0].digest, reason="RuntimeError: no")
    decisions = desk.report("gang-0", first.attempt, failed)
    assert told(decisions, "a") == told(decisions, "b") == [failed]
    assert assigned(decisions).stage == other[0]
    assert [waiting.trial for waiting in desk.waiting()] == ["c"]


def test_a_stage_that_failed_is_run_again_when_it_is_asked_for_again():
    (stage,) = chain(1)
    desk = board()
    first = assigned(desk.submit("a", (stage,), {}))
    desk.report("gang-0", first.attempt, Failed(digest=stage.digest, reason="no"))
    assert assigned(desk.submit("a", (stage,), {})).stage == stage


def test_a_lost_gang_gives_its_stage_back_until_it_has_cost_too_many():
    (stage,) = chain(1)
    desk = board(losses_allowed=2)
    desk.submit("a", (stage,), {})
    for _ in range(2):
        assert desk.gang_lost("gang-0", "killed") == ()
        assert desk.waiting()[0].reason == "for a gang to start"
        assigned(desk.gang_ready("gang-0"))
    (event,) = told(desk.gang_lost("gang-0", "killed"), "a")
    assert event.reason == "its gang was lost 3 times while running it; the last time: killed"


def test_a_stage_that_gets_further_each_time_is_never_taken_to_be_the_cause():
    (stage,) = chain(1)
    desk = board(losses_allowed=2)
    attempt = assigned(desk.submit("a", (stage,), {})).attempt
    for step in range(1, 9):
        assert told(desk.report("gang-0", attempt, progress(stage, step)), "a") == [progress(stage, step)]
        assert desk.gang_lost("gang-0", "killed") == ()
        attempt = assigned(desk.gang_ready("gang-0")).attempt
        desk.report("gang-0", attempt, progress(stage, step))  # what it repeats is no step further
    assert desk.gang_lost("gang-0", "killed") == ()
    desk.gang_ready("gang-0")
    (event,) = told(desk.gang_lost("gang-0", "killed"), "a")
    assert event.reason.startswith("its gang was lost 3 times")


def test_what_repeats_an_earlier_attempt_gets_no_further():
    desk, (stage,) = board(), chain(1)
    first = assigned(desk.submit("a", (stage,), {}))
    assert desk.gets_further("gang-0", first.attempt, progress(stage, 10))
    desk.report("gang-0", first.attempt, progress(stage, 10))
    desk.gang_lost("gang-0", "its disk failed", of_machine=True)
    again = assigned(desk.gang_ready("gang-0"))
    assert not desk.gets_further("gang-0", first.attempt, progress(stage, 20))
    assert not desk.gets_further("gang-0", again.attempt, progress(stage, 10))
    assert desk.gets_further("gang-0", again.attempt, progress(stage, 11))
    assert desk.gets_further("gang-0", again.attempt, done(stage))
    assert not desk.gets_further("gang-0", again.attempt, Failed(digest=stage.digest, reason="no"))


def test_a_machine_that_is_lost_fails_no_trial_however_often():
    (stage,) = chain(1)
    desk = board(losses_allowed=0)
    desk.submit("a", (stage,), {})
    for _ in range(MACHINES_ALLOWED):
        assert desk.gang_lost("gang-0", "its machine was lost", of_machine=True) == ()
        assigned(desk.gang_ready("gang-0"))
    (event,) = told(desk.gang_lost("gang-0", "its machine was lost", of_machine=True), "a")
    assert event.of_machine
    assert event.reason == "its gang was lost 10 times and got no further; the last time: its machine was lost"


def test_events_of_an_attempt_that_was_not_handed_out_are_ignored():
    (stage,) = chain(1)
    desk = board()
    first = assigned(desk.submit("a", (stage,), {}))
    desk.gang_lost("gang-0", "cut off")
    second = assigned(desk.gang_ready("gang-0"))
    assert desk.report("gang-0", first.attempt, done(stage)) == ()
    assert not desk.accepts("gang-0", first.attempt)
    assert desk.accepts("gang-0", second.attempt)
    assert desk.report("gang-1", second.attempt, done(stage)) == ()


def test_the_oldest_trial_is_served_first_in_the_order_of_submission():
    desk = board()
    a = assigned(desk.submit("a", chain(1, 2), {}))
    desk.submit("b", chain(3), {})
    desk.submit("c", chain(4), {})
    assert [waiting.reason for waiting in desk.waiting()] == [
        "for gang-0, which runs it",
        "for a free gang, 0 stages ahead",
        "for a free gang, 1 stages ahead",
    ]
    assert assigned(desk.report("gang-0", a.attempt, done(a.stage))).stage == chain(1, 2)[1]


def test_a_parent_that_cannot_be_read_is_run_again_and_nobody_hears_of_it_twice():
    path = chain(1, 2)
    desk = board()
    child = assigned(desk.submit("a", path, {path[0].digest: done(path[0])}))
    parent = assigned(desk.parent_missing("gang-0", child.attempt))
    assert parent.stage == path[0]
    assert told(desk.report("gang-0", parent.attempt, progress(path[0], 2)), "a") == []
    decisions = desk.report("gang-0", parent.attempt, done(path[0]))
    assert told(decisions, "a") == []
    child = assigned(decisions)
    assert told(desk.report("gang-0", child.attempt, done(path[1])), "a") == [done(path[1])]


def test_a_parent_that_is_missing_again_and_again_fails_the_stage():
    path = chain(1, 2)
    desk = board(losses_allowed=1)
    child = assigned(desk.submit("a", path, {path[0].digest: done(path[0])}))
    parent = assigned(desk.parent_missing("gang-0", child.attempt))
    child = assigned(desk.report("gang-0", parent.attempt, done(path[0])))
    (event,) = told(desk.parent_missing("gang-0", child.attempt), "a")
    assert "could not be read from the store, again" in event.reason


def test_weights_that_were_deleted_are_made_again_only_where_a_stage_after_them_is_not_done():
    path = chain(1, 2, 3)
    desk = board()
    stored = {stage.digest: done(stage) for stage in path[:2]}
    decisions = desk.submit("a", path, stored, gone=[stage.digest for stage in path[:2]])
    assert [event.digest for event in told(decisions, "a")] == [path[0].digest, path[1].digest]
    for stage in path[:2]:
        again = assigned(decisions)
        assert again.stage == stage
        assert told(desk.report("gang-0", again.attempt, progress(stage, 2)), "a") == []
        decisions = desk.report("gang-0", again.attempt, done(stage))
        assert told(decisions, "a") == []
    last = assigned(decisions)
    assert last.stage == path[2] and desk.counts["remade"] == 2
    assert told(desk.report("gang-0", last.attempt, done(path[2])), "a") == [done(path[2])]
    desk.evicted(path[2].digest)
    again = desk.submit("b", path, {})
    assert [event.reused for event in told(again, "b")] == [True] * 3
    assert not any(isinstance(decision, Assign) for decision in again)


def test_a_stage_whose_weights_are_being_deleted_is_handed_out_when_nothing_is_left_of_them():
    path = chain(1, 2)
    desk = board()
    stored = {path[0].digest: done(path[0])}
    desk.evicting(path[0].digest)
    decisions = desk.submit("a", path, stored)
    assert not any(isinstance(decision, Assign) for decision in decisions)
    again = assigned(desk.evicted(path[0].digest))
    assert again.stage == path[0]
    decisions = desk.report("gang-0", again.attempt, done(path[0]))
    assert assigned(decisions).stage == path[1] and desk.counts["remade"] == 1


def test_what_was_found_of_a_stage_before_it_ended_here_is_not_believed_over_its_end():
    path = chain(1, 2)
    desk = board()
    first = assigned(desk.submit("a", path, {}))
    desk.report("gang-0", first.attempt, done(path[0]))
    desk.submit("b", chain(1, 3), {path[0].digest: done(path[0])}, gone=[path[0].digest])
    assert not desk.is_gone(path[0].digest)


def test_what_an_open_trial_is_about_to_read_is_needed():
    path, other = chain(1, 2, 3), chain(1, 4)
    desk = board()
    assert desk.needed() == set()
    first = assigned(desk.submit("a", path, {}))
    desk.submit("b", other, {})
    assert desk.needed() == set()
    second = assigned(desk.report("gang-0", first.attempt, done(path[0])))
    assert desk.needed() == {path[0].digest}
    desk.report("gang-0", second.attempt, done(path[1]))
    assert desk.needed() == {path[0].digest, path[1].digest}
    desk.detach("b")
    assert path[1].digest in desk.needed()


def test_a_board_that_is_stopped_cancels_what_runs_and_leaves_every_trial_to_be_taken_up_again():
    desk = board(gangs=2)
    running = assigned(desk.submit("a", chain(1), {}))
    desk.submit("b", chain(2), {})
    desk.submit("c", chain(3), {})
    decisions = desk.stop("the sweep was stopped")
    assert {decision.gang for decision in decisions if isinstance(decision, Cancel)} == {"gang-0", "gang-1"}
    for trial in "abc":
        (event,) = told(decisions, trial)
        assert event.of_machine and event.reason == "the sweep was stopped"
    assert not desk.accepts("gang-0", running.attempt) and desk.wanted(running.stage.digest)
    assert told(desk.submit("d", chain(4), {}), "d")[0].of_machine


def test_when_no_gang_will_come_back_every_trial_fails_now_and_later():
    desk = board()
    desk.submit("a", chain(1), {})
    desk.gang_lost("gang-0", "killed")
    (event,) = told(desk.gangs_gone("no gang could be placed"), "a")
    (later,) = told(desk.submit("b", chain(2), {}), "b")
    assert event.reason == later.reason == "no gang could be placed"


def test_a_trial_submitted_again_replaces_itself():
    desk = board()
    first = assigned(desk.submit("a", chain(1), {}))
    decisions = desk.submit("a", chain(2), {})
    assert Cancel(gang="gang-0", digest=first.stage.digest, attempt=first.attempt) in decisions
    assert [waiting.digest for waiting in desk.waiting()] == [chain(2)[0].digest]


def test_a_free_gang_runs_what_is_foreseen_and_every_trial_goes_first():
    sure, other = chain(1, 2), chain(3, 4)
    desk = board()
    ahead = assigned(desk.foresee(sure, {}))
    assert ahead.stage == sure[0]
    assert desk.submit("a", other, {}) == ()
    after = desk.report("gang-0", ahead.attempt, done(sure[0]))
    assert assigned(after).stage == other[0], "what is foreseen waits while a trial has work"
    assert told(after, "a") == []
    assert [entry.trial for entry in desk.waiting()] == ["a"]
    assert desk.queued() == 0, "nobody rents a machine for what is only foreseen"


def test_the_first_trial_to_come_is_told_that_a_foreseen_stage_was_executed_and_no_other_is():
    path = chain(1)
    desk = board()
    ahead = assigned(desk.foresee(path, {}))
    desk.report("gang-0", ahead.attempt, done(path[0]))
    steps = [told(desk.submit(trial, path, {}), trial)[0].steps_executed for trial in ("a", "b")]
    assert steps == [10, 0]
    assert (desk.counts["executed"], desk.counts["reused"]) == (1, 1)


def test_a_trial_joins_a_foreseen_stage_that_runs_and_hears_all_of_it():
    path = chain(1)
    desk = board()
    ahead = assigned(desk.foresee(path, {}))
    desk.report("gang-0", ahead.attempt, progress(path[0], 2))
    assert told(desk.submit("a", path, {}), "a") == [progress(path[0], 2)]
    assert told(desk.report("gang-0", ahead.attempt, done(path[0])), "a") == [done(path[0])]
    assert desk.detach("a") == ()


def test_a_foreseen_stage_that_fails_tells_nobody_and_is_run_again_for_a_trial():
    path = chain(1)
    desk = board()
    ahead = assigned(desk.foresee(path, {}))
    assert desk.report("gang-0", ahead.attempt, Failed(digest=path[0].digest, reason="no")) == ()
    assert assigned(desk.submit("a", path, {})).stage == path[0]


def test_an_empty_and_a_broken_path_are_refused():
    with pytest.raises(Invalid, match="at least one stage"):
        board().foresee((), {})
    with pytest.raises(Invalid, match="it must hold at least one stage"):
        board().submit("a", (), {})
    with pytest.raises(Invalid, match="must start from"):
        board().submit("a", chain(1, 2)[1:], {})


def test_a_gang_that_leaves_in_good_order_hands_its_stage_on_and_that_is_no_loss():
    made = board(2, losses_allowed=0)
    (given,) = (d for d in made.submit("trial", chain(1), {}) if isinstance(d, Assign))
    other = "gang-1" if given.gang == "gang-0" else "gang-0"
    (again,) = made.gang_left(given.gang)
    assert (again.gang, again.stage) == (other, given.stage)
    assert (made.counts["moved"], made.counts["lost"]) == (1, 0)
    assert not made.accepts(given.gang, given.attempt)
    assert made.gang_left("gang-of-nobody") == ()


def test_a_free_gang_that_leaves_is_given_nothing_more():
    made = board(1)
    assert made.is_free("gang-0")
    assert made.gang_left("gang-0") == ()
    assert not made.is_free("gang-0")
    assert [d for d in made.submit("trial", chain(1), {}) if isinstance(d, Assign)] == []
    assert made.queued() == 1


def test_a_stage_that_a_gang_found_in_the_store_is_reused_and_not_executed_whoever_waits_for_it():
    mine, (stage, after) = board(), chain(1, 2)
    attempt = assigned(mine.submit("one", (stage, after), {})).attempt
    mine.submit("two", (stage,), {})
    found = replace(done(stage), steps_executed=0, reused=True)
    decisions = mine.report("gang-0", attempt, found)
    assert told(decisions, "one") == told(decisions, "two") == [found]
    assert assigned(decisions).stage == after
    assert (mine.counts["executed"], mine.counts["reused"], mine.counts["remade"]) == (0, 2, 0)


class AnyOrder(RuleBasedStateMachine):
    """Trials, gangs, failures and losses in any order."""

    @initialize(gangs=st.integers(1, 3))
    def begin(self, gangs):
        self.board = Board(session="any", losses_allowed=2)
        self.running: dict[str, Assign] = {}
        self.stopping: set[str] = set()
        self.finished: set[str] = set()
        self.open: dict[str, tuple[Stage, ...]] = {}
        self.place: dict[str, int] = {}
        self.heard: dict[str, list[int]] = {}
        self.attempts: set[str] = set()
        self.submitted = 0
        for number in range(gangs):
            self.carry(self.board.gang_ready(f"gang-{number}"))
        self.down: list[str] = []

    def carry(self, decisions):
        for decision in decisions:
            if isinstance(decision, Assign):
                stage = decision.stage
                assert decision.gang not in self.running, "a gang was given two stages"
                assert stage.digest not in {other.stage.digest for other in self.running.values()}, "run twice at once"
                assert stage.digest not in self.finished, "a finished stage was run again"
                assert not stage.parent or stage.parent in self.finished, "a stage was run before its parent"
                assert decision.attempt not in self.attempts, "an attempt was used twice"
                self.attempts.add(decision.attempt)
                self.running[decision.gang] = decision
            elif isinstance(decision, Cancel):
                assert self.running[decision.gang].attempt == decision.attempt
                self.stopping.add(decision.attempt)
            else:
                self.hear(decision)

    def hear(self, decision):
        trial, event = decision.trial, decision.event
        path = self.open[trial]
        assert event.digest == path[self.place[trial]].digest, "an event of a stage the trial does not wait for"
        if isinstance(event, Progress):
            steps = self.heard[trial]
            assert event.step == (steps[-1] + 1 if steps else 1), "a report was lost or told twice"
            steps.append(event.step)
        elif isinstance(event, Failed):
            del self.open[trial]
        else:
            self.heard[trial] = []
            self.place[trial] += 1
            if self.place[trial] == len(path):
                del self.open[trial]

    def leave(self, gang):
        return self.running.pop(gang)

    @rule(seeds=st.lists(st.integers(0, 2), min_size=1, max_size=3))
    def submit(self, seeds):
        if len(self.open) > 6:
            return
        self.submitted += 1
        trial = f"trial-{self.submitted}"
        self.open[trial], self.place[trial], self.heard[trial] = chain(*seeds), 0, []
        self.carry(self.board.submit(trial, chain(*seeds), {}))

    @rule(seeds=st.lists(st.integers(0, 2), min_size=1, max_size=3))
    def foresee(self, seeds):
        self.carry(self.board.foresee(chain(*seeds), {}))

    @precondition(lambda self: self.open)
    @rule(data=st.data())
    def detach(self, data):
        trial = data.draw(st.sampled_from(sorted(self.open)))
        del self.open[trial]
        self.carry(self.board.detach(trial))

    @precondition(lambda self: self.running)
    @rule(
        data=st.data(), how=st.sampled_from(["report", "done", "failed", "lost", "cancelled"]), steps=st.integers(1, 4)
    )
    def gang_acts(self, data, how, steps):
        gang = data.draw(st.sampled_from(sorted(self.running)))
        given = self.running[gang]
        digest, attempt = given.stage.digest, given.attempt
        if how == "report":
            for step in range(1, steps + 1):
                self.carry(self.board.report(gang, attempt, Progress(digest=digest, step=step)))
            # What an attempt has said once is not said again by it; the next attempt starts over.
            how = "done"
        self.leave(gang)
        if how == "lost":
            self.down.append(gang)
            self.carry(self.board.gang_lost(gang, "killed"))
        elif how == "done":
            self.finished.add(digest)
            self.carry(self.board.report(gang, attempt, Done(digest=digest, steps_executed=steps, reused=False)))
        elif how == "failed":
            self.carry(self.board.report(gang, attempt, Failed(digest=digest, reason="no")))
        elif attempt in self.stopping:
            self.carry(self.board.report(gang, attempt, Cancelled(digest=digest, steps_executed=0)))
        else:
            self.finished.add(digest)
            self.carry(self.board.report(gang, attempt, Done(digest=digest, steps_executed=0, reused=False)))

    @precondition(lambda self: self.running)
    @rule(data=st.data(), steps=st.integers(1, 3))
    def gang_reports_and_is_lost(self, data, steps):
        gang = data.draw(st.sampled_from(sorted(self.running)))
        given = self.leave(gang)
        self.down.append(gang)
        for step in range(1, steps + 1):
            self.carry(self.board.report(gang, given.attempt, Progress(digest=given.stage.digest, step=step)))
        self.carry(self.board.gang_lost(gang, "killed"))

    @precondition(lambda self: self.attempts)
    @rule(data=st.data())
    def a_stranger_speaks(self, data):
        attempt = data.draw(st.sampled_from(sorted(self.attempts)))
        if attempt in {given.attempt for given in self.running.values()}:
            return
        for gang in ("gang-0", "gang-1", "gang-2"):
            for seed in (0, 1, 2):
                (stage,) = chain(seed)
                assert self.board.report(gang, attempt, done(stage)) == ()

    @precondition(lambda self: self.down)
    @rule()
    def a_gang_returns(self):
        self.carry(self.board.gang_ready(self.down.pop()))

    @invariant()
    def whoever_is_open_waits_for_something_and_nobody_else_does(self):
        if not hasattr(self, "board"):
            return
        waiting = {entry.trial: entry for entry in self.board.waiting()}
        assert set(waiting) == set(self.open)
        assert all(entry.digest == self.open[trial][self.place[trial]].digest for trial, entry in waiting.items())
        assert self.board.running() == {gang: given.stage.digest for gang, given in self.running.items()}

    @invariant()
    def no_gang_is_idle_while_a_stage_is_queued(self):
        if hasattr(self, "board") and self.board.queued():
            assert len(self.running) + len(self.down) == len(self.board._gangs) + len(self.down)

    def teardown(self):
        """Left alone with gangs that work, every trial ends."""
        if not hasattr(self, "board"):
            return
        while self.down:
            self.carry(self.board.gang_ready(self.down.pop()))
        for _ in range(200):
            if not self.running:
                break
            gang = sorted(self.running)[0]
            given = self.leave(gang)
            self.finished.add(given.stage.digest)
            self.carry(self.board.report(gang, given.attempt, done(given.stage)))
        assert self.open == {}
        assert self.board.waiting() == []


TestAnyOrder = AnyOrder.TestCase
TestAnyOrder.settings = of_examples(1, stateful_step_count=40)
