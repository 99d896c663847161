"""Checkpoints of stages under way in a store, so that another machine goes on from them; knows no gang."""

from __future__ import annotations

import logging
import os
import shutil
import uuid
from collections.abc import Callable
from pathlib import Path

from pyarrow import fs

from trainables.canonical import decode
from trainables.inflight import forget, written_at
from trainables.on_disk import NO_FILE
from trainables.sealed_files import SealedFiles, StoredFile, described, differing

_log = logging.getLogger(__name__)


class UnderWay:
    """The checkpoints of stages under way, by digest.

    On a shared filesystem they are where they are written; on a remote one each is written on the machine first, then
    put at `inflight/<digest>/…` by `keep`, and fetched from there by whoever goes on. The newest two are kept there.
    """

    def __init__(self, files: SealedFiles, cache: Path) -> None:
        self._files = files
        self._cache = cache

    def folder(self, digest: str) -> Path:
        """The local directory for checkpoints of a stage under way."""
        directory = self._place(digest)
        directory.mkdir(parents=True, exist_ok=True)
        return directory

    def _place(self, digest: str) -> Path:
        """One for all on a shared filesystem; else one for each process, since ranks on one machine fetch at once."""
        return (
            self._files.local / "inflight" / digest
            if self._files.local
            else self._cache / "inflight" / f"{digest}.{os.getpid()}"
        )

    def newest(self, digest: str) -> Path | None:
        """The newest checkpoint of a stage on this machine."""
        here = (path for path in self._place(digest).glob("*") if not path.name.startswith("."))
        return max(here, key=written_at, default=None)

    def clear(self, digest: str) -> None:
        """Delete the checkpoints of a stage that is finished."""
        forget(self._place(digest))
        if not self._files.local:
            self._forget(digest, before="")

    def keep(self, digest: str, step: int, *, admitted: Callable[[], bool] = lambda: True) -> None:
        """Put the newest local checkpoint of a stage on the remote filesystem, and keep there the one before it too.

        `admitted` is asked when its files are up; when it says no, it does not count and those before it stay.
        """
        folder = self.folder(digest)
        newest = self.newest(digest)
        assert newest is not None  # whoever sends has just written it
        files = [newest] if newest.is_file() else [path for path in sorted(newest.rglob("*")) if path.is_file()]
        name = f"{step:09d}-{uuid.uuid4().hex[:8]}"
        for path in files:
            self._files.copy(path, self._files.at(f"inflight/{digest}/{name}/{path.relative_to(folder).as_posix()}"))
        if not admitted():
            return
        self._files.seal(f"inflight/{digest}/{name}.json", tuple(described(path, folder) for path in files))
        self._forget(digest, before=max((one for one in self._names(digest) if one < name), default=name))

    def offer(self, digest: str, attempt: str) -> None:
        """Note for all ranks of an attempt which checkpoints there are to go on from, those of the most steps first.

        One rank looks, since a process that was cut off may write while they do.
        """
        self._files.seal(self._offer(digest, attempt), tuple(sorted(self._names(digest), reverse=True)))

    def offered(self, digest: str, attempt: str) -> tuple[str, ...]:
        """What was noted, the same on every rank.

        Raises:
            OSError: where that cannot be read; no rank may take it for nothing.
        """
        names = self._files.sealed(self._offer(digest, attempt))
        if names is None:
            raise OSError(f"{self._offer(digest, attempt)} must be readable by every rank, got nothing that is whole")
        return tuple(names)

    def fetch(self, digest: str, name: str) -> str:
        """Make a remote checkpoint the only local one of its stage; where it is not whole, none is and why is returned,
        which is empty where it is.

        Raises:
            OSError: where the storage does not answer or this machine's own disk fails: no fault of the checkpoint.
        """
        self.empty(digest)
        listed = self._files.sealed(f"inflight/{digest}/{name}.json")
        if listed is None:
            return "its table of contents is gone or damaged"
        files = tuple(decode(StoredFile, item) for item in listed)
        arriving = self._cache / "inflight" / f"{digest}.{uuid.uuid4().hex[:8]}.part"
        try:
            self._files.bring(f"inflight/{digest}/{name}", files, arriving)
            faults = list(differing(files, arriving))
            if not faults:
                arriving.rename(self._place(digest))
        except NO_FILE as error:
            return f"a file of it is not there: {error}"
        finally:
            shutil.rmtree(arriving, ignore_errors=True)
        return "; ".join(faults)

    def drop(self, digest: str, name: str) -> None:
        """Delete a remote checkpoint that is damaged, so that none is kept beside it in place of a whole one."""
        for delete, path in (
            (self._files.filesystem.delete_file, f"inflight/{digest}/{name}.json"),
            (self._files.filesystem.delete_dir, f"inflight/{digest}/{name}"),
        ):
            try:
                delete(self._files.at(path))
            except OSError as error:
                _log.info("%s stays (%s)", path, error)

    def empty(self, digest: str) -> None:
        """Forget the local checkpoints of a stage on a remote filesystem, whose own are gone on from."""
        shutil.rmtree(self._place(digest), ignore_errors=True)

    @staticmethod
    def _offer(digest: str, attempt: str) -> str:
        return f"inflight/{digest}/from-{attempt}.json"

    def _names(self, digest: str) -> list[str]:
        """Whole checkpoints on the remote filesystem."""
        folder = fs.FileSelector(self._files.at(f"inflight/{digest}"), allow_not_found=True)
        names = (info.base_name for info in self._files.filesystem.get_file_info(folder))
        return [name.removesuffix(".json") for name in names if name.endswith(".json") and not name.startswith("from-")]

    def _forget(self, digest: str, *, before: str) -> None:
        """Delete checkpoints of fewer steps than the one named; all of them, and the notes, where none is."""
        folder = fs.FileSelector(self._files.at(f"inflight/{digest}"), allow_not_found=True)
        try:
            for info in self._files.filesystem.get_file_info(folder):
                if before and (info.base_name >= before or info.base_name.startswith("from-")):
                    continue
                if info.type == fs.FileType.Directory:
                    self._files.filesystem.delete_dir(info.path)
                elif info.type == fs.FileType.File:
                    self._files.filesystem.delete_file(info.path)
        except OSError as error:  # what stays costs room and nothing else
            _log.warning("old checkpoints of stage %s stay (%s)", digest, error)
