"""The tables of trials, scores and answers that a sweep is reported in, and their files; reads no folder of a sweep."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv
import pyarrow.fs as pafs
import pyarrow.parquet as pq

from sweep.columns import MIXTURES, PREDICTIONS, SCORES, STAGES, trials_schema
from sweep.outcomes import Answers, Predictions, Scores, Stored
from sweep.records import Phase, State, TrialRecord
from sweep.standing import Standing
from sweep.streamed import PARQUET, ROW_GROUP, Streamed
from trainables.catalogue.task import Role
from trainables.faults import NotThere, nearest
from trainables.scores import Score
from trainables.whole_files import put_whole

#: The language that the tasks are trained in.
SOURCE_LANGUAGE = "en"

#: What stands beside a confirmation that is not reported, since the definition was edited.
UNNAMED = "its seed is none of those that the definition names now"

#: What stands beside a search trial that counts no more, since the space was edited.
OUTSIDE = "its values lie outside the space as it is now"


def trials(standing: Standing) -> pa.Table:
    """One row per trial, whatever became of it."""
    used = {name for record in standing.records.values() for name in record.values}
    parameters = sorted(used | set(standing.parameters))
    roles = {cell.name: str(cell.role) for cell in standing.cells}
    leading = {record.key for record in standing.leaders().values()}
    superseded = standing.superseded()
    aside = dict.fromkeys(standing.outside(), OUTSIDE) | dict.fromkeys(standing.unnamed(), UNNAMED)
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
            "reason": record.reason or aside.get(record.key, ""),
            **{f"value.{name}": record.values.get(name) for name in parameters},
        }
        for record in standing.records.values()
    ]
    return with_target(sorted_table(rows, trials_schema(parameters), ("cell", "phase", "number")), standing)


def mixtures(standing: Standing) -> pa.Table:
    """One row per trial and task of its intermediate mixture: what was to be drawn of it and what is."""
    rows = []
    for record in standing.records.values():
        total = sum(counts["expected"] for counts in record.examples.values())
        mine = {"sweep": standing.sweep, "cell": record.key.cell, "phase": str(record.key.phase)}
        rows += [
            {
                **mine,
                "number": record.key.number,
                "task": task,
                "share": counts["expected"] / total,
                "expected": counts["expected"],
                "actual": int(counts["actual"]),
            }
            for task, counts in record.examples.items()
        ]
    return with_target(sorted_table(rows, MIXTURES, ("cell", "phase", "number", "task")), standing)


def scores(standing: Standing, stored: Scores) -> pa.Table:
    """One row per score: the search's dev scores, and per language the test scores of the reported confirmations.

    Every trial has at least one row, and every reported confirmation one per language: what is missing is a row
    without a value and with a reason. Confirmations that are superseded or on a seed taken out since are left out.
    """
    left_out = standing.superseded() | standing.unnamed()
    rows = []
    for record in standing.records.values():
        if record.key in left_out:
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
    return sorted_table(rows, SCORES, key)


def _dev_rows(standing: Standing, record: TrialRecord) -> Iterator[dict[str, Any]]:
    cell = next((cell for cell in standing.cells if cell.name == record.key.cell), None)
    row = {
        "stage": record.target,
        "task": cell.learned_from if cell and cell.learned_from else standing.target,
        "language": SOURCE_LANGUAGE,
        "split": "dev",
        "role": str(Role.SELECT),
        "metric": cell.dev_metric if cell else standing.metric,
        "absent_reason": "",
    }
    for step, value in record.scored:
        yield {**row, "step": step, "value": value}
    if not record.scored:
        yield {**row, "absent_reason": record.reason or f"not scored yet: the trial is {record.state}"}


def _test_rows(standing: Standing, record: TrialRecord, stored: Scores) -> Iterator[dict[str, Any]]:
    found = (stored(record.evaluation) or ()) if record.evaluation else ()
    # An evaluation of the last step alone does not know it. Before retrieval, no target is trained.
    trained = record.scored[-1][0] if record.scored else None
    for score in found:
        yield {"stage": record.evaluation, "step": score.step or trained, **_told(score)}
    scored = {score.language for score in found if score.task == standing.target}
    for language in standing.languages:
        if language not in scored:
            yield {
                "stage": record.evaluation,
                "task": standing.target,
                "language": language,
                "split": "test",
                "role": str(Role.REPORT),
                "metric": standing.metric,
                "absent_reason": _unscored(record),
            }


def _unscored(record: TrialRecord) -> str:
    if record.state is State.FINISHED:
        return f"the store has no score for it under evaluation {record.evaluation}"
    return record.reason or f"not scored yet: the trial is {record.state}"


def stages(standing: Standing, stored: Stored) -> pa.Table:
    """One row per development score of every stage of the reported runs: of intermediate tasks and word pairs too.

    A stage that several runs share is told of each. One that scored nothing has no row.
    """
    rows = []
    for cell, record in reported(standing):
        kinds = {run["digest"]: run["kind"] for run in record.stage_runs}
        for place, digest in enumerate(record.stages):
            if digest != record.evaluation:
                mine = {"sweep": standing.sweep, "cell": cell, "number": record.key.number, "seed": record.seed}
                told = {**mine, "place": place, "kind": kinds.get(digest, ""), "stage": digest}
                rows += [{**told, **row} for row in _stage_rows(digest, stored)]
    key = ("cell", "number", "place", "step", "task", "split", "language", "metric")
    return with_target(sorted_table(rows, STAGES, key), standing)


def _stage_rows(digest: str, stored: Stored) -> Iterator[dict[str, Any]]:
    kept = stored(digest)
    if kept is None:
        nothing = dict.fromkeys(("task", "language", "split", "role", "metric"), "")
        yield {**nothing, "absent_reason": "the store has no results of it"}
        return
    for progress in kept.history:
        for score in progress.scores:
            yield {"step": progress.step, **_told(score)}


def _told(score: Score) -> dict[str, Any]:
    """What a score says, by the names of its columns."""
    return {
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


def predictions(standing: Standing, stored: Predictions) -> pa.Table:
    """One row per item, language and reported confirmation."""
    return pa.concat_tables([PREDICTIONS.empty_table(), *prediction_parts(standing, stored)]).combine_chunks()


def prediction_parts(standing: Standing, stored: Predictions) -> Iterator[pa.Table]:
    """The rows of `predictions` in their order, run by run: those of a large sweep need not fit into memory."""
    for cell, record in reported(standing):
        table = stored(record.evaluation)
        if table is None:
            continue
        constant = {
            "sweep": standing.sweep,
            "cell": cell,
            "number": record.key.number,
            "seed": record.seed,
            "stage": record.evaluation,
        }
        table = in_order(table, ("task", "language", "item_id"))
        columns = [
            pa.repeat(pa.scalar(constant[column.name], column.type), len(table))
            if column.name in constant
            else table[column.name].cast(column.type)
            for column in PREDICTIONS
        ]
        yield pa.table(columns, schema=PREDICTIONS)


def streamed_predictions(standing: Standing, answers: Answers) -> Streamed:
    """The table of `predictions`, made of the answers that could be read, each run's by its digest and sha256."""
    made_of = [standing.sweep]
    for cell, record in reported(standing):
        kept = answers.stored_results(record.evaluation) if answers.answered(record.evaluation) else None
        if kept is not None and kept.predictions is not None:
            identity = (cell, record.key.number, record.seed, record.evaluation, kept.predictions.sha256)
            made_of.append(json.dumps(identity))
    return Streamed(
        schema=PREDICTIONS,
        made_of=hashlib.sha256("\n".join(made_of).encode()).hexdigest(),
        parts=lambda: prediction_parts(standing, answers.stored_predictions),
    )


def reported(standing: Standing) -> Iterator[tuple[str, TrialRecord]]:
    """Cell and run of every reported confirmation, in order of cells and numbers."""
    for cell in sorted(cell.name for cell in standing.cells):
        for record in sorted(standing.confirmations(cell), key=lambda record: record.key.number):
            yield cell, record


def select(table: pa.Table, standing: Standing, **wanted: Sequence[str] | None) -> pa.Table:
    """The rows whose columns hold one of the values wanted, as `select(table, standing, cell=["none"])`.

    Raises:
        NotThere: for a cell or language that neither the sweep nor the table has, naming the nearest.
    """
    planned = {"cell": [cell.name for cell in standing.cells], "language": standing.languages}
    for column, values in wanted.items():
        if values is None:
            continue
        known = {*table[column].unique().to_pylist(), *planned[column]}
        for value in values:
            if value not in known:
                raise NotThere(f"the sweep {standing.sweep!r} has no {column} {value!r}; {nearest(value, known)}")
        table = table.filter(pc.is_in(table[column], pa.array(values, table[column].type)))
    return table


def with_target(table: pa.Table, standing: Standing) -> pa.Table:
    """The table with its column `target` filled, where it has one: a table read by itself says what it is about."""
    if "target" not in table.column_names:
        return table
    place = table.schema.get_field_index("target")
    told = pa.repeat(pa.scalar(standing.target_in_words), len(table))
    return table.set_column(place, table.schema.field(place), told)


def sorted_table(rows: Iterable[Mapping[str, Any]], schema: pa.Schema, key: Sequence[str]) -> pa.Table:
    """The rows as a table of that schema, sorted by sweep and key."""
    return in_order(pa.Table.from_pylist(list(rows), schema=schema), ("sweep", *key))


def in_order(table: pa.Table, key: Sequence[str]) -> pa.Table:
    """The rows of a table sorted by key; equal ones stay in their order."""
    order = [(column, "ascending") for column in key]
    return table.take(pc.sort_indices(table, sort_keys=order)).combine_chunks()


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
    pq.write_table(table.combine_chunks(), sink, row_group_size=ROW_GROUP, **PARQUET)
    return sink.getvalue()


def csv_bytes(table: pa.Table) -> pa.Buffer:
    """The table as CSV with a header; an absent value is an empty field and an empty text a quoted one."""
    sink = pa.BufferOutputStream()
    pacsv.write_csv(table, sink)
    return sink.getvalue()
