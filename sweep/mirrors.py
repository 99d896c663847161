"""A running sweep shown to Weights & Biases or MLflow by Ray's own callbacks; adds no number and keeps none.

What they are given of a trial is its cell, number and values, and the numbers that its TensorBoard run has: the ledger
alone stays what is true. Trouble with a mirror is told once, and the sweep goes on without it.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ray.tune.logger import LoggerCallback

from sweep.conduct import Conductor
from sweep.mirror_names import Kind, Mirror
from sweep.records import State, last_numbers
from sweep.tune_adapters import key_of
from trainables.catalogue.task import Role
from trainables.scores import Done, Event, Progress, event_from_json
from trainables.stages import Stage

if TYPE_CHECKING:
    from sweep.records import TrialKey

_log = logging.getLogger(__name__)


def callback(asked: Mirror, conductor: Conductor) -> Mirrored:
    """Ray's callback for the mirror, shown this sweep."""
    sweep = conductor.sweep.name
    if asked.kind is Kind.WANDB:
        from ray.air.integrations.wandb import WandbLoggerCallback

        # Unasked it writes into Tune's folder, which goes when the sweep ends: offline runs would go with it. What it
        # starts are processes of Ray's, with the environment of whoever started Ray.
        folder, mode = os.environ.get("WANDB_DIR") or str(Path.cwd()), os.environ.get("WANDB_MODE")
        project = asked.place or _project(sweep)
        return Mirrored(WandbLoggerCallback(project=project, group=sweep, dir=folder, mode=mode), conductor)
    from ray.air.integrations.mlflow import MLflowLoggerCallback

    return Mirrored(
        MLflowLoggerCallback(tracking_uri=asked.place or None, experiment_name=sweep, tags={"sweep": sweep}), conductor
    )


def _project(sweep: str) -> str:
    return os.environ.get("WANDB_PROJECT") or sweep


class Mirrored(LoggerCallback):
    """Hands a trial to one of Ray's logger callbacks as what it is about, instead of the stages that Tune knows."""

    def __init__(self, inner: LoggerCallback, conductor: Conductor) -> None:
        self._inner, self._conductor = inner, conductor
        self._shown: dict[str, _Shown] = {}
        self._broken = False

    def __getstate__(self) -> dict[str, Any]:
        """Nothing: Tune pickles its configuration, and a resumed sweep makes another one."""
        return {}

    def setup(self, *given: Any, **more: Any) -> None:
        """Connect."""
        self._try(lambda: self._inner.setup(*given, **more))

    def log_trial_start(self, trial: Any) -> None:
        """Show a trial with its values."""
        key = key_of(trial.config)
        shown = _Shown(trial, {"cell": key.cell, "phase": str(key.phase), "number": key.number, **self._values(key)})
        self._shown[trial.trial_id] = shown
        self._try(lambda: self._inner.log_trial_start(shown))

    def log_trial_result(self, iteration: int, trial: Any, result: dict[str, Any]) -> None:
        """Show the numbers of each event."""
        shown = self._shown.get(trial.trial_id)
        if shown is None:
            return
        for step, found in shown.numbers(map(event_from_json, result.get("events", ()))):
            shown.reached = max(shown.reached, step)
            told = {**found, "timesteps_total": step, "training_iteration": step}
            self._try(lambda told=told: self._inner.log_trial_result(iteration, shown, told))

    def log_trial_end(self, trial: Any, failed: bool = False) -> None:
        """Show how a trial has ended, which Tune does not know, and the score that counts for it."""
        shown = self._shown.pop(trial.trial_id, None)
        if shown is None:
            return
        record = self._conductor.record_of(key_of(trial.config))
        failed = failed or record.state is State.FAILED
        found = {**last_numbers(record), **({"failed": 1.0} if failed else {})}  # W&B knows no failed run
        if found:
            told = {**found, "timesteps_total": shown.reached, "training_iteration": shown.reached}
            self._try(lambda: self._inner.log_trial_result(0, shown, told))
        self._try(lambda: self._inner.log_trial_end(shown, failed))

    def on_experiment_end(self, trials: list[Any], **info: Any) -> None:
        """Wait for what is on its way."""
        self._try(lambda: self._inner.on_experiment_end(trials, **info))

    def _values(self, key: TrialKey) -> Mapping[str, float]:
        return self._conductor.record_of(key).values

    def _try(self, act: Callable[[], None]) -> None:
        if self._broken:
            return
        try:
            act()
        except Exception as error:  # another's service and library: whatever it is, the sweep goes on
            self._broken = True
            _log.warning("%s has failed and is shown nothing more: %s", type(self._inner).__name__, error)


class _Shown:
    """A trial as a logger sees it: its values for a configuration, a readable name, the rest as Tune has it."""

    def __init__(self, trial: Any, config: Mapping[str, Any]) -> None:
        self._trial, self.config = trial, dict(config)
        self._offsets: dict[str, int] = {}
        self.reached, self._whole = 0, 0
        for stage in map(Stage.from_json, trial.config["path"]):
            self._offsets[stage.digest] = self._whole
            self._whole += stage.steps

    def __getattr__(self, name: str) -> Any:
        return getattr(self._trial, name)

    def __str__(self) -> str:
        return f"{self.config['cell']}/{self.config['phase']}-{self.config['number']}"

    def numbers(self, events: Iterator[Event]) -> Iterator[tuple[int, dict[str, float]]]:
        """The step along the trial's path and the numbers of each event that has any."""
        for event in events:
            offset = self._offsets.get(event.digest, 0)
            if isinstance(event, Progress):
                yield offset + event.step, dict(_of_report(event))
            elif isinstance(event, Done):
                for report in event.history if event.reused else ():
                    yield offset + report.step, dict(_of_report(report))
                reported = (s for s in event.scores if s.value is not None and s.role is Role.REPORT)
                scores = {f"lang/{s.language}/{s.metric}": s.value for s in reported}
                if scores:
                    yield self._whole, scores


def _of_report(report: Progress) -> Iterator[tuple[str, float]]:
    """By names of which none is the folder of another: MLflow's store of files makes a file of each."""
    steps = sum(loss.steps for loss in report.losses)
    if steps:
        yield "loss", sum(loss.loss * loss.steps for loss in report.losses) / steps
        yield "learning_rate", report.learning_rate
        for loss in report.losses:
            yield f"task_loss/{loss.task}", loss.loss
    for score in report.scores:
        if score.value is not None:
            yield f"dev/{score.task}/{score.language}/{score.metric}", score.value
