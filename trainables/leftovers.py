"""Which parts of a store nobody will ever read, left there by runs that were killed; deletes none of them.

An attempt's name begins with its run's session: its output is left over once that run is over, unless the manifest
names it. Checkpoints are left over where their stage is finished, or where it is a stage of this sweep's that no open
trial needs. Whatever cannot be told to be somebody's goes by its age.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace

#: What nobody claims goes after a week without a change: more than any stage is silent for.
UNCLAIMED_SECONDS = 7 * 86400.0

#: A file that was never given its name goes after a day: more than any file takes to be written.
UNNAMED_SECONDS = 86400.0

#: Checkpoints of a stage that another sweep has just begun may not be claimed yet.
CLAIMED_WITHIN_SECONDS = 60.0

MANIFEST = "manifest.json"


@dataclass(frozen=True, kw_only=True)
class Seen:
    """A file or a folder; object stores have files alone."""

    path: tuple[str, ...]
    """Relative to the store's root."""
    size_bytes: int = 0
    changed: float = 0.0
    """When it was last written, in seconds since the epoch; infinity where its filesystem does not say."""
    is_folder: bool = False


@dataclass(frozen=True, kw_only=True)
class Owners:
    """Who may still read what."""

    over: frozenset[str] = frozenset()
    """Sessions of runs that are known to be over."""
    running: frozenset[str] = frozenset()
    """Sessions of other sweeps' runs that go on."""
    open: frozenset[str] = frozenset()
    """Stages of trials, of any sweep, that have not ended."""
    mine: frozenset[str] = frozenset()
    """Stages of this sweep's trials, ended or not."""


def left_over(seen: Iterable[Seen], owners: Owners, *, counted: Callable[[str], str], now: float) -> Iterator[Seen]:
    """The folders and files to delete. `counted` gives the attempt that a manifest names, "" where it cannot be read;
    it is asked only of stages with several.
    """
    everything = tuple(seen)
    for one in everything:
        unnamed = one.path[-1].endswith(".part") and one.path[0] in ("stages", "results") and len(one.path) == 3
        if not one.is_folder and (unnamed or one.path[0].startswith("probe-")) and now - one.changed > UNNAMED_SECONDS:
            yield one
    finished = {one.path[1] for one in everything if one.path[0] == "stages" and one.path[2:] == (MANIFEST,)}
    attempts: dict[str, list[Seen]] = {}
    for folder in _folders(everything, "stages", 3):
        attempts.setdefault(folder.path[1], []).append(folder)
    for digest, found in attempts.items():
        if digest in finished and len(found) == 1:
            continue
        stays = counted(digest) if digest in finished else ""
        if digest not in finished or stays:
            yield from (one for one in found if one.path[2] != stays and _is_over(one, owners, now))
    for folder in _folders(everything, "inflight", 2):
        if _is_no_checkpoint_of_any(folder, owners, is_finished=folder.path[1] in finished, now=now):
            yield folder


def bytes_by_digest(seen: Iterable[Seen], part: str) -> dict[str, int]:
    """What lies in the folder of each stage, of one part of a store such as `inflight`."""
    return {folder.path[1]: folder.size_bytes for folder in _folders(seen, part, 2)}


def _folders(seen: Iterable[Seen], part: str, depth: int) -> list[Seen]:
    """The folders at that depth of a part of the store, each with all that is in it: its bytes, its last change."""
    found: dict[tuple[str, ...], Seen] = {}
    for one in seen:
        if one.path[0] != part or len(one.path) < depth or (len(one.path) == depth and not one.is_folder):
            continue
        path = one.path[:depth]
        folder = found.get(path, Seen(path=path, is_folder=True))
        size = folder.size_bytes + (0 if one.is_folder else one.size_bytes)
        found[path] = replace(folder, size_bytes=size, changed=max(folder.changed, one.changed))
    return list(found.values())


def _is_over(attempt: Seen, owners: Owners, now: float) -> bool:
    session = attempt.path[2].rpartition("-")[0]
    if session in owners.running:
        return False
    return session in owners.over or now - attempt.changed > UNCLAIMED_SECONDS


def _is_no_checkpoint_of_any(folder: Seen, owners: Owners, *, is_finished: bool, now: float) -> bool:
    if folder.path[1] in owners.open:
        return False
    known = is_finished or folder.path[1] in owners.mine
    if known and not owners.running:
        return True
    return now - folder.changed > (CLAIMED_WITHIN_SECONDS if known else UNCLAIMED_SECONDS)
