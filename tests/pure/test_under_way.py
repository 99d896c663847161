"""Claims about checkpoints under way on a filesystem that is not this machine's."""

from __future__ import annotations

import errno
import json
from pathlib import Path

import pytest

from tests.pure.stores import in_memory, subtree
from trainables.under_way import UnderWay


@pytest.fixture(params=[subtree, in_memory])
def under_way(request, tmp_path) -> UnderWay:
    return request.param(tmp_path).under_way


@pytest.fixture
def remote(tmp_path) -> tuple[UnderWay, Path]:
    """Checkpoints of stages under way, and the folder that the remote ones of stage d1 really are in."""
    return subtree(tmp_path).under_way, tmp_path / "inside" / "inflight" / "d1"


def send(under_way: UnderWay, *steps: int, admitted: bool = True) -> None:
    for step in steps:
        (under_way.folder("d1") / "state").write_text(f"step {step}")
        under_way.keep("d1", step, admitted=lambda: admitted)


def offered(under_way: UnderWay) -> list[int]:
    under_way.offer("d1", "next")
    return [int(name.split("-")[0]) for name in under_way.offered("d1", "next")]


def fetched(under_way: UnderWay, nth: int = 0) -> str:
    under_way.offer("d1", "next")
    assert under_way.fetch("d1", under_way.offered("d1", "next")[nth]) == ""
    return (under_way.folder("d1") / "state").read_text()


def test_the_newest_checkpoint_and_the_one_before_it_are_kept(under_way):
    send(under_way, 10, 20, 30)
    assert offered(under_way) == [30, 20]
    assert (fetched(under_way), fetched(under_way, 1)) == ("step 30", "step 20")
    under_way.clear("d1")
    assert offered(under_way) == []


def test_a_checkpoint_that_is_late_neither_counts_nor_takes_the_place_of_others(under_way):
    send(under_way, 10)
    send(under_way, 20, admitted=False)
    assert offered(under_way) == [10] and fetched(under_way) == "step 10"


def test_a_stage_that_goes_on_from_before_newer_checkpoints_keeps_its_own_beside_them(under_way):
    send(under_way, 30, 40, 10, 20)
    assert offered(under_way) == [40, 30, 20, 10]


DAMAGES = {
    "other content": lambda state, table: state.write_text("step 2."),
    "a file that is gone": lambda state, table: state.unlink(),
    "a table of contents of other content": lambda state, table: table.write_text(
        json.dumps({"sha256": "", "value": []})
    ),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_checkpoint_is_not_fetched_and_can_be_dropped_for_the_one_before(damage, remote):
    under_way, folder = remote
    send(under_way, 10, 20)
    under_way.offer("d1", "next")
    newest, _ = under_way.offered("d1", "next")
    DAMAGES[damage](folder / newest / "state", folder / f"{newest}.json")
    assert under_way.fetch("d1", newest)
    assert list(under_way.folder("d1").iterdir()) == []
    assert fetched(under_way, 1) == "step 10"
    under_way.drop("d1", newest)
    send(under_way, 15)
    assert offered(under_way) == [15, 10] and not (folder / newest).exists()


@pytest.mark.parametrize("part", ["read", "bring"])
def test_a_checkpoint_that_could_not_be_read_just_now_is_no_damaged_one(remote, monkeypatch, part):
    under_way, _ = remote
    send(under_way, 10)
    under_way.offer("d1", "next")
    names = under_way.offered("d1", "next")

    def broken(*_: object) -> None:
        raise OSError(errno.EIO, "the storage does not answer")

    monkeypatch.setattr(type(under_way._files), part, broken)
    with pytest.raises(OSError, match="the storage does not answer"):
        under_way.fetch("d1", *names)


def test_a_disk_of_this_machine_that_is_full_is_no_fault_of_a_checkpoint(remote, monkeypatch):
    under_way, _ = remote
    send(under_way, 10)
    under_way.offer("d1", "next")
    names = under_way.offered("d1", "next")

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(type(under_way._files), "bring", full)
    with pytest.raises(OSError, match="No space left"):
        under_way.fetch("d1", *names)


def test_a_rank_that_cannot_read_what_is_offered_takes_it_for_no_empty_offer(remote):
    under_way, folder = remote
    send(under_way, 10)
    under_way.offer("d1", "next")
    (folder / "from-next.json").write_text("{}")
    with pytest.raises(OSError, match=r"from-next\.json must be readable by every rank"):
        under_way.offered("d1", "next")
