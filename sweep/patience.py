"""A driver that waits for a storage that cannot be written instead of ending; knows neither trials nor their scores."""

from __future__ import annotations

import errno
import logging
import time
from collections.abc import Callable
from typing import Any

from sweep.ledger import Ledger
from sweep.records import Happening

_log = logging.getLogger(__name__)

#: How often a storage that could not be written is tried again, and how often it is asked meanwhile whether to stop.
ROOM_SECONDS, STOP_SECONDS = 5.0, 0.5

#: What a disk says that has no room now and may have some later.
_FULL = (errno.ENOSPC, errno.EDQUOT)


class GaveUp(RuntimeError):
    """The storage could not be written, and the sweep was asked to stop."""


class PatientLedger(Ledger):
    """A ledger that waits where a fragment cannot be written, and says so once."""

    def __init__(self, ledger: Ledger) -> None:
        super().__init__(ledger.filesystem, "", ledger.sweep)
        self.directory = ledger.directory
        self.open()
        self.say: Callable[[str], None] = _log.warning
        self.stopped: Callable[[], str] = str
        """Why to wait no longer; empty to go on waiting."""
        self.gave_up = ""
        """Why a fragment was not written; empty while all is well."""
        self._held: list[Happening] | None = None

    def hold(self) -> None:
        """Write nothing of what is recorded from now on until `release`: the sweep may yet be refused."""
        self._held = []

    def release(self) -> None:
        """Write what was held back, and hold back no more.

        Raises:
            GaveUp: as `record`.
        """
        held, self._held = self._held or (), None
        for happening in held:
            self.record(happening)

    def record(self, happening: Happening) -> None:
        """Write one fragment, as soon as the storage lets it.

        Raises:
            GaveUp: where the storage cannot be written and the sweep is asked to stop.
        """
        if self._held is not None:
            self._held.append(happening)
            return
        self.wait(lambda: super(PatientLedger, self).record(happening))

    def fold(self) -> None:
        """Put all loose fragments into one file, where the storage lets it: loose ones say the same."""
        try:
            super().fold()
        except OSError as error:
            _log.warning("the ledger's fragments could not be folded: %s", error)

    def wait(self, write: Callable[[], None]) -> None:
        """Write, as soon as the storage lets it.

        Raises:
            GaveUp: where the storage cannot be written and the sweep is asked to stop.
        """
        waited = False
        while True:
            try:
                write()
            except OSError as error:
                if why := self.stopped():
                    self.gave_up = f"{why}, and the storage cannot be written ({error})"
                    raise GaveUp(self.gave_up) from error
                if not waited:
                    self.say(f"{_words(error)}; the sweep waits until it can write, and goes on by itself")
                waited = True
                self._pause()
                continue
            if waited:
                self.say("the storage can be written again; the sweep goes on")
            return

    def _pause(self) -> None:
        until = time.monotonic() + ROOM_SECONDS
        while time.monotonic() < until and not self.stopped():
            time.sleep(STOP_SECONDS)


def _words(error: OSError) -> str:
    return f"the disk is full ({error})" if error.errno in _FULL else f"the storage cannot be written ({error})"


class Careless:
    """A watcher whose own trouble with the disk is its own: it is told once, and the sweep goes on without it."""

    def __init__(self, watcher: Any) -> None:
        self._watcher = watcher
        self._warned = False

    def __getattr__(self, name: str) -> Any:
        call = getattr(self._watcher, name)

        def careless(*given: Any) -> None:
            try:
                call(*given)
            except OSError as error:
                if not self._warned:
                    _log.warning("%s could not write: %s", type(self._watcher).__name__, error)
                self._warned = True

        return careless
