"""Claims about which checkpoint the ranks of a gang go on from on a remote filesystem: no Ray is started."""

from __future__ import annotations

import errno
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from pyarrow import fs

from tests.pure.box import Box
from tests.pure.pair_of_ranks import Failed as AnyRankFailed
from tests.pure.pair_of_ranks import pair
from tests.ray_local.stage_paths import training
from trainables import rehearsal
from trainables.gang import _fetch_checkpoint, _run
from trainables.gangs import RUNNERS, GangKind, Gangs
from trainables.mailbox import Request
from trainables.rehearsal import JsonCheckpoints
from trainables.scores import Done
from trainables.store import Store
from trainables.under_way import UnderWay

STAGE = training("text_nli", "", steps=30)


def remote(folder: Path, cache: str = "cache") -> Store:
    where = fs.SubTreeFileSystem(str(folder), fs.LocalFileSystem())
    return Store("inside", cache=folder / cache, filesystem=where)


@pytest.fixture
def sent(tmp_path) -> list[Path]:
    """The remote checkpoints at steps 10 and 20, the newest first."""
    store = remote(tmp_path, "of-another")
    for step in (10, 20):
        JsonCheckpoints(store.under_way.folder(STAGE.digest), interval_steps=10).save(step, ())
        store.under_way.keep(STAGE.digest, step)
    found = sorted((tmp_path / "inside" / "inflight" / STAGE.digest).glob("*-*.json"), reverse=True)
    return [path.with_suffix("") for path in found]


def damage(checkpoint: Path) -> None:
    (state,) = checkpoint.rglob("rehearsal.json")
    state.write_text("{}")


def run_alone(folder: Path, box: Box, *, interval_steps: int = 1000) -> int:
    """The steps that a gang of one rank executes to the end of the stage."""
    request = Request(sequence=0, stage=STAGE.to_json(), attempt="mine")
    gangs = Gangs(kind=GangKind.REHEARSAL, checkpoint_interval_steps=interval_steps)
    _run(request, box, store=remote(folder), cache=None, gangs=gangs, runner=RUNNERS[gangs.kind], ranks=None)  # type: ignore[arg-type]
    done = box.events[-1]
    assert isinstance(done, Done)
    return done.steps_executed


@pytest.mark.parametrize("damaged", [0, 1, 2])
def test_a_stage_goes_on_from_the_newest_remote_checkpoint_that_is_whole_and_names_the_others(damaged, sent, tmp_path):
    for checkpoint in sent[:damaged]:
        damage(checkpoint)
    box = Box(accepting=True)
    assert run_alone(tmp_path, box) == (10, 20, 30)[damaged]
    assert len(box.notices) == damaged
    for text, checkpoint in zip(box.notices, sent, strict=False):
        assert text.startswith(f"the checkpoint {checkpoint.name} of train {STAGE.digest} is damaged (step-")
        assert "has another sha256 than when it was written); falling back to the one before" in text


def on_both(folder: Path, *, fails: str = "") -> tuple[list[list[str]], list[Box]]:
    """What each of two ranks has on its machine to go on from, and what it said; both may have to fail."""
    stores = [remote(folder, f"cache-{rank}") for rank in range(2)]
    for rank, store in enumerate(stores):  # ranks here are threads, and would share what is a process's own
        store.under_way._place = lambda digest, rank=rank: folder / f"cache-{rank}" / "inflight" / digest
    boxes = [Box(accepting=True), Box(accepting=True)]
    with ThreadPoolExecutor(2) as pool:
        ends = [
            pool.submit(_fetch_checkpoint, STAGE, "mine", boxes[one.rank], stores[one.rank], one)  # type: ignore[arg-type]
            for one in pair()
        ]
        for end in ends:
            if fails:
                with pytest.raises(AnyRankFailed, match=fails):
                    end.result(60)
            else:
                end.result(60)
    found = [[path.name[:14] for path in store.under_way.folder(STAGE.digest).iterdir()] for store in stores]
    return found, boxes


def test_ranks_fall_back_together_where_the_newest_checkpoint_is_damaged(sent, tmp_path):
    damage(sent[0])
    found, boxes = on_both(tmp_path)
    assert found == [["step-000000010"]] * 2
    assert [len(box.notices) for box in boxes] == [1, 1]
    assert not sent[0].exists() and sent[1].exists()


def test_where_one_rank_alone_gets_no_answer_none_goes_on_and_nothing_is_deleted(sent, tmp_path, monkeypatch):
    bring = Store(tmp_path).files.bring.__func__

    def unreadable(self, where: str, files, folder: Path) -> None:
        if where.endswith(sent[0].name) and "cache-1" in str(folder):
            raise OSError("a line that broke")
        bring(self, where, files, folder)

    monkeypatch.setattr("trainables.sealed_files.SealedFiles.bring", unreadable)
    _, boxes = on_both(tmp_path, fails="a line that broke")
    assert [box.notices for box in boxes] == [[], []]
    assert sent[0].exists() and sent[1].exists()


def test_ranks_begin_anew_together_where_no_checkpoint_is_whole(sent, tmp_path):
    for checkpoint in sent:
        damage(checkpoint)
    found, boxes = on_both(tmp_path)
    assert found == [[], []]
    assert [len(box.notices) for box in boxes] == [2, 2]


def test_a_stage_whose_disk_fills_up_goes_on_from_the_checkpoint_that_was_still_being_sent(tmp_path, monkeypatch):
    keep, sending, rehearse = UnderWay.keep, threading.Event(), rehearsal.run_stage
    first = iter((True,))

    def slow(self: UnderWay, *arguments: Any, **given: Any) -> None:
        sending.wait(0.2)  # until the stage has failed, which it tells nobody
        keep(self, *arguments, **given)

    def filling(stage: Any, *, checkpoints: Any, **given: Any) -> Any:
        if next(first, False):
            checkpoints.save(20, ())
            raise OSError(errno.ENOSPC, "No space left on device")
        return rehearse(stage, checkpoints=checkpoints, **given)

    monkeypatch.setattr(UnderWay, "keep", slow)
    monkeypatch.setattr(rehearsal, "run_stage", filling)
    monkeypatch.setattr(Store, "has_room", lambda *_, **__: True)
    assert run_alone(tmp_path, Box(accepting=True)) == 10


def test_a_stage_on_an_object_store_is_sent_twice_in_an_interval(tmp_path, monkeypatch):
    steps: list[int] = []
    keep = UnderWay.keep

    def kept(self: UnderWay, digest: str, step: int, **given: Any) -> None:
        steps.append(step)
        keep(self, digest, step, **given)

    monkeypatch.setattr(UnderWay, "keep", kept)
    assert run_alone(tmp_path, Box(accepting=True), interval_steps=10) == 30
    assert steps == [5, 10, 15, 20, 25, 30]
