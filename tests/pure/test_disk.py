"""Claims about the disk: what goes first, what never goes, what is refused before it starts, and waiting for room."""

from __future__ import annotations

import errno
import math
import os
from dataclasses import replace

import pyarrow.fs as pafs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from search_spaces import Space
from sweep import patience
from sweep.disk import disk_faults, disk_need, spoken
from sweep.ledger import Ledger
from sweep.patience import Careless, GaveUp, PatientLedger
from sweep.plan import plan
from sweep.records import Happening, Phase, TrialKey, What
from sweep.search import Search
from tests.pure.small_sweep import BASELINE, small_sweep
from trainables.keeping import Kept, evictions

OUTPUTS = st.lists(
    st.builds(
        Kept,
        digest=st.uuids().map(str),
        size_bytes=st.integers(0, 1000),
        seconds=st.floats(0, 1e4, allow_nan=False),
    ),
    max_size=20,
)


@given(kept=OUTPUTS, share=st.floats(0, 1), excess=st.integers(-10, 20_000))
def test_what_is_needed_never_goes_and_no_more_goes_than_must(kept, share, excess):
    needed = {one.digest for one in kept[: int(share * len(kept))]}
    sizes = {one.digest: one.size_bytes for one in kept}
    gone = evictions(kept, needed=needed, excess_bytes=excess)
    assert not needed & set(gone) and len(set(gone)) == len(gone)
    freed = [sizes[digest] for digest in gone]
    assert sum(freed[:-1]) < max(excess, 1)
    everything = sum(size for digest, size in sizes.items() if digest not in needed)
    assert sum(freed) >= min(max(excess, 0), everything)


def test_the_cheapest_to_make_again_per_byte_goes_first():
    kept = [
        Kept(digest="dear", size_bytes=100, seconds=1000),
        Kept(digest="large", size_bytes=1000, seconds=1000),
        Kept(digest="cheap", size_bytes=100, seconds=1),
    ]
    assert evictions(kept, needed=(), excess_bytes=1) == ("cheap",)
    assert evictions(kept, needed=(), excess_bytes=101) == ("cheap", "large")
    assert evictions(kept, needed=("large",), excess_bytes=101) == ("cheap", "dear")


def test_what_goes_on_from_a_stage_that_is_gone_is_as_dear_as_both():
    kept = [
        Kept(digest="child", size_bytes=100, seconds=1, parent="middle"),
        Kept(digest="other", size_bytes=100, seconds=50),
    ]
    middle = Kept(digest="middle", size_bytes=0, seconds=10, parent="first")
    first = Kept(digest="first", size_bytes=0, seconds=40)
    assert evictions(kept, needed=(), excess_bytes=1) == ("child",)
    assert evictions(kept, needed=(), excess_bytes=1, gone={"middle": middle}) == ("child",)
    assert evictions(kept, needed=(), excess_bytes=1, gone={"middle": middle, "first": first}) == ("other",)


def test_the_least_that_a_sweep_can_work_with_is_less_than_the_most_and_grows_with_gangs():
    one = disk_need(plan(small_sweep()))
    assert 0 < one.output_bytes < one.least_bytes < one.most_bytes
    sweep = small_sweep()
    two = disk_need(plan(replace(sweep, gangs=replace(sweep.gangs, count=2))))
    assert two.least_bytes > one.least_bytes


@pytest.mark.parametrize("gangs", [1, 2, 5])
def test_the_least_is_never_more_than_the_most_where_no_stage_is_another_ones_parent(gangs):
    sweep = small_sweep(
        cells=(BASELINE,), pretrain=None, align_images=None, space=Space(), search=Search(trials=0), checkpoints=1
    )
    sweep = replace(sweep, confirmation_seeds=(1,))  # further ones stay while there is room
    need = disk_need(plan(replace(sweep, gangs=replace(sweep.gangs, count=gangs))))
    assert need.least_bytes == need.most_bytes


def test_checkpoints_to_choose_among_take_their_room_in_the_plan():
    sweep = small_sweep(checkpoints=1)
    one, two = disk_need(plan(sweep)), disk_need(plan(replace(sweep, checkpoints=2)))
    assert one.output_bytes == two.output_bytes
    leaves = len(sweep.cells) * len(sweep.confirmation_seeds)
    assert two.most_bytes - one.most_bytes >= leaves * one.output_bytes
    assert two.least_bytes - one.least_bytes >= len(sweep.cells) * one.output_bytes


def test_a_further_seed_takes_room_while_there_is_any_and_none_of_the_least():
    sweep = small_sweep()
    two = disk_need(plan(sweep))
    three = disk_need(plan(replace(sweep, confirmation_seeds=(1, 2, 3))))
    assert three.least_bytes == two.least_bytes
    stages = 3 + len(sweep.cells) * 2  # image alignment, an intermediate stage in two cells, and two checkpoints each
    assert three.most_bytes - two.most_bytes == stages * two.output_bytes


def test_where_nothing_is_searched_no_leader_takes_room():
    cells, nothing = (BASELINE,), {"space": Space(), "pretrain": None, "align_images": None}
    searched = small_sweep(cells=cells, search=Search(trials=1), **nothing)
    unsearched = replace(searched, search=Search(trials=0))
    one, none = disk_need(plan(searched)), disk_need(plan(unsearched))
    assert one.most_bytes - none.most_bytes == one.output_bytes and one.least_bytes == none.least_bytes


def test_a_disk_that_cannot_hold_the_worst_case_is_refused_with_the_limit_that_it_could_hold():
    planned = plan(small_sweep())
    need = disk_need(planned)
    assert list(disk_faults(planned, free_bytes=need.most_bytes)) == []
    (fault,) = disk_faults(planned, free_bytes=need.most_bytes - 1)
    assert f"set storage_limit_bytes={need.most_bytes - 1}" in fault
    (fault,) = disk_faults(planned, free_bytes=need.least_bytes - 1)
    assert f"the least that it can work with is {spoken(need.least_bytes)}" in fault
    assert list(disk_faults(planned, free_bytes=0, held_bytes=need.most_bytes)) == []
    limited = plan(small_sweep(storage_limit_bytes=need.least_bytes))
    assert list(disk_faults(limited, free_bytes=need.least_bytes)) == []
    (fault,) = disk_faults(plan(small_sweep(storage_limit_bytes=need.least_bytes - 1)), free_bytes=math.inf)
    assert fault.startswith("storage_limit_bytes must be at least") and f"raise it to {need.least_bytes}" in fault


def happening() -> Happening:
    return Happening(trial=TrialKey(cell="a", phase=Phase.SEARCH, number=0), what=What.FAILED, payload={"reason": "x"})


class FullUntil(pafs.LocalFileSystem):
    """A disk that refuses the first `left` moves."""

    left = 0
    why: int | None = errno.ENOSPC

    def move(self, source, target):
        if FullUntil.left:
            FullUntil.left -= 1
            raise OSError("no answer") if FullUntil.why is None else OSError(FullUntil.why, os.strerror(FullUntil.why))
        super().move(source, target)


@pytest.fixture
def patient(tmp_path, monkeypatch) -> tuple[PatientLedger, list[str]]:
    monkeypatch.setattr(patience, "ROOM_SECONDS", 0.0)
    monkeypatch.setattr(FullUntil, "why", errno.ENOSPC)
    ledger = PatientLedger(Ledger(FullUntil(), str(tmp_path), "mine").open())
    said: list[str] = []
    ledger.say = said.append
    return ledger, said


@pytest.mark.parametrize("why", [errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS, errno.EACCES, None])
def test_a_storage_that_cannot_be_written_makes_the_ledger_wait_and_say_so_once_and_nothing_is_lost(
    patient, monkeypatch, why
):
    ledger, said = patient
    monkeypatch.setattr(FullUntil, "why", why)
    FullUntil.left = 3
    ledger.record(happening())
    first = "the disk is full" if why in (errno.ENOSPC, errno.EDQUOT) else "the storage cannot be written"
    assert [text.split(";")[0].split(" (")[0] for text in said] == [first, "the storage can be written again"]
    assert ledger.happenings() == [happening()]


@pytest.mark.parametrize("why", [errno.ENOSPC, errno.EIO])
def test_a_storage_that_cannot_be_written_does_not_keep_a_sweep_from_stopping(patient, monkeypatch, why):
    ledger, _ = patient
    monkeypatch.setattr(FullUntil, "why", why)
    monkeypatch.setattr(FullUntil, "left", 10**9)
    ledger.stopped = lambda: "the sweep was stopped"
    with pytest.raises(GaveUp, match=r"the sweep was stopped, and the storage cannot be written \(.*\)"):
        ledger.record(happening())
    assert ledger.gave_up


def test_what_is_held_back_is_written_when_it_is_released_and_not_before(patient):
    ledger, _ = patient
    ledger.hold()
    ledger.record(happening())
    assert ledger.happenings() == []
    ledger.release()
    assert ledger.happenings() == [happening()]


def test_fragments_that_cannot_be_folded_stay_as_they_are(patient, monkeypatch, caplog):
    ledger, _ = patient
    ledger.record(happening())
    monkeypatch.setattr(FullUntil, "left", 10**9)
    ledger.fold()
    assert "could not be folded" in caplog.text
    assert ledger.happenings() == [happening()]


def test_a_watcher_that_cannot_write_is_told_of_once_and_stops_nothing(caplog):
    class Broken:
        def started(self, what):
            raise OSError("no room")

    watcher = Careless(Broken())
    watcher.started(1)
    watcher.started(2)
    assert caplog.text.count("no room") == 1
