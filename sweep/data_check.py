"""What a data set in the documented Parquet format holds and what is wrong with it; trains no model of images."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from sweep.languages import strangeness
from trainables.catalogue.development import with_oracle
from trainables.catalogue.task import NLI_LABELS, Task
from trainables.catalogue.xtreme_m import COLUMNS, parquet_task
from trainables.data.images import content_hash, opened
from trainables.data.reading import image_bytes, inspect, parquet_rows
from trainables.data.remarked import not_compared, other_languages
from trainables.faults import Invalid, NotThere

SPLITS = ("train", "dev", "test")

#: A hypothesis alone may say this much more than the majority label before the report warns of it, and in a small part
#: so many standard errors of the majority's share: of fifteen languages one is above 1.7 of them by chance alone.
TELLING_MARGIN = 0.05
TELLING_ERRORS = 3.0

#: Of a language with fewer items than this, or of a split with fewer in it, a hypothesis alone is not judged.
LEAST_ITEMS = 50

#: The rows of a language are judged in so many parts, each by what the others say.
_FOLDS = 5

#: At most so many training rows are learned from, evenly spaced; more take minutes and tell little more.
_MOST_ROWS = 10_000

#: What a hypothesis is made of: a word, a sign, or in a script that parts no words (Thai, Lao, Tibetan, Burmese, Khmer,
#: Japanese and Chinese ones) a single character.
_UNPARTED = "\u0e00-\u0fff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff"
_PIECE = rf"[{_UNPARTED}]|[^\W{_UNPARTED}]+|[^\w\s]"

#: At most so many items are named for one finding.
_SHOWN = 3


@dataclass(frozen=True, kw_only=True)
class LanguagePart:
    """The rows of one split in one language.

    `labels` are rows by label. `majority` is the share of the most frequent label, and `hypothesis_only` the accuracy
    of a bag of words of the hypothesis, learned on the language's training rows and its other items; None for those
    and where there are too few.
    """

    split: str
    language: str
    rows: int
    labels: tuple[tuple[str, int], ...]
    majority: float
    hypothesis_only: float | None


@dataclass(frozen=True, kw_only=True)
class DataCheck:
    """Everything that was found. `faults` must be mended before a sweep; `warnings` a reader should know of."""

    path: str
    columns: tuple[tuple[str, str], ...]
    parts: tuple[LanguagePart, ...]
    parallel: tuple[tuple[str, int, int], ...]
    """(split, items that every language of the split has, items that any has)"""
    images: int
    """Distinct images of all splits."""
    faults: tuple[str, ...]
    warnings: tuple[str, ...]


def check(
    folder: str | Path,
    labels: Sequence[str] = NLI_LABELS,
    *,
    language: str = "en",
    languages: Sequence[str] = (),
    train: str = "train.parquet",
    dev: str = "dev.parquet",
    test: str = "test.parquet",
) -> DataCheck:
    """Look at the three files of a folder, every image included, as `parquet_task` of the same words reads them.

    `languages` are those of the test, all that its file has where none is stated; others are left out of what is said.

    Raises:
        NotThere: where there is no such folder, or none of the three files in it.
        Invalid: where the words are such that no task can have them.
    """
    base = Path(folder).expanduser()
    files = {"train": train, "dev": dev, "test": test}
    paths = {split: base / name for split, name in files.items() if (base / name).is_file()}
    if not paths:
        raise NotThere(
            f"PATH must be a folder with {train}, {dev} and {test}, got {str(folder)!r} without any; see 'Data of "
            "one's own' in the README"
        )
    asked = tuple(languages) or _languages(paths.get("test"))
    task = parquet_task("data", base, languages=asked, labels=labels, language=language, **files)
    faults = inspect(task)
    shown: list[str] = []
    if language == "en":  # or it is no target, which alone has an oracle
        shown += _for_an_oracle(task, _languages(paths.get("dev")), faults)
    tables: dict[str, pa.Table] = {}
    for split in task.splits:
        try:
            tables[split.name] = parquet_rows(task, split)
        except Invalid:
            continue  # its faults are among those of `inspect`
    if languages and "test" in tables:
        tables["test"] = tables["test"].filter(pc.is_in(tables["test"]["language"], pa.array(asked, pa.string())))
    for name, table in tables.items():
        faults += [*_nameless_languages(name, table), *_broken_images(name, table)]
    warnings = [*other_languages(task), *_read_in_another(tables.get("train"), language), *shown]
    warnings += [
        *_strange_languages(tables),
        *_without_words(tables),
        *_duplicates(tables),
        *_pairs_in_two_splits(tables),
    ]
    parts = tuple(_parts(tables, task))
    warnings += _telling(parts)
    return DataCheck(
        path=str(folder),
        columns=_columns(paths),
        parts=parts,
        parallel=tuple(_parallel(tables)),
        images=len({content_hash(data) for table in tables.values() for data in image_bytes(table["image"])}),
        faults=tuple(faults),
        warnings=tuple(warnings),
    )


def _read_in_another(train: pa.Table | None, language: str) -> Iterator[str]:
    """What to state of a training file that has no row in the language that it is read in."""
    found = sorted(set(train["language"].to_pylist()) if train is not None else ())
    if found and language not in found:
        yield (
            f"the training file is in {' '.join(found)} and is read in {language}: state its language, here with "
            f"--language, in a definition as parquet_task(…, language={found[0]!r}); in another than English it is a "
            "source to learn the target from"
        )


def _for_an_oracle(task: Task, developed: Sequence[str], faults: Sequence[str]) -> Iterator[str]:
    """In which languages of the development file an oracle can choose, and what stands in the way of it alone."""
    test = task.split("test")
    shown = [code for code in developed if code != "en" and test and code in test.languages]
    if shown:
        yield f"with_oracle(task, development={shown!r}) shows those of its rows to an oracle, which then needs no test"
        asks = with_oracle(task, development=shown)
        yield from (f"for an oracle: {fault}" for fault in inspect(asks) if fault not in faults)
        yield from not_compared(asks)


def _languages(file: Path | None) -> tuple[str, ...]:
    """The languages of a file, English first; English alone where it cannot be read."""
    try:
        column = pq.read_table(file, columns=["language"])["language"] if file else pa.chunked_array([], pa.string())
        found = set(column.cast(pa.string()).to_pylist())
    except (pa.ArrowException, KeyError, OSError):
        found = set()
    codes = {code for code in found if code is not None and len(code) > 1}
    return tuple(sorted(codes, key=lambda code: (code != "en", code))) or ("en",)


def _columns(paths: dict[str, Path]) -> tuple[tuple[str, str], ...]:
    """(column, its type, or its types where the splits differ)"""
    found: dict[str, dict[str, None]] = {}
    for path in paths.values():
        try:
            schema = pq.read_schema(path)
        except (pa.ArrowInvalid, OSError):
            continue
        for field in schema:
            found.setdefault(field.name, {})[str(field.type)] = None
    order = sorted(found, key=lambda name: (COLUMNS.index(name) if name in COLUMNS else len(COLUMNS), name))
    return tuple((name, " or ".join(found[name])) for name in order)


def _nameless_languages(split: str, table: pa.Table) -> Iterator[str]:
    """Rows whose language no definition can state."""
    nameless = [row["id"] for row in table.select(["id", "language"]).to_pylist() if len(row["language"]) < 2]
    if nameless:
        yield (
            f"split {split!r}: every row must state its language by a code such as 'de', got {len(nameless)} that do "
            f"not (id {_some(nameless)}); fill the column or drop those rows"
        )


def _strange_languages(tables: dict[str, pa.Table]) -> Iterator[str]:
    for split, table in tables.items():
        for code in sorted({code for code in table["language"].to_pylist() if len(code) > 1}):
            if told := strangeness(code):
                yield f"split {split!r}: {told}"


def _without_words(tables: dict[str, pa.Table]) -> Iterator[str]:
    for split, table in tables.items():
        empty = [row["id"] for row in table.select(["id", "hypothesis"]).to_pylist() if not row["hypothesis"].strip()]
        if empty:
            yield f"split {split!r}: {len(empty)} hypotheses have no words ({_some(empty)})"


def _broken_images(split: str, table: pa.Table) -> Iterator[str]:
    broken: dict[bytes, str] = {}
    seen: set[bytes] = set()
    for item, data in zip(table["id"].to_pylist(), image_bytes(table["image"]), strict=True):
        key = content_hash(data)
        if key in seen:
            continue
        seen.add(key)
        try:
            opened(data)
        except Invalid:
            broken[key] = item
    if broken:
        yield (
            f"split {split!r}: every image must be a whole PNG or JPEG, got {len(broken)} of {len(seen)} that are not "
            f"({_some(broken.values())}); replace or drop those rows"
        )


def _rows(table: pa.Table) -> Iterator[dict[str, Any]]:
    keys = [content_hash(data) for data in image_bytes(table["image"])]
    for key, row in zip(keys, table.drop_columns(["image"]).to_pylist(), strict=True):
        yield {**row, "image": key}


def _duplicates(tables: dict[str, pa.Table]) -> Iterator[str]:
    for split, table in tables.items():
        found: dict[tuple, list[dict]] = {}
        for row in _rows(table):
            found.setdefault((row["language"], row["image"], row["hypothesis"]), []).append(row)
        again = [rows for rows in found.values() if len(rows) > 1]
        if not again:
            continue
        differ = sum(len({row["label"] for row in rows}) > 1 for rows in again)
        yield (
            f"split {split!r}: {len(again)} pairs of image and hypothesis stand there more than once "
            f"({_some(rows[1]['id'] for rows in again)})"
            + (f", {differ} of them with different labels" if differ else "")
        )


def _pairs_in_two_splits(tables: dict[str, pa.Table]) -> Iterator[str]:
    texts = {split: set(table["hypothesis"].to_pylist()) for split, table in tables.items()}
    if "train" not in texts:
        return
    for split in ("dev", "test"):
        if split in texts and (shared := texts["train"] & texts[split]):
            yield (
                f"{len(shared)} of the {len(texts[split])} hypotheses of {split!r} stand in 'train' too, about other "
                f"images ({_some(sorted(shared))})"
            )


def _some(names: Any) -> str:
    given = [str(name) for name in names]
    return ", ".join(given[:_SHOWN]) + (", …" if len(given) > _SHOWN else "")


def _parallel(tables: dict[str, pa.Table]) -> Iterator[tuple[str, int, int]]:
    for split, table in tables.items():
        ids: dict[str, set[str]] = {}
        for language, item in zip(table["language"].to_pylist(), table["id"].to_pylist(), strict=True):
            ids.setdefault(language, set()).add(item)
        if ids:
            yield split, len(set.intersection(*ids.values())), len(set.union(*ids.values()))


def _parts(tables: dict[str, pa.Table], task: Task) -> Iterator[LanguagePart]:
    rows = {split: table.drop_columns(["image"]).to_pylist() for split, table in tables.items()}
    right = _right_answers(rows)
    for split in tables:
        for language in sorted({row["language"] for row in rows[split]}, key=lambda code: (code != "en", code)):
            mine = [row for row in rows[split] if row["language"] == language]
            counts = Counter(row["label"] for row in mine)
            judged = right.get((split, language), [])
            yield LanguagePart(
                split=split,
                language=language,
                rows=len(mine),
                labels=tuple((name, counts[number]) for number, name in enumerate(task.labels)),
                majority=max(counts.values()) / len(mine),
                hypothesis_only=sum(judged) / len(judged) if judged else None,
            )


def _right_answers(rows: dict[str, list[dict]]) -> dict[tuple[str, str], list[bool]]:
    """(split, language) → whether the hypothesis alone tells the label, of each of its rows; of those judged alone."""
    found: dict[tuple[str, str], list[bool]] = {}
    for language in sorted({row["language"] for of_split in rows.values() for row in of_split}):
        mine = {split: [row for row in of_split if row["language"] == language] for split, of_split in rows.items()}
        learned = mine.pop("train", [])
        step = max(1, -(-len(learned) // _MOST_ROWS))
        judged = {split: some for split, some in mine.items() if len({row["id"] for row in some}) >= LEAST_ITEMS}
        whole = [row for some in judged.values() for row in some]
        right = _told_by_others(whole, learned[::step]) if whole else []
        for split, some in judged.items():
            found[split, language], right = right[: len(some)], right[len(some) :]
    return found


def _told_by_others(judged: list[dict], learned: list[dict]) -> list[bool]:
    """Of each judged row, whether a logistic regression on `learned` and the other folds tells its label by its pieces.

    An item is in one fold whole. Empty where there is nothing to learn: no word at all, or one label alone.
    """
    from sklearn.feature_extraction.text import CountVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import GroupKFold
    from threadpoolctl import threadpool_limits

    every = [*judged, *learned]
    labels = np.array([row["label"] for row in every])
    try:
        pieces = CountVectorizer(token_pattern=_PIECE, ngram_range=(1, 2), binary=True).fit_transform(
            [row["hypothesis"] for row in every]
        )
    except ValueError:  # no word in any of the hypotheses
        return []
    right = np.zeros(len(judged), dtype=bool)
    beside = np.arange(len(judged), len(every))
    for others, asked in GroupKFold(_FOLDS).split(judged, groups=[row["id"] for row in judged]):
        known = np.concatenate([others, beside])
        if len(set(labels[known])) < 2:
            return []
        with threadpool_limits(1):  # on so few numbers the threads of OpenBLAS cost more than they do
            judge = LogisticRegression(max_iter=1000).fit(pieces[known], labels[known])
        right[asked] = judge.predict(pieces[asked]) == labels[asked]
    return right.tolist()


def _telling(parts: Sequence[LanguagePart]) -> Iterator[str]:
    for part in parts:
        error = (part.majority * (1 - part.majority) / part.rows) ** 0.5
        margin = max(TELLING_MARGIN, TELLING_ERRORS * error)
        if part.hypothesis_only is not None and part.hypothesis_only > part.majority + margin:
            yield (
                f"split {part.split!r} in {part.language!r}: the hypothesis alone gives {part.hypothesis_only:.3f}, "
                f"the most frequent label {part.majority:.3f}; compare every result with a hypothesis_only cell"
            )


def check_text(found: DataCheck) -> str:
    """The report for a terminal."""
    lines = [f"{found.path}: {sum(part.rows for part in found.parts):,} rows, {found.images:,} distinct images", ""]
    lines += [f"  {name:<12} {kind}" for name, kind in found.columns]
    labels = [name for name, _ in found.parts[0].labels] if found.parts else []
    head = ["split", "language", "rows", *labels, "majority", "hypothesis only"]
    grid = [
        [
            part.split,
            part.language,
            f"{part.rows:,}",
            *(f"{count / part.rows:.3f}" for _, count in part.labels),
            f"{part.majority:.3f}",
            "." if part.hypothesis_only is None else f"{part.hypothesis_only:.3f}",
        ]
        for part in found.parts
    ]
    sizes = [max(len(row[place]) for row in [head, *grid]) for place in range(len(head))]
    lines += [
        "",
        *("  ".join(cell.rjust(size) for cell, size in zip(row, sizes, strict=True)) for row in [head, *grid]),
    ]
    lines += [
        "",
        *(f"{split}: {shared:,} of {all_:,} items in every language" for split, shared, all_ in found.parallel),
    ]
    lines += [f"warning: {text}" for text in found.warnings]
    lines += [f"fault: {text}" for text in found.faults]
    lines.append("a sweep can use it" if not found.faults else f"{len(found.faults)} faults must be mended first")
    return "\n".join(lines)
