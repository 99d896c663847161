"""Claims about gangs behind their mailbox; the rehearsal and the real worker group must keep them alike."""

from __future__ import annotations

import os
import signal
import time
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import pytest
import ray

from tests.ray_local.fake_runner import FAKE
from tests.ray_local.stage_paths import path, training
from trainables import rehearsal
from trainables.dispatcher import close, start_dispatcher, start_local_ray
from trainables.faults import Invalid
from trainables.gangs import RUNNERS, GangKind, Gangs
from trainables.scores import Done, Event, Failed, Progress, event_from_json
from trainables.stages import Stage
from trainables.store import Store

RUNNER = {GangKind.REHEARSAL: RUNNERS[GangKind.REHEARSAL], GangKind.TRAIN: FAKE}


class Desk:
    """A dispatcher with one gang, and what a trial does with it."""

    def __init__(self, kind: GangKind, folder: Path) -> None:
        self.store = Store(folder / "store")
        self.tickets: dict[str, int] = {}
        self.gangs = Gangs(kind=kind, checkpoint_interval_steps=10)
        self.handle = start_dispatcher(
            self.gangs, store=self.store.uri, cache=folder / "cache", name=f"desk-{kind}", runner=RUNNER[kind]
        )

    def submit(self, trial: str, stages: tuple[Stage, ...]) -> None:
        self.tickets[trial] = ray.get(self.handle.submit.remote(trial, [stage.to_json() for stage in stages]))

    def detach(self, trial: str) -> None:
        ray.get(self.handle.detach.remote(trial, self.tickets.pop(trial)))

    def next(self, trial: str) -> list[Event]:
        return [event_from_json(text) for text in ray.get(self.handle.next_events.remote(trial, self.tickets[trial]))]

    def until_end(self, trial: str, stages: tuple[Stage, ...], *, seconds: float = 60) -> list[Event]:
        """Every event of a trial up to the end of its path, or to its failure."""
        events: list[Event] = []
        stop = time.monotonic() + seconds
        while time.monotonic() < stop:
            events += self.next(trial)
            last = events[-1] if events else None
            if isinstance(last, Failed) or (isinstance(last, Done) and last.digest == stages[-1].digest):
                return events
        raise AssertionError(f"{trial} did not end; it waits: {self.status()['waiting']}")

    def run(self, trial: str, stages: tuple[Stage, ...]) -> list[Event]:
        self.submit(trial, stages)
        return self.until_end(trial, stages)

    def status(self) -> dict:
        return ray.get(self.handle.status.remote())


@pytest.fixture(scope="module", params=list(GangKind))
def desk(request, cluster, tmp_path_factory):
    made = Desk(request.param, tmp_path_factory.mktemp(str(request.param)))
    yield made
    close(made.handle)


def slow(seed: int, steps: int = 300) -> tuple[Stage, ...]:
    return (training("slow_nli", "", steps=steps, seed=seed),)


def until_first_checkpoint(desk: Desk, stage: Stage) -> None:
    stop = time.monotonic() + 60
    while time.monotonic() < stop:
        if any(not one.name.startswith(".") for one in desk.store.under_way.folder(stage.digest).iterdir()):
            return
        time.sleep(0.02)
    raise AssertionError("no checkpoint was written")


@pytest.mark.timeout(120)
class TestGang:
    def test_a_path_is_run_and_its_events_arrive_in_order(self, desk):
        stages = path()
        events = desk.run("first", stages)
        seen = [(type(event), event.digest, getattr(event, "step", None)) for event in events]
        expected = []
        for stage in stages[:2]:
            expected += [(Progress, stage.digest, 10), (Progress, stage.digest, 20), (Done, stage.digest, None)]
        assert seen == [*expected, (Done, stages[2].digest, None)]
        assert [event.steps_executed for event in events if isinstance(event, Done)] == [20, 20, 0]
        assert desk.store.find(stages[0].digest) is not None
        assert desk.store.predictions(stages[2].digest).num_rows == 300
        assert [score.absent_reason != "" for score in events[-1].scores] == [False, False, False, True]

    def test_a_path_submitted_again_is_reused_with_its_history_and_scores(self, desk):
        stages = path()
        before = desk.run("first", stages)
        executed = desk.status()["executed"]
        after = desk.run("second", stages)
        assert all(isinstance(event, Done) and event.reused and event.steps_executed == 0 for event in after)
        first = {event.digest: event for event in before if isinstance(event, Done)}
        assert [(event.history, event.scores) for event in after] == [
            (first[event.digest].history, first[event.digest].scores) for event in after
        ]
        assert desk.status()["executed"] == executed

    def test_two_trials_share_a_stage_and_are_told_the_same(self, desk):
        one = path(first="slow_nli", steps=60, seed=1)
        two = (one[0], training("other", one[0].digest, seed=2))
        executed = desk.status()["executed"]
        desk.submit("one", one)
        desk.submit("two", two)
        heard_one, heard_two = desk.until_end("one", one), desk.until_end("two", two)
        shared = [
            [event for event in heard if isinstance(event, Progress) and event.digest == one[0].digest]
            for heard in (heard_one, heard_two)
        ]
        assert shared[0] == shared[1] != []
        assert desk.status()["executed"] == executed + 4

    def test_a_stage_that_fails_fails_its_trials_and_the_gang_lives_on(self, desk):
        stages = path(then="this_fails", seed=3)
        started = desk.status()["gangs_started"], desk.status()["gangs_restarted"]
        events = desk.run("failing", stages)
        assert isinstance(events[-1], Failed)
        assert events[-1].digest == stages[1].digest
        assert "task 'this_fails' fails, as its name says (in _break, rehearsal.py:" in events[-1].reason
        assert isinstance(desk.run("after", path(seed=4))[-1], Done)
        assert (desk.status()["gangs_started"], desk.status()["gangs_restarted"]) == started
        assert not any((Path(desk.store.uri) / "stages" / stages[1].digest).iterdir())

    def test_a_detached_trial_stops_its_stage_within_a_few_steps(self, desk):
        stages = slow(5, steps=3000)
        cancelled = desk.status()["cancelled"]
        desk.submit("leaving", stages)
        until_first_checkpoint(desk, stages[0])
        began = time.monotonic()
        desk.detach("leaving")
        while desk.status()["cancelled"] == cancelled and time.monotonic() < began + 10:
            time.sleep(0.01)
        assert time.monotonic() - began < 2.0
        assert desk.status()["running"] == {}
        assert desk.store.find(stages[0].digest) is None

    def test_a_worker_killed_in_the_middle_resumes_and_ends_with_the_same_result(self, desk, tmp_path):
        (stage,) = slow(6)
        desk.submit("killed", (stage,))
        until_first_checkpoint(desk, stage)
        restarted = desk.status()["gangs_restarted"]
        os.kill(desk.status()["processes"]["gang-0"][0], signal.SIGKILL)
        events = desk.until_end("killed", (stage,), seconds=90)
        assert isinstance(events[-1], Done)
        assert 0 < events[-1].steps_executed < stage.steps
        assert desk.status()["gangs_restarted"] == restarted + 1

        whole = rehearsal.run_stage(
            stage,
            parent=None,
            output=tmp_path,
            cache=None,
            checkpoints=rehearsal.JsonCheckpoints(tmp_path, interval_steps=10_000),
            report=lambda progress: None,
            cancelled=lambda: False,
            ranks=None,
        )
        assert events[-1].history == whole.history
        assert tuple(event for event in events if isinstance(event, Progress)) == whole.history
        fetched = desk.store.fetch(stage.digest)
        assert {file.name: file.read_bytes() for file in fetched.iterdir()} == {
            file.name: file.read_bytes() for file in tmp_path.iterdir()
        }

    def test_a_stage_that_leaves_its_process_unfit_restarts_the_gang_and_fails_in_the_end(self, desk):
        if desk.gangs.kind is GangKind.TRAIN:
            pytest.skip("three restarts of a worker group take half a minute; the rehearsal shows the counting")
        events = desk.run("exhausting", (training("this_exhausts", "", seed=7),))
        assert "its gang was lost 3 times while running it; the last time: MemoryError" in events[-1].reason
        assert isinstance(desk.run("after", path(seed=8))[-1], Done)

    def test_a_damaged_parent_is_run_again_and_not_trusted(self, desk):
        stages = path(seed=9)
        desk.run("whole", stages[:1])
        for file in desk.store.fetch(stages[0].digest).iterdir():
            file.write_text("torn")
        executed = desk.status()["executed"]
        assert isinstance(desk.run("onwards", stages)[-1], Done)
        assert desk.status()["executed"] == executed + 3

    def test_an_old_ticket_neither_hears_nor_ends_a_trial_that_was_submitted_again(self, desk):
        stages = path(seed=12)
        desk.submit("again", stages)
        old = desk.tickets["again"]
        desk.submit("again", stages)
        ray.get(desk.handle.detach.remote("again", old))
        with pytest.raises(LookupError, match="must hold its latest ticket"):
            ray.get(desk.handle.next_events.remote("again", old))
        assert isinstance(desk.until_end("again", stages)[-1], Done)

    def test_whatever_waits_says_for_what(self, desk):
        stages = slow(10, steps=400)
        desk.submit("runs", stages)
        desk.submit("queues", slow(11))
        reasons = [(entry["trial"], entry["reason"]) for entry in desk.status()["waiting"]]
        desk.detach("queues")
        desk.detach("runs")
        assert reasons == [("runs", "for gang-0, which runs it"), ("queues", "for a free gang, 0 stages ahead")]


def test_gangs_that_do_not_fit_are_refused_before_anything_starts(cluster, tmp_path):
    with pytest.raises(Invalid, match="2 gangs × 2 workers × 1 = 4, got 2; use count=1"):
        start_dispatcher(Gangs(count=2, workers=2), store=str(tmp_path), cache=tmp_path, name="too-many")


def test_a_store_that_cannot_be_written_is_refused_before_anything_starts(cluster, tmp_path):
    (tmp_path / "file").write_text("")
    gangs = Gangs(kind=GangKind.REHEARSAL)
    with pytest.raises(Invalid, match="must be a place that can be written"):
        start_dispatcher(gangs, store=str(tmp_path / "file" / "store"), cache=tmp_path, name="no-store")


@pytest.mark.parametrize(
    ("answers", "begun"),
    [(["Ray timed out during startup."] * 2, 3), (["no such address"], 1), (["timed out during startup"] * 9, 3)],
)
def test_a_ray_of_this_process_that_was_too_slow_to_start_is_started_again(monkeypatch, answers, begun):
    asked = []

    def init(**options):
        asked.append(options)
        if len(asked) <= len(answers):
            raise Exception(answers[len(asked) - 1])

    monkeypatch.setattr(ray, "init", init)
    monkeypatch.setattr(ray, "shutdown", lambda: None)
    with nullcontext() if len(answers) < begun else pytest.raises(Exception, match=answers[-1]):
        start_local_ray(cpus=1)
    assert len(asked) == begun


@pytest.mark.timeout(180)
def test_a_rank_that_raises_alone_in_mid_step_fails_its_trial_and_the_next_one_runs(cluster, tmp_path):
    runner = replace(FAKE, run="tests.ray_local.fake_runner:fail_on_rank_one")
    handle = start_dispatcher(
        Gangs(workers=2), store=str(tmp_path / "store"), cache=tmp_path / "cache", name="one-of-two", runner=runner
    )

    def last(trial: str, name: str) -> Event:
        stage = training(name, "", steps=2, interval=2)
        ticket = ray.get(handle.submit.remote(trial, [stage.to_json()]))
        while not (events := ray.get(handle.next_events.remote(trial, ticket))) or not isinstance(
            event_from_json(events[-1]), Failed | Done
        ):
            continue
        return event_from_json(events[-1])

    try:
        failed = last("failing", "fails_on_one")
        assert isinstance(failed, Failed) and "rank 1 of 2 failed: ValueError: planted on rank 1" in failed.reason
        assert isinstance(last("next", "other"), Done)
        status = ray.get(handle.status.remote())
        assert (status["failed"], status["executed"], status["gangs_started"]) == (1, 1, 1)
    finally:
        close(handle)


@pytest.mark.parametrize("kind", list(GangKind))
def test_a_gang_whose_disk_failed_a_stage_is_started_anew_and_does_it(cluster, tmp_path, kind):
    runner = replace(RUNNER[kind], run="tests.ray_local.fake_runner:break_disk_once")
    handle = start_dispatcher(
        Gangs(kind=kind), store=tmp_path / "store", cache=tmp_path / "cache", name=f"broken-{kind}", runner=runner
    )
    try:
        ticket = ray.get(handle.submit.remote("trial", [training("text_nli", "").to_json()]))
        events: list[Event] = []
        while not any(isinstance(event, Done | Failed) for event in events):
            events += [event_from_json(text) for text in ray.get(handle.next_events.remote("trial", ticket))]
        assert isinstance(events[-1], Done)
        status = ray.get(handle.status.remote())
        assert (status["executed"], status["failed"], status["lost"], status["gangs_started"]) == (1, 0, 1, 2)
    finally:
        close(handle)
