"""Claims about the tables: nothing goes missing unseen, gains are paired, exports are the same bytes every time."""

from __future__ import annotations

import ast
import dataclasses
import io
import re
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv
import pyarrow.fs as pafs
import pyarrow.parquet as pq
import pytest

from search_spaces import Cell
from sweep import Results, columns, tables
from sweep.outcomes import Answers
from sweep.per_language import per_language
from sweep.records import Phase, TrialKey, What, trial_records
from sweep.standing import Standing
from tests.pure import fake_sweep as fake
from tests.pure.small_sweep import ALONE, BASELINE, small_sweep
from trainables.catalogue import lab
from trainables.catalogue.lab_twins import MLQA
from trainables.catalogue.translated import translated
from trainables.scores import Score


def _per_language(standing=None, scores=fake.scores, predictions=fake.predictions):
    standing = standing or fake.standing()
    return per_language(standing, Answers(standing, scores, predictions))


def _row(table: pa.Table, cell: str, language: str) -> dict:
    rows = [row for row in table.to_pylist() if row["cell"] == cell and row["language"] == language]
    assert len(rows) == 1
    return rows[0]


def _all() -> dict[str, pa.Table]:
    standing = fake.standing()
    return {
        "scores": tables.scores(standing, fake.scores),
        "predictions": tables.predictions(standing, fake.predictions),
        "per_language": _per_language(standing),
        "trials": tables.trials(standing),
    }


def test_every_trial_is_a_row_with_its_state_and_its_values():
    rows = {(r["cell"], r["phase"], r["number"]): r for r in tables.trials(fake.standing()).to_pylist()}
    assert len(rows) == len(fake.standing().records)
    assert rows["nli", "search", 1]["state"] == "pruned"
    assert rows["nli", "search", 1]["steps_saved"] == 60
    assert rows["none", "search", 1]["score"] is None
    assert rows["none", "search", 1]["reason"] == "the loss was no number at step 7"
    assert rows["nli", "search", 2]["leads"] and not rows["nli", "search", 0]["leads"]
    assert rows["nli", "search", 2]["value.intermediate.learning_rate"] == 0.002
    assert rows["none", "search", 0]["value.intermediate.learning_rate"] is None


def test_a_parameter_that_no_trial_has_drawn_yet_is_a_column():
    table = tables.trials(fake.standing([]))
    assert {"value.target.learning_rate", "value.intermediate.learning_rate"} <= set(table.column_names)


def test_a_run_on_a_seed_that_the_definition_names_no_more_is_marked_counted_and_not_reported():
    standing = dataclasses.replace(fake.standing(), seeds=fake.SEEDS[:-1])
    gone = fake.SEEDS[-1]
    marked = [row for row in tables.trials(standing).to_pylist() if row["reason"] == tables.UNNAMED]
    assert {row["cell"] for row in marked} >= {"none", "nli"} and {row["seed"] for row in marked} == {gone}
    reported = [row for row in tables.scores(standing, fake.scores).to_pylist() if row["role"] == "report"]
    assert reported and gone not in {row["seed"] for row in reported}
    row = _row(_per_language(standing), "nli", "de")
    assert row["seeds"] == len(fake.SEEDS) - 1
    assert f"a run on seed {gone}, taken out since, not reported" in row["remark"]


def test_a_confirmation_of_an_overtaken_winner_is_marked_and_not_reported():
    standing = fake.standing()
    marked = [row for row in tables.trials(standing).to_pylist() if row["superseded"]]
    assert [(row["cell"], row["winner"]) for row in marked] == [("nli", 0)] * 3
    old = {fake.evaluation("nli", 0, seed).digest for seed in fake.SEEDS}
    assert not old & set(tables.scores(standing, fake.scores)["stage"].to_pylist())
    assert not old & set(tables.predictions(standing, fake.predictions)["stage"].to_pylist())
    new = [fake.answers("nli", 2, seed).filter(pc.field("language") == "de") for seed in fake.SEEDS]
    expected = np.mean([pc.equal(t["gold"], t["predicted"]).to_numpy().mean() for t in new])
    assert _row(_per_language(standing), "nli", "de")["accuracy"] == pytest.approx(expected)


def test_search_scores_are_of_role_select_and_test_scores_of_role_report_only():
    rows = tables.scores(fake.standing(), fake.scores).to_pylist()
    assert {row["role"] for row in rows if row["phase"] == "search"} == {"select"}
    assert {row["split"] for row in rows if row["role"] == "report"} == {"test"}
    assert {row["phase"] for row in rows if row["role"] == "report"} == {"confirmation"}


def test_a_search_score_names_the_task_and_the_metric_that_it_is_of():
    sweep = small_sweep(target=MLQA, cells=(BASELINE, ALONE))
    key = TrialKey(cell="nli", phase=Phase.SEARCH, number=0)
    records = trial_records(fake.trial(key, score=0.5, ending=What.FINISHED))
    standing = Standing.of(sweep, records)
    rows = [row for row in tables.scores(standing, lambda _: None).to_pylist() if row["value"] is not None]
    assert {(row["task"], row["split"], row["metric"]) for row in rows} == {("lab_questions", "dev", "f1")}


def test_a_failed_trial_is_a_score_row_without_a_value_and_with_its_reason():
    rows = [r for r in tables.scores(fake.standing(), fake.scores).to_pylist() if r["cell"] == "broken"]
    assert [(row["value"], row["absent_reason"]) for row in rows] == [(None, "the loss was no number at step 7")]


def test_a_language_without_a_score_is_a_row_with_a_reason():
    def without_thai(digest: str) -> tuple[Score, ...]:
        return tuple(score for score in fake.scores(digest) if score.language != "th")

    rows = tables.scores(fake.standing(), without_thai).to_pylist()
    thai = [row for row in rows if row["language"] == "th" and row["cell"] == "none"]
    digest = fake.evaluation("none", 0, 1).digest
    assert [row["value"] for row in thai] == [None] * 3
    assert thai[0]["absent_reason"] == f"the store has no score for it under evaluation {digest}"


def _without_thai(runs: tuple[str, ...] | None = None):
    """Scores and predictions as stored, without those in Thai of some runs, or of all."""

    def scores(digest: str) -> tuple[Score, ...]:
        gone = {"value": None, "correct": None, "absent_reason": "the test file of th is missing"}
        return tuple(
            dataclasses.replace(one, **gone) if one.language == "th" and (runs is None or digest in runs) else one
            for one in fake.scores(digest)
        )

    def predictions(digest: str) -> pa.Table:
        table = fake.predictions(digest)
        return table.filter(pc.field("language") != "th") if runs is None or digest in runs else table

    return {"scores": scores, "predictions": predictions}


def test_a_language_that_no_run_has_is_absent_with_its_reason_and_the_means_say_that_they_are_without_it():
    table = _per_language(**_without_thai())
    row = _row(table, "nli", "th")
    assert (row["accuracy"], row["gain"], row["seeds"]) == (None, None, 0)
    assert row["absent_reason"] == "no score in th: the test file of th is missing"
    assert row["gain_absent_reason"] == "the cell has no accuracy"
    mean, without_english = _row(table, "nli", "mean"), _row(table, "nli", "mean_without_en")
    known = [_row(table, "nli", language)["accuracy"] for language in ("de", "en")]
    assert mean["accuracy"] == pytest.approx(sum(known) / 2) and mean["gain"] is not None
    assert without_english["accuracy"] == pytest.approx(known[0])
    for one in (mean, without_english):
        assert "mean over 2 of 3 languages: no run has a score in th" in one["remark"].split("; ")
    assert "mean over" not in _row(table, "nli", "de")["remark"]


def test_a_language_that_one_cell_lacks_takes_the_means_of_that_cell_along():
    mine = tuple(fake.evaluation("nli", 2, seed).digest for seed in fake.SEEDS)
    table = _per_language(**_without_thai(mine))
    for language in ("th", "mean", "mean_without_en"):
        row = _row(table, "nli", language)
        assert (row["accuracy"], row["absent_reason"]) == (None, "no score in th: the test file of th is missing")
    assert _row(table, "none", "mean")["remark"] == _row(_per_language(), "none", "mean")["remark"]


def test_a_language_that_the_target_training_of_a_cell_has_read_is_said_not_to_be_zero_shot():
    standing = fake.standing()
    cells = tuple(dataclasses.replace(c, learned_in=("de",)) if c.name == "nli" else c for c in standing.cells)
    changed = dataclasses.replace(standing, cells=cells)
    table = per_language(changed, Answers(changed, fake.scores, fake.predictions))
    said = "learned from de: not zero-shot there"
    with_it = [row["language"] for row in table.to_pylist() if said in row["remark"].split("; ")]
    assert with_it == ["de", "mean", "mean_without_en"]
    assert {row["cell"] for row in table.to_pylist() if said in row["remark"]} == {"nli"}


def test_a_definition_says_what_its_cells_are_learned_in():
    there = Standing.of(small_sweep(), {}).cells
    assert {cell.learned_in for cell in there} == {("en",)}
    sweep = small_sweep(cells=(BASELINE, Cell(name="from_de", learned_from=translated(lab.VISUAL_NLI, "de"))))
    assert Standing.of(sweep, {}).cell("from_de").learned_in == ("de",)


def test_a_cell_without_a_finished_trial_is_there_for_every_language_with_its_reason():
    rows = [row for row in _per_language().to_pylist() if row["cell"] == "broken"]
    assert [row["language"] for row in rows] == ["de", "en", "mean", "mean_without_en", "th"]
    for row in rows:
        assert row["accuracy"] is None
        assert row["absent_reason"] == "no search trial has finished; one failed: the loss was no number at step 7"


def test_a_gain_is_the_mean_of_differences_on_the_same_seeds_and_items():
    row = _row(_per_language(), "nli", "de")
    base = _row(_per_language(), "none", "de")
    assert row["baseline"] == "none"
    assert row["gain"] == pytest.approx(row["accuracy"] - base["accuracy"])
    assert 0 < row["gain_low"] < row["gain"] < row["gain_high"]
    assert (row["seeds"], row["items"]) == (3, fake.ITEMS)
    assert base["gain"] is None
    assert base["gain_absent_reason"] == "this is the baseline"


def test_the_mean_over_languages_weighs_each_language_the_same():
    table = _per_language()
    each = [_row(table, "nli", language)["accuracy"] for language in fake.LANGUAGES]
    assert _row(table, "nli", "mean")["accuracy"] == pytest.approx(np.mean(each))
    without = np.mean([_row(table, "nli", language)["accuracy"] for language in ("de", "th")])
    assert _row(table, "nli", "mean_without_en")["accuracy"] == pytest.approx(without)
    assert _row(table, "nli", "mean")["is_mean"] and not _row(table, "nli", "de")["is_mean"]


def test_a_gain_is_paired_by_seed_when_one_seed_failed():
    lost = fake.evaluation("nli", 2, 2).digest
    entries = [e for e in fake.happenings() if e.payload.get("evaluation") != lost]
    key = next(r.key for r in fake.standing().records.values() if r.evaluation == lost)
    entries += [e for e in fake.trial(key, score=None, ending=What.FAILED) if e.what is What.FAILED]
    row = _row(_per_language(fake.standing(entries)), "nli", "de")
    assert row["seeds"] == 2
    assert row["remark"].startswith("seed 2 failed: the loss was no number at step 7")

    def accuracy(cell: str, winner: int, seed: int) -> float:
        table = fake.answers(cell, winner, seed).filter(pc.field("language") == "de")
        return pc.equal(table["gold"], table["predicted"]).to_numpy().mean()

    paired = np.mean([accuracy("nli", 2, seed) - accuracy("none", 0, seed) for seed in (1, 3)])
    assert row["gain"] == pytest.approx(paired)


def test_confirmations_still_to_come_are_counted_in_the_remark():
    waiting = {fake.evaluation("nli", 2, seed).digest for seed in (2, 3)}
    entries = [e for e in fake.happenings() if e.payload.get("evaluation") not in waiting]
    row = _row(_per_language(fake.standing(entries)), "nli", "de")
    assert row["remark"] == "1 of 3 seeds confirmed; interval over items only: one seed"


def test_a_cell_that_a_blind_baseline_equals_is_marked():
    table = _per_language()
    assert "no better than image_only" in _row(table, "nli", "th")["remark"]
    assert _row(table, "nli", "de")["remark"] == ""
    assert _row(table, "image_only", "mean")["remark"] == ""


def test_a_cell_with_the_same_answers_in_every_language_is_marked():
    def predictions(digest: str) -> pa.Table:
        seed = fake.RUNS[digest][2]
        return fake.answers("image_only", 0, seed)

    row = _row(_per_language(predictions=predictions), "nli", "mean")
    assert row["remark"] == "no better than image_only; same answers in every language: the text is ignored"


def test_the_order_in_which_a_run_stored_its_answers_changes_nothing():
    def predictions(digest: str) -> pa.Table:
        table = fake.predictions(digest)
        return table.take(np.random.default_rng(list(digest.encode())).permutation(len(table)))

    def fewer_first(digest: str) -> pa.Table:
        table = fake.predictions(digest)
        return table.slice(fake.ITEMS) if digest == first else table

    first = fake.evaluation("none", 0, 1).digest
    assert _per_language(predictions=predictions).equals(_per_language())
    row = _row(_per_language(predictions=fewer_first), "none", fake.LANGUAGES[-1])
    assert row["seeds"] == 2


def test_without_stored_predictions_the_interval_is_over_seeds_and_says_so():
    row = _row(_per_language(predictions=lambda digest: None), "nli", "de")
    assert row["items"] is None
    assert row["accuracy_low"] < row["accuracy"] < row["accuracy_high"]
    assert row["gain_low"] < row["gain"] < row["gain_high"]
    assert row["remark"] == "no predictions stored: interval over seeds only"


def test_where_the_answers_of_one_run_are_gone_the_interval_is_over_seeds_and_says_of_how_many():
    lost = fake.evaluation("nli", 2, 2).digest
    found = _per_language(predictions=lambda digest: None if digest == lost else fake.predictions(digest))
    row = _row(found, "nli", "de")
    assert (row["seeds"], row["items"]) == (3, None)
    assert row["remark"] == "no predictions stored of 1 of 3 runs: interval over seeds only"


def test_a_run_that_has_no_scores_is_counted_out_aloud():
    lost = fake.evaluation("nli", 2, 2).digest
    found = _per_language(
        scores=lambda digest: None if digest == lost else fake.scores(digest),
        predictions=lambda digest: None if digest == lost else fake.predictions(digest),
    )
    row = _row(found, "nli", "de")
    assert (row["seeds"], row["absent_reason"]) == (2, "") and row["accuracy"] is not None
    assert row["remark"].split("; ")[0] == "1 of 3 runs not counted (no score in de)"
    assert "not counted" not in _row(found, "none", "de")["remark"]


def _with_scores(worth):
    """The fake answers with a score each: `worth` of being right."""

    def predictions(digest: str) -> pa.Table:
        table = fake.predictions(digest)
        right = pc.equal(table["gold"], table["predicted"]).to_pylist()
        return table.append_column("score", pa.array([worth(one) for one in right], pa.float64()))

    return predictions


def test_an_answer_is_worth_its_own_score_where_it_has_one():
    whole, half = (_row(_per_language(predictions=_with_scores(worth)), "nli", "de") for worth in (float, _half))
    assert whole["accuracy"] == _row(_per_language(), "nli", "de")["accuracy"]
    assert half["accuracy"] == pytest.approx(whole["accuracy"] / 2) and half["items"] == fake.ITEMS


def _half(right: bool) -> float:
    return right / 2


def test_a_score_over_all_answers_at_once_has_an_interval_over_seeds_alone():
    row = _row(_per_language(predictions=_with_scores(lambda right: None)), "nli", "de")
    assert row["accuracy"] == pytest.approx(_row(_per_language(), "nli", "de")["accuracy"])
    assert row["accuracy_low"] < row["accuracy"] < row["accuracy_high"]
    assert row["remark"] == "a score of all answers at once: interval over seeds only"
    mean = _row(_per_language(predictions=_with_scores(lambda right: None)), "nli", "mean")
    assert mean["remark"] == "a score of all answers at once: interval over seeds only"


def test_every_null_value_has_a_reason_and_every_value_has_none():
    for row in _per_language().to_pylist():
        assert (row["accuracy"] is None) == bool(row["absent_reason"])
        assert (row["gain"] is None) == bool(row["gain_absent_reason"])
    for row in tables.scores(fake.standing(), fake.scores).to_pylist():
        assert (row["value"] is None) == bool(row["absent_reason"])


def test_every_column_states_its_meaning_and_every_table_its_version():
    for name, table in _all().items():
        assert table.schema.metadata[b"schema_version"] == str(columns.SCHEMA_VERSION).encode()
        assert table.schema.metadata[b"table"] == name.encode()
        for column in table.schema:
            assert column.metadata[b"meaning"]
            assert b"unit" in column.metadata


def test_the_columns_can_be_read_as_markdown():
    text = columns.columns_markdown(columns.PER_LANGUAGE)
    assert "| `gain` | double | difference of shares, -1 to 1 | accuracy minus the baseline's" in text


def test_a_sweep_with_no_trial_yet_has_all_its_tables():
    standing = fake.standing([])
    table = _per_language(standing)
    assert set(table["absent_reason"].to_pylist()) == {"no search trial has finished"}
    assert len(tables.scores(standing, fake.scores)) == len(tables.predictions(standing, fake.predictions)) == 0


def test_the_cell_of_a_dropped_trial_stays_in_the_table_of_trials():
    key = TrialKey(cell="dropped", phase=Phase.SEARCH, number=0)
    table = tables.trials(fake.standing(fake.trial(key, score=0.5, ending=What.FINISHED)))
    assert [(row["cell"], row["role"]) for row in table.to_pylist()] == [("dropped", "")]


def test_exports_are_the_same_bytes_whatever_the_order_of_the_happenings(tmp_path):
    filesystem = pafs.LocalFileSystem()
    first = tables.export(filesystem, str(tmp_path / "a"), _all())
    standing = fake.standing(list(reversed(fake.happenings())))
    again = {
        "trials": tables.trials(standing),
        "per_language": _per_language(standing),
        "predictions": tables.predictions(
            standing, lambda d: fake.predictions(d).take(np.arange(3 * fake.ITEMS)[::-1])
        ),
        "scores": tables.scores(standing, lambda d: tuple(reversed(fake.scores(d)))),
    }
    second = tables.export(filesystem, str(tmp_path / "b"), again)
    names = ("per_language", "predictions", "scores", "trials")
    assert [Path(path).name for path in first] == [
        f"{name}.{ending}" for name in names for ending in ("parquet", "csv")
    ]
    for one, other in zip(first, second, strict=True):
        assert Path(one).read_bytes() == Path(other).read_bytes(), one


def test_an_export_read_back_is_the_table_with_its_metadata():
    for table in _all().values():
        back = pq.read_table(pa.BufferReader(tables.parquet_bytes(table)))
        assert back.equals(table)
        assert back.schema.equals(table.schema, check_metadata=True)


def test_an_absent_value_is_an_empty_field_of_the_csv():
    table = tables.select(_per_language(), fake.standing(), cell=["broken"], language=["de"])
    read = pacsv.read_csv(io.BytesIO(tables.csv_bytes(table).to_pybytes())).to_pylist()
    assert read[0]["accuracy"] is None


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ({"cell": ["nly"]}, r"no cell 'nly'; did you mean 'nli'\?"),
        ({"language": ["mean_without"]}, r"no language 'mean_without'; did you mean 'mean_without_en'\?"),
    ],
)
def test_an_unknown_cell_or_language_is_answered_with_the_nearest(wanted, message):
    with pytest.raises(LookupError, match=message):
        tables.select(_per_language(), fake.standing(), **wanted)


def test_the_lines_of_the_readme_read_a_sweep_with_pandas_polars_and_duckdb(tmp_path, monkeypatch):
    for name in ("pandas", "polars", "duckdb"):
        pytest.importorskip(name, reason=f"{name} is not installed")
    fake.write(str(tmp_path / "sweeps"), "lab")
    Results.open(str(tmp_path / "sweeps"), "lab").export()
    monkeypatch.chdir(tmp_path)
    text = (Path(__file__).parents[2] / "README.md").read_text()
    (block,) = [found for found in re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL) if "duckdb.sql" in found]
    imports, *lines = ast.parse(block).body
    names: dict = {}
    exec(compile(ast.Module([imports], []), "README.md", "exec"), names)
    lines = [compile(ast.Expression(line.value), "README.md", "eval") for line in lines]
    frame, other, relation = (eval(line, names) for line in lines)
    assert len(frame) == len(fake.CELLS) * 5 and "value" in other.columns
    means = dict(relation.fetchall())
    assert means["nli"] == pytest.approx(frame[(frame.cell == "nli") & ~frame.is_mean].accuracy.mean())


def test_polars_reads_an_export(tmp_path):
    polars = pytest.importorskip("polars", reason="polars is not installed")
    tables.export(pafs.LocalFileSystem(), str(tmp_path), _all())
    frame = polars.read_parquet(tmp_path / "per_language.parquet")
    best = frame.filter(polars.col("language") == "de").sort("gain", descending=True, nulls_last=True)["cell"][0]
    assert best == "nli"


def test_duckdb_reads_an_export(tmp_path):
    duckdb = pytest.importorskip("duckdb", reason="duckdb is not installed")
    tables.export(pafs.LocalFileSystem(), str(tmp_path), _all())
    query = f"select count(*) from '{tmp_path}/trials.parquet' where \"value.target.learning_rate\" > 0"
    assert duckdb.sql(query).fetchall() == [(len(fake.standing().records),)]


def test_pandas_reads_an_export(tmp_path):
    pandas = pytest.importorskip("pandas", reason="pandas is not installed")
    tables.export(pafs.LocalFileSystem(), str(tmp_path), _all())
    frame = pandas.read_parquet(tmp_path / "scores.parquet")
    means = frame[frame.role == "report"].groupby(["cell", "language"]).value.mean()
    assert means["nli", "en"] == pytest.approx(_row(_per_language(), "nli", "en")["accuracy"])
