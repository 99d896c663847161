"""What the soak kills: a rehearsal on two gangs, and a sweep that trains a tiny model, both with many checkpoints."""

from __future__ import annotations

from dataclasses import replace

from sweep.definition import Search
from tests.benchmarks.bench_overhead import tiny_sweep
from tests.ray_local.test_sweep_rehearsal import SLOW
from trainables.gangs import Gangs

INTERVAL_STEPS = 7

#: Two cells of two trials on two gangs, 1 s to 5 s for each stage that trains.
REHEARSED = replace(
    SLOW, gangs=replace(SLOW.gangs, rehearsal_step_seconds=0.05, checkpoint_interval_steps=INTERVAL_STEPS)
)

_TINY = tiny_sweep()


def _longer(steps: int):
    return replace(_TINY.target_settings, maximum_steps=steps, evaluation_interval_steps=steps // 2)


#: Two cells of three trials on one gang.
TINY = replace(
    _TINY,
    name="soak",
    align_images=replace(_TINY.align_images, settings=_longer(60)),
    intermediate_settings=_longer(100),
    target_settings=_longer(100),
    search=Search(trials=3),
    confirmation_seeds=(1,),
    gangs=Gangs(count=1, checkpoint_interval_steps=INTERVAL_STEPS),
)

SWEEPS = {"REHEARSED": REHEARSED, "TINY": TINY}
