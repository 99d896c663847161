"""Claims about what a reader is told where a cell was searched otherwise than the baseline."""

from __future__ import annotations

import json
from dataclasses import replace

from search_spaces import Choice, LogRange, Space
from sweep.outcomes import Answers
from sweep.per_language import per_language
from sweep.plan import plan
from sweep.plan_text import plan_text
from sweep.record_definition import described
from sweep.search import Budget, CmaEs, ExpectedGain, Grid, NoPruning, Search, Tpe
from sweep.standing import Standing
from tests.libraries.test_conduct import conducted
from tests.pure import fake_sweep as fake
from tests.pure.small_sweep import ALONE, BASELINE, small_sweep

GAIN = ExpectedGain(settings=2, fan_out=2)


def standing_of(**search) -> Standing:
    budget = search.pop("budget", Budget())
    given = {"trials": 12, "fan_out": 2, "pruner": NoPruning()} | search
    sweep = small_sweep(search=Search(**given), budget=budget, cells=(BASELINE, ALONE))
    conductor, _ = conducted(sweep)
    return conductor.standing()


def test_a_cell_that_was_searched_as_the_baseline_says_nothing():
    standing = standing_of(trials=4)
    assert standing.searched_otherwise("nli") == standing.searched_otherwise("none") == ""


def test_where_settings_used_again_pay_for_more_trials_the_counts_are_told_beside_the_gain():
    standing = standing_of(fan_out=GAIN, budget=Budget(optimiser_steps=900))
    mine, theirs = (len(standing.searched(cell)) for cell in ("nli", "none"))
    assert mine > theirs, "the claim is about such a sweep"
    counts = f"the best of {mine} search trials, the baseline of {theirs}"
    told = standing.searched_otherwise("nli")
    assert told == f"{counts}; searched by tpe, from trial 4 on expected gain, the baseline by tpe"
    still = replace(standing, withheld={})
    assert still.searched_otherwise("nli") == "", "while one is being searched, counts differ by chance"
    kept = json.loads(json.dumps(described(small_sweep(cells=(BASELINE, ALONE)))))
    assert [cell["searched_by"] for cell in kept["cells"]] == ["tpe", "tpe"]


def test_a_grid_of_more_points_is_told_and_so_is_another_sampler():
    space = Space(intermediate={"learning_rate": LogRange(1e-4, 1e-2)}, target={"dropout": Choice((0, 0.1, 0.3))})
    sweep = small_sweep(space=space, search=Search(trials=99, sampler=Grid(points=3)), cells=(BASELINE, ALONE))
    grid = conducted(replace(sweep, search=replace(sweep.search, pruner=NoPruning())))[0].standing()
    assert grid.searched_otherwise("nli") == "the best of 9 search trials, the baseline of 3"
    other = standing_of(trials=3, sampler=CmaEs(), fan_out=1)
    assert other.searched_otherwise("nli") == "searched by cmaes, the baseline by tpe"


def test_the_remark_stands_beside_every_gain_and_nowhere_else():
    standing = fake.standing()
    ended = replace(standing, cells=tuple(replace(cell, trials=1) for cell in standing.cells))
    rows = per_language(ended, Answers(ended, fake.scores, fake.predictions)).to_pylist()
    counts = {"nli": "the best of 3 search trials, the baseline of 2"}
    for row in rows:
        assert ("the best of" in row["remark"]) == (row["gain"] is not None), row
        assert counts.get(row["cell"], "") in row["remark"] or row["gain"] is None


def test_the_plan_says_what_proposes_where_and_that_a_cell_may_have_more_trials_than_the_baseline():
    search = Search(trials=12, sampler=Tpe(startup_trials=8), fan_out=GAIN, pruner=NoPruning())
    lines = plan_text(plan(small_sweep(search=search, budget=Budget(optimiser_steps=1500)))).splitlines()
    place = next(place for place, line in enumerate(lines) if line.startswith("search"))
    assert lines[place] == "search   tpe, from trial 4 on expected gain; tpe in none"
    assert lines[place + 1].strip().startswith("an intermediate setting is used again as it pays")
    (told,) = (line for line in lines if line.startswith("budget"))
    assert told.endswith(
        "more where some are pruned or settings used again, so that a cell may have more trials than the baseline, as "
        "tables say then"
    )
    few = plan_text(plan(small_sweep(search=replace(search, trials=4))))
    assert "search   tpe\n" in few, "four trials are those of the first settings"


def test_nothing_is_told_while_a_search_is_yet_to_end():
    standing = standing_of(trials=4)
    records = {key: one for key, one in standing.records.items() if (key.cell, key.number) != ("nli", 3)}
    assert replace(standing, records=records).searched_otherwise("nli") == ""
