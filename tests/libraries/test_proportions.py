"""Shares from the sizes of tasks, and the examples that they promise and draw."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from search_spaces import PROPORTIONAL, UNIFORM, Cell, Proportions, transfer_grid
from sweep import tables
from sweep.conduct import Conductor
from sweep.paths import examples_of, path_of
from sweep.plan import default_values
from sweep.records import Phase, trial_records
from sweep.resolve import looked_up
from tests.libraries.test_conduct import MemoryLedger
from tests.pure.small_sweep import BASELINE, FIXED, MIXED, small_sweep
from tests.pure.visual_parquet import write_visual
from trainables.catalogue import intermediate, lab
from trainables.catalogue.own_texts import sentence_task
from trainables.catalogue.task import Split, Task
from trainables.catalogue.xtreme_m import parquet_task, text_pair_task
from trainables.faults import Invalid


def task(name: str, rows: int) -> Task:
    return replace(lab.NLI, name=name, splits=(Split(name="train", languages=("en",), rows=rows),))


FOUR = (task("a", 100), task("b", 1_000), task("c", 10_000), task("d", 100_000))


def test_uniform_and_proportional_shares():
    assert dict(UNIFORM.shares(FOUR)) == dict.fromkeys("abcd", 0.25)
    assert dict(PROPORTIONAL.shares(FOUR))["d"] == pytest.approx(100_000 / 111_100)


def test_a_cap_makes_all_larger_tasks_count_the_same():
    shares = dict(Proportions(cap=1_000).shares(FOUR))
    assert shares["b"] == shares["c"] == shares["d"] == pytest.approx(1_000 / 3_100)


def test_a_temperature_takes_roots_of_sizes():
    shares = dict(Proportions(temperature=2).shares(FOUR))
    assert shares["c"] / shares["a"] == pytest.approx(10)


def test_the_mixture_of_all_nine_is_t5s_with_its_cap():
    shares = dict(Proportions(cap=2**17).shares(intermediate.INTERMEDIATE))
    assert shares["anli_plus"] == shares["mnli"] == shares["qqp"]
    assert shares["squad_v2"] / shares["mnli"] == pytest.approx(130_319 / 2**17)


@given(
    st.lists(st.integers(1, 10**9), min_size=1, max_size=9),
    st.one_of(st.floats(1, 1e6), st.just(math.inf)),
    st.one_of(st.floats(1, 1e9), st.just(math.inf)),
)
def test_shares_sum_to_one_and_a_larger_task_never_gets_less(sizes, temperature, cap):
    tasks = [task(f"t{number}", size) for number, size in enumerate(sizes)]
    shares = [share for _, share in Proportions(temperature=temperature, cap=cap).shares(tasks)]
    assert math.fsum(shares) == pytest.approx(1) and min(shares) > 0
    ordered = [share for _, share in sorted(zip(sizes, shares, strict=True))]
    assert all(left <= right * (1 + 1e-9) for left, right in pairwise(ordered))


@pytest.mark.parametrize(
    "wrong",
    [
        {"temperature": 0.5},
        {"temperature": math.nan},
        {"temperature": "x"},
        {"temperature": True},
        {"cap": 0},
        {"cap": -1.0},
        {"cap": None},
    ],
)
def test_what_gives_no_shares_is_refused(wrong):
    with pytest.raises(Invalid, match=f"{next(iter(wrong))} must be a number"):
        Proportions(**wrong)


def test_a_task_of_unknown_size_is_named():
    with pytest.raises(Invalid) as refused:
        PROPORTIONAL.shares([*FOUR, task("unknown", 0)])
    assert refused.value.faults == (
        "task 'unknown' must state the rows of its training split, got none; state them (rows=… of a task of files of "
        "your own), or give shares",
    )


def test_equal_shares_need_no_sizes():
    assert dict(UNIFORM.shares([*FOUR, task("unknown", 0)])) == dict.fromkeys(["a", "b", "c", "d", "unknown"], 0.2)


def test_rows_of_ones_own_files_that_are_stated_otherwise_are_told(tmp_path):
    write_visual(tmp_path, train="en en en en", dev="en", test="en")
    (tmp_path / "pairs.tsv").write_text("premise\thypothesis\tlabel\tlanguage\na\tb\t0\ten\nc\td\t1\ten\ne\tf\t1\tde\n")
    for language, lines in (("de", "one\ntwo\n\n"), ("sw", "one\ntwo\nthree\nfour\n")):
        (tmp_path / f"{language}.txt").write_text(lines)

    def told(visual: int, pairs: int, text: int) -> dict[str, str]:
        tasks = (
            parquet_task("visual", tmp_path, languages=["en"], rows=visual),
            text_pair_task("pairs", train=tmp_path / "pairs.tsv", rows=pairs),
            sentence_task("text", train=tmp_path / "{language}.txt", languages=["de", "sw"], rows=text),
        )
        shares = dict(PROPORTIONAL.shares(tasks))
        assert shares["pairs"] / shares["visual"] == pytest.approx(pairs / visual)
        assert shares["text"] / shares["visual"] == pytest.approx(2 * text / visual)
        cell = Cell(name="own", intermediates=tasks, shares=tuple(shares.items()))
        found = looked_up(small_sweep(cells=(BASELINE, cell)), fetch=False)
        return {name: text for name, text in found.remarks.items() if "stated" in text}

    assert told(4, 2, 3) == {}
    rows = "training rows are stated, and its files hold {} in a language: shares by size are of those stated"
    wrong = told(5, 3, 1_000)
    assert wrong.keys() == {"visual", "pairs", "text"}
    assert f"5 {rows.format(4)}" in wrong["visual"]
    assert f"3 {rows.format(2)}" in wrong["pairs"]
    assert wrong["text"] == f"1,000 {rows.format(3)}"


def test_a_grid_takes_its_shares_from_the_sizes_or_searches_them():
    (mixed,) = (cell for cell in transfer_grid((), mixtures=[FOUR], proportions=UNIFORM) if cell.intermediates)
    assert mixed.shares == UNIFORM.shares(FOUR) and not mixed.searches_shares
    (searched,) = (cell for cell in transfer_grid((), mixtures=[FOUR]) if cell.intermediates)
    assert searched.searches_shares


SWEEP = small_sweep(cells=(BASELINE, FIXED, MIXED))


def counts(cell: Cell) -> dict:
    values = default_values(SWEEP, cell)
    return examples_of(path_of(SWEEP, cell, values, phase=Phase.SEARCH, seed=0), values)


def test_expected_and_actual_examples_of_a_mixture():
    assert counts(FIXED) == {
        "lab_nli": {"expected": 0.25 * 40 * 8, "actual": 80},
        "lab_qqp": {"expected": 0.75 * 40 * 8, "actual": 240},
    }
    assert counts(BASELINE) == {}


def test_whole_steps_miss_what_a_share_promises_by_less_than_a_step_and_may_be_none():
    odd = Cell(name="odd", intermediates=(lab.NLI, lab.QQP), shares=(("lab_nli", 0.01), ("lab_qqp", 0.99)))
    found = counts(odd)
    assert found["lab_nli"] == {"expected": pytest.approx(3.2), "actual": 0} and found["lab_qqp"]["actual"] == 320
    assert all(abs(one["expected"] - one["actual"]) < 8 for one in found.values())


def test_the_ledger_holds_them_for_every_trial():
    ledger = MemoryLedger()
    conductor = Conductor(SWEEP, ledger)
    while conductor.next() is not None:
        pass
    records = trial_records(ledger.happenings())
    by_cell = {key.cell: record.examples for key, record in records.items()}
    assert by_cell["fixed"] == counts(FIXED) and by_cell["nli+qqp"] == counts(MIXED) and by_cell["none"] == {}


def test_a_table_shows_them():
    from tests.pure import fake_sweep as fake

    standing = fake.standing()
    first = next(iter(standing.records))
    standing.records[first] = replace(standing.records[first], examples=counts(FIXED))
    rows = tables.mixtures(standing).to_pylist()
    assert [(row["task"], row["share"], row["expected"], row["actual"]) for row in rows] == [
        ("lab_nli", 0.25, 80.0, 80),
        ("lab_qqp", 0.75, 240.0, 240),
    ]
