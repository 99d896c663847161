"""What a sweep has spent over all its runs, its gangs and its machines, and which ceiling it reaches; stops none."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable

import pyarrow.fs as pafs

from trainables.gangs import Gangs
from trainables.whole_files import put_whole, read_json

_log = logging.getLogger(__name__)

FILE = "spent.json"

#: A driver that is killed has spent this much that is never counted, and what its last look did not see.
KEEP_SECONDS = 60.0


def seconds_run(filesystem: pafs.FileSystem, folder: str) -> float:
    """Seconds that a sweep has run, as its meter last kept them in its folder; 0 where none did."""
    return spent(filesystem, folder).get("seconds", 0.0)


def spent(filesystem: pafs.FileSystem, folder: str) -> dict[str, float]:
    """What a sweep has spent over all its runs, as its meter last kept it: `gang_hours` on its gangs, trained or lost,
    `node_hours` of its machines, `seconds` of wall clock; empty where none did.
    """
    return read_json(filesystem, f"{folder}/{FILE}") or {}


class Meter:
    """Counts on from what earlier runs of the sweep have left beside its ledger.

    `clock` gives seconds from any beginning.
    """

    def __init__(
        self, filesystem: pafs.FileSystem, folder: str, gangs: Gangs, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._filesystem, self._path, self._gangs, self._clock = filesystem, f"{folder}/{FILE}", gangs, clock
        before = read_json(filesystem, self._path) or {}
        self._gang_hours_before = before.get("gang_hours", 0.0)
        self.gang_hours = self._gang_hours_before
        self.node_hours = before.get("node_hours", 0.0)
        self._seconds_before = before.get("seconds", 0.0)
        self._begun = self._looked = self._kept = clock()

    def saw(self, *, machines: int, gang_hours: float) -> str:
        """Count `machines` that have stood since the last look, and the hours of all gangs in this run; why no more
        may be spent, empty while it may.
        """
        now = self._clock()
        self.node_hours += machines * (now - self._looked) / 3600
        self.gang_hours = self._gang_hours_before + gang_hours
        self._looked = now
        if now - self._kept >= KEEP_SECONDS:
            self.keep()
        for what, spent, ceiling in (
            ("gangs have spent the {:g} gang-hours", self.gang_hours, self._gangs.gang_hours),
            ("machines have stood for the {:g} node-hours", self.node_hours, self._gangs.node_hours),
            ("machines have cost the {:g}", self.node_hours * self._gangs.price_per_node_hour, self._gangs.price),
        ):
            if spent >= ceiling:
                return f"the {what.format(ceiling)} that the definition allows over all runs"
        return ""

    def keep(self) -> None:
        """Leave what has been spent for the next run; a storage that cannot be written costs that count alone."""
        self._kept = self._clock()
        so_far = {
            "gang_hours": round(self.gang_hours, 4),
            "node_hours": round(self.node_hours, 4),
            "seconds": round(self._seconds_before + self._kept - self._begun, 1),
        }
        try:
            put_whole(self._filesystem, self._path, json.dumps(so_far).encode())
        except OSError as error:
            _log.warning("what the sweep has spent could not be kept: %s", error)
