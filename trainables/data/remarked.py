"""What a reader of the results should know of files of a user's own or of XVNLI's; refuses none of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import repeat

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from trainables.catalogue.files import TextFiles, XvnliSource
from trainables.catalogue.task import IGLUE_ACCURACY, ORACLE_DEV, ORACLE_HALF, ParquetSource, Split, Task
from trainables.data.parallel import Items, items_of, spoken_in
from trainables.data.text_files import is_numbered, rows_of
from trainables.data.visual_files import gold_labels, hypotheses, image_names


def own_remarks(task: Task) -> tuple[str, ...]:
    """What is to be said of a task's files; empty for tasks of other sources."""
    return (*other_languages(task), *shared_images(task), *sizes(task), *_texts(task), *not_compared(task))


def _texts(task: Task) -> Iterator[str]:
    """What is to be said of the texts that a task's files hold: empty ones, and pairs that have no ids."""
    source = task.source
    for split in task.splits if isinstance(source, ParquetSource | TextFiles | XvnliSource) else ():
        if split.name == ORACLE_HALF:
            continue
        try:
            yield from _texts_of(task, replace(split, name="dev") if split.name == ORACLE_DEV else split, split.name)
        except (pa.ArrowException, OSError, KeyError):
            continue  # what cannot be read others tell


def _texts_of(task: Task, split: Split, name: str) -> Iterator[str]:
    """Of the rows of a split in its languages, told by the name that the task has for them."""
    source, spoken = task.source, pa.array(split.languages)
    if isinstance(source, XvnliSource):
        yield from empty_texts(name, "hypothesis", hypotheses(source.files(split.name), split.languages))
    if isinstance(source, ParquetSource):
        table = pq.read_table(source.path(split.name), columns=["hypothesis", "language"])
        stated = table.filter(pc.is_in(table["language"].cast(pa.string()), spoken))
        yield from empty_texts(name, "hypothesis", stated["hypothesis"])
    if isinstance(source, TextFiles) and (table := rows_of(task, split)) is not None:
        stated = table.filter(pc.is_in(table["language"], spoken))
        for column in ("premise", "hypothesis"):
            yield from empty_texts(name, column, stated[column])
        if len(split.languages) > 1 and is_numbered(table):
            yield (
                f"split {name!r} has no column 'id': its rows in {' '.join(split.languages)} count as different "
                "items; give an item that is asked in several languages the same id in each"
            )
        elif len(split.languages) > 1:
            columns = (stated[column].to_pylist() for column in ("id", "language"))
            items = items_of(*columns, repeat(None, stated.num_rows), repeat(None, stated.num_rows))
            yield from partly_shared(name, spoken_in(split.languages, items))


def partly_shared(split: str, items: Items) -> Iterator[str]:
    """That the languages of a split have no item in common, or some of them not all."""
    every = {item for here in items.values() for item in here}
    if len(items) > 1 and len(every) == sum(map(len, items.values())):
        yield (
            f"split {split!r} has no id in two languages: its rows in {' '.join(items)} count as different items; give "
            "an item that is asked in several languages the same id in each"
        )
    elif lacking := [f"{len(here):,} in {language!r}" for language, here in items.items() if len(here) < len(every)]:
        yield (
            f"split {split!r}: not all of its {len(every):,} items are in every language ({', '.join(lacking)}); "
            "accuracies of its languages are of different items"
        )


def empty_texts(split: str, name: str, texts: pa.ChunkedArray) -> Iterator[str]:
    """That some of the texts of a column hold nothing but spaces."""
    if count := pc.sum(pc.equal(pc.utf8_trim_whitespace(texts), "")).as_py() or 0:
        yield f"{count:,} of {len(texts):,} texts in {name!r} of {split} are empty"


def sizes(task: Task) -> Iterator[str]:
    """Whether XVNLI's test has the published rows in every language, those without a gold label among them.

    Told and not refused: a sample is a fair way to try a sweep. Without those rows IGLUE's accuracy is another number.
    """
    source, test = task.source, task.split("test")
    if not isinstance(source, XvnliSource) or test is None:
        return
    try:
        found = gold_labels(source.files("test"), test.languages)
    except (pa.ArrowException, OSError, KeyError):
        return  # what cannot be read others tell
    if other := {language: rows for language, (rows, _) in found.items() if test.rows and rows != test.rows}:
        alike = len(set(other.values())) == 1 and len(other) > 1
        told = (
            f"{min(other.values()):,} rows in each of {' '.join(other)}"
            if alike
            else ", ".join(f"{rows:,} rows in {language!r}" for language, rows in other.items())
        )
        yield f"the test is not the published one: {told}, published {test.rows:,}"
    if task.keeps_unlabelled and (whole := [language for language, (_, without) in found.items() if not without]):
        yield (
            f"the test has no row without a gold label in {' '.join(whole)}: {IGLUE_ACCURACY} is there the same as "
            "accuracy, and not IGLUE's"
        )


def shared_images(task: Task) -> Iterator[str]:
    """Images that two splits of XVNLI share, by name.

    Told and not refused: SNLI's own split, which IGLUE keeps, and SNLI-VE's, which parts images, were made by others.
    """
    source = task.source
    if not isinstance(source, XvnliSource) or source.text_proxy:
        return
    splits = [split for split in task.splits if split.name != ORACLE_HALF]
    try:
        found = [(split.name, image_names(source.files(split.name), split.languages[:1])) for split in splits]
    except (pa.ArrowException, OSError, KeyError):
        return  # what cannot be read others tell
    for place, (left, mine) in enumerate(found):
        for right, theirs in found[place + 1 :]:
            if both := sorted(mine & theirs):
                yield f"{len(both):,} of the {len(theirs):,} images of {right!r} are in {left!r} too ({both[0]})"


def other_languages(task: Task) -> Iterator[str]:
    """Rows of a training or development file in a language that no split of it states; they are not read.

    Of a test file some languages may be wanted and others not: nothing is said of it.
    """
    source = task.source
    if not isinstance(source, ParquetSource | TextFiles):
        return
    for split in task.splits:
        if split.name in ("test", ORACLE_HALF, ORACLE_DEV):
            continue
        found = _rows_by_language(task, split)
        shown = task.split(ORACLE_DEV) if split.name == "dev" else None
        read = (*split.languages, *(shown.languages if shown else ()))
        other = {language: count for language, count in found.items() if language not in read}
        if other:
            named = ", ".join(f"{count:,} in {language!r}" for language, count in sorted(other.items(), key=str))
            yield (
                f"split {split.name!r} is read in {' '.join(read)} alone: {sum(other.values()):,} of its "
                f"{found.total():,} rows are left out ({named}){_for_an_oracle(task, split, other)}"
            )


def _for_an_oracle(task: Task, split: Split, other: Iterable[str]) -> str:
    """What an oracle could choose by in place of half the test, of a development file's rows that are left out."""
    test = task.split("test")
    tested = sorted(code for code in other if test and code in test.languages)
    if split.name != "dev" or not tested or task.split(ORACLE_HALF) is None:
        return ""
    return f"; with_oracle(task, development={tested!r}) shows an oracle those in place of half the test"


def not_compared(task: Task) -> Iterator[str]:
    """Items that an oracle is shown and English development has not; told and not refused, as they may be others."""
    source, dev, shown = task.source, task.split("dev"), task.split(ORACLE_DEV)
    if not isinstance(source, ParquetSource | TextFiles) or dev is None or shown is None:
        return
    first = dev.languages[0]
    ids = _ids_by_language(task, replace(dev, languages=(first, *shown.languages)))
    for language in shown.languages:
        mine = ids.get(language, set())
        if other := mine - ids.get(first, set()):
            yield (
                f"split {ORACLE_DEV!r}: {len(other):,} of {len(mine):,} items in {language!r} have the id of none in "
                f"{first!r}: nothing says that their labels and images are right"
            )


def training_rows(task: Task) -> int:
    """The rows of its training split in one language, as stated or as a file of one's own has them; 0 if unknown."""
    train = task.split("train")
    if train is None:
        return 0
    if train.rows or not isinstance(task.source, ParquetSource | TextFiles):
        return train.rows
    found = _rows_by_language(task, train)
    return sum(found[language] for language in train.languages) // len(train.languages)


def _ids_by_language(task: Task, split: Split) -> dict[str, set[str]]:
    """Of no language any where the file cannot be read, which others tell."""
    source = task.source
    try:
        if isinstance(source, ParquetSource):
            table = pq.read_table(source.path(split.name), columns=["id", "language"])
        else:
            table = rows_of(task, split)
        if table is None:
            return {}
        ids, languages = (table[name].cast(pa.string()).to_pylist() for name in ("id", "language"))
    except (pa.ArrowException, OSError, KeyError):
        return {}
    found: dict[str, set[str]] = {}
    for item, language in zip(ids, languages, strict=True):
        found.setdefault(language, set()).add(item)
    return found


def _rows_by_language(task: Task, split: Split) -> Counter[str]:
    """Of no language any where the file cannot be read, which others tell."""
    source = task.source
    if isinstance(source, TextFiles):
        table = rows_of(task, split)
        return Counter(table["language"].to_pylist() if table is not None else ())
    assert isinstance(source, ParquetSource)
    try:
        languages = pq.read_table(source.path(split.name), columns=["language"])["language"]
        return Counter(languages.cast(pa.string()).to_pylist())
    except (pa.ArrowException, OSError, KeyError):
        return Counter()
