"""Claims about ending a process for certain."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from trainables.processes import end, is_gone, started_at


@pytest.fixture
def sleeper():
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    yield process
    process.kill()
    process.wait()


def test_a_process_that_is_frozen_is_ended(sleeper):
    os.kill(sleeper.pid, signal.SIGSTOP)
    assert end(sleeper.pid, started_at(sleeper.pid))
    assert sleeper.wait(timeout=10) == -signal.SIGKILL


def test_another_process_of_the_same_number_is_not_ended(sleeper):
    assert not end(sleeper.pid, started_at(sleeper.pid) - 1)
    assert not end(sleeper.pid, 0)
    assert sleeper.poll() is None


def test_a_process_that_is_gone_has_no_start_and_is_not_ended(sleeper):
    started = started_at(sleeper.pid)
    assert started > 0
    sleeper.kill()
    sleeper.wait()
    assert started_at(sleeper.pid) == 0 and not end(sleeper.pid, started)


def test_a_process_is_known_to_be_gone_when_it_is_dead_though_nobody_has_heard_of_it_and_not_before(sleeper):
    started = started_at(sleeper.pid)
    assert not is_gone(sleeper.pid, started, within_seconds=0.1)
    assert not is_gone(sleeper.pid, 0, within_seconds=0.1), "nobody said which"
    os.kill(sleeper.pid, signal.SIGKILL)
    assert is_gone(sleeper.pid, started) and started_at(sleeper.pid) == started, "it is not waited for yet"
    sleeper.wait()
    assert is_gone(sleeper.pid, started)


def test_of_two_processes_the_later_one_says_so(sleeper):
    assert started_at(os.getpid()) < started_at(sleeper.pid)
