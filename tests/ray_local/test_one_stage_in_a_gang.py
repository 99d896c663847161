"""Claims about what a gang's process does with one stage, with a mailbox that is no actor: no process is started."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

import pytest
from pyarrow import fs

from tests.pure.box import Box
from tests.ray_local.stage_paths import training
from tests.torch_cpu import tiny, towers
from trainables.catalogue.encoder import LocalEncoder, Tower
from trainables.catalogue.task import Task
from trainables.data import rows, tower
from trainables.errors import spoken
from trainables.faults import Invalid
from trainables.gang import Post, Unfit, _run, serve, trainer
from trainables.gangs import RUNNERS, GangKind, Gangs
from trainables.mailbox import Request
from trainables.scores import Cancelled, Done, Event, Failed, Progress
from trainables.shared_images import SharedImages
from trainables.stages import Stage
from trainables.store import Store
from trainables.training.ranks import RankFailed, Ranks


def run(stage: Stage, box: Box, folder: Path) -> set[str]:
    """Run a stage of which another attempt has kept a checkpoint; the names of the checkpoints that are left."""
    store = Store(folder / "store", cache=folder / "cache")
    (store.under_way.folder(stage.digest) / "of-another").mkdir()
    gangs = Gangs(kind=GangKind.REHEARSAL, checkpoint_interval_steps=1000)
    request = Request(sequence=0, stage=stage.to_json(), attempt="mine")
    _run(request, box, store=store, cache=None, gangs=gangs, runner=RUNNERS[gangs.kind], ranks=None)  # type: ignore[arg-type]
    return {path.name for path in store.under_way.folder(stage.digest).glob("of-*")}


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


class Line(Box):
    """A mailbox with a row of stages in it, some of which are to stop."""

    def __init__(self, stages: list[Stage], stopped: set[int]) -> None:
        super().__init__(accepting=True)
        self._stages, self._stopped = stages, stopped

    def take(self, after: int) -> Request | None:
        number = after + 1
        if number == len(self._stages):
            return None
        return Request(sequence=number, stage=self._stages[number].to_json(), attempt=str(number))

    def watch(self, attempt: str) -> Callable[[], bool]:
        return lambda: int(attempt) in self._stopped

    def pulse(self, silence: float) -> bool:
        return False


def served(stages: list[Stage], folder: Path, stopped: Iterable[int] = ()) -> tuple[list[Event], dict[str, bytes]]:
    """How each stage ended in one gang that really trains, and the output of the last."""
    store, line = Store(folder / "store", cache=folder / "cache"), Line(stages, set(stopped))
    gangs = Gangs(checkpoint_interval_steps=1000)
    serve(line, store=store, cache=folder / "cache", gangs=gangs, runner=RUNNERS[gangs.kind], ranks=None)  # type: ignore[arg-type]
    output = store.fetch(stages[-1].digest)
    ends = [event for event in line.events if not isinstance(event, Progress)]
    return ends, {file.name: file.read_bytes() for file in output.iterdir()}


def test_the_hundredth_stage_of_a_gang_gives_the_bits_of_the_first(tmp_path):
    def of(task: Task, seed: int = 0) -> Stage:
        task = replace(task, source=replace(task.source, seed=seed))
        return tiny.training(task, steps=2, precision="bfloat16", batch_size=4, evaluation_interval_steps=2)

    stage = tiny.training(tiny.NLI, tiny.VISUAL, steps=1, precision="bfloat16")
    before = [of((tiny.NLI, tiny.SQUAD, tiny.CHOICE)[number % 3], number) for number in range(99)]
    fails, stopped = range(10, 99, 20), range(15, 99, 20)
    for number in fails:
        before[number] = training(f"of_no_generator_{number}", "")
    _, first = served([stage], tmp_path / "fresh")
    ends, hundredth = served([*before, stage], tmp_path / "old", stopped)
    assert len(ends) == 100
    assert [number for number, end in enumerate(ends) if isinstance(end, Failed)] == list(fails)
    assert [number for number, end in enumerate(ends) if isinstance(end, Cancelled)] == list(stopped)
    assert first == hundredth and "model.safetensors" in first


def test_what_a_tower_made_on_one_machine_is_brought_to_another_by_a_store_that_is_no_folder(tmp_path, monkeypatch):
    model = LocalEncoder(path=str(towers.save("siglip", tmp_path / "tower")), fingerprint="a")
    encoder = replace(tiny.ENCODER, patches=Tower(model=model, grid=2))
    gangs = Gangs(checkpoint_interval_steps=1000)
    for number, machine in enumerate(("one", "two")):
        inside = fs.SubTreeFileSystem(str(tmp_path), fs.LocalFileSystem())
        store = Store("inside", cache=tmp_path / machine, filesystem=inside)
        line = Line([tiny.training(tiny.VISUAL, steps=1, encoder=encoder, seed=number)], set())
        rows._kept.clear()
        serve(line, store=store, cache=tmp_path / machine, gangs=gangs, runner=RUNNERS[gangs.kind], ranks=None)  # type: ignore[arg-type]
        assert isinstance(line.events[-1], Done), line.events[-1]
        monkeypatch.setattr(tower, "_load", lambda _: pytest.fail("they were all in the store"))
    monkeypatch.setattr(SharedImages, "bring", broken)
    line = Line([tiny.training(tiny.VISUAL, steps=1, encoder=encoder, seed=2)], set())
    serve(line, store=store, cache=tmp_path / "two", gangs=gangs, runner=RUNNERS[gangs.kind], ranks=None)  # type: ignore[arg-type]
    assert isinstance(line.events[-1], Done)
    assert any("was not shared by the store (no answer)" in text for text in line.notices)


def broken(_: SharedImages) -> int:
    raise OSError("no answer")


def test_a_rank_that_fails_alone_ends_its_process_and_says_why(tmp_path):
    class Alone(Ranks):
        def together(self, work):
            raise RankFailed((1,), 2, "MemoryError: planted")

    box = Box(accepting=True)
    box.unfit = lambda attempt, reason, of_machine: box.events.append((reason, of_machine))
    gangs = Gangs(kind=GangKind.REHEARSAL)
    request = Request(sequence=0, stage=training("text_nli", "").to_json(), attempt="mine")
    given = {"store": Store(tmp_path), "cache": None, "gangs": gangs, "runner": RUNNERS[gangs.kind], "ranks": Alone()}
    with pytest.raises(Unfit, match="rank 1 of 2 failed: MemoryError: planted"):
        _run(request, box, **given)  # type: ignore[arg-type]
    ((reason, of_machine),) = box.events
    assert reason.startswith("RankFailed: rank 1 of 2 failed: MemoryError: planted (in together,") and not of_machine
