"""Claims about what a storage is said to hold of a plan: what is said to be left is what a run then trains."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import pyarrow.fs as pafs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from search_spaces import LogRange, Space
from sweep import record_definition
from sweep.cli import main
from sweep.conduct import Conductor
from sweep.definition import Sweep
from sweep.held import Held, Stored, held
from sweep.ledger import Ledger
from sweep.plan import plan
from sweep.presets import SUITES
from sweep.records import What
from sweep.search import NoPruning, Search
from tests.examples import of_examples
from tests.libraries.test_conduct import Killed, MemoryLedger, Mortal, World, drive
from tests.pure.small_sweep import ALONE, BASELINE, small_sweep
from trainables.stages import Stage

ROOT = Path(__file__).parents[2]

SWEEP = small_sweep(search=Search(trials=3, fan_out=2, pruner=NoPruning()))


class Counting(World):
    """Counts the optimiser steps that it is asked for."""

    steps = 0

    def executed(self, stage: Stage):
        self.steps += stage.steps
        return super().executed(stage)


def holds(sweep: Sweep, ledger: MemoryLedger, world: World, *, gone: Iterable[str] = ()) -> Held:
    known = frozenset(world.stored)
    stored = Stored(outputs=known - set(gone), results=known)
    return held(plan(sweep), Conductor(sweep, ledger).standing(), lambda digests: stored)


def interrupted(
    lives: int, sweep: Sweep = SWEEP, ledger: MemoryLedger | None = None, world: World | None = None
) -> tuple[MemoryLedger, World]:
    """A sweep that was killed at this write to its ledger."""
    ledger, world = ledger or MemoryLedger(), world or World()
    try:
        drive(Conductor(sweep, Mortal(ledger, lives)), world)
    except Killed:
        pass
    return ledger, world


def goes_on(sweep: Sweep, ledger: MemoryLedger, world: World) -> int:
    """The steps that the same sweep, run again to its end, trains."""
    counting = Counting()
    counting.stored = dict(world.stored)
    conductor = Conductor(sweep, ledger)
    conductor.take_up()
    drive(conductor, counting)
    return counting.steps


@of_examples(0.5)
@given(lives=st.integers(1, 140))
def test_the_steps_said_to_be_left_are_those_that_a_run_then_trains(lives):
    ledger, world = interrupted(lives)
    found = holds(SWEEP, ledger, world)
    assert len(found.ended) == sum(entry.what is What.FINISHED for entry in ledger.happenings())
    assert found.steps_left == goes_on(SWEEP, ledger, world)


def test_before_anything_ran_everything_is_left_and_after_it_nothing():
    planned = plan(SWEEP)
    ledger, world = MemoryLedger(), World()
    before = holds(SWEEP, ledger, world)
    assert (before.ended, before.found, len(before.left)) == (frozenset(), frozenset(), planned.stages)
    assert before.steps_left == planned.steps
    drive(Conductor(SWEEP, ledger), world)
    after = holds(SWEEP, ledger, world)
    assert (len(after.ended), len(after.found), after.left) == (len(planned.trials), planned.stages, frozenset())


@pytest.mark.parametrize("name", ["intermediate", "target"])
def test_where_one_stage_alone_is_searched_a_run_trains_what_the_plan_says(name):
    space = Space(**{name: {"learning_rate": LogRange(1e-4, 1e-2)}})
    sweep = replace(SWEEP, space=space, cells=(BASELINE, ALONE), search=Search(trials=3, pruner=NoPruning()))
    assert goes_on(sweep, MemoryLedger(), World()) == plan(sweep).steps


def test_what_a_pruned_trial_did_not_train_is_neither_there_nor_left():
    sweep = small_sweep()
    ledger, world = interrupted(10_000, sweep)
    found, planned = holds(sweep, ledger, world), plan(sweep)
    assert found.steps_left == 0 and len(found.ended) == len(planned.trials)
    assert len(found.found) < planned.stages


def test_a_seed_or_a_test_language_that_joins_leaves_what_it_needs():
    ledger, world = interrupted(10_000)
    more = replace(SWEEP, confirmation_seeds=(1, 2, 3))
    assert holds(more, ledger, world).steps_left == goes_on(more, ledger, world) > 0
    test = SWEEP.target.split("test")
    languages = replace(test, languages=test.languages[:-1])
    fewer = replace(SWEEP.target, splits=tuple(languages if s.name == "test" else s for s in SWEEP.target.splits))
    evaluated = holds(replace(SWEEP, target=fewer), ledger, world)
    assert (evaluated.steps_left, len(evaluated.left)) == (0, 3 * 2)  # the evaluations of three cells on two seeds


def test_confirmations_of_a_winner_that_was_overtaken_are_left():
    ledger, world = interrupted(10_000, replace(SWEEP, search=replace(SWEEP.search, trials=1)))
    while len([e for e in ledger.happenings() if e.what is What.FINISHED and e.trial.phase == "search"]) < 9:
        interrupted(1, SWEEP, ledger, world)
    overtaken = Conductor(SWEEP, ledger).standing().superseded()
    found = holds(SWEEP, ledger, world)
    assert len(found.ended) == 9 + 6 - len(overtaken) < 15
    assert found.steps_left == goes_on(SWEEP, ledger, world) > 0


def test_whom_a_confirmation_will_repeat_is_not_known_before_the_search_has_ended():
    _, world = interrupted(10_000)
    for lives in range(5, 30, 5):
        ledger, _ = interrupted(lives)
        assert not [name for name in holds(SWEEP, ledger, world).found if "confirmation" in name]


def test_weights_that_are_gone_are_made_again_only_for_what_reads_them():
    finished, world = interrupted(10_000)
    everything = set(world.stored)
    assert holds(SWEEP, finished, world, gone=everything).steps_left == 0
    more = replace(SWEEP, confirmation_seeds=(1, 2, 3))
    with_weights, without = holds(more, finished, world), holds(more, finished, world, gone=everything)
    assert without.steps_left == with_weights.steps_left + 100  # the pre-training, which the new seed begins with


def test_stages_of_another_sweep_count_where_their_digests_are_known():
    _, world = interrupted(10_000)
    found = holds(replace(SWEEP, name="other"), MemoryLedger(), world)
    assert found.ended == frozenset()
    trials = plan(SWEEP).trials
    exact = {name for t in trials for name, stage in t.stages if name == stage.digest}
    defaults = {name for t in trials if t.key.phase == "search" and t.key.number == 0 for name, _ in t.stages}
    assert found.found == exact | defaults


@pytest.fixture
def killed(tmp_path) -> tuple[Path, int]:
    """A storage with the ledger and the stages' names of a sweep that was killed in the middle, and the
    steps that it trains when it is run again.
    """
    filesystem = pafs.LocalFileSystem()
    record_definition.keep(SWEEP, filesystem, str(tmp_path))
    ledger, world = interrupted(40)
    there = Ledger(filesystem, str(tmp_path), SWEEP.name).open()
    for entry in ledger.happenings():
        there.record(entry)
    for digest in world.stored:
        for name in (f"stages/{digest}/manifest.json", f"results/{digest}/results.json"):
            (tmp_path / name).parent.mkdir(parents=True)
            (tmp_path / name).write_text("{}")
    (tmp_path / "small.py").write_text(
        "from sweep import NoPruning, Search\nfrom tests.pure.small_sweep import small_sweep\n"
        "sweep = small_sweep(search=Search(trials=3, fan_out=2, pruner=NoPruning()))\n"
    )
    return tmp_path, goes_on(SWEEP, ledger, world)


def said(capsys, *words: str) -> dict[str, str]:
    assert main(["plan", *words]) == 0
    return dict(line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines() if len(line.split()) > 1)


def test_plan_says_what_a_storage_holds_and_simulates_what_is_left(killed, capsys):
    storage, steps = killed
    words = (str(storage / "small.py"), "--storage", str(storage))
    line = said(capsys, *words)["held"]
    assert line.startswith(f"in {storage}: ") and line.endswith(f"stages and {steps} optimiser steps are left")
    measured = ("--simulate", "--measured", str(storage), "--node-start", "0")
    rest, whole = said(capsys, *words, *measured), said(capsys, words[0], *measured)
    assert f"; {rest['reuse'].split()[0]} stages and " in line
    assert int(whole["reuse"].split()[0]) == plan(SWEEP).stages
    assert whole["makespan"].endswith("of which 0 s to start")  # 20 s, if the ledger did not say otherwise


def test_plan_of_another_definition_says_that_nothing_is_there_for_it(killed, capsys):
    storage, _ = killed
    text = "from dataclasses import replace\nfrom tests.pure.small_sweep import SETTINGS\n"
    text += "from tests.libraries.test_held import SWEEP\nsweep = replace(SWEEP, pretrain=None)\n"
    (storage / "other.py").write_text(text)
    line = said(capsys, str(storage / "other.py"), "--storage", str(storage))["held"]
    assert line.startswith(f"in {storage}: nothing that this definition could go on with. sweep 'small' cannot be used")


def test_plan_says_nothing_of_a_storage_that_is_not_there(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert "held" not in said(capsys, "lab")
    assert said(capsys, "lab", "--storage", str(tmp_path / "empty"))["held"].startswith(
        f"in {tmp_path}/empty: 0 of 48 trials have ended, 0 of 101 stages are there; 101 stages and 14,160"
    )
    assert not list(tmp_path.iterdir())


def test_the_plan_of_a_suite_says_what_a_storage_holds_of_each_of_its_sweeps(tmp_path, capsys):
    assert main(["plan", "lab_full", "--storage", str(tmp_path)]) == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("held")]
    assert len(lines) == len(SUITES["lab_full"]().sweeps)
    assert lines[0].startswith(f"held     in {tmp_path} of lab_full-visual_nli: 0 of ")


def test_plan_with_a_storage_loads_neither_ray_nor_torch(killed):
    storage, _ = killed
    code = (
        "import sys\nfrom sweep.cli import main\n"
        f"assert main(['plan', {str(storage / 'small.py')!r}, '--storage', {str(storage)!r}]) == 0\n"
        "sys.exit(bool({'ray', 'torch', 'optuna', 'transformers'} & set(sys.modules)))\n"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, check=False).returncode == 0


def test_a_storage_that_does_not_answer_is_told_below_the_plan(tmp_path, monkeypatch, capsys):
    def no_answer(*_):
        raise OSError("no route to the bucket")

    monkeypatch.setattr("sweep.held.look", no_answer)
    assert main(["plan", "lab", "--storage", "s3://bucket/x"]) == 0
    said = capsys.readouterr().out
    assert "optimiser steps" in said and "the storage must answer, got no route to the bucket; make it readable" in said
