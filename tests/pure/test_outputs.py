"""Claims about the outputs of a running sweep: which are found, which are deleted, and what the board hears of it."""

from __future__ import annotations

import asyncio
import errno
import math
import threading
from typing import Any

import pytest

from tests.pure.flaky import Flaky
from tests.pure.stores import behind, holding, subtree
from tests.ray_local.stage_paths import training
from trainables import outputs as module
from trainables import sealed_files
from trainables import store as store_module
from trainables.board import Assign, Board, Decision
from trainables.outputs import Outputs
from trainables.pins import PinFile
from trainables.scores import Done, Failed
from trainables.stages import Stage
from trainables.store import PREDICTIONS, Store


class Running:
    """A sweep with one gang, which answers nothing; what was decided for it and what was said."""

    def __init__(self, store: Store, *, sweep: str = "", limit_bytes: float = math.inf) -> None:
        self.board = Board(session="session")
        self.board.gang_ready("gang-0")
        self.carried: list[Decision] = []
        self.said: list[str] = []
        self.outputs = Outputs(
            store,
            self.board,
            carry=self.carry,
            say=self.said.append,
            session="session",
            gangs=1,
            limit_bytes=limit_bytes,
            folder=f"sweeps/{sweep}" if sweep else "",
        )

    async def carry(self, decisions: tuple[Decision, ...]) -> None:
        self.carried += decisions


def put(store: Store, stage: Stage, attempt: str, **given: Any) -> None:
    """An attempt that ends and whose output is put in the store, unless it is not admitted."""
    output = store.workspace(stage.digest, attempt)
    (output / "weights").write_bytes(attempt.encode() * 9)
    store.commit(stage, output, attempt, steps=stage.steps, seconds=1.0, **given)


async def until(holds) -> None:
    stop = asyncio.get_running_loop().time() + 10
    while not holds():
        assert asyncio.get_running_loop().time() < stop
        await asyncio.sleep(0.001)


@pytest.fixture
def line(tmp_path, monkeypatch) -> Flaky:
    """A line that the test cuts; a silent storage is asked again at once."""
    monkeypatch.setattr(module, "AGAIN_SECONDS", 0.001)
    return Flaky(tmp_path, seed=0, share=0.0)


def test_what_the_store_has_of_a_path_is_found_and_of_what_is_damaged_the_results_alone(tmp_path):
    there, deleted, damaged, absent = (training("text_nli", "", seed=seed) for seed in range(4))
    store = holding(tmp_path, there, deleted, damaged)
    store.evict(deleted.digest)
    (weights,) = (tmp_path / "store/stages" / damaged.digest).rglob("weights")
    weights.write_bytes(bytes(999))
    mine = Running(store)

    async def story() -> None:
        found = await mine.outputs.found((there, deleted, damaged, absent))
        stored, gone = mine.outputs.heed(found)
        assert set(stored) == {there.digest, deleted.digest, damaged.digest}
        assert gone == [deleted.digest, damaged.digest]
        assert mine.outputs.stored_bytes() == 1000
        (said,) = mine.said
        assert said.startswith(f"stage {damaged.digest} was damaged (weights has 999 bytes where 1000 were written)")
        mine.board.submit("trial", (there, training("visual_nli", there.digest)), stored, gone)
        assert (await mine.outputs.found((there,))).stored == {}, "the board knows it"

    asyncio.run(story())


def test_an_evaluation_whose_predictions_are_damaged_is_not_there_and_is_named(tmp_path):
    stage = training("text_nli", "")
    store = Store(tmp_path / "store")
    output = store.workspace(stage.digest, "earlier-1")
    (output / PREDICTIONS).write_bytes(b"answers")
    store.commit(stage, output, "earlier-1", steps=0, seconds=1.0)
    (tmp_path / "store/results" / stage.digest / "earlier-1.parquet").write_bytes(b"answer.")
    mine = Running(store)
    assert mine.outputs.heed(asyncio.run(mine.outputs.found((stage,)))) == ({}, [])
    (said,) = mine.said
    assert said.startswith(f"stage {stage.digest} was damaged (earlier-1.parquet has another sha256")


def test_what_is_being_deleted_is_gone_for_a_trial_that_comes_and_made_again_only_afterwards(tmp_path, monkeypatch):
    first = training("text_nli", "")
    path = (first, training("visual_nli", first.digest))
    store = holding(tmp_path, first)
    mine, begun, goes_on, evict = Running(store, limit_bytes=1.0), threading.Event(), threading.Event(), store.evict

    def slow(digest: str) -> None:
        begun.set()
        assert goes_on.wait(10)
        evict(digest)

    monkeypatch.setattr(store, "evict", slow)

    async def story() -> None:
        remembering = asyncio.ensure_future(mine.outputs.remember([first.digest]))
        assert await asyncio.to_thread(begun.wait, 10)
        found = await mine.outputs.found(path)
        assert [kept.digest for kept in found.kept] == [first.digest], "it still lies there"
        decided = mine.board.submit("late", path, *mine.outputs.heed(found))
        assert not any(isinstance(one, Assign) for one in decided)
        assert mine.outputs.stored_bytes() == 0
        goes_on.set()
        await remembering
        assert [(type(one), one.stage) for one in mine.carried] == [(Assign, first)]
        assert mine.outputs.evicted == 1

    asyncio.run(story())


def test_weights_that_cannot_be_deleted_count_no_more_and_whoever_needs_them_makes_them_again(
    tmp_path, monkeypatch, caplog
):
    old, dearer = (training("text_nli", "", seed=seed) for seed in range(2))
    store = holding(tmp_path, old, dearer)
    mine = Running(store, limit_bytes=1.0)

    def refused(digest: str) -> None:
        raise OSError("read-only")

    monkeypatch.setattr(store, "evict", refused)
    asyncio.run(mine.outputs.remember([old.digest, dearer.digest]))
    assert f"the weights of stage {old.digest} could not be deleted: read-only" in caplog.text
    assert (mine.outputs.evicted, mine.outputs.stored_bytes()) == (2, 0)
    assert mine.board.is_gone(old.digest) and mine.board.is_gone(dearer.digest)
    stored = {old.digest: store.results(old.digest).done()}
    decided = mine.board.submit("late", (old, training("visual_nli", old.digest)), stored)
    assert [one.stage for one in decided if isinstance(one, Assign)] == [old]


def test_what_goes_on_from_deleted_weights_is_kept_before_what_is_dearer_by_itself(tmp_path):
    first = training("text_nli", "")
    child, other = training("visual_nli", first.digest), training("visual_nli", "", seed=7)
    store = holding(tmp_path, child, other, first)  # of one, two and three seconds

    async def story() -> list[str]:
        store.evict(first.digest)
        mine = Running(store, limit_bytes=11_500.0)
        mine.outputs.heed(await mine.outputs.found((first, child)))
        mine.outputs.heed(await mine.outputs.found((other,)))
        await mine.outputs.make_room()
        return [one.digest for one in (child, other) if store.find(one.digest)]

    assert asyncio.run(story()) == [child.digest]


def test_what_was_made_again_while_it_was_looked_for_does_not_count_as_gone(tmp_path):
    stage = training("text_nli", "")
    store = holding(tmp_path, stage)
    store.evict(stage.digest)
    mine = Running(store)
    looked, goes_on, look_up = threading.Event(), threading.Event(), mine.outputs._look_up

    def slow(digests: list[str]):
        found = look_up(digests)
        looked.set()
        assert goes_on.wait(10)
        return found

    mine.outputs._look_up = slow  # type: ignore[method-assign]

    async def story() -> None:
        looking = asyncio.ensure_future(mine.outputs.found((stage,)))
        assert await asyncio.to_thread(looked.wait, 10)
        (assigned,) = mine.board.submit("trial", (stage,), {})
        put(store, stage, assigned.attempt)
        mine.outputs.add(await mine.outputs.looked_up(stage.digest))
        done = Done(digest=stage.digest, steps_executed=1, reused=False, seconds=1.0)
        mine.board.report("gang-0", assigned.attempt, done)
        goes_on.set()
        assert mine.outputs.heed(await looking)[1] == [stage.digest]
        assert mine.outputs._gone == {}

    asyncio.run(story())


def test_the_best_leaf_of_another_sweep_is_deleted_neither_as_a_leaf_nor_for_the_budget(tmp_path):
    theirs, best, old = (training("text_nli", "", seed=seed) for seed in range(3))
    store = holding(tmp_path, theirs, best, old)

    async def story() -> None:
        await Running(store, sweep="other").outputs.keep("cell", [theirs.digest], [])
        # three kilobytes are kept, the gang may need ten: the cheapest that may go is to go, and it is the dearest
        mine = Running(store, sweep="mine", limit_bytes=12_500.0).outputs
        await mine.keep("cell", [best.digest], [])
        await mine.remember([theirs.digest, best.digest, old.digest])
        await mine.keep("cell", [best.digest], [theirs.digest])
        assert [store.find(stage.digest) is not None for stage in (theirs, best, old)] == [True, True, False]

    asyncio.run(story())


@pytest.mark.parametrize(("limit", "stays"), [(math.inf, True), (13_001.0, True), (12_999.0, False)])
def test_a_spare_leaf_goes_for_want_of_room_alone_and_before_the_best(tmp_path, limit, stays):
    """Three kilobytes are kept, and the gang may need ten; the best is the cheapest to make again."""
    best, spare, other = (training("text_nli", "", seed=seed) for seed in range(3))
    store = holding(tmp_path, best, spare, other)

    async def story() -> None:
        await Running(store, sweep="other").outputs.keep("cell", [other.digest], [])
        mine = Running(store, sweep="mine", limit_bytes=limit).outputs
        await mine.keep("cell", [best.digest], [], [spare.digest])
        assert {best.digest, spare.digest} == set(PinFile(store, "sweeps/mine").last.leaves)
        await mine.remember([best.digest, spare.digest, other.digest])
        assert [store.find(stage.digest) is not None for stage in (best, spare, other)] == [True, stays, True]

    asyncio.run(story())


def test_a_leaf_that_is_no_longer_the_best_is_deleted_without_any_budget(tmp_path):
    before, better, read = (training("text_nli", "", seed=seed) for seed in range(3))
    store = holding(tmp_path, before, better, read)
    mine = Running(store)

    async def story() -> None:
        path = (read, training("visual_nli", read.digest))
        mine.board.submit("trial", path, *mine.outputs.heed(await mine.outputs.found(path)))
        await mine.outputs.keep("cell", [before.digest], [])
        await mine.outputs.remember([before.digest, better.digest])
        await mine.outputs.keep("cell", [better.digest], [before.digest, read.digest])
        assert [store.find(stage.digest) is not None for stage in (before, better, read)] == [False, True, True]

    asyncio.run(story())


def test_nothing_is_deleted_where_what_other_sweeps_need_cannot_be_seen(tmp_path, monkeypatch):
    old = training("text_nli", "")
    store = holding(tmp_path, old)

    def unreadable(_: object) -> None:
        raise OSError("no answer")

    monkeypatch.setattr("trainables.pins.PinFile.others", unreadable)

    async def story() -> None:
        mine = Running(store, sweep="mine", limit_bytes=1.0).outputs
        await mine.remember([old.digest])
        await mine.keep("cell", [], [old.digest])
        assert store.find(old.digest) is not None

    asyncio.run(story())


@pytest.mark.parametrize(("limit", "stays"), [(16_001.0, True), (15_999.0, False)])
def test_checkpoints_of_a_stage_that_waits_count_for_the_budget(tmp_path, limit, stays):
    old, waiting = (training("text_nli", "", seed=seed) for seed in range(2))
    store = holding(tmp_path, old)
    checkpoint = tmp_path / "store/inflight" / waiting.digest / "step-1"
    checkpoint.mkdir(parents=True)
    (checkpoint / "state").write_bytes(bytes(5000))
    of_others = tmp_path / "store/inflight/of-another-sweep"
    of_others.mkdir()
    (of_others / "state").write_bytes(bytes(100))

    async def story() -> None:
        # a kilobyte is kept, five wait, and the gang may need ten
        await Running(store, limit_bytes=limit).outputs.remember([old.digest, waiting.digest], [waiting.digest])
        assert (store.find(old.digest) is not None) == stays

    asyncio.run(story())


# A storage that does not answer


def test_a_look_for_what_is_there_waits_for_a_silent_storage_says_so_and_queues_nothing_finished_anew(tmp_path, line):
    path = (first := training("text_nli", ""), training("visual_nli", first.digest))
    store = behind(tmp_path, line)
    put(store, first, "earlier-1")
    mine = Running(store)

    async def story() -> None:
        line.dead = True
        looking = [asyncio.ensure_future(mine.outputs.found(path)) for _ in range(3)]
        await until(lambda: mine.said)
        await asyncio.sleep(0.05)
        assert not any(one.done() for one in looking)
        (silent,) = mine.said
        assert silent.startswith("since ") and "UTC the storage does not answer (the line is dead)" in silent
        assert "the sweep waits until it does" in silent
        line.dead = False
        for found in await asyncio.gather(*looking):
            assert set(found.stored) == {first.digest} and found.gone == []
        assert mine.said[1:] == ["the storage answers again; the sweep goes on"]
        decided = mine.board.submit("trial", path, *mine.outputs.heed(found))
        assert [one.stage for one in decided if isinstance(one, Assign)] == [path[1]]

    asyncio.run(story())


def test_a_sweep_that_is_stopped_while_its_storage_is_silent_leaves_the_trial_open_and_queues_nothing(tmp_path, line):
    stage = training("text_nli", "")
    mine = Running(behind(tmp_path, line))

    async def story() -> None:
        line.dead = True
        looking = asyncio.ensure_future(mine.outputs.found((stage,)))
        await until(lambda: mine.said)
        mine.board.stop("the sweep was stopped")
        decided = mine.board.submit("trial", (stage,), *mine.outputs.heed(await asyncio.wait_for(looking, 5)))
        (told,) = [one.event for one in decided if not isinstance(one, Assign)]
        assert len(decided) == 1 and isinstance(told, Failed) and told.of_machine

    asyncio.run(story())


def test_what_is_made_or_was_made_before_counts_as_soon_as_a_silent_storage_can_be_asked(tmp_path, line):
    before, made = (training("text_nli", "", seed=seed) for seed in range(2))
    store = behind(tmp_path, line)
    for stage in (before, made):
        put(store, stage, "session-1")
    mine = Running(store)

    async def story() -> None:
        line.dead = True
        looking = asyncio.ensure_future(mine.outputs.looked_up(made.digest))
        remembering = asyncio.ensure_future(mine.outputs.remember([before.digest]))
        await until(lambda: mine.said)
        line.dead = False
        kept = await looking
        assert kept is not None and kept.size_bytes == 81
        await remembering
        assert mine.outputs.stored_bytes() == 81

    asyncio.run(story())


# A file that cannot be read


def unreadable(monkeypatch, stage: Stage, error: OSError) -> None:
    """The disk gives no answer for the weights of that stage, ever."""
    asked = sealed_files.sha256_of

    def refused(path):
        if stage.digest in str(path):
            raise error
        return asked(path)

    monkeypatch.setattr(sealed_files, "sha256_of", refused)
    monkeypatch.setattr(store_module, "FILE_PAUSE_SECONDS", 0.001)


@pytest.mark.parametrize("error", [OSError(errno.EIO, "bad sector"), PermissionError("no"), OSError("ACCESS_DENIED")])
def test_a_file_that_alone_cannot_be_read_is_damaged_and_holds_nobody_back(tmp_path, monkeypatch, error):
    bad, good = (training("text_nli", "", seed=seed) for seed in range(2))
    store = holding(tmp_path, bad, good)
    unreadable(monkeypatch, bad, error)
    mine = Running(store)

    async def story() -> None:
        await asyncio.wait_for(mine.outputs.remember([bad.digest, good.digest]), 5)
        assert mine.outputs.stored_bytes() == 1000
        found = await asyncio.wait_for(mine.outputs.found((bad, good)), 5)
        assert set(found.stored) == {bad.digest, good.digest} and found.gone == [bad.digest]
        (said,) = mine.said
        assert said == f"stage {bad.digest} was damaged (it cannot be read: {error}); it is trained again where needed"

    asyncio.run(story())


def test_a_flake_of_one_file_damages_nothing(tmp_path, monkeypatch):
    stage = training("text_nli", "")
    store = holding(tmp_path, stage)
    asked, errors = sealed_files.sha256_of, [OSError(errno.EIO, "a flake")] * 2

    def flaky(path):
        if errors:
            raise errors.pop()
        return asked(path)

    monkeypatch.setattr(sealed_files, "sha256_of", flaky)
    monkeypatch.setattr(store_module, "FILE_PAUSE_SECONDS", 0.001)
    assert store.find(stage.digest) is not None and not errors and not store.damage


def test_what_is_of_no_file_alone_is_asked_again_and_keeps_nobody_else_waiting(tmp_path, monkeypatch):
    bad, good = (training("text_nli", "", seed=seed) for seed in range(2))
    store = holding(tmp_path, bad, good)
    monkeypatch.setattr(module, "AGAIN_SECONDS", 0.001)
    unreadable(monkeypatch, bad, OSError("SLOW_DOWN"))
    mine = Running(store)

    async def story() -> None:
        remembering = asyncio.ensure_future(mine.outputs.remember([bad.digest]))
        await until(lambda: mine.said)
        find, flakes = store.find, [OSError("a flake")]

        def look(digest: str):
            if digest == good.digest and flakes:
                raise flakes.pop()
            return find(digest)

        monkeypatch.setattr(store, "find", look)
        found = await asyncio.wait_for(mine.outputs.found((good,)), 5)
        assert set(found.stored) == {good.digest} and not flakes and not remembering.done()
        assert mine.said == ["the storage answers, but for this, which is asked again: SLOW_DOWN"]
        monkeypatch.undo()
        await asyncio.wait_for(remembering, 10)

    asyncio.run(story())


def test_a_storage_that_refuses_every_answer_for_good_stops_the_sweep_with_the_reason_and_leaves_trials_open(
    tmp_path, line, monkeypatch
):
    stage = training("text_nli", "")
    mine = Running(behind(tmp_path, line))

    def refused(*_: object) -> None:
        raise PermissionError("the key was withdrawn")

    async def story() -> None:
        monkeypatch.setattr(line, "carried", refused)
        found = await asyncio.wait_for(mine.outputs.found((stage,)), 5)
        assert mine.board.ended == "the storage refuses every answer: the key was withdrawn"
        (told,) = [one.event for one in mine.board.submit("trial", (stage,), *mine.outputs.heed(found))]
        assert isinstance(told, Failed) and told.of_machine and told.reason == mine.board.ended

    asyncio.run(story())


# What lost attempts have written


@pytest.mark.parametrize("late", ["asked once more before the manifest", "the manifest itself"])
def test_a_manifest_of_a_host_that_was_cut_off_and_comes_back_leaves_the_stage_whole(tmp_path, monkeypatch, late):
    stage = training("text_nli", "")
    old, new, desk = (subtree(tmp_path) for _ in range(3))
    mine = Running(desk)
    seal, asked = old.files.seal, []

    def elsewhere() -> None:
        """The host is taken for lost, and another gang is given the stage and ends it."""
        mine.outputs.lost(stage.digest, "s-1", is_gone=lambda: False)
        put(new, stage, "s-2")
        assert desk.find(stage.digest).attempt == "s-2"

    def admitted() -> bool:
        asked.append(1)
        if len(asked) == 2 and late != "the manifest itself":
            elsewhere()
        return True

    def slow(path: str, value: Any) -> None:
        if path.startswith("stages/") and late == "the manifest itself":
            elsewhere()
        seal(path, value)

    async def story() -> None:
        monkeypatch.setattr(old.files, "seal", slow)
        put(old, stage, "s-1", admitted=admitted)
        found = subtree(tmp_path).find(stage.digest)
        assert found.attempt == ("s-1" if late == "the manifest itself" else "s-2")
        await mine.outputs.tidy()
        found = subtree(tmp_path)
        assert found.find(stage.digest) is not None and found.damage == {}
        assert (found.fetch(stage.digest) / "weights").is_file()

    asyncio.run(story())


@pytest.mark.parametrize("gone", [False, True])
def test_what_a_lost_attempt_has_written_goes_at_once_where_its_process_is_known_to_be_gone(tmp_path, gone):
    named, other = (training("text_nli", "", seed=seed) for seed in range(2))
    store = Store(tmp_path / "store")
    mine = Running(store)
    put(store, named, "session-1")
    put(store, other, "session-2", admitted=lambda: False)

    async def story() -> None:
        for stage, attempt in ((named, "session-1"), (other, "session-2")):
            mine.outputs.lost(stage.digest, attempt, is_gone=lambda: gone)
        await until(lambda: not mine.outputs._clearing)
        assert store.output(other.digest, "session-2").exists() != gone
        assert store.find(named.digest) is not None

    asyncio.run(story())


@pytest.mark.parametrize("dead", [False, True])
def test_what_long_lost_attempts_have_written_goes_when_the_sweep_closes_unless_it_is_named_or_in_doubt(
    tmp_path, line, monkeypatch, dead
):
    named, other, fresh = (training("text_nli", "", seed=seed) for seed in range(3))
    store = behind(tmp_path, line)
    mine = Running(store)
    put(store, named, "session-1")
    for stage in (other, fresh):
        put(store, stage, "session-2", admitted=lambda: False)

    async def story() -> None:
        for stage, attempt in ((named, "session-1"), (other, "session-2")):
            mine.outputs.lost(stage.digest, attempt, is_gone=lambda: False)
        monkeypatch.setattr(module, "LATE_SECONDS", 0.0)
        await asyncio.sleep(0.002)
        monkeypatch.setattr(mine.outputs, "_lost", [*mine.outputs._lost, (math.inf, fresh.digest, "session-2")])
        line.dead = dead
        await mine.outputs.tidy()
        line.dead = False
        lies = [(tmp_path / "bucket/stages" / stage.digest).glob("session-*") for stage in (named, other, fresh)]
        assert [any(one) for one in lies] == [True, dead, True]
        assert behind(tmp_path, line).find(named.digest) is not None

    asyncio.run(story())
