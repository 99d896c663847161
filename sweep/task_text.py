"""The catalogue's tasks as text for a terminal; reads no rows."""

from __future__ import annotations

from collections.abc import Iterable

from trainables.catalogue.development import developed_in
from trainables.catalogue.files import XvnliSource
from trainables.catalogue.task import Kind, LabSource, PublishedSource, Split, Task
from trainables.data import places
from trainables.data.fingerprint import missing_visual


def tasks_text(tasks: Iterable[Task]) -> str:
    """One line per task: kind, rows of each split, languages, licence, and whether its files are here."""
    rows = [(task.name, str(task.kind), _sizes(task), _languages(task), task.licence, _state(task)) for task in tasks]
    head = ("task", "kind", "rows per language", "languages", "licence", "here")
    widths = [max(len(row[column]) for row in (head, *rows)) for column in range(len(head))]
    return "\n".join(
        "  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in (head, *sorted(rows))
    )


def task_lines(task: Task) -> str:
    """Everything the catalogue says of one task, and how to get its files."""
    told = {
        "task": task.name,
        "kind": str(task.kind),
        "scored by": ", ".join(task.score_names) or "nothing",
        "labels": _shortened(task.labels) or "none",
        "licence": task.licence,
        "learned from": task.learned_from.name if task.learned_from else "",
        "stands for": task.twin_of,
        "with_oracle": _shown(task),
        "here": _state(task),
        "not here": _missing(task) if _state(task) == "in part" else "",
    }
    told |= {
        f"{split.name} split": f"{_rows(split)} rows in each of: {' '.join(split.languages)}" for split in task.splits
    }
    if isinstance(task.source, PublishedSource):
        told["columns"] = ", ".join(f"{name} ({kind})" for name, kind in task.source.columns)
        pinned = dict(task.source.revisions)
        names = dict.fromkeys(part.repository for part in (*task.source.parts, *task.source.instead))
        told["repositories"] = ", ".join(f"{name} at {pinned.get(name, 'any revision')}" for name in names)
        told["to get it"] = places.way(task)
    if isinstance(task.source, XvnliSource):
        told["not here"] = "; ".join(missing_visual(task))
    width = max(map(len, told))
    return "\n".join(f"{name:<{width}}  {value}" for name, value in told.items() if value)


def _shown(task: Task) -> str:
    """What a definition that asks for an oracle shows it of a target; empty for tasks that are none."""
    test = task.split("test")
    if task.kind is Kind.RETRIEVAL or test is None or len(test.languages) == 1:
        return ""
    languages = developed_in(task)
    return f"development data in {' '.join(languages)}; the whole test is reported" if languages else "half of the test"


def _state(task: Task) -> str:
    if isinstance(task.source, LabSource):
        return "yes, generated"
    if isinstance(task.source, XvnliSource):
        return "no" if missing_visual(task) else "yes"
    if places.absence(task):
        return "no"
    return "in part" if places.missing(places.located(task)) else "yes"


def _missing(task: Task) -> str:
    """Split by split, the languages whose files are not here."""
    if not isinstance(task.source, PublishedSource):
        return ""
    gone = places.missing(places.located(task))
    return "; ".join(f"{split} in {' '.join(languages)}" for split, languages in gone.items())


def _sizes(task: Task) -> str:
    return " / ".join(f"{split.name} {_rows(split)}" for split in task.splits)


def _rows(split: Split) -> str:
    return f"{split.rows:,}" if split.rows else "?"


def _languages(task: Task) -> str:
    spoken = sorted({code for split in task.splits for code in split.languages})
    return " ".join(spoken) if len(spoken) <= 7 else f"{len(spoken)} of them"


def _shortened(labels: tuple[str, ...]) -> str:
    return ", ".join(labels) if len(labels) <= 20 else f"{', '.join(labels[:20])} and {len(labels) - 20} more"
