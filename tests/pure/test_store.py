"""Claims about the store: complete or absent whatever happened, and nothing damaged is believed."""

from __future__ import annotations

import json
import logging
import pickle
import tempfile
from contextlib import suppress
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import fs

from tests.examples import of_examples
from tests.pure.stores import by_uri, in_memory, local, subtree
from tests.ray_local.stage_paths import path
from trainables.catalogue.task import Role
from trainables.faults import Invalid
from trainables.scores import Progress, Score
from trainables.sealed_files import SealedFiles
from trainables.store import PREDICTIONS, Absent, Manifest, Store

STAGES = path()
STAGE = STAGES[0]
SCORE = Score(
    task="text_nli",
    language="en",
    split="dev",
    role=Role.SELECT,
    metric="accuracy",
    value=0.5,
    correct=1,
    count=2,
    step=10,
)
HISTORY = (Progress(digest=STAGE.digest, step=10, scores=(SCORE,)),)
PREDICTED = pa.table({"item": ["0", "1"], "gold": ["a", "b"], "predicted": ["a", "a"]})


def written(folder: Path) -> Path:
    """An output directory with two files, one of them in a folder, and predictions."""
    (folder / "inner").mkdir(parents=True)
    (folder / "model.safetensors").write_bytes(b"weights")
    (folder / "inner" / "config.json").write_text("{}")
    pq.write_table(PREDICTED, folder / PREDICTIONS)
    return folder


def commit(store: Store, *, attempt: str = "one-1", folder: Path | None = None, **given) -> Manifest | None:
    output = written(folder or store.workspace(STAGE.digest, attempt))
    return store.commit(STAGE, output, attempt, steps=20, seconds=1.5, history=HISTORY, scores=(SCORE,), **given)


@pytest.fixture(params=[local, by_uri, subtree, in_memory])
def store(request, tmp_path):
    return request.param(tmp_path)


def test_what_was_committed_is_found_with_its_files_scores_and_predictions(store, tmp_path):
    store.check_writable()
    manifest = commit(store)
    assert store.find(STAGE.digest) == manifest
    assert manifest.stage == STAGE
    assert (manifest.done().reused, manifest.done().history, manifest.done().scores) == (True, HISTORY, (SCORE,))
    fetched = store.fetch(STAGE.digest)
    assert (fetched / "model.safetensors").read_bytes() == b"weights"
    assert (fetched / "inner" / "config.json").read_text() == "{}"
    assert store.fetch(STAGE.digest) == fetched
    assert store.scores(STAGE.digest) == (SCORE,)
    assert store.predictions(STAGE.digest) == PREDICTED


def test_a_file_written_elsewhere_can_be_committed_too(store, tmp_path):
    commit(store, folder=tmp_path / "elsewhere")
    assert (store.fetch(STAGE.digest) / "model.safetensors").read_bytes() == b"weights"


def test_what_was_never_committed_is_absent(store):
    assert store.find(STAGE.digest) is None
    assert store.results(STAGE.digest) is store.scores(STAGE.digest) is store.predictions(STAGE.digest) is None
    with pytest.raises(Absent, match="must be in the store"):
        store.fetch(STAGE.digest)


def test_a_second_commit_is_harmless_and_the_first_one_stays(store):
    first = commit(store)
    assert commit(store, attempt="two-1") == first
    assert store.find(STAGE.digest) == first
    assert (store.fetch(STAGE.digest) / "model.safetensors").read_bytes() == b"weights"


def test_a_commit_that_is_not_admitted_leaves_nothing_that_counts(store):
    assert commit(store, admitted=lambda: False) is None
    assert store.find(STAGE.digest) is None
    assert store.results(STAGE.digest) is None


def test_a_commit_whose_attempt_is_over_before_the_manifest_does_not_make_the_stage_done(store):
    answers = iter((True, False))
    assert commit(store, admitted=lambda: next(answers)) is None
    assert store.find(STAGE.digest) is None
    assert commit(store, attempt="two-1") is not None


def test_scores_outlive_the_weights(store):
    commit(store)
    store.filesystem.delete_dir(store.files.at(f"stages/{STAGE.digest}"))
    assert store.find(STAGE.digest) is None
    assert store.scores(STAGE.digest) == (SCORE,)
    assert store.predictions(STAGE.digest) == PREDICTED


@pytest.mark.parametrize("name", ["model.safetensors", "inner/config.json"])
@pytest.mark.parametrize("content", [b"weighty", b"", None])
def test_a_file_that_changed_or_went_makes_the_stage_absent_with_a_warning(tmp_path, caplog, name, content):
    manifest = commit(local(tmp_path))
    file = tmp_path / "store" / "stages" / STAGE.digest / manifest.attempt / name
    file.unlink()
    if content is not None:
        file.write_bytes(content)
    assert local(tmp_path).find(STAGE.digest) is None
    assert "is damaged" in caplog.text
    assert "taken as absent" in caplog.text


def test_what_another_sweep_evicts_while_it_is_looked_at_is_absent_and_not_called_damaged(store, caplog):
    commit(store)
    other, sealed = beside(store), store.files.sealed
    store.files.sealed = lambda path: (sealed(path), other.evict(STAGE.digest))[0]
    assert store.find(STAGE.digest) is None
    assert store.damage == {} and "damaged" not in caplog.text


def beside(store: Store) -> Store:
    """Another process's view of a store."""
    return Store(store.root, filesystem=store.filesystem)


def predicted(store: Store) -> str:
    (path,) = (info.path for info in listed(store, f"results/{STAGE.digest}") if info.path.endswith(".parquet"))
    return path


def listed(store: Store, folder: str) -> list[fs.FileInfo]:
    return store.filesystem.get_file_info(fs.FileSelector(store.files.at(folder)))


def cut(store: Store) -> None:
    store.files.write(predicted(store), store.files.read(predicted(store))[:-1])


def go(store: Store) -> None:
    store.filesystem.delete_file(predicted(store))


@pytest.mark.parametrize("damage", [cut, go])
def test_a_stage_whose_predictions_are_not_whole_is_absent_and_can_be_committed_again(store, damage, caplog):
    commit(store)
    assert store.whole_results(STAGE.digest) == store.results(STAGE.digest)
    damage(store)
    assert store.find(STAGE.digest) is store.whole_results(STAGE.digest) is None
    assert store.scores(STAGE.digest) == (SCORE,), "they are whole"
    assert "its predictions one-1.parquet are gone" in caplog.text or "bytes where" in caplog.text
    commit(store, attempt="two-1")
    assert store.find(STAGE.digest) is not None and store.predictions(STAGE.digest) == PREDICTED


def test_predictions_with_another_byte_are_seen_at_once_where_the_storage_is_a_folder(tmp_path):
    store = local(tmp_path)
    commit(store)
    path = Path(predicted(store))
    path.write_bytes(bytes([path.read_bytes()[0] ^ 1]) + path.read_bytes()[1:])
    assert store.find(STAGE.digest) is store.whole_results(STAGE.digest) is None
    assert store.damage[STAGE.digest] == "one-1.parquet has another sha256 than when it was written"


@pytest.mark.parametrize("content", [b"{", None])
def test_scores_whose_own_file_is_damaged_or_gone_are_read_from_the_manifest(store, content):
    manifest = commit(store)
    path = store.files.at(f"results/{STAGE.digest}/results.json")
    store.files.write(path, content) if content is not None else store.filesystem.delete_file(path)
    assert store.results(STAGE.digest) == store.whole_results(STAGE.digest) == manifest.results


def test_a_stage_that_was_damaged_can_be_committed_again(tmp_path):
    manifest = commit(local(tmp_path))
    (tmp_path / "store" / "stages" / STAGE.digest / manifest.attempt / "model.safetensors").write_bytes(b"weighty")
    store = local(tmp_path)
    again = commit(store, attempt="two-1")
    assert store.find(STAGE.digest) == again
    assert again.attempt == "two-1"


@pytest.mark.parametrize("make", [subtree, in_memory])
def test_a_damaged_download_is_refused_and_then_absent(tmp_path, make):
    store = make(tmp_path)
    manifest = commit(store)
    with store.filesystem.open_output_stream(
        store.files.at(f"stages/{STAGE.digest}/{manifest.attempt}/model.safetensors")
    ) as stream:
        stream.write(b"weighty")
    with pytest.raises(Absent, match="was damaged"):
        store.fetch(STAGE.digest)
    assert store.find(STAGE.digest) is None


def test_a_download_that_was_damaged_on_this_machine_is_made_again(tmp_path):
    store = subtree(tmp_path)
    commit(store)
    (store.fetch(STAGE.digest) / "model.safetensors").write_bytes(b"weighty")
    assert (store.fetch(STAGE.digest) / "model.safetensors").read_bytes() == b"weights"


@of_examples(0.5)
@given(data=st.data())
def test_a_manifest_with_any_byte_changed_or_cut_off_is_absent_and_no_crash(data):
    logging.disable(logging.WARNING)
    try:
        with tempfile.TemporaryDirectory() as folder:
            store = local(Path(folder))
            manifest = commit(store)
            for file in ("stages/{}/manifest.json", "results/{}/results.json"):
                place = Path(folder) / "store" / file.format(STAGE.digest)
                whole = place.read_bytes()
                at = data.draw(st.integers(0, len(whole) - 1))
                cut = data.draw(st.booleans())
                place.write_bytes(whole[:at] if cut else whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
            assert store.find(STAGE.digest) in (None, manifest)
            assert store.results(STAGE.digest) in (None, manifest.results)
    finally:
        logging.disable(logging.NOTSET)


class Executed:
    """A pickle of it makes a file when it is read."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return (Path.touch, (self.path,))


@pytest.mark.parametrize("name", ["manifest.json", "results.json", "predictions.parquet", "seal.json"])
def test_nothing_that_lies_in_a_store_is_executed_when_it_is_read(tmp_path, name):
    store, mark = local(tmp_path), tmp_path / "executed"
    commit(store)
    pickled = pickle.dumps(Executed(mark))
    for place in (tmp_path / "store").rglob(name):
        place.write_bytes(pickled)
    for read in (store.find, store.results, store.predictions, store.fetch):
        with suppress(OSError, ValueError, LookupError, Absent):
            read(STAGE.digest)
    assert not mark.exists()
    pickle.loads(pickled)
    assert mark.exists(), "it would have shown"


def test_a_manifest_of_another_version_is_absent_with_a_warning(tmp_path, caplog):
    store = local(tmp_path)
    manifest = commit(store)
    store.files.seal(f"stages/{STAGE.digest}/manifest.json", {"type": "Manifest", "colour": "red"})
    assert store.find(STAGE.digest) is None
    assert "does not fit this version" in caplog.text
    store.files.seal(f"stages/{STAGES[1].digest}/manifest.json", manifest)
    assert store.find(STAGES[1].digest) is None
    assert "names stage" in caplog.text


class Crash(Exception):
    """The process ends here."""


class Crashing(SealedFiles):
    """Files whose process ends before, or in the middle of, its n-th write."""

    def __init__(self, folder: Path, *, writes: int, torn: bool) -> None:
        super().__init__(fs.SubTreeFileSystem(str(folder), fs.LocalFileSystem()), "inside")
        self.left, self.torn = writes, torn

    def _count(self, path: str, data: bytes) -> None:
        if self.left == 0:
            if self.torn:
                # An object store or a network disk that keeps half of what it was given.
                self.filesystem.create_dir(path.rsplit("/", 1)[0], recursive=True)
                with self.filesystem.open_output_stream(path) as stream:
                    stream.write(data[: len(data) // 2])
            raise Crash
        self.left -= 1

    def write(self, path: str, data: bytes) -> None:
        self._count(path, data)
        super().write(path, data)

    def copy(self, source: Path, path: str) -> None:
        self._count(path, source.read_bytes())
        super().copy(source, path)


def crashing(folder: Path, *, writes: int, torn: bool) -> Store:
    files = Crashing(folder, writes=writes, torn=torn)
    store = Store("inside", cache=folder / "cache", filesystem=files.filesystem)
    store.files = files
    return store


@of_examples(0.8)
@given(writes=st.integers(0, 6), torn=st.booleans())
def test_a_crash_between_or_in_any_two_writes_leaves_the_stage_absent_or_complete(writes, torn):
    logging.disable(logging.WARNING)
    try:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            try:
                commit(crashing(folder, writes=writes, torn=torn))
                survived = True
            except Crash:
                survived = False
            found = subtree(folder).find(STAGE.digest)
            assert (found is not None) is survived
            assert survived is (writes >= 5)
            again = commit(subtree(folder), attempt="two-1")
            assert again == subtree(folder).find(STAGE.digest)
            assert subtree(folder).predictions(STAGE.digest) == PREDICTED
            assert (subtree(folder).fetch(STAGE.digest) / "model.safetensors").read_bytes() == b"weights"
    finally:
        logging.disable(logging.NOTSET)


def test_a_place_that_cannot_be_written_or_named_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(Invalid, match="must be a place that can be written"):
        Store(tmp_path / "file" / "store").check_writable()
    with pytest.raises(Invalid, match=r"must be a path or a URI that pyarrow\.fs knows"):
        Store("gopher://there")


def test_checkpoints_under_way_are_kept_apart_and_cleared(store):
    directory = store.under_way.folder(STAGE.digest)
    (directory / "state").write_text("")
    assert store.under_way.folder(STAGE.digest) == directory
    assert (directory / "state").exists()
    store.under_way.clear(STAGE.digest)
    assert list(store.under_way.folder(STAGE.digest).iterdir()) == []


def test_what_an_attempt_wrote_can_be_discarded(store):
    output = written(store.workspace(STAGE.digest, "one-1"))
    store.discard(STAGE.digest, "one-1")
    store.discard(STAGE.digest, "one-1")
    assert not output.exists()


def test_a_sealed_file_is_plain_json(tmp_path):
    commit(local(tmp_path))
    manifest = json.loads((tmp_path / "store" / "stages" / STAGE.digest / "manifest.json").read_text())
    assert manifest["value"]["attempt"] == "one-1"
    assert [file["name"] for file in manifest["value"]["files"]] == ["inner/config.json", "model.safetensors"]
