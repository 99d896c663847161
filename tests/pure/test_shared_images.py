"""Claims about what towers made of images, in a store that is no folder: one machine makes it, others bring it."""

from __future__ import annotations

import errno
import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.pure.small_sweep import small_sweep
from tests.pure.stores import in_memory, local, subtree
from trainables.catalogue.encoder import LocalEncoder, Tower
from trainables.data import images
from trainables.shared_images import SharedImages, shared_images
from trainables.store import Store

PICTURES = [bytes([number]) for number in range(5)]


def make(given) -> np.ndarray:
    return np.array([[data[0], data[0] + 0.5] for data in given], dtype=np.float16).reshape(-1, 2)


def arrays(of: list[bytes], folder: Path, maker=make):
    keys, numbers = images.distinct(of)
    return images.arrays(keys, maker, lambda: of, folder)[numbers].tolist()


@pytest.fixture(params=[subtree, in_memory])
def machines(request, tmp_path) -> list[SharedImages]:
    """Two machines with a store and folders of their own."""
    store: Store = request.param(tmp_path)
    return [SharedImages(store.files, tmp_path / name / "images" / "tower", "tower") for name in ("one", "two")]


def never(given) -> np.ndarray:
    assert not len(given), "they were all brought"
    return make(given)


def test_what_one_machine_made_another_brings_and_makes_nothing(machines):
    one, two = machines
    assert one.bring() == 0
    made = arrays(PICTURES, one.folder)
    assert (one.send(), one.send()) == (1, 0)
    assert two.bring() == 1
    assert arrays(PICTURES, two.folder, never) == made
    assert two.bring() == 0 and two.send() == 0


def test_each_makes_what_is_missing_and_the_other_gets_it(machines):
    one, two = machines
    arrays(PICTURES[:3], one.folder)
    one.send()
    two.bring()
    asked = []
    arrays(PICTURES, two.folder, lambda given: asked.extend(given) or make(given))
    assert asked == PICTURES[3:]
    assert (two.send(), one.bring()) == (1, 1)
    assert arrays(PICTURES, one.folder, never) == make(PICTURES).tolist()


def test_a_file_that_came_in_half_is_left_out_and_sent_anew(machines):
    one, two = machines
    arrays(PICTURES, one.folder)
    one.send()
    (name,) = [path.name for path in one.folder.glob("*.arrow")]
    whole = (one.folder / name).read_bytes()
    one.files.write(one.files.at(f"images/tower/{name}"), whole[: len(whole) // 2])
    assert two.bring() == 0 and list(two.folder.rglob("*.arrow")) == []
    assert (one.send(), two.bring()) == (1, 1)


def test_a_part_of_a_file_is_deleted_where_the_disk_is_full_and_one_that_a_killed_process_left(machines, monkeypatch):
    one, two = machines
    arrays(PICTURES, one.folder)
    one.send()

    def cut(incoming, outgoing, size: int) -> None:
        outgoing.write(incoming.read(10))
        outgoing.flush()
        raise OSError(errno.ENOSPC, "no space left")

    monkeypatch.setattr("trainables.sealed_files.shutil.copyfileobj", cut)
    with pytest.raises(OSError, match="no space left"):
        two.bring()
    assert list(two.folder.rglob("*.arrow")) == []
    monkeypatch.undo()
    (two.folder / ".bringing" / "old.arrow").write_bytes(b"part")
    assert two.bring() == 1
    assert [path.parent for path in two.folder.rglob("*.arrow")] == [two.folder]


def test_one_process_brings_and_the_others_wait_for_it(machines, monkeypatch):
    one, two = machines
    arrays(PICTURES, one.folder)
    one.send()
    copy, copied = shutil.copyfileobj, []

    def slowly(*given) -> None:
        copied.append(given)
        time.sleep(0.2)
        copy(*given)

    monkeypatch.setattr("trainables.sealed_files.shutil.copyfileobj", slowly)
    with ThreadPoolExecutor() as pool:  # a lock of a file is kept from whoever opened it anew, in this process too
        brought = list(pool.map(lambda _: two.bring(), range(3)))
    assert sorted(brought) == [0, 0, 1] and len(copied) == 1


def test_a_folder_and_an_encoder_without_a_tower_share_nothing(tmp_path):
    encoder = small_sweep().encoder
    tower = replace(encoder, patches=Tower(model=LocalEncoder(path="nowhere")))
    assert shared_images(encoder, subtree(tmp_path), tmp_path) is None
    assert shared_images(tower, local(tmp_path), tmp_path) is None
