"""What a vision tower made of images, in a store that machines do not see as a folder; makes none of it.

A machine brings what others made before it makes the rest, and sends what it made when the stage ends. Files are named
by the images in them and never change; several machines may send the same one.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
from pyarrow import fs

from trainables.catalogue.encoder import Encoder, Tower
from trainables.catalogue.task import Kind
from trainables.sealed_files import SealedFiles, StoredFile
from trainables.stages import Stage, Training
from trainables.store import Store


@dataclass(frozen=True)
class SharedImages:
    """The vectors of one tower: `folder` on this machine, `images/<name>` in the store."""

    files: SealedFiles
    folder: Path
    name: str

    def bring(self) -> int:
        """Download the files that this machine lacks; how many there were. One that is not whole is left out.

        Of several processes on one machine one brings them and the others wait for it; parts of files, also those that
        a killed one has left, are deleted.

        Raises:
            OSError: where the store does not answer, or the disk is full.
        """
        from trainables.data.images import alone  # it loads what decodes images, and few sweeps have any

        aside = self.folder / ".bringing"
        aside.mkdir(parents=True, exist_ok=True)
        brought = 0
        with alone(aside):
            _delete_parts(aside)
            try:
                for name, size in self._there().items():
                    if (self.folder / name).exists():
                        continue
                    self.files.bring(self._where, [StoredFile(name=name, size=size, sha256="")], aside)
                    if _is_whole(aside / name):
                        (aside / name).replace(self.folder / name)
                        brought += 1
            finally:
                _delete_parts(aside)
        return brought

    def send(self) -> int:
        """Upload the files that the store lacks; how many there were.

        Raises:
            OSError: where the store does not answer.
        """
        there = self._there()
        mine = [path for path in sorted(self.folder.glob("*.arrow")) if there.get(path.name) != path.stat().st_size]
        for path in mine:
            self.files.copy(path, self.files.at(f"{self._where}/{path.name}"))
        return len(mine)

    @property
    def _where(self) -> str:
        return f"images/{self.name}"

    def _there(self) -> dict[str, int]:
        """Name → bytes of the files in the store."""
        listed = self.files.filesystem.get_file_info(fs.FileSelector(self.files.at(self._where), allow_not_found=True))
        return {one.base_name: one.size for one in listed if one.is_file and one.base_name.endswith(".arrow")}


def shared_images(encoder: Encoder, store: Store, cache: Path | None) -> SharedImages | None:
    """Where the vectors of the encoder's tower lie; None where it has none, or where the store is a folder."""
    if store.is_shared or cache is None or not isinstance(encoder.patches, Tower):
        return None
    from trainables.data import tower  # it loads torch, and few sweeps have one

    name = tower.digest(encoder.patches)
    return SharedImages(store.files, cache / "images" / name, name)


def reads_images(stage: Stage) -> bool:
    """Whether any task of a stage has images."""
    work = stage.work
    tasks = [portion.task for portion in work.portions] if isinstance(work, Training) else [work.task]
    return any(task.kind in (Kind.IMAGE_TEXT, Kind.CAPTION) for task in tasks)


def _delete_parts(folder: Path) -> None:
    for path in folder.glob("*.arrow"):
        path.unlink()


def _is_whole(path: Path) -> bool:
    try:
        with pa.memory_map(str(path)) as file:
            pa.ipc.open_file(file)
    except (pa.ArrowInvalid, OSError):
        return False
    return True
