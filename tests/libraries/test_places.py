"""Claims about storage elsewhere: whole or absent whatever the line does, and the same on a real S3 server."""

from __future__ import annotations

import pickle
import time
from types import SimpleNamespace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import fs

from sweep import lock
from sweep.ledger import Ledger
from sweep.records import Happening, Phase, TrialKey, What
from tests.examples import of_examples
from tests.pure.flaky import Flaky
from tests.pure.s3_server import CREDENTIALS, s3_server, uri
from tests.pure.stores import behind
from tests.pure.test_store import PREDICTED, STAGE, commit
from trainables.faults import Invalid
from trainables.places import Patience, Patient, patient, place_of
from trainables.store import Absent, Store

#: Enough tries that none of the seeded plans of trouble below outlasts them; no pause to speak of.
STUBBORN = Patience(tries=40, first_pause_seconds=1e-6, longest_pause_seconds=1e-6)


@pytest.fixture(scope="module")
def server():
    with s3_server() as place, pytest.MonkeyPatch.context() as patch:
        for name, value in CREDENTIALS.items():
            patch.setenv(name, value)
        yield place


# On a bad line


@of_examples(0.3)
@given(seed=st.integers(0, 10_000))
def test_what_was_committed_over_a_bad_line_is_found_whole(seed, tmp_path_factory):
    folder = tmp_path_factory.mktemp("bad")
    line = Flaky(folder, seed=seed, share=0.15)
    manifest = commit(behind(folder, line, patience=STUBBORN), folder=folder / "output")
    store = behind(folder, Flaky(folder, seed=seed + 1, share=0.15), patience=STUBBORN)
    assert store.find(STAGE.digest) == manifest
    fetched = store.fetch(STAGE.digest)
    assert (fetched / "model.safetensors").read_bytes() == b"weights"
    assert store.predictions(STAGE.digest).equals(PREDICTED)
    assert line.troubles


class Hadoop:
    """A local folder that moves no file onto another, as HDFS does not."""

    type_name = "hdfs"

    def __init__(self) -> None:
        self.inner = fs.LocalFileSystem()

    def __getattr__(self, name: str):
        return getattr(self.inner, name)

    def move(self, source: str, target: str) -> None:
        if self.inner.get_file_info(target).type != fs.FileType.NotFound:
            raise OSError(f"HDFS rename of {source} to {target} failed")
        self.inner.move(source, target)


def test_a_file_is_replaced_where_no_file_is_moved_onto_another(tmp_path):
    filesystem = fs.PyFileSystem(Patient(Hadoop(), Patience(tries=1)))  # type: ignore[arg-type]
    for text in (b"first", b"second"):
        with filesystem.open_output_stream(str(tmp_path / "lease.json")) as stream:
            stream.write(text)
    assert (tmp_path / "lease.json").read_bytes() == b"second"
    assert [file.name for file in tmp_path.iterdir()] == ["lease.json"]


def test_a_ledger_on_a_bad_line_keeps_every_happening_once(tmp_path):
    line = Flaky(tmp_path, seed=3, share=0.2, delay_seconds=0.002)
    ledger = Ledger(patient(fs.PyFileSystem(line), STUBBORN), "bucket", "small").open()
    happenings = [
        Happening(trial=TrialKey(cell="none", phase=Phase.SEARCH, number=number), what=What.PROPOSED)
        for number in range(10)
    ]
    for happening in (*happenings, *happenings):
        ledger.record(happening)
    assert ledger.happenings() == happenings
    kinds = {trouble.split()[-1] for trouble in line.troubles}
    assert {"failed", "acknowledged", "lost", "short", "repeated"} <= kinds


def test_a_file_whose_writer_fails_half_way_is_not_stored_and_one_written_after_a_failure_is(tmp_path):
    filesystem = patient(fs.PyFileSystem(Flaky(tmp_path, seed=0, share=0.0)), STUBBORN)
    with pytest.raises(RuntimeError, match="half way"):
        with filesystem.open_output_stream("half") as stream:
            stream.write(b"half")
            raise RuntimeError("half way")
    try:
        raise RuntimeError("before")
    except RuntimeError:
        with filesystem.open_output_stream("whole") as stream:
            stream.write(b"whole")
        with pytest.raises(ValueError, match="inner"):
            with filesystem.open_output_stream("inner half") as stream:
                stream.write(b"half")
                raise ValueError("inner") from None
    filesystem.open_output_stream("forgotten").write(b"half")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["whole"]


def test_a_dead_line_gives_up_after_the_tries_and_leaves_nothing_half_written(tmp_path):
    line = Flaky(tmp_path, seed=0, share=0.0)
    store = behind(tmp_path, line, patience=Patience(tries=3, first_pause_seconds=1e-6))
    commit(store, folder=tmp_path / "output")
    line.dead = True
    with pytest.raises(Invalid, match="must be a place that can be written"):
        store.check_writable()
    line.dead = False
    assert store.find(STAGE.digest) is not None


def test_a_read_that_breaks_goes_on_where_it_broke(tmp_path):
    (tmp_path / "large").write_bytes(bytes(range(256)) * 20_000)
    filesystem = patient(fs.PyFileSystem(Flaky(tmp_path, seed=1, share=0.3)), STUBBORN)
    with filesystem.open_input_stream("large") as stream:
        assert stream.read() == bytes(range(256)) * 20_000
    with filesystem.open_input_file("large") as file:
        file.seek(255)
        assert file.read(2) == b"\xff\x00"


def test_what_no_second_try_makes_right_is_tried_once(tmp_path):
    filesystem = patient(fs.PyFileSystem(Flaky(tmp_path, seed=0, share=0.0)), Patience(first_pause_seconds=1000))
    with pytest.raises(FileNotFoundError):
        filesystem.open_input_stream("nothing")
    with pytest.raises(FileNotFoundError):
        filesystem.delete_file("nothing")


@of_examples(4)
@given(failures=st.integers(1, 60))
def test_pauses_grow_and_stay_below_one_and_a_half_times_the_longest(failures):
    patience = Patience()
    pause = patience.pause_seconds(failures)
    assert 0.5 <= pause <= 1.5 * patience.longest_pause_seconds
    assert failures > 6 or pause <= 1.5 * 0.5 * 2 ** (failures - 1)


# Places


def test_an_adapter_of_fsspec_is_a_place():
    pytest.importorskip("fsspec", reason="fsspec is not installed")
    filesystem, root = place_of("fsspec+memory://folder/inside")
    assert filesystem.type_name == "py::patient+py::fsspec+memory"
    filesystem.create_dir(root, recursive=True)
    with filesystem.open_output_stream(f"{root}/file") as stream:
        stream.write(b"content")
    assert filesystem.get_file_info(f"{root}/file").size == 7


def test_a_local_folder_is_not_wrapped():
    assert isinstance(place_of("sweeps")[0], fs.LocalFileSystem)
    assert isinstance(place_of("file:///sweeps")[0], fs.LocalFileSystem)


# On a real S3 server


def test_a_stage_committed_to_s3_is_found_from_another_machine(server, tmp_path):
    place = uri(*server, "commits")
    store = Store(place, cache=tmp_path / "one")
    store.check_writable()
    manifest = commit(store)
    other = pickle.loads(pickle.dumps(Store(place, cache=tmp_path / "two")))
    assert other.find(STAGE.digest) == manifest
    assert (other.fetch(STAGE.digest) / "inner" / "config.json").read_text() == "{}"
    assert other.predictions(STAGE.digest).equals(PREDICTED)


def test_nothing_is_renamed_on_s3_and_no_part_is_left(server, tmp_path):
    store = Store(uri(*server, "parts"), cache=tmp_path)
    commit(store)
    listed = store.filesystem.get_file_info(fs.FileSelector(store.root, recursive=True))
    names = [info.path for info in listed if info.type == fs.FileType.File]
    assert sorted(name.rsplit("/", 1)[1] for name in names) == [
        "config.json",
        "manifest.json",
        "model.safetensors",
        "one-1.parquet",
        "results.json",
    ]


def test_a_damaged_object_is_absent_and_run_again(server, tmp_path):
    store = Store(uri(*server, "damaged"), cache=tmp_path / "one")
    manifest = commit(store)
    with store.filesystem.open_output_stream(f"{store.root}/stages/{STAGE.digest}/one-1/model.safetensors") as stream:
        stream.write(b"Weights")
    other = Store(uri(*server, "damaged"), cache=tmp_path / "two")
    with pytest.raises(Absent, match=r"model\.safetensors has another sha256"):
        other.fetch(STAGE.digest)
    assert manifest is not None and other.find(STAGE.digest) is None


def test_a_checkpoint_sent_to_s3_is_what_the_next_machine_goes_on_from(server, tmp_path):
    place = uri(*server, "inflight")
    one, two = Store(place, cache=tmp_path / "one").under_way, Store(place, cache=tmp_path / "two").under_way
    for step in (10, 20):
        (one.folder("d1") / "state").write_text(f"step {step}")
        one.keep("d1", step)
    two.offer("d1", "a-2")
    (one.folder("d1") / "state").write_text("step 5")
    one.keep("d1", 5)  # cut off and late: it neither hides nor deletes the one of more steps
    newest, before = two.offered("d1", "a-2")
    for name, step in ((newest, 20), (before, 10)):
        assert two.fetch("d1", name) == ""
        assert (two.folder("d1") / "state").read_text() == f"step {step}"
    two.clear("d1")
    two.offer("d1", "a-3")
    assert two.offered("d1", "a-3") == () and list(two.folder("d1").iterdir()) == []


def test_a_ledger_on_s3_reads_back_in_order(server):
    filesystem, root = place_of(uri(*server, "ledger"))
    ledger = Ledger(filesystem, root, "small").open()
    key = TrialKey(cell="none", phase=Phase.SEARCH, number=0)
    happenings = [Happening(trial=key, what=what) for what in (What.FINISHED, What.PROPOSED)]
    for happening in reversed(happenings):
        ledger.record(happening)
    assert ledger.happenings() == happenings


def test_a_table_is_read_from_s3_in_pieces(server):
    filesystem, root = place_of(uri(*server, "tables"))
    with filesystem.open_output_stream(f"{root}/one.parquet") as stream:
        pq.write_table(pa.table({"a": list(range(1000))}), stream)
    assert pq.read_table(f"{root}/one.parquet", filesystem=filesystem)["a"].to_pylist() == list(range(1000))


def test_a_bucket_that_is_not_there_is_refused_at_once(server):
    place = uri(*server, "x").replace("bucket/", "no-such-bucket/")
    with pytest.raises(Invalid, match=r"must be a place that can be written, got .*(?i:no.?such.?bucket)"):
        Store(place).check_writable()


def test_a_lease_on_an_object_store_is_as_old_as_the_stores_own_clock_says(server, monkeypatch):
    filesystem, root = place_of(uri(*server, "leases"))
    path = f"{root}/sweeps/mine/lease.json"
    with filesystem.open_output_stream(path) as stream:
        stream.write(b"{}")
    true = time.time
    monkeypatch.setattr(lock, "time", SimpleNamespace(time=lambda: true() + 3600))
    assert 0 <= lock._age(filesystem, path) < 60
    (left,) = filesystem.get_file_info(fs.FileSelector(path.rpartition("/")[0]))
    assert left.path == path
