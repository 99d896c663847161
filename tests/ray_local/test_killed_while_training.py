"""Claims about sweeps that really train: they end on any number of processors, and whatever is killed in mid-stage."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.soak import faults, kill_until_done, lost_in
from tests.soak_sweep import TINY

ROOT = Path(__file__).parents[2]

ON_PROCESSORS = """
import sys
from dataclasses import replace
from sweep import run
from tests.soak_sweep import TINY
from trainables.dispatcher import start_local_ray
if __name__ == "__main__":
    processors, gangs, storage = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
    start_local_ray(cpus=processors)
    results = run(replace(TINY, gangs=replace(TINY.gangs, count=gangs)), storage)
    results.export()
    sys.exit(0 if results.complete else 1)
"""

#: A sweep that has not come to its end after this is taken for one that waits for ever.
LONGEST_SECONDS = 400


def trained_on(folder: Path, *, processors: int, gangs: int) -> Path:
    """The folder of a sweep that a Ray of so many processors has trained, in a process of its own."""
    script = folder / "on_processors.py"
    script.write_text(ON_PROCESSORS)
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    environment.pop("RAY_ADDRESS", None)
    words = [sys.executable, str(script), str(processors), str(gangs), str(folder / "storage")]
    ended = subprocess.run(words, env=environment, cwd=folder, timeout=LONGEST_SECONDS, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return folder


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    """The folder of the sweep as one gang on one processor trains it, without a kill."""
    return trained_on(tmp_path_factory.mktemp("whole"), processors=1, gangs=1)


@pytest.mark.killed
@pytest.mark.timeout(2 * LONGEST_SECONDS + 60)
def test_more_trials_than_gangs_that_train_end_on_one_processor_and_on_four_with_the_same_tables(whole, tmp_path):
    assert len(TINY.cells) * TINY.search.trials > 2
    assert lost_in(trained_on(tmp_path, processors=4, gangs=2), whole) == []


@pytest.mark.killed
@pytest.mark.timeout(600)
def test_a_driver_and_a_gang_worker_killed_in_the_middle_of_a_stage_cost_one_interval_each_and_nothing_else(
    whole, tmp_path
):
    toll = kill_until_done(tmp_path, kills=2, seed=3, sweep="TINY", victims={"driver": 1, "worker": 1})
    assert (toll.killed, toll.in_mid_stage) == ({"driver": 1, "worker": 1}, 2)
    again, wrong = faults(tmp_path, whole, toll, TINY)
    assert not wrong
    assert 0 < again <= 2 * TINY.gangs.checkpoint_interval_steps
