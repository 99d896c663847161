"""A look at every row of a published task before anything is trained on it; trains nothing and lays nothing out."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from trainables.catalogue.task import ORACLE_HALF, PublishedSource, Task
from trainables.data import places
from trainables.data.published import left_out, misplaced
from trainables.data.reading import read
from trainables.data.remarked import empty_texts
from trainables.faults import Invalid

#: Columns of text that say nothing where they are empty. An answer may be: an unanswerable question has none.
_TEXTS = ("premise", "hypothesis", "context", "question", "endings", "tokens", "text")


@dataclass(frozen=True, kw_only=True)
class Seen:
    """What the rows of a task show: why it cannot be used, and what a reader of the results should know."""

    faults: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()


@lru_cache(maxsize=64)
def look(task: Task, cache: Path | None) -> Seen:
    """Read every split of a located published task that is here, once: what was read is kept under `cache`.

    The same task, whose fingerprint says what its files hold, is looked at once in a process.
    """
    if not isinstance(task.source, PublishedSource) or not task.source.folders:
        return Seen()
    faults: list[str] = []
    remarks: list[str] = []
    here = {split for split, _ in places.chosen(task.source)}
    for split in task.splits:
        if split.name == ORACLE_HALF or split.name not in here:
            continue
        try:
            table = read(task, split.name, None, cache)
        except Invalid as error:
            faults += error.faults
            continue
        remarks += without_languages(split.name, left_out(table))
        remarks += [one.told(split.name) for one in misplaced(table)]
        remarks += _empty_texts(split.name, table)
    return Seen(faults=tuple(faults), remarks=tuple(remarks))


def without_languages(split: str, wrong: dict[str, tuple[str, ...]]) -> Iterator[str]:
    """A remark for every language of a split that is left out for its faults."""
    for language, faults in wrong.items():
        yield f"no {split} rows in {language!r}, whose files cannot be used: {'; '.join(faults)}"


def _empty_texts(split: str, table: pa.Table) -> Iterator[str]:
    for name in _TEXTS:
        if name not in table.column_names:
            continue
        values = pc.list_flatten(table[name]) if pa.types.is_list(table.schema.field(name).type) else table[name]
        yield from empty_texts(split, name, values)
