"""Claims about what happens to a running sweep: kills at random, Ctrl-C, a hang, a full disk, a budget of bytes."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from contextlib import nullcontext, suppress
from dataclasses import replace
from pathlib import Path

import pytest
import ray

from search_spaces import Space
from sweep import launch, run
from sweep.launch import Interrupted
from sweep.lock import Hold
from tests.ray_local.fake_runner import HEAVY, HEAVY_BYTES
from tests.ray_local.stage_paths import path, training
from tests.ray_local.test_gangs_and_dispatcher import Desk
from tests.ray_local.test_sweep_rehearsal import ONE, SLOW, counts, tables
from tests.soak import VICTIMS, Victims, faults, kill_until_done, lost_in, run_again, said_in, start
from tests.soak_sweep import REHEARSED
from tests.witness import attempts, begun_when_done
from trainables.dispatcher import close, start_dispatcher
from trainables.gangs import RUNNERS, GangKind, Gangs, Runner
from trainables.scores import Done, Failed
from trainables.store import Store

FILLING = Runner(run="tests.ray_local.fake_runner:fill_disk_once", checkpoints="trainables.rehearsal:JsonCheckpoints")


def desk(folder: Path, name: str, **more) -> Desk:
    """A dispatcher with one rehearsal gang of another make than usual."""
    made = Desk.__new__(Desk)
    made.store = Store(folder / "store")
    made.tickets = {}
    runner, limit = more.pop("runner", None), more.pop("storage_limit_bytes", float("inf"))
    made.gangs = Gangs(kind=GangKind.REHEARSAL, checkpoint_interval_steps=10, **more)
    made.handle = start_dispatcher(
        made.gangs,
        store=made.store.uri,
        cache=folder / "cache",
        name=name,
        runner=runner,
        storage_limit_bytes=limit,
    )
    return made


@pytest.mark.timeout(120)
def test_a_worker_that_hangs_is_started_anew_and_its_trial_fails_with_the_reason(cluster, tmp_path):
    made = desk(tmp_path, "hanging", patience_seconds=1.0)
    try:
        events = made.run("hangs", (training("this_hangs", "", seed=1),))
        assert isinstance(events[-1], Failed) and not events[-1].of_machine
        assert "rank 0 got on with nothing for" in events[-1].reason
        assert "longer than patience_seconds (1)" in events[-1].reason
        assert isinstance(made.run("after", path(seed=2))[-1], Done)
        assert any("got on with nothing" in text for text in made.status()["notices"])
    finally:
        close(made.handle)


@pytest.mark.timeout(60)
def test_a_full_disk_pauses_a_stage_and_it_goes_on_when_there_is_room(cluster, tmp_path):
    made = desk(tmp_path, "filling", runner=FILLING)
    try:
        events = made.run("fills", path(seed=3))
        assert [type(event) for event in events if not hasattr(event, "losses")] == [Done] * 3
        full, on = [text for text in made.status()["notices"]][:2]
        assert full.startswith("the disk is full, and train ") and "No space left on device" in full
        assert on.endswith("goes on from its last checkpoint")
        assert made.status()["failed"] == made.status()["lost"] == 0
    finally:
        close(made.handle)


@pytest.mark.timeout(120)
def test_a_sweep_deletes_no_leaf_that_another_in_its_storage_keeps(cluster, tmp_path):
    first = run(replace(SLOW, gangs=ONE, search=replace(SLOW.search, trials=1)), tmp_path)
    other = run(replace(SLOW, name="other", gangs=ONE, search=replace(SLOW.search, trials=3)), tmp_path)
    leads = [results.standing().leaders() for results in (first, other)]
    overtaken = [cell for cell, record in leads[0].items() if leads[1][cell].target != record.target]
    assert overtaken
    store = Store(tmp_path)
    for results in (first, other):
        standing = results.standing()
        leaves = [standing.leaders()[cell.name] for cell in standing.cells]
        leaves += [record for cell in standing.cells for record in standing.confirmations(cell.name)]
        assert all(store.find(record.target) is not None for record in leaves)


@pytest.mark.timeout(120)
def test_where_nothing_is_searched_every_confirmation_keeps_its_weights(cluster, tmp_path):
    unsearched = replace(SLOW, gangs=ONE, search=replace(SLOW.search, trials=0), space=Space())
    results = run(
        replace(unsearched, cells=tuple(cell for cell in SLOW.cells if len(cell.intermediates) < 2)), tmp_path
    )
    standing, store = results.standing(), Store(tmp_path)
    runs = [record for cell in standing.cells for record in standing.confirmations(cell.name)]
    assert len(runs) == len(standing.cells) * len(SLOW.confirmation_seeds)
    assert all(store.find(record.target) is not None for record in runs)


@pytest.mark.timeout(60)
def test_a_run_whose_lease_is_lost_stops_and_leaves_open_what_is_open(cluster, tmp_path, monkeypatch):
    hold = Hold()
    hold.lose("another process has taken the lease")
    monkeypatch.setattr(launch, "held", lambda *_: nullcontext(hold))
    with pytest.raises(Interrupted, match=r"^another process has taken the lease\. Nothing is lost, and what was open"):
        run(replace(SLOW, gangs=ONE), tmp_path)
    assert not list((tmp_path / "stages").glob("*/manifest.json"))


@pytest.mark.timeout(60)
def test_ctrl_c_before_the_gangs_are_there_stops_in_good_order(cluster, tmp_path, monkeypatch):
    usual = launch.call_roll

    def interrupted(*what):
        usual(*what)
        os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(launch, "call_roll", interrupted)
    with pytest.raises(Interrupted, match=r"^the sweep was stopped\. Nothing is lost, and what was open"):
        run(replace(SLOW, gangs=ONE), tmp_path)
    assert not list((tmp_path / "stages").glob("*/manifest.json"))


@pytest.mark.timeout(60)
def test_a_dispatcher_that_dies_while_the_sweep_is_set_up_is_told_with_the_way_to_go_on(cluster, tmp_path, monkeypatch):
    from trainables import dispatcher

    def killed(*given, **more):
        handle = start_dispatcher(*given, **more)
        ray.kill(handle)
        ray.get(handle.status.remote())

    monkeypatch.setattr(dispatcher, "start_dispatcher", killed)
    with pytest.raises(
        Interrupted, match=r"^a process of Ray's died: .*\. Nothing is lost, and what was open stays open"
    ):
        run(replace(SLOW, gangs=ONE), tmp_path)


@pytest.mark.timeout(300)
def test_a_sweep_stops_at_its_ceiling_of_node_hours_and_a_run_after_it_counts_on(cluster, tmp_path):
    capped = replace(SLOW, gangs=replace(ONE, rehearsal_step_seconds=0.01, node_hours=1e-5))
    for _ in range(2):
        with pytest.raises(Interrupted, match=r"the machines have stood for the 1e-05 node-hours .* over all runs"):
            run(capped, tmp_path)
    spent = json.loads((tmp_path / "sweeps/small/spent.json").read_text())
    assert spent["node_hours"] >= 1e-5
    assert run(replace(SLOW, gangs=ONE), tmp_path).complete


#: Ten outputs' worth for the gang at work, the best leaves of two cells and their confirmations, what is read and what
#: has just been written, and a seventeenth for what is small.
LIMIT_BYTES = 17 * HEAVY_BYTES

LIMITED = replace(
    SLOW,
    search=replace(SLOW.search, trials=4, fan_out=1),
    gangs=replace(ONE, rehearsal_step_seconds=0.01, checkpoint_interval_steps=10),
    storage_limit_bytes=LIMIT_BYTES,
)


class HighWater:
    """The most bytes that outputs and checkpoints took in a storage at any of many moments."""

    def __init__(self, storage: Path) -> None:
        self.bytes, self.moments = 0, 0
        self._storage, self._ended = storage, threading.Event()
        self._thread = threading.Thread(target=self._look)

    def __enter__(self) -> HighWater:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._ended.wait(0.005):
            # What is renamed while it is counted would count twice.
            sizes = {}
            for place, _, names in (*os.walk(self._storage / "stages"), *os.walk(self._storage / "inflight")):
                for name in names:
                    with suppress(FileNotFoundError):
                        seen = (Path(place) / name).stat()
                        sizes[seen.st_ino] = seen.st_size
            self.bytes, self.moments = max(self.bytes, sum(sizes.values())), self.moments + 1


@pytest.mark.timeout(240)
def test_a_budget_of_bytes_is_kept_at_every_moment_by_making_stages_again_and_changes_no_table(
    cluster, tmp_path, monkeypatch
):
    monkeypatch.setitem(RUNNERS, GangKind.REHEARSAL, HEAVY)
    with HighWater(tmp_path / "free") as free:
        without = run(replace(LIMITED, storage_limit_bytes=float("inf")), tmp_path / "free")
    with HighWater(tmp_path / "tight") as tight:
        within = run(LIMITED, tmp_path / "tight")
    assert min(free.moments, tight.moments) > 100
    assert tight.bytes <= LIMIT_BYTES < free.bytes
    assert tables(within, tmp_path / "a") == tables(without, tmp_path / "b")
    assert counts(within)["evicted"] > counts(without)["evicted"]


# In processes of their own

HEAVY_DEFINITION = """
from tests.ray_local.fake_runner import HEAVY
from tests.ray_local.test_lifecycle import LIMITED
from trainables.gangs import RUNNERS, GangKind
RUNNERS[GangKind.REHEARSAL] = HEAVY
sweep = LIMITED
"""


@pytest.mark.killed
@pytest.mark.timeout(500)
def test_a_budget_of_bytes_is_kept_at_every_moment_whatever_is_killed_and_nothing_is_left_over(tmp_path):
    chance, killed = random.Random(3), Counter[str]()
    with HighWater(tmp_path / "storage") as seen:
        for victim in ("worker", "driver", "worker", "driver", ""):
            process = start(tmp_path, definition=HEAVY_DEFINITION)
            victims = Victims(tmp_path, process)
            stop = time.monotonic() + chance.uniform(6, 9)
            while victim and process.poll() is None:
                time.sleep(0.05)
                if time.monotonic() > stop and (found := victims.find(victim)):
                    os.kill(found[0], signal.SIGKILL)
                    killed[victim] += 1
                    victim = "" if victim == "driver" else "driver"
                    stop = time.monotonic() + chance.uniform(1, 3)
            process.wait(timeout=200)
    assert process.returncode == 0, said_in(tmp_path)
    assert killed["driver"] >= 3 and killed["worker"] >= 2
    assert seen.moments > 100 and seen.bytes <= LIMIT_BYTES
    for stage in (tmp_path / "storage/stages").iterdir():
        attempts = [path.name for path in stage.iterdir() if path.is_dir()]
        manifest = Store(tmp_path / "storage").find(stage.name)
        assert attempts == ([manifest.attempt] if manifest else [])
    assert not list((tmp_path / "storage").rglob("*.part")) and not list(
        (tmp_path / "storage/inflight").rglob("step-*")
    )


@pytest.fixture(scope="module")
def uninterrupted(cluster, tmp_path_factory) -> Path:
    """The folder of a run that was never interrupted and did not dawdle."""
    folder = tmp_path_factory.mktemp("uninterrupted")
    run(replace(REHEARSED, gangs=ONE), folder / "storage").export()
    return folder


@pytest.mark.killed
@pytest.mark.timeout(400)
def test_ctrl_c_once_and_twice_lose_nothing_and_meanwhile_a_second_run_is_refused(uninterrupted, tmp_path):
    process = start(tmp_path)
    victims = Victims(tmp_path, process)
    victims.await_fragments(4)
    again = subprocess.run(victims.command, env=victims.environment, capture_output=True, text=True)
    assert again.returncode == 2
    assert f"one process at a time may run it, got another: process {process.pid} on " in again.stderr
    status = [sys.executable, "-m", "sweep.cli", "status", *victims.command[-3:]]
    said = subprocess.run(status, env=victims.environment, capture_output=True, text=True).stdout
    assert f"process {process.pid} on " in said and "optimiser steps" in said and "gang-0: " in said

    victims.await_steps()
    os.killpg(process.pid, signal.SIGINT)
    assert process.wait(timeout=120) == 1
    out = said_in(tmp_path)
    assert "stopping: each gang ends its step and writes a checkpoint" in out
    assert "the sweep was stopped. Nothing is lost" in out and f"sweep run {victims.command[-3]}" in out
    assert "Traceback" not in out
    open_now = {path.parent.name for path in tmp_path.glob("storage/inflight/*/step-*")}
    stopped = {found[0].digest: found for found in attempts(tmp_path / "storage") if found[0].digest in open_now}
    assert stopped, "it was stopped in the middle of a stage, and left a checkpoint"

    process = start(tmp_path)
    Victims(tmp_path, process).await_steps()
    os.killpg(process.pid, signal.SIGINT)
    while "stopping: " not in said_in(tmp_path):  # two signals at once are one
        assert process.poll() is None, said_in(tmp_path)
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGINT)
    assert process.wait(timeout=30) == 130
    assert f"stopped at once. To go on: sweep run {victims.command[-3]}" in said_in(tmp_path)

    process = start(tmp_path)
    assert process.wait(timeout=300) == 0, said_in(tmp_path)
    assert lost_in(tmp_path, uninterrupted) == []
    _, wrong = run_again(tmp_path, REHEARSED.gangs.checkpoint_interval_steps)
    assert not wrong and not begun_when_done(tmp_path / "storage")
    for found in attempts(tmp_path / "storage"):
        before = stopped.get(found[0].digest, found)
        for one in found[len(before) : len(before) + 1]:  # none where the trial was pruned meanwhile
            assert one.first == before[-1].last + 1, "a stop in good order repeats no step"


@pytest.mark.killed
@pytest.mark.timeout(500)
def test_a_sweep_that_is_stopped_through_its_storage_saves_and_says_how_to_go_on_and_the_next_run_is_not_stopped(
    uninterrupted, tmp_path
):
    process = start(tmp_path)
    victims = Victims(tmp_path, process)
    stop = [sys.executable, "-m", "sweep.cli", "stop", *victims.command[-3:]]
    victims.await_fragments(4)
    asked = subprocess.run(stop, env=victims.environment, capture_output=True, text=True, timeout=120)
    process.wait(timeout=30)
    out = said_in(tmp_path)
    assert (asked.returncode, process.returncode) == (0, 1), asked.stderr + out
    assert asked.stdout.startswith(f"process {process.pid} on ") and "goes on with what is open" in asked.stdout
    assert "stopping: each gang ends its step and writes a checkpoint" in out
    assert "the sweep was stopped. Nothing is lost" in out and f"sweep run {victims.command[-3]}" in out
    assert "Traceback" not in out

    again = subprocess.run(stop, env=victims.environment, capture_output=True, text=True, timeout=60)
    assert (again.returncode, again.stdout) == (0, "no process runs it now\n")
    assert not list(tmp_path.glob("storage/sweeps/*/stop.json"))
    (tmp_path / "storage/sweeps/small/stop.json").write_text('{"host": "x", "boot": "", "process": 1, "since": "then"}')
    process = start(tmp_path)
    assert process.wait(timeout=300) == 0, said_in(tmp_path)
    assert lost_in(tmp_path, uninterrupted) == []


@pytest.mark.killed
@pytest.mark.timeout(300)
@pytest.mark.parametrize("victim", ["raylet", "dispatcher"])
def test_a_run_that_loses_its_raylet_or_its_dispatcher_ends_by_itself_and_the_next_goes_on(
    uninterrupted, tmp_path, victim
):
    process = start(tmp_path)
    victims = Victims(tmp_path, process)
    victims.await_steps()
    (found,) = victims.find(victim)
    os.kill(found, signal.SIGKILL)
    assert process.wait(timeout=90) == 1
    out = said_in(tmp_path)
    assert "the dispatcher's process died: " in out and "Nothing is lost, and what was open stays open" in out
    assert f"sweep run {victims.command[-3]}" in out and "Traceback" not in out

    process = start(tmp_path)
    assert process.wait(timeout=200) == 0, said_in(tmp_path)
    assert lost_in(tmp_path, uninterrupted) == []
    assert run_again(tmp_path, REHEARSED.gangs.checkpoint_interval_steps)[1] == []


@pytest.mark.killed
@pytest.mark.timeout(600)
def test_a_sweep_of_which_anything_is_killed_at_random_moments_ends_as_one_that_never_was(uninterrupted, tmp_path):
    toll = kill_until_done(tmp_path, kills=10, seed=20)
    assert sum(toll.killed.values()) == 10 and set(toll.killed) == set(VICTIMS) and toll.in_mid_stage
    again, wrong = faults(tmp_path, uninterrupted, toll, REHEARSED)
    assert not wrong
    assert again, "no kill has cost a step: the claim would be empty"
