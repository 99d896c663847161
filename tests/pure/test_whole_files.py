"""What a killed writer has left of a file goes when its folder is written again."""

from __future__ import annotations

import os
import time

import pyarrow.fs as pafs

from trainables.whole_files import LEFT_SECONDS, clear_left


def test_half_written_files_of_killed_writers_go_after_a_day_and_no_other_does(tmp_path):
    then = time.time() - LEFT_SECONDS - 60
    left, younger = tmp_path / "scores.csv.0123abcd.partial", tmp_path / "scores.csv.0123abce.partial"
    others = [tmp_path / name for name in ("scores.csv", "film.partial", "film.mkv.0123abcg.partial")]
    inner = tmp_path / "inner" / left.name
    inner.parent.mkdir()
    for path in (left, younger, inner, *others):
        path.write_text("")
        os.utime(path, (then, then))
    os.utime(younger)
    clear_left(pafs.LocalFileSystem(), str(tmp_path))
    assert sorted(tmp_path.rglob("*.*")) == sorted([younger, inner, *others])
    clear_left(pafs.LocalFileSystem(), str(tmp_path / "absent"))
