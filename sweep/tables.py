"""The tables that a sweep is reported in, with the meaning and unit of every column; reads no folder of a sweep."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv
import pyarrow.fs as pafs
import pyarrow.parquet as pq

from search_spaces.transfer_grid import CellRole
from sweep import statistics
from sweep.ledger import put_whole
from sweep.records import Phase, State, TrialRecord
from sweep.standing import CellInfo, Standing
from trainables.catalogue.task import Role
from trainables.faults import nearest
from trainables.scores import Score

#: Raised when a column appears, goes or changes its meaning.
SCHEMA_VERSION = 1

#: The language that the tasks are trained in; `mean_without_en` leaves it out.
SOURCE_LANGUAGE = "en"

#: What stands in the `language` column of `per_language` for a mean over languages.
MEAN, MEAN_WITHOUT_SOURCE = "mean", "mean_without_en"

BLIND = (CellRole.IMAGE_ONLY, CellRole.HYPOTHESIS_ONLY)

Scores = Callable[[str], "tuple[Score, ...] | None"]
"""Scores of an `evaluate` stage by its digest, as `Store.scores`; None or empty where there are none."""
Predictions = Callable[[str], "pa.Table | None"]
"""Predictions by digest, as `Store.predictions`: columns task, language, item_id, gold, predicted."""


# Columns


def _column(name: str, kind: pa.DataType, meaning: str, unit: str = "", *, nullable: bool = False) -> pa.Field:
    return pa.field(name, kind, nullable=nullable, metadata={"meaning": meaning, "unit": unit})


def _schema(name: str, columns: Iterable[pa.Field]) -> pa.Schema:
    return pa.schema(list(columns), metadata={"table": name, "schema_version": str(SCHEMA_VERSION)})


_SHARE = "share, 0 to 1"
_DIFFERENCE = "difference of shares, -1 to 1"
_SWEEP = _column("sweep", pa.string(), "name of the sweep")
_CELL = _column("cell", pa.string(), "name of the cell")
_ROLE = _column("role", pa.string(), "what the cell is for", "CellRole; empty for a cell that the definition dropped")
_PHASE = _column("phase", pa.string(), "search or confirmation; only confirmation is reported")
_NUMBER = _column("number", pa.int32(), "number of the trial in its cell and phase")
_SEED = _column("seed", pa.int64(), "seed of every stage of the trial but the shared ones")
_STAGE = _column("stage", pa.string(), "digest of the stage that the row speaks of; empty where none exists")
_TASK = _column("task", pa.string(), "name of the task")
_LANGUAGE = _column("language", pa.string(), "language of the rows scored", "ISO 639-1")
_REASON = _column("absent_reason", pa.string(), "why the value is absent; empty where it is there")

SCORES = _schema(
    "scores",
    [
        _SWEEP,
        _CELL,
        _PHASE,
        _NUMBER,
        _SEED,
        _STAGE,
        _column("step", pa.int64(), "target training behind the score; null if none", "optimiser steps", nullable=True),
        _TASK,
        _LANGUAGE,
        _column("split", pa.string(), "split scored"),
        _column("role", pa.string(), "what the score may be used for", "Role: fit, select, report or oracle"),
        _column("metric", pa.string(), "name of the metric"),
        _column("value", pa.float64(), "the score; null where absent", _SHARE, nullable=True),
        _column("correct", pa.int64(), "right answers; null where the metric counts none", "items", nullable=True),
        _column("count", pa.int64(), "items scored; null where not known", "items", nullable=True),
        _REASON,
    ],
)

PREDICTIONS = _schema(
    "predictions",
    [
        _SWEEP,
        _CELL,
        _NUMBER,
        _SEED,
        _STAGE,
        _TASK,
        _LANGUAGE,
        _column("item_id", pa.string(), "name of the item, the same in every language"),
        _column("gold", pa.string(), "right answer"),
        _column("predicted", pa.string(), "the model's answer"),
    ],
)

PER_LANGUAGE = _schema(
    "per_language",
    [
        _SWEEP,
        _CELL,
        _ROLE,
        _column("intermediates", pa.string(), "intermediate tasks, joined by '+'; empty for none"),
        _column("language", pa.string(), "language of the test split, or 'mean' or 'mean_without_en'", "ISO 639-1"),
        _column("is_mean", pa.bool_(), "whether the row is a mean over languages, each weighing the same"),
        _column("seeds", pa.int32(), "confirmation runs behind the accuracy"),
        _column("items", pa.int64(), "test items of each run; null if not stored", "items", nullable=True),
        _column("accuracy", pa.float64(), "mean over seeds and items; null where absent", _SHARE, nullable=True),
        _column(
            "accuracy_low", pa.float64(), "lower end of its 95% interval, over seeds and items", _SHARE, nullable=True
        ),
        _column(
            "accuracy_high", pa.float64(), "upper end of its 95% interval, over seeds and items", _SHARE, nullable=True
        ),
        _column("baseline", pa.string(), "the cell that the gain is against; empty where there is none"),
        _column(
            "gain", pa.float64(), "accuracy minus the baseline's, same seeds and items", _DIFFERENCE, nullable=True
        ),
        _column("gain_low", pa.float64(), "lower end of its paired 95% interval", _DIFFERENCE, nullable=True),
        _column("gain_high", pa.float64(), "upper end of its paired 95% interval", _DIFFERENCE, nullable=True),
        _REASON,
        _column("gain_absent_reason", pa.string(), "why the gain is absent; empty where it is there"),
        _column("remark", pa.string(), "what a reader should know of the row; empty for nothing"),
    ],
)


def trials_schema(parameters: Iterable[str]) -> pa.Schema:
    """The columns of `trials`: one per searched parameter, null in the cells that do not have it."""
    values = [
        _column(f"value.{name}", pa.float64(), f"value of {name}; null where the cell has none", nullable=True)
        for name in parameters
    ]
    return _schema(
        "trials",
        [
            _SWEEP,
            _CELL,
            _ROLE,
            _PHASE,
            _NUMBER,
            _SEED,
            _column("state", pa.string(), "open, finished, pruned or failed"),
            _column("leads", pa.bool_(), "whether this search trial is its cell's winner so far"),
            _column(
                "winner", pa.int32(), "search trial that this confirmation repeats; null in the search", nullable=True
            ),
            _column(
                "superseded", pa.bool_(), "whether this confirmation repeats a trial that no longer leads; not reported"
            ),
            _column("score", pa.float64(), "English dev score; null where the trial has none", _SHARE, nullable=True),
            _column(
                "scored_step",
                pa.int64(),
                "target training at the last score; null for none",
                "optimiser steps",
                nullable=True,
            ),
            _column("steps_saved", pa.int64(), "target training that pruning made needless", "optimiser steps"),
            _column("target_stage", pa.string(), "digest of the target training; empty until finished"),
            _column("evaluation_stage", pa.string(), "digest of the evaluation; empty in the search"),
            _column("reason", pa.string(), "why the trial failed; empty otherwise"),
            *values,
        ],
    )


def columns_markdown(schema: pa.Schema) -> str:
    """The columns of a table as a Markdown table of name, type, unit and meaning."""
    lines = ["| column | type | unit | meaning |", "|---|---|---|---|"]
    for column in schema:
        about = {key.decode(): value.decode() for key, value in column.metadata.items()}
        lines.append(f"| `{column.name}` | {column.type} | {about['unit']} | {about['meaning']} |")
    return "\n".join(lines)


# Rows


def trials(standing: Standing) -> pa.Table:
    """One row per trial, whatever became of it."""
    used = {name for record in standing.records.values() for name in record.values}
    parameters = sorted(used | set(standing.parameters))
    roles = {cell.name: str(cell.role) for cell in standing.cells}
    leading = {record.key for record in standing.leaders().values()}
    superseded = standing.superseded()
    rows = [
        {
            "sweep": standing.sweep,
            "cell": record.key.cell,
            "role": roles.get(record.key.cell, ""),
            "phase": str(record.key.phase),
            "number": record.key.number,
            "seed": record.seed,
            "state": str(record.state),
            "leads": record.key in leading,
            "winner": record.winner,
            "superseded": record.key in superseded,
            "score": record.score,
            "scored_step": record.scored[-1][0] if record.scored else None,
            "steps_saved": record.steps_saved,
            "target_stage": record.target,
            "evaluation_stage": record.evaluation,
            "reason": record.reason,
            **{f"value.{name}": record.values.get(name) for name in parameters},
        }
        for record in standing.records.values()
    ]
    return _table(rows, trials_schema(parameters), ("cell", "phase", "number"))


def scores(standing: Standing, stored: Scores) -> pa.Table:
    """One row per score: the search's dev scores, and per language the test scores of the reported confirmations.

    Every trial has at least one row, and every reported confirmation one per language: what is missing is a row
    without a value and with a reason. Superseded confirmations are left out.
    """
    superseded = standing.superseded()
    rows = []
    for record in standing.records.values():
        if record.key in superseded:
            continue
        mine = {
            "sweep": standing.sweep,
            "cell": record.key.cell,
            "phase": str(record.key.phase),
            "number": record.key.number,
            "seed": record.seed,
        }
        rows += [{**mine, **row} for row in _dev_rows(standing, record)]
        if record.key.phase is Phase.CONFIRMATION:
            rows += [{**mine, **row} for row in _test_rows(standing, record, stored)]
    key = ("cell", "phase", "number", "role", "task", "split", "language", "metric", "step")
    return _table(rows, SCORES, key)


def _dev_rows(standing: Standing, record: TrialRecord) -> Iterator[dict[str, Any]]:
    row = {
        "stage": record.target,
        "task": standing.target,
        "language": SOURCE_LANGUAGE,
        "split": "dev",
        "role": str(Role.SELECT),
        "metric": "accuracy",
        "absent_reason": "",
    }
    for step, value in record.scored:
        yield {**row, "step": step, "value": value}
    if not record.scored:
        yield {**row, "absent_reason": record.reason or f"not scored yet: the trial is {record.state}"}


def _test_rows(standing: Standing, record: TrialRecord, stored: Scores) -> Iterator[dict[str, Any]]:
    found = (stored(record.evaluation) or ()) if record.evaluation else ()
    for score in found:
        yield {
            "stage": record.evaluation,
            "step": score.step,
            "task": score.task,
            "language": score.language,
            "split": score.split,
            "role": str(score.role),
            "metric": score.metric,
            "value": score.value,
            "correct": score.correct,
            "count": score.count,
            "absent_reason": score.absent_reason,
        }
    scored = {score.language for score in found if score.task == standing.target}
    for language in standing.languages:
        if language not in scored:
            yield {
                "stage": record.evaluation,
                "task": standing.target,
                "language": language,
                "split": "test",
                "role": str(Role.REPORT),
                "metric": "accuracy",
                "absent_reason": _unscored(record),
            }


def _unscored(record: TrialRecord) -> str:
    if record.state is State.FINISHED:
        return f"the store has no score for it under evaluation {record.evaluation}"
    return record.reason or f"not scored yet: the trial is {record.state}"


def predictions(standing: Standing, stored: Predictions) -> pa.Table:
    """One row per item, language and reported confirmation."""
    parts = []
    for cell in standing.cells:
        for record in standing.confirmations(cell.name):
            table = stored(record.evaluation)
            if table is None:
                continue
            constant = {
                "sweep": standing.sweep,
                "cell": cell.name,
                "number": record.key.number,
                "seed": record.seed,
                "stage": record.evaluation,
            }
            columns = [
                pa.repeat(pa.scalar(constant[column.name], column.type), len(table))
                if column.name in constant
                else table[column.name].cast(column.type)
                for column in PREDICTIONS
            ]
            parts.append(pa.table(columns, schema=PREDICTIONS))
    joined = pa.concat_tables(parts) if parts else PREDICTIONS.empty_table()
    return _sorted(joined, ("cell", "number", "task", "language", "item_id"))


def select(table: pa.Table, standing: Standing, **wanted: Sequence[str] | None) -> pa.Table:
    """The rows whose columns hold one of the values wanted, as `select(table, standing, cell=["none"])`.

    Raises:
        LookupError: for a cell or language that neither the sweep nor the table has, naming the nearest.
    """
    planned = {"cell": [cell.name for cell in standing.cells], "language": standing.languages}
    for column, values in wanted.items():
        if values is None:
            continue
        known = {*table[column].unique().to_pylist(), *planned[column]}
        for value in values:
            if value not in known:
                raise LookupError(f"the sweep {standing.sweep!r} has no {column} {value!r}; {nearest(value, known)}")
        table = table.filter(pc.is_in(table[column], pa.array(values, table[column].type)))
    return table


def _table(rows: Iterable[Mapping[str, Any]], schema: pa.Schema, key: Sequence[str]) -> pa.Table:
    return _sorted(pa.Table.from_pylist(list(rows), schema=schema), key)


def _sorted(table: pa.Table, key: Sequence[str]) -> pa.Table:
    order = [("sweep", "ascending"), *((column, "ascending") for column in key)]
    return table.take(pc.sort_indices(table, sort_keys=order)).combine_chunks()


# The answer: accuracy and gain per language


@dataclass(frozen=True, kw_only=True)
class _Outcome:
    """What one run did: `ids` sorted, `correct` per item (a mean over languages for several); or a `value` alone."""

    value: float
    ids: np.ndarray | None = None
    correct: np.ndarray = field(default_factory=lambda: np.empty(0))


class _Answers:
    """The outcomes of runs by language, each run read once."""

    def __init__(self, standing: Standing, stored_scores: Scores, stored_predictions: Predictions) -> None:
        self._target = standing.target
        self._scores, self._predictions = stored_scores, stored_predictions
        self._read: dict[str, tuple[dict[str, _Outcome], bool]] = {}
        self._averaged: dict[tuple[str, tuple[str, ...]], _Outcome | None] = {}

    def outcome(self, evaluation: str, languages: Sequence[str]) -> _Outcome | None:
        """The outcome of a run, averaged over the languages; None where one of them is missing."""
        key = (evaluation, tuple(languages))
        if key not in self._averaged:
            self._averaged[key] = self._average(evaluation, languages)
        return self._averaged[key]

    def _average(self, evaluation: str, languages: Sequence[str]) -> _Outcome | None:
        by_language = self._of(evaluation)[0]
        outcomes = [by_language[language] for language in languages if language in by_language]
        if not outcomes or len(outcomes) < len(languages):
            return None
        aligned = _aligned(outcomes)
        if aligned is None:
            return _Outcome(value=float(np.mean([outcome.value for outcome in outcomes])))
        ids, matrix = aligned
        return _Outcome(value=float(matrix.mean()), ids=ids, correct=matrix.mean(axis=0))

    def absence(self, evaluation: str, language: str) -> str:
        """Why a run has no outcome in a language; empty where it has one."""
        if language in self._of(evaluation)[0]:
            return ""
        found = (score for score in self._scores(evaluation) or () if score.task == self._target)
        reason = next((score.absent_reason for score in found if score.language == language), "")
        return f"no score in {language}" + (f": {reason}" if reason else "")

    def ignores_text(self, evaluation: str) -> bool:
        """Whether the run gave the same answers in every one of several languages."""
        return self._of(evaluation)[1]

    def _of(self, evaluation: str) -> tuple[dict[str, _Outcome], bool]:
        if evaluation not in self._read:
            self._read[evaluation] = self._fetch(evaluation)
        return self._read[evaluation]

    def _fetch(self, evaluation: str) -> tuple[dict[str, _Outcome], bool]:
        table = self._predictions(evaluation)
        if table is None:
            found = (score for score in self._scores(evaluation) or () if score.task == self._target)
            return {s.language: _Outcome(value=s.value) for s in found if s.value is not None}, False
        table = table.filter(pc.equal(table["task"], self._target))
        by_language, given = {}, {}
        for language in sorted(table["language"].unique().to_pylist()):
            rows = table.filter(pc.equal(table["language"], language)).sort_by("item_id")
            ids = rows["item_id"].to_numpy().astype(str)
            correct = pc.equal(rows["gold"], rows["predicted"]).to_numpy().astype(float)
            by_language[language] = _Outcome(value=float(correct.mean()), ids=ids, correct=correct)
            given[language] = [*ids, *rows["predicted"].to_pylist()]
        return by_language, statistics.ignores_text(given)


def _aligned(outcomes: Sequence[_Outcome]) -> tuple[np.ndarray, np.ndarray] | None:
    """Shared item ids and `(outcome, item)` right answers on them; None where an outcome knows no items."""
    known = [(outcome.ids, outcome.correct) for outcome in outcomes if outcome.ids is not None]
    if len(known) < len(outcomes):
        return None
    ids = known[0][0]
    if not all(other is ids or np.array_equal(ids, other) for other, _ in known):
        for other, _ in known:
            ids = np.intersect1d(ids, other, assume_unique=True)
        known = [(ids, correct[np.searchsorted(other, ids)]) for other, correct in known]
    if len(ids) < 2:
        return None
    return ids, np.stack([correct for _, correct in known])


def per_language(standing: Standing, stored_scores: Scores, stored_predictions: Predictions) -> pa.Table:
    """One row per cell and language, then one for the mean and one for the mean without English.

    A gain is paired by seed and by item with the baseline. An accuracy or gain that cannot be given is null, with the
    reason. A mean is absent as soon as one of its languages is.
    """
    answers = _Answers(standing, stored_scores, stored_predictions)
    groups: dict[str, tuple[str, ...]] = {language: (language,) for language in standing.languages}
    if len(standing.languages) > 1:
        groups[MEAN] = standing.languages
        groups[MEAN_WITHOUT_SOURCE] = tuple(name for name in standing.languages if name != SOURCE_LANGUAGE)
    rows = [
        {
            "sweep": standing.sweep,
            "cell": cell.name,
            "role": str(cell.role),
            "intermediates": "+".join(cell.intermediates),
            "language": name,
            "is_mean": name in (MEAN, MEAN_WITHOUT_SOURCE),
            **_row(standing, cell, languages, answers),
        }
        for cell in standing.cells
        for name, languages in groups.items()
    ]
    return _table(rows, PER_LANGUAGE, ("cell", "language"))


def _row(standing: Standing, cell: CellInfo, languages: Sequence[str], answers: _Answers) -> dict[str, Any]:
    baseline = standing.baseline
    mine = _outcomes(standing, cell, languages, answers)
    row: dict[str, Any] = {
        "seeds": len(mine),
        "baseline": baseline.name if baseline else "",
        "absent_reason": "",
        "gain_absent_reason": "",
        "remark": "",
    }
    if not mine:
        reason = _absent(standing, cell, languages, answers)
        return {**row, "absent_reason": reason, "gain_absent_reason": "the cell has no accuracy"}
    row["accuracy"] = float(np.mean([outcome.value for outcome in mine.values()]))
    remarks = [standing.missing(cell.name)]
    aligned = _aligned(list(mine.values()))
    if aligned is not None:
        interval = statistics.accuracy_interval(aligned[1])
        row |= {"items": interval.items, "accuracy": interval.mean}
        row |= {"accuracy_low": interval.low, "accuracy_high": interval.high}
        remarks.append(interval.remark)
    elif len(mine) > 1:
        interval = statistics.over_seeds([outcome.value for outcome in mine.values()])
        row |= {"accuracy_low": max(0.0, interval.low), "accuracy_high": min(1.0, interval.high)}
        remarks.append("no predictions stored: " + interval.remark)
    else:
        remarks.append("no interval: one seed and no predictions stored")
    gain, gain_remark = _gain(standing, cell, languages, answers)
    row |= gain
    remarks.append(gain_remark)
    remarks += _warnings(standing, cell, languages, answers)
    row["remark"] = "; ".join(remark for remark in remarks if remark)
    return row


def _outcomes(standing: Standing, cell: CellInfo, languages: Sequence[str], answers: _Answers) -> dict[int, _Outcome]:
    """By seed, the outcomes of a cell's reported runs that have all these languages."""
    found = {run.seed: answers.outcome(run.evaluation, languages) for run in standing.confirmations(cell.name)}
    return {seed: outcome for seed, outcome in found.items() if outcome is not None}


def _absent(standing: Standing, cell: CellInfo, languages: Sequence[str], answers: _Answers) -> str:
    runs = standing.confirmations(cell.name)
    if not runs:
        return standing.missing(cell.name)
    reasons = [answers.absence(run.evaluation, language) for run in runs for language in languages]
    return "; ".join(sorted({reason for reason in reasons if reason}))


def _paired(mine: dict[int, _Outcome], theirs: dict[int, _Outcome]) -> tuple[np.ndarray, np.ndarray] | None:
    """Both cells' `(seed, item)` right answers on their common seeds and items; None without stored predictions."""
    seeds = sorted(set(mine) & set(theirs))
    aligned = _aligned([mine[seed] for seed in seeds] + [theirs[seed] for seed in seeds]) if seeds else None
    return (aligned[1][: len(seeds)], aligned[1][len(seeds) :]) if aligned else None


def _gain(
    standing: Standing, cell: CellInfo, languages: Sequence[str], answers: _Answers
) -> tuple[dict[str, Any], str]:
    """The gain's columns, and a remark where it rests on less than the row says."""
    baseline = standing.baseline
    if baseline is None:
        return {"gain_absent_reason": "the sweep has no baseline"}, ""
    if cell == baseline:
        return {"gain_absent_reason": "this is the baseline"}, ""
    mine = _outcomes(standing, cell, languages, answers)
    theirs = _outcomes(standing, baseline, languages, answers)
    seeds = sorted(set(mine) & set(theirs))
    if not seeds:
        reason = f"the baseline {baseline.name!r} has no run of the same seeds in this language"
        return {"gain_absent_reason": reason}, ""
    fewer = f"gain over {len(seeds)} of {len(mine)} seeds" if len(seeds) < len(mine) else ""
    paired = _paired(mine, theirs)
    if paired is not None:
        interval = statistics.paired_gain(paired[0] - paired[1])
    elif len(seeds) > 1:
        interval = statistics.over_seeds([mine[seed].value - theirs[seed].value for seed in seeds])
    else:
        return {"gain": mine[seeds[0]].value - theirs[seeds[0]].value}, fewer
    return {"gain": interval.mean, "gain_low": interval.low, "gain_high": interval.high}, fewer


def _warnings(standing: Standing, cell: CellInfo, languages: Sequence[str], answers: _Answers) -> Iterator[str]:
    """Where nothing shows that a cell looks at the image and at the text both."""
    if cell.role in BLIND:
        return
    mine = _outcomes(standing, cell, languages, answers)
    for other in standing.cells:
        paired = _paired(mine, _outcomes(standing, other, languages, answers)) if other.role in BLIND else None
        if paired is not None and statistics.no_better_than(*paired):
            yield f"no better than {other.name}"
    if len(languages) > 1 and all(answers.ignores_text(run.evaluation) for run in standing.confirmations(cell.name)):
        yield "same answers in every language: the text is ignored"


# Files


def export(filesystem: pafs.FileSystem, directory: str, tables: Mapping[str, pa.Table]) -> tuple[str, ...]:
    """Write each table as Parquet and as CSV, and give the paths. Equal tables make byte-identical files."""
    filesystem.create_dir(directory, recursive=True)
    paths = []
    for name, table in sorted(tables.items()):
        for ending, data in (("parquet", parquet_bytes(table)), ("csv", csv_bytes(table))):
            path = f"{directory.rstrip('/')}/{name}.{ending}"
            put_whole(filesystem, path, data)
            paths.append(path)
    return tuple(paths)


def parquet_bytes(table: pa.Table) -> pa.Buffer:
    """The table as a Parquet file, with every option that shapes the bytes stated."""
    sink = pa.BufferOutputStream()
    pq.write_table(
        table.combine_chunks(),
        sink,
        version="2.6",
        compression="zstd",
        compression_level=3,
        row_group_size=65_536,
        data_page_version="1.0",
        use_dictionary=True,
        write_statistics=True,
        store_schema=True,
    )
    return sink.getvalue()


def csv_bytes(table: pa.Table) -> pa.Buffer:
    """The table as CSV with a header; an absent value is an empty field and an empty text a quoted one."""
    sink = pa.BufferOutputStream()
    pacsv.write_csv(table, sink)
    return sink.getvalue()
