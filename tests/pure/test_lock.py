"""Claims about the lock: one process at a time runs a sweep, and a dead one keeps nobody out."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import pyarrow.fs as pafs
import pytest

from sweep import lock
from sweep.lock import held, holder
from sweep.stop_request import ask_to_stop, await_end
from trainables.faults import Invalid

ROOT = Path(__file__).parents[2]

HOLDING = """
import sys, time
import pyarrow.fs as pafs
from sweep.lock import held
with held(pafs.LocalFileSystem(), sys.argv[1], "mine"):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def place(tmp_path, monkeypatch) -> tuple[pafs.FileSystem, str]:
    monkeypatch.setattr(lock, "LOOKED_AT_SECONDS", 0.2)
    (tmp_path / "sweeps/mine").mkdir(parents=True)
    return pafs.LocalFileSystem(), str(tmp_path)


@pytest.fixture
def remote(tmp_path, monkeypatch) -> tuple[pafs.FileSystem, str]:
    """An object store, which has leases: any filesystem that is not plainly local."""
    monkeypatch.setattr(lock, "SETTLING_SECONDS", 0.0)
    (tmp_path / "sweeps/mine").mkdir(parents=True)
    return pafs.SubTreeFileSystem(str(tmp_path), pafs.LocalFileSystem()), ""


def test_a_second_process_is_refused_and_named_and_a_killed_holder_keeps_nobody_out(place):
    process = subprocess.Popen([sys.executable, "-c", HOLDING, place[1]], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "held\n"
    try:
        assert holder(*place, "mine")["process"] == process.pid
        with pytest.raises(Invalid, match=f"one process at a time may run it, got another: process {process.pid} on "):
            with held(*place, "mine"):
                pass
        with held(*place, "other"):
            pass
    finally:
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    assert holder(*place, "mine") is None
    with held(*place, "mine"):
        assert holder(*place, "mine")["process"] == os.getpid()
    assert holder(*place, "mine") is None


def test_a_second_run_in_the_same_process_is_refused_too(place):
    with held(*place, "mine"), pytest.raises(Invalid, match="wait for that one or stop it"):
        with held(*place, "mine"):
            pass


def test_whoever_looks_at_a_lock_is_not_taken_for_a_run_and_refuses_none(place, monkeypatch):
    monkeypatch.setattr(lock, "LOOKED_AT_SECONDS", 60.0)
    with held(*place, "mine"):
        pass
    with Path(place[1], "sweeps/mine/lock").open("rb") as looking:
        fcntl.flock(looking, fcntl.LOCK_SH)
        assert holder(*place, "mine") is None, "another looks at the same moment"
        threading.Timer(0.3, looking.close).start()
        with held(*place, "mine"):
            assert holder(*place, "mine")["process"] == os.getpid()


def test_on_an_object_store_a_lease_refuses_others_until_it_runs_out(remote):
    with held(*remote, "mine"):
        assert holder(*remote, "mine")["process"] == os.getpid()
        with pytest.raises(Invalid, match="one process at a time may run it"):
            with held(*remote, "mine"):
                pass
    assert holder(*remote, "mine") is None
    leave(remote, "gone", age=lock.LEASE_SECONDS + 1)
    assert holder(*remote, "mine") is None
    with held(*remote, "mine"):
        assert holder(*remote, "mine")["host"] != "gone"


def leave(remote, host: str, *, age: float) -> None:
    """A lease that another machine wrote so many seconds ago and has not renewed."""
    wrote = time.time() - age
    left = {"host": host, "process": 1, "since": "then", "lease": "x", "expires": wrote + lock.LEASE_SECONDS}
    with remote[0].open_output_stream("sweeps/mine/lease.json") as stream:
        stream.write(json.dumps(left).encode())
    os.utime(Path(remote[0].base_path) / "sweeps/mine/lease.json", (wrote, wrote))


def read(remote) -> bytes:
    return remote[0].open_input_stream("sweeps/mine/lease.json").read()


def at(monkeypatch, seconds: float) -> None:
    """Have the clock of this machine go ahead by so much from now on, or go after."""
    true = time.time
    monkeypatch.setattr(lock, "time", SimpleNamespace(**vars(time) | {"time": lambda: true() + seconds}))


@pytest.mark.parametrize("ahead", [-3600.0, 3600.0])
def test_a_machine_whose_clock_is_wrong_takes_no_lease_that_is_held_and_every_one_that_ran_out(
    remote, monkeypatch, ahead
):
    with held(*remote, "mine"):
        at(monkeypatch, ahead)
        with pytest.raises(Invalid, match="one process at a time may run it"), held(*remote, "mine"):
            pass
        asked = ask_to_stop(*remote, "mine")
        assert asked and asked["process"] == os.getpid()
        assert not await_end(*remote, "mine", asked, seconds=0), "it runs still"
        left = sorted(path.name for path in Path(remote[0].base_path, "sweeps/mine").iterdir())
        assert left == ["lease.json", "stop.json"]
    assert await_end(*remote, "mine", asked, seconds=0)
    leave(remote, "gone", age=lock.LEASE_SECONDS + 1)
    assert await_end(*remote, "mine", json.loads(read(remote)), seconds=0)
    with held(*remote, "mine"):
        assert json.loads(read(remote))["host"] != "gone"


def test_where_the_storage_states_no_times_the_clocks_of_the_machines_count(remote, monkeypatch):
    monkeypatch.setattr(lock, "_age", lambda *_: None)
    leave(remote, "other", age=10)
    with pytest.raises(Invalid, match="process 1 on other"), held(*remote, "mine"):
        pass
    at(monkeypatch, lock.LEASE_SECONDS)
    with held(*remote, "mine"):
        pass


def test_a_lease_of_a_process_of_this_machine_that_lives_no_more_keeps_nobody_out(remote):
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    left = lock._me() | {"process": ended.pid, "lease": "x", "expires": time.time() + 60}
    for change, taken in (({}, True), ({"host": "other"}, False), ({"boot": "before"}, False), ({"process": 1}, False)):
        with remote[0].open_output_stream("sweeps/mine/lease.json") as stream:
            stream.write(json.dumps(left | change).encode())
        if taken:
            with held(*remote, "mine"):
                pass
        else:
            with pytest.raises(Invalid, match="one process at a time may run it"), held(*remote, "mine"):
                pass


def test_of_two_that_take_a_lease_at_once_the_one_that_wrote_first_gives_way(remote, monkeypatch):
    def another_comes(seconds: float) -> None:
        other = {"host": "other", "process": 2, "since": "now", "lease": "x", "expires": time.time() + 60}
        with remote[0].open_output_stream("sweeps/mine/lease.json") as stream:
            stream.write(json.dumps(other).encode())

    monkeypatch.setattr(lock.time, "sleep", another_comes)
    with pytest.raises(Invalid, match="process 2 on other"):
        with held(*remote, "mine"):
            pass


def test_a_lease_is_renewed_while_it_is_held_and_not_after_it_was_taken_over(remote, monkeypatch):
    monkeypatch.setattr(lock, "LEASE_SECONDS", 2.0)

    def until() -> float:
        with remote[0].open_input_stream("sweeps/mine/lease.json") as stream:
            text = stream.read()
        return json.loads(text)["expires"] if text.endswith(b"}") else 0.0  # it may be half written

    with held(*remote, "mine"):
        first, stop = until(), time.monotonic() + 60  # no claim is made of how soon a busy machine comes to it
        while not (renewed := until() > first) and time.monotonic() < stop:
            time.sleep(0.02)
        assert renewed


def outage(monkeypatch) -> list[bool]:
    """Whether the storage of leases is out of reach, to be changed by the test."""
    down = [False]
    read, put = lock.read_json, lock.put_whole

    def reading(*what):
        if down[0]:
            raise OSError("the line is dead")
        return read(*what)

    def putting(*what):
        if down[0]:
            raise OSError("the line is dead")
        return put(*what)

    monkeypatch.setattr(lock, "read_json", reading)
    monkeypatch.setattr(lock, "put_whole", putting)
    return down


def soon(holds) -> bool:
    stop = time.monotonic() + 60
    while not holds() and time.monotonic() < stop:
        time.sleep(0.01)
    return bool(holds())


def test_an_outage_of_the_storage_that_ends_in_time_costs_no_lease(remote, monkeypatch, caplog):
    monkeypatch.setattr(lock, "LEASE_SECONDS", 1.0)
    monkeypatch.setattr(lock, "LOST_SECONDS", 600.0)
    down = outage(monkeypatch)
    with held(*remote, "mine") as hold:
        down[0] = True
        assert soon(lambda: "was not renewed (the line is dead); trying again" in caplog.text)
        down[0] = False
        assert soon(lambda: holder(*remote, "mine")) and not hold.lost
        gone = (holder(*remote, "mine") or {})["expires"]
        assert soon(lambda: (holder(*remote, "mine") or {"expires": 0})["expires"] > gone)


def test_whoever_cannot_renew_its_lease_is_told_to_stop_before_another_may_begin(remote, monkeypatch):
    assert lock.LOST_SECONDS < lock.LEASE_SECONDS
    monkeypatch.setattr(lock, "LEASE_SECONDS", 1.0)
    monkeypatch.setattr(lock, "LOST_SECONDS", 0.5)
    down, told = outage(monkeypatch), []
    with held(*remote, "mine") as hold:
        hold.when_lost(told.append)
        down[0] = True
        assert soon(lambda: told)
        assert told[0].startswith("the lease of sweep 'mine' could not be renewed for ")
        assert hold.lost == told[0]
        hold.when_lost(told.append)
        assert told == [hold.lost] * 2, "whoever comes late hears of it at once"


def test_whoever_sees_its_lease_taken_is_told_to_stop_and_leaves_it_to_the_other(remote, monkeypatch):
    monkeypatch.setattr(lock, "LEASE_SECONDS", 1.0)
    told = []
    with held(*remote, "mine") as hold:
        hold.when_lost(told.append)
        other = {"host": "other", "process": 2, "since": "now", "lease": "x", "expires": time.time() + 60}
        with remote[0].open_output_stream("sweeps/mine/lease.json") as stream:
            stream.write(json.dumps(other).encode())
        assert soon(lambda: told)
    assert told == ["another process (process 2 on other, since now) has taken the lease of sweep 'mine'"]
    assert (holder(*remote, "mine") or {})["host"] == "other"
