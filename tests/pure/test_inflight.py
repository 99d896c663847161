"""Claims about checkpoints in a folder that several sweeps, or a killed run and the next, write to at once."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from trainables.inflight import LocalCheckpoints, forget


def parts(folder: Path, *, pause: float = 0.0) -> None:
    for part in range(3):
        (folder / f"part-{part}").write_bytes(b"x" * 1000)
        time.sleep(pause)


def writing(folder: Path) -> list[str]:
    return [path.name for path in folder.glob(".writing-*")]


def test_two_sweeps_at_one_stage_save_without_a_word_to_one_another(tmp_path):
    errors = []

    def sweep() -> None:
        checkpoints = LocalCheckpoints(tmp_path / "running", 10)
        for n in range(1, 16):
            try:
                checkpoints.save(10 * n, lambda folder: parts(folder, pause=0.001))
            except Exception as error:
                errors.append(error)

    sweeps = [threading.Thread(target=sweep) for _ in range(2)]
    for one in sweeps:
        one.start()
    for one in sweeps:
        one.join()
    assert errors == []
    whole = list(LocalCheckpoints(tmp_path / "running", 10).kept())
    assert len(whole) == 2 and all(len(list(folder.glob("part-*"))) == 3 for folder in whole)


def test_a_checkpoint_that_another_sweep_is_writing_outlives_the_end_of_the_stage(tmp_path):
    checkpoints = LocalCheckpoints(tmp_path / "running", 10)

    def write(folder: Path) -> None:
        (folder / "first").write_text("1")
        LocalCheckpoints(tmp_path / "running", 10).save(20, parts)
        forget(tmp_path / "running")
        (folder / "second").write_text("2")

    checkpoints.save(10, write)
    (only,) = checkpoints.kept()
    assert sorted(path.name for path in only.iterdir()) == ["first", "seal.json", "second"]
    forget(tmp_path / "running")
    assert not (tmp_path / "running").exists()


def test_what_a_killed_process_was_writing_goes_with_the_next_save_and_that_of_another_machine_after_a_day(tmp_path):
    folder = tmp_path / "running"
    text = "import os, pathlib, sys; from trainables.inflight import LocalCheckpoints; "
    text += "LocalCheckpoints(pathlib.Path(sys.argv[1]), 1).save(1, lambda folder: os._exit(9))"
    assert subprocess.run([sys.executable, "-c", text, str(folder)], check=False).returncode == 9
    assert len(writing(folder)) == 1
    for name, age in (("elsewhere-1", 0), ("elsewhere-2", 90_000)):
        (folder / f".writing-{name}").mkdir()
        os.utime(folder / f".writing-{name}", (time.time() - age,) * 2)
    LocalCheckpoints(folder, 1).save(2, parts)
    assert writing(folder) == [".writing-elsewhere-1"]


def deleting(times: int, folder: Path):
    """A writer whose folder is deleted under it so many times; a library then raises what is no OSError."""
    left = [times]

    def write(aside: Path) -> None:
        if left[0]:
            left[0] -= 1
            shutil.rmtree(folder)
            raise RuntimeError("SafetensorError: I/O error")
        parts(aside)

    return write


def test_what_was_deleted_while_it_was_written_is_written_once_more_and_then_is_the_disks_fault(tmp_path):
    checkpoints = LocalCheckpoints(tmp_path / "running", 10)
    checkpoints.save(10, deleting(1, checkpoints.directory))
    assert len(list(checkpoints.kept())) == 1
    with pytest.raises(OSError, match="was deleted while it was written"):
        checkpoints.save(20, deleting(2, checkpoints.directory))


def test_an_error_of_the_writer_itself_is_told_as_it_is(tmp_path):
    def fail(folder: Path) -> None:
        raise RuntimeError("diverged")

    with pytest.raises(RuntimeError, match="diverged"):
        LocalCheckpoints(tmp_path / "running", 10).save(10, fail)
    assert list((tmp_path / "running").iterdir()) == []
