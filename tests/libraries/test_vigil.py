"""Claims about noticing that the dispatcher is gone."""

from __future__ import annotations

import pickle
from types import SimpleNamespace

import pytest
from ray.exceptions import ActorDiedError, ActorUnavailableError, GetTimeoutError

from sweep import vigil
from sweep.tune_adapters import WhileThere
from sweep.vigil import UNANSWERED, Gone, Vigil

SAID = {"executed": 3}


class Watched:
    """A vigil over a dispatcher that answers as told, and the reasons for which the run was given up."""

    def __init__(self, monkeypatch) -> None:
        self.answer: object = SAID
        self.lost: list[str] = []
        self.asked = 0
        self.slept = 0.0
        self.paused: list[str] = []
        monkeypatch.setattr(vigil.ray, "get", self._get)
        monkeypatch.setattr(vigil.time, "sleep", self._sleep)
        status = SimpleNamespace(remote=lambda: "reference")
        pause = SimpleNamespace(remote=lambda reason: self.paused.append(reason))
        self.vigil = Vigil(SimpleNamespace(status=status, pause=pause), self.lost.append)

    def _sleep(self, seconds: float) -> None:
        self.slept += seconds

    def _get(self, reference: str, timeout: float) -> object:
        self.asked += 1
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


@pytest.fixture
def watched(monkeypatch) -> Watched:
    return Watched(monkeypatch)


def test_a_dispatcher_that_died_ends_the_run_of_tune_and_is_asked_no_more(watched):
    assert watched.vigil.status() == SAID
    WhileThere(watched.vigil).on_step_begin(1, [])
    watched.answer = ActorDiedError()
    with pytest.raises(Gone, match="died unexpectedly"):
        watched.vigil.pause("why")
    with pytest.raises(Gone):
        WhileThere(watched.vigil).on_step_begin(2, [])
    asked = watched.asked
    with pytest.raises(Gone):
        watched.vigil.status()
    assert watched.asked == asked
    (reason,) = watched.lost
    assert reason.startswith("the dispatcher's process died: ") and "\n" not in reason and not reason.endswith(".")


def test_a_dispatcher_that_is_slow_is_asked_on_and_one_that_never_answers_again_is_gone(watched):
    for slow in (GetTimeoutError("slow"), ActorUnavailableError("away", None)):
        watched.answer = slow
        for _ in range(UNANSWERED - 1):
            with pytest.raises(type(slow)):
                watched.vigil.status()
        watched.answer = SAID
        assert watched.vigil.status() == SAID
    assert not watched.lost
    assert watched.slept == (UNANSWERED - 1) * vigil.ANSWER_SECONDS, "who is away answers at once, which is no patience"
    watched.answer = GetTimeoutError("silent")
    for _ in range(UNANSWERED - 1):
        watched.vigil.look()
    assert not watched.vigil.gone
    watched.vigil.look()
    assert watched.lost == [watched.vigil.gone] and "without an answer" in watched.vigil.gone


def test_a_dispatcher_that_did_not_hear_that_it_shall_pause_is_told_with_each_status_until_it_has(watched):
    watched.answer = ActorUnavailableError("away", None)
    with pytest.raises(ActorUnavailableError):
        watched.vigil.pause("a ceiling is reached")
    with pytest.raises(ActorUnavailableError):
        watched.vigil.status()
    watched.answer = SAID
    for _ in range(3):
        assert watched.vigil.status() == SAID
    assert watched.paused == ["a ceiling is reached"] * 3


def test_the_last_status_is_waited_for(watched):
    answers = iter([GetTimeoutError("slow"), ActorUnavailableError("away", None), SAID])

    def get(reference: str, timeout: float) -> object:
        if isinstance(answer := next(answers), Exception):
            raise answer
        return answer

    vigil.ray.get = get
    assert watched.vigil.last_status() == SAID


def test_tune_can_pickle_its_configuration_although_a_vigil_is_in_it(watched):
    assert not vars(pickle.loads(pickle.dumps(WhileThere(watched.vigil))))
