"""Claims about a gang that really trains: what it stores is what the loop alone would have made, whatever happened."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import replace
from pathlib import Path

import pytest
import ray

from tests.ray_local.stage_paths import evaluation, training
from trainables import gang
from trainables.catalogue.task import LabSource
from trainables.dispatcher import close, start_dispatcher
from trainables.gang import Post, start_host
from trainables.gangs import RUNNERS, GangKind, Gangs
from trainables.scores import Done, Failed, event_from_json
from trainables.stages import Evaluation, Portion, Stage
from trainables.store import Store

STEPS = 400


def real(stage: Stage, parent: str) -> Stage:
    """The stage over examples that the lab really has."""

    def of_the_lab(task):
        return replace(task, name="lab_nli", source=LabSource(generator="nli"))

    if isinstance(stage.work, Evaluation):
        return replace(stage, parent=parent, work=replace(stage.work, task=of_the_lab(stage.work.task)))
    portions = tuple(Portion(task=of_the_lab(portion.task), steps=portion.steps) for portion in stage.work.portions)
    return replace(stage, parent=parent, work=replace(stage.work, portions=portions))


def real_path(seed: int) -> tuple[Stage, ...]:
    first = real(training("lab_nli", "", steps=STEPS, interval=100, seed=seed), "")
    return (first, real(evaluation("lab_nli", first.digest, seed=seed), first.digest))


def on_two(stage: Stage) -> Stage:
    return replace(stage, shape=replace(stage.shape, workers=2))


def until_end(handle, trial: str, ticket: int, stages: tuple[Stage, ...]) -> list:
    events: list = []
    while not any(
        isinstance(event, Failed) or (isinstance(event, Done) and event.digest == stages[-1].digest) for event in events
    ):
        events += [event_from_json(text) for text in ray.get(handle.next_events.remote(trial, ticket))]
    return events


def alone(stages: tuple[Stage, ...], folder: Path) -> list:
    """The same stages run by the loop in this process, without a gang."""
    from trainables.training.loop import run_stage

    outcomes, parent = [], None
    for stage in stages:
        outcomes.append(run_stage(stage, parent=parent, output=folder / stage.digest, cache=folder / "cache"))
        parent = folder / stage.digest
    return outcomes


def contents(folder: Path) -> dict[str, bytes]:
    return {
        file.relative_to(folder).as_posix(): file.read_bytes()
        for file in folder.rglob("*")
        if file.is_file() and file.name != "predictions.parquet"
    }


@pytest.mark.timeout(240)
def test_a_killed_worker_resumes_to_the_bits_that_the_loop_alone_makes(cluster, tmp_path):
    gangs = Gangs(checkpoint_interval_steps=20)
    store = Store(tmp_path / "store")
    handle = start_dispatcher(gangs, store=store.uri, cache=tmp_path / "cache", name="real")
    try:
        stages = real_path(seed=1)
        ticket = ray.get(handle.submit.remote("killed", [stage.to_json() for stage in stages]))
        stop = time.monotonic() + 90
        while not any(store.under_way.folder(stages[0].digest).glob("step-*")) and time.monotonic() < stop:
            time.sleep(0.02)
        os.kill(ray.get(handle.status.remote())["processes"]["gang-0"][0], signal.SIGKILL)
        events = until_end(handle, "killed", ticket, stages)
        done = [event for event in events if isinstance(event, Done)]
        assert [event.digest for event in done] == [stage.digest for stage in stages], events[-1]
        assert 0 < done[0].steps_executed < STEPS
        assert ray.get(handle.status.remote())["gangs_restarted"] == 1

        trained, evaluated = alone(stages, tmp_path / "alone")
        fetched = store.fetch(stages[0].digest)
        assert contents(fetched) == contents(tmp_path / "alone" / stages[0].digest)
        assert [report.scores for report in done[0].history] == [report.scores for report in trained.history]
        assert done[1].scores == evaluated.scores
    finally:
        close(handle)


@pytest.mark.timeout(360)
def test_a_gang_of_two_ranks_outlives_a_lost_rank_and_a_stage_that_fails(cluster, tmp_path):
    gangs = Gangs(workers=2, checkpoint_interval_steps=20)
    store = Store(tmp_path / "store")
    handle = start_dispatcher(gangs, store=store.uri, cache=tmp_path / "cache", name="two-ranks")
    try:
        stage = on_two(real_path(seed=2)[0])
        ticket = ray.get(handle.submit.remote("killed", [stage.to_json()]))
        stop = time.monotonic() + 180
        while not any(store.under_way.folder(stage.digest).glob("step-*")) and time.monotonic() < stop:
            time.sleep(0.02)
        os.kill(ray.get(handle.status.remote())["processes"]["gang-0"][1], signal.SIGKILL)
        (last,) = until_end(handle, "killed", ticket, (stage,))[-1:]
        assert isinstance(last, Done), last
        assert 0 < last.steps_executed < stage.steps
        status = ray.get(handle.status.remote())
        assert (status["gangs_restarted"], status["lost"], status["failed"]) == (1, 1, 0)

        fails = on_two(training("of_no_generator", ""))
        ticket = ray.get(handle.submit.remote("failing", [fails.to_json()]))
        (last,) = until_end(handle, "failing", ticket, (fails,))[-1:]
        assert isinstance(last, Failed) and "rank 0, 1 of 2 failed: " in last.reason and "nothing" in last.reason
        after = on_two(real(training("lab_nli", "", steps=2, interval=2), ""))
        ticket = ray.get(handle.submit.remote("after", [after.to_json()]))
        assert isinstance(until_end(handle, "after", ticket, (after,))[-1], Done)
        status = ray.get(handle.status.remote())
        assert (status["gangs_restarted"], status["lost"], status["failed"]) == (1, 1, 1)
    finally:
        close(handle)


@pytest.mark.timeout(120)
def test_a_gang_for_which_no_machine_comes_says_so_when_ray_train_waits_no_longer(cluster, tmp_path, monkeypatch):
    monkeypatch.setattr(gang, "WORKER_GROUP_START_SECONDS", "0.2")
    post = Post(
        dispatcher=None,  # pyright: ignore[reportArgumentType]  # no worker comes that would ask it
        gang="gang-0",
        gangs=Gangs(cpus_per_worker=1000.0),
        runner=RUNNERS[GangKind.TRAIN],
        store=str(tmp_path / "store"),
        cache=str(tmp_path / "cache"),
        session="in-vain",
    )
    assert ray.get(start_host(post).serve.remote(), timeout=100) is True
