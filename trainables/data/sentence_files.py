"""Plain text in several languages from a user's files, checked and in the schema; knows no other source."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.json as pajson
import pyarrow.parquet as pq

from trainables.catalogue.files import SentenceFiles
from trainables.catalogue.task import Kind, Split, Task
from trainables.data.fingerprint import spoken_paths
from trainables.data.schema import PARALLEL
from trainables.faults import refuse

#: The column of JSONL and Parquet files that holds the text, as in corpora on the hub.
COLUMN = "text"


def read_sentences(task: Task, split: Split, languages: tuple[str, ...]) -> pa.Table:
    """The texts of a split in `schema.PARALLEL`, each alone on the right; without text there is no row.

    Raises:
        Invalid: naming every fault of the files.
    """
    found, faults = _texts(task, split, languages)
    refuse(f"task {task.name!r}", faults)
    return pa.concat_tables([_rows(texts, split.name, language) for language, texts in found.items()])


def inspect_sentences(task: Task) -> list[str]:
    """Every fault of a task's files, or an empty list."""
    return [fault for split in task.splits for fault in _texts(task, split, split.languages)[1]]


def _rows(texts: pa.Array, split: str, language: str) -> pa.Table:
    ids = pa.array([f"{split}-{language}-{number:08d}" for number in range(len(texts))], pa.string())
    spoken, nothing = (pa.array([value] * len(texts), pa.string()) for value in (language, ""))
    return pa.table([ids, spoken, nothing, spoken, texts], schema=PARALLEL)


def _texts(task: Task, split: Split, languages: tuple[str, ...]) -> tuple[dict[str, pa.Array], list[str]]:
    """Language → texts, and what is wrong with the files."""
    source = task.source
    assert isinstance(source, SentenceFiles)
    if task.kind is not Kind.MASKED_LM:
        return {}, [f"files of plain text hold {Kind.MASKED_LM} rows, got kind {task.kind}"]
    found: dict[str, pa.Array] = {}
    faults: list[str] = []
    for language, path in spoken_paths(source.path(split.name), languages).items():
        where = f"split {split.name!r} in {language!r} ({path})"
        texts, fault = _file(path, where)
        if not fault and not len(texts):
            fault = f"{where} must have text, got none; fill it or leave the language out"
        faults += [fault] if fault else []
        found[language] = texts
    return found, faults


def _file(path: Path, where: str) -> tuple[pa.Array, str]:
    """The texts of a file that are more than spaces, or what is wrong with it."""
    nothing = pa.array([], pa.string())
    if path.suffix not in _READERS:
        return nothing, f"{where} must end in {', '.join(_READERS)}, got {path.suffix or 'no ending'!r}; rename it"
    if not path.is_file():
        return nothing, f"{where} must be a file, got nothing there; get it or leave the language out"
    try:
        table = _READERS[path.suffix](path)
    except UnicodeDecodeError as error:
        return nothing, f"{where} must be text in UTF-8, got a byte that is none at place {error.start}; save it so"
    except (pa.ArrowInvalid, OSError) as error:
        first = str(error).splitlines()[0]
        return nothing, f"{where} must be a {path.suffix} file, got one that cannot be read ({first}); write it again"
    columns = ", ".join(f"{field.name} ({field.type})" for field in table.schema)
    if COLUMN not in table.column_names:
        return nothing, f"{where} must have a column {COLUMN!r} (string), found {columns or 'none'}; rename one"
    kind = table.schema.field(COLUMN).type
    if not (pa.types.is_string(kind) or pa.types.is_large_string(kind)):
        return nothing, f"{where}: column {COLUMN!r} must hold strings, found {columns}; cast it"
    if table[COLUMN].null_count:
        return (
            nothing,
            f"{where}: column {COLUMN!r} must have no empty value, got {table[COLUMN].null_count}; drop them",
        )
    texts = pc.utf8_trim_whitespace(table[COLUMN].cast(pa.string())).combine_chunks()
    return texts.filter(pc.not_equal(texts, "")), ""


def _lines(path: Path) -> pa.Table:
    """Lines as a line feed divides them: other characters that Python takes for line ends stand inside sentences."""
    return pa.table({COLUMN: pa.array(path.read_text(encoding="utf-8-sig").split("\n"), pa.string())})


def _json(path: Path) -> pa.Table:
    return pajson.read_json(path)


_READERS: dict[str, Callable[[Path], pa.Table]] = {".txt": _lines, ".jsonl": _json, ".parquet": pq.read_table}
