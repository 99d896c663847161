"""Claims about what is lost with a machine whose checkpoints are sent to an object store."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Callable

import pytest

from trainables.sent_checkpoints import SentCheckpoints, spacing_steps


class Kept:
    """Checkpoints on this machine; it keeps nothing but the steps."""

    def __init__(self, interval_steps: int) -> None:
        self.interval_steps = interval_steps
        self.steps: list[int] = []

    def due(self, step: int) -> bool:
        return step % self.interval_steps == 0

    def save(self, step: int) -> None:
        self.steps.append(step)


class Slow:
    """A remote place that has a checkpoint no sooner than its gate is opened; from some steps on it does not answer."""

    def __init__(self, *refused: int) -> None:
        self.stored, self.refused = 0, refused
        self.gates: dict[int, threading.Event] = defaultdict(threading.Event)

    def keep(self, digest: str, step: int, *, admitted: Callable[[], bool]) -> None:
        assert self.gates[step].wait(30)
        if step in self.refused:
            raise OSError("the storage does not answer")
        if admitted():
            self.stored = step


def sending(slow: Slow, interval_steps: int, told: list[str], *, admitted: bool = True) -> SentCheckpoints:
    kept = Kept(spacing_steps(interval_steps))
    return SentCheckpoints(kept, slow, "d1", interval_steps=interval_steps, admitted=lambda: admitted, tell=told.append)


def most_lost(interval_steps: int, steps: int, *refused: int) -> int:
    """The most steps that a loss of the machine costs, at any moment of a stage whose sending is as slow as it may."""
    slow, last, lost = Slow(*refused), 0, 0
    sent = sending(slow, interval_steps, [])
    for step in range(1, steps + 1):
        lost = max(lost, step - slow.stored)
        if sent.due(step):
            slow.gates[step if interval_steps == 1 else last].set()
            sent.save(step)
            last = step
    slow.gates[last].set()
    sent.settle()
    return lost


@pytest.mark.parametrize("interval_steps", [1, 2, 3, 10, 11, 200])
def test_no_more_than_an_interval_is_lost_with_a_machine_however_slowly_its_checkpoints_are_sent(interval_steps):
    lost = most_lost(interval_steps, 5 * interval_steps + 3)
    assert lost <= interval_steps
    assert lost == (1 if interval_steps == 1 else 2 * (interval_steps // 2))  # training did not wait for the sending


def test_a_checkpoint_that_cannot_be_sent_costs_its_steps_and_is_told(caplog):
    slow, told = Slow(5), []
    sent = sending(slow, 10, told)
    for step in (5, 10):
        slow.gates[step].set()
        sent.save(step)
    sent.settle()
    assert slow.stored == 10 and sent.steps == [5, 10]
    (text,) = told
    assert text.startswith("the checkpoint of stage d1 at step 5 was not sent (the storage does not answer); until")
    assert most_lost(10, 40, 20) == 15


def test_a_checkpoint_of_an_attempt_that_is_over_does_not_count():
    slow = Slow()
    sent = sending(slow, 1, [], admitted=False)
    slow.gates[7].set()
    sent.save(7)
    assert slow.stored == 0


def test_where_an_interval_is_one_step_the_training_waits_for_what_it_sends():
    slow = Slow()
    sent = sending(slow, 1, [])
    threading.Timer(0.05, slow.gates[1].set).start()
    sent.save(1)
    assert slow.stored == 1
