"""Claims about the machines of a gang's ranks: what one lacks ends the gang, and a silent storage starts it anew."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.pure.box import Box
from tests.pure.pair_of_ranks import pair
from trainables import gang as module
from trainables.equipment import Question
from trainables.gang import UNANSWERED_SECONDS, Unfit, serve
from trainables.gangs import RUNNERS, GangKind, Gangs
from trainables.store import Store

SILENCE = OSError("AWS Error NETWORK_CONNECTION")


class Asking(Box):
    """A mailbox that keeps what its rank says of its machine, and counts what it was asked for."""

    def __init__(self) -> None:
        super().__init__(accepting=True)
        self.refused: list[tuple[list[str], bool]] = []
        self.taken = 0

    def refuse(self, faults: list[str], *, passes: bool = False) -> None:
        self.refused.append((faults, passes))

    def take(self, after: int) -> None:
        self.taken += 1

    def pulse(self, silence: float) -> bool:
        return False


def on_both(folder, monkeypatch, *found: list[str] | OSError) -> tuple[list[Asking], list[float], list[bool]]:
    """What each of two ranks says whose machine has these faults, how long they wait, and which of them starts anew."""
    waited: list[float] = []
    monkeypatch.setattr(module.time, "sleep", waited.append)
    boxes = [Asking(), Asking()]

    def lacks(question: Question) -> list[str]:
        said = found[int(question.probe)]
        if isinstance(said, OSError):
            raise said
        return said

    def end_of(rank) -> Callable[[], bool]:
        def run() -> bool:
            asked = Question(storage=str(folder), probe=str(rank.rank), token="", versions=(), files=())
            gangs = Gangs(workers=2)
            kept = {"store": Store(folder), "cache": None, "gangs": gangs, "runner": RUNNERS[GangKind.REHEARSAL]}
            try:
                serve(boxes[rank.rank], **kept, ranks=rank, question=asked)  # type: ignore[arg-type]
            except Unfit:
                return True
            return False

        return run

    monkeypatch.setattr(module, "lacks", lacks)
    with ThreadPoolExecutor(2) as pool:
        ends = [pool.submit(end_of(rank)) for rank in pair()]
        return boxes, waited, [end.result(timeout=30) for end in ends]


def test_a_gang_whose_machines_have_everything_takes_its_first_stage(tmp_path, monkeypatch):
    boxes, waited, anew = on_both(tmp_path, monkeypatch, [], [])
    assert ([box.taken for box in boxes], [box.refused for box in boxes], anew) == ([1, 1], [[], []], [False, False])
    assert waited == []


@pytest.mark.parametrize("silent", [0, 1])
def test_a_storage_that_does_not_answer_one_rank_has_all_of_them_wait_and_start_anew(tmp_path, monkeypatch, silent):
    found: list[list[str] | OSError] = [[], []]
    found[silent] = SILENCE
    boxes, waited, anew = on_both(tmp_path, monkeypatch, *found)
    (faults, passes) = boxes[silent].refused[0]
    assert passes and "the storage does not answer (OSError: AWS Error NETWORK_CONNECTION" in faults[0]
    assert boxes[1 - silent].refused == []
    assert ([box.taken for box in boxes], anew, waited) == ([0, 0], [True, True], [UNANSWERED_SECONDS] * 2)


@pytest.mark.parametrize("other", [[], SILENCE])
def test_what_one_machine_lacks_ends_all_ranks_at_once_whatever_the_other_waits_for(tmp_path, monkeypatch, other):
    boxes, waited, anew = on_both(tmp_path, monkeypatch, other, ["it must see the storage"])
    assert boxes[1].refused == [(["it must see the storage"], False)]
    assert ([box.taken for box in boxes], anew, waited) == ([0, 0], [False, False], [])
