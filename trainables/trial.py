"""A trial under Ray Tune: a light class that asks the dispatcher for its path and passes on what it hears."""

from __future__ import annotations

import logging
import os
import threading
from typing import Any

import ray
from ray import tune

from trainables.catalogue.task import Role
from trainables.dispatcher import SIGN_SECONDS, find_dispatcher
from trainables.gang import HEAD
from trainables.processes import started_at
from trainables.scores import Done, Event, Failed, Progress, event_from_json
from trainables.stages import Stage, StageKind

_log = logging.getLogger(__name__)


class TransferTrial(tune.Trainable):
    """One trial. Its config holds `cell`, `phase`, `number`, `trial_key`, `path` (stages as JSON texts), `dispatcher`.

    Every result holds `events` (a list of JSON texts, in order, possibly empty), `step` (steps of the last training
    stage of the path, never falling), `score` (the last English development accuracy of role `select` from that
    stage, 0.0 before there is one) and `done`. A failed stage ends the trial with a `Failed` event and no error.
    """

    def setup(self, config: dict[str, Any]) -> None:
        """Take note of the path. It is submitted with the first step: Tune starts processes that it never steps."""
        self._begin(config)
        self._ended = threading.Event()
        threading.Thread(target=self._give_signs, name="signs of life", daemon=True).start()

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Let go of the old trial and take up a new one in the same process."""
        self._detach()
        self._begin(new_config)
        return True

    def step(self) -> dict[str, Any]:
        """Wait for this trial's next events."""
        if self._ticket is None:
            self._ticket = ray.get(self._dispatcher.submit.remote(self._key, self._path))
        texts = ray.get(self._dispatcher.next_events.remote(self._key, self._ticket))
        for text in texts:
            self._heed(event_from_json(text))
        return {
            "events": texts,
            "step": self._step,
            "timesteps_total": self._step,
            "score": self._score,
            "done": self._over,
        }

    def cleanup(self) -> None:
        """Let go of the trial."""
        self._ended.set()
        self._detach()

    def save_checkpoint(self, checkpoint_dir: str) -> dict[str, Any]:
        """Nothing of a trial lives here; the store and the ledger have it."""
        return {}

    def load_checkpoint(self, checkpoint: dict[str, Any] | None) -> None:
        """There is nothing to load."""

    def _begin(self, config: dict[str, Any]) -> None:
        self._dispatcher = find_dispatcher(config["dispatcher"])
        self._key: str = config["trial_key"]
        self._path: list[str] = config["path"]
        path = [Stage.from_json(text) for text in self._path]
        self._last = path[-1].digest
        training = [stage.digest for stage in path if stage.kind is not StageKind.EVALUATE]
        self._target = training[-1] if training else ""
        self._step, self._score, self._over = 0, 0.0, False
        self._ticket: int | None = None

    def _give_signs(self) -> None:
        """Tell the dispatcher that this process is not frozen, also while Tune asks for no step."""
        me = (os.getpid(), started_at(os.getpid()))
        while True:
            try:
                ray.get(self._dispatcher.lives.remote(*me))
            except Exception as error:  # the dispatcher is gone or busy; the sweep ends without this thread, or goes on
                _log.info("no sign of life could be given: %s", error)
            if self._ended.wait(SIGN_SECONDS):
                return

    def _heed(self, event: Event) -> None:
        if isinstance(event, Failed) or (isinstance(event, Done) and event.digest == self._last):
            self._over = True
        if event.digest != self._target:
            return
        reports = event.history if isinstance(event, Done) else (event,) if isinstance(event, Progress) else ()
        for report in reports:
            self._step = max(self._step, report.step)
            self._score = english(report, self._score)

    def _detach(self) -> None:
        if self._ticket is not None:
            ray.get(self._dispatcher.detach.remote(self._key, self._ticket))
            self._ticket = None


def english(report: Progress, otherwise: float) -> float:
    """Mean English development score of role `select` in a report; `otherwise` where it holds none."""
    values = [
        score.value
        for score in report.scores
        if score.language == "en" and score.split == "dev" and score.role is Role.SELECT and score.value is not None
    ]
    return sum(values) / len(values) if values else otherwise


def trainable() -> Any:
    """`TransferTrial` with its resources: a crumb of the head node, so that no gang loses a processor to a trial."""
    return tune.with_resources(TransferTrial, tune.PlacementGroupFactory([HEAD]))
