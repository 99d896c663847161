"""Claims about the status from another terminal, and about Ctrl-C once and twice."""

from __future__ import annotations

import json
import os
import signal
import threading
import time

import pytest

from sweep import lock
from sweep.live import COUNTS_FILE, FILE, STAGES, Live, live_lines
from sweep.lock import held
from sweep.results import Results
from sweep.stop_request import StopRequest
from sweep.stopping import Stopping
from tests.pure import fake_sweep as fake

SAID = {
    "steps_done": 1200,
    "steps_planned": 4800,
    "steps_per_second": 12.0,
    "seconds_left": 300.0,
    "stopping": "",
    "gangs": [{"gang": "gang-0", "doing": "train lab_nli, step 40 of 240"}, {"gang": "gang-1", "doing": "starts"}],
    "waiting": [{"trial": "nli/search/3", "reason": "for a free gang, 1 stages ahead"}],
    "cells": {"none": "its next confirmation waits for a gang; searches go first"},
    "notices": ["gang-1: rank 0 got on with nothing for 31 s"],
    "executed": 1234,
    "reused": 5,
    "queued": 2,
    "cancelled": 1,
    "duplicate": 0,
}


@pytest.fixture
def results(tmp_path) -> Results:
    fake.write(str(tmp_path))
    return Results.open(str(tmp_path), "fake")


def run_of(results: Results) -> dict:
    return StopRequest(*results.place, results.name).run


def until(what) -> None:
    stop = time.monotonic() + 10
    while not what() and time.monotonic() < stop:
        time.sleep(0.01)
    assert what()


def test_a_running_sweep_tells_another_terminal_its_gangs_rate_time_left_and_why_anything_waits(results, tmp_path):
    filesystem, root = results.place
    with held(filesystem, root, "fake"):
        live = Live(filesystem, f"{root}/sweeps/fake", lambda: SAID, run=run_of(results), interval_seconds=0.01).start()
        until((tmp_path / "sweeps/fake" / FILE).exists)
        said = live_lines(results)
        live.close()
        assert "its gangs are starting, or it is about to end" in live_lines(results)
    assert f"process {os.getpid()} on " in said and " runs it, since " in said
    assert "1,200 of 4,800 optimiser steps, 12.0 steps/s, about 5 min left, until " in said
    assert "\nin this run: stages 1,234 executed, 5 reused, 2 queued, 1 cancelled, 0 duplicate\n" in said
    assert "  gang-0: train lab_nli, step 40 of 240\n  gang-1: starts\n" in said
    assert "  nli/search/3 waits for a free gang, 1 stages ahead\n" in said
    assert "  none: its next confirmation waits for a gang; searches go first" in said
    assert "  note: gang-1: rank 0 got on with nothing for 31 s" in said
    assert live_lines(results) == "no process runs it now"
    (tmp_path / "sweeps/fake" / COUNTS_FILE).write_text('{"gangs_started": 1, "executed": 7, "reused": 2}')
    assert live_lines(results) == "no process runs it now; its last run to the end: stages 7 executed, 2 reused"


def test_what_an_earlier_version_says_of_a_running_sweep_is_shown_without_its_stages(results, tmp_path):
    filesystem, root = results.place
    said = {name: value for name, value in SAID.items() if name not in STAGES}
    with held(filesystem, root, "fake"):
        (tmp_path / "sweeps/fake" / FILE).write_text(json.dumps(said | {"written": time.time()}))
        assert "stages" not in live_lines(results).partition("\n")[2].replace("1 stages ahead", "")


def test_what_a_killed_run_said_last_is_not_told_of_the_run_that_has_just_begun(results, tmp_path, monkeypatch):
    filesystem, root = results.place
    said = tmp_path / "sweeps/fake" / FILE
    with held(filesystem, root, "fake"):
        live = Live(filesystem, f"{root}/sweeps/fake", lambda: SAID, run=run_of(results), interval_seconds=60).start()
        until(said.exists)
        assert "in this run: stages 1,234 executed" in live_lines(results)
        left = said.read_bytes()
        live.close()
    said.write_bytes(left)  # a killed run takes nothing away
    assert live_lines(results) == "no process runs it now"
    me = lock._me()
    monkeypatch.setattr(lock, "_me", lambda: me | {"since": "2031-01-01 00:00:00+00:00"})
    with held(filesystem, root, "fake"):
        head = f"process {os.getpid()} on {me['host']} runs it, since 2031-01-01 00:00:00+00:00"
        assert live_lines(results) == f"{head}; its gangs are starting, or it is about to end"
        live = Live(filesystem, f"{root}/sweeps/fake", lambda: SAID, run=run_of(results), interval_seconds=60).start()
        until(lambda: said.exists() and said.read_bytes() != left)
        assert "in this run: stages 1,234 executed" in live_lines(results)
        live.close()


def test_a_status_that_is_old_says_so(results, tmp_path):
    filesystem, root = results.place
    with held(filesystem, root, "fake"):
        live = Live(filesystem, f"{root}/sweeps/fake", lambda: SAID, run=run_of(results), interval_seconds=60).start()
        until((tmp_path / "sweeps/fake" / FILE).exists)
        assert "said 10 min ago" in live_lines(results, now=lambda: time.time() + 600)
        live.close()


def test_a_status_that_cannot_be_asked_or_written_costs_nothing_but_itself(results, caplog):
    filesystem, root = results.place

    def broken() -> dict:
        raise OSError("no space left on device")

    live = Live(filesystem, f"{root}/sweeps/fake", broken, run={}, interval_seconds=0.01).start()
    until(lambda: "no space left on device" in caplog.text)
    live.close()


def test_a_status_that_cannot_be_written_is_said_once_until_it_could_be_written_again(results, caplog):
    filesystem, root = results.place
    answers = iter([OSError("full")] * 20 + [SAID] + [OSError("full")] * 1000)
    asked = []

    def ask() -> dict:
        asked.append(answer := next(answers))
        if isinstance(answer, OSError):
            raise answer
        return answer

    live = Live(filesystem, f"{root}/sweeps/fake", ask, run={}, interval_seconds=0.001).start()
    until(lambda: len(asked) > 40)
    live.close()
    assert caplog.text.count("the status of the sweep could not be written: full") == 2


def test_whoever_is_asked_to_stop_is_heeded_though_its_status_cannot_be_told(results):
    filesystem, root = results.place
    heeded = threading.Event()

    def broken() -> dict:
        raise OSError("no space left on device")

    live = Live(filesystem, f"{root}/sweeps/fake", broken, run={}, heed=heeded.set, interval_seconds=0.01).start()
    assert heeded.wait(5)
    live.close()


def test_a_status_is_told_though_it_cannot_be_seen_whether_the_sweep_shall_stop(results, tmp_path, caplog):
    filesystem, root = results.place

    def broken() -> None:
        raise OSError("the storage does not answer")

    live = Live(filesystem, f"{root}/sweeps/fake", lambda: SAID, run={}, heed=broken, interval_seconds=0.01).start()
    until((tmp_path / "sweeps/fake" / FILE).exists)
    live.close()
    assert "the storage does not answer" in caplog.text


def test_asked_otherwise_than_by_a_signal_a_sweep_is_asked_once_and_one_signal_more_still_only_asks():
    asked: list[str] = []
    heard = threading.Event()
    with Stopping(lambda: (asked.append("asked"), heard.set())) as stopping:
        stopping.ask_once()
        stopping.ask_once()
        assert (asked, stopping.asked, stopping.times) == (["asked"], True, 0)
        heard.clear()
        os.kill(os.getpid(), signal.SIGTERM)
        assert heard.wait(5) and stopping.times == 1


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_asks_and_the_second_interrupts(number):
    asked = threading.Event()
    before = signal.getsignal(number)
    with Stopping(asked.set) as stopping:
        os.kill(os.getpid(), number)
        assert asked.wait(5) and stopping.times == 1
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), number)
            time.sleep(5)
    assert stopping.times == 2
    assert signal.getsignal(number) is before


def test_in_another_thread_signals_are_left_alone():
    before = signal.getsignal(signal.SIGINT)

    def enter() -> None:
        with Stopping(lambda: None):
            assert signal.getsignal(signal.SIGINT) is before

    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()
