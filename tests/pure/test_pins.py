"""Claims about the file in which a sweep names what the others in its storage must not delete."""

from __future__ import annotations

import errno
import os
import time

import pytest
from pyarrow import fs

from tests.pure.stores import in_memory, local
from trainables.pins import FILE, NEEDED_SECONDS, RENEWED_SECONDS, PinFile, Pins, kept_from_others
from trainables.store import Store


@pytest.fixture(params=[local, in_memory])
def store(request, tmp_path) -> Store:
    return request.param(tmp_path)


def pins(**given) -> Pins:
    return Pins(**{"session": "s", "written": 1000.0, "leaves": ("leaf",), "open": ("next",)} | given)


def test_every_other_sweep_reads_what_one_has_written_and_the_next_run_of_that_one_too(store):
    assert PinFile(store, "sweeps/mine").others() == {}
    mine, other = PinFile(store, "sweeps/mine"), PinFile(store, "sweeps/other")
    mine.write(pins())
    other.write(pins(session="t", leaves=()))
    assert other.others() == {"mine": pins()} and mine.others() == {"other": pins(session="t", leaves=())}
    assert PinFile(store, "sweeps/mine").last == pins()
    mine.write(pins(leaves=("better",)))
    assert other.others()["mine"].leaves == ("better",)


def test_a_file_that_says_the_same_is_written_again_only_to_show_that_its_sweep_runs(store):
    mine, other = PinFile(store, "sweeps/mine"), PinFile(store, "sweeps/other")
    for later, seen in ((0.0, 1000.0), (RENEWED_SECONDS - 1, 1000.0), (RENEWED_SECONDS, 1000.0 + RENEWED_SECONDS)):
        mine.write(pins(written=1000.0 + later))
        assert other.others()["mine"].written == seen


def test_leaves_are_kept_for_good_and_what_open_trials_need_while_their_sweep_says_so():
    assert kept_from_others([pins()], now=1000.0 + NEEDED_SECONDS - 1) == {"leaf", "next"}
    assert kept_from_others([pins()], now=1000.0 + NEEDED_SECONDS) == {"leaf"}
    assert kept_from_others([], now=0.0) == set()


def test_what_others_need_is_kept_by_the_clock_of_the_storage_and_by_no_machine(tmp_path):
    store = local(tmp_path)
    for name, ago, wrote in (("runs", 60.0, -3600.0), ("is_over", NEEDED_SECONDS + 60.0, 3600.0)):
        PinFile(store, f"sweeps/{name}").write(
            pins(leaves=(f"{name}-leaf",), open=(name,), written=time.time() + wrote)
        )
        changed = time.time() - ago
        os.utime(tmp_path / f"store/sweeps/{name}/{FILE}", (changed, changed))
    mine = PinFile(store, "sweeps/mine")
    (tmp_path / "store/sweeps/mine").mkdir()
    assert mine.kept_by_others() == {"runs-leaf", "is_over-leaf", "runs"}
    assert list((tmp_path / "store/sweeps/mine").iterdir()) == []


def test_where_the_storage_states_no_times_what_was_written_counts(tmp_path, monkeypatch):
    monkeypatch.setattr("trainables.pins.storage_time", lambda *_: None)
    store = local(tmp_path)
    PinFile(store, "sweeps/runs").write(pins(leaves=(), open=("runs",), written=time.time()))
    PinFile(store, "sweeps/is_over").write(pins(leaves=(), open=("over",), written=time.time() - NEEDED_SECONDS))
    assert PinFile(store, "sweeps/mine").kept_by_others() == {"runs"}


def test_a_damaged_file_keeps_nothing_and_says_so_and_the_others_still_count(tmp_path, caplog):
    store = local(tmp_path)
    PinFile(store, "sweeps/whole").write(pins())
    torn = tmp_path / "store/sweeps/torn"
    torn.mkdir()
    (torn / FILE).write_text('{"session": "x"')
    assert PinFile(store, "sweeps/mine").others() == {"whole": pins()}
    assert f"sweeps/torn/{FILE} is damaged" in caplog.text


def test_a_file_that_cannot_be_written_stays_as_it_was(tmp_path, monkeypatch, caplog):
    store = local(tmp_path)
    mine = PinFile(store, "sweeps/mine")
    mine.write(pins())

    def full(*_: object) -> None:
        raise OSError("no room")

    monkeypatch.setattr("trainables.pins.put_whole", full)
    mine.write(pins(leaves=()))
    assert "could not be written: no room" in caplog.text
    assert PinFile(store, "sweeps/other").others() == {"mine": pins()}
    monkeypatch.undo()
    mine.write(pins(leaves=()))
    assert PinFile(store, "sweeps/other").others() == {"mine": pins(leaves=())}


def test_on_a_full_disk_what_others_need_is_told_still_so_that_the_rest_can_be_deleted(tmp_path, monkeypatch):
    store = local(tmp_path)
    PinFile(store, "sweeps/runs").write(pins(leaves=(), open=("runs",), written=time.time()))
    PinFile(store, "sweeps/is_over").write(pins(leaves=("leaf",), open=("over",), written=time.time()))
    changed = time.time() - NEEDED_SECONDS - 60.0
    os.utime(tmp_path / f"store/sweeps/is_over/{FILE}", (changed, changed))
    refusing(monkeypatch, errno.ENOSPC)
    assert PinFile(store, "sweeps/mine").kept_by_others() == {"runs", "leaf"}


def test_a_storage_that_does_not_answer_tells_no_time_and_nothing_may_be_deleted(store, monkeypatch):
    PinFile(store, "sweeps/other").write(pins(written=time.time()))
    for number in (errno.EIO, *([] if isinstance(store.filesystem, fs.LocalFileSystem) else [errno.ENOSPC])):
        refusing(monkeypatch, number)
        with pytest.raises(OSError, match="refused"):
            PinFile(store, "sweeps/mine").kept_by_others()


def refusing(monkeypatch, number: int) -> None:
    """From now on no time is told by a file that is written."""

    def refused(*_: object) -> None:
        raise OSError(number, "refused")

    monkeypatch.setattr("trainables.storage_clock.put_whole", refused)
