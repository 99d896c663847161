"""The conductor as Ray Tune wants it: a searcher that suggests its assignments, a scheduler that obeys its verdicts."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable
from typing import Any

from ray.tune import Callback
from ray.tune.schedulers import FIFOScheduler, TrialScheduler
from ray.tune.search import Searcher

from sweep.conduct import Conductor, Verdict
from sweep.launch import config_of, verdict_of
from sweep.records import Phase, TrialKey
from sweep.vigil import Vigil

_log = logging.getLogger(__name__)


def key_of(config: dict[str, Any]) -> TrialKey:
    """The trial that a configuration of Tune is about."""
    return TrialKey(cell=config["cell"], phase=Phase(config["phase"]), number=config["number"])


class _Unsaved:
    """Tune pickles its configuration when it starts; what is behind it is the ledger, and that needs no saving."""

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name not in ("_conductor", "_vigil")}


#: A trial that ends sooner is shorter than the start of a process. Tune gives a trial that waits for a new process that
#: of another trial which ends first, and throws the new one away: such trials would start a process each, for nothing.
SHORT_SECONDS = 2.0


class LedgerSearcher(_Unsaved, Searcher):
    """Suggests what the conductor hands out, at most `limit` trials at a time and `most` in all; saves nothing, the
    ledger has it all.

    After a short trial the next waits for those before it, so that it takes over a process of theirs; if they turn out
    to be longer, or once they have ended, as many as may are suggested at once again.
    """

    def __init__(
        self,
        conductor: Conductor,
        dispatcher: str,
        limit: int,
        most: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(metric="score", mode="max")
        self._left = most
        self._conductor = conductor
        self._dispatcher = dispatcher
        self._limit = limit
        self._open: set[str] = set()
        self._clock, self._suggested_at, self._short = clock, -math.inf, False
        self._begun: dict[str, float] = {}
        self._keys: dict[str, TrialKey] = {}

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        """The next configuration; None where none is ready yet; `FINISHED` where none will come any more."""
        if len(self._open) >= self._limit:
            return None
        if self._open and self._short:
            if self._clock() - self._suggested_at < SHORT_SECONDS:
                return None
            self._short = False
        assignment = self._conductor.next() if self._left else None
        if assignment is None:
            return None if self._open or self._conductor.running() else Searcher.FINISHED
        self._left -= 1
        self._suggested_at = self._begun[trial_id] = self._clock()
        self._open.add(trial_id)
        self._keys[trial_id] = assignment.key
        return config_of(assignment.key, assignment.path, self._dispatcher)

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Make room for another. An error is one after which Tune does not start the trial again."""
        self._open.discard(trial_id)
        key = self._keys.pop(trial_id, None)
        if error and key is not None:
            self._conductor.lost(key, "its process died more often than it is started again")
        self._short = self._clock() - self._begun.pop(trial_id, -math.inf) < SHORT_SECONDS

    def save(self, checkpoint_path: str) -> None:
        """Nothing: a resumed sweep reads the ledger."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing: a resumed sweep reads the ledger."""


class LedgerScheduler(_Unsaved, FIFOScheduler):
    """Passes every result to the conductor and stops the trials that it prunes."""

    def __init__(self, conductor: Conductor) -> None:
        super().__init__()
        self._conductor = conductor

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        """STOP for a trial that the conductor has ended."""
        verdict = verdict_of(self._conductor, key_of(trial.config), result)
        return TrialScheduler.CONTINUE if verdict is Verdict.CONTINUE else TrialScheduler.STOP

    def on_trial_complete(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> None:
        """The last result carries the last events."""
        key = key_of(trial.config)
        verdict_of(self._conductor, key, result)
        self._conductor.lost(key, "it ended without a result")

    def on_trial_error(self, tune_controller: Any, trial: Any) -> None:
        """A line: Tune says so also of a trial whose process it starts again, which then asks for its path anew."""
        words = str(trial.get_error() or "its process died").strip().splitlines()
        _log.warning("%s: %s", key_of(trial.config), words[-1].partition(". ")[0])  # Ray adds what may have caused it


class WhileThere(_Unsaved, Callback):
    """Ends the run of Tune from its own loop once the dispatcher is gone."""

    def __init__(self, vigil: Vigil) -> None:
        self._vigil = vigil

    def on_step_begin(self, iteration: int, trials: list[Any], **info: Any) -> None:
        """Raises `Gone` then."""
        self._vigil.check()
