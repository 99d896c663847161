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
from trainables.sealed_files import SealedFiles, StoredFile, described, differing

_log = logging.getLogger(__name__)


class UnderWay:
    """The checkpoints of stages under way, by digest.

    On a shared filesystem they are where they are written; on a remote one each is written on the machine first, then
    put at `inflight/<digest>/…` by `keep`, and fetched from there by whoever goes on.
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
        return max(here, key=lambda path: path.stat().st_mtime_ns, default=None)

    def clear(self, digest: str) -> None:
        """Delete the checkpoints of a stage that is finished."""
        shutil.rmtree(self._place(digest), ignore_errors=True)
        if not self._files.local:
            self._forget(digest, keep="")

    def keep(self, digest: str, step: int, *, admitted: Callable[[], bool] = lambda: True) -> None:
        """Put the newest local checkpoint of a stage on the remote filesystem and forget those of fewer steps.

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
        self._forget(digest, keep=name)

    def choose(self, digest: str, attempt: str) -> None:
        """Note for all ranks of an attempt which checkpoint they go on from: the one of the most steps, or none."""
        if self._files.local:
            return
        self._files.seal(f"inflight/{digest}/from-{attempt}.json", max(self._names(digest), default=""))

    def fetch(self, digest: str, attempt: str) -> None:
        """Make the local checkpoints of a stage those that the attempt goes on from."""
        if self._files.local:
            return
        shutil.rmtree(self._place(digest), ignore_errors=True)
        folder = self.folder(digest)
        name = self._files.sealed(f"inflight/{digest}/from-{attempt}.json")
        listed = self._files.sealed(f"inflight/{digest}/{name}.json") if name else None
        if listed is None:
            return
        files = tuple(decode(StoredFile, item) for item in listed)
        arriving = self._cache / "inflight" / f"{digest}.{uuid.uuid4().hex[:8]}.part"
        try:
            self._files.bring(f"inflight/{digest}/{name}", files, arriving)
        except OSError as error:
            _log.warning("checkpoint %s of stage %s cannot be read (%s); it begins anew", name, digest, error)
            shutil.rmtree(arriving, ignore_errors=True)
            return
        if faults := list(differing(files, arriving)):
            _log.warning("checkpoint %s of stage %s is damaged (%s); it begins anew", name, digest, "; ".join(faults))
            shutil.rmtree(arriving)
            return
        shutil.rmtree(folder)
        arriving.rename(folder)

    def _names(self, digest: str) -> list[str]:
        """Whole checkpoints on the remote filesystem."""
        folder = fs.FileSelector(self._files.at(f"inflight/{digest}"), allow_not_found=True)
        names = (info.base_name for info in self._files.filesystem.get_file_info(folder))
        return [name.removesuffix(".json") for name in names if name.endswith(".json") and not name.startswith("from-")]

    def _forget(self, digest: str, *, keep: str) -> None:
        """Delete checkpoints of fewer steps than the one to keep; all of them, and the notes, where that is empty."""
        folder = fs.FileSelector(self._files.at(f"inflight/{digest}"), allow_not_found=True)
        try:
            for info in self._files.filesystem.get_file_info(folder):
                if keep and (info.base_name >= keep or info.base_name.startswith("from-")):
                    continue
                if info.type == fs.FileType.Directory:
                    self._files.filesystem.delete_dir(info.path)
                elif info.type == fs.FileType.File:
                    self._files.filesystem.delete_file(info.path)
        except OSError as error:  # what stays costs room and nothing else
            _log.warning("old checkpoints of stage %s stay (%s)", digest, error)
