"""Claims about whole sweeps on Ray, rehearsed: the same for any gangs, and honest of failures."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from search_spaces import Cell
from sweep import GangKind, Gangs, NoPruning, Results, Search, plan, run
from sweep.cli import main
from sweep.launch import COUNTS_FILE
from sweep.records import State
from tests.pure.small_sweep import ALONE, BASELINE, MIXED, small_sweep
from trainables.catalogue import lab

ROOT = Path(__file__).parents[2]
ONE, TWO = Gangs(kind=GangKind.REHEARSAL), Gangs(kind=GangKind.REHEARSAL, count=2)
FAILING = Cell(name="failing", intermediates=(replace(lab.QQP, name="this_fails"),))

#: Kept small, since every trial passes through Ray Tune: two cells, one of them with a mixture to search.
SMALL = replace(small_sweep(), cells=(BASELINE, MIXED), confirmation_seeds=(1,), gangs=TWO)
UNPRUNED = replace(SMALL, search=replace(SMALL.search, pruner=NoPruning()), gangs=ONE)
WITH_FAILURE = replace(UNPRUNED, cells=(*SMALL.cells, FAILING))

#: Slow enough to be killed in the middle: 0.2 s to 1 s for each stage.
SLOW = replace(
    SMALL,
    cells=(BASELINE, ALONE),
    search=replace(SMALL.search, trials=2),
    gangs=replace(TWO, rehearsal_step_seconds=0.01),
)

DEFINITION = "from tests.ray_local.test_sweep_rehearsal import {0}\nsweep = {0}\n"


def tables(results: Results, folder: Path) -> dict[str, bytes]:
    """The exported tables, by file name."""
    return {Path(path).name: Path(path).read_bytes() for path in results.export(str(folder))}


def counts(results: Results) -> dict[str, int]:
    return json.loads((Path(results.storage) / "sweeps" / results.name / COUNTS_FILE).read_text())


def executed(results: Results) -> int:
    """Optimiser steps that the ledger says were run; of a pruned trial's target, those up to its pruning."""
    records = results.standing().records.values()
    finished = sum(run["steps_executed"] for record in records for run in record.stage_runs)
    return finished + sum(record.scored[-1][0] for record in records if record.state is State.PRUNED)


def everything(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def two_gangs(cluster, tmp_path_factory) -> Results:
    """A sweep of two cells, with pruning, on two gangs."""
    return run(SMALL, tmp_path_factory.mktemp("two_gangs"))


@pytest.fixture(scope="module")
def with_failures(cluster, tmp_path_factory) -> Results:
    """The same on one gang, with a third cell whose intermediate task fails; without pruning."""
    return run(WITH_FAILURE, tmp_path_factory.mktemp("failures"))


@pytest.mark.timeout(180)
def test_a_sweep_ends_complete_with_a_gain_for_every_cell_and_language(two_gangs):
    assert two_gangs.complete
    rows = two_gangs.per_language(cells=["nli+qqp"]).to_pylist()
    assert {row["language"] for row in rows} >= set(lab.LANGUAGES)
    assert all(row["accuracy"] is not None and row["gain"] is not None for row in rows)


def test_a_ledger_is_folded_when_its_run_ends(two_gangs):
    ledger = Path(two_gangs.storage) / "sweeps" / two_gangs.name / "ledger"
    assert not list(ledger.glob("*.parquet")) and len(list(ledger.glob("folded/*.parquet"))) == 1
    best = two_gangs.best_runs()
    assert set(best) == {"none", "nli+qqp"} and all(set(row) >= set(lab.LANGUAGES) for row in best.values())


@pytest.mark.timeout(180)
def test_one_gang_and_two_export_the_same_bytes(two_gangs, tmp_path):
    one = run(replace(SMALL, gangs=ONE), tmp_path / "storage")
    assert tables(one, tmp_path / "one") == tables(two_gangs, tmp_path / "two")
    assert (counts(one)["gangs_started"], counts(two_gangs)["gangs_started"]) == (1, 2)


@pytest.mark.timeout(180)
def test_reported_runs_whose_scores_and_answers_are_damaged_are_evaluated_again_by_the_same_command(cluster, tmp_path):
    sweep = replace(SMALL, cells=(BASELINE, ALONE), search=Search(trials=1), gangs=ONE)
    first = run(sweep, tmp_path / "storage")
    before = tables(first, tmp_path / "before")
    answers, both = (
        tmp_path / "storage/results" / first.standing().confirmations(cell.name)[0].evaluation for cell in sweep.cells
    )
    digests = (both.name, answers.name)
    next(answers.glob("*.parquet")).write_bytes(b"of another disk")
    (both / "results.json").write_bytes(b"{")
    (tmp_path / "storage/stages" / both.name / "manifest.json").write_bytes(b"{")
    assert not first.complete
    again = run(sweep, tmp_path / "storage")
    assert again.complete and tables(again, tmp_path / "after") == before
    assert counts(again)["executed"] == len(digests) and counts(again)["failed"] == 0


@pytest.mark.timeout(180)
def test_the_dispatcher_counts_the_time_of_every_attempt_also_of_pruned_ones(cluster, tmp_path, monkeypatch):
    said = []
    monkeypatch.setattr("sweep.launch._keep_counts", lambda status, *_: said.append(status))
    gangs = replace(ONE, rehearsal_step_seconds=0.01)
    results = run(replace(SMALL, cells=(BASELINE,), gangs=gangs), tmp_path)
    records = results.standing().records.values()
    finished = sum(one["seconds"] for record in records for one in record.stage_runs if not one["reused"])
    pruned = [record.scored[-1][0] * 0.01 for record in records if record.state is State.PRUNED]
    assert pruned and finished + sum(pruned) <= said[0]["stage_seconds"] + 0.1 < 180


@pytest.mark.timeout(180)
def test_search_failures_and_confirmation_start_no_gang_anew(with_failures, two_gangs):
    assert counts(with_failures) | {"executed": 0, "reused": 0, "evicted": 0} == {
        "gangs_started": 1,
        "gangs_restarted": 0,
        "executed": 0,
        "reused": 0,
        # Trials 0 and 1 of the failing cell share the setting that fails; each tries it.
        "failed": 3,
        "cancelled": 0,
        "lost": 0,
        "remade": 0,
        "duplicate": 0,
        "evicted": 0,
    }
    assert (counts(two_gangs)["gangs_started"], counts(two_gangs)["gangs_restarted"]) == (2, 0)


@pytest.mark.timeout(180)
def test_a_failing_cell_ends_as_failed_with_its_reason_and_the_others_are_whole(with_failures):
    assert not with_failures.complete
    standing = with_failures.standing()
    assert [standing.complete(cell.name) for cell in standing.cells] == [True, True, False]
    failed = [record for record in standing.records.values() if record.key.cell == "failing"]
    assert [record.state for record in failed] == [State.FAILED] * 3
    assert all("task 'this_fails' fails, as its name says" in record.reason for record in failed)
    rows = with_failures.per_language(cells=["failing"]).to_pylist()
    assert rows and all(row["accuracy"] is None and row["absent_reason"] for row in rows)


@pytest.mark.timeout(180)
def test_without_pruning_the_ledger_counts_the_steps_of_the_plan(with_failures):
    assert executed(with_failures) == plan(UNPRUNED).steps


@pytest.mark.timeout(180)
def test_with_pruning_the_steps_run_and_saved_are_those_of_the_plan(two_gangs):
    saved = sum(record.steps_saved for record in two_gangs.standing().records.values())
    assert saved > 0
    assert executed(two_gangs) + saved == plan(SMALL).steps


@pytest.mark.timeout(180)
def test_a_larger_budget_on_the_same_storage_runs_no_finished_stage_again(cluster, tmp_path):
    little = replace(SMALL, cells=(BASELINE, ALONE), search=Search(trials=1))
    first = run(little, tmp_path)
    before = first.standing().records
    grown = run(replace(little, search=Search(trials=2)), tmp_path)
    assert grown.complete
    after = grown.standing().records
    assert all(after[key] == record for key, record in before.items())
    new = [stage for key, record in after.items() if key not in before for stage in record.stage_runs]
    done = {stage["digest"] for record in before.values() for stage in record.stage_runs}
    assert {stage["digest"] for stage in new if stage["digest"] in done}
    assert all(stage["reused"] and stage["steps_executed"] == 0 for stage in new if stage["digest"] in done)


@pytest.mark.timeout(180)
def test_another_sweep_in_the_storage_finds_every_stage_with_its_scores(cluster, tmp_path):
    first = replace(SMALL, cells=(BASELINE, ALONE), search=Search(trials=1))
    one, other = run(first, tmp_path), run(replace(first, name="next"), tmp_path)
    ran = [stage for record in other.standing().records.values() for stage in record.stage_runs]
    assert len(ran) > 10 and all(stage["reused"] and stage["steps_executed"] == 0 for stage in ran)
    assert counts(other)["executed"] == 0 and counts(one)["executed"] > 5
    for table in ("scores", "per_language", "predictions"):
        mine, theirs = (getattr(results, table)().drop_columns(["sweep"]) for results in (one, other))
        assert mine.num_rows > 10 and mine.equals(theirs)


@pytest.mark.timeout(180)
def test_run_exits_with_one_where_a_cell_failed_and_says_how_to_look(with_failures, tmp_path, capsys):
    definition = tmp_path / "mine.py"
    definition.write_text(DEFINITION.format("WITH_FAILURE"))
    assert main(["run", str(definition), "--storage", with_failures.storage]) == 1
    assert "Not everything planned is there: see `sweep status`" in capsys.readouterr().err


# In processes of their own

COMMAND = """
import sys
from sweep.cli import main
code = main(["run", *sys.argv[1:]])
print("ray loaded:", "ray" in sys.modules)
sys.exit(code)
"""


def start(folder: Path) -> subprocess.Popen:
    """`sweep run` as a process of its own."""
    definition = folder / "mine.py"
    definition.write_text(DEFINITION.format("SLOW"))
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    environment.pop("RAY_ADDRESS", None)
    return subprocess.Popen(
        [sys.executable, "-c", COMMAND, str(definition), "--storage", str(folder / "storage")],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


@pytest.mark.timeout(300)
def test_a_finished_sweep_that_is_run_again_loads_no_ray_and_changes_no_byte(cluster, tmp_path):
    run(SLOW, tmp_path / "storage").export()
    before = everything(tmp_path / "storage")
    process = start(tmp_path)
    said, _ = process.communicate(timeout=60)
    assert process.returncode == 0, said
    assert said.endswith("ray loaded: False\n")
    assert everything(tmp_path / "storage") == before


def test_trials_of_milliseconds_pass_through_a_few_processes_instead_of_starting_one_each(cluster, tmp_path):
    found: set[int] = set()
    ended = threading.Event()

    def look():
        while not ended.wait(0.2):
            for child in psutil.Process().children(recursive=True):
                with contextlib.suppress(psutil.Error):
                    if " ".join(child.cmdline()).startswith(("ray::TransferTrial", "ray::ResourceTrainable")):
                        found.add(child.pid)

    cells = (BASELINE, *(replace(ALONE, name=f"nli_{n}") for n in range(5)))
    looking = threading.Thread(target=look)
    looking.start()
    try:
        results = run(replace(UNPRUNED, name="kept", cells=cells, gangs=TWO), tmp_path)
    finally:
        ended.set()
        looking.join()
    assert results.complete and len(results.standing().records) == 24
    assert 1 <= len(found) <= 12  # of 24 trials; those of a busy machine are sometimes not short
