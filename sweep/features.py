"""The arrays of all images of a sweep, made before its gangs need them; starts no Ray."""

from __future__ import annotations

import logging
from pathlib import Path

from sweep.absence import tasks_by_name
from sweep.definition import Sweep
from sweep.resolve import looked_up
from trainables.catalogue.encoder import Tower
from trainables.catalogue.task import Kind
from trainables.faults import refuse

_log = logging.getLogger(__name__)


def prepare(sweep: Sweep, *, storage: str) -> int:
    """Read every split with images and keep what its tower, or its patches, makes of them; how many images there are.

    Those of the cells that `run` would have: the tasks of one that lacks data here are left out as there.

    What is there already is not made again, so an interrupted preparation goes on where it stopped. In a storage that
    is no folder a tower's vectors are put where gangs of other machines find them: those of the same kind of device and
    the same libraries, since others would make others. For gangs with GPUs a machine without one makes none of use.

    Raises:
        Invalid: where the definition, its files or an image cannot be used, or what every cell needs is not here.
    """
    from trainables.data.rows import rows
    from trainables.shared_images import shared_images
    from trainables.store import Store, cache_of

    cache = Path(storage).expanduser().absolute() / "cache" if "://" not in storage else cache_of(storage)
    looked = looked_up(sweep, fetch=True)
    refuse(f"the data of sweep {sweep.name!r}", looked.unable)
    found = looked.present
    if isinstance(found.encoder.patches, Tower) and sweep.gangs.gpus_per_worker > 0:
        _warn_without_gpu()
    shared = shared_images(found.encoder, Store(storage, cache=cache), cache)
    if shared is not None:
        shared.bring()
    keys: set[bytes] = set()
    for task in tasks_by_name(found).values():
        for split in task.splits if task.kind in (Kind.IMAGE_TEXT, Kind.CAPTION) else ():
            laid_out = rows(task, split.name, None, found.encoder, cache=cache)
            keys |= {key.tobytes() for key in laid_out.image_keys} if laid_out.image_keys is not None else set()
            if shared is not None:
                shared.send()
    return len(keys)


def _warn_without_gpu() -> None:
    from trainables.data.tower import device  # it loads torch, and few sweeps have a tower

    if device().type == "cpu":
        _log.warning(
            "the machine must have a GPU for its vectors to be found by gangs that ask for GPUs, got none; the gangs "
            "will make their own: run this where they run"
        )
