"""The last look at a definition before it is planned or run: the files behind it, as they are now.

A plan looks at columns, the names of labels and first lines of published files. A run reads every row of them too,
before the first gang: what is wrong in a test set is not found after the training.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from sweep.absence import Found, find, tasks_by_name
from sweep.definition import Sweep
from trainables.catalogue.lab import LANGUAGES
from trainables.catalogue.task import LabSource, ParquetSource, PublishedSource, Split, Task
from trainables.faults import nearest, refuse
from trainables.stages import COUNTED


def resolved(sweep: Sweep) -> Sweep:
    """The sweep with the fingerprints of all its files taken, and those found to be usable.

    Raises:
        Invalid: naming all that is missing, or every fault of the rows.
    """
    found = looked_up(sweep, fetch=True)
    refuse(f"the data of sweep {sweep.name!r}", (f"{name} is absent: {why}" for name, why in found.absent.items()))
    return found.sweep


def looked_up(sweep: Sweep, *, fetch: bool) -> Found:
    """What is here of a sweep's data, found to be usable, and what is not; `fetch` as in `absence.find`.

    Raises:
        Invalid: naming every fault of the rows that are here.
    """
    found = find(sweep, fetch=fetch)
    refuse(f"the data of sweep {sweep.name!r}", _row_faults(found))
    told = _remarks(found, {name: _left_out(task) for name, task in _published(found).items()})
    return replace(found, remarks=_with(told, _miscounted(found)))


def with_rows_read(found: Found, cache: Path | None) -> Found:
    """What was looked up, with every row of the published data read once; the tables are kept under `cache`.

    Raises:
        Invalid: naming every fault of the rows, where a task cannot be used in any language of a split.
    """
    published = _published(found)
    if not published:
        return found
    from tqdm import tqdm

    from trainables.data.looking import look

    every = 0.5 if sys.stderr.isatty() else 30.0
    named = tqdm(published.items(), "reading published rows", unit="task", delay=2.0, mininterval=every, leave=False)
    seen = {name: look(task, cache) for name, task in named}
    refuse(f"the data of sweep {found.sweep.name!r}", (fault for one in seen.values() for fault in one.faults))
    return replace(found, remarks=_remarks(found, {name: one.remarks for name, one in seen.items()}))


def _published(found: Found) -> dict[str, Task]:
    """By name, the published tasks that are here."""
    return {name: task for name, task in _here(found).items() if isinstance(task.source, PublishedSource)}


def _here(found: Found) -> dict[str, Task]:
    """By name, the tasks that are here."""
    return {name: task for name, task in tasks_by_name(found.sweep).items() if name not in found.absent}


def _left_out(task: Task) -> tuple[str, ...]:
    from trainables.data.looking import without_languages
    from trainables.data.published import inspect_published

    _, without = inspect_published(task)
    return tuple(text for split, wrong in without.items() for text in without_languages(split, wrong))


def _remarks(found: Found, seen: dict[str, tuple[str, ...]]) -> dict[str, str]:
    """Task → what its counts and what was `seen` of its files have to tell."""
    tasks = tasks_by_name(found.sweep)
    published = {name: task for name, task in tasks.items() if isinstance(task.source, PublishedSource)}
    told = {name: text for name, text in found.remarks.items() if name not in published}
    if published:
        from trainables.data.counted import remarks

        told |= {name: "; ".join((*remarks(task), *seen.get(name, ()))) for name, task in published.items()}
    return _with(told, _uneven(found.sweep))


def _with(told: Mapping[str, str], more: Mapping[str, str]) -> dict[str, str]:
    """Task → what was told, and what more there is unless it was told already."""
    whole = dict(told)
    for name, text in more.items():
        if text not in (known := told.get(name, "")):
            whole[name] = "; ".join(filter(None, (known, text)))
    return {name: text for name, text in whole.items() if text}


def _miscounted(found: Found) -> dict[str, str]:
    """Of files of a user's own: that they hold other training rows than were stated for the shares of a mixture."""
    told = {}
    for name, task in _here(found).items():
        train = task.split("train")
        if not isinstance(task.source, COUNTED) or train is None or not train.rows:
            continue
        rows = _counted(task, train)
        if rows != train.rows:
            told[name] = (
                f"{train.rows:,} training rows are stated, and its files hold {rows:,} in a language: shares by size "
                "are of those stated"
            )
    return told


def _counted(task: Task, train: Split) -> int:
    """The training rows that files of a user's own hold in a language, the mean where languages differ."""
    if isinstance(task.source, ParquetSource):
        from trainables.data.remarked import training_rows  # decodes no image

        return training_rows(replace(task, splits=(replace(train, rows=0),)))
    from trainables.data.reading import read

    return round(read(task, train.name, None, None).num_rows / len(train.languages))


def _uneven(sweep: Sweep) -> dict[str, str]:
    """Of what cells learn the target from: that it has more or fewer rows than the target's own training split has."""
    sources = [cell.learned_from for cell in sweep.cells if cell.learned_from is not None]
    if not sources:
        return {}
    from trainables.data.remarked import training_rows

    own, told = training_rows(sweep.target.teacher), {}
    for task in sources:
        if own and (rows := training_rows(task)) not in (own, 0):
            told[task.name] = (
                f"trained as many steps on {rows:,} rows as {sweep.target.teacher.name} on {own:,}: "
                "a source with fewer rows repeats them more often"
            )
    return told


def _row_faults(found: Found) -> list[str]:
    faults = []
    for task in _here(found).values():
        if isinstance(task.source, LabSource):
            faults += _lab_faults(task)
        else:
            from trainables.data.reading import inspect

            faults += inspect(task)
        if isinstance(task.source, PublishedSource) and task.source.folders:
            from trainables.data.published import inspect_published

            unusable, _ = inspect_published(task)
            faults += unusable
    return faults


def _lab_faults(task: Task) -> Iterator[str]:
    for split in task.splits:
        if not split.rows:
            yield (
                f"split {split.name!r} of {task.name!r} must have rows (the lab makes as many as it is told), got 0; "
                "give it at least 1, or leave the split out of the task"
            )
        for language in split.languages:
            if language not in LANGUAGES:
                yield (
                    f"split {split.name!r} of {task.name!r} must be in languages that the lab speaks, "
                    f"got {language!r}; {nearest(language, LANGUAGES)}"
                )
