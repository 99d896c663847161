"""Whether published files hold the languages and rows and are of the revision that the catalogue states; refuses none.

A size that differs is told and not refused: a small part of a data set is a fair way to try a sweep, and publishers
mend their data. What is certainly broken, a split of which a file is missing, `published.inspect_published` refuses.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from trainables.catalogue.task import Layout, Part, PublishedSource, Shaping, Task
from trainables.data import places
from trainables.data.raw import RAW
from trainables.faults import Invalid

#: At most so many parts are named in one remark.
_SHOWN = 3

#: Where `hf download --local-dir` notes the commit that a file is of.
_NOTES = ".cache/huggingface/download"


def remarks(task: Task) -> tuple[str, ...]:
    """What a reader of the results should know of the files of a located published task; empty for other tasks."""
    source = task.source
    if not isinstance(source, PublishedSource) or not source.folders:
        return ()
    return (*_languages(task), *_sizes(source), *_revisions(source))


def _languages(task: Task) -> Iterator[str]:
    for name, languages in places.missing(task).items():
        split = task.split(name)
        all_languages = split.languages if split else ()
        if languages != all_languages:  # a split that is missing whole makes the task absent
            count = f"{len(languages)} of {len(all_languages)} languages"
            yield f"no {name} files in {count} ({' '.join(languages)}), see `sweep tasks {task.name}`"


def _sizes(source: PublishedSource) -> Iterator[str]:
    differing = []
    for parts in places.chosen(source).values():
        for part, files in parts:
            if part.rows and (found := usable_rows(source, part, files)) not in (part.rows, None):
                name = " ".join(dict.fromkeys((part.repository, part.config, part.origin)))
                differing.append(f"{found:,} rows of {name} in {part.language!r}, published {part.rows:,}")
    if differing:
        more = f" and {len(differing) - _SHOWN} more" if len(differing) > _SHOWN else ""
        yield f"not the published size: {'; '.join(differing[:_SHOWN])}{more}"


def usable_rows(source: PublishedSource, part: Part, files: tuple[Path, ...]) -> int | None:
    """The rows of a part that a reader would give; None where the files cannot be read, which others tell."""
    try:
        if part.layout is not Layout.HUB:
            return _labelled(source, RAW[part.layout](files)) if part.layout in RAW else None
        if beginning := places.id_beginning(source, part):
            ids = pa.concat_tables([pq.read_table(path, columns=["id"]) for path in files])["id"]
            return pc.sum(pc.starts_with(ids, beginning)).as_py() or 0
        if not source.unlabelled:
            return sum(pq.read_metadata(path).num_rows for path in files)
        column = _label(source)
        return _labelled(source, pa.concat_tables([pq.read_table(path, columns=[column]) for path in files]))
    except (pa.ArrowException, OSError, KeyError, TypeError, ValueError, Invalid):
        return None


def _label(source: PublishedSource) -> str:
    return "answerKey" if source.shaping is Shaping.LETTERED else "label"


def _labelled(source: PublishedSource, table: pa.Table) -> int:
    if not source.unlabelled:
        return table.num_rows
    values = table[_label(source)].cast(pa.string())
    return table.num_rows - (pc.sum(pc.is_in(values, pa.array(source.unlabelled))).as_py() or 0)


def _revisions(source: PublishedSource) -> Iterator[str]:
    """Commits, as `hf download` noted them in a mirror folder, that are not those the catalogue pins."""
    pinned = dict(source.revisions)
    seen: Counter[tuple[str, str]] = Counter()
    for parts in places.chosen(source).values():
        for part, files in parts:
            for path in files if part.repository in pinned else ():
                folder = next(one for one in places.folders_of(source, part.repository) if path.is_relative_to(one))
                if commit := _commit(folder, path):
                    seen[part.repository, commit] += 1
    for (repository, commit), count in seen.items():
        if commit != pinned[repository]:
            yield f"{count} files of {repository} are of commit {commit}, the catalogue pins {pinned[repository]}"


def _commit(folder: Path, path: Path) -> str:
    """The commit that a file in a folder of `hf download --local-dir` is of; empty where nobody noted it."""
    note = folder / _NOTES / f"{path.relative_to(folder)}.metadata"
    try:
        return note.read_text(encoding="utf-8").split("\n", 1)[0].strip()
    except (OSError, UnicodeDecodeError):
        return ""
