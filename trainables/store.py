"""Stage outputs by digest on any pyarrow filesystem; knows no use of a stage and executes nothing it reads."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
import tempfile
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import fs

from trainables.canonical import canonical, decode, encode
from trainables.faults import Invalid
from trainables.places import local, patient, place_of, upload
from trainables.scores import CheckpointScores, Done, Progress, Score
from trainables.stages import Stage

_log = logging.getLogger(__name__)

#: The file of a stage's output directory that holds its predictions; it is kept apart from the weights.
PREDICTIONS = "predictions.parquet"

#: Filesystems where a file appears by renaming; elsewhere (object stores) it appears when its stream is closed.
_RENAMING = frozenset({"local", "subtree", "hdfs"})

_CHUNK = 1 << 20

#: A disk on which less than this fits counts as full.
_PROBE_BYTES = 4 << 20

T = TypeVar("T")


class Absent(LookupError):
    """The output of a stage is not in the store, or it is damaged."""


@dataclass(frozen=True, kw_only=True)
class StoredFile:
    """A file of an output: `name` is relative to the attempt's directory, with '/' between folders."""

    name: str
    size: int
    sha256: str


@dataclass(frozen=True, kw_only=True)
class Results:
    """What is kept of a stage without its weights."""

    digest: str
    steps: int
    """Optimiser steps of the stage, over all attempts."""
    seconds: float
    history: tuple[Progress, ...] = ()
    scores: tuple[Score, ...] = ()
    predictions: StoredFile | None = None
    checkpoints: tuple[CheckpointScores, ...] = ()
    """Of an evaluation that scored several of a run's checkpoints; for tables alone: no trial hears of them."""

    def done(self) -> Done:
        """The event that tells a trial of a stage whose results are known."""
        return Done(
            digest=self.digest,
            steps_executed=0,
            reused=True,
            seconds=self.seconds,
            history=self.history,
            scores=self.scores,
        )


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """The table of contents of a finished stage; written last, so whatever has one is complete."""

    stage: Stage
    attempt: str
    files: tuple[StoredFile, ...]
    results: Results

    def done(self) -> Done:
        """The event that tells a trial of a stage found in the store."""
        return self.results.done()

    @property
    def size_bytes(self) -> int:
        """What the weights take."""
        return sum(file.size for file in self.files)


class Store:
    """Finished stages under one root.

    `stages/<digest>/<attempt>/…` holds files, `stages/<digest>/manifest.json` makes them count, `results/<digest>/…`
    holds scores and predictions, `inflight/<digest>/…` checkpoints of stages under way (on a remote filesystem each is
    written in `cache` first and then put there by `keep_inflight`).

    `root` is a path or a URI such as `s3://bucket/sweeps`; `cache` is a local directory for downloads. With
    `filesystem`, `root` is a path inside it.

    Raises:
        Invalid: if the root names no filesystem.
    """

    def __init__(self, root: str | Path, *, cache: Path | None = None, filesystem: fs.FileSystem | None = None) -> None:
        self.uri = absolute(str(root)) if filesystem is None else str(root)
        self._fs, self._root = (patient(filesystem), self.uri) if filesystem else place_of(self.uri)
        self._local = Path(self._root) if isinstance(self._fs, fs.LocalFileSystem) else None
        self._cache = Path(cache) if cache else cache_of(self.uri)
        self._verified: dict[str, tuple[str, tuple[int, ...]]] = {}
        """By digest, the attempt whose files were found to be as written, and their times of change."""
        self.damage: dict[str, str] = {}
        """By digest, what was found to be wrong with its output."""

    def check_writable(self) -> None:
        """Create the root and write, read and delete a file in it.

        Raises:
            Invalid: if that does not work.
        """
        probe = self._at(f"probe-{uuid.uuid4().hex}")
        try:
            self._write(probe, b"probe")
            written = self._read(probe)
            self._fs.delete_file(probe)
        except OSError as error:
            raise Invalid(
                "the store", [f"{self.uri!r} must be a place that can be written, got {error}; choose another"]
            ) from error
        if written != b"probe":
            raise Invalid("the store", [f"{self.uri!r} must give back what was written, got {written!r}"])

    def has_room(self) -> bool:
        """Whether a few megabytes can be written."""
        probe = self._at(f"probe-{uuid.uuid4().hex}")
        try:
            self._write(probe, bytes(_PROBE_BYTES))
        except OSError:
            return False
        finally:
            for path in (probe, *self._parts(probe)):
                self._delete_quietly(path)
        return True

    def _parts(self, path: str) -> list[str]:
        """What a write that did not end has left beside a path."""
        folder, _, name = path.rpartition("/")
        found = self._fs.get_file_info(fs.FileSelector(folder, allow_not_found=True))
        return [entry.path for entry in found if entry.base_name.startswith(f"{name}.")]

    def _delete_quietly(self, path: str) -> None:
        try:
            self._fs.delete_file(path)
        except OSError:
            return

    @property
    def filesystem(self) -> fs.FileSystem:
        """The filesystem that the root is on."""
        return self._fs

    @property
    def root(self) -> str:
        """The root as a path on that filesystem."""
        return self._root

    def local_path(self, path: str) -> Path | None:
        """Where a path under the root lies on this machine; None on a remote filesystem."""
        return self._local / path if self._local else None

    @property
    def scratch(self) -> str:
        """A path on that filesystem for what nobody needs after the sweep."""
        return self._at("scratch")

    # Finding

    def find(self, digest: str) -> Manifest | None:
        """The manifest of a finished stage, or None. What is damaged is absent, with a warning."""
        data = self._sealed(f"stages/{digest}/manifest.json")
        manifest = _decoded(Manifest, data, f"the manifest of stage {digest}")
        if manifest is None:
            return None
        if manifest.stage.digest != digest:
            _log.warning("the manifest of stage %s names stage %s; taken as absent", digest, manifest.stage.digest)
            return None
        return manifest if self._complete(manifest) else None

    def fetch(self, digest: str) -> Path:
        """A local directory with the stage's files, checked against their sha256; not to be written to.

        Raises:
            Absent: if the stage is not in the store or its files are damaged.
        """
        manifest = self.find(digest)
        if manifest is None:
            why = self.damage.get(digest, "it is absent")
            raise Absent(f"stage {digest} must be in the store {self.uri!r}, but {why}; run it again")
        if self._local:
            return self._local / "stages" / digest / manifest.attempt
        return self._download(manifest)

    def results(self, digest: str) -> Results | None:
        """Scores and history of a finished stage, also after its weights are gone."""
        data = self._sealed(f"results/{digest}/results.json")
        return _decoded(Results, data, f"the results of stage {digest}")

    def scores(self, digest: str) -> tuple[Score, ...] | None:
        """The scores of an `evaluate` stage, or None where the store has none."""
        kept = self.results(digest)
        return kept.scores if kept else None

    def predictions(self, digest: str) -> pa.Table | None:
        """The predictions of a stage, or None where the store has none."""
        kept = self.results(digest)
        return self.predictions_of(kept) if kept else None

    def predictions_of(self, kept: Results) -> pa.Table | None:
        """The predictions of a stage whose results have been read, or None where the store has none."""
        digest = kept.digest
        if kept.predictions is None:
            return None
        try:
            data = self._read(self._at(f"results/{digest}/{kept.predictions.name}"))
        except OSError as error:
            _log.warning("the predictions of stage %s cannot be read (%s); taken as absent", digest, error)
            return None
        if hashlib.sha256(data).hexdigest() != kept.predictions.sha256:
            _log.warning("the predictions of stage %s are damaged; taken as absent", digest)
            return None
        return pq.ParquetFile(pa.BufferReader(data)).read()

    # Putting in

    def workspace(self, digest: str, attempt: str) -> Path:
        """An empty local directory for an attempt to write its output to; committed from there without a copy."""
        place = self._local / "stages" if self._local else self._cache / "work"
        directory = place / digest / attempt
        shutil.rmtree(directory, ignore_errors=True)
        directory.mkdir(parents=True)
        return directory

    def commit(
        self,
        stage: Stage,
        directory: Path,
        attempt: str,
        *,
        steps: int,
        seconds: float,
        history: tuple[Progress, ...] = (),
        scores: tuple[Score, ...] = (),
        checkpoints: tuple[CheckpointScores, ...] = (),
        admitted: Callable[[], bool] = lambda: True,
    ) -> Manifest | None:
        """Store the files of a directory as the output of a stage; the one written first stays.

        `admitted` is asked after the files are up, and again before the manifest, since what lies between may have to
        wait for the storage; when it says no, the stage does not count as done and None is returned.
        """
        digest = stage.digest
        found = self.find(digest)
        if found is not None:
            return found
        here = [path for path in sorted(directory.rglob("*")) if path.is_file()]
        weights = [_described(path, directory) for path in here if path.name != PREDICTIONS]
        in_place = self._local is not None and directory == self._local / "stages" / digest / attempt
        if not in_place:
            for file in weights:
                self._copy(directory / file.name, self._at(f"stages/{digest}/{attempt}/{file.name}"))
        results = Results(digest=digest, steps=steps, seconds=seconds, history=history, scores=scores)
        results = replace(results, checkpoints=checkpoints)
        predicted = directory / PREDICTIONS
        if predicted.is_file():
            described = replace(_described(predicted, directory), name=f"{attempt}.parquet")
            self._copy(predicted, self._at(f"results/{digest}/{described.name}"))
            results = replace(results, predictions=described)
        if not admitted():
            return None
        self._seal(f"results/{digest}/results.json", results)
        manifest = Manifest(stage=stage, attempt=attempt, files=tuple(weights), results=results)
        if not admitted():
            return None
        self._seal(f"stages/{digest}/manifest.json", manifest)
        shutil.rmtree(self._cache / "work" / digest / attempt, ignore_errors=True)  # it is up
        return manifest

    def discard(self, digest: str, attempt: str) -> None:
        """Delete what an attempt that will not be committed has written; silent where there is nothing."""
        shutil.rmtree(self._cache / "work" / digest / attempt, ignore_errors=True)
        if self._local:
            shutil.rmtree(self._local / "stages" / digest / attempt, ignore_errors=True)
            return
        with suppress(OSError):
            self.filesystem.delete_dir(self._at(f"stages/{digest}/{attempt}"))

    def evict(self, digest: str) -> None:
        """Delete the weights of a finished stage; its scores and predictions stay. The manifest goes first."""
        for delete, path in (
            (self._fs.delete_file, f"stages/{digest}/manifest.json"),
            (self._fs.delete_dir, f"stages/{digest}"),
        ):
            try:
                delete(self._at(path))
            except FileNotFoundError:
                continue
        shutil.rmtree(self._cache / "stages" / digest, ignore_errors=True)

    def discard_scratch(self, name: str) -> None:
        """Delete a folder of `scratch`; silent where there is none."""
        try:
            self._fs.delete_dir(f"{self.scratch}/{name}")
        except OSError:
            return

    # Under way

    def inflight(self, digest: str) -> Path:
        """The local directory for checkpoints of a stage under way."""
        directory = self._inflight_place(digest)
        directory.mkdir(parents=True, exist_ok=True)
        return directory

    def _inflight_place(self, digest: str) -> Path:
        """One for all on a shared filesystem; else one for each process, since ranks on one machine fetch at once."""
        return (
            self._local / "inflight" / digest if self._local else self._cache / "inflight" / f"{digest}.{os.getpid()}"
        )

    def clear_inflight(self, digest: str) -> None:
        """Delete the checkpoints of a stage that is finished."""
        shutil.rmtree(self._inflight_place(digest), ignore_errors=True)
        if not self._local:
            self._forget_inflight(digest, keep="")

    @property
    def is_shared(self) -> bool:
        """Whether what is written here is seen elsewhere without being put anywhere: a folder, local or mounted."""
        return self._local is not None

    def keep_inflight(self, digest: str, step: int, *, admitted: Callable[[], bool] = lambda: True) -> None:
        """Put the newest local checkpoint of a stage on the remote filesystem and forget those of fewer steps.

        `admitted` is asked when its files are up; when it says no, it does not count and those before it stay.
        """
        folder = self.inflight(digest)
        here = [path for path in folder.iterdir() if not path.name.startswith(".")]
        newest = max(here, key=lambda path: path.stat().st_mtime_ns)
        files = [newest] if newest.is_file() else [path for path in sorted(newest.rglob("*")) if path.is_file()]
        name = f"{step:09d}-{uuid.uuid4().hex[:8]}"
        for path in files:
            self._copy(path, self._at(f"inflight/{digest}/{name}/{path.relative_to(folder).as_posix()}"))
        if not admitted():
            return
        self._seal(f"inflight/{digest}/{name}.json", tuple(_described(path, folder) for path in files))
        self._forget_inflight(digest, keep=name)

    def choose_inflight(self, digest: str, attempt: str) -> None:
        """Note for all ranks of an attempt which checkpoint they go on from: the one of the most steps, or none."""
        if self._local:
            return
        self._seal(f"inflight/{digest}/from-{attempt}.json", max(self._inflight_names(digest), default=""))

    def fetch_inflight(self, digest: str, attempt: str) -> None:
        """Make the local checkpoints of a stage those that the attempt goes on from."""
        if self._local:
            return
        shutil.rmtree(self._inflight_place(digest), ignore_errors=True)
        folder = self.inflight(digest)
        name = self._sealed(f"inflight/{digest}/from-{attempt}.json")
        listed = self._sealed(f"inflight/{digest}/{name}.json") if name else None
        if listed is None:
            return
        files = tuple(decode(StoredFile, item) for item in listed)
        arriving = self._cache / "inflight" / f"{digest}.{uuid.uuid4().hex[:8]}.part"
        try:
            self._bring(f"inflight/{digest}/{name}", files, arriving)
        except OSError as error:
            _log.warning("checkpoint %s of stage %s cannot be read (%s); it begins anew", name, digest, error)
            shutil.rmtree(arriving, ignore_errors=True)
            return
        if faults := list(_differing(files, arriving)):
            _log.warning("checkpoint %s of stage %s is damaged (%s); it begins anew", name, digest, "; ".join(faults))
            shutil.rmtree(arriving)
            return
        shutil.rmtree(folder)
        arriving.rename(folder)

    def _inflight_names(self, digest: str) -> list[str]:
        """Whole checkpoints on the remote filesystem."""
        folder = fs.FileSelector(self._at(f"inflight/{digest}"), allow_not_found=True)
        names = (info.base_name for info in self._fs.get_file_info(folder))
        return [name.removesuffix(".json") for name in names if name.endswith(".json") and not name.startswith("from-")]

    def _forget_inflight(self, digest: str, *, keep: str) -> None:
        """Delete checkpoints of fewer steps than the one to keep; all of them, and the notes, where that is empty."""
        folder = fs.FileSelector(self._at(f"inflight/{digest}"), allow_not_found=True)
        try:
            for info in self._fs.get_file_info(folder):
                if keep and (info.base_name >= keep or info.base_name.startswith("from-")):
                    continue
                if info.type == fs.FileType.Directory:
                    self._fs.delete_dir(info.path)
                elif info.type == fs.FileType.File:
                    self._fs.delete_file(info.path)
        except OSError as error:  # what stays costs room and nothing else
            _log.warning("old checkpoints of stage %s stay (%s)", digest, error)

    # Files

    def _at(self, path: str) -> str:
        return f"{self._root}/{path}" if self._root else path

    def _read(self, path: str) -> bytes:
        with self._fs.open_input_stream(path) as stream:
            return stream.read()

    def _write(self, path: str, data: bytes) -> None:
        """Put a whole file in place at once."""
        self._fs.create_dir(path.rsplit("/", 1)[0], recursive=True)
        renaming = self._fs.type_name in _RENAMING
        target = f"{path}.{uuid.uuid4().hex[:8]}.part" if renaming else path
        with self._fs.open_output_stream(target) as stream:
            stream.write(data)
        if renaming:
            if self._local:
                _settle(target)
            self._fs.move(target, path)

    def _copy(self, source: Path, path: str) -> None:
        """Upload a file; a remote filesystem reads it back, a local one is judged by its sha256 when it is found."""
        self._fs.create_dir(path.rsplit("/", 1)[0], recursive=True)
        upload(source, self._fs, path)

    def _seal(self, path: str, value: Any) -> None:
        """Write a value beside its own sha256, so that a torn or altered file shows."""
        text = canonical(value)
        seal = hashlib.sha256(text.encode()).hexdigest()
        self._write(self._at(path), json.dumps({"sha256": seal, "value": encode(value)}, sort_keys=True).encode())

    def _sealed(self, path: str) -> Any:
        """The JSON data that `_seal` wrote, or None where there is none or it is damaged."""
        try:
            data = self._read(self._at(path))
        except FileNotFoundError:
            return None
        except OSError as error:
            _log.warning("%s cannot be read (%s); taken as absent", path, error)
            return None
        try:
            sealed = json.loads(data)
            text = json.dumps(sealed["value"], sort_keys=True, separators=(",", ":"), ensure_ascii=False)
            if hashlib.sha256(text.encode()).hexdigest() == sealed["sha256"]:
                return sealed["value"]
        except (ValueError, KeyError, TypeError):
            pass  # no JSON, or not of this form: as damaged as a wrong sum
        _log.warning("%s is damaged; taken as absent", path)
        return None

    def _complete(self, manifest: Manifest) -> bool:
        """Whether every file is there with its size; on a local one also its sha256, once and when it changed."""
        digest = manifest.stage.digest
        folder = self._at(f"stages/{digest}/{manifest.attempt}")
        sizes = self._fs.get_file_info([f"{folder}/{file.name}" for file in manifest.files]) if manifest.files else []
        faults = [
            f"{file.name} has {info.size} bytes where {file.size} were written"
            for file, info in zip(manifest.files, sizes, strict=True)
            if info.size != file.size
        ]
        seen = (manifest.attempt, tuple(info.mtime_ns or 0 for info in sizes))
        if not faults and self._local and self._verified.get(digest) != seen:
            faults = list(_differing(manifest.files, Path(folder)))
        if faults:
            _log.warning("stage %s is damaged (%s); taken as absent", digest, "; ".join(faults))
            self.damage[digest] = "; ".join(faults)
            return False
        self._verified[digest] = seen
        return True

    def _bring(self, where: str, files: Iterable[StoredFile], folder: Path) -> None:
        """Download files; whether they are whole is for their sha256 to say."""
        folder.mkdir(parents=True, exist_ok=True)
        for file in files:
            target = folder / file.name
            target.parent.mkdir(parents=True, exist_ok=True)
            with self._fs.open_input_stream(self._at(f"{where}/{file.name}")) as incoming:
                with target.open("wb") as outgoing:
                    shutil.copyfileobj(incoming, outgoing, _CHUNK)

    def _download(self, manifest: Manifest) -> Path:
        digest, attempt = manifest.stage.digest, manifest.attempt
        place = self._cache / "stages" / digest / attempt
        if place.is_dir() and not list(_differing(manifest.files, place)):
            return place
        arriving = self._cache / "stages" / digest / f"{attempt}.{uuid.uuid4().hex[:8]}.part"
        self._bring(f"stages/{digest}/{attempt}", manifest.files, arriving)
        faults = list(_differing(manifest.files, arriving))
        if faults:
            shutil.rmtree(arriving)
            self._fs.delete_file(self._at(f"stages/{digest}/manifest.json"))
            raise Absent(f"stage {digest} in the store {self.uri!r} was damaged ({'; '.join(faults)}); run it again")
        shutil.rmtree(place, ignore_errors=True)
        try:
            arriving.rename(place)
        except OSError:
            # Another process of this machine was faster; what it put there has passed the same check.
            shutil.rmtree(arriving, ignore_errors=True)
        return place


def cache_of(uri: str) -> Path:
    """The folder of each machine that keeps what was downloaded from a root, for the next sweep too."""
    return Path(tempfile.gettempdir()) / f"transfer-sweep-{hashlib.sha256(uri.encode()).hexdigest()[:12]}"


def absolute(uri: str) -> str:
    """A path made absolute; a URI as it is.

    Raises:
        Invalid: as `trainables.places.local`.
    """
    return uri if "://" in uri else str(local(uri))


def _decoded(kind: type[T], data: Any, what: str) -> T | None:
    if data is None:
        return None
    try:
        return decode(kind, data)
    except (ValueError, TypeError, KeyError) as error:
        _log.warning("%s does not fit this version (%s); taken as absent", what, error)
        return None


def _described(path: Path, directory: Path) -> StoredFile:
    return StoredFile(name=path.relative_to(directory).as_posix(), size=path.stat().st_size, sha256=_sha256(path))


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _differing(files: Iterable[StoredFile], folder: Path) -> Iterator[str]:
    for file in files:
        try:
            if _sha256(folder / file.name) != file.sha256:
                yield f"{file.name} has another sha256 than when it was written"
        except OSError as error:
            yield f"{file.name} cannot be read: {error}"


def _settle(path: str) -> None:
    """Flush a file to the disk before it is given its name, or a power cut could leave the name without content."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
