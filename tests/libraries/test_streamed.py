"""Claims about the table of answers in its files: a whole table's bytes, and not written again for the same answers."""

from __future__ import annotations

import shutil
import threading
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.fs as pafs
import pytest

from sweep import streamed, tables
from sweep.columns import PREDICTIONS
from sweep.lock import writing_tables
from sweep.results import NOTE, Results
from sweep.streamed import Streamed
from tests.pure import fake_sweep as fake
from trainables.whole_files import put_whole, whole_file

LOCAL = pafs.LocalFileSystem()


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("finished")
    fake.write(str(folder))
    Results.open(str(folder)).export()
    return folder


@pytest.fixture
def storage(finished, tmp_path) -> Path:
    shutil.copytree(finished, tmp_path / "storage")
    folder = tmp_path / "storage"
    Results.open(str(folder)).export()
    return folder


def _files(storage: Path) -> list[Path]:
    return [storage / "sweeps" / "fake" / "tables" / f"predictions.{ending}" for ending in ("parquet", "csv")]


def _times(storage: Path) -> list[int]:
    return [path.stat().st_mtime_ns for path in _files(storage)]


def _anew(storage: Path, tmp_path: Path) -> list[bytes]:
    """What the files hold when nothing of before is there."""
    Results.open(str(storage)).export(str(tmp_path / "anew"))
    return [(tmp_path / "anew" / path.name).read_bytes() for path in _files(storage)]


@pytest.mark.parametrize("sizes", [[], [0], [99], [100], [100, 100], [30, 270, 1, 0, 64], [250, 250]])
def test_a_table_written_in_parts_has_the_bytes_of_a_whole_one(sizes, tmp_path, monkeypatch):
    monkeypatch.setattr(streamed, "ROW_GROUP", 100)
    monkeypatch.setattr(tables, "ROW_GROUP", 100)
    schema = pa.schema([pa.field("name", pa.string(), metadata={"unit": "of none"}), pa.field("number", pa.int64())])
    rows = [
        {"name": None if place % 7 == 3 else f'a "{place % 11}", ü', "number": place} for place in range(sum(sizes))
    ]
    whole = pa.Table.from_pylist(rows, schema=schema)
    ends = [sum(sizes[:count]) for count in range(len(sizes) + 1)]
    parts = [whole.slice(start, end - start) for start, end in pairwise(ends)]
    table = Streamed(schema=schema, made_of="", parts=lambda: parts)
    paths = streamed.write(LOCAL, str(tmp_path / "table"), table)
    assert Path(paths[0]).read_bytes() == tables.parquet_bytes(whole).to_pybytes()
    assert Path(paths[1]).read_bytes() == tables.csv_bytes(whole).to_pybytes()


def test_the_table_of_answers_is_in_order_of_cells_runs_tasks_languages_and_items():
    table = tables.predictions(fake.standing(), fake.predictions)
    assert table.schema.equals(PREDICTIONS, check_metadata=True)
    key = ("sweep", "cell", "number", "task", "language", "item_id")
    assert table.equals(table.take(pc.sort_indices(table, sort_keys=[(name, "ascending") for name in key])))
    assert len(table) == 9 * len(fake.LANGUAGES) * fake.ITEMS


def test_the_same_answers_are_not_written_again(storage, tmp_path):
    before = _times(storage)
    paths = Results.open(str(storage)).export()
    assert _times(storage) == before
    assert set(map(str, _files(storage))) <= set(paths)
    assert [path.read_bytes() for path in _files(storage)] == _anew(storage, tmp_path)


def test_what_somebody_has_changed_is_written_again(storage, tmp_path):
    for path in _files(storage):
        held = path.read_bytes()
        path.write_bytes(bytes(len(held)))
        Results.open(str(storage)).export()
        assert path.read_bytes() == held
        path.unlink()
        Results.open(str(storage)).export()
        assert path.read_bytes() == held


@pytest.mark.parametrize("note", [None, b"", b"[]", b'{"made_of": '])
def test_without_a_note_that_can_be_read_the_answers_are_written(storage, note):
    place, before = storage / "sweeps" / "fake" / NOTE, _times(storage)
    place.unlink()
    if note is not None:
        place.write_bytes(note)
    Results.open(str(storage)).export()
    assert all(new > old for new, old in zip(_times(storage), before, strict=True))


def test_another_version_of_what_shapes_the_bytes_writes_them_again(storage, monkeypatch):
    before = _times(storage)
    monkeypatch.setitem(streamed.PARQUET, "compression_level", 4)
    Results.open(str(storage)).export()
    assert all(new > old for new, old in zip(_times(storage), before, strict=True))


def test_answers_that_are_gone_or_damaged_leave_the_files(storage, tmp_path):
    digest = fake.evaluation("none", 0, 1).digest
    (answers,) = (storage / "results" / digest).glob("*.parquet")
    answers.write_bytes(answers.read_bytes()[:-1] + b"?")
    Results.open(str(storage)).export()
    assert digest not in _files(storage)[1].read_text()
    assert [path.read_bytes() for path in _files(storage)] == _anew(storage, tmp_path)


def test_a_run_that_is_not_reported_any_more_leaves_the_files(storage, tmp_path):
    definition = storage / "sweeps" / "fake" / "definition.json"
    definition.write_text(definition.read_text().replace('"name": "image_only"', '"name": "other"'))
    Results.open(str(storage)).export()
    assert "image_only" not in _files(storage)[1].read_text()
    assert [path.read_bytes() for path in _files(storage)] == _anew(storage, tmp_path)


def test_a_writer_that_dies_leaves_no_note_behind_it(storage, monkeypatch):
    (_files(storage)[0]).unlink()
    monkeypatch.setattr(streamed, "write", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        Results.open(str(storage)).export()
    assert not (storage / "sweeps" / "fake" / NOTE).exists()


def test_several_writers_of_one_file_tear_nothing_and_the_last_one_stays(tmp_path):
    path, texts, seen, stop = str(tmp_path / "file"), (b"a" * 300_000, b"b" * 200_000), [], threading.Event()
    put_whole(LOCAL, path, texts[0])

    def read() -> None:
        while not stop.is_set():
            seen.append(Path(path).read_bytes() in texts)

    def write(data: bytes) -> None:
        for _ in range(40):
            put_whole(LOCAL, path, data)

    reader = threading.Thread(target=read)
    reader.start()
    with ThreadPoolExecutor() as writers:
        done = [writers.submit(write, data) for data in texts]
    stop.set()
    reader.join()
    assert [one.exception() for one in done] == [None, None]
    assert len(seen) > 10 and all(seen) and list(tmp_path.iterdir()) == [Path(path)]
    put_whole(LOCAL, path, b"last")
    assert Path(path).read_bytes() == b"last"


def test_tables_are_written_by_one_process_at_a_time_and_elsewhere_by_any(storage, tmp_path, monkeypatch):
    monkeypatch.setattr("sweep.lock.TABLES_SECONDS", 0.1)
    results = Results.open(str(storage))
    with writing_tables(LOCAL, str(storage / "sweeps" / "fake")):
        with pytest.raises(TimeoutError, match=r"another process has been writing the tables in .*fake for 0 s; wait"):
            results.export()
        assert results.export(str(tmp_path / "elsewhere"))
    assert results.export()


@pytest.mark.parametrize("elsewhere", [False, True])
def test_a_file_that_fails_half_way_leaves_what_was_there(elsewhere, tmp_path):
    filesystem = pafs.SubTreeFileSystem(str(tmp_path), LOCAL) if elsewhere else LOCAL
    path = "file" if elsewhere else str(tmp_path / "file")
    put_whole(filesystem, path, b"before")
    with pytest.raises(OSError, match="the disk is full"), whole_file(filesystem, path) as file:
        file.write(b"half")
        raise OSError("the disk is full")
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]
    assert (tmp_path / "file").read_bytes() == b"before"
    with whole_file(filesystem, path) as file:
        file.write(b"after")
    assert (tmp_path / "file").read_bytes() == b"after"
