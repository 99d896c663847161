"""Deleting, when a sweep begins, what killed runs have left in its storage; decides by locks what is left over."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable
from dataclasses import dataclass

from sweep.lock import holder
from trainables.leftovers import UNNAMED_SECONDS, Owners, Seen, left_over
from trainables.listing import seen_in
from trainables.pins import PinFile
from trainables.storage_clock import storage_time
from trainables.store import Store
from trainables.whole_files import PARTIAL

_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Cleared:
    """What was deleted."""

    pieces: int = 0
    size_bytes: int = 0


def clear(store: Store, name: str, *, stages: Iterable[str], still_open: Iterable[str]) -> Cleared:
    """Delete what nobody will read any more. Whoever calls must hold the sweep's lock, and run none of its stages.

    `stages` are those of all the sweep's trials, `still_open` those that trials may yet go on with. A run of another
    sweep counts as over where nobody holds that sweep's lock, by the storage's clock. What cannot be deleted stays,
    with a warning.
    """
    try:
        owners = _owners(store, name, frozenset(stages), frozenset(still_open))
        seen = [one for part in ("stages", "inflight", "results") for one in seen_in(store, part)]
        seen += seen_in(store, "", deep=False)
        now = _now(store)
        found = list(left_over(seen, owners, counted=lambda digest: _counted(store, digest), now=now))
        found += _unnamed(store, name, now)
    except OSError as error:
        _log.warning("what killed runs have left in the storage could not be looked for: %s", error)
        return Cleared()
    gone = [one for one in found if _delete(store, one)]
    return Cleared(pieces=len(gone), size_bytes=sum(one.size_bytes for one in gone))


def _owners(store: Store, name: str, stages: frozenset[str], still_open: frozenset[str]) -> Owners:
    pin_file = PinFile(store, f"sweeps/{name}")
    others = pin_file.others()
    running = {other for other in others if _is_held(store, other)}
    over = {pins.session for other, pins in others.items() if other not in running} | {pin_file.last.session}
    return Owners(
        over=frozenset(over - {""}),
        running=frozenset(others[other].session for other in running),
        open=still_open.union(*(pins.open for pins in others.values())),
        mine=stages | still_open,
    )


def _unnamed(store: Store, name: str, now: float) -> list[Seen]:
    """Files of the sweep's folder whose writer was killed before it gave them their name; on a disk alone."""
    seen = seen_in(store, f"sweeps/{name}") if store.is_shared else []
    return [one for one in seen if one.path[-1].endswith(PARTIAL) and now - one.changed > UNNAMED_SECONDS]


def _is_held(store: Store, name: str) -> bool:
    """By the storage's clock: one of two machines whose clock is wrong must not delete what the other is writing."""
    return holder(store.filesystem, store.root, name, may_write=True) is not None


def _now(store: Store) -> float:
    """By the clock that says when files were written."""
    return storage_time(store.filesystem, store.files.at("probe-now")) or time.time()


def _counted(store: Store, digest: str) -> str:
    manifest = store.find(digest)
    return manifest.attempt if manifest is not None else ""


def _delete(store: Store, one: Seen) -> bool:
    path = "/".join(part for part in (store.root, *one.path) if part)
    try:
        (store.filesystem.delete_dir if one.is_folder else store.filesystem.delete_file)(path)
    except FileNotFoundError:
        return False
    except OSError as error:
        _log.warning("%s could not be deleted: %s", path, error)
        return False
    return True
