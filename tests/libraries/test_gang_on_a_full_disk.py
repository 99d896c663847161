"""Claims about a gang's process whose disk is full, in rehearsals of one stage: no Ray is started."""

from __future__ import annotations

import errno
import inspect
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.pure.box import Box
from tests.pure.pair_of_ranks import pair
from tests.ray_local.stage_paths import training
from trainables import rehearsal, room
from trainables.gang import _of_kind, _run
from trainables.gangs import RUNNERS, GangKind, Gangs, Runner
from trainables.mailbox import Request
from trainables.scores import Cancelled, Done, Failed
from trainables.stages import Stage
from trainables.store import Store

FULL = OSError(errno.ENOSPC, "No space left on device")


class Filling:
    """A runner on a disk that is full at its first calls; on one rank of several where that is named."""

    calls = 0
    full = 0

    @classmethod
    def run_stage(cls, stage: Stage, *, ranks: Any, checkpoints: Any, **given: Any) -> Any:
        leads = ranks is None or not ranks.rank

        def save() -> None:
            if not leads:
                return
            cls.calls += 1
            checkpoints.save(10, ())
            if cls.calls <= cls.full:
                raise FULL

        if ranks is None:
            save()
        else:
            ranks.together(save)
        kept = checkpoints if leads else rehearsal.JsonCheckpoints(given["output"], interval_steps=1000)
        given["output"].mkdir(parents=True, exist_ok=True)
        return rehearsal.run_stage(stage, ranks=None, checkpoints=kept, **given)


def filling_stage(*arguments: Any, **given: Any) -> Any:
    return Filling.run_stage(*arguments, **given)


@pytest.fixture
def filling(monkeypatch):
    monkeypatch.setattr(room, "ROOM_SECONDS", 0.0)
    monkeypatch.setattr(Filling, "calls", 0)
    monkeypatch.setattr(Filling, "full", 0)
    return Filling


def run_filling(box: Box, store: Store, ranks: Any = None) -> None:
    gangs = Gangs(kind=GangKind.REHEARSAL, checkpoint_interval_steps=1000)
    runner = Runner(run=f"{__name__}:filling_stage", checkpoints="trainables.rehearsal:JsonCheckpoints")
    request = Request(sequence=0, stage=training("text_nli", "").to_json(), attempt="mine")
    _run(request, box, store=store, cache=None, gangs=gangs, runner=runner, ranks=ranks)  # type: ignore[arg-type]


def test_a_stage_that_was_resumed_is_as_dear_to_make_again_as_all_of_its_steps(tmp_path):
    store, stage, box = (
        Store(tmp_path / "store", cache=tmp_path / "cache"),
        training("text_nli", ""),
        Box(accepting=True),
    )
    left = stage.steps // 4
    checkpoints = rehearsal.JsonCheckpoints(store.under_way.folder(stage.digest), interval_steps=1)
    checkpoints.save(stage.steps - left, ())
    gangs = Gangs(kind=GangKind.REHEARSAL, rehearsal_step_seconds=0.01)
    request = Request(sequence=0, stage=stage.to_json(), attempt="mine")
    _run(request, box, store=store, cache=None, gangs=gangs, runner=RUNNERS[gangs.kind], ranks=None)  # type: ignore[arg-type]
    (done,) = [event for event in box.events if isinstance(event, Done)]
    assert done.steps_executed == left and done.seconds >= 0.01 * left
    kept = store.results(stage.digest)
    assert kept is not None and kept.seconds == pytest.approx(done.seconds * stage.steps / left)


def test_a_disk_that_is_full_again_and_again_fails_no_stage_and_nests_no_calls(filling, tmp_path, monkeypatch):
    depths = []
    monkeypatch.setattr(Store, "has_room", lambda *_, **__: bool(depths.append(len(inspect.stack()))) or True)
    filling.full = 5
    box = Box(accepting=True)
    run_filling(box, Store(tmp_path / "store", cache=tmp_path / "cache"))
    assert len(depths) == 5 and len(set(depths)) == 1
    assert isinstance(box.events[-1], Done) and not any(isinstance(event, Failed) for event in box.events)


def test_a_full_disk_is_asked_for_what_the_stage_writes_next(filling, tmp_path, monkeypatch):
    asked: list[int] = []
    monkeypatch.setattr(Store, "has_room", lambda _, needed, **__: bool(asked.append(needed)) or len(asked) % 3 == 0)
    filling.full = 2
    store, box = Store(tmp_path / "store", cache=tmp_path / "cache"), Box(accepting=True)
    large = store.under_way.folder(training("text_nli", "").digest) / "step-000009999-large"
    large.mkdir()
    (large / "state").write_bytes(bytes(20_000_000))
    monkeypatch.setattr(type(store.under_way), "newest", lambda *_: large)
    run_filling(box, store)
    assert asked == [22_000_000] * 3 + [44_000_000] * 3
    first, on, second, _ = box.notices
    assert first.startswith("the disk is full, and train ") and " waits for 22 MB of room (OSError: [Errno 28]" in first
    assert on.endswith("goes on from its last checkpoint") and " waits for 44 MB of room (" in second


def test_an_output_that_has_no_room_in_the_store_waits_with_what_is_trained(filling, tmp_path, monkeypatch):
    commit, tries = Store.commit, iter(range(10))

    def full_twice(self: Store, *arguments: Any, **given: Any) -> Any:
        if next(tries) < 2:
            raise FULL
        return commit(self, *arguments, **given)

    asked: list[int] = []
    monkeypatch.setattr(Store, "commit", full_twice)
    monkeypatch.setattr(Store, "has_room", lambda _, needed, **__: not asked.append(needed))
    store, box = Store(tmp_path / "store", cache=tmp_path / "cache"), Box(accepting=True)
    run_filling(box, store)
    assert filling.calls == 1 and isinstance(box.events[-1], Done)
    assert asked == [room.LEAST_BYTES] * 2
    assert store.find(training("text_nli", "").digest) is not None
    assert "and the output of train " in box.notices[0] and box.notices[1].endswith("is put in the store again")


def test_an_output_that_the_storage_does_not_take_for_another_reason_fails_no_trial_and_keeps_checkpoints(
    filling, tmp_path, monkeypatch
):
    def broken(*_: Any, **__: Any) -> None:
        raise OSError(errno.EIO, "the storage does not answer")

    monkeypatch.setattr(Store, "commit", broken)
    store, box = Store(tmp_path / "store", cache=tmp_path / "cache"), Box(accepting=True)
    run_filling(box, store)
    failed = box.events[-1]
    assert isinstance(failed, Failed) and failed.of_machine and "the storage does not answer" in failed.reason
    assert store.under_way.newest(training("text_nli", "").digest) is not None and box.notices == []


def test_what_a_kind_of_gang_alone_is_told_reaches_its_runner():
    assert _of_kind(Gangs(explosion_multiple=30.0)) == {"explosion_multiple": 30.0}
    told = _of_kind(Gangs(kind=GangKind.REHEARSAL, rehearsal_step_seconds=0.5))
    assert told == {"step_seconds": 0.5}


def test_a_stage_that_waits_for_room_stops_when_it_is_told_to(filling, tmp_path, monkeypatch):
    monkeypatch.setattr(Store, "has_room", lambda *_, **__: False)
    filling.full = 1
    box = Box(accepting=True, stopping=True)
    run_filling(box, Store(tmp_path / "store", cache=tmp_path / "cache"))
    assert box.events == [Cancelled(digest=training("text_nli", "").digest, steps_executed=0)]


def test_two_ranks_wait_for_room_together_and_none_of_them_is_lost(filling, tmp_path, monkeypatch):
    looks: dict[bool, int] = {True: 0, False: 0}

    def has_room(self: Store, needed: int, *, leads: bool) -> bool:
        looks[leads] += 1
        return looks[leads] > (3 if leads else 5)  # the second rank's own disk has room last

    monkeypatch.setattr(Store, "has_room", has_room)
    filling.full = 1
    boxes = [Box(accepting=True), Box(accepting=True)]
    store = tmp_path / "store"
    with ThreadPoolExecutor(2) as pool:
        ends = [
            pool.submit(run_filling, boxes[one.rank], Store(store, cache=tmp_path / f"cache-{one.rank}"), one)
            for one in pair()
        ]
        for end in ends:
            end.result(60)
    assert looks == {True: 6, False: 6}
    assert isinstance(boxes[0].events[-1], Done) and filling.calls == 2
    assert len(boxes[0].notices) == 2 and boxes[1].notices == []
