"""Claims about what gangs that are watched write down: what a killed process did is known from it alone."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import psutil

from tests.ray_local.stage_paths import path
from tests.soak import TITLES, Victims
from tests.witness import FOLDER, attempts, begun_when_done, in_mid_stage, rehearse_stage
from trainables.rehearsal import JsonCheckpoints
from trainables.store import Store

STAGES = path()


def rehearsed(store: Store, place: int, attempt: str, *, committed: bool = True) -> None:
    stage, parent = STAGES[place], STAGES[place - 1].digest if place else ""
    output = store.workspace(stage.digest, attempt)
    rehearse_stage(
        stage,
        parent=store.fetch(parent) if parent else None,
        output=output,
        cache=None,
        checkpoints=JsonCheckpoints(Path(store.uri) / "inflight" / stage.digest, interval_steps=10),
        report=lambda progress: None,
        cancelled=lambda: False,
        ranks=None,
    )
    if committed:
        store.commit(stage, output, attempt, steps=stage.steps, seconds=0.0)


def test_an_evaluation_that_is_begun_again_after_it_was_done_is_told_and_one_whose_attempt_was_lost_is_not(tmp_path):
    store = Store(str(tmp_path))
    for place in range(len(STAGES) - 1):
        rehearsed(store, place, "first")
    rehearsed(store, len(STAGES) - 1, "lost", committed=False)
    rehearsed(store, len(STAGES) - 1, "second")
    assert STAGES[-1].steps == 0 and begun_when_done(tmp_path) == []
    assert not in_mid_stage(tmp_path)
    trained = {stage.digest for stage in STAGES if stage.steps}
    assert {found[0].digest for found in attempts(tmp_path)} == trained
    rehearsed(store, len(STAGES) - 1, "third")
    assert begun_when_done(tmp_path) == [
        f"evaluate {STAGES[-1].digest} was done by attempt second, and third began after it"
    ]


def test_a_stage_whose_file_was_only_just_made_is_not_in_mid_stage_and_hides_none_that_is(tmp_path):
    begun = tmp_path / FOLDER
    begun.mkdir()
    (begun / STAGES[0].digest).touch()
    assert not in_mid_stage(tmp_path) and list(attempts(tmp_path)) == begun_when_done(tmp_path) == []
    (begun / STAGES[1].digest).write_text("first 3 9\n")
    assert in_mid_stage(tmp_path)


def test_a_process_that_has_just_forked_is_one_victim(tmp_path, monkeypatch):
    """Between its fork and what it runs then, a child of a raylet looks as the raylet does."""
    forks = "import os, time; os.fork(); time.sleep(60)"
    monkeypatch.setitem(TITLES, "forker", (f"{sys.executable} -c import os, time; os.fork()",))
    process = subprocess.Popen([sys.executable, "-c", forks], start_new_session=True)
    try:
        until = time.monotonic() + 30
        while not psutil.Process(process.pid).children() and time.monotonic() < until:
            time.sleep(0.01)
        assert psutil.Process(process.pid).children()
        assert Victims(tmp_path, SimpleNamespace(pid=os.getpid())).find("forker") == [process.pid]
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
