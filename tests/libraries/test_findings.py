"""Claims about tests, corrections, selection and groups: known answers, and agreement with statsmodels and SciPy."""

from __future__ import annotations

import dataclasses
import math
from hashlib import sha256

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from search_spaces.transfer_grid import Cell, CellRole
from sweep import statistics
from sweep.across import Target, across
from sweep.columns import (
    COMPARISONS,
    CORRELATIONS,
    EXPECTED_BEST,
    IMPORTANCES,
    MCNEMAR,
    PER_GROUP,
    SELECTION,
)
from sweep.comparisons import adjusted, comparisons, gain_numbers, mcnemar_tests
from sweep.findings import findings
from sweep.languages import GROUPINGS, LANGUAGES, grouped
from sweep.outcomes import Answers
from sweep.per_language import per_group, per_language
from sweep.records import Phase, TrialKey, What
from sweep.report.answer import answer
from sweep.selection import LEAST_TRIALS, Point, _correlation, correlations, expected_best, importances, selection
from sweep.standing import CellInfo
from sweep.tables import parquet_bytes
from tests.benchmarks.bench_coverage import coverage_of_the_largest
from tests.examples import of_examples
from tests.pure import fake_sweep as fake
from tests.pure.small_sweep import BASELINE, MIXED, small_sweep
from trainables.catalogue import lab_twins

TABLES = (COMPARISONS, MCNEMAR, SELECTION, EXPECTED_BEST, CORRELATIONS, IMPORTANCES, PER_GROUP)


@pytest.fixture(scope="module")
def standing():
    return fake.standing()


@pytest.fixture(scope="module")
def answers(standing):
    return Answers(standing, fake.scores, fake.predictions)


@pytest.fixture(scope="module")
def compared(standing, answers) -> list[dict]:
    return comparisons(standing, answers).to_pylist()


def _one(rows: list[dict], **wanted: object) -> dict:
    (found,) = [row for row in rows if all(row[name] == value for name, value in wanted.items())]
    return found


# Comparisons


def test_a_comparison_has_the_gain_and_interval_of_the_table_of_languages(standing, answers, compared):
    for row in per_language(standing, answers).to_pylist():
        if row["gain"] is not None:
            other = _one(compared, cell=row["cell"], language=row["language"])
            assert [other[name] for name in ("gain", "gain_low", "gain_high")] == pytest.approx(
                [row[name] for name in ("gain", "gain_low", "gain_high")]
            )
            assert (other["p_value"] < 0.05) == (row["gain_low"] > 0 or row["gain_high"] < 0)


def test_the_corrected_p_values_of_an_exported_table_are_those_of_its_own_column(standing, answers):
    from statsmodels.stats.multitest import multipletests

    read = pq.read_table(pa.BufferReader(parquet_bytes(findings(standing, answers, None)["comparisons"])))
    read = read.to_pylist()
    families = {(row["against"], row["family"]) for row in read}
    assert len(families) > 3
    for family in families:
        rows = [row for row in read if (row["against"], row["family"]) == family and row["p_cautious"] is not None]
        for name, method in (("p_holm", "holm"), ("q_value", "fdr_bh")):
            corrected = multipletests([row["p_cautious"] for row in rows], method=method)[1] if rows else []
            assert [row[name] for row in rows] == pytest.approx(corrected)
    assert any(row["p_cautious"] > row["p_value"] for row in read if row["p_value"] is not None)


def test_simultaneous_intervals_say_what_bonferronis_correction_says(compared):
    tested = [row for row in compared if row["p_cautious"] is not None]
    assert {row["family_size"] for row in tested} == {1, 3}
    for row in tested:
        excludes = row["simultaneous_low"] > 0 or row["simultaneous_high"] < 0
        assert excludes == (row["p_cautious"] * row["family_size"] < 0.05)
        assert row["simultaneous_low"] <= row["gain_low"] and row["gain_high"] <= row["simultaneous_high"]
        if excludes:
            assert row["p_holm"] < 0.05


@pytest.mark.parametrize("cells", [4, 10])
def test_the_simultaneous_interval_of_the_largest_gain_holds_the_truth(cells):
    random = np.random.default_rng(cells)
    found = coverage_of_the_largest(random, cells, seeds=3, items=60, sweeps=400)
    assert found.simultaneous >= 0.93
    assert cells < 10 or found.plain < 0.93, "the interval of any one comparison is no interval of the largest"


def test_corrections_are_within_a_family_and_never_below_the_p_value(compared):
    languages = [row for row in compared if row["family"] == "transfer, every language" and row["gain"] is not None]
    assert [row["family_size"] for row in languages] == [3] * 3
    for row in compared:
        if row["p_holm"] is not None:
            assert row["p_value"] <= row["q_value"] + 1e-12 <= row["p_holm"] + 2e-12
    assert {row["family_size"] for row in compared if row["family"] == "transfer, mean"} == {1}


def test_an_absent_comparison_has_a_reason_and_no_number(compared):
    absent = [row for row in compared if row["cell"] == "broken"]
    reason = "broken: no search trial has finished; one failed: the loss was no number at step 7"
    assert {row["absent_reason"] for row in absent} == {reason}
    assert {row["p_value"] for row in absent} == {None}


def test_a_comparison_in_a_language_that_no_run_has_says_why_and_the_means_are_compared_without_it(standing):
    def scores(digest: str):
        return tuple(one for one in fake.scores(digest) if one.language != "th")

    def predictions(digest: str) -> pa.Table:
        return fake.predictions(digest).filter(pc.field("language") != "th")

    rows = comparisons(standing, Answers(standing, scores, predictions)).to_pylist()
    row = _one(rows, cell="nli", language="th")
    assert (row["gain"], row["absent_reason"]) == (None, "nli: no score in th; none: no score in th")
    mean, alone = _one(rows, cell="nli", language="mean_without_en"), _one(rows, cell="nli", language="de")
    assert mean["gain"] == pytest.approx(alone["gain"]) and mean["absent_reason"] == ""
    assert answer(pa.Table.from_pylist(rows, schema=COMPARISONS))[0].startswith("Yes: intermediate training on nli")


def test_a_longer_baseline_is_compared_with_as_well(standing):
    cells = tuple(dataclasses.replace(c, role=CellRole.COMPUTE_MATCHED) if c.name == "nli" else c for c in fake.CELLS)
    changed = dataclasses.replace(standing, cells=cells)
    rows = comparisons(changed, Answers(changed, fake.scores, fake.predictions)).to_pylist()
    assert {(row["cell"], row["against"]) for row in rows} == {
        ("nli", "none"), ("broken", "none"), ("image_only", "none"), ("broken", "nli"), ("image_only", "nli"),
    }  # fmt: skip


def test_without_predictions_a_comparison_is_over_seeds(standing):
    rows = comparisons(standing, Answers(standing, fake.scores, lambda digest: None)).to_pylist()
    row = _one(rows, cell="nli", language="de")
    assert row["items"] is None and row["smallest_gain"] is None
    assert (row["p_value"] < 0.05) == (row["gain_low"] > 0)


def test_equal_gains_of_all_seeds_are_no_evidence_where_there_are_no_items():
    nothing = gain_numbers(None, (0.0, 0.0, 0.0))
    assert (nothing["gain"], nothing["p_value"], nothing.get("gain_low")) == (0, 1, None)
    same = gain_numbers(None, (0.3 - 0.2, 0.8 - 0.7, 0.1))  # equal but for their last bits
    assert (same["gain"], same["p_value"], same.get("gain_low")) == (pytest.approx(0.1), None, None)
    for row in (nothing, same):
        assert row["absent_reason"].startswith("no interval: all seeds have the same value")
    rows = [nothing, same, gain_numbers(None, (0.01, 0.02, 0.04))]
    adjusted(rows)
    assert [row.get("p_holm") is None for row in rows] == [False, True, False]
    assert [row["family_size"] for row in rows] == [2] * 3 and rows[0]["p_holm"] == 1


def test_scores_that_never_vary_have_no_interval_of_width_zero_in_any_table(standing):
    """As of retrieval, which trains nothing: every seed of a cell has the same score, and no item is known."""

    def scores(digest: str):
        cell = fake.RUNS[digest][0]
        return tuple(dataclasses.replace(s, value=fake.ACCURACY[cell][s.language]) for s in fake.scores(digest))

    answers = Answers(standing, scores, lambda digest: None)
    row = _one(per_language(standing, answers).to_pylist(), cell="nli", language="de")
    assert (row["accuracy_low"], row["gain_low"]) == (None, None) and row["gain"] == pytest.approx(0.3)
    assert row["remark"].count("no interval: all seeds have the same value") == 2
    row = _one(selection(standing, answers).to_pylist(), cell="nli")
    assert row["confirmed_score"] == pytest.approx(0.6) and row["confirmed_low"] is None
    target = Target(standing=standing, answers=answers)
    row = _one(across("suite", [target, target]).to_pylist(), cell="nli")
    assert row["gain"] is not None and row["gain_low"] is None
    assert "all seeds have the same value" in row["absent_reason"]


def test_mcnemar_counts_the_items_that_one_run_alone_got_right(standing, answers):
    row = _one(mcnemar_tests(standing, answers).to_pylist(), cell="nli", language="de", seed=1)
    right = [
        {r["item_id"]: r["gold"] == r["predicted"] for r in fake.answers(*run).to_pylist() if r["language"] == "de"}
        for run in (("nli", 2, 1), ("none", 0, 1))
    ]
    only = [sum(right[a][i] and not right[1 - a][i] for i in right[0]) for a in (0, 1)]
    assert [row["only_cell"], row["only_against"]] == only
    assert row["p_value"] < 0.05


@given(st.integers(0, 60), st.integers(0, 60))
def test_mcnemar_is_statsmodels(a: int, b: int):
    from statsmodels.stats import contingency_tables

    theirs = contingency_tables.mcnemar([[0, a], [b, 0]], exact=True).pvalue if a + b else 1.0
    assert statistics.mcnemar(a, b) == pytest.approx(theirs)


@of_examples(0.2)
@given(st.lists(st.sampled_from([0.0, 1e-300, 0.01, 0.02, 1.0]) | st.floats(0, 1), min_size=1, max_size=20))
def test_corrections_are_those_of_statsmodels_to_the_last_bit(p_values: list[float]):
    from statsmodels.stats.multitest import multipletests

    for mine, method in ((statistics.holm, "holm"), (statistics.false_discovery, "fdr_bh")):
        assert mine(p_values).tolist() == multipletests(p_values, method=method)[1].tolist()


@given(st.integers(0, 200), st.integers(0, 300))
def test_intervals_from_counts_are_wilsons_and_newcombes(right: int, other: int):
    from statsmodels.stats import proportion

    interval = statistics.counted_accuracy(right / 200, 200)
    assert [interval.low, interval.high] == pytest.approx(proportion.proportion_confint(right, 200, method="wilson"))
    gain = statistics.counted_gain((right / 200, 200), (other / 300, 300))
    theirs = proportion.confint_proportions_2indep(right, 200, other, 300, method="newcomb")
    assert [gain.low, gain.high] == pytest.approx(theirs)


# The search


def test_the_promise_of_the_search_stands_beside_what_fresh_seeds_gave(standing, answers):
    row = _one(selection(standing, answers).to_pylist(), cell="nli")
    assert (row["search_score"], row["confirmed_score"]) == (0.7, pytest.approx(0.6))
    assert row["optimism"] == pytest.approx(0.1)
    assert row["trials"] == 3
    broken = _one(selection(standing, answers).to_pylist(), cell="broken")
    assert broken["search_score"] is None and broken["absent_reason"].startswith("no search trial has finished")


@given(st.lists(st.floats(0, 1), min_size=1, max_size=6), st.data())
def test_the_expected_best_is_that_of_all_draws(scores: list[float], data):
    number = data.draw(st.integers(1, len(scores)))
    grids = np.meshgrid(*[scores] * number)
    assert statistics.expected_best(scores, resamples=2)[0][number - 1] == pytest.approx(np.max(grids, axis=0).mean())


def test_an_expected_best_never_falls_and_ends_below_the_best(standing):
    rows = [row for row in expected_best(standing).to_pylist() if row["cell"] == "nli"]
    assert [row["trials"] for row in rows] == [1, 2, 3]
    assert rows[0]["score"] == pytest.approx(np.mean([0.6, 0.4, 0.7]))
    assert rows[0]["score"] < rows[1]["score"] < rows[2]["score"] < 0.7
    assert all(row["score_low"] <= row["score"] <= row["score_high"] for row in rows)


def test_a_correlation_of_few_points_is_absent_and_the_oracles_gap_is_not(standing, answers):
    row = _one(correlations(standing, answers).to_pylist(), over="cells", language="de")
    assert row["pearson"] is None and "needs 4 points" in row["absent_reason"]
    assert (row["points"], row["oracle"], row["oracle_sees"]) == (2, "nli", "half")
    assert row["oracle_gap"] is not None


def test_where_all_runs_are_equally_good_the_oracle_has_no_gap_on_average(standing):
    """The very items that it chose by would show one of 0.05."""
    random = np.random.default_rng(0)
    gaps, naive = [], []
    for _ in range(400):
        right = random.random((15, 300)) < 0.6
        points = [_point(f"run {n}", dev, right[n]) for n, dev in enumerate(random.random(15))]
        gaps.append(_correlation(points, independent=False)["oracle_gap"])
        naive.append(_correlation([dataclasses.replace(one, halves=None) for one in points], independent=False))
    assert abs(np.mean(gaps)) < 3 * np.std(gaps) / len(gaps) ** 0.5
    assert np.mean([row["oracle_gap"] for row in naive]) > 0.03
    assert {row["oracle_sees"] for row in naive} == {"report"}


def test_the_oracles_gap_is_what_the_rule_costs():
    """English dev chooses a run that is worse by 0.1, and the oracle knows."""
    random = np.random.default_rng(0)
    rates = np.array([0.5, 0.6, 0.5, 0.5])
    dev, gaps = (0.9, 0.1, 0.2, 0.3), []
    for _ in range(400):
        right = random.random((4, 1000)) < rates[:, None]
        points = [_point(str(n), dev[n], right[n]) for n in range(4)]
        gaps.append(_correlation(points, independent=False)["oracle_gap"])
    assert np.mean(gaps) == pytest.approx(0.1, abs=0.004)


def _point(name: str, dev: float, right: np.ndarray) -> Point:
    half = len(right) // 2
    halves = float(right[:half].mean()), float(right[half:].mean())
    return Point(name=name, dev=float(dev), test=float(right.mean()), halves=halves)


def test_the_halves_of_a_mean_are_those_of_its_languages(standing, answers):
    run = standing.confirmations("nli")[0].evaluation
    each = {language: answers.halves(run, (language,)) for language in fake.LANGUAGES}
    assert answers.halves(run, fake.LANGUAGES) == pytest.approx(np.mean(list(each.values()), axis=0))
    whole = answers.outcome(run, ("de",))
    first = np.array([sha256(item.encode()).digest()[0] & 1 for item in whole.ids.to_pylist()], dtype=bool)
    assert each["de"] == pytest.approx((whole.correct[first].mean(), whole.correct[~first].mean()))
    assert 0.3 < first.mean() < 0.7
    assert Answers(standing, fake.scores, lambda digest: None).halves(run, ("de",)) is None


def test_a_correlation_has_fishers_interval_and_the_price_of_the_rule():
    given = [("a", 0.5, 0.3), ("b", 0.6, 0.5), ("c", 0.7, 0.4), ("d", 0.8, 0.45), ("e", 0.9, 0.48)]
    points = [Point(name=name, dev=dev, test=test) for name, dev, test in given]
    row = _correlation(points, independent=True)
    r = np.corrcoef([p.dev for p in points], [p.test for p in points])[0, 1]
    assert row["pearson"] == pytest.approx(r)
    assert row["pearson_low"] == pytest.approx(math.tanh(math.atanh(r) - 1.959964 / math.sqrt(2)))
    assert (row["chosen"], row["oracle"], row["oracle_gap"]) == ("e", "b", pytest.approx(0.02))


def test_a_correlation_over_runs_has_no_interval_since_seeds_of_a_cell_are_no_independent_points(standing):
    entries, cells = [], []
    for number in range(4):
        cells.append(CellInfo(name=f"cell{number}", role=CellRole.TRANSFER))
        for place, seed in enumerate(fake.SEEDS):
            key = TrialKey(cell=f"cell{number}", phase=Phase.CONFIRMATION, number=place)
            score = 0.5 + 0.1 * number + 0.01 * place
            entries += fake.trial(key, score=score, ending=What.FINISHED, winner=0, seed=seed)
        search = TrialKey(cell=f"cell{number}", phase=Phase.SEARCH, number=0)
        entries += fake.trial(search, score=0.5, ending=What.FINISHED)
    runs = {fake.evaluation(cell.name, 0, seed).digest: (cell.name, seed) for cell in cells for seed in fake.SEEDS}

    def scores(digest: str):
        cell, seed = runs[digest]
        scored = fake.scores_of(fake.answers("none", 0, seed))
        better = int(cell.removeprefix("cell")) ** 2 / 100
        return tuple(dataclasses.replace(one, value=one.value + better, correct=None) for one in scored)

    changed = dataclasses.replace(fake.standing(entries), cells=tuple(cells))
    rows = correlations(changed, Answers(changed, scores, lambda digest: None)).to_pylist()
    of_runs, of_cells = (_one(rows, over=over, language="de") for over in ("runs", "cells"))
    assert (of_runs["points"], of_cells["points"]) == (12, 4)
    assert of_runs["pearson"] > 0 and of_runs["pearson_low"] is None and of_runs["pearson_high"] is None
    assert of_cells["pearson_low"] < of_cells["pearson"] < of_cells["pearson_high"]


def test_fishers_interval_over_cells_excludes_no_correlation_as_rarely_as_it_says():
    random = np.random.default_rng(0)
    found = []
    for _ in range(1000):
        cells, seeds = random.normal(size=(2, 11, 1)), random.normal(size=(2, 11, 3)) * 0.3
        dev, test = (cells + seeds).mean(axis=2)
        points = [Point(name="", dev=float(x), test=float(y)) for x, y in zip(dev, test, strict=True)]
        row = _correlation(points, independent=True)
        found.append(row["pearson_low"] <= 0 <= row["pearson_high"])
    assert 0.93 <= np.mean(found) <= 0.97


def _searched(sweep, cell, score_of, power=lambda number: 1.0) -> list[dict]:
    """The importances of sixty trials of a cell drawn at random, with a score that is a function of their values.

    Draws of shares raised to any `power` of the trial's mean the same shares.
    """
    random = np.random.default_rng(0)
    entries = []
    for number in range(60):
        draws = {
            name: float(10 ** random.uniform(-4, -2) if name.endswith("rate") else random.uniform(0.001, 0.999))
            for name in sweep.parameters(cell)
        }
        draws |= {name: draw ** power(number) for name, draw in draws.items() if name.startswith("share.")}
        values = sweep.space.values(cell, draws)
        key = TrialKey(cell=cell.name, phase=Phase.SEARCH, number=number)
        mine = fake.trial(key, score=score_of(values), ending=What.FINISHED)
        mine[0].payload.update(draws=draws, values=values)
        entries += mine
    infos = (CellInfo(name=cell.name, role=CellRole.TRANSFER, intermediates=("a", "b"), trials=60),)
    standing = dataclasses.replace(fake.standing(entries), cells=infos)
    return [row for row in importances(standing, sweep).to_pylist() if row["cell"] == cell.name]


def test_the_importance_of_what_decides_is_the_greatest():
    sweep = small_sweep()
    rows = _searched(sweep, MIXED, lambda values: 0.9 - 0.2 * abs(math.log10(values["target.learning_rate"]) + 3))
    shares = {row["parameter"]: row["importance"] for row in rows}
    assert max(shares, key=shares.get) == "target.learning_rate"
    assert shares["target.learning_rate"] > 0.6
    assert sum(shares.values()) == pytest.approx(1)
    few = [row for row in importances(fake.standing([]), sweep).to_pylist()]
    assert {row["absent_reason"] for row in few} == {f"needs {LEAST_TRIALS} finished trials, got 0"}


def test_a_mixing_weight_is_as_important_as_its_share_and_not_as_its_draw():
    cell = Cell(name="four", intermediates=lab_twins.INTERMEDIATE[:4])
    sweep = small_sweep(cells=(BASELINE, cell))

    def found(**more) -> dict[str, float]:
        rows = _searched(sweep, cell, lambda values: 0.5 + 0.3 * values["share.lab_nli"], **more)
        return {row["parameter"]: row["importance"] for row in rows}

    assert found() == pytest.approx(found(power=lambda number: 0.5 + number % 7 / 7))
    assert max(found(), key=found().get) == "share.lab_nli"


# Languages


def test_every_language_of_the_lab_and_of_xvnli_has_a_group():
    for grouping in GROUPINGS:
        groups = grouped(("ar", "bg", "de", "el", "es", "fr", "hi", "ru", "sw", "th", "tr", "ur", "vi", "zh"), grouping)
        assert "not known" not in groups
        assert sum(map(len, groups.values())) == 14
    assert grouped(("sw", "ur", "xx"), "pretraining") == {"not known": ("xx",), "small": ("sw", "ur")}
    assert all(len(code) in (2, 3) for code in LANGUAGES)


def test_a_group_is_the_mean_of_its_languages_and_leaves_the_source_out(standing, answers):
    rows = per_group(standing, answers, "script").to_pylist()
    each = {r["language"]: r["accuracy"] for r in per_language(standing, answers).to_pylist() if r["cell"] == "nli"}
    latin = _one(rows, cell="nli", group="Latin")
    assert (latin["languages"], latin["accuracy"]) == ("de", pytest.approx(each["de"]))
    assert _one(rows, cell="nli", group="Thai")["accuracy"] == pytest.approx(each["th"])


def test_every_column_of_every_finding_states_its_meaning(standing, answers):
    for schema in TABLES:
        for column in schema:
            assert column.metadata[b"meaning"], column
    for name, table in findings(standing, answers, None).items():
        assert table.schema.metadata[b"table"] == name.encode()
        assert isinstance(table, pa.Table)
