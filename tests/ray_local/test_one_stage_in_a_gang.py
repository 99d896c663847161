"""Claims about what a gang's process does with one stage, with a mailbox that is no actor: no process is started."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.ray_local.stage_paths import training
from trainables.faults import Invalid
from trainables.gang import Post, Request, _run, spoken, trainer
from trainables.gangs import RUNNERS, GangKind, Gangs
from trainables.scores import Cancelled, Done, Event, Failed
from trainables.stages import Stage
from trainables.store import Store


class Box:
    """A mailbox whose dispatcher has given the stage to another attempt, or has not."""

    def __init__(self, *, accepting: bool, stopping: bool = False) -> None:
        self.accepting, self.stopping = accepting, stopping
        self.events: list[Event] = []

    def accepts(self, attempt: str) -> bool:
        return self.accepting

    def holds(self, attempt: str) -> bool:
        return self.accepting

    def wanted(self, digest: str) -> bool:
        return False

    def watch(self, attempt: str) -> Callable[[], bool]:
        return lambda: self.stopping

    def report(self, attempt: str, event: Event) -> None:
        self.events.append(event)

    def settle(self) -> None:
        pass


def run(stage: Stage, box: Box, folder: Path) -> set[str]:
    """Run a stage of which another attempt has kept a checkpoint; the names of the checkpoints that are left."""
    store = Store(folder / "store", cache=folder / "cache")
    (store.inflight(stage.digest) / "of-another").mkdir()
    gangs = Gangs(kind=GangKind.REHEARSAL, checkpoint_interval_steps=1000)
    request = Request(sequence=0, stage=stage.to_json(), attempt="mine")
    _run(request, box, store=store, cache=None, gangs=gangs, runner=RUNNERS[gangs.kind], ranks=None)  # type: ignore[arg-type]
    return {path.name for path in store.inflight(stage.digest).glob("of-*")}


ENDS = {
    Failed: ("this_fails", False),
    Cancelled: ("slow_nli", True),
    Done: ("text_nli", False),
}


@pytest.mark.parametrize("end", ENDS)
def test_an_attempt_that_was_cut_off_leaves_the_checkpoints_of_the_one_after_it(end, tmp_path):
    task, stopping = ENDS[end]
    assert run(training(task, ""), Box(accepting=False, stopping=stopping), tmp_path / "late") == {"of-another"}
    box = Box(accepting=True, stopping=stopping)
    assert run(training(task, ""), box, tmp_path / "in time") == set()
    assert isinstance(box.events[-1], end)


def test_every_worker_of_a_gang_is_asked_for_with_the_accelerator_that_the_gang_names(tmp_path):
    gangs = Gangs(workers=2, gpus_per_worker=1.0, accelerator="A100")
    post = Post(
        dispatcher=None,  # type: ignore[arg-type]
        gang="gang-0",
        gangs=gangs,
        runner=RUNNERS[gangs.kind],
        store=str(tmp_path),
        cache=str(tmp_path),
        session="s",
    )
    scaling = trainer(post).scaling_config
    assert (scaling.num_workers, scaling.use_gpu) == (2, True)
    assert scaling.resources_per_worker == {"CPU": 1.0, "GPU": 1.0, "accelerator_type:A100": 0.001}


def raised(error: Exception) -> Exception:
    try:
        raise error
    except Exception as told:
        return told


def test_a_reason_is_one_line_that_is_the_same_in_every_run():
    refused = Invalid("the images", ["one must be whole, got half", "another must be there"])
    assert spoken(raised(refused)) == "the images cannot be used: one must be whole, got half; another must be there"
    of_two = spoken(raised(RuntimeError(f"two\n  lines of {object()!r}")))
    assert of_two.startswith("RuntimeError: two lines of <object object> (in raised, test_one_stage_in_a_gang.py:")
