"""Claims about a gang whose storage stops answering, in rehearsals of one stage on a line that goes dead."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.pure.box import Box
from tests.pure.flaky import Flaky
from tests.pure.pair_of_ranks import pair
from tests.pure.stores import behind
from tests.ray_local.stage_paths import training
from trainables import pulse, rehearsal
from trainables.gang import _fetch_checkpoint, _is_there, _run, serve
from trainables.gangs import RUNNERS, GangKind, Gangs, Runner
from trainables.mailbox import Request
from trainables.rehearsal import JsonCheckpoints
from trainables.scores import Done, Event, Failed
from trainables.stages import Stage
from trainables.store import Store

PARENT = training("text_nli", "")
CHILD = training("visual_nli", PARENT.digest)


class Telling(Box):
    """A mailbox that keeps what is said of a parent."""

    def __init__(self) -> None:
        super().__init__(accepting=True)
        self.missing: list[str] = []

    def parent_missing(self, attempt: str, reason: str) -> None:
        self.missing.append(reason)


class Line:
    """Where a planted runner finds the line that it cuts, and what it raises then."""

    flaky: Flaky
    error: Exception | None = None


def cutting(stage: Stage, **given: Any) -> Any:
    """A rehearsal whose storage is silent from its last step on."""
    outcome = rehearsal.run_stage(stage, **given)
    given["checkpoints"].settle()
    Line.flaky.dead = True
    if Line.error is not None:
        raise Line.error
    return outcome


CUTTING = Runner(run=f"{__name__}:cutting", checkpoints="trainables.rehearsal:JsonCheckpoints")


@pytest.fixture
def store(tmp_path, monkeypatch) -> Store:
    """A store behind a line, which holds the parent."""
    Line.flaky = Flaky(tmp_path, seed=0, share=0.0)
    monkeypatch.setattr(Line, "error", None)
    made = behind(tmp_path, Line.flaky)
    assert isinstance(run(PARENT, made, "s-1").events[-1], Done)
    return made


def run(stage: Stage, store: Store, attempt: str, runner: Runner = RUNNERS[GangKind.REHEARSAL]) -> Telling:
    """What a gang of one rank says of a stage."""
    box = Telling()
    gangs = Gangs(kind=GangKind.REHEARSAL, checkpoint_interval_steps=10)
    request = Request(sequence=0, stage=stage.to_json(), attempt=attempt)
    _run(request, box, store=store, cache=None, gangs=gangs, runner=runner, ranks=None)  # type: ignore[arg-type]
    return box


def checkpoints(folder: Path, stage: Stage) -> list[str]:
    """The steps of those that lie in the storage."""
    found = (folder / "bucket" / "inflight" / stage.digest).glob("0*.json")
    return sorted(path.name.partition("-")[0].lstrip("0") for path in found)


def is_of_machine(event: Event) -> bool:
    return isinstance(event, Failed) and event.of_machine and "the line is dead" in event.reason


def test_an_output_that_a_silent_storage_does_not_take_is_no_want_of_a_parent_and_keeps_its_checkpoints(
    store, tmp_path
):
    box = run(CHILD, store, "s-2", CUTTING)
    assert box.missing == [] and is_of_machine(box.events[-1])
    Line.flaky.dead = False
    assert checkpoints(tmp_path, CHILD) == ["15", "20"]
    again = run(CHILD, store, "s-3").events[-1]
    assert isinstance(again, Done) and again.steps_executed == 0


def test_a_stage_that_begins_while_the_storage_is_silent_finds_no_parent_missing(store):
    Line.flaky.dead = True
    box = run(CHILD, store, "s-2")
    assert box.missing == [] and is_of_machine(box.events[-1])
    with pytest.raises(OSError, match="the line is dead"):
        store.fetch(PARENT.digest)
    Line.flaky.dead = False
    assert store.find(PARENT.digest) is not None


def test_a_stage_that_fails_while_nobody_can_say_whether_its_parent_is_whole_fails_no_trial(store, monkeypatch):
    monkeypatch.setattr(Line, "error", ValueError("a weight that is not there"))
    box = run(CHILD, store, "s-2", CUTTING)
    failed = box.events[-1]
    assert box.missing == [] and isinstance(failed, Failed) and failed.of_machine
    assert "a weight that is not there" in failed.reason


@pytest.mark.parametrize("error", [ValueError("no such weight"), FileNotFoundError("no such file")])
def test_a_parent_that_is_really_gone_is_told_whatever_the_child_stumbled_over(store, monkeypatch, error):
    def losing(*_: Any, **__: Any) -> None:
        store.evict(PARENT.digest)
        raise error

    monkeypatch.setattr(rehearsal, "run_stage", losing)
    box = run(CHILD, store, "s-2")
    assert box.missing == ["it is gone"] and box.events == []


def test_a_checkpoint_whose_table_of_contents_cannot_be_read_for_a_while_is_neither_passed_over_nor_deleted(
    tmp_path, monkeypatch
):
    Line.flaky = Flaky(tmp_path, seed=0, share=0.0)
    sender, other = behind(tmp_path, Line.flaky, "of-another"), behind(tmp_path, Line.flaky)
    for step in (10, 20):
        JsonCheckpoints(sender.under_way.folder(CHILD.digest), interval_steps=10).save(step, ())
        sender.under_way.keep(CHILD.digest, step)
    read = other.files.read

    def silent(path: str) -> bytes:
        Line.flaky.dead = "/inflight/" in path and "/from-" not in path
        try:
            return read(path)
        finally:
            Line.flaky.dead = False

    monkeypatch.setattr(other.files, "read", silent)
    box = Telling()
    with pytest.raises(OSError, match="the line is dead"):
        _fetch_checkpoint(CHILD, "mine", box, other, None)  # type: ignore[arg-type]
    assert checkpoints(tmp_path, CHILD) == ["10", "20"] and box.notices == []
    monkeypatch.undo()
    _fetch_checkpoint(CHILD, "mine", box, other, None)  # type: ignore[arg-type]
    assert [path.name[:14] for path in other.under_way.folder(CHILD.digest).iterdir()] == ["step-000000020"]


# An output that is there already


def test_a_stage_whose_gang_was_lost_between_its_manifest_and_its_word_is_not_run_again(store, monkeypatch):
    def lost(*_: Any) -> None:
        raise KeyboardInterrupt  # the process ends here, whatever raises it

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Telling, "report", lambda _, attempt, event: isinstance(event, Done) and lost())
        run(CHILD, store, "s-2")
    monkeypatch.setattr(rehearsal, "run_stage", lost)
    box = run(CHILD, store, "s-3")
    (done,) = box.events
    kept = store.results(CHILD.digest)
    assert kept is not None and kept.scores == ()
    assert done == Done(
        digest=CHILD.digest,
        steps_executed=CHILD.steps,
        reused=False,
        seconds=kept.seconds,
        history=kept.history,
    )
    assert run(CHILD, store, "another-1").events == [kept.done()]


def test_a_manifest_that_was_put_there_and_not_acknowledged_keeps_what_it_names(store, monkeypatch):
    seal = store.files.seal

    def unacknowledged(path: str, value: Any) -> None:
        seal(path, value)
        if path.startswith("stages/"):
            raise OSError("the line is dead")

    with monkeypatch.context() as patch:
        patch.setattr(store.files, "seal", unacknowledged)
        assert is_of_machine(run(CHILD, store, "s-2").events[-1])
    manifest = store.find(CHILD.digest)
    assert manifest is not None and manifest.attempt == "s-2"


def test_a_stage_is_run_again_where_its_output_is_gone_or_damaged_and_the_checkpoints_of_the_first_are_not_needed(
    store, tmp_path
):
    run(CHILD, store, "s-2")
    (skill,) = (tmp_path / "bucket/stages" / CHILD.digest / "s-2").glob("*.json")
    skill.write_text("")
    (*_, done) = run(CHILD, store, "s-3").events
    assert isinstance(done, Done) and done.steps_executed == CHILD.steps and not done.reused
    assert behind(tmp_path, Line.flaky).find(CHILD.digest) is not None


@pytest.mark.parametrize("there", [False, True])
def test_all_ranks_hear_from_the_first_whether_the_output_is_there(store, there):
    if there:
        run(CHILD, store, "s-2")
    with ThreadPoolExecutor(2) as pool:
        ends = [pool.submit(_is_there, CHILD, "s-3", Telling(), store, one) for one in pair()]  # type: ignore[arg-type]
        assert [end.result(30) for end in ends] == [there, there]


class Posting(Box):
    """A mailbox with these stages, which keeps whether this process was at work when an event had to arrive."""

    def __init__(self, *stages: Stage) -> None:
        super().__init__(accepting=True)
        self.requests = [
            Request(sequence=number, stage=stage.to_json(), attempt=f"s-{number}")
            for number, stage in enumerate(stages)
        ]
        self.at_work: list[bool] = []

    def take(self, after: int) -> Request | None:
        return self.requests.pop(0) if self.requests else None

    def settle(self) -> None:
        self.at_work.append(pulse._last is not None)

    def pulse(self, silence: float) -> bool:
        return False


def test_a_gang_whose_last_word_waits_for_a_silent_storage_does_not_hang(store):
    failing = training("text_nli", "", seed=9)
    box = Posting(CHILD, CHILD)  # made, then found
    gangs = Gangs(kind=GangKind.REHEARSAL)
    given = {"store": store, "cache": None, "gangs": gangs, "ranks": None}
    serve(box, **given, runner=RUNNERS[gangs.kind])  # type: ignore[arg-type]
    failed = Posting(failing)
    serve(failed, **given, runner=Runner(run=f"{__name__}:breaking", checkpoints=CUTTING.checkpoints))  # type: ignore[arg-type]
    assert [type(event) for event in (box.events[-1], *failed.events)] == [Done, Failed]
    assert box.at_work == [False, False] and failed.at_work == [False]


def breaking(stage: Stage, **_: Any) -> Any:
    raise RuntimeError("planted")
