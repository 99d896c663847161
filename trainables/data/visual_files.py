"""Pairs of an image and a hypothesis from XVNLI's and SNLI-VE's files, in the schema; never reads a caption."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.json as pajson
import pyarrow.parquet as pq

from trainables.catalogue.files import VisualFiles, VisualFormat, XvnliSource
from trainables.catalogue.task import ORACLE_HALF, Split, Task
from trainables.data.fingerprint import visual_paths
from trainables.data.image_files import damaged, without_images
from trainables.data.parallel import items_of, parallel_faults
from trainables.data.schema import IMAGE_TEXT, IMAGE_TYPE, holds_bytes, is_text
from trainables.data.text_files import label_faults
from trainables.faults import Invalid, nearest, refuse
from trainables.on_disk import settle

#: What each format calls a row's gold label, hypothesis, id and image.
_COLUMNS = {
    VisualFormat.IGLUE_JSONL: ("gold_label", "sentence2", "pairID", "Flikr30kID"),
    VisualFormat.SNLI_VE_JSONL: ("gold_label", "sentence2", "pairID", "Flickr30K_ID"),
    VisualFormat.XVNLI_PARQUET: ("label", "hypothesis", "pair_id", "flikr30k_id"),
    VisualFormat.SNLI_VE_PARQUET: ("label", "hypothesis", "", "filename"),
    VisualFormat.E_SNLI_VE_PARQUET: ("label", "hypothesis", "", ""),
}

#: The label of a pair that its annotators did not agree on, in SNLI and all that is made from it.
NO_GOLD = "-"

#: Rows of a Parquet file that are in memory at once, images included.
_BATCH_ROWS = 256

#: At most so many files are named in one fault.
_SHOWN = 3


def read_visual(task: Task, split: Split, languages: tuple[str, ...], cache: Path | None) -> pa.Table:
    """The rows of a split in `schema.IMAGE_TEXT`.

    Rows without a gold label are left out, unless the split is scored and the task keeps them; their label is then
    null. An image in a folder is named by its path. Images in Parquet files are written once under `cache`, since
    SNLI-VE repeats each of them about eighteen times, and named by path too; without `cache` they stay as bytes.

    Raises:
        Invalid: naming every fault of the files.
    """
    source = task.source
    assert isinstance(source, XvnliSource)
    files = source.files("test" if split.name == ORACLE_HALF else split.name)
    found = visual_paths(files, languages)
    faults: list[str] = []
    parts = []
    for language, paths in found.items():
        if not paths:
            faults.append(_absent(files, split.name, language))
        tables = [_file(path, files, language, source.text_proxy, cache, faults) for path in paths]
        if not faults:
            parts.append(_different(pa.concat_tables(tables)))
    refuse(f"task {task.name!r}", faults)
    table = pa.concat_tables(parts)
    known = table.filter(pc.not_equal(table["label"], NO_GOLD))
    refuse(f"task {task.name!r}", _gold_faults(known, task, split))
    if not (task.keeps_unlabelled and split.name in ("test", ORACLE_HALF)):
        table = known
    numbers = pc.index_in(table["label"], pa.array(task.labels)).cast(pa.int64())
    return table.set_column(table.schema.get_field_index("label"), "label", numbers).cast(IMAGE_TEXT)


def _file(
    path: Path, files: VisualFiles, language: str, text_proxy: bool, cache: Path | None, faults: list[str]
) -> pa.Table:
    """One file's rows with the label as a name; what is wrong with it is added to `faults`."""
    nothing = _rows([], language, _paths([], 0), [], [])
    found = column_faults(path, files.format, text_proxy)
    if not found:
        found += _empty_values(path, files.format, text_proxy)
    if not found and files.format.has_images and not text_proxy:
        found += without_images(path)
    if not found:
        return _part(path, files, language, text_proxy, cache)
    faults += found
    return nothing


def _empty_values(path: Path, form: VisualFormat, text_proxy: bool) -> Iterator[str]:
    """What of the values in a file lacks, looked at before any image is."""
    _, _, _, image = _COLUMNS[form]
    wanted = [name for name in _COLUMNS[form] if name and not (text_proxy and name == image)]
    try:
        table = pq.read_table(path, columns=wanted) if form.has_images else _json(path, wanted)
    except (pa.ArrowInvalid, OSError) as error:
        first = str(error).splitlines()[0]
        yield f"{path} must be a {form} file, got one that cannot be read ({first}); fetch it again"
        return
    if not table.num_rows:
        yield f"{path} must have rows, got none; fetch it again or leave the language out"
    for name in wanted:
        if table[name].null_count:
            first = int(np.flatnonzero(table[name].is_null().to_numpy(zero_copy_only=False))[0])
            yield (
                f"{path}: column {name!r} must have no empty value, got {table[name].null_count} (first row {first}); "
                "correct or drop those rows"
            )


def _json(path: Path, columns: list[str]) -> pa.Table:
    schema = pa.schema([(name, pa.string()) for name in columns])
    return pajson.read_json(
        path, parse_options=pajson.ParseOptions(explicit_schema=schema, unexpected_field_behavior="ignore")
    )


def _gold_faults(known: pa.Table, task: Task, split: Split) -> list[str]:
    """What is wrong with the rows that have a gold label."""
    if not known.num_rows:
        return [f"split {split.name!r} must have rows with a gold label, got none; fetch its files again"]
    return label_faults(known["label"], known["id"], task.labels, split.name)


def column_faults(path: Path, form: VisualFormat, text_proxy: bool = False) -> list[str]:
    """What of the columns that a format has a file lacks or has otherwise, naming expected and found ones; reads no
    row.
    """
    schema = pa.schema([])
    try:
        schema = pq.read_schema(path) if form.has_images else schema
        found = schema.names if form.has_images else _first_names(path)
    except (pa.ArrowInvalid, OSError) as error:
        return [f"{path} must be a {form} file, got one that cannot be read ({str(error).splitlines()[0]})"]
    wanted = [name for name in (*_COLUMNS[form], *(("image",) if form.has_images else ())) if name]
    if not found:
        return [f"{path} must have rows, got none; fetch it again or leave the language out"]
    missing = [name for name in wanted if name not in found]
    if not missing:
        return list(_type_faults(path, form, schema, text_proxy)) if form.has_images else []
    return [
        f"{path} must have the columns {', '.join(wanted)} of {form}, got {', '.join(found)} without "
        f"{', '.join(missing)}; is it of another format or of a newer release?"
    ]


def _type_faults(path: Path, form: VisualFormat, schema: pa.Schema, text_proxy: bool) -> Iterator[str]:
    """Which columns of a Parquet file hold something else than their format says."""
    label, hypothesis, item, image = _COLUMNS[form]
    wanted = [(hypothesis, is_text, "strings")]
    wanted += [(name, _is_text_or_integer, "strings or integers") for name in (label, item, image) if name]
    if not text_proxy:
        wanted.append(("image", holds_bytes, "struct<bytes: binary, path: string> or binary"))
    for name, holds, what in wanted:
        kind = schema.field(name).type
        if not holds(kind):
            yield (
                f"{path}: column {name!r} of {form} must hold {what}, got {kind}; is it of another format or of a "
                "newer release?"
            )


def _is_text_or_integer(kind: pa.DataType) -> bool:
    return is_text(kind) or pa.types.is_integer(kind)


def image_names(files: VisualFiles, languages: tuple[str, ...]) -> set[str]:
    """What a split calls its images, by their names without an ending; empty where its format has no names."""
    _, _, _, column = _COLUMNS[files.format]
    names: set[str] = set()
    for path in (path for paths in visual_paths(files, languages).values() for path in paths) if column else ():
        table = pq.read_table(path, columns=[column]) if files.format.has_images else _json(path, [column])
        found = pc.unique(table[column].cast(pa.string())).to_pylist()
        names.update(Path(name).stem for name in found if name)
    return names


def hypotheses(files: VisualFiles, languages: tuple[str, ...]) -> pa.ChunkedArray:
    """The hypotheses of a split in these languages; a file without that column raises."""
    _, name, _, _ = _COLUMNS[files.format]
    parts = [
        (pq.read_table(path, columns=[name]) if files.format.has_images else _json(path, [name]))[name]
        for paths in visual_paths(files, languages).values()
        for path in paths
    ]
    return pa.chunked_array([chunk for part in parts for chunk in part.cast(pa.string()).chunks], pa.string())


def gold_labels(files: VisualFiles, languages: tuple[str, ...]) -> dict[str, tuple[int, int]]:
    """Language → rows of a split, and how many of them have no gold label; a file without that column raises."""
    label, _, _, _ = _COLUMNS[files.format]
    counts = {}
    for language, paths in visual_paths(files, languages).items():
        tables = [
            pq.read_table(path, columns=[label]) if files.format.has_images else _json(path, [label]) for path in paths
        ]
        if tables:
            values = pa.concat_tables(tables)[label].cast(pa.string())
            counts[language] = (len(values), pc.sum(pc.equal(values, NO_GOLD)).as_py() or 0)
    return counts


def _first_names(path: Path) -> list[str]:
    with path.open("rb") as file:
        line = file.readline()
    return pajson.read_json(pa.BufferReader(line)).column_names if line.strip() else []


def _absent(files: VisualFiles, split: str, language: str) -> str:
    return f"split {split!r} must have files in {language!r}, got none at {files.path.format(language=language)!r}"


def _part(path: Path, files: VisualFiles, language: str, text_proxy: bool, cache: Path | None) -> pa.Table:
    """One file's rows with the label as a name."""
    if files.format.has_images:
        return _parquet_part(path, files.format, language, text_proxy, cache)
    label, hypothesis, item, image = _COLUMNS[files.format]
    table = _json(path, [label, hypothesis, item, image])
    names = (
        [] if text_proxy else [str(Path(files.images) / f"{Path(name).stem}.jpg") for name in table[image].to_pylist()]
    )
    return _rows(table[item], language, _paths(names, table.num_rows), table[hypothesis], table[label])


def _different(table: pa.Table) -> pa.Table:
    """The rows of one language with the second of an id as `id~2`.

    XVNLI asks some pairs twice, in the same order in every language.
    """
    seen: Counter[str] = Counter()
    named = []
    for item in table["id"].to_pylist():
        seen[item] += 1
        named.append(item if seen[item] == 1 else f"{item}~{seen[item]}")
    return table.set_column(table.schema.get_field_index("id"), "id", pa.array(named, pa.string()))


def _parquet_part(path: Path, form: VisualFormat, language: str, text_proxy: bool, cache: Path | None) -> pa.Table:
    label, hypothesis, item, _ = _COLUMNS[form]
    parts, begin = [], 0
    columns = [name for name in (label, hypothesis, item) if name] + ([] if text_proxy else ["image"])
    for batch in pq.ParquetFile(path).iter_batches(batch_size=_BATCH_ROWS, columns=columns):
        rows = pa.Table.from_batches([batch])
        ids = rows[item] if item else pa.chunked_array([[f"{path.stem}-{begin + n}" for n in range(rows.num_rows)]])
        begin += rows.num_rows
        images = _paths([], rows.num_rows) if text_proxy else _kept(_bytes(rows["image"]), cache)
        names = _names_of(rows[label])
        parts.append(_rows(ids, language, images, rows[hypothesis], names))
    return pa.concat_tables(parts)


def _names_of(column: pa.ChunkedArray) -> pa.ChunkedArray | pa.Array:
    """Labels as names; the integers of SNLI-VE on the hub count entailment, neutral, contradiction, as MNLI does, and
    -1 is no label. Any other is left as it stands, to be refused.
    """
    if not pa.types.is_integer(column.type):
        return column
    named = {0: "entailment", 1: "neutral", 2: "contradiction", -1: NO_GOLD}
    return pa.array([named.get(number, str(number)) for number in column.to_pylist()], pa.string())


def _bytes(column: pa.ChunkedArray) -> list[bytes]:
    kind = column.type
    return [row if isinstance(row, bytes) else row["bytes"] for row in column.to_pylist()] if kind else []


def _kept(images: list[bytes], cache: Path | None) -> pa.Array:
    """Each distinct image as a file under `cache`, named by its content; one that a power cut has cut goes anew."""
    if cache is None:
        return pa.array([{"bytes": data, "path": None} for data in images], IMAGE_TYPE)
    folder = cache / "images"
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for data in images:
        place = folder / sha256(data).hexdigest()[:32]
        if not place.is_file() or place.stat().st_size != len(data):
            aside = place.with_suffix(f".{id(data):x}.part")
            aside.write_bytes(data)
            settle(aside)
            aside.replace(place)
        paths.append(str(place))
    return _paths(paths, len(paths))


def _paths(paths: list[str], count: int) -> pa.Array:
    """Images as files; of no images where the list is empty."""
    return pa.array([{"bytes": None, "path": path} for path in paths] or [None] * count, IMAGE_TYPE)


def _rows(ids, language: str, images: pa.Array, hypotheses, labels) -> pa.Table:
    columns = {
        "id": ids,
        "language": pa.array([language] * len(images), pa.string()),
        "image": images,
        "hypothesis": hypotheses,
        "label": labels,
    }
    kinds = {name: IMAGE_TYPE if name == "image" else pa.string() for name in columns}
    return pa.table(
        [pa.chunked_array([column]) if isinstance(column, pa.Array) else column for column in columns.values()],
        names=list(columns),
    ).cast(pa.schema([pa.field(name, kind) for name, kind in kinds.items()]))


def inspect_visual(task: Task) -> list[str]:
    """Every fault of XVNLI's files, or an empty list: columns, labels, missing images, items across the languages."""
    source = task.source
    assert isinstance(source, XvnliSource)
    faults: list[str] = []
    ids: dict[str, set[str]] = {}
    for split in task.splits:
        if split.name == ORACLE_HALF:
            continue
        files = source.files(split.name)
        if not source.text_proxy and not files.format.has_images and not files.images:
            faults.append(
                f"split {split.name!r} must have a folder of images, got none; give `images`, or leave all images out "
                "for a text proxy"
            )
            continue
        paths = [path for some in visual_paths(files, split.languages).values() for path in some]
        found = [fault for path in paths for fault in column_faults(path, files.format, source.text_proxy)]
        if not found and files.format.has_images and not source.text_proxy:
            found = [fault for path in paths for fault in without_images(path)]
        if found:
            faults += found
            continue
        looked_at = replace(task, source=replace(source, text_proxy=True)) if files.format.has_images else task
        try:
            table = read_visual(looked_at, split, split.languages, None)
        except Invalid as error:
            faults += error.faults
            continue
        faults += _row_faults(table, split)
        if files.format.has_images:
            continue
        ids[split.name] = set(table["id"].to_pylist())
        faults += _missing_images(table, split)
        faults += _damaged_images(table, split)
    names = list(ids)
    for number, left in enumerate(names):
        for right in names[number + 1 :]:
            if shared := sorted(ids[left] & ids[right]):
                faults.append(
                    f"splits {left!r} and {right!r} must share no id, got {len(shared)} in both ({shared[0]}); an "
                    "example may be in one split only"
                )
    return faults


def _missing_images(table: pa.Table, split: Split) -> Iterator[str]:
    paths = {path for path in pc.struct_field(table["image"].combine_chunks(), "path").to_pylist() if path}
    absent = sorted(path for path in paths if not Path(path).is_file())
    if absent:
        yield (
            f"split {split.name!r} must have an image file for every row, got {len(absent)} of {len(paths)} missing "
            f"({absent[0]}); complete the folder of Flickr30k"
        )


def _damaged_images(table: pa.Table, split: Split) -> Iterator[str]:
    paths = {path for path in pc.struct_field(table["image"].combine_chunks(), "path").to_pylist() if path}
    if broken := damaged(Path(path) for path in sorted(paths)):
        named = ", ".join(str(path) for path in list(broken)[:_SHOWN]) + (", …" if len(broken) > _SHOWN else "")
        fault = next(iter(broken.values()))
        yield f"split {split.name!r}: {fault}: {len(broken)} of {len(paths)} files ({named}); put whole ones there"


def _row_faults(table: pa.Table, split: Split) -> Iterator[str]:
    present = Counter(table["language"].to_pylist())
    if not present:
        yield f"split {split.name!r} must have rows, got none"
        return
    for language in split.languages:
        if language not in present:
            yield f"split {split.name!r} must have rows in {language!r}, got none; {nearest(language, present)}"
    images = pc.struct_field(table["image"].combine_chunks(), "path").to_pylist()
    columns = (table[name].to_pylist() for name in ("id", "language", "label"))
    yield from parallel_faults(split.name, items_of(*columns, images))
