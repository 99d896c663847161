"""Claims about what killed runs leave in a storage: it goes, and nothing goes that anybody may still read."""

from __future__ import annotations

import errno
import os
import time
from types import SimpleNamespace

import pytest
from pyarrow import fs

from sweep.clearing import Cleared, clear
from sweep.lock import held
from tests.pure.stores import in_memory, local, subtree
from tests.ray_local.stage_paths import path
from trainables.leftovers import (
    CLAIMED_WITHIN_SECONDS,
    UNCLAIMED_SECONDS,
    UNNAMED_SECONDS,
    Owners,
    Seen,
    bytes_by_digest,
    left_over,
)
from trainables.pins import PinFile, Pins
from trainables.store import Store

NOW = 1e9
FIRST, SECOND, THIRD = path()
OWNERS = Owners(
    over=frozenset({"dead"}), running=frozenset({"live"}), open=frozenset({"open"}), mine=frozenset({"open", "mine"})
)


def seen(text: str, *, ago: float = 1000.0, size: int = 10) -> Seen:
    return Seen(path=tuple(text.strip("/").split("/")), size_bytes=size, changed=NOW - ago, is_folder=text[-1] == "/")


def gone(*found: Seen, owners: Owners = OWNERS, counted: str = "") -> list[str]:
    return ["/".join(one.path) for one in left_over(found, owners, counted=lambda _: counted, now=NOW)]


@pytest.mark.parametrize(
    ("attempt", "ago", "goes"),
    [
        ("dead-1", 0.0, True),
        ("live-1", UNCLAIMED_SECONDS + 1, False),
        ("strange-1", UNCLAIMED_SECONDS - 1, False),
        ("strange-1", UNCLAIMED_SECONDS + 1, True),
    ],
)
def test_an_attempt_goes_when_its_run_is_over_and_one_of_no_known_run_by_its_age(attempt, ago, goes):
    files = (seen(f"stages/d/{attempt}/", ago=ago), seen(f"stages/d/{attempt}/inner/weights", ago=ago))
    assert gone(*files) == [f"stages/d/{attempt}"] * goes
    assert gone(files[1]) == [f"stages/d/{attempt}"] * goes  # an object store has no folders


def test_the_attempt_that_the_manifest_names_stays_whoever_made_it_and_the_others_go():
    manifest = seen("stages/d/manifest.json")
    one, two = seen("stages/d/dead-1/weights"), seen("stages/d/dead-2/weights")
    assert gone(manifest, one) == []
    assert gone(manifest, one, two, counted="dead-2") == ["stages/d/dead-1"]
    assert gone(manifest, one, two, counted="") == []


def test_what_was_written_last_in_an_attempt_is_its_age_and_all_that_is_in_it_its_size():
    new = seen("stages/d/strange-1/inner/new", ago=1.0)
    old = seen("stages/d/strange-1/old", ago=UNCLAIMED_SECONDS * 2)
    assert gone(old, new) == []
    (found,) = left_over([old, old], OWNERS, counted=lambda _: "", now=NOW)
    assert (found.size_bytes, found.is_folder) == (20, True)


@pytest.mark.parametrize(
    ("digest", "ago", "goes"),
    [
        ("open", UNCLAIMED_SECONDS * 2, False),
        ("mine", CLAIMED_WITHIN_SECONDS + 1, True),
        ("mine", CLAIMED_WITHIN_SECONDS - 1, False),
        ("finished", CLAIMED_WITHIN_SECONDS + 1, True),
        ("strange", UNCLAIMED_SECONDS - 1, False),
        ("strange", UNCLAIMED_SECONDS + 1, True),
    ],
)
def test_checkpoints_go_where_no_open_trial_needs_them(digest, ago, goes):
    finished = seen("stages/finished/manifest.json")
    assert gone(finished, seen(f"inflight/{digest}/step-1/state", ago=ago)) == [f"inflight/{digest}"] * goes


def test_where_no_other_sweep_runs_checkpoints_that_nobody_needs_go_at_once():
    assert gone(seen("inflight/mine/step-1/state", ago=0.1), owners=Owners(mine=frozenset({"mine"}))) == [
        "inflight/mine"
    ]


def test_files_that_never_got_their_names_go_after_a_day_and_others_stay():
    names = ["stages/d/manifest.json.1a.part", "results/d/results.json.1a.part", "probe-12", "results/d/results.json"]
    old = [seen(name, ago=UNNAMED_SECONDS + 1) for name in names]
    assert gone(*old) == names[:3]
    assert gone(*(seen(name, ago=UNNAMED_SECONDS - 1) for name in names)) == []


def test_the_bytes_of_checkpoints_are_counted_by_stage():
    found = [
        seen("inflight/a/"),
        seen("inflight/a/1/x"),
        seen("inflight/a/2/y"),
        seen("inflight/b/z"),
        seen("stages/a/x/y"),
    ]
    assert bytes_by_digest(found, "inflight") == {"a": 20, "b": 10}


# In a storage


@pytest.fixture(params=[local, in_memory])
def store(request, tmp_path) -> Store:
    return request.param(tmp_path)


def write(store: Store, name: str) -> None:
    path = f"{store.root}/{name}"
    store.filesystem.create_dir(path.rpartition("/")[0], recursive=True)
    with store.filesystem.open_output_stream(path) as stream:
        stream.write(b"0123456789")


def there(store: Store, name: str) -> bool:
    return store.filesystem.get_file_info(f"{store.root}/{name}").type != fs.FileType.NotFound


def commit(store: Store, stage, attempt: str) -> None:
    output = store.workspace(stage.digest, attempt)
    (output / "weights").write_bytes(b"weights")
    store.commit(stage, output, attempt, steps=1, seconds=1.0)


def test_what_a_killed_run_has_left_goes_when_its_sweep_begins_again_and_all_else_stays(store):
    PinFile(store, "sweeps/mine").write(Pins(session="before", written=time.time()))
    commit(store, FIRST, "before-1")
    stays = ["inflight/open/step-1/state", "stages/second/unknown-1/weights", "inflight/unknown/step-1/state"]
    goes = [
        f"stages/{FIRST.digest}/before-2/weights",
        "stages/second/before-3/weights",
        f"inflight/{FIRST.digest}/step-1/state",
        "inflight/ended/step-1/state",
    ]
    for name in (*stays, *goes):
        write(store, name)
    cleared = clear(store, "mine", stages=[FIRST.digest, "second", "ended", "open"], still_open=["open"])
    assert cleared == Cleared(pieces=4, size_bytes=40)
    assert [there(store, name) for name in stays] == [True] * 3
    assert [there(store, name) for name in goes] == [False] * 4
    assert store.find(FIRST.digest) is not None and store.fetch(FIRST.digest)
    assert clear(store, "mine", stages=[], still_open=[]) == Cleared()


def test_a_file_of_the_sweep_whose_writer_was_killed_before_it_got_its_name_goes_after_a_day(tmp_path):
    store = local(tmp_path)
    names = [f"sweeps/{sweep}/tables/scores.csv.{age}.partial" for sweep in ("mine", "other") for age in ("new", "old")]
    for name in (*names, "sweeps/mine/tables/scores.csv"):
        write(store, name)
        if name.endswith("old.partial") or name.endswith(".csv"):
            os.utime(f"{store.root}/{name}", (time.time() - UNNAMED_SECONDS - 60,) * 2)
    assert clear(store, "mine", stages=[], still_open=[]) == Cleared(pieces=1, size_bytes=10)
    assert [there(store, name) for name in names] == [True, False, True, True]
    assert there(store, "sweeps/mine/tables/scores.csv")


def test_what_belongs_to_another_sweep_stays_while_that_runs_and_its_attempts_go_when_it_is_over(store, monkeypatch):
    monkeypatch.setattr("sweep.lock.SETTLING_SECONDS", 0.0)
    PinFile(store, "sweeps/other").write(Pins(session="theirs", written=time.time(), open=("open",)))
    attempt, checkpoint = "stages/second/theirs-1/weights", "inflight/open/step-1/state"
    for name in (attempt, checkpoint):
        write(store, name)
    with held(store.filesystem, store.root, "other"):
        assert clear(store, "mine", stages=["open"], still_open=[]) == Cleared()
    assert clear(store, "mine", stages=["open"], still_open=[]) == Cleared(pieces=1, size_bytes=10)
    assert not there(store, attempt) and there(store, checkpoint)


@pytest.mark.parametrize("ahead", [-3600.0, 120.0, UNCLAIMED_SECONDS * 2])
def test_a_machine_whose_clock_is_wrong_deletes_nothing_that_a_sweep_of_another_machine_writes(
    tmp_path, monkeypatch, ahead
):
    monkeypatch.setattr("sweep.lock.SETTLING_SECONDS", 0.0)
    store = subtree(tmp_path)  # with leases, as on an object store
    PinFile(store, "sweeps/theirs").write(Pins(session="theirs", written=time.time(), open=("open",)))
    names = ["stages/second/theirs-1/weights", "stages/second/unknown-1/weights", "inflight/mine/step-1/state"]
    for name in names:
        write(store, name)
    true = time.time
    wrong = SimpleNamespace(**vars(time) | {"time": lambda: true() + ahead})
    with held(store.filesystem, store.root, "theirs"):
        for module in ("sweep.lock", "sweep.clearing"):
            monkeypatch.setattr(f"{module}.time", wrong)
        assert clear(store, "mine", stages=["mine"], still_open=[]) == Cleared()
        monkeypatch.undo()
        monkeypatch.setattr("sweep.lock.SETTLING_SECONDS", 0.0)
    assert [there(store, name) for name in names] == [True] * 3
    assert not [path for path in (tmp_path / "inside").rglob("*") if "probe" in path.name or "lease" in path.name]


def test_a_full_disk_is_cleared_too(tmp_path, monkeypatch):
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "no space left")

    store = local(tmp_path)
    PinFile(store, "sweeps/mine").write(Pins(session="before", written=time.time()))
    write(store, "stages/second/before-1/weights")
    monkeypatch.setattr("trainables.storage_clock.put_whole", full)
    assert clear(store, "mine", stages=["second"], still_open=[]) == Cleared(pieces=1, size_bytes=10)


def test_a_storage_that_cannot_be_listed_stays_as_it_is(tmp_path, monkeypatch, caplog):
    def unreadable(*_, **__):
        raise OSError("no answer")

    monkeypatch.setattr("sweep.clearing.seen_in", unreadable)
    assert clear(local(tmp_path), "mine", stages=[], still_open=[]) == Cleared()
    assert "could not be looked for: no answer" in caplog.text


def test_an_attempt_that_is_not_committed_leaves_nothing_in_the_storage_nor_in_the_cache(store, tmp_path):
    commit(store, FIRST, "one-1")
    assert not (tmp_path / "cache/work" / FIRST.digest / "one-1").exists()
    store.workspace(FIRST.digest, "one-2")
    write(store, f"stages/{FIRST.digest}/one-2/weights")
    store.discard(FIRST.digest, "one-2")
    assert not there(store, f"stages/{FIRST.digest}/one-2") and store.find(FIRST.digest) is not None
    assert not list((tmp_path / "cache").glob("work/*/one-2"))
