"""Claims about ending a process for certain."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from trainables.processes import end, started_at


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


def test_of_two_processes_the_later_one_says_so(sleeper):
    assert started_at(os.getpid()) < started_at(sleeper.pid)
