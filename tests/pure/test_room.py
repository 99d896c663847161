"""Claims about a disk that is full: how much is asked of it, how that is found out, and who waits how."""

from __future__ import annotations

import errno
import os
import resource
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.pure.pair_of_ranks import pair
from trainables import pulse, room
from trainables.errors import is_full
from trainables.room import (
    LEAST_BYTES,
    LONGEST_PAUSE_SECONDS,
    MARGIN,
    MOST_BYTES,
    ROOM_SECONDS,
    Asked,
    await_room,
    fits,
    least_needed,
    size_of,
)

GB = 10**9


def needed(**known: int) -> int:
    return least_needed(**{"trains": True, "checkpoint_bytes": 0, "parent_bytes": 0, "written_bytes": 0} | known)


def test_what_a_stage_writes_next_is_asked_for_with_a_margin():
    assert needed() == LEAST_BYTES
    assert needed(checkpoint_bytes=GB) == int(MARGIN * GB)
    assert needed(parent_bytes=GB) == int(MARGIN * 3 * GB)
    assert needed(parent_bytes=2 * GB, checkpoint_bytes=GB) == int(MARGIN * 2 * GB)  # nearly all of it is frozen
    assert needed(written_bytes=GB, checkpoint_bytes=GB) == int(MARGIN * 2 * GB)
    assert needed(trains=False, parent_bytes=GB) == LEAST_BYTES


def test_a_disk_that_is_full_again_without_any_progress_is_asked_for_twice_as_much_after_twice_the_pause():
    asked = Asked()
    tries = [asked.again(GB, "step-10") for _ in range(100)]
    assert tries[:4] == [(GB, 0.0), (2 * GB, ROOM_SECONDS), (4 * GB, 2 * ROOM_SECONDS), (4 * GB, 4 * ROOM_SECONDS)]
    assert tries[-1] == (4 * GB, LONGEST_PAUSE_SECONDS)
    assert asked.again(GB, "step-20") == (GB, 0.0)


def test_a_size_that_was_guessed_much_too_small_is_reached_by_doubling():
    asked = Asked()
    assert max(asked.again(LEAST_BYTES, "")[0] for _ in range(100)) == MOST_BYTES


def test_room_is_there_if_the_disk_says_so_and_gives_it_and_nothing_is_left_of_asking(tmp_path):
    assert fits(tmp_path / "new", 3 * LEAST_BYTES + 1)
    assert size_of(tmp_path) == 0


def test_what_a_disk_says_that_it_has_not_is_not_taken_from_others_that_write(tmp_path, monkeypatch):
    monkeypatch.setattr(room, "_take", lambda *_: None)
    assert fits(tmp_path, 1)
    assert not fits(tmp_path, 2 * shutil.disk_usage(tmp_path).free)


@pytest.mark.parametrize("reserving", [True, False])
def test_a_limit_that_free_space_says_nothing_of_is_found_by_taking_the_room(reserving, tmp_path, monkeypatch):
    def unable(*_: int) -> None:
        raise OSError(errno.EOPNOTSUPP, "this filesystem cannot")

    if not reserving:
        monkeypatch.setattr(os, "posix_fallocate", unable)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (8 << 20, before[1]))
    try:
        assert fits(tmp_path, 8 << 20)
        assert not fits(tmp_path, (8 << 20) + 1)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_a_rank_tells_of_in_words_alone_is_full_too():
    for told in ("OSError: [Errno 28] the words of a library", "[Errno 122] another", "x: Disk quota exceeded (y)"):
        assert is_full(RuntimeError(f"rank 0 of 2 failed: {told}"))
    assert not is_full(RuntimeError("rank 0 of 2 failed: OSError: [Errno 280] of no disk"))


def waited(has_room: list[Callable[[], bool]], stopped: Callable[[], bool]) -> tuple[list[bool], list[int]]:
    """What each of two ranks came to that waited for room together, and how often they told one another."""
    ranks, stops = pair(), (stopped, bool)
    with ThreadPoolExecutor(2) as pool:
        asks = [pool.submit(await_room, has_room[one.rank], stops[one.rank], ranks=one) for one in ranks]
        return [ask.result(60) for ask in asks], [one.collectives for one in ranks]


def after(looks: int) -> Callable[[], bool]:
    """True from the `looks`-th time on that it is asked."""
    asked = iter(range(10**6))
    return lambda: next(asked) >= looks


@pytest.mark.parametrize("late", [0, 1])
def test_ranks_look_for_room_together_and_go_on_when_the_last_of_them_has_it(late, monkeypatch):
    monkeypatch.setattr(room, "ROOM_SECONDS", 0.0)
    looks = [after(0), after(0)]
    looks[late] = after(7)
    assert waited(looks, bool) == ([True, True], [16, 16])


def test_ranks_that_wait_stop_together(monkeypatch):
    monkeypatch.setattr(room, "ROOM_SECONDS", 0.0)
    assert waited([bool, bool], after(3)) == ([False, False], [8, 8])


def test_whoever_waits_for_room_does_not_hang_and_pauses_before_the_first_look(monkeypatch):
    times = iter((0.0, 1.0, 4.0, 11.0))
    silences: list[float] = []
    monkeypatch.setattr(room.time, "sleep", lambda _: silences.append(pulse.silence()))
    monkeypatch.setattr(room.time, "monotonic", lambda: next(times, 11.0))
    looks = after(0)
    assert await_room(lambda: bool(silences.append(-1.0)) or looks(), bool, ranks=None, pause_seconds=10.0)
    assert silences == [0.0, 0.0, -1.0]
    pulse.rest()
