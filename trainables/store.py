"""Stage outputs by digest on any pyarrow filesystem; knows no use of a stage and executes nothing it reads."""

from __future__ import annotations

import hashlib
import logging
import shutil
import tempfile
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import fs

from trainables.canonical import decode
from trainables.faults import Invalid
from trainables.on_disk import NO_FILE
from trainables.places import local, may_be_of_one_file, patient, place_of
from trainables.room import LEAST_BYTES, fits
from trainables.scores import CheckpointScores, Done, Progress, Score
from trainables.sealed_files import SealedFiles, StoredFile, described, differing
from trainables.stages import Stage
from trainables.under_way import UnderWay

_log = logging.getLogger(__name__)

#: The file of a stage's output directory that holds its predictions; it is kept apart from the weights.
PREDICTIONS = "predictions.parquet"

#: A file that cannot be read is tried so often, with pauses, before it counts as damaged while the storage answers: a
#: network folder that was away for a moment says the same of each.
FILE_TRIES = 3
FILE_PAUSE_SECONDS = 1.0

T = TypeVar("T")


class Absent(LookupError):
    """The output of a stage is not in the store, or it is damaged."""


@dataclass(frozen=True, kw_only=True)
class Results:
    """What is kept of a stage without its weights."""

    digest: str
    steps: int
    """Optimiser steps of the stage, over all attempts."""
    seconds: float
    """What the stage takes to make, all of its steps."""
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
    holds scores and predictions, `inflight/<digest>/…` checkpoints of stages under way (`under_way`).

    `root` is a path or a URI such as `s3://bucket/sweeps`; `cache` is a local directory for downloads. With
    `filesystem`, `root` is a path inside it.

    Raises:
        Invalid: if the root names no filesystem.
    """

    def __init__(self, root: str | Path, *, cache: Path | None = None, filesystem: fs.FileSystem | None = None) -> None:
        self.uri = absolute(str(root)) if filesystem is None else str(root)
        self.files = SealedFiles(*((patient(filesystem), self.uri) if filesystem else place_of(self.uri)))
        self._cache = Path(cache) if cache else cache_of(self.uri)
        self.under_way = UnderWay(self.files, self._cache)
        self._verified: dict[str, tuple[str, tuple[int, ...]]] = {}
        """By digest, the attempt whose files were found to be as written, and their times of change."""
        self.damage: dict[str, str] = {}
        """By digest, what was found to be wrong with its output."""

    def check_writable(self) -> None:
        """Create the root and write, read and delete a file in it.

        Raises:
            Invalid: if that does not work.
        """
        probe = self.files.at(f"probe-{uuid.uuid4().hex}")
        try:
            self.files.write(probe, b"probe")
            written = self.files.read(probe)
            self.filesystem.delete_file(probe)
        except OSError as error:
            raise Invalid(
                "the store", [f"{self.uri!r} must be a place that can be written, got {error}; choose another"]
            ) from error
        if written != b"probe":
            raise Invalid("the store", [f"{self.uri!r} must give back what was written, got {written!r}"])

    def has_room(self, needed_bytes: int, *, leads: bool) -> bool:
        """Whether this process can write so many bytes, of a stage that it leads or takes part in.

        What is shared is asked by whoever leads alone. The disk of the cache is this machine's: with a remote store it
        holds all that a stage reads and writes, else rows of data, a few megabytes at least.
        """
        here = LEAST_BYTES if self.is_shared else needed_bytes
        try:
            return fits(self._cache, here) and (not leads or self.files.has_room(needed_bytes))
        except OSError:
            return False

    def size_bytes(self, digest: str) -> int:
        """What the weights of a stage take; 0 where they are not there or cannot be looked at."""
        try:
            manifest = self.find(digest)
        except OSError:
            return 0
        return manifest.size_bytes if manifest else 0

    @property
    def filesystem(self) -> fs.FileSystem:
        """The filesystem that the root is on."""
        return self.files.filesystem

    @property
    def root(self) -> str:
        """The root as a path on that filesystem."""
        return self.files.root

    def local_path(self, path: str) -> Path | None:
        """Where a path under the root lies on this machine; None on a remote filesystem."""
        return self.files.local / path if self.files.local else None

    @property
    def is_shared(self) -> bool:
        """Whether what is written here is seen elsewhere without being put anywhere: a folder, local or mounted."""
        return self.files.local is not None

    @property
    def scratch(self) -> str:
        """A path on that filesystem for what nobody needs after the sweep."""
        return self.files.at("scratch")

    # Finding

    def find(self, digest: str) -> Manifest | None:
        """The manifest of a finished stage, or None. What is damaged is absent, with a warning, and so is what cannot
        be read, again and again, while the storage answers.

        Raises:
            OSError: where the storage does not answer, as everything here that reads.
        """

        def look() -> Manifest | None:
            manifest = self._manifest(digest)
            return manifest if manifest is not None and self._complete(manifest) else None

        return self._unless_unreadable(digest, look)

    def _manifest(self, digest: str) -> Manifest | None:
        """What the manifest of a stage says, whatever became of the files that it names."""
        data = self.files.sealed(f"stages/{digest}/manifest.json")
        manifest = _decoded(Manifest, data, f"the manifest of stage {digest}")
        if manifest is not None and manifest.stage.digest != digest:
            _log.warning("the manifest of stage %s names stage %s; taken as absent", digest, manifest.stage.digest)
            return None
        return manifest

    def fetch(self, digest: str) -> Path:
        """A local directory with the stage's files, checked against their sha256; not to be written to.

        Raises:
            Absent: if the stage is not in the store or its files are damaged.
        """
        manifest = self.find(digest)
        if manifest is None:
            why = self.damage.get(digest, "it is absent")
            raise Absent(f"stage {digest} must be in the store {self.uri!r}, but {why}; run it again")
        if self.files.local:
            return self.files.local / "stages" / digest / manifest.attempt
        return self._download(manifest)

    def results(self, digest: str) -> Results | None:
        """Scores and history of a finished stage, also after its weights are gone.

        The manifest, while it is there, says the same, for the day on which their own file cannot be read.
        """
        data = self.files.sealed(f"results/{digest}/results.json")
        kept = _decoded(Results, data, f"the results of stage {digest}")
        if kept is not None:
            return kept
        manifest = self._manifest(digest)
        return manifest.results if manifest is not None else None

    def whole_results(self, digest: str) -> Results | None:
        """The same, or None where they, or the predictions that belong to them, cannot be read while the storage
        answers, or these are not there as they were written.
        """

        def look() -> Results | None:
            kept = self.results(digest)
            if kept is None or not (faults := self._prediction_faults(kept)):
                return kept
            self._tell_damage(digest, faults)
            return None

        return self._unless_unreadable(digest, look)

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
            data = self.files.read(self.files.at(f"results/{digest}/{kept.predictions.name}"))
        except NO_FILE as error:
            _log.warning("the predictions of stage %s are not there (%s)", digest, error)
            return None
        if hashlib.sha256(data).hexdigest() != kept.predictions.sha256:
            _log.warning("the predictions of stage %s are damaged; taken as absent", digest)
            return None
        return pq.ParquetFile(pa.BufferReader(data)).read()

    # Putting in

    def output(self, digest: str, attempt: str) -> Path:
        """The local directory that an attempt writes its output to."""
        place = self.files.local / "stages" if self.files.local else self._cache / "work"
        return place / digest / attempt

    def workspace(self, digest: str, attempt: str) -> Path:
        """That directory, empty; committed from there without a copy."""
        directory = self.output(digest, attempt)
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
        wait for the storage; when it says no, the stage does not count as done and None is returned. Whether another
        attempt was faster is looked up last of all: this one may have been cut off since it was admitted.
        """
        digest = stage.digest
        found = self.find(digest)
        if found is not None:
            return found
        here = [path for path in sorted(directory.rglob("*")) if path.is_file()]
        weights = [described(path, directory) for path in here if path.name != PREDICTIONS]
        in_place = self.files.local is not None and directory == self.files.local / "stages" / digest / attempt
        if not in_place:
            for file in weights:
                self.files.copy(directory / file.name, self.files.at(f"stages/{digest}/{attempt}/{file.name}"))
        results = Results(digest=digest, steps=steps, seconds=seconds, history=history, scores=scores)
        results = replace(results, checkpoints=checkpoints)
        predicted = directory / PREDICTIONS
        if predicted.is_file():
            answers = replace(described(predicted, directory), name=f"{attempt}.parquet")
            self.files.copy(predicted, self.files.at(f"results/{digest}/{answers.name}"))
            results = replace(results, predictions=answers)
        if not admitted():
            return None
        self.files.seal(f"results/{digest}/results.json", results)
        manifest = Manifest(stage=stage, attempt=attempt, files=tuple(weights), results=results)
        if not admitted():
            return None
        if (found := self.find(digest)) is not None:
            return found
        self.files.seal(f"stages/{digest}/manifest.json", manifest)
        shutil.rmtree(self._cache / "work" / digest / attempt, ignore_errors=True)  # it is up
        return manifest

    def discard(self, digest: str, attempt: str, *, stored: bool = True) -> None:
        """Delete what an attempt that will not be committed has written; silent where there is nothing.

        Not `stored`, what it has in the store stays, and its copy on this machine alone goes.
        """
        shutil.rmtree(self._cache / "work" / digest / attempt, ignore_errors=True)
        if not stored:
            return
        if self.files.local:
            shutil.rmtree(self.files.local / "stages" / digest / attempt, ignore_errors=True)
            return
        with suppress(OSError):
            self.filesystem.delete_dir(self.files.at(f"stages/{digest}/{attempt}"))

    def evict(self, digest: str) -> None:
        """Delete the weights of a finished stage; its scores and predictions stay. The manifest goes first."""
        for delete, path in (
            (self.filesystem.delete_file, f"stages/{digest}/manifest.json"),
            (self.filesystem.delete_dir, f"stages/{digest}"),
        ):
            try:
                delete(self.files.at(path))
            except FileNotFoundError:
                continue
        shutil.rmtree(self._cache / "stages" / digest, ignore_errors=True)

    def discard_scratch(self, name: str) -> None:
        """Delete a folder of `scratch`; silent where there is none."""
        try:
            self.filesystem.delete_dir(f"{self.scratch}/{name}")
        except OSError:
            return

    def _unless_unreadable(self, digest: str, look: Callable[[], T | None]) -> T | None:
        """What `look` finds of a stage; None, and damage, where a file of it fails each try while the storage answers.

        Raises:
            OSError: where the storage does not answer, or what fails may pass.
        """
        for left in reversed(range(FILE_TRIES)):
            try:
                return look()
            except OSError as error:
                if not may_be_of_one_file(error):
                    raise
                self.files.ask()
                if not left:
                    self._tell_damage(digest, [f"it cannot be read: {error}"])
            if left:
                time.sleep(FILE_PAUSE_SECONDS)
        return None

    def _complete(self, manifest: Manifest) -> bool:
        """Whether every file is there with its size; on a local one also its sha256, once and when it changed."""
        digest = manifest.stage.digest
        folder = self.files.at(f"stages/{digest}/{manifest.attempt}")
        sizes = (
            self.filesystem.get_file_info([f"{folder}/{file.name}" for file in manifest.files])
            if manifest.files
            else []
        )
        faults = [
            f"{file.name} has {info.size} bytes where {file.size} were written"
            for file, info in zip(manifest.files, sizes, strict=True)
            if info.size != file.size
        ]
        seen = (manifest.attempt, tuple(info.mtime_ns or 0 for info in sizes))
        if not faults and self.files.local and self._verified.get(digest) != seen:
            faults = list(differing(manifest.files, Path(folder)))
        if not faults:
            faults = self._prediction_faults(manifest.results)
        if faults:
            if self._is_listed(digest):  # else another sweep has evicted it since it was read, the manifest first
                self._tell_damage(digest, faults)
            return False
        self._verified[digest] = seen
        return True

    def _is_listed(self, digest: str) -> bool:
        (info,) = self.filesystem.get_file_info([self.files.at(f"stages/{digest}/manifest.json")])
        return info.type != fs.FileType.NotFound

    def _prediction_faults(self, kept: Results) -> list[str]:
        """What is wrong with the file of predictions that belongs to results; nothing where none does."""
        if kept.predictions is None:
            return []
        folder = self.files.at(f"results/{kept.digest}")
        (info,) = self.filesystem.get_file_info([f"{folder}/{kept.predictions.name}"])
        if info.type == fs.FileType.NotFound:
            return [f"its predictions {kept.predictions.name} are gone"]
        if info.size != kept.predictions.size:
            return [f"{kept.predictions.name} has {info.size} bytes where {kept.predictions.size} were written"]
        return list(differing([kept.predictions], Path(folder))) if self.files.local else []

    def _tell_damage(self, digest: str, faults: list[str]) -> None:
        _log.warning("stage %s is damaged (%s); taken as absent", digest, "; ".join(faults))
        self.damage[digest] = "; ".join(faults)

    def _download(self, manifest: Manifest) -> Path:
        digest, attempt = manifest.stage.digest, manifest.attempt
        place = self._cache / "stages" / digest / attempt
        if place.is_dir() and _is_whole(manifest.files, place):
            return place
        arriving = self._cache / "stages" / digest / f"{attempt}.{uuid.uuid4().hex[:8]}.part"
        self.files.bring(f"stages/{digest}/{attempt}", manifest.files, arriving)
        faults = list(differing(manifest.files, arriving))
        if faults:
            shutil.rmtree(arriving)
            self.filesystem.delete_file(self.files.at(f"stages/{digest}/manifest.json"))
            raise Absent(f"stage {digest} in the store {self.uri!r} was damaged ({'; '.join(faults)}); run it again")
        shutil.rmtree(place, ignore_errors=True)
        try:
            arriving.rename(place)
        except OSError:
            # Another process of this machine was faster; what it put there has passed the same check.
            shutil.rmtree(arriving, ignore_errors=True)
        return place


def cache_folder(storage: str) -> Path:
    """Where this machine keeps what it reads for a storage: in it, where that is a folder."""
    return Path(storage) / "cache" if "://" not in storage else cache_of(storage)


def cache_of(uri: str) -> Path:
    """The folder of each machine that keeps what was downloaded from a root, for the next sweep too."""
    return Path(tempfile.gettempdir()) / f"transfer-sweep-{hashlib.sha256(uri.encode()).hexdigest()[:12]}"


def absolute(uri: str) -> str:
    """A path made absolute; a URI as it is.

    Raises:
        Invalid: as `trainables.places.local`.
    """
    return uri if "://" in uri else str(local(uri))


def _is_whole(files: tuple[StoredFile, ...], folder: Path) -> bool:
    """Whether a copy on this machine is as it was written; one that cannot be read is made anew."""
    try:
        return not list(differing(files, folder))
    except OSError:
        return False


def _decoded(kind: type[T], data: Any, what: str) -> T | None:
    if data is None:
        return None
    try:
        return decode(kind, data)
    except (ValueError, TypeError, KeyError) as error:
        _log.warning("%s does not fit this version (%s); taken as absent", what, error)
        return None
