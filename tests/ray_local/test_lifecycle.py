"""Claims about what happens to a running sweep: kills at random, Ctrl-C, a hang, a full disk, a budget of bytes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import pytest

from sweep import launch, run
from sweep.launch import Interrupted
from sweep.lock import Hold
from tests.ray_local.stage_paths import path, training
from tests.ray_local.test_gangs_and_dispatcher import Desk
from tests.ray_local.test_sweep_rehearsal import ONE, SLOW, counts, tables
from tests.soak import VICTIMS, Victims, faults, kill_until_done, lost_in, run_again, said_in, start
from tests.soak_sweep import REHEARSED
from tests.witness import attempts
from trainables.dispatcher import close, start_dispatcher
from trainables.gangs import GangKind, Gangs, Runner
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
def test_a_budget_of_bytes_is_kept_by_making_stages_again_and_changes_no_table(cluster, tmp_path):
    free = run(replace(SLOW, gangs=ONE), tmp_path / "free")
    tight = run(replace(SLOW, gangs=ONE, storage_limit_bytes=1.0), tmp_path / "tight")
    assert tables(tight, tmp_path / "a") == tables(free, tmp_path / "b")
    assert counts(tight)["evicted"] > 0 and counts(tight)["remade"] > 0
    assert counts(free)["remade"] == 0
    manifests = len(list((tmp_path / "tight/stages").glob("*/manifest.json")))
    assert manifests < len(list((tmp_path / "free/stages").glob("*/manifest.json")))


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


@pytest.mark.timeout(300)
def test_a_sweep_stops_at_its_ceiling_of_node_hours_and_a_run_after_it_counts_on(cluster, tmp_path):
    capped = replace(SLOW, gangs=replace(ONE, rehearsal_step_seconds=0.01, node_hours=1e-5))
    for _ in range(2):
        with pytest.raises(Interrupted, match=r"the machines have stood for the 1e-05 node-hours .* over all runs"):
            run(capped, tmp_path)
    spent = json.loads((tmp_path / "sweeps/small/spent.json").read_text())
    assert spent["node_hours"] >= 1e-5
    assert run(replace(SLOW, gangs=ONE), tmp_path).complete


# In processes of their own


@pytest.fixture(scope="module")
def uninterrupted(cluster, tmp_path_factory) -> Path:
    """The folder of a run that was never interrupted and did not dawdle."""
    folder = tmp_path_factory.mktemp("uninterrupted")
    run(replace(REHEARSED, gangs=ONE), folder / "storage").export()
    return folder


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
    assert not wrong
    for found in attempts(tmp_path / "storage"):
        if before := stopped.get(found[0].digest):
            assert found[len(before)].first == before[-1].last + 1, "a stop in good order repeats no step"


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


@pytest.mark.timeout(600)
def test_a_sweep_of_which_anything_is_killed_at_random_moments_ends_as_one_that_never_was(uninterrupted, tmp_path):
    toll = kill_until_done(tmp_path, kills=10, seed=20)
    assert sum(toll.killed.values()) == 10 and set(toll.killed) == set(VICTIMS) and toll.in_mid_stage
    again, wrong = faults(tmp_path, uninterrupted, toll, REHEARSED)
    assert not wrong
    assert again, "no kill has cost a step: the claim would be empty"
