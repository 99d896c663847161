"""Claims about processes that are frozen, not dead: of a trial, of a gang, and about a dispatcher that stood still."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from sweep import Results, run
from sweep.records import State
from tests.ray_local.fake_runner import FAKE
from tests.ray_local.machines import begun, until
from tests.ray_local.stage_paths import training
from tests.ray_local.test_gangs_and_dispatcher import Desk
from tests.ray_local.test_sweep_rehearsal import ONE
from tests.soak import Victims, lost_in, said_in, start
from tests.soak_sweep import REHEARSED
from trainables import dispatcher as module
from trainables.dispatcher import SIGN_SECONDS, close, start_dispatcher
from trainables.gangs import Gangs
from trainables.processes import started_at
from trainables.scores import Done
from trainables.store import Store


@pytest.fixture
def sleepers():
    """Two processes that do nothing."""
    processes = [subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]) for _ in range(2)]
    yield processes
    for process in processes:
        process.kill()
        process.wait()


@pytest.fixture
def hurried(machines, monkeypatch):
    """Signs of life twenty times a second, and a process that gives none for half a second is frozen."""
    monkeypatch.setattr(module, "SIGN_SECONDS", 0.05)
    monkeypatch.setattr(module, "FROZEN_SECONDS", 0.5)
    return machines


def names(process: subprocess.Popen) -> tuple[int, int]:
    return process.pid, started_at(process.pid)


def test_a_trials_process_that_gives_no_sign_of_life_is_ended_and_one_that_does_is_not(hurried, sleepers, tmp_path):
    frozen, lives = sleepers

    async def story() -> None:
        desk = await begun(hurried, tmp_path)
        await desk.lives(*names(frozen))
        stop = time.monotonic() + 10
        while frozen.poll() is None and time.monotonic() < stop:
            await desk.lives(*names(lives))
            await asyncio.sleep(0.02)
        assert (frozen.poll(), lives.poll()) == (-signal.SIGKILL, None)
        (said,) = (await desk.status())["notices"]
        assert said.startswith(f"the process of a trial, {frozen.pid}, gave no sign of life for 0.5 s and was ended")
        await desk.close(seconds=1)

    asyncio.run(story())


def test_what_could_not_be_ended_once_does_not_end_the_watch(hurried, sleepers, tmp_path, monkeypatch, caplog):
    frozen, _ = sleepers
    usual, failed = module.end, []

    def refused(*process: int) -> bool:
        if failed:
            return usual(*process)
        failed.append(process)
        raise PermissionError("another user's")

    monkeypatch.setattr(module, "end", refused)

    async def story() -> None:
        desk = await begun(hurried, tmp_path)
        await desk.lives(*names(frozen))
        await until(lambda: bool(failed))
        await desk.lives(*names(frozen))
        await until(lambda: frozen.poll() is not None)
        await desk.close(seconds=1)

    asyncio.run(story())
    assert "what gives no sign of life could not be ended: another user's" in caplog.text


def test_a_dispatcher_that_stood_still_itself_ends_nobody_for_it(hurried, sleepers, tmp_path):
    async def story() -> None:
        desk = await begun(hurried, tmp_path)
        for _ in range(3):
            for process in sleepers:
                await desk.lives(*names(process))
            desk._slots["gang-0"].heard = {0: (time.monotonic(), 0.0)}
            await asyncio.sleep(0.06)
            time.sleep(module.STILL_SECONDS + 0.5)
            await asyncio.sleep(0.1)
        assert [process.poll() for process in sleepers] == [None, None]
        assert (await desk.status())["notices"] == []
        ((when, _),) = desk._slots["gang-0"].heard.values()
        assert time.monotonic() - when < 0.5
        await until(lambda: all(process.poll() is not None for process in sleepers))
        await desk.close(seconds=1)

    asyncio.run(story())


def test_a_silent_rank_is_ended_first_and_its_host_only_where_that_was_of_no_use(hurried, tmp_path, monkeypatch):
    async def story() -> None:
        hurried.room = lambda avoid: ""  # the test itself is the gang
        desk = await begun(hurried, tmp_path, patience_seconds=0.2)
        ended: list = []
        monkeypatch.setattr(desk._roster._cluster, "end_process", lambda *place: ended.append(place))
        monkeypatch.setattr(desk._roster._cluster, "end_start", ended.append)
        await desk.submit("trial", [training("text_nli", "", steps=1000).to_json()])
        await desk.take("gang-0", "one", -1, 0, 7, "a", 70)
        await until(lambda: len(ended) == 2)
        assert ended == [("a", 7, 70), hurried.hosts[0]]
        await desk.take("gang-0", "two", -1, 0, 8, "a", 80)
        await until(lambda: len(ended) == 3)
        assert ended[2] == ("a", 8, 80)
        assert (await desk.status())["notices"][0].startswith("gang-0: rank 0 gave no sign of life for 0 s")
        await desk.close(seconds=1)

    asyncio.run(story())


#: A frozen trial is given the time of a frozen worker where that is shorter.
IMPATIENT = """
from dataclasses import replace
from tests.soak_sweep import REHEARSED
sweep = replace(REHEARSED, gangs=replace(REHEARSED.gangs, patience_seconds=5.0))
"""


@pytest.mark.killed
@pytest.mark.timeout(400)
def test_a_sweep_whose_trials_are_frozen_ends_as_one_that_never_was(cluster, tmp_path, tmp_path_factory):
    whole = tmp_path_factory.mktemp("whole")
    run(replace(REHEARSED, gangs=ONE), whole / "storage").export()
    process = start(tmp_path, definition=IMPATIENT)
    victims = Victims(tmp_path, process)
    victims.await_fragments(4)
    frozen = victims.find("trial")
    assert frozen
    for one in frozen:
        os.kill(one, signal.SIGSTOP)
    began = time.monotonic()
    try:
        assert process.wait(timeout=200) == 0, said_in(tmp_path)
    finally:
        left = [one for one in frozen if psutil.pid_exists(one) and psutil.Process(one).status() == "stopped"]
        for one in left:
            os.kill(one, signal.SIGKILL)
    assert left == [] and time.monotonic() - began > SIGN_SECONDS
    assert "gave no sign of life for 20 s and was ended" in said_in(tmp_path)
    assert lost_in(tmp_path, whole) == []
    records = Results.open(str(tmp_path / "storage")).standing().records.values()
    assert {record.state for record in records} <= {State.FINISHED, State.PRUNED}


@pytest.mark.killed
@pytest.mark.timeout(300)
def test_a_worker_that_is_frozen_is_ended_and_its_processors_go_to_the_one_that_goes_on(cluster, tmp_path):
    desk = Desk.__new__(Desk)
    desk.store, desk.tickets = Store(tmp_path / "store"), {}
    desk.gangs = Gangs(cpus_per_worker=2.0, patience_seconds=5.0, checkpoint_interval_steps=10)
    desk.handle = start_dispatcher(
        desk.gangs, store=desk.store.uri, cache=tmp_path / "cache", name="frozen", runner=FAKE
    )
    frozen = 0
    try:
        stage = training("slow_nli", "", steps=300)
        desk.submit("frozen", (stage,))
        stop = time.monotonic() + 60
        while not list((tmp_path / "store/inflight").glob("*/step-*")) and time.monotonic() < stop:
            time.sleep(0.02)
        frozen = desk.status()["processes"]["gang-0"][0]
        os.kill(frozen, signal.SIGSTOP)
        events = desk.until_end("frozen", (stage,), seconds=150)
        assert isinstance(events[-1], Done) and 0 < events[-1].steps_executed < stage.steps
        status = desk.status()
        assert any("rank 0 gave no sign of life for 20 s, and was ended" in text for text in status["notices"])
        assert (status["lost"], status["failed"], status["gangs_started"]) == (1, 0, 1)
        assert not Path(f"/proc/{frozen}").exists() or psutil.Process(frozen).status() != "stopped"
    finally:
        close(desk.handle)
        if frozen and Path(f"/proc/{frozen}").exists():
            os.kill(frozen, signal.SIGKILL)
