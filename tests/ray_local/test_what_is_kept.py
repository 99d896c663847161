"""Claims about what the dispatcher deletes and never deletes, with gangs that are coroutines: no process is started."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
import time

import pytest

from tests.pure.stores import holding
from tests.ray_local.machines import LONG, begun, until
from tests.ray_local.stage_paths import training
from trainables import dispatcher, outputs
from trainables.dispatcher import Dispatcher
from trainables.pins import NEEDED_SECONDS, PinFile
from trainables.processes import started_at
from trainables.scores import Done, event_from_json, event_to_json
from trainables.store import Store


class SlowToDelete:
    """A store whose deletions wait until they are let go on."""

    def __init__(self, desk: Dispatcher) -> None:
        self.begun: list[str] = []
        self.goes_on = threading.Event()
        self._evict = desk._store.evict
        desk._store.evict = self.evict  # type: ignore[method-assign]

    def evict(self, digest: str) -> None:
        self.begun.append(digest)
        assert self.goes_on.wait(10)
        self._evict(digest)


def events(texts: list[str]) -> list:
    return [event_from_json(text) for text in texts]


def test_what_a_trial_needs_that_comes_while_others_are_deleted_is_not_deleted(machines, tmp_path):
    first, second = (training("text_nli", "", seed=seed) for seed in range(2))
    store = holding(tmp_path, first, second)

    async def story() -> None:
        desk = await begun(machines, tmp_path, storage_limit_bytes=1.0)
        deleting = SlowToDelete(desk)
        remembering = asyncio.ensure_future(desk.remember([first.digest, second.digest]))
        await until(lambda: deleting.begun == [first.digest])
        stage = training("visual_nli", second.digest, steps=LONG)
        submitting = asyncio.ensure_future(desk.submit("late", [second.to_json(), stage.to_json()]))
        await until(lambda: machines.hosts[0].done)
        deleting.goes_on.set()
        await asyncio.gather(remembering, submitting)
        assert deleting.begun == [first.digest]
        assert store.find(second.digest) is not None and store.find(first.digest) is None
        assert (await desk.status())["evicted"] == 1
        await desk.close(seconds=1)

    asyncio.run(story())


def test_what_a_trial_needs_that_comes_while_it_is_deleted_is_made_again_and_not_before_it_is_gone(machines, tmp_path):
    (first,) = (training("text_nli", ""),)
    holding(tmp_path, first)

    async def story() -> None:
        desk = await begun(machines, tmp_path, storage_limit_bytes=1.0)
        deleting = SlowToDelete(desk)
        remembering = asyncio.ensure_future(desk.remember([first.digest]))
        await until(lambda: deleting.begun == [first.digest])
        stage = training("visual_nli", first.digest)
        submitting = asyncio.ensure_future(desk.submit("late", [first.to_json(), stage.to_json()]))
        await until(lambda: "late" in desk._tickets)
        await asyncio.sleep(0.05)
        assert machines.hosts[0].done == []
        deleting.goes_on.set()
        ticket = (await asyncio.gather(remembering, submitting))[1]
        heard: list = []
        while len(heard) < 2:
            heard += events(await desk.next_events("late", ticket))
        assert [(type(event), event.digest) for event in heard] == [(Done, first.digest), (Done, stage.digest)]
        status = await desk.status()
        assert (status["remade"], status["executed"], status["failed"]) == (1, 2, 0)
        await desk.close(seconds=1)

    asyncio.run(story())


def test_weights_that_were_deleted_while_a_trial_looked_for_them_are_not_believed_to_be_there(machines, tmp_path):
    (first,) = (training("text_nli", ""),)
    store = holding(tmp_path, first)

    async def story() -> None:
        desk = await begun(machines, tmp_path, storage_limit_bytes=1.0)
        looked, goes_on, look = threading.Event(), threading.Event(), desk._outputs._look_up

        def look_up(digests: list[str]):
            found = look(digests)
            looked.set()
            assert goes_on.wait(10)
            return found

        desk._outputs._look_up = look_up  # type: ignore[method-assign]
        stage = training("visual_nli", first.digest)
        submitting = asyncio.ensure_future(desk.submit("late", [first.to_json(), stage.to_json()]))
        await until(looked.is_set)
        await desk.remember([first.digest])
        assert store.results(first.digest) is not None and store.find(first.digest) is None
        goes_on.set()
        await submitting
        await until(lambda: desk._board.counts["executed"] == 2)
        status = await desk.status()
        assert (status["remade"], status["executed"], status["failed"]) == (1, 2, 0)
        await desk.close(seconds=1)

    asyncio.run(story())


def test_what_a_trial_of_another_sweep_is_about_to_read_is_kept_while_that_sweep_runs(machines, tmp_path):
    theirs = training("text_nli", "")
    store = holding(tmp_path, theirs)

    async def story() -> None:
        other = await begun(machines, tmp_path, sweep="other")
        stage = training("visual_nli", theirs.digest, steps=LONG)
        await other.submit("trial", [theirs.to_json(), stage.to_json()])
        await other._outputs.pin()
        machines.room = lambda avoid: ""  # no gang of the other sweep's
        desk = await begun(machines, tmp_path, sweep="mine", storage_limit_bytes=1.0)
        await desk.remember([theirs.digest])
        assert store.find(theirs.digest) is not None
        await other.pause("stopped")
        await other.close(seconds=1)
        await desk.remember([theirs.digest])
        assert store.find(theirs.digest) is not None
        (said,) = tmp_path.rglob("other/pins.json")
        os.utime(said, times=(time.time() - NEEDED_SECONDS,) * 2)
        await desk.remember([theirs.digest])
        assert store.find(theirs.digest) is None
        await desk.close(seconds=1)

    asyncio.run(story())


def test_a_new_run_keeps_the_leaves_of_the_one_before_from_others_until_it_has_named_its_own(machines, tmp_path):
    before, better = (training("text_nli", "", seed=seed) for seed in range(2))
    holding(tmp_path, before, better)

    async def story() -> None:
        for first in (True, False):
            desk = await begun(machines, tmp_path, sweep="mine")
            others = PinFile(Store(tmp_path / "store"), "sweeps/other")
            said = others.others()["mine"]
            assert said.leaves == (() if first else (before.digest,))
            await desk.keep("cell", [before.digest if first else better.digest], [])
            await desk.remember([before.digest, better.digest], ["unfinished"])
            said = others.others()["mine"]
            assert said.leaves == ((before.digest,) if first else (better.digest,))
            assert said.open == ("unfinished",)
            await desk.close(seconds=1)

    asyncio.run(story())


def test_what_a_gang_has_made_counts_for_the_budget_as_soon_as_it_is_done(machines, tmp_path):
    made = training("text_nli", "")
    store = Store(tmp_path / "store")

    async def story() -> None:
        machines.room = lambda avoid: ""  # the test itself is the gang
        desk = await begun(machines, tmp_path, storage_limit_bytes=1.0)
        ticket = await desk.submit("trial", [made.to_json()])
        request = await desk.take("gang-0", "start", -1, 0, 1, "a")
        output = store.workspace(made.digest, request.attempt)
        (output / "weights").write_bytes(bytes(1000))
        store.commit(made, output, request.attempt, steps=made.steps, seconds=1.0)
        done = Done(digest=made.digest, steps_executed=made.steps, reused=False, seconds=1.0)
        await desk.report("gang-0", request.attempt, event_to_json(done))
        assert [type(event) for event in events(await desk.next_events("trial", ticket))] == [Done]
        assert store.find(made.digest) is None and store.results(made.digest) is not None
        await desk.close(seconds=1)

    asyncio.run(story())


@pytest.mark.parametrize("at_the_last_moment", [False, True])
def test_what_a_lost_attempt_has_written_is_deleted_at_the_end_and_not_before_unless_it_was_committed(
    machines, tmp_path, monkeypatch, at_the_last_moment
):
    monkeypatch.setattr(outputs, "LATE_SECONDS", 0.0)
    stage = training("text_nli", "", steps=LONG)
    store = Store(tmp_path / "store")

    async def story() -> None:
        desk = await begun(machines, tmp_path)
        await desk.submit("trial", [stage.to_json()])
        (host,) = machines.hosts
        ((_, attempt),) = await until(lambda: host.done)
        output = store.workspace(stage.digest, attempt)
        (output / "weights").write_bytes(bytes(1000))
        if at_the_last_moment:
            store.commit(stage, output, attempt, steps=stage.steps, seconds=1.0)
        machines.alive -= {host.node}
        await until(lambda: len(host.done) == 2)
        assert output.exists()
        await desk.close(seconds=1)
        assert output.exists() == at_the_last_moment
        assert (store.find(stage.digest) is not None) == at_the_last_moment

    asyncio.run(story())


@pytest.mark.parametrize("on", ["head", "elsewhere"])
def test_what_a_worker_of_the_dispatchers_own_machine_has_written_goes_as_soon_as_it_is_dead(machines, tmp_path, on):
    stage = training("text_nli", "", steps=LONG)
    worker = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])

    async def story() -> None:
        machines.room = lambda avoid: ""  # the test itself is the gang
        machines.alive |= {"head", "elsewhere"}
        desk = await begun(machines, tmp_path)
        await desk.submit("trial", [stage.to_json()])
        request = await desk.take("gang-0", "start", -1, 0, worker.pid, on, started_at(worker.pid))
        output = desk._store.workspace(stage.digest, request.attempt)
        (output / "weights").write_bytes(bytes(1000))
        worker.kill()
        await desk.take("gang-0", "again", -1, 0, 1, on)
        await until(lambda: not desk._outputs._clearing)
        assert output.exists() == (on == "elsewhere")
        await desk.close(seconds=1)

    asyncio.run(story())
    worker.wait()


def test_of_a_request_that_has_ended_nothing_is_looked_for_when_its_gang_is_lost(machines, tmp_path):
    async def story() -> None:
        machines.room = lambda avoid: ""  # the test itself is the gang
        desk = await begun(machines, tmp_path)
        ended, lost = training("text_nli", "", seed=1), training("text_nli", "", seed=2)
        for number, stage in enumerate((ended, lost)):
            await desk.submit(f"trial-{number}", [stage.to_json()])
            request = await desk.take("gang-0", f"start-{number}", number, 0, 1, "a")
            if stage is ended:
                done = Done(digest=stage.digest, steps_executed=1, reused=False, seconds=1.0)
                await desk.report("gang-0", request.attempt, event_to_json(done))
            await desk._roster.join("gang-0", f"start-{number + 1}")
        assert [digest for _, digest, _ in desk._outputs._lost] == [lost.digest]
        await desk.close(seconds=0.1)

    asyncio.run(story())


def test_a_sweep_that_closes_does_not_wait_long_for_what_is_left_to_be_deleted(machines, tmp_path, monkeypatch):
    monkeypatch.setattr(dispatcher, "TIDY_SECONDS", 0.05)
    goes_on = threading.Event()

    async def story() -> None:
        desk = await begun(machines, tmp_path)
        desk._outputs._clear = lambda attempts: goes_on.wait(20)  # type: ignore[method-assign]
        try:
            await asyncio.wait_for(desk.close(seconds=0.1), 10)
        finally:
            goes_on.set()

    asyncio.run(story())
