"""Small real sweeps for the hosts of the tests: they train, on one processor per worker, in seconds per stage."""

from __future__ import annotations

from dataclasses import replace

from search_spaces import Cell, CellRole, LogRange, Space
from sweep import Gangs, NoPruning, Search, Sweep
from trainables.catalogue import lab
from trainables.settings import Precision, Settings

SETTINGS = Settings(
    learning_rate=1e-3, maximum_steps=300, batch_size=16, precision=Precision.FLOAT32, evaluation_interval_steps=150
)

#: Two cells, so that two gangs have work, and enough of it that none runs out of it before the last loss; checkpoints
#: often enough that a lost machine costs little.
LONE = Sweep(
    name="lone",
    target=lab.visual_nli(train=200, dev=60, test=20),
    encoder=lab.ENCODER,
    cells=(Cell(name="none", role=CellRole.BASELINE), Cell(name="nli", intermediates=(lab.NLI,))),
    intermediate_settings=SETTINGS,
    target_settings=SETTINGS,
    space=Space(target={"learning_rate": LogRange(5e-4, 2e-3)}),
    search=Search(trials=2, pruner=NoPruning()),
    confirmation_seeds=(1,),
    gangs=Gangs(count=2, elastic=True, idle_seconds=600.0, checkpoint_interval_steps=10),
)

#: As LONE, with twice the trials and other draws: nothing of the other's is found again but what has no draws.
MORE = replace(LONE, name="more", search=Search(trials=4, pruner=NoPruning(), seed=1), confirmation_seeds=(2, 3))

#: The least that has a search and a confirmation: two training stages and an evaluation, on one gang.
QUICK = replace(
    LONE,
    name="quick",
    cells=LONE.cells[:1],
    intermediate_settings=None,
    target_settings=replace(SETTINGS, maximum_steps=200, evaluation_interval_steps=100),
    search=Search(trials=1, pruner=NoPruning()),
    gangs=Gangs(count=1, elastic=True, idle_seconds=600.0, checkpoint_interval_steps=10),
)

#: As QUICK, with stages that last long enough to be asked in their middle, and no checkpoint due in them: one that is
#: there was made because somebody asked the gang to stop.
SPOT = replace(
    QUICK,
    name="spot",
    target_settings=replace(SETTINGS, maximum_steps=500, evaluation_interval_steps=250),
    gangs=replace(QUICK.gangs, checkpoint_interval_steps=1000),
)

#: One gang whose two workers cannot lie on one host. No checkpoint falls due in its stages: one that is there was made
#: because somebody asked the gang to stop. They last long enough to be asked in their middle. One worker adds the same
#: numbers in another order: without dropout, which each worker draws for its part, and at a learning rate at which such
#: a difference does not grow (at 1e-3 a quarter of the answers are others after 600 steps), it gives the same.
PAIR = replace(
    QUICK,
    name="pair",
    target_settings=replace(
        SETTINGS, maximum_steps=600, evaluation_interval_steps=300, learning_rate=1e-4, dropout=0.0
    ),
    space=Space(target={"learning_rate": LogRange(5e-5, 1e-4)}),
    gangs=Gangs(count=1, workers=2, elastic=True, idle_seconds=600.0, checkpoint_interval_steps=1000),
)

#: As PAIR, with checkpoints often enough that a host that loses power costs little.
TORN = replace(PAIR, name="torn", gangs=replace(PAIR.gangs, checkpoint_interval_steps=10))
